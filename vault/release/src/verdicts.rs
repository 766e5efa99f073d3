//! How often which verdict fell since the process started: numbers for whoever operates the node. Who, what and why in
//! full stands in the register.

use std::sync::atomic::{AtomicU64, Ordering};

use cofre_model::reason::Reason;
use tracing::Span;

/// One number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// `granted`, `denied`, `undelivered`: granted, but the answer did not leave, or `unknown`: granted, and nobody knows
    /// whether it left.
    pub verdict: &'static str,
    /// Why; none for a grant or where nobody knows.
    pub reason: Option<Reason>,
    /// How often.
    pub count: u64,
}

/// The numbers, all there from the start.
#[derive(Debug)]
pub(crate) struct Verdicts {
    granted: AtomicU64,
    denied: Box<[AtomicU64]>,
    undelivered: Box<[AtomicU64]>,
    unknown: AtomicU64,
}

impl Default for Verdicts {
    fn default() -> Self {
        let zeros = || Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self { granted: AtomicU64::new(0), denied: zeros(), undelivered: zeros(), unknown: AtomicU64::new(0) }
    }
}

impl Verdicts {
    pub(crate) fn granted(&self) {
        Span::current().record("outcome", "granted");
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn denied(&self, reason: Reason) {
        Span::current().record("outcome", "denied").record("reason", reason.as_str());
        count(&self.denied, reason);
    }

    pub(crate) fn undelivered(&self, reason: Reason) {
        Span::current().record("outcome", "undelivered").record("reason", reason.as_str());
        count(&self.undelivered, reason);
    }

    pub(crate) fn unknown(&self) {
        Span::current().record("outcome", "unknown");
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = Count> {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let by_reason = move |verdict: &'static str, numbers: &[AtomicU64]| {
            let pairs = Reason::ALL.iter().zip(numbers);
            let counts = pairs.map(|(reason, number)| Count { verdict, reason: Some(*reason), count: read(number) });
            counts.collect::<Vec<_>>()
        };
        let alone = |verdict, number| Count { verdict, reason: None, count: read(number) };
        let (granted, unknown) = (alone("granted", &self.granted), alone("unknown", &self.unknown));
        let (denied, undelivered) = (by_reason("denied", &self.denied), by_reason("undelivered", &self.undelivered));
        [granted, unknown].into_iter().chain(denied).chain(undelivered)
    }
}

fn count(numbers: &[AtomicU64], reason: Reason) {
    let place = Reason::ALL.iter().position(|known| *known == reason);
    if let Some(number) = place.and_then(|place| numbers.get(place)) {
        number.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_is_counted_by_its_own_reason_and_everything_starts_at_zero() {
        let verdicts = Verdicts::default();
        assert_eq!(verdicts.counts().count(), 2 + 2 * Reason::ALL.len());
        assert!(verdicts.counts().all(|each| each.count == 0));
        verdicts.granted();
        for reason in Reason::ALL {
            verdicts.denied(*reason);
        }
        verdicts.denied(Reason::LeaseHeld);
        verdicts.undelivered(Reason::NotDelivered);
        let of = |verdict, reason| {
            verdicts.counts().find(|each| each.verdict == verdict && each.reason == reason).map(|each| each.count)
        };
        assert_eq!(of("granted", None), Some(1));
        assert_eq!(of("denied", Some(Reason::LeaseHeld)), Some(2));
        assert_eq!(of("denied", Some(Reason::Internal)), Some(1));
        assert_eq!(of("undelivered", Some(Reason::NotDelivered)), Some(1));
        assert_eq!(of("undelivered", Some(Reason::LeaseHeld)), Some(0));
    }
}
