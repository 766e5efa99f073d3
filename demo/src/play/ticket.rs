//! The scheduler's part: a job signed for one worker, and everything else a worker process is started with.

use anyhow::{Context, Result};
use cofre_model::id::{CredentialId, SubjectId};
use cofre_testkit::{institutions, logins};

use super::Place;
use crate::worker::ticket::{BankTicket, FieldText, IdentityPaths, StatementText, Ticket};
use crate::world::seed::Wanted;

/// What the ticket is to say beside the login.
pub(super) struct Wish {
    pub(super) worker: String,
    pub(super) unattended: bool,
    pub(super) hold: bool,
}

impl Place {
    pub(super) fn ticket(&self, credential: CredentialId, wish: &Wish) -> Result<()> {
        let investor = self.investor(credential)?;
        let owner = SubjectId::try_from(investor.owner.as_str())?;
        let (_, job) = self.tenant.job(&*self.clock, credential, &Wanted::by(&wish.worker))?;
        let attendance =
            if wish.unattended { None } else { Some(self.tenant.attendance(&*self.clock, credential, owner)?) };
        let institution = institutions::find(&investor.institution)?;
        let login = logins::login(&institution, investor.seed)?;
        let field = |key: &str| FieldText { key: key.to_owned(), form: "FULL".to_owned(), positions: Vec::new() };
        let file = |end: &str| self.identities.folder.join(format!("worker-{}.{end}", wish.worker));
        let ticket = Ticket {
            vault: self.door.address.parse().context("the vault's address")?,
            trust_domain: self.door.trust_domain.clone(),
            signer: self.door.signer.to_string(),
            identity: IdentityPaths {
                certificate: file("pem"),
                key: file("key"),
                bundle: self.identities.folder.join("bundle.pem"),
            },
            bank: BankTicket {
                address: self.bank,
                server_name: "localhost".to_owned(),
                ca: self.folder.join("bank-ca.pem"),
            },
            institution: investor.institution,
            job: StatementText::from(&job),
            attendance: attendance.as_ref().map(StatementText::from),
            fields: login.fields().map(|(key, _)| field(key)).collect(),
            hold_until_told: wish.hold,
        };
        println!("{}", serde_json::to_string_pretty(&ticket)?);
        Ok(())
    }
}
