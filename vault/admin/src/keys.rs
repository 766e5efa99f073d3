//! Jobs over the key tree. An operator orders one; every node works on it until the rows say that nothing is left; what
//! the older custodians wrapped is retired only under a signed count of zero.
//!
//! A job has no cursor and no list: what is due is read from the keyring, so a process may end at any instant and
//! another goes on. Nothing here opens a data key or a login.

mod moving;
mod nobodys;
mod progress;
mod retire;
mod rewrap;
mod rotate;
mod rows;
mod versions;

use std::sync::Arc;

use cofre_custody::{CustodianId, CustodySet, Signer, TenantKeys};
use cofre_envelope::random;
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::KeyJobId;
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::RewrapKeys;
use cofre_model::time::Clock;
use cofre_store::{CommitError, Due, Keyring, NewKeyJob, Operation, Records};

pub use progress::{KeyStatus, OwnersKeys, Progress};
pub use retire::{Retired, Source};
pub use rewrap::Pass;
pub use rotate::RotateOrder;
pub use rows::{carried, carried_rows, not_had, stored, wrapped};

use crate::Error;

const REWRAP: &str = "cofre.v1.OperatorService/RewrapKeys";
const ROTATE: &str = "cofre.v1.OperatorService/RotateKeys";
const STOP: &str = "cofre.v1.OperatorService/StopKeyJob";
const RETIRE: &str = "cofre.v1.OperatorService/RetireKeys";
const RETIRE_VERSIONS: &str = "cofre.v1.OperatorService/RetireTenantKeys";

/// What `server` hands to jobs over keys.
#[derive(Debug)]
pub struct KeyJobs {
    /// Records.
    pub records: Records,
    /// The keyring.
    pub keyring: Keyring,
    /// Opens and wraps tenant keys anew; opens nothing below them.
    pub rewrapping: cofre_custody::RewrapKeys,
    /// Makes next versions of tenant keys and moves what lies under them; opens nothing below that.
    pub rotating: cofre_custody::RotateKeys,
    /// Warm keys, to wipe.
    pub keys: TenantKeys,
    /// Signs counts.
    pub signer: Arc<dyn Signer>,
    /// The deployment's name, which counts are signed for.
    pub deployment: String,
    /// The node's own custody set. No job puts a looser one in its place: what holds a key is decided by whoever
    /// configures nodes, and not by one operator.
    pub floor: CustodySet,
    /// Who this node is to the others that work on the same job: random, new at each start.
    pub holder: [u8; 16],
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
}

/// A rewrap as an operator asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrapOrder {
    /// The custodians that shall hold every tenant's key.
    pub target: CustodySet,
    /// A custodian's key that shall wrap nothing any more, though its custodian stays in the set.
    pub from_key: Option<String>,
    /// Keys a second that one node may move at most.
    pub rate: Option<u32>,
}

impl TryFrom<RewrapKeys> for RewrapOrder {
    type Error = Error;
    fn try_from(request: RewrapKeys) -> Result<Self, Error> {
        let target = set_from(&request.custody_set)?;
        Ok(Self { target, from_key: request.from_key.map(|key| key.as_str().to_owned()), rate: request.rate })
    }
}

impl RewrapOrder {
    fn target(&self) -> String {
        self.target.to_string()
    }
}

impl KeyJobs {
    /// How many tenant keys a rewrap would move. Nothing is opened or changed by it.
    ///
    /// # Errors
    /// BAD_REQUEST for a custodian that is not configured; else the stores'.
    pub async fn due(&self, order: &RewrapOrder) -> Result<u64, Error> {
        self.configured(&order.target)?;
        let target = order.target();
        Ok(self.keyring.keys_due_count(Due { target: &target, from_key: order.from_key.as_deref() }).await?)
    }

    /// Opens a rewrap. Every node takes it up within a second.
    ///
    /// # Errors
    /// BAD_REQUEST for a custodian that is not configured or was retired, a set that is looser than this node's own, or a
    /// rate of zero or beyond [`KeyJob::FASTEST`]; WRONG_STATE while another rewrap runs.
    pub async fn open(&self, caller: &Caller, order: RewrapOrder) -> Result<(KeyJob, EntryRef), Error> {
        self.configured(&order.target)?;
        no_looser(&self.floor, &order.target)?;
        let retired = self.keyring.retired_custodians().await?;
        let is_retired =
            |custodian: &CustodianId| retired.iter().any(|(named, key)| key.is_empty() && named == custodian.as_str());
        if order.target.custodians().any(is_retired) {
            return Err(Error::field(Reason::BadRequest, "custody_set", RETIRED));
        }
        Self::rated(order.rate)?;
        let id = KeyJobId::from_parts(self.clock.now().millis(), random::array()?);
        let target = order.target();
        let RewrapOrder { from_key, rate, .. } = order;
        let job = NewKeyJob { id, kind: KeyJobKind::Rewrap, target, from_key, rate };
        let entry = entry(EntryKind::KeyJobOpened, Some(caller), REWRAP)?;
        let busy = ("custody_set", "another rewrap is running; stop it first, or wait until it is done");
        self.opened(entry, job, busy).await
    }

    /// Records a job, and gives its row; `busy` names the field and the way out where one of its kind runs.
    async fn opened(
        &self,
        entry: Entry,
        job: NewKeyJob,
        busy: (&'static str, &'static str),
    ) -> Result<(KeyJob, EntryRef), Error> {
        let id = job.id;
        let at = match self.records.apply(entry, Operation::OpenKeyJob(job)).await {
            Err(CommitError::Refused(Reason::WrongState)) => {
                return Err(Error::field(Reason::WrongState, busy.0, busy.1));
            }
            applied => applied?,
        };
        let job = self.records.key_job(&id).await?.ok_or(Error::field(Reason::Internal, "job", "is not there"))?;
        Ok((job, at))
    }

    fn rated(rate: Option<u32>) -> Result<(), Error> {
        if rate.is_some_and(|rate| !(1..=KeyJob::FASTEST).contains(&rate)) {
            return Err(Error::field(Reason::BadRequest, "rate", "must be 1 to 10,000, or be left out"));
        }
        Ok(())
    }

    /// Stops a job. What it moved stays moved, and a new job goes on from there.
    ///
    /// # Errors
    /// NOT_FOUND; WRONG_STATE for a job that has ended.
    pub async fn stop(&self, caller: &Caller, job: &KeyJobId) -> Result<EntryRef, Error> {
        let entry = entry(EntryKind::KeyJobEnded, Some(caller), STOP)?;
        let known = self.records.key_job(job).await?;
        let known = known.ok_or(Error::field(Reason::NotFound, "job_id", "names no job of this vault"))?;
        let moved = self.moved(&known).await?;
        let stop = Operation::EndKeyJob { job: *job, to: KeyJobState::Stopped, moved };
        Ok(self.records.apply(entry, stop).await?)
    }

    fn configured(&self, set: &CustodySet) -> Result<(), Error> {
        self.rewrapping.knows(set).map_err(|_| not_configured())
    }
}

/// A custody set from what a caller wrote.
pub(crate) fn set_from(text: &str) -> Result<CustodySet, Error> {
    text.parse().map_err(|_| {
        let advice = "must read any_of(<custodian>,…) or all_of(<custodian>,…), each member a custodian or, once, a set of the other rule; at most eight and none twice";
        Error::field(Reason::BadRequest, "custody_set", advice)
    })
}

/// Refuses a set that lets more combinations of custodians open a key than `floor`, the node's own, or fewer of them.
pub(crate) fn no_looser(floor: &CustodySet, set: &CustodySet) -> Result<(), Error> {
    if !floor.stricter_than(set) {
        return Ok(());
    }
    let advice = "is looser than the custody set of this node; have `custody.default` changed on every node first";
    Err(Error::field(Reason::BadRequest, "custody_set", advice))
}

/// Why a custodian holds no key any more.
pub(crate) const RETIRED: &str =
    "names a custodian, or a key of one, that was retired; give the new one another name under `custodians`";

pub(crate) fn not_configured() -> Error {
    let advice = "names a custodian that is not configured; add it under [custodians] on every node";
    Error::field(Reason::BadRequest, "custody_set", advice)
}

fn entry(kind: EntryKind, caller: Option<&Caller>, method: &'static str) -> Result<Entry, Error> {
    let mut entry = Entry::new(kind, random::array()?);
    if let Some(caller) = caller {
        entry = entry.by(caller);
    }
    entry.method = Some(method.into());
    Ok(entry)
}
