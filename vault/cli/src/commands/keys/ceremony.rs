//! A person's part in a key ceremony, offline: approving a plan, signing the record, verifying one. Keys themselves are
//! made by `cofred keys init`, on the machine that has the token.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use cofre_client::ceremony::{Authorities, PartError, approve, countersign};
use cofre_ledger::ceremony::{Approval, CeremonyError, Key, Plan, Record, Verified};
use cofre_ledger::note::NoteKey;
use cofre_model::time::{Clock as _, Timestamp};
use serde_json::{Value, json};

use crate::answer::{Answer, pairs, printable, table};
use crate::clock::SystemClock;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::input;

const NOT_PINNED: &str = "\
WARNING: THE KEY WAS NOT PINNED. The record was checked with the verifier key written inside it. Compare it with what \
those wrote down who were there, or give it as --signer.";

/// Custodian: approve a plan, for a day.
///
/// Prints the plan and asks. Read it: what is approved is these lines and no others. Takes certificate, key, bundle and trust
/// domain of the connection, and connects to nothing.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The plan, as `cofred keys plan` writes it.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Where the approval is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Approve without being asked, for scripts. The plan is printed all the same.
    #[arg(long)]
    yes: bool,
}

/// Custodian: sign the record of a ceremony whose plan you approved.
///
/// Verifies it, prints it and asks. Takes certificate, key, bundle and trust domain of the connection, and connects to
/// nothing.
#[derive(Debug, Args)]
pub(crate) struct Countersign {
    /// The record, as `cofred keys init` or the person before you wrote it.
    #[arg(value_name = "RECORD")]
    record: PathBuf,
    /// Where the record with your signature is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Sign without being asked, for scripts. The record is printed all the same.
    #[arg(long)]
    yes: bool,
}

/// Verify the record of a key ceremony, offline.
///
/// Exit code 0 if it verifies and is finished; 1 if it does not, or signatures are missing. Takes bundle and trust domain
/// of the connection, and its signer as the key that the record has to be of; connects to nothing. Certificates have to
/// have held when the keys were made, by the clock that the record has; whether one was revoked since, this does not ask.
#[derive(Debug, Args)]
pub(crate) struct VerifyCeremony {
    /// The record.
    #[arg(value_name = "RECORD")]
    record: PathBuf,
}

/// What `cofred` does and this tool does not: whatever was typed after it, the answer is where to go.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Elsewhere {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Elsewhere {
    /// Refuses, with the command that does it.
    pub(crate) fn run(&self, what: &str) -> Result<Answer, Failure> {
        Err(Failure::Usage(format!(
            "`cofred keys {what}` does this, on the machine that has the custodian's module and PIN: `cofre` loads no module \
             and is given no PIN"
        )))
    }
}

impl Approve {
    pub(crate) fn run(&self, connection: &Connection) -> Result<Answer, Failure> {
        let (identity, trust_domain) = connection.identity()?;
        let plan = Plan::parse(&read(&self.plan)?).map_err(|why| refused(&self.plan, &why))?;
        let digest = hex::encode(plan.digest());
        let shown = format!("{}\nplan {digest}", plan.to_text());
        input::agree(&shown, "Approve this plan?", self.yes)?;
        let approval = approve(&identity, &trust_domain, &plan, SystemClock::new().now()).map_err(part)?;
        input::keep(&self.out, approval.to_string().as_bytes())?;
        let text = format!("approved by {}, for a day\nplan {digest}", approval.person());
        let json =
            json!({ "approved": true, "person": approval.person(), "plan": digest, "at": approval.at().to_string() });
        Ok(Answer::new(printable(&text), json))
    }
}

impl Countersign {
    pub(crate) fn run(&self, connection: &Connection) -> Result<Answer, Failure> {
        let (identity, trust_domain) = connection.identity()?;
        let authorities = connection.authorities()?;
        let mut record = Record::parse(&read(&self.record)?).map_err(|why| refused(&self.record, &why))?;
        let seen = record.verify(None, |approval, at| authorities.identify(approval, at));
        let seen = seen.map_err(|why| refused(&self.record, &why))?;
        input::agree(&text(&record, &seen), "Sign this record?", self.yes)?;
        countersign(&identity, &trust_domain, &mut record).map_err(part)?;
        let verified = record.verify(None, |approval, at| authorities.identify(approval, at));
        let verified = verified.map_err(|why| refused(&self.record, &why))?;
        input::keep(&self.out, record.to_string().as_bytes())?;
        Ok(Answer::new(text(&record, &verified), json(&record, &verified, false)))
    }
}

impl VerifyCeremony {
    pub(crate) fn run(&self, connection: &Connection) -> Result<Answer, Failure> {
        let pinned = connection.pinned()?;
        let record = match Record::parse(&read(&self.record)?) {
            Ok(record) => record,
            Err(why) => return Ok(refuted(&why)),
        };
        // A record that no people signed needs no authorities.
        let authorities = match record.body().approvals.is_empty() {
            true => None,
            false => Some(connection.authorities()?),
        };
        let verified = record.verify(pinned.as_ref(), |approval, at| identify(authorities.as_ref(), approval, at));
        let verified = match verified {
            Ok(verified) => verified,
            Err(why) => return Ok(refuted(&why)),
        };
        let warned = match (&pinned, &record.body().verifier_key) {
            (None, Some(_)) => format!("{NOT_PINNED}\n"),
            _ => String::new(),
        };
        let (text, json) = (warned + &text(&record, &verified), json(&record, &verified, pinned.is_some()));
        Ok(if verified.is_finished() { Answer::new(text, json) } else { Answer::negative(text, json) })
    }
}

fn identify(
    authorities: Option<&Authorities>,
    approval: &Approval,
    at: Timestamp,
) -> Result<cofre_ledger::ceremony::Person, CeremonyError> {
    let nobody = || CeremonyError::Person { person: approval.person().to_owned(), why: "no authorities".to_owned() };
    authorities.ok_or_else(nobody)?.identify(approval, at)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|why| Failure::unreadable(path, &why))
}

fn refused(path: &Path, why: &CeremonyError) -> Failure {
    Failure::Failed(format!("{}: {why}", path.display()))
}

fn part(why: PartError) -> Failure {
    match why {
        PartError::Ceremony(why) => Failure::Failed(why.to_string()),
        other => Failure::Usage(other.to_string()),
    }
}

fn refuted(why: &CeremonyError) -> Answer {
    let why = why.to_string();
    Answer::negative(format!("DOES NOT VERIFY: {}", printable(&why)), json!({ "verified": false, "reason": why }))
}

fn state(verified: &Verified) -> String {
    match verified.is_finished() {
        true => "FINISHED".to_owned(),
        false => format!("UNFINISHED: {} of {} people have signed", verified.signed.len(), verified.wanted),
    }
}

fn text(record: &Record, verified: &Verified) -> String {
    let body = record.body();
    let [label, serial, manufacturer, model] = &body.token;
    let mut parts = vec![format!("VERIFIED, {}", state(verified))];
    parts.push(pairs([
        ("deployment", body.plan.deployment.clone()),
        ("custodian", body.plan.custodian.clone()),
        ("made at", format!("{} by {}", body.at, body.tool)),
        ("place", body.plan.place.clone()),
        ("token", format!("{manufacturer} {model}, {label} ({serial})")),
        ("module sha256", body.plan.module_sha256.clone()),
        ("mechanism", format!("{}: {}", body.mechanism, body.why)),
        ("verifier key", body.verifier_key.as_ref().map_or_else(|| "none".to_owned(), NoteKey::to_string)),
        ("approved by", verified.approved.join(", ")),
        ("signed by", verified.signed.join(", ")),
    ]));
    parts.extend(body.keys.iter().map(key_text));
    parts.join("\n")
}

fn key_text(key: &Key) -> String {
    let rows = key.objects.iter().flat_map(|object| {
        object.attributes.iter().map(|(name, value)| [object.class.clone(), name.clone(), value.clone()])
    });
    let check =
        key.check_value.as_ref().map_or_else(String::new, |value| format!(", check value {}", hex::encode(value)));
    format!(
        "\nkey that {}s: {}, {}{check}\n{}",
        key.used_to.as_str(),
        printable(&key.label),
        key.kind,
        table(["object", "attribute", "is"], rows)
    )
}

fn json(record: &Record, verified: &Verified, pinned: bool) -> Value {
    let body = record.body();
    let key = |key: &Key| {
        json!({
            "use": key.used_to.as_str(), "label": key.label, "kind": key.kind,
            "public": key.public.as_ref().map(hex::encode), "check_value": key.check_value.as_ref().map(hex::encode),
            "objects": key.objects.iter().map(|object| json!({
                "class": object.class,
                "attributes": object.attributes.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
            })).collect::<Vec<_>>(),
        })
    };
    json!({
        "verified": true, "finished": verified.is_finished(), "key_pinned": pinned,
        "deployment": body.plan.deployment, "custodian": body.plan.custodian, "place": body.plan.place,
        "at": body.at.to_string(), "tool": body.tool, "token": body.token, "module_sha256": body.plan.module_sha256,
        "mechanism": body.mechanism, "verifier_key": body.verifier_key.as_ref().map(NoteKey::to_string),
        "people": verified.wanted, "approved": verified.approved, "signed": verified.signed,
        "keys": body.keys.iter().map(key).collect::<Vec<_>>(),
    })
}
