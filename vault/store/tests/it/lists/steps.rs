//! What a list is made of. Logins are named by their place; whatever a step needs that is not there, it goes without.

/// Logins of a list. The first two have one owner, the last one is another tenant's.
pub(super) const LOGINS: usize = 3;

/// How a request relates to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Nothing of it was seen before.
    New,
    /// Another request of its job, sealed to the same key.
    Further,
    /// Another request of its job, sealed to another key.
    Resealed,
    /// The same request again.
    Repeat,
    /// Its id again with another content.
    Changed,
    /// Its attendance statement again, with another request.
    Stolen,
    /// All of it again, by the other worker.
    Borrowed,
}

/// A request for a release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) relation: Relation,
    /// To which earlier one, counted back from the newest.
    pub(super) back: usize,
    /// Whether the investor is absent.
    pub(super) alone: bool,
    /// One of the two workers, where no earlier request decides that.
    pub(super) worker: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Enrol(usize),
    EndEnrolment(usize),
    Intend(usize),
    /// With the dedupe tag of this login, or of the next one.
    Complete(usize, bool),
    /// So many unattended visits a day, for so many seconds.
    Request(usize, u8, u64),
    Grant(usize),
    End(usize, bool),
    Receipt(usize),
    /// Decides and commits.
    Ask(usize, Call),
    /// Decides; the commit comes later.
    Decide(usize, Call),
    /// Commits what was decided first.
    Commit,
    /// On a request counted back from the newest. 0: fine, 1: wrong secret, 2: locked for that many hours.
    Report(usize, usize, u8, u64),
    Withdraw(usize, usize),
    Warm(usize, bool),
    /// The tenant that has nothing to do with the login. 0: ends its consent, 1: its enrolment, 2: deposits, 3: erases.
    Foreign(usize, u8),
    Policy(u8),
    PutInstitution,
    PutWorker(usize),
    LockLogin(usize),
    LockInstitution,
    LockTenant(usize),
    LockPlatform,
    Quarantine(usize),
    Erase(usize),
    KeysDestroyed(usize),
    Certify(usize),
    /// The node's life ends and another one begins: of the same node, or of one with another name.
    Restart(bool),
    /// Seconds.
    Advance(u64),
    /// The world's clock is set back by milliseconds.
    Back(u64),
    /// The next step is so many microseconds after an instant at which something of this login ends, or before it.
    Reach(usize, usize, i64),
}

impl Step {
    /// The login it is about.
    pub(super) const fn place(&self) -> Option<usize> {
        match self {
            Self::Enrol(login)
            | Self::EndEnrolment(login)
            | Self::Intend(login)
            | Self::Complete(login, _)
            | Self::Request(login, ..)
            | Self::Grant(login)
            | Self::End(login, _)
            | Self::Receipt(login)
            | Self::Ask(login, _)
            | Self::Decide(login, _)
            | Self::Report(login, ..)
            | Self::Withdraw(login, _)
            | Self::Warm(login, _)
            | Self::Foreign(login, _)
            | Self::LockLogin(login)
            | Self::LockTenant(login)
            | Self::Erase(login)
            | Self::KeysDestroyed(login)
            | Self::Certify(login)
            | Self::Reach(login, ..) => Some(*login),
            _ => None,
        }
    }
}
