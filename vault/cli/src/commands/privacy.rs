//! Erasure and withdrawal on a person's behalf. Certificates are shown only after the pinned signer's signature held.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cofre_client::paper::Paper;
use cofre_client::people::PrivacyOfficer;
use cofre_model::id::{ConsentId, ErasureId, SubjectId};
use cofre_model::request::Person;
use serde_json::{Value, json};

use crate::answer::{Answer, entry_json};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::input::keep;

/// Erase a person's logins, for good.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    whom: Whom,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Whom {
    /// All logins of one person. There is no way back: keys are destroyed.
    Subject {
        /// The vault's id of the person, sub_…
        id: SubjectId,
    },
}

/// The signed certificate of an erasure.
#[derive(Debug, Args)]
pub(crate) struct Certificate {
    #[command(flatten)]
    connection: Connection,
    /// The erasure, era_…
    #[arg(value_name = "ERASURE_ID")]
    erasure: ErasureId,
    /// Keep the certificate (compact JWS) in a new file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Withdraw a consent on a person's behalf.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    connection: Connection,
    /// The consent, cns_…
    #[arg(value_name = "CONSENT_ID")]
    consent: ConsentId,
}

impl Erase {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let Whom::Subject { id } = self.whom;
        let erased = connect(&self.connection).await?.erase(&Person::Id(id)).await?;
        let certificate = match &erased.certificate {
            Some(paper) => text(paper),
            None => format!("certificate: not signed yet; ask later with `cofre certificate {}`", erased.id),
        };
        let head =
            format!("erased {id}: erasure {}, ledger entry {} at {}", erased.id, erased.entry.index, erased.entry.time);
        let json = json!({
            "done": "erased", "subject_id": id.to_string(), "erasure_id": erased.id.to_string(),
            "entry": entry_json(&erased.entry), "certificate": erased.certificate.as_ref().map(paper_json),
        });
        Ok(Answer::new(format!("{head}\n{certificate}"), json))
    }
}

impl Certificate {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let found = connect(&self.connection).await?.certificate(&self.erasure).await?;
        let Some(paper) = found else {
            let why = "not signed yet: the custodian cannot sign; ask again later";
            return Ok(Answer::negative(
                format!("certificate of {}: {why}", self.erasure),
                json!({ "certificate": null }),
            ));
        };
        if let Some(path) = &self.out {
            keep(path, paper.jws.as_bytes())?;
        }
        Ok(Answer::new(text(&paper), json!({ "certificate": paper_json(&paper) })))
    }
}

impl Revoke {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let entry = connect(&self.connection).await?.revoke(&self.consent).await?;
        Ok(Answer::recorded(&format!("revoked {}", self.consent), &entry))
    }
}

fn text(paper: &Paper) -> String {
    // Alternate formatting of a JSON value indents it.
    format!("certificate, signature verified with the pinned key ({}):\n{:#}\n{}", paper.typ, paper.content, paper.jws)
}

fn paper_json(paper: &Paper) -> Value {
    json!({ "typ": paper.typ, "content": paper.content, "jws": paper.jws })
}

async fn connect(connection: &Connection) -> Result<PrivacyOfficer, Failure> {
    let session = connection.session()?;
    Ok(PrivacyOfficer::connect(&session.deployment, &session.identity, session.clock).await?)
}
