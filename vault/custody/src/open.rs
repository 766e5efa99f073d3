//! The dangerous calls, and the narrow handles that offer them. A call that opens a key takes its permit by value and
//! builds every context from the permit's warrant, so that rows of another login, owner, tenant or version do not open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofre_envelope::context::{SecretContext, WrapData, WrapDepositKey, WrapSubject};
use cofre_envelope::{DedupeKey, Dek, DepositKeyPair, PublicKey, RowMac, SubjectKey, Suite, TenantKey};
use cofre_model::id::{DepositKeyId, SubjectId, TenantId};
use cofre_model::permit::{Deposit, Permit, Release};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::{Span, Timestamp};

use crate::error::{Broken, Error};
use crate::set::{CustodySet, WrappedTenantKey};
use crate::shares::Which;
use crate::warm::{Inner, TenantRef};

/// The version of an owner's first subject key and of a tenant's first key.
pub(crate) const FIRST: u32 = 1;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(pub(crate) Arc<Inner>);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl $name {
            /// The key of this tenant's row MACs. The first call of a node asks the custodian, under a Warm entry of
            /// its own; the key opens nothing and stays.
            ///
            /// # Errors
            /// [`Error`]; the rows then prove nothing and permit nothing.
            pub async fn integrity(&self, tenant: &TenantRef) -> Result<Arc<RowMac>, Error> {
                Ok(self.0.rows(tenant).await?.integrity)
            }
        }
    )*};
}

handles! {
    /// What `release` may do with keys.
    ReleaseKeys;
    /// What `deposit` may do with keys.
    DepositKeys;
    /// What `consent`, `privacy` and `admin` may do with keys: make and wrap new ones. It has no unwrap.
    WrapKey;
    /// What may be done with keys by whoever only reads rows.
    RowKeys;
}

/// The wrapped keys of one login and version, as the keyring keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKeys {
    /// The tenant key above them.
    pub tenant: TenantRef,
    /// The version of the owner's subject key.
    pub subject_key_version: u32,
    /// The owner's subject key, under the tenant key.
    pub subject: WrappedKey,
    /// The login's data key, under the subject key.
    pub data: WrappedKey,
}

/// A subject key as the keyring keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKeyRow {
    /// Its version.
    pub version: u32,
    /// The version of the tenant key above it.
    pub under: TenantRef,
    /// The key, under the tenant key.
    pub wrapped: WrappedKey,
}

/// A deposit key pair as the keyring keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositKeyRow {
    /// Its id.
    pub id: DepositKeyId,
    /// Its HPKE suite.
    pub suite: Suite,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// The version of the tenant key above it.
    pub under: TenantRef,
    /// The private half, under that tenant key.
    pub wrapped: WrappedKey,
}

/// The rows that a deposit opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositRows {
    /// The tenant key in force, for what is new. The others may still lie under an older one.
    pub tenant: TenantRef,
    /// The key pair the deposit was sealed to.
    pub deposit_key: DepositKeyRow,
    /// The owner's subject key; none when this is the owner's first login.
    pub subject: Option<SubjectKeyRow>,
}

/// What a deposit needs to seal a login for rest.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct OpenedDeposit {
    /// Opens what the client sealed.
    pub pair: DepositKeyPair,
    /// What the login's fields are bound to.
    pub secret: SecretContext,
    /// Seals the fields.
    pub dek: Dek,
    /// The data key, for the keyring.
    pub data: WrappedKey,
    /// The version of the subject key above it.
    pub subject_key_version: u32,
    /// The owner's first subject key, for the keyring: insert only. If another deposit was first, this one's keys are
    /// to be dropped and a new permit asked for.
    pub new_subject: Option<SubjectKeyRow>,
}

/// A tenant's first key.
#[expect(missing_debug_implementations, reason = "holds a key")]
pub struct NewTenantKey {
    /// Its id, for the tenant's row.
    pub key_id: [u8; 16],
    /// Its version: 1.
    pub version: u32,
    /// Its shares, for the keyring.
    pub wrapped: WrappedTenantKey,
    /// The key of the tenant's row MACs, so that the tenant's own row is sealed in the same operation.
    pub integrity: Arc<RowMac>,
}

/// What asking for a tenant key before a commit gave. It opens nothing by itself.
///
/// Where a tenant's key may not stay warm at all, it is held here, for the one operation that asked: so the custodian is
/// asked once and not a second time after the commit, when an answer has milliseconds left.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "holds a key")]
pub struct Warmed(Option<([u8; 16], Arc<TenantKey>)>);

impl Warmed {
    fn of(&self, tenant: &TenantRef) -> Option<Arc<TenantKey>> {
        self.0.as_ref().filter(|(id, _)| *id == tenant.key_id).map(|(_, key)| key.clone())
    }
}

impl ReleaseKeys {
    /// Makes the tenant key warm, under its own Warm entry. For after a decision to permit and before its commit:
    /// nobody unpermitted costs a custodian call. `before` is what an earlier attempt of the same operation gave; a key
    /// that it holds is not asked for again.
    ///
    /// # Errors
    /// [`Error`]; nothing is warm then.
    pub async fn warm(&self, tenant: &TenantRef, before: Warmed) -> Result<Warmed, Error> {
        if before.of(tenant).is_some() {
            return Ok(before);
        }
        let key = self.0.key(tenant).await?;
        Ok(Warmed((tenant.warm_for == Span::default()).then_some((tenant.key_id, key))))
    }

    /// Opens the data key of the one login, version and class that the permit names. Eats the permit, and what warming
    /// gave. A tenant key that became cold since is asked for again.
    ///
    /// # Errors
    /// [`Error::Foreign`] for rows of another tenant key than the permit's, [`Error::Integrity`] for rows that do not
    /// open, else what kept the tenant key from coming.
    pub async fn open_keys(&self, permit: Permit<Release>, wrapped: WrappedKeys, warmed: Warmed) -> Result<Dek, Error> {
        let warrant = &permit.entry().warrant;
        let tenant = &wrapped.tenant;
        belongs(tenant, warrant.tenant, &warrant.tenant_key_id)?;
        let key = match warmed.of(tenant) {
            Some(key) => key,
            None => self.0.key(tenant).await?,
        };
        let above = subject_context(tenant, warrant.owner, wrapped.subject_key_version);
        let subject = key.unwrap_subject(&wrapped.subject, &above).map_err(Error::opening(Broken::SubjectKey))?;
        let context =
            WrapData { secret: SecretContext::from(warrant), subject_key_version: wrapped.subject_key_version };
        self.0.data_keys.fetch_add(1, Ordering::Relaxed);
        subject.unwrap_data(&wrapped.data, &context).map_err(Error::opening(Broken::DataKey))
    }
}

impl WrapKey {
    /// Whether every custodian of a set is configured here.
    ///
    /// # Errors
    /// [`Error::UnknownCustodian`] names the first that is not.
    pub fn knows(&self, set: &CustodySet) -> Result<(), Error> {
        self.0.wiring.wrapping.knows(set)
    }
}

impl DepositKeys {
    /// The key of this tenant's duplicate tags. Opens nothing and stays, as the row MACs' key does.
    ///
    /// # Errors
    /// [`Error`] when the tenant key does not come.
    pub async fn dedupe(&self, tenant: &TenantRef) -> Result<Arc<DedupeKey>, Error> {
        Ok(self.0.rows(tenant).await?.dedupe)
    }

    /// Makes the tenant key warm, under its own Warm entry.
    ///
    /// # Errors
    /// [`Error`]; nothing is warm then.
    pub async fn warm(&self, tenant: &TenantRef) -> Result<(), Error> {
        self.0.key(tenant).await.map(drop)
    }

    /// Opens the deposit key that the permit names and makes a fresh data key for the one version it names, under the
    /// owner's subject key; makes that too where the owner has none. Eats the permit.
    ///
    /// # Errors
    /// [`Error::Foreign`] for rows of another tenant or deposit key than the permit's, [`Error::Integrity`] for rows
    /// that do not open, else what kept the tenant key from coming.
    pub async fn open_deposit(&self, permit: Permit<Deposit>, rows: DepositRows) -> Result<OpenedDeposit, Error> {
        let warrant = &permit.entry().warrant;
        let DepositRows { tenant, deposit_key, subject } = rows;
        belongs(&tenant, warrant.tenant, &warrant.tenant_key_id)?;
        if deposit_key.id != warrant.deposit_key {
            return Err(Error::Foreign);
        }
        let mut asked = Asked::default();
        let key = asked.above(&self.0, &tenant, &deposit_key.under).await?;
        let context = WrapDepositKey {
            tenant: tenant.tenant,
            key: deposit_key.id,
            suite: deposit_key.suite,
            not_before: deposit_key.not_before,
            not_after: deposit_key.not_after,
        };
        let pair =
            key.unwrap_deposit_key(&deposit_key.wrapped, &context).map_err(Error::opening(Broken::DepositKey))?;
        let (subject_key_version, subject, new_subject) = self.subject(asked, &tenant, warrant.owner, subject).await?;
        let secret = SecretContext::from(warrant);
        self.0.data_keys.fetch_add(1, Ordering::Relaxed);
        let dek = Dek::generate(&self.0.wiring.slab)?;
        let data = subject.wrap_data(&dek, &WrapData { secret, subject_key_version })?;
        Ok(OpenedDeposit { pair, secret, dek, data, subject_key_version, new_subject })
    }

    /// The owner's subject key: the one there is, or a first one with its row.
    async fn subject(
        &self,
        mut asked: Asked,
        tenant: &TenantRef,
        owner: SubjectId,
        row: Option<SubjectKeyRow>,
    ) -> Result<(u32, SubjectKey, Option<SubjectKeyRow>), Error> {
        if let Some(SubjectKeyRow { version, under, wrapped }) = row {
            let key = asked.above(&self.0, tenant, &under).await?;
            let context = subject_context(&under, owner, version);
            let subject = key.unwrap_subject(&wrapped, &context).map_err(Error::opening(Broken::SubjectKey))?;
            return Ok((version, subject, None));
        }
        let key = asked.above(&self.0, tenant, tenant).await?;
        let subject = SubjectKey::generate(&self.0.wiring.slab)?;
        let wrapped = key.wrap_subject(&subject, &subject_context(tenant, owner, FIRST))?;
        Ok((FIRST, subject, Some(SubjectKeyRow { version: FIRST, under: tenant.clone(), wrapped })))
    }
}

impl WrapKey {
    /// Makes a tenant's first key and wraps it by every custodian of the set. The key itself is dropped: its first
    /// use asks the custodian, under an entry.
    ///
    /// # Errors
    /// [`Error`] when a custodian of the set does not answer; shares already made open nothing without the rest, or
    /// are of a key that nothing uses.
    pub async fn new_tenant_key(
        &self,
        region: &str,
        tenant: TenantId,
        set: &CustodySet,
    ) -> Result<NewTenantKey, Error> {
        let wiring = &self.0.wiring;
        let key = TenantKey::generate(&wiring.slab)?;
        let wrapped = wiring.wrapping.wrap(Which { region, tenant, version: FIRST }, set, &key).await?;
        Ok(NewTenantKey { key_id: key.id()?, version: FIRST, wrapped, integrity: Arc::new(key.integrity()?) })
    }

    /// Makes a deposit key pair and wraps its private half under the tenant key, which is warmed under its own entry.
    ///
    /// # Errors
    /// [`Error`] when the tenant key does not come.
    pub async fn new_deposit_key(
        &self,
        tenant: &TenantRef,
        id: DepositKeyId,
        suite: Suite,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<(PublicKey, WrappedKey), Error> {
        let key = self.0.key(tenant).await?;
        let pair = DepositKeyPair::generate(suite, &self.0.wiring.slab)?;
        let context = WrapDepositKey { tenant: tenant.tenant, key: id, suite, not_before, not_after };
        Ok((pair.public().clone(), key.wrap_deposit_key(&pair, &context)?))
    }
}

/// The versions of a tenant key that one deposit has asked for: each once, also where none may stay warm.
#[derive(Default)]
struct Asked(Vec<([u8; 16], Arc<TenantKey>)>);

impl Asked {
    /// The version that a row lies under.
    async fn above(&mut self, inner: &Inner, tenant: &TenantRef, under: &TenantRef) -> Result<Arc<TenantKey>, Error> {
        if under.tenant != tenant.tenant {
            return Err(Error::Foreign);
        }
        if let Some((_, key)) = self.0.iter().find(|(id, _)| *id == under.key_id) {
            return Ok(key.clone());
        }
        let key = inner.key(under).await?;
        self.0.push((under.key_id, key.clone()));
        Ok(key)
    }
}

fn belongs(rows: &TenantRef, tenant: TenantId, key_id: &[u8; 16]) -> Result<(), Error> {
    if rows.tenant == tenant && rows.key_id == *key_id { Ok(()) } else { Err(Error::Foreign) }
}

pub(crate) fn subject_context(tenant: &TenantRef, owner: SubjectId, subject_key_version: u32) -> WrapSubject {
    WrapSubject {
        tenant: tenant.tenant,
        owner,
        subject_key_version,
        tenant_key_id: tenant.key_id,
        tenant_key_version: tenant.key_version,
    }
}
