//! Whether every intent in the register has what must follow it. An intent without is not an error of the export: it
//! is what an auditor wants to see.

use std::collections::BTreeMap;

use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{CredentialId, JobId};
use cofre_model::time::Timestamp;

/// An intent that nothing followed up to the end of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// Its index.
    pub index: u64,
    /// What was intended: GRANTED, REDELIVERED, WARM, REWRAP, DEPOSIT_INTENDED or ERASURE_ACCEPTED.
    pub kind: EntryKind,
    /// When.
    pub time: Timestamp,
}

/// What is wrong with a follow-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairingFaultKind {
    /// It names no entry it follows.
    NamesNothing,
    /// It names itself or a later entry.
    NamesLater,
    /// It names an entry of a kind it cannot follow.
    NamesOther,
    /// A custodian call has two outcomes.
    SecondOutcome,
}

/// A follow-up that does not fit what it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingFault {
    /// The index of the follow-up.
    pub index: u64,
    /// What is wrong with it.
    pub fault: PairingFaultKind,
}

struct Intent {
    kind: EntryKind,
    time: Timestamp,
    closed: bool,
}

/// Reads entries in order and keeps the intents among them.
#[derive(Default)]
pub(super) struct Pairing {
    from: u64,
    intents: BTreeMap<u64, Intent>,
    by_login: BTreeMap<(CredentialId, JobId), Vec<u64>>,
    faults: Vec<PairingFault>,
}

impl Pairing {
    pub(super) fn from(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    pub(super) fn read(&mut self, index: u64, time: Timestamp, entry: &Entry) {
        use EntryKind as K;
        let login = entry.credential.zip(entry.job);
        match entry.kind {
            K::Granted | K::Redelivered | K::Warm | K::Rewrap | K::DepositIntended | K::ErasureAccepted => {
                if let (Some(login), K::Granted | K::Redelivered) = (login, entry.kind) {
                    self.by_login.entry(login).or_default().push(index);
                }
                self.intents.insert(index, Intent { kind: entry.kind, time, closed: false });
            }
            K::Outcome => self.follow(index, entry.follows, &[K::Granted, K::Redelivered, K::DepositIntended]),
            K::WarmOutcome => self.follow(index, entry.follows, &[K::Warm]),
            K::Rewrapped => self.follow(index, entry.follows, &[K::Rewrap]),
            K::Deposited => self.follow(index, entry.follows, &[K::DepositIntended]),
            K::ErasureCertified => self.follow(index, entry.follows, &[K::ErasureAccepted]),
            // A session that lapses before a deposit was tried follows nothing.
            K::EnrolmentEnded if entry.follows.is_some() => {
                self.follow(index, entry.follows, &[K::DepositIntended]);
            }
            // A report speaks of a job's login: of all its grants, whether it names one or not.
            K::Reported => {
                if entry.follows.is_some() || login.is_none() {
                    self.follow(index, entry.follows, &[K::Granted, K::Redelivered]);
                }
                if let Some(login) = login {
                    self.close_login(login);
                }
            }
            _ => {}
        }
    }

    fn follow(&mut self, index: u64, follows: Option<u64>, kinds: &[EntryKind]) {
        let fault = match follows {
            None => Some(PairingFaultKind::NamesNothing),
            Some(target) if target >= index => Some(PairingFaultKind::NamesLater),
            // What lies before the export cannot be judged by it.
            Some(target) if target < self.from => None,
            Some(target) => match self.intents.get_mut(&target).filter(|intent| kinds.contains(&intent.kind)) {
                None => Some(PairingFaultKind::NamesOther),
                Some(intent) if intent.closed && matches!(intent.kind, EntryKind::Warm | EntryKind::Rewrap) => {
                    Some(PairingFaultKind::SecondOutcome)
                }
                Some(intent) => {
                    intent.closed = true;
                    None
                }
            },
        };
        self.faults.extend(fault.map(|fault| PairingFault { index, fault }));
    }

    fn close_login(&mut self, login: (CredentialId, JobId)) {
        for index in self.by_login.remove(&login).unwrap_or_default() {
            if let Some(intent) = self.intents.get_mut(&index) {
                intent.closed = true;
            }
        }
    }

    pub(super) fn finish(self) -> (Vec<OpenIntent>, Vec<PairingFault>) {
        let open = self
            .intents
            .into_iter()
            .filter(|(_, intent)| !intent.closed)
            .map(|(index, intent)| OpenIntent { index, kind: intent.kind, time: intent.time })
            .collect();
        (open, self.faults)
    }
}
