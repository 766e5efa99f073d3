//! A crowd of investors with canaries for values, deposited, consented and released through the real processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_client::sealing::seal;
use cofre_client::worker::Errand;
use cofre_client::{ClientSecret, Worker};
use cofre_demo::world::World;
use cofre_demo::world::seed::Wanted;
use cofre_model::credential::FieldRequest;
use cofre_model::id::{CredentialId, InstitutionId, SubjectId};
use cofre_model::request::{GrantRequest, Login as NewLogin, NoticeRequest, SubjectRef, Token};
use cofre_model::time::Span;
use cofre_model::wording::{Form, Locale, Outcome, Purpose, Scope};
use cofre_testkit::institutions;
use cofre_testkit::logins::{self, Login};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Calls under way at once.
const AT_ONCE: usize = 8;

/// One deposited login.
pub(crate) struct Deposited {
    pub(crate) login: Login,
    pub(crate) owner: SubjectId,
    pub(crate) credential: CredentialId,
}

/// Deposits `count` logins, every secret value of which is a canary.
pub(crate) async fn deposit(world: &World, count: usize) -> Result<Vec<Deposited>> {
    let all = institutions::all()?;
    let (places, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for number in 0..count {
        let institution = all[number % all.len()].clone();
        let front_end = world.north.front_end()?.clone();
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire_owned().await?;
            let login = logins::canary_login(&institution, 50_000 + number as u64)?;
            let wanted = NewLogin::New {
                institution: InstitutionId::try_from(institution.id().as_str())?,
                subject: SubjectRef::try_from(format!("crowd-{number}").as_str())?,
            };
            let enrolment = front_end.open_enrolment(&wanted).await?;
            let key = front_end.deposit_key().await?;
            let mut fields = Vec::new();
            for (name, value) in login.fields() {
                fields.push((name.try_into()?, ClientSecret::copy_of(value)));
            }
            let (owner, credential) = (enrolment.owner, enrolment.credential);
            front_end.deposit(seal(&enrolment, &key, fields)?).await?;
            anyhow::Ok(Deposited { login, owner, credential })
        });
    }
    let mut deposited = Vec::new();
    while let Some(done) = running.join_next().await {
        deposited.push(done??);
    }
    Ok(deposited)
}

/// Gives every login a consent.
pub(crate) async fn consent(world: &World, crowd: &[Deposited]) -> Result<()> {
    let now = world.clock.now();
    let front_end = world.north.front_end()?;
    for each in crowd {
        let notice = front_end
            .notice(&NoticeRequest {
                credential: each.credential,
                recipient: world.north.recipient,
                purpose: Purpose::WealthAggregation,
                scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
                valid_until: now.plus(Span::days(30)),
                history_from: now.minus(Span::days(800)),
                unattended_per_day: 1,
                locale: Locale::En,
            })
            .await?;
        front_end
            .grant(&GrantRequest {
                consent: notice.consent,
                notice_sha256: notice.sha256,
                authn_method: Token::try_from("passkey")?,
                session: Token::try_from("crowd")?,
            })
            .await?;
    }
    Ok(())
}

/// Releases every login once; says how many came with exactly the values that were deposited.
pub(crate) async fn release(world: &World, crowd: &[Deposited]) -> Result<usize> {
    let identity = world.identities.load("worker-w01")?;
    let worker = Worker::connect(&world.door, identity, Arc::clone(&world.clock)).await?;
    let mut right = 0;
    for each in crowd {
        let (_, job) = world.north.job(&*world.clock, each.credential, &Wanted::by("w01"))?;
        let attendance = world.north.attendance(&*world.clock, each.credential, each.owner)?;
        let fields: Vec<FieldRequest> = each
            .login
            .fields()
            .map(|(key, _)| Ok(FieldRequest { key: key.try_into()?, form: Form::Full, positions: vec![] }))
            .collect::<Result<_>>()?;
        let login = worker.release(Errand { job, attendance: Some(attendance), fields }).await?;
        let values: BTreeMap<&str, &[u8]> = each.login.fields().collect();
        let same = values
            .iter()
            .all(|(key, value)| login.field(key).is_some_and(|released| released.with_bytes(|bytes| bytes == *value)));
        right += usize::from(same);
        worker.report(&login.lease, Outcome::Ok, None).await.context("report")?;
    }
    Ok(right)
}
