//! A vault that serves two tenants, with logins whose every value is known, and what a release of one of them comes to.

use std::cell::{Cell as Counter, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofre_client::sealing::seal;
use cofre_client::worker::Errand;
use cofre_client::{ClientSecret, Error, FrontEnd, Refused, Worker};
use cofre_demo::world::seed::{Tenant, Wanted};
use cofre_demo::world::{Wishes, World, stores};
use cofre_model::credential::FieldRequest;
use cofre_model::entry::EntryKind;
use cofre_model::id::{ConsentId, CredentialId, SubjectId};
use cofre_model::reason::PublicReason;
use cofre_model::request::{GrantRequest, Login as Whose, NoticeRequest, Page, SearchQuery, SubjectRef, Token};
use cofre_model::time::Span;
use cofre_model::wording::{Form, Locale, Outcome, Purpose, Scope};
use cofre_testkit::administrator::{Administrator, Line};
use cofre_testkit::institutions;
use cofre_testkit::logins::{self, Login};
use cofre_testkit::stores::{Engine, Store};
use serde_json::Value;

/// Longer than any answer takes: who waits for more hangs.
const HANGS: Duration = Duration::from_secs(30);

/// How often in a row an answer may come too late.
const LATE: usize = 20;
/// The pause after one that did.
const AGAIN: Duration = Duration::from_millis(250);

/// Whose login it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    North,
    South,
}

/// A login at rest under a consent.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) of: Of,
    pub(crate) login: Login,
    pub(crate) owner: SubjectId,
    pub(crate) credential: CredentialId,
}

/// What a release came to.
#[derive(Debug)]
pub(crate) enum Came {
    /// Every field as it was deposited.
    Whole,
    /// Nothing, with the vault's refusal.
    Refused(Box<Refused>),
}

impl Came {
    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }
}

/// The vault with its logins.
pub(crate) struct House {
    pub(crate) world: World,
    engine: Engine,
    workers: Vec<(String, Worker)>,
    /// The one that rows are edited of comes first, then one of its holder, of another holder, of the other tenant.
    pub(crate) logins: Vec<Resting>,
    /// Rows of the first login's first version, which was replaced since, by table.
    pub(crate) older: BTreeMap<String, Vec<Line>>,
    turn: Counter<usize>,
    refusals: RefCell<BTreeMap<u64, String>>,
}

/// What is known of a house while no vault runs in it.
pub(crate) struct Stopped {
    logins: Vec<Resting>,
    older: BTreeMap<String, Vec<Line>>,
}

impl Stopped {
    /// Starts the vault again.
    pub(crate) async fn started(self, wishes: &Wishes) -> House {
        let world = World::start(wishes).await.expect("the same world");
        let workers = workers(&world, wishes.workers).await;
        let Self { logins, older } = self;
        House {
            world,
            engine: engine(wishes),
            workers,
            logins,
            older,
            turn: Counter::new(0),
            refusals: RefCell::default(),
        }
    }
}

/// What the stores of a house run on.
const fn engine(wishes: &Wishes) -> Engine {
    match wishes.cluster {
        None => Engine::Sqlite,
        Some(_) => Engine::Postgres,
    }
}

/// Workers of the pool that serves everybody.
async fn workers(world: &World, count: usize) -> Vec<(String, Worker)> {
    let mut workers = Vec::new();
    for number in 1..=count {
        let name = format!("w{number:02}");
        let identity = world.identities.load(&format!("worker-{name}")).expect("an identity");
        let worker = Worker::connect(&world.door, identity, Arc::clone(&world.clock)).await.expect("a worker");
        workers.push((name, worker));
    }
    workers
}

impl House {
    /// Starts a vault and brings it four logins: two of one holder, one of another, one of another tenant. The first
    /// was entered twice.
    pub(crate) async fn new(wishes: &Wishes) -> Self {
        let world = World::start(wishes).await.expect("a world");
        let workers = workers(&world, wishes.workers).await;
        let (logins, older, turn, refusals) = (Vec::new(), BTreeMap::new(), Counter::new(0), RefCell::default());
        let mut house = Self { world, engine: engine(wishes), workers, logins, older, turn, refusals };
        for (of, subject, at, seed) in
            [(Of::North, "one", 0, 70_001), (Of::North, "one", 1, 70_002), (Of::North, "other", 0, 70_003)]
        {
            house.logins.push(house.deposited(of, subject, at, seed).await);
        }
        house.logins.push(house.deposited(Of::South, "third", 0, 70_004).await);
        for login in &house.logins {
            house.consent(login).await;
        }
        house.keep_and_renew().await;
        house.all_whole("the start").await;
        house
    }

    /// The same house under a vault that was stopped and started again.
    pub(crate) async fn restarted(self, wishes: &Wishes) -> Self {
        self.stopped().started(wishes).await
    }

    /// The house while no vault runs in it.
    pub(crate) fn stopped(self) -> Stopped {
        let Self { world, logins, older, .. } = self;
        world.stop().expect("it stops in order");
        Stopped { logins, older }
    }

    /// The house after its vault was killed at this instant (SIGKILL).
    pub(crate) fn killed(self) -> Stopped {
        let Self { world, logins, older, .. } = self;
        world.vault.kill().expect("killed");
        Stopped { logins, older }
    }

    /// Where its stores are.
    pub(crate) fn stores(&self) -> PathBuf {
        stores::folder(&self.world.folder)
    }

    pub(crate) async fn administrator(&self, store: Store) -> Administrator {
        Administrator::of(&self.stores(), store, self.engine).await.expect("an administrator")
    }

    pub(crate) const fn tenant(&self, of: Of) -> &Tenant {
        match of {
            Of::North => &self.world.north,
            Of::South => &self.world.south,
        }
    }

    fn front_end(&self, of: Of) -> &FrontEnd {
        self.tenant(of).front_end().expect("connected")
    }

    /// A new login at one of the institutions, without a consent.
    pub(crate) async fn deposited(&self, of: Of, subject: &str, institution: usize, seed: u64) -> Resting {
        let institution = &institutions::all().expect("fixtures")[institution];
        let login = logins::login(institution, seed).expect("a login");
        let whose = Whose::New {
            institution: institution.id().as_str().try_into().expect("an id"),
            subject: SubjectRef::try_from(subject).expect("a token"),
        };
        let (owner, credential) = self.deposit(of, &whose, &login).await.expect("a deposit");
        Resting { of, login, owner, credential }
    }

    /// Deposits a login's fields.
    pub(crate) async fn deposit(
        &self,
        of: Of,
        whose: &Whose,
        login: &Login,
    ) -> Result<(SubjectId, CredentialId), Error> {
        let front_end = self.front_end(of);
        let enrolment = front_end.open_enrolment(whose).await?;
        let key = front_end.deposit_key().await?;
        let fields =
            login.fields().map(|(name, value)| (name.try_into().expect("a key"), ClientSecret::copy_of(value)));
        let (owner, credential) = (enrolment.owner, enrolment.credential);
        front_end.deposit(seal(&enrolment, &key, fields.collect()).expect("sealed")).await?;
        Ok((owner, credential))
    }

    pub(crate) async fn consent(&self, login: &Resting) -> ConsentId {
        let (now, front_end) = (self.world.clock.now(), self.front_end(login.of));
        let about = NoticeRequest {
            credential: login.credential,
            recipient: self.tenant(login.of).recipient,
            purpose: Purpose::WealthAggregation,
            scopes: [Scope::Accounts, Scope::Positions].into_iter().collect(),
            valid_until: now.plus(Span::days(30)),
            history_from: now.minus(Span::days(800)),
            unattended_per_day: 1,
            locale: Locale::En,
        };
        let notice = front_end.notice(&about).await.expect("a notice");
        let grant = GrantRequest {
            consent: notice.consent,
            notice_sha256: notice.sha256,
            authn_method: Token::try_from("passkey").expect("a token"),
            session: Token::try_from("tampered").expect("a token"),
        };
        front_end.grant(&grant).await.expect("a consent");
        notice.consent
    }

    /// Keeps the rows of the first login, then enters its secrets anew.
    async fn keep_and_renew(&mut self) {
        let credential = self.logins[0].credential;
        for store in [Store::Ciphertexts, Store::Keyring] {
            let mut administrator = self.administrator(store).await;
            for table in administrator.tables().await.expect("tables") {
                let rows = administrator.rows(&table).await.expect("rows");
                let own = rows.into_iter().filter(|row| super::rows::names(row, &credential.to_string()));
                self.older.insert(table.name, own.collect());
            }
        }
        let institution = &institutions::all().expect("fixtures")[0];
        let renewed = logins::canary_login(institution, 70_001).expect("a login");
        self.deposit(Of::North, &Whose::Existing(credential), &renewed).await.expect("entered anew");
        self.logins[0].login = renewed;
    }

    /// Asks for every field of a login, with its holder present. What comes is what was deposited, or the test fails.
    /// An answer that was not ready in time never leaves, as on a machine under load: it is asked for again.
    pub(crate) async fn attempt(&self, login: &Resting) -> Came {
        let mut late = false;
        for _ in 0..LATE {
            match self.ask(login).await {
                Ok(()) => return Came::Whole,
                Err(Error::BrokenOff) => late = true,
                Err(error) => {
                    let refused = error.refused().unwrap_or_else(|| panic!("{}: {error:?}", login.credential));
                    match refused.reason {
                        Some(PublicReason::TryAgain) => {}
                        // That the answer before never left is still being written down.
                        Some(PublicReason::LeaseHeld) if late => {}
                        _ => return Came::Refused(Box::new(refused.clone())),
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        panic!("{}: no answer left in time, {LATE} times in a row", login.credential)
    }

    async fn ask(&self, login: &Resting) -> Result<(), Error> {
        let turn = self.turn.replace(self.turn.get() + 1) % self.workers.len();
        let ((name, worker), tenant) = (&self.workers[turn], self.tenant(login.of));
        let clock = &*self.world.clock;
        let (_, job) = tenant.job(clock, login.credential, &Wanted::by(name)).expect("a job");
        let attendance = tenant.attendance(clock, login.credential, login.owner).expect("a statement");
        let whole =
            |key: &str| FieldRequest { key: key.try_into().expect("a key"), form: Form::Full, positions: vec![] };
        let fields = login.login.fields().map(|(key, _)| whole(key)).collect();
        let errand = Errand { job, attendance: Some(attendance), fields };
        let released = tokio::time::timeout(HANGS, worker.release(errand)).await.expect("an answer")?;
        for (key, value) in login.login.fields() {
            let field = released.field(key).expect("every field");
            assert!(field.with_bytes(|bytes| bytes == value), "{key} is not what was deposited");
        }
        worker.report(&released.lease, Outcome::Ok, None).await.expect("its own lease");
        Ok(())
    }

    /// Stops the vault. It never panicked.
    pub(crate) fn stop(self) {
        let log = std::fs::read_to_string(&self.world.vault.log).expect("its log");
        assert!(!log.contains("panicked"), "{log}");
        self.world.stop().expect("it stops in order");
    }

    /// Remembers the entry of a refusal for [`House::settle`].
    pub(crate) fn remember(&self, what: &str, refused: &Refused) {
        let entry = refused.entry.unwrap_or_else(|| panic!("{what}: no entry in {refused:?}"));
        self.refusals.borrow_mut().insert(entry, what.to_owned());
    }

    /// Every login comes as it was deposited.
    pub(crate) async fn all_whole(&self, after: &str) {
        for (number, login) in self.logins.iter().enumerate() {
            let came = self.attempt(login).await;
            assert!(came.is_whole(), "login {number} after {after}: {came:?}");
        }
    }

    /// Looks up, for every refusal since the last time, the exact reason that the ledger gives: of the entry that
    /// refused, or of the OUTCOME that follows the grant whose answer never left. Says how often which reason stood.
    pub(crate) async fn settle(&self) -> BTreeMap<String, Vec<String>> {
        let refusals = self.refusals.take();
        let Some(first) = refusals.keys().next().copied() else { return BTreeMap::new() };
        let mut reasons = BTreeMap::new();
        for kind in [EntryKind::Denied, EntryKind::Outcome] {
            for entry in self.entries(kind, first).await {
                let place = if kind == EntryKind::Outcome { &entry["follows"] } else { &entry["index"] };
                let index = place.as_u64().or_else(|| place.as_str().and_then(|text| text.parse().ok()));
                let reason = entry["reason"].as_str().map(str::to_owned);
                reasons.insert(index.unwrap_or_else(|| panic!("{entry}")), reason);
            }
        }
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (index, what) in refusals {
            let reason = reasons.get(&index).cloned().flatten();
            let reason = reason.unwrap_or_else(|| panic!("{what}: entry {index} says no reason and has no OUTCOME"));
            told.entry(reason).or_default().push(what);
        }
        told
    }

    /// The entries of a kind from an index on, as an auditor reads them.
    pub(crate) async fn entries(&self, kind: EntryKind, from: u64) -> Vec<Value> {
        let page = Page { from, to: u64::MAX, limit: 500 };
        let mut query =
            SearchQuery { credential: None, tenant: None, kind: Some(kind), reason: None, caller: None, page };
        let mut entries = Vec::new();
        loop {
            let (read, next) = self.world.auditor.search(&query).await.expect("a search");
            entries.extend(read.iter().map(|each| serde_json::from_str::<Value>(&each.json).expect("JSON")));
            let Some(next) = next else { return entries };
            query.page.from = next;
        }
    }
}
