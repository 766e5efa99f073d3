//! What is told after a commit to whoever in this process listens. A hint, never the authority.

use cofre_model::consent::ConsentState;
use cofre_model::entry::EntryKind;
use cofre_model::id::{ConsentId, CredentialId, JobId, SubjectId, TenantId};
use cofre_model::permit::EntryRef;

use crate::commit::operation::Lockdown;

/// Something that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entry; told after every commit that wrote one, before what else it changed.
    Entry {
        /// Where it stands.
        at: EntryRef,
        /// What happened.
        kind: EntryKind,
        /// The tenant concerned.
        tenant: Option<TenantId>,
        /// The login concerned.
        credential: Option<CredentialId>,
    },
    /// A lease was ended before its time: its worker is to log out.
    LeaseEnded {
        /// The login.
        credential: CredentialId,
        /// The job that held it.
        job: JobId,
        /// The worker that held it, as SPIFFE id text.
        worker: String,
    },
    /// A consent ended.
    ConsentEnded {
        /// The consent.
        consent: ConsentId,
        /// The login it covered.
        credential: CredentialId,
        /// REVOKED or EXPIRED.
        state: ConsentState,
    },
    /// A stop button was pressed.
    Lockdown(Lockdown),
    /// A worker is trusted no more.
    WorkerQuarantined {
        /// Its identity, as SPIFFE id text.
        worker: String,
    },
    /// An erasure was accepted.
    ErasureAccepted {
        /// Whose.
        subject: SubjectId,
        /// The logins that are released no more.
        credentials: Vec<CredentialId>,
    },
}
