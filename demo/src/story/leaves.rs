//! Chapter 2: consents in four languages; five refusals, each with its exact reason for the auditor and only its
//! public one for the worker; then a release.

use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_client::worker::Errand;
use cofre_client::{Error, Worker};
use cofre_model::credential::FieldRequest;
use cofre_model::id::{ConsentId, RecipientId};
use cofre_model::request::{GrantRequest, NoticeRequest, Token};
use cofre_model::time::Span;
use cofre_model::wording::{Form, Locale, Outcome, Purpose, Scope};

use super::Story;
use super::cast::Investor;
use crate::world::seed::{Tenant, Wanted};

/// Every field of an investor's form, whole.
pub(super) fn fields(investor: &Investor) -> Result<Vec<FieldRequest>> {
    investor
        .login
        .fields()
        .map(|(key, _)| Ok(FieldRequest { key: key.try_into()?, form: Form::Full, positions: Vec::new() }))
        .collect()
}

impl Story {
    pub(super) async fn leaves(&mut self) -> Result<()> {
        self.refusals_before_consent().await?;
        self.consents().await?;
        self.refusals_under_consent().await
    }

    pub(super) async fn worker(&self, name: &str) -> Result<Worker> {
        let identity = self.world.identities.load(&format!("worker-{name}"))?;
        Ok(Worker::connect(&self.world.door, identity, Arc::clone(&self.world.clock)).await?)
    }

    /// A job of `tenant` on an investor's login, attended.
    pub(super) fn errand(&self, tenant: &Tenant, investor: &Investor, wanted: &Wanted) -> Result<Errand> {
        let (_, job) = tenant.job(&*self.world.clock, investor.credential, wanted)?;
        let attendance = tenant.attendance(&*self.world.clock, investor.credential, investor.owner)?;
        Ok(Errand { job, attendance: Some(attendance), fields: fields(investor)? })
    }

    async fn refusals_before_consent(&mut self) -> Result<()> {
        let investor = self.investors.first().context("investors")?;
        let errand = self.errand(&self.world.north, investor, &Wanted::by("w01"))?;
        let answer = self.worker("w01").await?.release(errand).await;
        self.refused("no consent", answer.err(), "CONSENT_MISSING", "CONSENT_REQUIRED").await
    }

    /// Compares what the worker was told with what the register says.
    pub(super) async fn refused(&mut self, what: &str, error: Option<Error>, exact: &str, public: &str) -> Result<()> {
        let refused = error.as_ref().and_then(|error| error.refused());
        let told = refused.map(|refused| refused.public_reason().to_owned()).unwrap_or_default();
        let entry = refused.and_then(|refused| refused.entry);
        let stands = match entry {
            Some(index) => self.exact_reason(index).await?,
            None => String::new(),
        };
        let leaks = refused.is_some_and(|refused| exact != public && refused.message.contains(exact));
        let shown = told == public && stands == exact && !leaks;
        if !shown {
            println!("    expected {exact}/{public}, register {stands:?}, worker {told:?}, error {error:?}");
        }
        let what = format!("{what}: refused; worker told {public}, register says {exact}");
        self.table.row(13, what, entry, shown);
        Ok(())
    }

    async fn consents(&mut self) -> Result<()> {
        let recipient = self.world.north.recipient;
        let mut last = 0;
        let mut receipts = 0;
        for number in 0..self.investors.len() {
            let locale = Locale::ALL.get(number % Locale::ALL.len()).copied().unwrap_or(Locale::Es);
            let (consent, entry, proven) = self.consent(number, recipient, locale).await?;
            if let Some(investor) = self.investors.get_mut(number) {
                investor.consent = Some(consent);
            }
            last = entry;
            receipts += usize::from(proven);
        }
        let what = format!("{receipts} consents given in four languages, each with a receipt signed in the token");
        self.table.row(3, what, Some(last), receipts == self.investors.len());
        Ok(())
    }

    pub(super) async fn consent(
        &self,
        number: usize,
        recipient: RecipientId,
        locale: Locale,
    ) -> Result<(ConsentId, u64, bool)> {
        let investor = self.investors.get(number).context("investors")?;
        let now = self.world.clock.now();
        let front_end = self.world.north.front_end()?;
        let notice = front_end
            .notice(&NoticeRequest {
                credential: investor.credential,
                recipient,
                purpose: Purpose::WealthAggregation,
                scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
                valid_until: now.plus(Span::days(90)),
                history_from: now.minus(Span::days(800)),
                unattended_per_day: 2,
                locale,
            })
            .await?;
        let granted = front_end
            .grant(&GrantRequest {
                consent: notice.consent,
                notice_sha256: notice.sha256,
                authn_method: Token::try_from("passkey")?,
                session: Token::try_from(format!("session-{number}").as_str())?,
            })
            .await?;
        let proven = granted.receipt.text("state") == Some("ACTIVE");
        Ok((notice.consent, granted.entry.index, proven))
    }

    async fn refusals_under_consent(&mut self) -> Result<()> {
        let first = self.investors.first().context("investors")?;
        let (north, south) = (&self.world.north, &self.world.south);
        let wide = Wanted { scopes: vec![Scope::Positions, Scope::Documents], ..Wanted::by("w01") };
        let wider = self.errand(north, first, &wide)?;
        let for_another = self.errand(north, first, &Wanted::by("w02"))?;
        let foreign = self.errand(south, first, &Wanted::by("w01"))?;
        let strange = self.errand(north, first, &Wanted { pool: "pool-b", ..Wanted::by("stranger") })?;
        let (one, two, stranger) =
            (self.worker("w01").await?, self.worker("w02").await?, self.worker("stranger").await?);

        let error = one.release(wider).await.err();
        self.refused("data beyond the consent", error, "CONSENT_SCOPE_EXCEEDED", "CONSENT_REQUIRED").await?;
        let error = one.release(for_another).await.err();
        self.refused("another worker's job", error, "JOB_INVALID", "JOB_INVALID").await?;
        let error = stranger.release(strange).await.err();
        self.refused("a worker that is not assigned", error, "WORKER_NOT_ASSIGNED", "WORKER_NOT_ASSIGNED").await?;
        let error = one.release(foreign).await.err();
        self.refused("another tenant's login", error, "CREDENTIAL_NOT_FOUND", "NOT_FOUND").await?;

        let first = self.investors.first().context("investors")?;
        let errand = self.errand(&self.world.north, first, &Wanted::by("w01"))?;
        let late = self.errand(&self.world.north, first, &Wanted::by("w02"))?;
        let login = one.release(errand).await?;
        let right = first
            .login
            .fields()
            .all(|(key, value)| login.field(key).is_some_and(|released| released.with_bytes(|bytes| bytes == value)));
        let index = login.entry.index;
        self.table.row(
            11,
            "one login released to one worker, sealed to a key of its job, promise verified",
            Some(index),
            right,
        );
        let error = two.release(late).await.err();
        self.refused("a second worker while the first holds the login", error, "LEASE_HELD", "LEASE_HELD").await?;
        let entry = one.report(&login.lease, Outcome::Ok, None).await?;
        let read = self.world.auditor.entry(entry.index).await?;
        self.table.row(7, "the worker reported how it went", Some(entry.index), read.json.contains("\"REPORTED\""));
        Ok(())
    }
}
