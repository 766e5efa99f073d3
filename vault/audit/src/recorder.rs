//! Refusals on the record. The first refusals of a caller with standing between two flushes are entries of their own,
//! each with its exact reason. Further ones, what peers without standing do, and what is beyond a rate, are counted and
//! become one entry per cause and identity each time the server's timer flushes, so that nobody can fill the disk or
//! keep the writer from the grants of others. The call is refused in any case.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofre_model::caller::Caller;
use cofre_model::entry::{CallerRef, Entry, EntryKind, Verdict};
use cofre_model::reason::Reason;
use cofre_store::{Operation, Records};

use crate::error::Error;

/// Identities counted one by one between two flushes; those beyond are counted together under their reason.
const COUNTED: usize = 256;

/// Entries of its own that one identity gets between two flushes.
const EXACT: u32 = 1_000;
/// Identities that get entries of their own between two flushes; refusals of those beyond are counted.
const IDENTITIES: usize = 4_096;

type Key = (Reason, Option<String>);

/// Counted refusals of one cause and identity.
#[derive(Debug)]
struct Tally {
    caller: Option<CallerRef>,
    count: u64,
}

/// Writes refusals of one listener.
#[derive(Debug)]
pub struct Recorder {
    records: Records,
    listener: &'static str,
    tallies: Mutex<BTreeMap<Key, Tally>>,
    /// Entries of its own that each identity got since the last flush.
    exact: Mutex<BTreeMap<String, u32>>,
}

impl Recorder {
    /// For the refusals of `listener`, whose name stands in the entries of counted ones.
    #[must_use]
    pub fn new(records: Records, listener: &'static str) -> Self {
        Self { records, listener, tallies: Mutex::default(), exact: Mutex::default() }
    }

    /// Records a refusal and returns the index of its entry; none where it is counted, or where recording failed. An
    /// identity gets a thousand entries of its own between two flushes.
    pub async fn refused(&self, caller: Option<&Caller>, method: Option<&str>, reason: Reason) -> Option<u64> {
        let Some(caller) = caller.filter(|_| !matches!(reason, Reason::PeerUntrusted | Reason::RateLimited)) else {
            self.count(reason, caller.map(CallerRef::from), 1);
            return None;
        };
        // SECURITY: each entry is a commit in the queue that grants wait in. One identity gets few of them.
        if !self.takes_exact(caller) {
            self.count(reason, Some(caller.into()), 1);
            return None;
        }
        let written = async {
            let mut entry = denied(EntryKind::Denied, reason)?.by(caller);
            entry.method = method.map(|method| method.to_owned().into());
            Ok::<_, Error>(self.records.apply(entry, Operation::Note).await?)
        };
        match written.await {
            Ok(at) => Some(at.index),
            Err(error) => {
                tracing::error!(error = %error, reason = reason.as_str(), "refusal not recorded; counted instead");
                self.count(reason, Some(caller.into()), 1);
                None
            }
        }
    }

    /// Writes what was counted since the last flush and returns how many entries that made. Counts that could not be
    /// written are kept for the next time. The server calls it every 10 s and before it ends.
    pub async fn flush(&self) -> usize {
        let tallies = std::mem::take(&mut *self.tallies());
        self.exact().clear();
        let mut written = 0;
        for ((reason, _), tally) in tallies {
            match self.write(reason, &tally).await {
                Ok(()) => written += 1,
                Err(error) => {
                    tracing::error!(error = %error, reason = reason.as_str(), "counted refusals not recorded yet");
                    self.count(reason, tally.caller, tally.count);
                }
            }
        }
        written
    }

    async fn write(&self, reason: Reason, tally: &Tally) -> Result<(), Error> {
        let mut entry = denied(EntryKind::Refusals, reason)?;
        entry.caller.clone_from(&tally.caller);
        entry.count = Some(tally.count);
        entry.reference = Some(self.listener.to_owned());
        self.records.apply(entry, Operation::Note).await?;
        Ok(())
    }

    fn count(&self, reason: Reason, caller: Option<CallerRef>, more: u64) {
        let mut tallies = self.tallies();
        let key = (reason, caller.as_ref().map(|caller| caller.identity.clone()));
        let full = tallies.len() >= COUNTED && !tallies.contains_key(&key);
        let (key, caller) = if full { ((reason, None), None) } else { (key, caller) };
        let tally = tallies.entry(key).or_insert(Tally { caller: None, count: 0 });
        tally.caller = caller;
        tally.count = tally.count.saturating_add(more);
    }

    fn takes_exact(&self, caller: &Caller) -> bool {
        let mut exact = self.exact();
        let identity = caller.identity().to_string();
        if exact.len() >= IDENTITIES && !exact.contains_key(&identity) {
            return false;
        }
        let taken = exact.entry(identity).or_default();
        *taken = taken.saturating_add(1);
        *taken <= EXACT
    }

    fn exact(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        // As below: each change of it is one number.
        self.exact.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tallies(&self) -> MutexGuard<'_, BTreeMap<Key, Tally>> {
        // Counting cannot be left half done: a poisoned map is as good as any.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn denied(kind: EntryKind, reason: Reason) -> Result<Entry, Error> {
    let mut entry = crate::entry(kind)?;
    entry.verdict = Some(Verdict::Denied);
    entry.reason = Some(reason);
    Ok(entry)
}
