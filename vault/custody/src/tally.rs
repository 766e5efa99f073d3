//! What was asked of a custodian in the last hour and when it last served, for people who look. It decides nothing.

use cofre_model::time::{Monotonic, Timestamp};

/// What was asked of one custodian lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls of the last 60 minutes that reached it: wrapping, unwrapping, signing.
    pub calls: u64,
    /// Those of them that failed, for whatever reason.
    pub failed: u64,
    /// When it last served one; none since the node started.
    pub last_served: Option<Timestamp>,
    /// Whether it is left alone now, after several calls in a row that found it in trouble.
    pub rests: bool,
}

const MINUTES: usize = 60;
const MINUTE: u64 = 60_000_000;

/// One minute's calls, by the number of the minute.
#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    number: u64,
    calls: u64,
    failed: u64,
}

/// The last hour, minute by minute.
#[derive(Debug)]
pub(crate) struct Tally {
    minutes: [Minute; MINUTES],
    last_served: Option<Timestamp>,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self { minutes: [Minute { number: 0, calls: 0, failed: 0 }; MINUTES], last_served: None }
    }

    /// A call came to its end; `served` says when, where it was served.
    pub(crate) fn note(&mut self, now: Monotonic, served: Option<Timestamp>) {
        let number = now.micros() / MINUTE;
        let place = usize::try_from(number % MINUTES as u64).unwrap_or_default();
        if let Some(minute) = self.minutes.get_mut(place) {
            if minute.number != number {
                *minute = Minute { number, ..Minute::default() };
            }
            minute.calls += 1;
            minute.failed += u64::from(served.is_none());
        }
        self.last_served = served.or(self.last_served);
    }

    pub(crate) fn usage(&self, now: Monotonic, rests: bool) -> Usage {
        let this = now.micros() / MINUTE;
        let lately = |minute: &&Minute| this.saturating_sub(minute.number) < MINUTES as u64;
        let (calls, failed) = self
            .minutes
            .iter()
            .filter(lately)
            .fold((0, 0), |(calls, failed), minute| (calls + minute.calls, failed + minute.failed));
        Usage { calls, failed, last_served: self.last_served, rests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Monotonic {
        Monotonic::from_micros(minute * MINUTE + 7)
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut tally = Tally::new();
        let served = Timestamp::from_secs(1_790_000_000);
        assert_eq!(tally.usage(at(0), false), Usage::default());
        tally.note(at(0), Some(served));
        tally.note(at(30), None);
        tally.note(at(59), None);
        let seen = |usage: Usage| (usage.calls, usage.failed);
        assert_eq!(seen(tally.usage(at(59), false)), (3, 2));
        assert_eq!(seen(tally.usage(at(60), false)), (2, 2), "the first is an hour old");
        tally.note(at(60), None);
        assert_eq!(seen(tally.usage(at(60), false)), (3, 3), "its place is used again");
        assert_eq!(seen(tally.usage(at(1_000), true)), (0, 0));
        assert_eq!(tally.usage(at(1_000), true).last_served, Some(served), "that is kept for as long as it takes");
    }
}
