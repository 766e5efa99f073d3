//! The tenant's current deposit key: made when there is none, replaced daily, vouched for by the deployment's signer.

use cofre_envelope::{Suite, random, sha256};
use cofre_model::caller::Caller;
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{DepositKeyId, TenantId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::{SealKey, SealSuite};
use cofre_model::statement;
use cofre_model::time::{Span, Timestamp};
use cofre_store::{Operation, StoredDepositKey, TenantRecord};

use crate::{Deposits, Error, tenant_ref};

/// A deposit key is served for this long.
const SERVED_FOR: Span = Span::hours(24);
/// And replaced once less than this is left, so that a page opened now can still be sent.
const LEAD: Span = Span::hours(1);
/// A deposit sealed in time is taken for this much longer; afterwards the private half is destroyed.
pub(crate) const GRACE: Span = Span::hours(1);

/// A deposit key as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositKey {
    /// Its id.
    pub id: DepositKeyId,
    /// The tenant.
    pub tenant: TenantId,
    /// The public half.
    pub key: SealKey,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid before.
    pub not_after: Timestamp,
    /// By the deployment's signer over [`statement::deposit_key`].
    pub signature: Vec<u8>,
}

impl Deposits {
    /// The tenant's current deposit key.
    ///
    /// # Errors
    /// NOT_FOUND for a caller of no tenant; KEY_SERVICE_UNAVAILABLE where a new key cannot be wrapped or signed.
    pub async fn deposit_key(&self, caller: &Caller) -> Result<DepositKey, Error> {
        let tenant = self.tenant(caller).await?;
        let now = self.clock.now();
        let current = self.keyring.deposit_key_at(&tenant.tenant.id, now).await?;
        match current.filter(|key| now.plus(LEAD) < key.not_after) {
            Some(stored) => served(stored),
            None => {
                let entry =
                    Self::entry(EntryKind::DepositKeyMade, caller, "cofre.v1.DepositService/DepositKey", &tenant)?;
                Ok(self.make_deposit_key(&tenant, entry).await?.0)
            }
        }
    }

    /// Makes the next deposit key of a tenant before its time.
    ///
    /// # Errors
    /// As [`Self::deposit_key`].
    pub async fn rotate(&self, caller: &Caller, tenant: &TenantId) -> Result<(DepositKey, EntryRef), Error> {
        let tenant = self.records.tenant(tenant).await?.ok_or(Error::refused(Reason::NotFound))?;
        let entry =
            Self::entry(EntryKind::DepositKeyMade, caller, "cofre.v1.OperatorService/RotateDepositKey", &tenant)?;
        self.make_deposit_key(&tenant, entry).await
    }

    /// Destroys the private halves whose time and grace are over; gives their number. The entry first, and only where
    /// something is due: a crash in between leaves an entry, and the next call destroys under one of its own.
    ///
    /// # Errors
    /// The stores'; the next call goes on from there.
    pub async fn retire_keys(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        let ended_before = now.minus(GRACE);
        let due = self.keyring.deposit_keys_ended(ended_before).await?;
        if due == 0 {
            return Ok(0);
        }
        let mut entry = Entry::new(EntryKind::KeysDestroyed, random::array()?);
        entry.count = Some(due);
        let at = self.records.apply(entry, Operation::DepositKeysDestroyed).await?;
        Ok(self.keyring.destroy_deposit_keys(ended_before, now, at.index).await?)
    }

    async fn make_deposit_key(&self, tenant: &TenantRecord, mut entry: Entry) -> Result<(DepositKey, EntryRef), Error> {
        let now = self.clock.now();
        let id = DepositKeyId::from_parts(now.millis(), random::array()?);
        let (not_before, not_after) = (now, now.plus(SERVED_FOR));
        // A new page may be hours on its way home: the suite resists recording today and computing later.
        let suite = Suite::MlKem768X25519;
        let (public, wrapped) =
            self.wrapping.new_deposit_key(&tenant_ref(tenant), id, suite, not_before, not_after).await?;
        let key = SealKey { suite: SealSuite::MlKem768X25519, bytes: public.as_bytes().to_vec() };
        let signed = statement::deposit_key(tenant.tenant.id, id, &key, not_before, not_after);
        let signature = self.signer.sign(&signed).await?.to_vec();
        entry.reference = Some(id.to_string());
        entry.digest = Some(sha256(&key.bytes));
        // The entry first: a key that nobody recorded is never served.
        let at = self.records.apply(entry, Operation::DepositKeyMade).await?;
        let stored = StoredDepositKey {
            id,
            tenant: tenant.tenant.id,
            tenant_key_version: tenant.key_version,
            suite: suite.id(),
            public: key.bytes,
            wrapped_private: wrapped,
            not_before,
            not_after,
            signature,
        };
        self.keyring.put_deposit_key(&stored).await.map_err(|error| match error {
            // The tenant's next key came in between; the next try makes a pair under it.
            cofre_store::Error::Closed => Error::refused(Reason::ConsentChanged),
            error => error.into(),
        })?;
        Ok((served(stored)?, at))
    }
}

fn served(stored: StoredDepositKey) -> Result<DepositKey, Error> {
    let suite = match Suite::from_id(stored.suite)? {
        Suite::MlKem768X25519 => SealSuite::MlKem768X25519,
        Suite::X25519 => SealSuite::X25519,
    };
    Ok(DepositKey {
        id: stored.id,
        tenant: stored.tenant,
        key: SealKey { suite, bytes: stored.public },
        not_before: stored.not_before,
        not_after: stored.not_after,
        signature: stored.signature,
    })
}
