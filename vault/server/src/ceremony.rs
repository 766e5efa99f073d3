//! Key ceremonies on the machine that has the token's module: the plan that people approve, the making of the keys under
//! their approvals, and the record without which a node does not start on them. Nothing here overwrites or deletes a key.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use cofre_custody::pkcs11::ceremony::{MadeKey, Performed};
use cofre_custody::pkcs11::{Pin, TokenName, ceremony};
use cofre_custody::{CustodianId, Mechanism, Signer};
use cofre_edge::tls::{Authorities, prove};
use cofre_envelope::Slab;
use cofre_ledger::ceremony::{
    Approval, Body, CeremonyError, Key, Object, Person, Plan, PlannedKey, Record, Use, approvers,
};
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed::VerifyingKey;
use cofre_model::caller::Role;
use cofre_model::time::{Clock as _, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::clock::SystemClock;
use crate::config::{Config, Configured, Token};
use crate::node;

mod recorded;
mod services;
#[cfg(all(test, feature = "transit"))]
mod tests;

pub(crate) use recorded::kept;

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
/// its advice.
pub async fn init(config: &Config, order: &Order) -> Result<Done> {
    let plan = plan(config, &order.custodian)?;
    let clock = SystemClock::new();
    // Whole seconds are what the record can say.
    let at = Timestamp::from_secs(clock.now().secs());
    let approvals = approved(config, &plan, order, at)?;
    let slab = node::locked_memory(config)?;
    let Some(path) = &order.record else {
        return rehearse(config, &order.custodian, &slab).await.map(Done::Rehearsed);
    };
    // Before anything is made: what cannot be written down is not done.
    let file = File::create_new(path)
        .with_context(|| format!("{}: cannot be made; a record is never overwritten", path.display()))?;
    let record = match record_of(config, (plan, approvals, at), &order.custodian, &slab).await {
        Ok(record) => record,
        Err(error) => {
            // Nothing stands in it, and the same order may be given again.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
    };
    write(file, &record)
        .with_context(|| format!("{}: keep this record, it could not be written:\n{record}", path.display()))?;
    Ok(Done::Recorded(Box::new(record)))
}

fn write(mut file: File, record: &Record) -> std::io::Result<()> {
    file.write_all(record.to_string().as_bytes())?;
    file.sync_all()
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
    approvers(plan, &approvals, at, |approval| identified(approval, by, at))?;
    Ok(approvals)
}

/// The plan in the file is the one that configuration and module give now.
fn unchanged(path: &Path, plan: &Plan) -> Result<()> {
    let (given, now) = (read(path)?, plan.to_text());
    Plan::parse(&given).with_context(|| path.display().to_string())?;
    if let Some((given, now)) = given.lines().zip(now.lines()).find(|(given, now)| given != now) {
        bail!(
            "{}: says `{given}`, and configuration and module say `{now}`; write a new plan and have it approved",
            path.display()
        );
    }
    ensure!(
        given == now,
        "{}: plans other keys than the configuration; write a new plan and have it approved",
        path.display()
    );
    Ok(())
}

/// Whom an approval's chain proves at `at`: a custodian of the deployment.
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

async fn rehearse(config: &Config, id: &CustodianId, slab: &Arc<Slab>) -> Result<String> {
    match config.custodians.get(id) {
        Some(Configured::Pkcs11(token)) => {
            let pin = Pin::new(token.pin.read_pin(id)?);
            let seen = ceremony::rehearse(node::settings(id, token)?, pin, slab).await;
            let seen = seen.with_context(|| format!("custodian {id}"))?;
            Ok(format!(
                "{} {}, {} ({}): the labels are free, and keys would wrap by {}: {}",
                seen.manufacturer,
                seen.model,
                seen.label,
                seen.serial,
                seen.mechanism.as_str(),
                seen.why
            ))
        }
        Some(service) => {
            let opened = services::open(id, service, slab).await?;
            Ok(format!("the keys of {id} are as they have to be:\n{}", services::words(&opened)))
        }
        None => bail!("custodian {id} stands not under [custodians]"),
    }
}

async fn record_of(
    config: &Config,
    (plan, approvals, at): (Plan, Vec<Approval>, Timestamp),
    id: &CustodianId,
    slab: &Arc<Slab>,
) -> Result<Record> {
    let origin = cofre_ledger::checkpoint::origin(&config.deployment);
    let tool = format!("cofred {}", env!("CARGO_PKG_VERSION"));
    match config.custodians.get(id) {
        Some(Configured::Pkcs11(token)) => {
            let pin = Pin::new(token.pin.read_pin(id)?);
            let (performed, opened) = ceremony::perform(node::settings(id, token)?, pin, slab)
                .await
                .with_context(|| format!("custodian {id}"))?;
            let signer = performed.signer.map(|_| opened.signer()).transpose()?;
            let verifier_key = signer.as_deref().map(|signer| cofre_audit::note_key(&origin, signer)).transpose()?;
            let body = of_performed(performed, (plan, approvals, at), tool, verifier_key);
            let signed = sign(Record::of(body)?, signer.as_deref().map(|signer| signer as &dyn Signer)).await;
            // The token is let go of, whatever became of the record.
            opened.close().await?;
            signed
        }
        Some(service) => {
            let opened = services::open(id, service, slab).await?;
            let signer = if service.signs() { Some(opened.signer()?) } else { None };
            let verifier_key = signer.as_deref().map(|signer| cofre_audit::note_key(&origin, signer)).transpose()?;
            let body = services::body(&opened, (plan, approvals, at), tool, verifier_key);
            let signed = sign(Record::of(body)?, signer.as_deref()).await;
            opened.close();
            signed
        }
        None => bail!("custodian {id} stands not under [custodians]"),
    }
}

async fn sign(mut record: Record, signer: Option<&dyn Signer>) -> Result<Record> {
    if let Some(signer) = signer {
        let signature = signer.sign(record.text().as_bytes()).await?;
        record.sign(signature)?;
    }
    Ok(record)
}

fn of_performed(
    performed: Performed,
    (plan, approvals, at): (Plan, Vec<Approval>, Timestamp),
    tool: String,
    verifier_key: Option<NoteKey>,
) -> Body {
    let key = |made: MadeKey| Key {
        used_to: match made.used_to {
            ceremony::Use::Wrap => Use::Wrap,
            ceremony::Use::Sign => Use::Sign,
        },
        label: made.label,
        kind: made.kind,
        public: made.public,
        check_value: made.check_value,
        objects: made
            .objects
            .into_iter()
            .map(|object| Object { class: object.class, attributes: object.attributes })
            .collect(),
    };
    Body {
        at,
        tool,
        plan,
        token: [performed.label, performed.serial, performed.manufacturer, performed.model],
        mechanism: performed.mechanism.as_str().to_owned(),
        why: performed.why,
        witness: Some(performed.witness),
        verifier_key,
        keys: performed.keys.into_iter().map(key).collect(),
        approvals,
    }
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
