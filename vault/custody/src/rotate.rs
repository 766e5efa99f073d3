//! The next version of a tenant key: made and wrapped beside the one in force, and what lies directly under older
//! versions wrapped under it, key by key. Nothing below those keys is opened here, and nothing is stored.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use cofre_envelope::context::WrapDepositKey;
use cofre_envelope::{Suite, TenantKey};
use cofre_model::id::{DepositKeyId, SubjectId};
use cofre_model::permit::{Move, MoveWarrant, Permit};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::Timestamp;

use crate::error::{Broken, Error};
use crate::open::{NewTenantKey, subject_context};
use crate::set::{CarriedKeys, CustodySet};
use crate::shares::Which;
use crate::warm::{Inner, TenantRef};

/// What a rotation may do with keys.
#[derive(Clone)]
pub struct RotateKeys(pub(crate) Arc<Inner>);

impl fmt::Debug for RotateKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RotateKeys")
    }
}

/// Two versions of a tenant key, held while what lies under the one moves to the other. Both were asked for under Warm
/// entries; neither opens anything without a permit for each list of keys.
#[derive(Clone)]
pub struct Held {
    from: (TenantRef, Arc<TenantKey>),
    to: (TenantRef, Arc<TenantKey>),
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.0.key_version, self.to.0.key_version);
        f.debug_struct("Held").field("tenant", &self.to.0.tenant).field("from", &from).field("to", &to).finish()
    }
}

/// A key that lies directly under a tenant key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnderKey {
    /// An owner's subject key, and its version.
    Subject(SubjectId, u32),
    /// The private half of a deposit key pair.
    Deposit {
        /// Its id.
        id: DepositKeyId,
        /// Its HPKE suite.
        suite: Suite,
        /// Valid from.
        not_before: Timestamp,
        /// Valid until.
        not_after: Timestamp,
    },
}

/// A key that was moved, or why it was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedKey {
    /// Which.
    pub key: UnderKey,
    /// It, under the version it went to.
    pub wrapped: Result<WrappedKey, Error>,
}

impl RotateKeys {
    /// Makes the next version of a tenant's key and wraps it by every custodian of the set; the keys of the tenant's rows
    /// go with it, wrapped under it. The key itself is dropped: its first use asks the custodian, under an entry.
    ///
    /// # Errors
    /// [`Error`] when a custodian of the set does not answer, or the keys of the tenant's rows do not come.
    pub async fn next_tenant_key(
        &self,
        in_force: &TenantRef,
        version: u32,
        set: &CustodySet,
    ) -> Result<NewTenantKey, Error> {
        let wiring = &self.0.wiring;
        let rows = self.0.rows(in_force).await?;
        let key = TenantKey::generate(&wiring.slab)?;
        let next = TenantRef { key_version: version, key_id: key.id()?, ..in_force.clone() };
        let (integrity, dedupe) = key.wrap_row_keys((&rows.integrity, &rows.dedupe), next.row_keys())?;
        let which = Which { region: &next.region, tenant: next.tenant, version };
        let mut wrapped = wiring.wrapping.wrap(which, set, &key).await?;
        wrapped.carried = Some(CarriedKeys { integrity, dedupe });
        Ok(NewTenantKey { key_id: next.key_id, version, wrapped, integrity: rows.integrity })
    }

    /// Asks for both versions, each under a Warm entry where it is not warm, and holds the keys of the tenant's rows that the
    /// one carries against those of the other.
    ///
    /// SECURITY: whoever writes records and keyring, and may have a custodian wrap, could put a key of their own there as the
    /// next version. The keys of the tenant's rows under it they do not have.
    ///
    /// # Errors
    /// [`Error::Integrity`] where the later version is not one that was made beside the earlier; [`Error`] when one of them
    /// does not come.
    pub async fn hold(&self, from: &TenantRef, to: &TenantRef) -> Result<Held, Error> {
        if from.tenant != to.tenant || from.key_version >= to.key_version {
            return Err(Error::Foreign);
        }
        let (old, new) = (self.0.key(from).await?, self.0.key(to).await?);
        let (mine, carried) = (self.0.rows(from).await?, self.0.rows(to).await?);
        if !mine.integrity.is(&carried.integrity) || !mine.dedupe.is(&carried.dedupe) {
            return Err(Error::Integrity(Broken::RowKeys));
        }
        Ok(Held { from: (from.clone(), old), to: (to.clone(), new) })
    }

    /// Wraps keys under the version they go to, on every core there is. Eats the permit, which names both versions and
    /// how many keys at most. To be called where threads may block.
    ///
    /// # Errors
    /// [`Error::Foreign`] for other keys than the permit's, or more of them. Of each key that did not open the cause
    /// stands beside it.
    pub fn move_keys(
        &self,
        permit: Permit<Move>,
        held: &Held,
        keys: Vec<(UnderKey, WrappedKey)>,
    ) -> Result<Vec<MovedKey>, Error> {
        let warrant = &permit.entry().warrant;
        if !held.is_named_by(warrant) || keys.len() > usize::try_from(warrant.count).unwrap_or(0) {
            return Err(Error::Foreign);
        }
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut parts: Vec<Vec<_>> = Vec::new();
        let each = keys.len().div_ceil(cores).max(1);
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            parts.push(keys.by_ref().take(each).collect());
        }
        Ok(thread::scope(|scope| {
            let move_part = |part: Vec<(UnderKey, WrappedKey)>| {
                part.into_iter().map(|(key, wrapped)| held.moved(key, &wrapped)).collect::<Vec<_>>()
            };
            let parts: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || move_part(part))).collect();
            // A part whose thread died moved nothing; what lies there is due again.
            parts.into_iter().filter_map(|part| part.join().ok()).flatten().collect()
        }))
    }
}

impl Held {
    fn is_named_by(&self, warrant: &MoveWarrant) -> bool {
        let ((from, _), (to, _)) = (&self.from, &self.to);
        to.tenant == warrant.tenant
            && (from.key_version, from.key_id) == (warrant.from_version, warrant.from_id)
            && (to.key_version, to.key_id) == (warrant.to_version, warrant.to_id)
    }

    fn moved(&self, key: UnderKey, wrapped: &WrappedKey) -> MovedKey {
        let wrapped = match key {
            UnderKey::Subject(owner, version) => self.subject(owner, version, wrapped),
            UnderKey::Deposit { id, suite, not_before, not_after } => {
                let tenant = self.to.0.tenant;
                self.deposit(&WrapDepositKey { tenant, key: id, suite, not_before, not_after }, wrapped)
            }
        };
        MovedKey { key, wrapped }
    }

    fn subject(&self, owner: SubjectId, version: u32, wrapped: &WrappedKey) -> Result<WrappedKey, Error> {
        let ((from, old), (to, new)) = (&self.from, &self.to);
        let (from, to) = (subject_context(from, owner, version), subject_context(to, owner, version));
        old.rewrap_subject(wrapped, &from, (new, &to)).map_err(Error::opening(Broken::SubjectKey))
    }

    fn deposit(&self, context: &WrapDepositKey, wrapped: &WrappedKey) -> Result<WrappedKey, Error> {
        let pair = self.from.1.unwrap_deposit_key(wrapped, context).map_err(Error::opening(Broken::DepositKey))?;
        Ok(self.to.1.wrap_deposit_key(&pair, context)?)
    }
}
