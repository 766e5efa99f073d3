//! Fills stores with many logins, behind the vault's back: for tests of jobs over keys, and of whatever depends on how
//! much there is. Each login has real keys and real ciphertexts under a real tenant key, and opens as any other does.
//!
//! What is not made here: entries. The ledger knows nothing of these logins, so none of them is ever released
//! (docs/adr/0011); they are for what happens to keys.

mod bulk;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cofre_custody::{Custodian, CustodySet};
use cofre_envelope::context::{SecretContext, WrapData, WrapSubject, WrapTenant};
use cofre_envelope::{Dek, Plain, RowMac, Slab, SubjectKey, TenantKey};
use cofre_model::credential::{Credential, CredentialState, FieldKey};
use cofre_model::id::{CredentialId, InstitutionId, Slug, SubjectId, TenantId};
use cofre_model::registry::{Tenant, TenantState};
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;
use cofre_store::columns;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::postgres::Cluster;
use crate::stores::Store;
use bulk::{Cell, Link, Table};

/// Logins made and written at once.
const BATCH: u64 = 1_000;
/// Batches in the making beside the one being written: one for each core of a small machine.
const AHEAD: usize = 2;
/// The fields of every login, and their values.
const FIELDS: [(&str, &[u8]); 2] = [("user", b"seeded"), ("password", b"seeded: opens nothing anywhere")];
const INSTITUTION: &str = "ins_banco-abierto";

/// How much to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// Tenants.
    pub tenants: u16,
    /// Logins, shared out evenly; each has an owner of its own.
    pub credentials: u64,
    /// The region of the tenants.
    pub region: Slug,
    /// Everything was made at this instant.
    pub at: Timestamp,
}

/// A tenant that was made, and its logins.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// The tenant.
    pub tenant: Tenant,
    /// How many logins it has; [`Seeded::login`] names each.
    pub logins: u64,
    number: u16,
    at: Timestamp,
}

impl Seeded {
    /// The login of this number, from 0, and its owner.
    #[must_use]
    pub fn login(&self, number: u64) -> (CredentialId, SubjectId) {
        login(self.at, self.number, number)
    }
}

fn login(at: Timestamp, tenant: u16, number: u64) -> (CredentialId, SubjectId) {
    let mut id = [0; 10];
    let (head, tail) = id.split_at_mut(2);
    head.copy_from_slice(&tenant.to_be_bytes());
    tail.copy_from_slice(&number.to_be_bytes());
    (CredentialId::from_parts(at.millis(), id), SubjectId::from_parts(at.millis(), id))
}

/// A tenant in the making.
struct Made {
    tenant: Tenant,
    number: u16,
    key: TenantKey,
    rows: RowMac,
    institution: InstitutionId,
    fields: Vec<(FieldKey, &'static [u8])>,
    slab: Arc<Slab>,
    at: Timestamp,
}

/// Rows for the three stores.
#[derive(Default)]
struct Batch {
    subjects: Vec<Vec<Cell>>,
    credentials: Vec<Vec<Cell>>,
    subject_keys: Vec<Vec<Cell>>,
    data_keys: Vec<Vec<Cell>>,
    fields: Vec<Vec<Cell>>,
}

/// The three stores, by an administrator's hand.
struct Hands {
    records: Link,
    ciphertexts: Link,
    keyring: Link,
}

impl Hands {
    async fn on(folder: &Path, cluster: Option<&Cluster>) -> Result<Self> {
        let [records, ciphertexts, keyring] = Store::ALL.map(|store| Link::to(folder, cluster, store));
        Ok(Self { records: records.await?, ciphertexts: ciphertexts.await?, keyring: keyring.await? })
    }

    async fn put(&mut self, batch: Batch) -> Result<()> {
        let Self { records, ciphertexts, keyring } = self;
        let Batch { subjects, credentials, subject_keys, data_keys, fields } = batch;
        tokio::try_join!(
            records.put(vec![(Table::Subjects, subjects), (Table::Credentials, credentials)]),
            keyring.put(vec![(Table::SubjectKeys, subject_keys), (Table::DataKeys, data_keys)]),
            ciphertexts.put(vec![(Table::SealedFields, fields)]),
        )?;
        Ok(())
    }
}

/// Makes tenants and logins in the stores of a folder, which no vault may have open. Every tenant's key is wrapped by
/// `custodian` alone.
///
/// # Errors
/// Where the stores are not there, hold such tenants already, or the custodian does not wrap.
pub async fn seed(
    folder: &Path,
    cluster: Option<&Cluster>,
    custodian: &dyn Custodian,
    slab: &Arc<Slab>,
    order: &Order,
) -> Result<Vec<Seeded>> {
    if order.tenants == 0 {
        bail!("at least one tenant has to be made");
    }
    let mut hands = Hands::on(folder, cluster).await?;
    let mut seeded = Vec::new();
    for number in 0..order.tenants {
        let tenants = u64::from(order.tenants);
        let logins = order.credentials / tenants + u64::from(u64::from(number) < order.credentials % tenants);
        let made = Arc::new(tenant(&mut hands, custodian, slab, order, number).await?);
        fill(&mut hands, &made, logins).await?;
        seeded.push(Seeded { tenant: made.tenant.clone(), logins, number, at: order.at });
    }
    Ok(seeded)
}

/// Makes a tenant's key, wraps it, and registers the tenant.
async fn tenant(
    hands: &mut Hands,
    custodian: &dyn Custodian,
    slab: &Arc<Slab>,
    order: &Order,
    number: u16,
) -> Result<Made> {
    let mut id = [0xff; 10];
    let (head, _) = id.split_at_mut(2);
    head.copy_from_slice(&number.to_be_bytes());
    let key = TenantKey::generate(slab)?;
    let tenant = Tenant {
        id: TenantId::from_parts(order.at.millis(), id),
        slug: Slug::try_from(format!("seeded-{number}").as_str())?,
        legal_name: format!("Seeded {number}"),
        state: TenantState::Active,
        home_region: order.region.clone(),
        tenant_key_id: key.id()?,
    };
    let set = CustodySet::any_of(vec![custodian.id().clone()])?;
    let context = WrapTenant {
        region: order.region.as_str(),
        tenant: tenant.id,
        tenant_key_version: 1,
        custody_set: set.digest(),
        custodian: custodian.id().as_str(),
        share_index: 0,
        share_count: 1,
    };
    let share = key.split(1)?.pop().context("one share")?;
    let wrapped = custodian.wrap(context.encode(), share.bind(&context)?).await;
    let wrapped = wrapped.map_err(|fault| anyhow!("{fault}; {}", fault.advice()))?;
    let share = vec![
        Cell::text(tenant.id),
        Cell::Int(1),
        Cell::Int(1),
        Cell::text(custodian.id()),
        Cell::Int(0),
        Cell::Int(1),
        Cell::Bytes(wrapped.bytes.as_bytes().to_vec()),
        Cell::text(wrapped.mechanism.as_str()),
        Cell::text(wrapped.custodian_key),
        Cell::text(&set),
        Cell::text("CURRENT"),
        Cell::instant(order.at),
        Cell::Int(0),
    ];
    hands.keyring.put(vec![(Table::TenantKeys, vec![share])]).await?;
    let row = vec![
        Cell::text(tenant.id),
        Cell::text(&tenant.slug),
        Cell::text(&tenant.legal_name),
        Cell::text(tenant.state),
        Cell::text(&tenant.home_region),
        Cell::Bytes(tenant.tenant_key_id.to_vec()),
        Cell::Int(1),
        Cell::Int(1),
        Cell::Int(300_000_000),
        Cell::Int(1),
    ];
    let version = vec![
        Cell::text(tenant.id),
        Cell::Int(1),
        Cell::Bytes(tenant.tenant_key_id.to_vec()),
        Cell::text("CURRENT"),
        Cell::Int(0),
        Cell::instant(order.at),
    ];
    let rows = vec![(Table::Tenants, vec![row]), (Table::TenantKeyVersions, vec![version])];
    hands.records.put(rows).await.context("are these tenants there already?")?;
    let fields = FIELDS.iter().map(|(name, value)| Ok((FieldKey::try_from(*name)?, *value)));
    Ok(Made {
        rows: key.integrity()?,
        tenant,
        number,
        key,
        institution: InstitutionId::try_from(INSTITUTION)?,
        fields: fields.collect::<Result<_>>()?,
        slab: Arc::clone(slab),
        at: order.at,
    })
}

/// Makes batches on the blocking threads, some ahead of the one that is being written.
async fn fill(hands: &mut Hands, made: &Arc<Made>, logins: u64) -> Result<()> {
    let mut making: VecDeque<JoinHandle<Result<Batch>>> = VecDeque::new();
    let mut next = 0;
    loop {
        while next < logins && making.len() <= AHEAD {
            let (made, range) = (Arc::clone(made), next..(next + BATCH).min(logins));
            next = range.end;
            making.push_back(spawn_blocking(move || {
                let mut batch = Batch::default();
                for number in range {
                    made.login(number, &mut batch)?;
                }
                Ok(batch)
            }));
        }
        let Some(batch) = making.pop_front() else { return Ok(()) };
        hands.put(batch.await??).await?;
    }
}

impl Made {
    fn login(&self, number: u64, batch: &mut Batch) -> Result<()> {
        let (credential, owner) = login(self.at, self.number, number);
        self.keys(credential, owner, batch)?;
        // What is random elsewhere only has to differ here.
        let [tag, entry] = ["dedupe", "entry"].map(|what| Sha256::digest(format!("{what} {credential}")).to_vec());
        let row = Credential {
            id: credential,
            tenant: self.tenant.id,
            institution: self.institution.clone(),
            template_version: 1,
            owner,
            state: CredentialState::Active,
            secret_version: 1,
            not_before: Timestamp::default(),
            dedupe_tag: tag,
        };
        let entry: [u8; 16] = entry.first_chunk().copied().context("32 bytes")?;
        let deciding = columns::credential(&row);
        let deciding: Vec<&[u8]> = deciding.iter().map(Vec::as_slice).collect();
        let mac = self.rows.tag(columns::CREDENTIALS, &deciding, &entry);
        batch.subjects.push(vec![
            Cell::text(owner),
            Cell::text(self.tenant.id),
            Cell::text(cofre_store::SubjectKind::Natural.as_str()),
            Cell::text(format!("seeded-{number}")),
            Cell::text(cofre_store::SubjectState::Active.as_str()),
        ]);
        batch.credentials.push(vec![
            Cell::text(credential),
            Cell::text(self.tenant.id),
            Cell::text(&row.institution),
            Cell::Int(1),
            Cell::text(owner),
            Cell::text(row.state),
            Cell::Int(1),
            Cell::Int(0),
            Cell::Bytes(row.dedupe_tag),
            Cell::Bytes(entry.to_vec()),
            Cell::Bytes(mac.to_vec()),
            Cell::Int(1),
            Cell::Int(1),
            Cell::text(CredentialState::Active),
            Cell::Bytes(Vec::new()),
        ]);
        Ok(())
    }

    /// The owner's key, the login's, and its sealed fields.
    fn keys(&self, credential: CredentialId, owner: SubjectId, batch: &mut Batch) -> Result<()> {
        let secret = SecretContext { tenant: self.tenant.id, owner, credential, class: Class::Login, version: 1 };
        let above = WrapSubject {
            tenant: self.tenant.id,
            owner,
            subject_key_version: 1,
            tenant_key_id: self.tenant.tenant_key_id,
            tenant_key_version: 1,
        };
        let subject = SubjectKey::generate(&self.slab)?;
        let dek = Dek::generate(&self.slab)?;
        let data = subject.wrap_data(&dek, &WrapData { secret, subject_key_version: 1 })?;
        batch.subject_keys.push(vec![
            Cell::text(owner),
            Cell::Int(1),
            Cell::text(self.tenant.id),
            Cell::Int(1),
            Cell::Bytes(self.key.wrap_subject(&subject, &above)?.as_bytes().to_vec()),
        ]);
        batch.data_keys.push(vec![
            Cell::text(credential),
            Cell::text(Class::Login),
            Cell::Int(1),
            Cell::text(owner),
            Cell::Int(1),
            Cell::Bytes(data.as_bytes().to_vec()),
        ]);
        for (place, (field, value)) in (0_i64..).zip(&self.fields) {
            let sealed = dek.seal_field(&secret, field, Plain::copy_of(&self.slab, value)?)?;
            batch.fields.push(vec![
                Cell::text(credential),
                Cell::text(Class::Login),
                Cell::Int(1),
                Cell::text(field.as_str()),
                Cell::Int(place),
                Cell::Bytes(sealed.as_bytes().to_vec()),
            ]);
        }
        Ok(())
    }
}
