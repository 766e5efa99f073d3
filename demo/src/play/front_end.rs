//! The investor's and the front end's part. Ids go to standard output, what happened to standard error, so that a shell
//! can keep the one and a person read the other.

use std::io::Write as _;

use anyhow::{Context, Result};
use cofre_client::ClientSecret;
use cofre_client::answer::Challenge;
use cofre_client::sealing::Page;
use cofre_model::id::{ConsentId, CredentialId, InstitutionId};
use cofre_model::request::{GrantRequest, Login as Wanted, NoticeRequest, SubjectRef, Token};
use cofre_model::time::Span;
use cofre_model::wording::{Locale, Purpose, ScaKind, Scope};
use cofre_testkit::{institutions, logins};

use super::{INVESTORS, Investor, Place};
use crate::browser::seal_in_a_browser;
use crate::testbank::Enrolment;

/// Seeds of logins deposited by hand start here, apart from those of the story.
const FIRST_SEED: u64 = 50_000;

fn said(line: std::fmt::Arguments<'_>) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Place {
    pub(super) async fn deposit(&self, slug: &str) -> Result<()> {
        let mut investors = self.investors()?;
        let institution = institutions::find(slug)?;
        let number = u64::try_from(investors.len())?;
        let login = logins::login(&institution, FIRST_SEED + number)?;
        let fields: Vec<(&str, &[u8])> = login.fields().collect();
        let phone = format!("+34611{number:06}");
        let wish = Enrolment { institution: slug, phone: &phone, fields: &fields, behaviour: None };
        let enrolled = self.visitor()?.enrol(&self.bank_admin, &wish).await?;

        let front_end = self.front_end().await?;
        let reference = format!("by-hand-{number}");
        let enrolment = front_end
            .open_enrolment(&Wanted::New {
                institution: InstitutionId::try_from(institution.id().as_str())?,
                subject: SubjectRef::try_from(reference.as_str())?,
            })
            .await?;
        let key = front_end.deposit_key().await?;
        let (owner, credential) = (enrolment.owner, enrolment.credential);
        let page = Page { key: key.signed().clone(), enrolment };
        let sealed = seal_in_a_browser(&page, &self.door.signer, self.tenant.id, &fields)?;
        let deposited = front_end.deposit(sealed).await?;
        investors.push(Investor {
            institution: slug.to_owned(),
            seed: FIRST_SEED + number,
            phone: (phone, enrolled.phone_token),
            credential: credential.to_string(),
            owner: owner.to_string(),
        });
        std::fs::write(self.folder.join(INVESTORS), serde_json::to_vec_pretty(&investors)?)?;
        let entry = deposited.entry.index;
        said(format_args!("deposited a login at {} for {reference} ({owner}): ledger entry {entry}", institution.name));
        println!("{credential}");
        Ok(())
    }

    pub(super) async fn consent(&self, credential: CredentialId) -> Result<()> {
        let front_end = self.front_end().await?;
        let now = self.clock.now();
        let notice = front_end
            .notice(&NoticeRequest {
                credential,
                recipient: self.tenant.recipient,
                purpose: Purpose::WealthAggregation,
                scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
                valid_until: now.plus(Span::days(90)),
                history_from: now.minus(Span::days(400)),
                unattended_per_day: 2,
                locale: Locale::En,
            })
            .await?;
        for (_, line) in &notice.lines {
            said(format_args!("| {line}"));
        }
        let granted = front_end
            .grant(&GrantRequest {
                consent: notice.consent,
                notice_sha256: notice.sha256,
                authn_method: Token::try_from("passkey")?,
                session: Token::try_from("by-hand")?,
            })
            .await?;
        let state = granted.receipt.text("state").unwrap_or_default();
        said(format_args!("consent {state}, receipt verified: ledger entry {}", granted.entry.index));
        println!("{}", notice.consent);
        Ok(())
    }

    pub(super) async fn revoke(&self, consent: ConsentId) -> Result<()> {
        let revoked = self.front_end().await?.revoke(&consent).await?;
        println!("revoked {consent}: ledger entry {}", revoked.entry.index);
        Ok(())
    }

    pub(super) async fn answer(&self) -> Result<()> {
        let front_end = self.front_end().await?;
        let mut watch = front_end.challenges().await?;
        let challenge = watch.next().await?.context("the vault ended the watch")?;
        let investor = self.investor(challenge.credential)?;
        let code = self.code(&investor, &challenge).await?;
        let entry = front_end.answer(&challenge, code).await?;
        println!(
            "answered {} {}, attempt {}: ledger entry {}",
            challenge.kind, challenge.id, challenge.attempt, entry.index
        );
        Ok(())
    }

    /// The code that the investor's bank sent or shows.
    async fn code(&self, investor: &Investor, challenge: &Challenge) -> Result<ClientSecret> {
        let (number, token) = &investor.phone;
        let visitor = self.visitor()?;
        match challenge.kind {
            ScaKind::SmsOtp => {
                let inbox = visitor.inbox(number, token).await?;
                Ok(ClientSecret::copy_of(inbox.last().context("no SMS came")?.code.as_bytes()))
            }
            ScaKind::TotpApp | ScaKind::HardwareToken | ScaKind::AppCode => {
                let shown = visitor.shown_codes(number, token).await?;
                Ok(ClientSecret::copy_of(shown.last().context("no device shows a code")?.code.as_bytes()))
            }
        }
    }
}
