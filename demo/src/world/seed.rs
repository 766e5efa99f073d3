//! Seeds: six fixture institutions with their templates, two tenants with their keys and recipients, workers.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofre_client::people::Operator;
use cofre_client::statements::{sign_attendance, sign_job};
use cofre_client::{Deployment, FrontEnd};
use cofre_model::caller::SpiffeId;
use cofre_model::id::{
    AttendanceId, CredentialId, InstitutionId, JobId, RecipientId, SigningKeyId, Slug, SubjectId, TenantId,
};
use cofre_model::job::{AttendanceStatement, Job, SignedStatement, StatementKind};
use cofre_model::registry::{Institution, InstitutionState, Template, TemplateField};
use cofre_model::request::{PutTenant, PutWorker};
use cofre_model::time::{Clock, Span};
use cofre_model::wording::{Form, Purpose, Scope};
use cofre_testkit::institutions::{self, ReleaseForm};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use super::identities::Identities;
use super::{NAME, REGION};

/// The file that remembers the tenants.
const TENANTS: &str = "tenants.json";
/// The tenants' slugs.
const SLUGS: [&str; 2] = ["gestora-norte", "gestora-sur"];

/// A tenant of the world: its scheduler's and its front end's keys, and its front end's connection.
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its slug.
    pub slug: &'static str,
    /// Who receives its investors' data.
    pub recipient: RecipientId,
    scheduler: (SigningKeyId, SigningKey),
    presence: (SigningKeyId, SigningKey),
    front_end: Option<FrontEnd>,
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("slug", &self.slug).finish_non_exhaustive()
    }
}

/// What is remembered of a seeded tenant between two starts.
#[derive(Serialize, Deserialize)]
pub(super) struct Remembered {
    id: String,
    recipient: String,
    scheduler: (String, String),
    presence: (String, String),
}

/// What a job asks for; the rest is usual.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The worker's file name, such as `w01`.
    pub worker: String,
    /// The pool it runs in.
    pub pool: &'static str,
    /// Which data.
    pub scopes: Vec<Scope>,
}

impl Wanted {
    /// Positions and accounts, for a worker of the usual pool.
    #[must_use]
    pub fn by(worker: &str) -> Self {
        Self { worker: worker.to_owned(), pool: "pool-a", scopes: vec![Scope::Accounts, Scope::Positions] }
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("randomness: {error}"))?;
    Ok(bytes)
}

impl Tenant {
    /// The front end's connection.
    ///
    /// # Errors
    /// Before it was connected.
    pub fn front_end(&self) -> Result<&FrontEnd> {
        self.front_end.as_ref().context("the front end is not connected")
    }

    pub(super) async fn connect(
        &mut self,
        door: &Deployment,
        identities: &Identities,
        clock: &Arc<dyn Clock>,
    ) -> Result<()> {
        let identity = identities.load(&format!("frontend-{}", self.slug))?;
        self.front_end = Some(FrontEnd::connect(door, &identity, Arc::clone(clock)).await?);
        Ok(())
    }

    /// The scheduler signs a job.
    ///
    /// # Errors
    /// Where no randomness is to be had.
    pub fn job(&self, clock: &dyn Clock, credential: CredentialId, wanted: &Wanted) -> Result<(Job, SignedStatement)> {
        let now = clock.now();
        let job = Job {
            id: JobId::from_parts(now.millis(), random()?),
            tenant: self.id,
            credential,
            worker: format!("spiffe://{NAME}/worker/{}/{}", wanted.pool, wanted.worker),
            purpose: Purpose::WealthAggregation,
            scopes: wanted.scopes.iter().copied().collect(),
            recipient: self.recipient,
            history_from: now.minus(Span::days(365)),
            deadline: now.plus(Span::minutes(10)),
        };
        let signed = sign_job(&job, self.scheduler.0, |message| self.scheduler.1.sign(message).to_bytes());
        Ok((job, signed))
    }

    /// The front end vouches for the investor's presence.
    ///
    /// # Errors
    /// Where no randomness is to be had.
    pub fn attendance(&self, clock: &dyn Clock, credential: CredentialId, owner: SubjectId) -> Result<SignedStatement> {
        let now = clock.now();
        let statement = AttendanceStatement {
            id: AttendanceId::from_parts(now.millis(), random()?),
            tenant: self.id,
            owner,
            credential,
            issued_at: now,
        };
        Ok(sign_attendance(&statement, self.presence.0, |message| self.presence.1.sign(message).to_bytes()))
    }
}

/// Seeds what is missing and gives the two tenants.
pub(super) async fn tenants(
    folder: &Path,
    operator: &Operator,
    clock: &Arc<dyn Clock>,
    workers: usize,
) -> Result<[Tenant; 2]> {
    let file = folder.join(TENANTS);
    let remembered: Vec<Remembered> = match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => {
            let institutions = put_institutions(operator).await?;
            let mut tenants = Vec::new();
            for slug in SLUGS {
                tenants.push(put_tenant(operator, &**clock, slug, (None, None)).await?);
            }
            let ids =
                tenants.iter().map(|tenant| Ok(TenantId::try_from(tenant.id.as_str())?)).collect::<Result<Vec<_>>>()?;
            put_workers(operator, workers, &ids, &institutions).await?;
            std::fs::write(&file, serde_json::to_vec(&tenants)?)?;
            tenants
        }
    };
    both(&remembered)
}

/// The two tenants of a folder that was seeded before; their front ends are not connected.
///
/// # Errors
/// Where the folder was never seeded.
pub fn remembered(folder: &Path) -> Result<[Tenant; 2]> {
    let text = std::fs::read(folder.join(TENANTS)).context("no tenants were seeded here")?;
    both(&serde_json::from_slice::<Vec<Remembered>>(&text)?)
}

fn both(remembered: &[Remembered]) -> Result<[Tenant; 2]> {
    let mut tenants = remembered.iter().zip(SLUGS).map(|(tenant, slug)| recalled(tenant, slug));
    let mut next = || tenants.next().context("tenants.json holds two tenants")?;
    Ok([next()?, next()?])
}

pub(super) fn recalled(remembered: &Remembered, slug: &'static str) -> Result<Tenant> {
    let key = |(id, secret): &(String, String)| -> Result<(SigningKeyId, SigningKey)> {
        let bytes: [u8; 32] = STANDARD.decode(secret)?.try_into().ok().context("a signing key has 32 bytes")?;
        Ok((SigningKeyId::try_from(id.as_str())?, SigningKey::from_bytes(&bytes)))
    };
    Ok(Tenant {
        id: TenantId::try_from(remembered.id.as_str())?,
        slug,
        recipient: RecipientId::try_from(remembered.recipient.as_str())?,
        scheduler: key(&remembered.scheduler)?,
        presence: key(&remembered.presence)?,
        front_end: None,
    })
}

/// Registers a tenant, with a custody set and a warm span of its own where they are given.
pub(super) async fn put_tenant(
    operator: &Operator,
    clock: &dyn Clock,
    slug: &'static str,
    (custody_set, warm_for): (Option<String>, Option<Span>),
) -> Result<Remembered> {
    let (job, attendance) = (random::<32>()?, random::<32>()?);
    let public = |secret: &[u8; 32]| SigningKey::from_bytes(secret).verifying_key().to_bytes();
    let until = clock.now().plus(Span::days(365));
    let registered = operator
        .put_tenant(&PutTenant {
            slug: Slug::try_from(slug)?,
            legal_name: format!("{} SGIIC", slug.replace('-', " ")),
            home_region: Slug::try_from(REGION)?,
            signing_keys: vec![
                (StatementKind::Job, public(&job), until),
                (StatementKind::Attendance, public(&attendance), until),
            ],
            recipients: vec!["Asesor Ejemplo EAF".to_owned()],
            custody_set,
            warm_for,
        })
        .await?;
    let id_of = |kind: StatementKind| {
        let key = registered.signing_keys.iter().find(|key| key.kind == kind);
        key.map(|key| key.id.to_string()).context("the vault numbered no such key")
    };
    Ok(Remembered {
        id: registered.id.to_string(),
        recipient: registered.recipients.first().context("no recipient")?.0.to_string(),
        scheduler: (id_of(StatementKind::Job)?, STANDARD.encode(job)),
        presence: (id_of(StatementKind::Attendance)?, STANDARD.encode(attendance)),
    })
}

async fn put_institutions(operator: &Operator) -> Result<Vec<InstitutionId>> {
    let mut ids = Vec::new();
    for fixture in institutions::all()? {
        let id = InstitutionId::try_from(fixture.id().as_str())?;
        operator
            .put_institution(&Institution {
                id: id.clone(),
                name: fixture.name.clone(),
                country: fixture.country.clone(),
                state: InstitutionState::Enabled,
                lockout_threshold: u8::try_from(fixture.lockout_threshold)?,
                unattended_from: 0,
                unattended_to: 1_440,
            })
            .await?;
        let mut fields = Vec::new();
        for field in &fixture.fields {
            fields.push(TemplateField {
                key: field.key.as_str().try_into()?,
                pattern: field.regexp.clone(),
                required: field.required,
                secret: field.secret,
                signing_factor: field.signing_factor,
                identifies: !field.secret,
                release_form: match field.release_form {
                    ReleaseForm::Full => Form::Full,
                },
            });
        }
        operator.put_template(&Template { institution: id.clone(), version: fixture.template_version, fields }).await?;
        ids.push(id);
    }
    Ok(ids)
}

/// Every worker of the pool serves these tenants at every institution; the stranger is registered and serves none.
pub(super) async fn put_workers(
    operator: &Operator,
    workers: usize,
    tenants: &[TenantId],
    institutions: &[InstitutionId],
) -> Result<()> {
    let scopes: Vec<_> =
        tenants.iter().flat_map(|tenant| institutions.iter().map(|each| (*tenant, each.clone()))).collect();
    let all = (1..=workers)
        .map(|number| (format!("worker/pool-a/w{number:02}"), scopes.clone()))
        .chain(std::iter::once(("worker/pool-b/stranger".to_owned(), Vec::new())));
    for (path, scopes) in all {
        let id = SpiffeId::parse(&format!("spiffe://{NAME}/{path}"), NAME)?;
        operator.put_worker(&PutWorker { id, scopes }).await?;
    }
    Ok(())
}
