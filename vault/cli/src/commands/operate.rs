//! Registries and the state of a node, for operators. What is registered comes from TOML files, so that it can be
//! reviewed and kept.

mod files;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cofre_client::people::Operator;
use cofre_model::id::TenantId;
use cofre_model::time::Timestamp;
use cofre_proto::v1::{Custodian, StatusResponse};
use serde_json::{Value, json};

use crate::answer::{Answer, entry_json, pairs, table};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::input::toml;

/// The state of the node that answers.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    connection: Connection,
}

/// What to do with a registry.
#[derive(Debug, Subcommand)]
enum Put {
    /// Register or change it.
    Put {
        /// TOML file; unknown keys are refused.
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
    },
}

/// Tenants.
#[derive(Debug, Args)]
pub(crate) struct Tenant {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: Put,
}

/// Institutions.
#[derive(Debug, Args)]
pub(crate) struct Institution {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: Put,
}

/// Login forms.
#[derive(Debug, Args)]
pub(crate) struct Template {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: Put,
}

/// Workers.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: Put,
}

/// Deposit keys of tenants.
#[derive(Debug, Args)]
pub(crate) struct DepositKey {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: Keys,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Keys {
    /// Make the tenant's next deposit key before its time.
    Rotate {
        /// The tenant, ten_…
        #[arg(value_name = "TENANT")]
        tenant: TenantId,
    },
}

impl Status {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let status = connect(&self.connection).await?.status().await?;
        let (text, json) = (status_text(&status), status_json(&status));
        if status.parts.iter().all(|part| part.ready) {
            Ok(Answer::new(text, json))
        } else {
            Ok(Answer::negative(text, json))
        }
    }
}

impl Tenant {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let Put::Put { file } = self.what;
        let tenant = toml::<files::Tenant>(&file)?.parse(&file)?;
        let put = connect(&self.connection).await?.put_tenant(&tenant).await?;
        let mut text = format!("put tenant {}: ledger entry {} at {}", put.id, put.entry.index, put.entry.time);
        let keys = put.signing_keys.iter();
        let keys = keys.map(|key| {
            ["signing key".into(), key.id.to_string(), format!("{} {}", key.kind, hex::encode(key.public_key))]
        });
        let recipients = put.recipients.iter().map(|(id, name)| ["recipient".into(), id.to_string(), name.clone()]);
        text += "\n";
        text += &table(["registered", "id", "what"], keys.chain(recipients));
        let json = json!({
            "done": "put tenant", "tenant_id": put.id.to_string(), "entry": entry_json(&put.entry),
            "signing_keys": put.signing_keys.iter()
                .map(|key| json!({
                    "key_id": key.id.to_string(), "kind": key.kind.as_str(), "public_key": hex::encode(key.public_key),
                }))
                .collect::<Vec<_>>(),
            "recipients": put.recipients.iter()
                .map(|(id, name)| json!({ "recipient_id": id.to_string(), "name": name }))
                .collect::<Vec<_>>(),
        });
        Ok(Answer::new(text, json))
    }
}

impl Institution {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let Put::Put { file } = self.what;
        let institution = toml::<files::Institution>(&file)?.parse(&file)?;
        let entry = connect(&self.connection).await?.put_institution(&institution).await?;
        Ok(Answer::recorded(&format!("put institution {}", institution.id), &entry))
    }
}

impl Template {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let Put::Put { file } = self.what;
        let template = toml::<files::Template>(&file)?.parse(&file)?;
        let entry = connect(&self.connection).await?.put_template(&template).await?;
        let what = format!("put template {} version {}", template.institution, template.version);
        Ok(Answer::recorded(&what, &entry))
    }
}

impl Worker {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let Put::Put { file } = self.what;
        let raw = toml::<files::Worker>(&file)?;
        let session = self.connection.session()?;
        let worker = raw.parse(&file, &session.deployment.trust_domain)?;
        let operator = Operator::connect(&session.deployment, &session.identity, session.clock).await?;
        let entry = operator.put_worker(&worker).await?;
        Ok(Answer::recorded(&format!("put worker {}", worker.id), &entry))
    }
}

impl DepositKey {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let Keys::Rotate { tenant } = self.what;
        let (key, entry) = connect(&self.connection).await?.rotate_deposit_key(&tenant).await?;
        let text = format!("{tenant} has deposit key {key}: ledger entry {} at {}", entry.index, entry.time);
        let json = json!({
            "done": "rotated deposit key", "tenant_id": tenant.to_string(), "key_id": key.to_string(),
            "entry": entry_json(&entry),
        });
        Ok(Answer::new(text, json))
    }
}

fn status_text(status: &StatusResponse) -> String {
    let figures = pairs([
        ("deployment", status.deployment.clone()),
        ("region", status.region.clone()),
        ("mode", status.mode.clone()),
        ("memory", status.memory.clone()),
        ("ledger size", status.ledger_size.to_string()),
        ("custodian calls", status.custodian_calls.to_string()),
        ("warm keys", status.warm_keys.to_string()),
        ("slots taken", status.slots_taken.to_string()),
        ("slots wiped", status.slots_wiped.to_string()),
        ("policy digest", hex::encode(&status.policy_digest)),
    ]);
    let parts = status.parts.iter().map(|part| {
        [part.name.clone(), if part.ready { "ready" } else { "NOT READY" }.to_owned(), part.detail.clone()]
    });
    let parts = table(["part", "state", "detail"], parts);
    let head = ["custodian", "kind", "mechanism", "key", "sessions", "state", "calls/h", "failed/h", "last served"];
    format!("{figures}\n\n{parts}\n\n{}", table(head, status.custodians.iter().map(custodian_row)))
}

fn custodian_row(of: &Custodian) -> [String; 9] {
    let last = of.last_served_us.map_or_else(|| "not yet".to_owned(), |at| Timestamp::from_micros(at).to_string());
    [
        of.name.clone(),
        of.kind.clone(),
        of.mechanism.clone(),
        of.key.clone(),
        of.sessions.to_string(),
        if of.rests { "LEFT ALONE" } else { "serves" }.to_owned(),
        of.calls_last_hour.to_string(),
        of.failed_last_hour.to_string(),
        last,
    ]
}

fn custodian_json(of: &Custodian) -> Value {
    json!({
        "name": of.name, "kind": of.kind, "mechanism": of.mechanism, "key": of.key, "sessions": of.sessions,
        "signs_by": of.signs_by, "rests": of.rests, "calls_last_hour": of.calls_last_hour,
        "failed_last_hour": of.failed_last_hour,
        "last_served": of.last_served_us.map(|at| Timestamp::from_micros(at).to_string()),
    })
}

fn status_json(status: &StatusResponse) -> Value {
    json!({
        "deployment": status.deployment, "region": status.region, "mode": status.mode, "memory": status.memory,
        "ledger_size": status.ledger_size, "custodian_calls": status.custodian_calls, "warm_keys": status.warm_keys,
        "slots_taken": status.slots_taken, "slots_wiped": status.slots_wiped,
        "policy_digest": hex::encode(&status.policy_digest),
        "parts": status.parts.iter()
            .map(|part| json!({ "name": part.name, "ready": part.ready, "detail": part.detail }))
            .collect::<Vec<_>>(),
        "custodians": status.custodians.iter().map(custodian_json).collect::<Vec<_>>(),
    })
}

async fn connect(connection: &Connection) -> Result<Operator, Failure> {
    let session = connection.session()?;
    Ok(Operator::connect(&session.deployment, &session.identity, session.clock).await?)
}
