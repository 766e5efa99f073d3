//! One visit, from the release to the report. The login is dropped, and so wiped, as soon as the form is sent; a word
//! from the vault ends the visit at whatever point it is. Nothing is tried twice but a mistyped code, once.

use cofre_client::challenge::{Awaited, Question};
use cofre_client::worker::{Errand, Lease, LeaseEvent, LeaseWatch, Login};
use cofre_client::{Error, Worker};
use cofre_model::reason::PublicReason;
use cofre_model::time::Timestamp;
use cofre_model::wording::{Outcome, ScaKind};
use zeroize::Zeroizing;

use super::bank::{BankClient, BankError, CodeOutcome, LoginOutcome, Positions, SecondFactor};
use super::events::{Ended, Event};

/// Codes the investor may type for one login.
const ATTEMPTS: u8 = 2;

/// What a visit needs.
#[derive(Debug)]
pub struct Visit<'a, Say> {
    /// The vault.
    pub worker: &'a Worker,
    /// The bank.
    pub bank: &'a mut BankClient,
    /// Keep the session until told.
    pub hold_until_told: bool,
    /// Where events go.
    pub say: Say,
}

/// What was found out so far.
#[derive(Debug, Default)]
struct Found {
    signed_in: bool,
    sca: Option<ScaKind>,
    positions: Option<Positions>,
}

/// How the part at the bank ended, and for a lock until when.
type Told = (Outcome, Option<Timestamp>);

impl<Say: Fn(&Event)> Visit<'_, Say> {
    /// The whole visit.
    ///
    /// # Errors
    /// Why there was no login to work with. What goes wrong later is an outcome.
    pub async fn run(mut self, errand: Errand) -> Result<Ended, Error> {
        let attended = errand.attendance.is_some();
        let login = self.worker.release(errand).await?;
        let (lease, entry) = (login.lease, login.entry);
        (self.say)(&Event::Released {
            entry: entry.index,
            promise_verified: login.promise.entry == entry,
            lease_until: login.lease_until.to_string(),
        });
        let promise_verified = login.promise.entry == entry;
        let mut found = Found::default();
        let (told, stopped_by) = match watch(self.worker, &lease).await {
            Err(word) => {
                drop(login);
                ((Outcome::Cancelled, None), Some(word))
            }
            Ok(watch) => tokio::select! {
                biased;
                // Losing this race drops the visit where it stands, and with it every secret it holds.
                word = told_to_stop(watch) => ((Outcome::Cancelled, None), Some(word)),
                told = self.at_the_bank(login, &lease, attended, &mut found) => (told, None),
            },
        };
        let logged_out = if found.signed_in { Some(self.bank.logout().await.is_ok()) } else { None };
        let (outcome, locked_until) = told;
        let reported = self.worker.report(&lease, outcome, locked_until).await;
        Ok(Ended {
            outcome: outcome.to_string(),
            positions: found.positions.as_ref().map(|held| held.positions.len()),
            total_minor: found.positions.as_ref().map(total),
            currency: found.positions.map(|held| held.currency),
            sca: found.sca.map(|kind| kind.to_string()),
            entry: entry.index,
            promise_verified,
            reported: reported.ok().map(|entry| entry.index),
            stopped_by: stopped_by.map(ToOwned::to_owned),
            logged_out,
        })
    }

    async fn at_the_bank(&mut self, login: Login, lease: &Lease, attended: bool, found: &mut Found) -> Told {
        match self.sign_in(login, lease, attended, found).await {
            Ok((Outcome::Ok, _)) => {}
            Ok(told) => return told,
            Err(error) => return (of_trouble(&error), None),
        }
        match self.bank.positions().await {
            Ok(positions) => found.positions = Some(positions),
            Err(error) => return (of_trouble(&error), None),
        }
        if self.hold_until_told {
            (self.say)(&Event::Holding);
            std::future::pending::<()>().await;
        }
        (Outcome::Ok, None)
    }

    async fn sign_in(
        &mut self,
        login: Login,
        lease: &Lease,
        attended: bool,
        found: &mut Found,
    ) -> Result<Told, BankError> {
        // From the moment the form is sent there may be a session to end.
        found.signed_in = true;
        match self.fill_in(login).await? {
            LoginOutcome::Ok => Ok((Outcome::Ok, None)),
            LoginOutcome::WrongSecret => Ok((Outcome::WrongSecret, None)),
            LoginOutcome::Locked { until } => Ok((Outcome::Locked, Some(Timestamp::from_secs(until)))),
            LoginOutcome::PasswordExpired => Ok((Outcome::PasswordExpired, None)),
            LoginOutcome::SiteUnavailable => Ok((Outcome::SiteUnavailable, None)),
            // Nobody is there: no challenge, no further message to anybody's telephone.
            LoginOutcome::ScaRequired { .. } if !attended => Ok((Outcome::ScaRequired, None)),
            LoginOutcome::ScaRequired { kind, length, expires_at, hint } => {
                let question = Question {
                    kind: sca(kind),
                    code_length: u8::try_from(length).unwrap_or(u8::MAX),
                    attempt: 1,
                    expires: Timestamp::from_secs(expires_at),
                    text: if hint.is_empty() { "login code".to_owned() } else { hint },
                };
                self.second_factor(lease, question, found).await
            }
        }
    }

    /// Sends the form. The login is gone when this returns.
    async fn fill_in(&mut self, login: Login) -> Result<LoginOutcome, BankError> {
        let copy = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        let values: Vec<_> =
            login.fields().iter().map(|field| (field.key.clone(), field.value.with_bytes(copy))).collect();
        drop(login);
        let fields: Vec<(&str, &[u8])> = values.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect();
        self.bank.login(&fields).await
    }

    async fn second_factor(&mut self, lease: &Lease, question: Question, found: &mut Found) -> Result<Told, BankError> {
        let mut question = question;
        loop {
            let opened = self.worker.open_challenge(lease, question.clone()).await;
            let challenge = match opened {
                Ok(challenge) => challenge,
                Err(error) => return Ok((of_refused_challenge(&error), None)),
            };
            (self.say)(&Event::Challenge { id: challenge.id.to_string(), attempt: question.attempt });
            let code = match self.worker.await_answer(&challenge).await {
                Ok(Awaited::Code(code)) => code.with_bytes(|bytes| Zeroizing::new(bytes.to_vec())),
                Ok(Awaited::Expired) => return Ok((Outcome::ScaRequired, None)),
                Ok(Awaited::Cancelled) => return Ok((Outcome::Cancelled, None)),
                Err(_) => return Ok((Outcome::Internal, None)),
            };
            let taken = self.bank.submit_code(&code).await;
            drop(code);
            let right = matches!(taken, Ok(CodeOutcome::Ok));
            // The count of wrong codes guards the investor's access: not telling it is no reason to go on.
            if self.worker.conclude(challenge, right).await.is_err() && !right {
                return Ok((Outcome::Internal, None));
            }
            match taken? {
                CodeOutcome::Ok => {
                    found.sca = Some(question.kind);
                    return Ok((Outcome::Ok, None));
                }
                CodeOutcome::WrongCode { attempts_left } if question.attempt < ATTEMPTS && attempts_left > 1 => {
                    question.attempt += 1;
                }
                CodeOutcome::WrongCode { .. } | CodeOutcome::CodeExpired | CodeOutcome::SessionEnded => {
                    return Ok((Outcome::ScaRequired, None));
                }
                CodeOutcome::Locked { until } => return Ok((Outcome::Locked, Some(Timestamp::from_secs(until)))),
                CodeOutcome::SiteUnavailable => return Ok((Outcome::SiteUnavailable, None)),
            }
        }
    }
}

/// A watch that is in place, or why there is none. Without one nobody could tell this worker to stop.
async fn watch(worker: &Worker, lease: &Lease) -> Result<LeaseWatch, &'static str> {
    let mut watch = worker.watch_lease(lease).await.map_err(|_| "WATCH_LOST")?;
    match watch.next().await {
        Ok(Some(LeaseEvent::Live)) => Ok(watch),
        Ok(Some(event)) => Err(word(event)),
        Ok(None) | Err(_) => Err("WATCH_LOST"),
    }
}

async fn told_to_stop(mut watch: LeaseWatch) -> &'static str {
    loop {
        match watch.next().await {
            Ok(Some(LeaseEvent::Live)) => {}
            Ok(Some(event)) => return word(event),
            Ok(None) | Err(_) => return "WATCH_LOST",
        }
    }
}

const fn word(event: LeaseEvent) -> &'static str {
    match event {
        LeaseEvent::Live => "LIVE",
        LeaseEvent::Revoked => "REVOKED",
        LeaseEvent::Lockdown => "LOCKDOWN",
        LeaseEvent::Expired => "EXPIRED",
    }
}

fn total(held: &Positions) -> u64 {
    held.positions.iter().fold(held.cash_minor, |sum, position| sum.saturating_add(position.value_minor))
}

const fn sca(kind: SecondFactor) -> ScaKind {
    match kind {
        SecondFactor::SmsOtp => ScaKind::SmsOtp,
        SecondFactor::TotpApp => ScaKind::TotpApp,
        SecondFactor::HardwareToken => ScaKind::HardwareToken,
    }
}

const fn of_trouble(error: &BankError) -> Outcome {
    match error {
        BankError::SiteUnavailable => Outcome::SiteUnavailable,
        BankError::Slug
        | BankError::Name
        | BankError::Root
        | BankError::NotTrusted
        | BankError::FormChanged { .. }
        | BankError::NotSignedIn
        | BankError::Unexpected { .. }
        | BankError::Unreadable { .. } => Outcome::Internal,
    }
}

/// A challenge the vault did not open. An order in its text means that the site wants something signed: stop.
fn of_refused_challenge(error: &Error) -> Outcome {
    match error.refused().and_then(|refused| refused.reason) {
        Some(PublicReason::NotPermitted) => Outcome::UnsupportedSca,
        Some(PublicReason::WrongState | PublicReason::AttendanceRequired) => Outcome::ScaRequired,
        Some(_) | None => Outcome::Internal,
    }
}
