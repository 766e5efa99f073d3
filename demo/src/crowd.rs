//! A crowd of investors with canaries for values: deposited, consented and released through a vault's own doors, as
//! front ends and workers do it. What comes is what was deposited, or the whole trial fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cofre_client::sealing::seal;
use cofre_client::worker::Errand;
use cofre_client::{ClientSecret, Error, FrontEnd, Refused, Worker};
use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::id::{CredentialId, InstitutionId, RecipientId, SubjectId};
use cofre_model::reason::PublicReason;
use cofre_model::request::{GrantRequest, Login as NewLogin, NoticeRequest, SubjectRef, Token};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Form, Locale, Outcome, Purpose, Scope};
use cofre_testkit::institutions::{self, Institution};
use cofre_testkit::logins::{self, Login};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::Code;

use crate::world::World;
use crate::world::seed::{Tenant, Wanted};

/// Calls of one front end under way at once.
const AT_ONCE: usize = 8;
/// The seed of the first login.
const FIRST_SEED: u64 = 50_000;
/// Longer than any answer takes: who waits for more hangs.
const HANGS: Duration = Duration::from_secs(30);
/// How often in a row an answer may come too late.
const LATE: u64 = 20;
/// The pause after one that did, or that was one too many.
const AGAIN: Duration = Duration::from_millis(250);

/// One deposited login.
pub struct Deposited {
    /// What was deposited.
    pub login: Login,
    /// Whose it is.
    pub owner: SubjectId,
    /// What it is called in the vault.
    pub credential: CredentialId,
}

impl std::fmt::Debug for Deposited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deposited").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// Makes a call again for as long as its caller asks too often: a crowd has one front end.
async fn patient<T, E: Into<anyhow::Error>, F: Future<Output = Result<T, E>>>(call: impl Fn() -> F) -> Result<T> {
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error.into(),
        };
        match error.downcast_ref() {
            Some(Error::Refused(refused)) if too_many(refused) => {
                tokio::time::sleep(refused.retry_after.unwrap_or(AGAIN)).await;
            }
            _ => return Err(error),
        }
    }
}

fn too_many(refused: &Refused) -> bool {
    refused.code == Code::ResourceExhausted
}

/// Deposits a login of a tenant for each number, every secret value of which is a canary.
///
/// # Errors
/// The first deposit that the vault did not take.
pub async fn deposit(tenant: &Tenant, numbers: Range<u64>) -> Result<Vec<Deposited>> {
    let all = institutions::all()?;
    let (places, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for (number, institution) in numbers.zip(all.iter().cycle()) {
        let (front_end, institution) = (tenant.front_end()?.clone(), institution.clone());
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire_owned().await?;
            one(&front_end, &institution, number).await
        });
    }
    let mut deposited = Vec::new();
    while let Some(done) = running.join_next().await {
        deposited.push(done??);
    }
    Ok(deposited)
}

async fn one(front_end: &FrontEnd, institution: &Institution, number: u64) -> Result<Deposited> {
    let login = logins::canary_login(institution, FIRST_SEED + number)?;
    let wanted = NewLogin::New {
        institution: InstitutionId::try_from(institution.id().as_str())?,
        subject: SubjectRef::try_from(format!("crowd-{number}").as_str())?,
    };
    let enrolment = patient(|| front_end.open_enrolment(&wanted)).await?;
    let key = patient(|| front_end.deposit_key()).await?;
    let names: Vec<(FieldKey, &[u8])> =
        login.fields().map(|(name, value)| Ok((name.try_into()?, value))).collect::<Result<_>>()?;
    let (owner, credential) = (enrolment.owner, enrolment.credential);
    // Sealed anew each time: what is offered is used up.
    let offer = || async {
        let fields = names.iter().map(|(name, value)| (name.clone(), ClientSecret::copy_of(value))).collect();
        anyhow::Ok(front_end.deposit(seal(&enrolment, &key, fields)?).await?)
    };
    patient(offer).await?;
    drop(names);
    Ok(Deposited { login, owner, credential })
}

/// Gives every login a consent.
///
/// # Errors
/// The first consent that the vault did not take.
pub async fn consent(tenant: &Tenant, now: Timestamp, crowd: &[Deposited]) -> Result<()> {
    let front_end = tenant.front_end()?;
    for each in crowd {
        let about = about(each.credential, tenant.recipient, now);
        let notice = patient(|| front_end.notice(&about)).await?;
        let given = GrantRequest {
            consent: notice.consent,
            notice_sha256: notice.sha256,
            authn_method: Token::try_from("passkey")?,
            session: Token::try_from("crowd")?,
        };
        patient(|| front_end.grant(&given)).await?;
    }
    Ok(())
}

fn about(credential: CredentialId, recipient: RecipientId, now: Timestamp) -> NoticeRequest {
    NoticeRequest {
        credential,
        recipient,
        purpose: Purpose::WealthAggregation,
        scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
        valid_until: now.plus(Span::days(30)),
        history_from: now.minus(Span::days(800)),
        unattended_per_day: 1,
        locale: Locale::En,
    }
}

/// A worker of the usual pool, connected.
#[derive(Debug)]
pub struct Asker {
    name: String,
    worker: Worker,
}

/// What asking for one login came to.
#[derive(Debug)]
pub struct Came {
    /// Answers that were granted and not ready in time to leave, as on a machine under load; each was asked for again.
    pub late: u64,
    /// The entry that granted it, and every field came as it was deposited; or the vault's refusal.
    pub end: Result<u64, Box<Refused>>,
}

/// What asking for each login of a crowd came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Those that came exactly as they were deposited.
    pub whole: u64,
    /// Answers that came too late and were asked for again.
    pub late: u64,
}

impl Asker {
    /// The worker of a number, from 1.
    ///
    /// # Errors
    /// Where it is not registered, or the vault cannot be reached.
    pub async fn connect(world: &World, number: usize) -> Result<Self> {
        let name = format!("w{number:02}");
        let identity = world.identities.load(&format!("worker-{name}"))?;
        Ok(Self { name, worker: Worker::connect(&world.door, identity, Arc::clone(&world.clock)).await? })
    }

    /// Asks for every field of a login, with its holder present, until the answer is one.
    ///
    /// # Errors
    /// What was neither a whole login nor a refusal; above all a login that is not as it was deposited.
    pub async fn ask(&self, world: &World, tenant: &Tenant, login: &Deposited) -> Result<Came> {
        let mut late = 0;
        loop {
            match self.once(world, tenant, login).await? {
                Ok(entry) => return Ok(Came { late, end: Ok(entry) }),
                Err(Error::BrokenOff) if late < LATE => late += 1,
                Err(Error::Refused(refused)) => match refused.reason {
                    Some(PublicReason::TryAgain) => {}
                    // That the answer before never left is still being written down.
                    Some(PublicReason::LeaseHeld) if late > 0 => {}
                    _ if too_many(&refused) => {}
                    _ => return Ok(Came { late, end: Err(refused) }),
                },
                Err(error) => return Err(error).with_context(|| login.credential.to_string()),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn once(&self, world: &World, tenant: &Tenant, login: &Deposited) -> Result<Result<u64, Error>> {
        let (_, job) = tenant.job(&*world.clock, login.credential, &Wanted::by(&self.name))?;
        let attendance = tenant.attendance(&*world.clock, login.credential, login.owner)?;
        let whole = |key: &str| anyhow::Ok(FieldRequest { key: key.try_into()?, form: Form::Full, positions: vec![] });
        let fields = login.login.fields().map(|(key, _)| whole(key)).collect::<Result<_>>()?;
        let errand = Errand { job, attendance: Some(attendance), fields };
        let answer = tokio::time::timeout(HANGS, self.worker.release(errand)).await.context("no answer")?;
        let released = match answer {
            Ok(released) => released,
            Err(error) => return Ok(Err(error)),
        };
        let values: BTreeMap<&str, &[u8]> = login.login.fields().collect();
        let is = |(key, value): (&&str, &&[u8])| {
            released.field(key).is_some_and(|released| released.with_bytes(|bytes| bytes == *value))
        };
        if !values.iter().all(is) {
            bail!("{} did not come as it was deposited", login.credential);
        }
        let lease = released.lease;
        patient(|| self.worker.report(&lease, Outcome::Ok, None)).await.context("report")?;
        Ok(Ok(released.entry.index))
    }
}

/// Asks for every login of a tenant's once, by these workers in turn.
///
/// # Errors
/// The first that did not come as it was deposited.
pub async fn release(world: &World, tenant: &Tenant, askers: &[Asker], crowd: &[Deposited]) -> Result<Tally> {
    let mut tally = Tally::default();
    for (login, asker) in crowd.iter().zip(askers.iter().cycle()) {
        let Came { late, end } = asker.ask(world, tenant, login).await?;
        end.map_err(|refused| anyhow::anyhow!("{}: {refused}", login.credential))?;
        tally.whole += 1;
        tally.late += late;
    }
    Ok(tally)
}
