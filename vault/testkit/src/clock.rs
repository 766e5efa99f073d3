//! A clock that moves by hand. It stands still until told otherwise, so that a test says exactly when what happens.

use std::sync::atomic::{AtomicU64, Ordering};

use cofre_model::time::{Clock, Monotonic, Span, Timestamp};

/// Both clocks of a node, moved by the test.
#[derive(Debug)]
pub struct TestClock {
    now: AtomicU64,
    monotonic: AtomicU64,
}

impl TestClock {
    /// A clock that stands at `now`; its monotonic time starts at zero.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: AtomicU64::new(now.micros()), monotonic: AtomicU64::new(0) }
    }

    /// Time passes: both clocks move on.
    pub fn advance(&self, span: Span) {
        self.now.fetch_add(span.as_micros(), Ordering::SeqCst);
        self.monotonic.fetch_add(span.as_micros(), Ordering::SeqCst);
    }

    /// Somebody sets the world's clock, forward or back; the monotonic one does not notice.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.micros(), Ordering::SeqCst);
    }
}

impl Default for TestClock {
    /// Stands at a fixed instant of 2026.
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_790_000_000))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(self.monotonic.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_clock_back_leaves_the_monotonic_one_alone() {
        let clock = TestClock::default();
        clock.advance(Span::secs(5));
        let before = clock.monotonic();
        clock.set(Timestamp::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_secs(1));
        assert_eq!(clock.monotonic(), before);
    }
}
