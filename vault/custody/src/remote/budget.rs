//! How many tries beyond the first a service bears: ten, and one more for every ten calls it serves. Where it serves, a
//! glitch is made good; where it does not, callers do not make its day worse by asking three times each.

use std::sync::atomic::{AtomicU32, Ordering};

/// All in tenths of a try.
const FULL: u32 = 100;
const TRY: u32 = 10;
const SERVED: u32 = 1;

/// The tries that are left.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(FULL))
    }
}

impl Budget {
    /// A call was served.
    pub(super) fn served(&self) {
        let more = |left: u32| Some(left.saturating_add(SERVED).min(FULL));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes another try, where one is left.
    pub(super) fn another_try(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(TRY)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_run_out_and_come_back_with_calls_that_are_served() {
        let budget = Budget::default();
        let spend = || (0..100).take_while(|_| budget.another_try()).count();
        assert_eq!(spend(), 10);
        assert_eq!(spend(), 0);
        for served in 1..=35 {
            budget.served();
            assert_eq!(budget.0.load(Ordering::Relaxed), served);
        }
        assert_eq!(spend(), 3);
        for _ in 0..100_000 {
            budget.served();
        }
        assert_eq!(spend(), 10, "it saves no more than it began with");
    }
}
