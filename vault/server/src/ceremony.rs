//! Key ceremonies on the machine that has the token's module: the plan that people approve, the making of the keys under
//! their approvals, and the record without which a node does not start on them. Nothing here overwrites or deletes a key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use cofre_custody::pkcs11::TokenName;
use cofre_custody::{CustodianId, Mechanism, Signer};
use cofre_edge::tls::{Authorities, prove};
use cofre_envelope::Slab;
use cofre_ledger::ceremony::{Approval, CeremonyError, Person, Plan, PlannedKey, Record, Unfinished, Use, approvers};
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed::VerifyingKey;
use cofre_model::caller::Role;
use cofre_model::time::{Clock as _, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::clock::SystemClock;
use crate::config::{Config, Configured, Token};
use crate::node;
use crate::node::services::Service;

mod paper;
mod recorded;
mod services;
#[cfg(all(test, feature = "transit"))]
mod tests;
mod tokens;

use paper::Paper;
pub(crate) use recorded::{kept, seen_to_sign};

/// What a wrapping key may become where the configuration does not hold it to one mechanism, best first.
const ANY_WAY: &str = "aes-gcm or aes-kwp or rsa-oaep-sha256";
/// What a signing key may become, best first.
const SIGNING: &str = "ed25519 or ecdsa-p256-sha256";

/// What a person orders.
#[derive(Debug)]
pub struct Order {
    /// Whose keys.
    pub custodian: CustodianId,
    /// The plan that was approved.
    pub plan: Option<PathBuf>,
    /// The approvals.
    pub approvals: Vec<PathBuf>,
    /// Where the record is to stand; none for a rehearsal, which makes nothing.
    pub record: Option<PathBuf>,
}

/// The plan of a custodian's keys, from the configuration and the module's file. Asks no token.
///
/// # Errors
/// A custodian that is not configured, a module that cannot be read, labels that cannot be planned.
pub fn plan(config: &Config, id: &CustodianId) -> Result<Plan> {
    let configured =
        config.custodians.get(id).with_context(|| format!("custodian {id} stands not under [custodians]"))?;
    let (place, module_sha256, keys) = match configured {
        Configured::Pkcs11(token) => of_token(token)?,
        service => services::planned(service),
    };
    for label in keys.iter().map(|key| &key.label) {
        ensure!(!label.chars().any(char::is_control), "custodian {id}: a label has a control character");
    }
    Ok(Plan {
        deployment: config.deployment.clone(),
        custodian: id.as_str().to_owned(),
        place,
        module_sha256,
        people: config.ceremonies.get(id).map_or(0, |ceremony| ceremony.people),
        keys,
    })
}

fn of_token(token: &Token) -> Result<(String, String, Vec<PlannedKey>)> {
    let place = match &token.token {
        TokenName::Label(label) => format!("token label {label}"),
        TokenName::Serial(serial) => format!("token serial {serial}"),
    };
    let module = std::fs::read(&token.module)
        .with_context(|| format!("custodians.*.pkcs11.module: {} cannot be read", token.module.display()))?;
    let digest: [u8; 32] = Sha256::digest(&module).into();
    if token.module_sha256.is_some_and(|pinned| pinned != digest) {
        bail!("custodians.*.pkcs11.module_sha256 is not that of {}: {}", token.module.display(), hex::encode(digest));
    }
    let mut keys = vec![PlannedKey {
        used_to: Use::Wrap,
        label: token.key_label.clone(),
        mechanism: token.mechanism.map_or(ANY_WAY, Mechanism::as_str).to_owned(),
    }];
    if let Some(label) = &token.signer_label {
        ensure!(*label != token.key_label, "custodians.*.pkcs11: key_label and signer_label must differ");
        keys.push(PlannedKey { used_to: Use::Sign, label: label.clone(), mechanism: SIGNING.to_owned() });
    }
    Ok((place, hex::encode(digest), keys))
}

/// What came of an order.
#[derive(Debug)]
pub enum Done {
    /// What the token could do; nothing was made.
    Rehearsed(String),
    /// The record, which stands where it was ordered.
    Recorded(Box<Record>),
}

/// Carries out an order: checks the approvals, makes the keys, reads them back, tries them, and writes the record.
///
/// # Errors
/// What is wrong with the plan or an approval, by person; then nothing was asked of the token. A custodian's fault with
/// its advice. Where the token was told to make a key before that, what is known stands where the record was to stand.
pub async fn init(config: &Config, order: &Order) -> Result<Done> {
    let plan = plan(config, &order.custodian)?;
    // Whole seconds are what the record can say.
    let at = Timestamp::from_secs(SystemClock::new().now().secs());
    let approvals = approved(config, &plan, order, at)?;
    let slab = node::locked_memory(config)?;
    let Some(path) = &order.record else {
        return rehearse(config, &plan, &order.custodian, &slab).await.map(Done::Rehearsed);
    };
    let tool = format!("cofred {}", env!("CARGO_PKG_VERSION"));
    let ordered = Ordered { plan, approvals, at, tool };
    // Before anything is made: what cannot be written down is not done.
    let paper = Paper::begin(path, &ordered.unfinished("the token was not heard from yet"))?;
    match make(config, ordered, &order.custodian, (&slab, &paper)).await {
        Ok((record, open)) => {
            let written = paper.finish(&record);
            // Only now: a token that will not close, and a person who then ends this, cost no record.
            open.close().await;
            written.map(|()| Done::Recorded(Box::new(record)))
        }
        Err(broken) => Err(paper.broken(broken)),
    }
}

/// What a ceremony opened, to be closed when its record is written.
enum Open {
    Token(Arc<cofre_custody::pkcs11::Token>),
    Service(Service),
}

impl Open {
    /// The process ends with this, and with it whatever the token would not take back.
    async fn close(self) {
        match self {
            Self::Token(token) => drop(token.close().await),
            Self::Service(service) => service.close(),
        }
    }
}

/// What a ceremony is carried out by, and what its record begins with.
struct Ordered {
    plan: Plan,
    approvals: Vec<Approval>,
    at: Timestamp,
    tool: String,
}

impl Ordered {
    /// What is known before the token is asked.
    fn unfinished(&self, why: &str) -> Unfinished {
        let Self { plan, at, tool, .. } = self;
        let (plan, tool, why) = (plan.clone(), tool.clone(), why.to_owned());
        Unfinished { at: *at, tool, plan, why, token: None, witness: None, keys: Vec::new() }
    }
}

/// A ceremony that came to no record.
struct Broken {
    why: anyhow::Error,
    /// What may be on the token now; none where it was told to make nothing.
    left: Option<Box<Unfinished>>,
}

impl From<anyhow::Error> for Broken {
    /// Of what comes before the token is told to make anything.
    fn from(why: anyhow::Error) -> Self {
        Self { why, left: None }
    }
}

/// The approvals, where they let the plan be carried out.
fn approved(config: &Config, plan: &Plan, order: &Order, at: Timestamp) -> Result<Vec<Approval>> {
    if let Some(path) = &order.plan {
        unchanged(path, plan)?;
    } else if plan.people > 0 {
        bail!(
            "custodian {}: {} people have to approve; write a plan (`cofred keys plan`), have each approve it \
             (`cofre keys approve`), and name it by --plan",
            order.custodian,
            plan.people
        );
    }
    let mut approvals = Vec::new();
    for path in &order.approvals {
        let approval = Approval::parse(&read(path)?);
        approvals.push(approval.with_context(|| path.display().to_string())?);
    }
    let bundle = std::fs::read(&config.identity.bundle).context("identity.bundle cannot be read")?;
    let lists = std::fs::read(&config.identity.revocations).context("identity.revocations cannot be read")?;
    let by = Authorities { bundle: &bundle, revocations: Some(&lists), trust_domain: &config.identity.trust_domain };
    approvers(plan, &approvals, at, |approval, at| identified(approval, by, at))?;
    Ok(approvals)
}

/// The plan in the file is the one that configuration and module give now.
fn unchanged(path: &Path, plan: &Plan) -> Result<()> {
    let given = Plan::parse(&read(path)?).with_context(|| path.display().to_string())?;
    if let Some((given, now)) = difference(&given, plan) {
        bail!(
            "{}: says `{given}`, and configuration and module say `{now}`; write a new plan and have it approved",
            path.display()
        );
    }
    Ok(())
}

/// The first line in which two plans differ, of each.
fn difference(one: &Plan, other: &Plan) -> Option<(String, String)> {
    let (one, other) = (one.to_text(), other.to_text());
    let (mut one, mut other) = (one.lines(), other.lines());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => return Some([one, other].map(|line| line.unwrap_or("no more").to_owned()).into()),
        }
    }
}

/// Whom an approval's chain proves at `at`, which is never the approver's own time: a custodian of the deployment.
fn identified(approval: &Approval, by: Authorities<'_>, at: Timestamp) -> Result<Person, CeremonyError> {
    let refused = |why: String| CeremonyError::Person { person: approval.person().to_owned(), why };
    let (caller, spki) = prove(approval.chain(), by, at).map_err(|why| refused(why.to_string()))?;
    let name = caller.identity();
    if name.role() != Role::Custodian {
        return Err(refused(format!("{name} is no custodian: plans are approved by person/custodian/<name>")));
    }
    let key = VerifyingKey::from_spki(&spki);
    let key = key.map_err(|_| refused("the certificate's key is neither Ed25519 nor P-256".to_owned()))?;
    Ok(Person { name: name.to_string(), key })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

async fn rehearse(config: &Config, plan: &Plan, id: &CustodianId, slab: &Arc<Slab>) -> Result<String> {
    match config.custodians.get(id) {
        Some(Configured::Pkcs11(token)) => tokens::rehearse(plan, (id, token), slab).await,
        Some(service) => {
            let opened = services::open(id, service, slab).await?;
            Ok(format!("the keys of {id} are as they have to be:\n{}", services::words(&opened)))
        }
        None => bail!("custodian {id} stands not under [custodians]"),
    }
}

async fn make(
    config: &Config,
    ordered: Ordered,
    id: &CustodianId,
    (slab, paper): (&Arc<Slab>, &Paper),
) -> Result<(Record, Open), Broken> {
    let origin = cofre_ledger::checkpoint::origin(&config.deployment);
    match config.custodians.get(id) {
        Some(Configured::Pkcs11(token)) => {
            let (record, opened) = tokens::make(ordered, &origin, (id, token), (slab, paper)).await?;
            Ok((record, Open::Token(opened)))
        }
        Some(service) => {
            let (record, opened) = services::record(ordered, &origin, (id, service), slab).await?;
            Ok((record, Open::Service(opened)))
        }
        None => Err(anyhow::anyhow!("custodian {id} stands not under [custodians]").into()),
    }
}

/// The public half of the key that signs, under the ledger's name.
fn verifier_key(origin: &str, signer: Option<&dyn Signer>) -> Result<Option<NoteKey>> {
    Ok(signer.map(|signer| cofre_audit::note_key(origin, signer)).transpose()?)
}

async fn sign(mut record: Record, signer: Option<&dyn Signer>) -> Result<Record> {
    if let Some(signer) = signer {
        let signature = signer.sign(record.text().as_bytes()).await?;
        record.sign(signature)?;
    }
    Ok(record)
}

/// Whether people have still to sign a record that was just made.
#[must_use]
pub const fn is_unfinished(record: &Record) -> bool {
    record.body().plan.people > 0
}

/// What is left to do, for a person.
#[must_use]
pub fn next_step(record: &Record) -> String {
    let body = record.body();
    let key =
        body.verifier_key.as_ref().map(|key| format!("The verifier key, to be pinned by all who verify:\n{key}\n"));
    let people = match body.plan.people {
        0 => "The record is finished.".to_owned(),
        people => format!("UNFINISHED: {people} people have to sign the record, each by `cofre keys countersign`."),
    };
    format!("{}{people}", key.unwrap_or_default())
}
