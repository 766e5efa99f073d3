//! What a worker process is started with, and everything it will ever read from disk: loaded once, before the sandbox
//! closes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofre_client::worker::Errand;
use cofre_client::{Deployment, Identity};
use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::id::SigningKeyId;
use cofre_model::job::SignedStatement;
use cofre_model::wording::Form;
use serde::{Deserialize, Serialize};

use super::bank::BankAddress;

/// A job ticket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The vault's listener for workers. An address: a sandboxed process resolves no names.
    pub vault: SocketAddr,
    /// The deployment's trust domain.
    pub trust_domain: String,
    /// The deployment's verifier key text.
    pub signer: String,
    /// The worker's identity.
    pub identity: IdentityPaths,
    /// The bank.
    pub bank: BankTicket,
    /// The institution's slug, as in the bank's paths.
    pub institution: String,
    /// The scheduler's job.
    pub job: StatementText,
    /// The investor's presence.
    #[serde(default)]
    pub attendance: Option<StatementText>,
    /// The fields to ask for.
    pub fields: Vec<FieldText>,
    /// After reading, keep the session and wait to be told to stop.
    #[serde(default)]
    pub hold_until_told: bool,
}

/// Where a worker's identity is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityPaths {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// PEM authorities.
    pub bundle: PathBuf,
}

/// Where a bank is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankTicket {
    /// Its address.
    pub address: SocketAddr,
    /// The name of its certificate.
    pub server_name: String,
    /// PEM of its authority.
    pub ca: PathBuf,
}

/// A signed statement in text; bytes in base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementText {
    /// The registered key.
    pub key_id: String,
    /// The signed bytes.
    pub statement: String,
    /// The signature.
    pub signature: String,
}

/// A field to ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldText {
    /// Its key.
    pub key: String,
    /// FULL or POSITIONS.
    pub form: String,
    /// For POSITIONS: 1-based, ascending.
    #[serde(default)]
    pub positions: Vec<u16>,
}

impl From<&SignedStatement> for StatementText {
    fn from(signed: &SignedStatement) -> Self {
        Self {
            key_id: signed.key_id.to_string(),
            statement: BASE64_STANDARD.encode(&signed.statement),
            signature: BASE64_STANDARD.encode(signed.signature),
        }
    }
}

impl From<&FieldRequest> for FieldText {
    fn from(field: &FieldRequest) -> Self {
        Self { key: field.key.to_string(), form: field.form.to_string(), positions: field.positions.clone() }
    }
}

/// A ticket with everything it names read in.
#[derive(Debug)]
pub struct Loaded {
    /// The pinned vault.
    pub deployment: Deployment,
    /// Who the worker is.
    pub identity: Identity,
    /// The bank.
    pub bank: BankAddress,
    /// The institution's slug.
    pub institution: String,
    /// What to ask for.
    pub errand: Errand,
    /// Keep the session until told.
    pub hold_until_told: bool,
    /// The two TCP ports the sandbox leaves open.
    pub ports: [u16; 2],
}

impl Ticket {
    /// Reads every file the ticket names.
    ///
    /// # Errors
    /// Names the field or the file.
    pub fn load(self) -> anyhow::Result<Loaded> {
        let deployment = Deployment::new(&self.vault.to_string(), &self.trust_domain, &self.signer)
            .context("ticket.signer must be the deployment's verifier key")?;
        let (certificate, key) = (read(&self.identity.certificate)?, read(&self.identity.key)?);
        let identity = Identity::from_pem(&certificate, &key, &read(&self.identity.bundle)?)?;
        let ca_pem = String::from_utf8(read(&self.bank.ca)?).context("ticket.bank.ca must be PEM")?;
        let fields = self.fields.iter().map(field).collect::<anyhow::Result<_>>()?;
        let job = signed(&self.job).context("ticket.job")?;
        let attendance = self.attendance.as_ref().map(signed).transpose().context("ticket.attendance")?;
        Ok(Loaded {
            deployment,
            identity,
            ports: [self.vault.port(), self.bank.address.port()],
            bank: BankAddress { addr: self.bank.address, server_name: self.bank.server_name, ca_pem },
            institution: self.institution,
            errand: Errand { job, attendance, fields },
            hold_until_told: self.hold_until_told,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn signed(text: &StatementText) -> anyhow::Result<SignedStatement> {
    let signature = BASE64_STANDARD.decode(&text.signature).context("signature must be base64")?;
    Ok(SignedStatement {
        key_id: SigningKeyId::try_from(text.key_id.as_str()).context("key_id")?,
        statement: BASE64_STANDARD.decode(&text.statement).context("statement must be base64")?,
        signature: signature.try_into().map_err(|_| anyhow!("signature must be 64 bytes"))?,
    })
}

fn field(text: &FieldText) -> anyhow::Result<FieldRequest> {
    Ok(FieldRequest {
        key: FieldKey::try_from(text.key.as_str()).context("ticket.fields.key")?,
        form: Form::from_text(&text.form).ok_or_else(|| anyhow!("ticket.fields.form must be FULL or POSITIONS"))?,
        positions: text.positions.clone(),
    })
}
