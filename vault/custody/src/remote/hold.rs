//! A service's key held to the record of its ceremony: at a start, and for as long as it is open. A key that is remade under
//! its name says everything that the old one said; only the recorded value tells. Nothing here changes a key or a row.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{PROBE, Remote, Service, Trouble};
use crate::fault::{Cause, Detail, Fault, Operation};
use crate::recorded::Recorded;

/// For so long after the recorded value opened a share is wrapped without opening it again.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// What the keys are held to, and when they last were.
#[derive(Debug, Default)]
pub(super) struct Hold {
    recorded: OnceLock<Recorded>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the recorded value was last asked for and opened, with the failed tries there had been until then.
    opened: Option<(Instant, u64)>,
    /// A check is one call: once it opens the value, once it looks at the key, each until it succeeds.
    looks_next: bool,
}

impl Hold {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a check is to open the recorded value, and not to look.
    pub(super) fn opens_next(&self) -> bool {
        let seen = self.seen();
        self.recorded.get().is_some() && (seen.opened.is_none() || !seen.looks_next)
    }

    /// A check has looked at the key, and all was well.
    pub(super) fn looked(&self) {
        self.seen().looks_next = false;
    }

    fn opened(&self, when: Option<(Instant, u64)>) {
        *self.seen() = Seen { opened: when, looks_next: when.is_some() };
    }
}

#[expect(private_bounds, reason = "the services there are, are in this crate")]
impl<S: Service> Remote<S> {
    /// Holds the keys to what a ceremony recorded, now and for as long as they are open: from here on nothing is wrapped
    /// where the recorded value was not opened within ten seconds before and since the last try that failed, and every
    /// other check of readiness opens it.
    ///
    /// # Errors
    /// As [`Remote::is_recorded`]; then they are held to nothing, and are to be closed.
    pub async fn hold_to(&self, recorded: &Recorded) -> Result<(), Fault> {
        let when = (Instant::now(), self.line.troubles());
        self.is_recorded(recorded).await?;
        // A second record is not taken: keys are opened for one.
        if self.hold.recorded.get_or_init(|| recorded.clone()) != recorded {
            return Err(self.another("held to another record before"));
        }
        self.hold.opened(Some(when));
        Ok(())
    }

    /// Holds the keys to what a ceremony recorded: the same way of wrapping, the same signing key, and a wrapping key that
    /// opens what was wrapped then.
    ///
    /// # Errors
    /// [`Cause::KeyMissing`] where they are others; the [`Fault`] of the call, also of a version that was ended since.
    pub async fn is_recorded(&self, recorded: &Recorded) -> Result<(), Fault> {
        if self.facts.mechanism != recorded.mechanism {
            return Err(self.another("the key wraps in another way than its ceremony recorded"));
        }
        if self.public != recorded.signer {
            return Err(self.another("signs with another key than the one that its ceremony recorded"));
        }
        let other_key = "what the key wrapped at its ceremony does not open";
        if !self.service.fits(&recorded.witness) {
            return Err(self.another(other_key));
        }
        match self.line.ask(Operation::Probe, || self.service.open(PROBE, &recorded.witness)).await {
            Ok((value, _)) if Sha256::digest(&*value).as_slice() == recorded.sha256 => Ok(()),
            Ok(_) => Err(self.another(other_key)),
            Err(refused) if refused.cause == Cause::Integrity => {
                Err(Fault { cause: Cause::KeyMissing, detail: Some(Detail(other_key.to_owned())), ..refused })
            }
            Err(failed) => Err(failed),
        }
    }

    /// Opens the recorded value once more, where there is one.
    pub(super) async fn still_recorded(&self) -> Result<(), Fault> {
        let Some(recorded) = self.hold.recorded.get() else { return Ok(()) };
        let when = (Instant::now(), self.line.troubles());
        let found = self.is_recorded(recorded).await;
        self.hold.opened(found.is_ok().then_some(when));
        found
    }

    /// The same, where that was not done a moment ago.
    // SECURITY: without it a share goes under whatever key has the name now, and is lost with that key or read by who made it.
    pub(super) async fn before_a_wrap(&self) -> Result<(), Fault> {
        let opened = self.hold.seen().opened;
        let lately = |(at, troubles): (Instant, u64)| at.elapsed() < SEEN_FOR && troubles == self.line.troubles();
        if opened.is_some_and(lately) { Ok(()) } else { self.still_recorded().await }
    }

    fn another(&self, what: &str) -> Fault {
        self.line.fault(Operation::Probe, Trouble::of(Cause::KeyMissing).said(what))
    }
}
