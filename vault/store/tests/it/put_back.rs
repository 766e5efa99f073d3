//! Old rows put back, MAC and all. A copy of the row of a consent and of a login is kept at every step of their lives
//! and put back at every later step: nothing is ever released on a row that the ledger says was replaced or ended,
//! and what is genuine goes on once the copy is gone again.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::Credential;
use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::Outcome;
use cofre_store::{Lockdown, Operation, Stores};
use cofre_testkit::stores::Engine;

use crate::hands::engine;
use crate::world::{Ask, WORKER, World, commit_config, config, told};

/// Tables whose rows are put back.
const TABLES: [&str; 2] = ["consents", "credentials"];

/// Copies kept beside the tables, by step.
struct Copies<'a> {
    world: &'a World,
    steps: Vec<&'static str>,
}

impl Copies<'_> {
    async fn run(&self, statement: String) -> u64 {
        self.world.edit(&statement).await
    }

    /// Keeps both tables as they are after this step, and says what a release comes to.
    async fn after(&mut self, step: &'static str) {
        for table in TABLES {
            self.run(format!("CREATE TABLE copy_{}_{table} AS SELECT * FROM {table}", self.steps.len())).await;
        }
        self.steps.push(step);
    }

    /// Puts rows of an earlier step back, asks for a release, and restores what stood.
    async fn put_back(&self, earlier: usize, tables: &[&str], ask: &Ask) -> String {
        for table in tables {
            self.run(format!("CREATE TABLE now_{table} AS SELECT * FROM {table}")).await;
            self.run(format!("DELETE FROM {table}")).await;
            self.run(format!("INSERT INTO {table} SELECT * FROM copy_{earlier}_{table}")).await;
            // Epochs as they are now, so that it is not the epoch that saves us.
            if *table == "credentials" {
                let epochs = "(SELECT epoch FROM now_credentials n WHERE n.id = credentials.id)";
                self.run(format!("UPDATE credentials SET epoch = COALESCE({epochs}, epoch)")).await;
            }
        }
        let came = match self.world.try_facts(ask).await {
            Err(cause) => format!("unreadable: {cause}"),
            Ok(facts) => told(&self.world.records().commit(self.world.decide(&facts)).await.expect("commit")),
        };
        for table in tables {
            self.run(format!("DELETE FROM {table}")).await;
            self.run(format!("INSERT INTO {table} SELECT * FROM now_{table}")).await;
            self.run(format!("DROP TABLE now_{table}")).await;
        }
        came
    }

    /// Whether a table differs from its copy in what its MAC covers.
    async fn differs(&self, earlier: usize, table: &str) -> bool {
        let columns = "id, state, entry_id, tag, last_tag";
        let copy = format!("copy_{earlier}_{table}");
        // Nothing is changed: what is asked for is how many rows that would touch.
        let apart = |one: &str, other: &str| {
            format!("UPDATE {one} SET id = id WHERE ({columns}) NOT IN (SELECT {columns} FROM {other})")
        };
        self.run(apart(table, &copy)).await + self.run(apart(&copy, table)).await > 0
    }

    /// Puts every earlier copy back that differs: consents, logins, and both.
    async fn nothing_comes_back(&self, credential: &Credential) -> usize {
        let mut tried = 0;
        for (earlier, step) in self.steps.iter().enumerate() {
            for tables in [&TABLES[..1], &TABLES[1..], &TABLES[..]] {
                let mut differ = false;
                for table in tables {
                    differ |= self.differs(earlier, table).await;
                }
                if differ {
                    let came = self.put_back(earlier, tables, &self.world.attended(credential)).await;
                    let now = self.steps.last().expect("a step");
                    assert!(
                        !["GRANTED", "MOVED"].contains(&came.as_str()),
                        "{tables:?} of `{step}` at `{now}`: {came}"
                    );
                    tried += 1;
                }
            }
        }
        tried
    }
}

async fn end_lease(world: &World, ask: &Ask) {
    assert_eq!(told(&world.once(ask).await), "GRANTED");
    world.report(ask, Outcome::Ok).await.expect("report");
}

async fn consent_anew(world: &World, credential: &Credential) -> Consent {
    let awaited = world.request_consent(credential, 4).await.expect("request");
    world.grant_consent(&awaited).await.expect("grant")
}

async fn deposit_anew(world: &World, credential: &Credential) -> Credential {
    let known = world.records().credential(&world.tenant.id, &credential.id).await.expect("read").expect("there");
    let enrolment = world.enrol(None, &known.claimed).await.expect("enrolment");
    let version = world.intend(enrolment).await.expect("intent");
    let tag = credential.id.to_bytes().to_vec();
    world.complete(enrolment, &known.claimed, version, tag).await.expect("deposit")
}

#[tokio::test]
async fn no_old_row_of_a_consent_or_a_login_ever_releases() {
    let world = World::new().await;
    let mut copies = Copies { world: &world, steps: Vec::new() };
    let credential = world.login().await;
    copies.after("deposited").await;
    let awaited = world.request_consent(&credential, 4).await.expect("request");
    copies.after("consent requested").await;
    let consent = world.grant_consent(&awaited).await.expect("grant");
    copies.after("consent granted").await;
    end_lease(&world, &world.attended(&credential)).await;
    let mut tried = copies.nothing_comes_back(&credential).await;

    let ask = world.attended(&credential);
    assert_eq!(told(&world.once(&ask).await), "GRANTED", "what is genuine goes on");
    let locked = Credential { not_before: world.clock.now().plus(Span::hours(2)), ..credential.clone() };
    world.lock(&ask, &locked).await.expect("locked");
    copies.after("locked by the institution").await;
    tried += copies.nothing_comes_back(&credential).await;
    world.clock.advance(Span::hours(3));
    let ask = world.attended(&credential);
    assert_eq!(told(&world.once(&ask).await), "GRANTED", "after the lock");
    tried += copies.nothing_comes_back(&credential).await;

    world.report(&ask, Outcome::WrongSecret).await.expect("report");
    copies.after("secret rejected").await;
    tried += copies.nothing_comes_back(&credential).await;
    let credential = deposit_anew(&world, &credential).await;
    copies.after("secret entered anew").await;
    end_lease(&world, &world.attended(&credential)).await;
    tried += copies.nothing_comes_back(&credential).await;

    world.revoke(&consent).await.expect("revoke");
    copies.after("consent revoked").await;
    tried += copies.nothing_comes_back(&credential).await;
    let second = consent_anew(&world, &credential).await;
    copies.after("a second consent").await;
    end_lease(&world, &world.attended(&credential)).await;
    world.clock.advance(Span::days(181));
    let expire = Operation::EndConsent { tenant: world.tenant.id, consent: second.id, to: ConsentState::Expired };
    world.apply(EntryKind::ConsentExpired, expire).await.expect("expire");
    copies.after("second consent expired").await;
    tried += copies.nothing_comes_back(&credential).await;

    consent_anew(&world, &credential).await;
    copies.after("a third consent").await;
    end_lease(&world, &world.attended(&credential)).await;
    let erasure = ErasureId::from_parts(world.ms(), world.bytes());
    let accept = Operation::AcceptErasure { erasure, tenant: world.tenant.id, subject: credential.owner };
    world.apply(EntryKind::ErasureAccepted, accept).await.expect("accepted");
    copies.after("erasure accepted").await;
    tried += copies.nothing_comes_back(&credential).await;
    assert!(tried > 60, "{tried} copies put back");
}

#[tokio::test]
async fn what_was_ended_stays_ended_for_a_node_that_starts_anew() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    let mut copies = Copies { world: &world, steps: Vec::new() };
    copies.after("granted").await;
    world.revoke(&consent).await.expect("revoke");
    world.edit("DELETE FROM consents").await;
    world.edit("INSERT INTO consents SELECT * FROM copy_0_consents").await;
    // A start looks at whose tables these are.
    for table in TABLES {
        world.edit(&format!("DROP TABLE copy_0_{table}")).await;
    }
    let World { folder, clock, stores, tenant, institution, recipient, job_key, .. } = world;
    stores.close().await;
    let stores = Stores::open(config(folder.path()).await, commit_config(&clock)).await.expect("opened again");
    let world = World::rebuilt(folder, clock, stores, tenant, institution, recipient, job_key);
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "CONSENT_EVIDENCE_INVALID");
    // Ending what was put back needs no key, and the login is not lost.
    world.revoke(&consent).await.expect("revoked again");
    let anew = consent_anew(&world, &credential).await;
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "GRANTED", "{}", anew.id);
}

#[tokio::test]
async fn a_stop_button_or_a_quarantine_taken_out_of_its_table_still_holds() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let (other, _) = world.releasable(4).await;
    world.apply(EntryKind::Lockdown, Operation::Lockdown(Lockdown::Credential(credential.id))).await.expect("locked");
    world.edit("DELETE FROM lockdowns").await;
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "LOCKDOWN");
    let ask = world.attended(&other);
    assert_eq!(told(&world.once(&ask).await), "GRANTED", "another login");
    world.report(&ask, Outcome::Ok).await.expect("report");
    let quarantine = Operation::QuarantineWorker { worker: WORKER.into() };
    world.apply(EntryKind::WorkerQuarantined, quarantine).await.expect("quarantined");
    world.edit("UPDATE workers SET state = 'ENABLED'").await;
    assert_ne!(told(&world.once(&world.attended(&other)).await), "GRANTED");
}

#[tokio::test]
async fn a_ledger_cut_under_a_running_node_gives_nothing() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    end_lease(&world, &world.attended(&credential)).await;
    // What was folded in by this read is taken out of the ledger afterwards.
    assert!(world.try_facts(&world.attended(&credential)).await.is_ok());
    world.edit(r#"DELETE FROM ledger_entries WHERE "index" = (SELECT MAX("index") FROM ledger_entries)"#).await;
    world.edit(r#"DELETE FROM ledger_facets WHERE "index" = (SELECT MAX("index") FROM ledger_facets)"#).await;
    world.edit("UPDATE ledger_head SET size = size - 1").await;
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "INTEGRITY_FAILURE");
    // Ending things goes on.
    world.revoke(&consent).await.expect("revoke");
}

/// Puts the row of a revoked consent back and has an entry appended that gives the old one again, as somebody can who
/// writes to records past the commit.
#[tokio::test]
async fn a_row_put_back_with_its_entry_told_again_gives_nothing() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    let granted = world.records().head().await.expect("head").size - 1;
    let mut copies = Copies { world: &world, steps: Vec::new() };
    copies.after("granted").await;
    world.revoke(&consent).await.expect("revoke");
    world.edit("DELETE FROM consents").await;
    world.edit("INSERT INTO consents SELECT * FROM copy_0_consents").await;
    let row = world.records().entry(granted).await.expect("read").expect("the grant");
    let old = cofre_ledger::entry::Leaf::parse(&row.bytes).expect("a leaf");
    assert_eq!(old.entry().expect("an entry").kind, EntryKind::ConsentGranted);
    let head = world.records().head().await.expect("head");
    let again = cofre_ledger::entry::Leaf { index: head.size, time: head.last_time.plus(Span::secs(1)), ..old };
    let bytes = again.to_bytes().expect("bytes");
    let hash = cofre_ledger::entry::leaf_hash(&bytes);
    let columns = r#"("index", bytes, leaf_hash, group_id, incarnation)"#;
    let (bytes, hash, size) = (hex::encode(&bytes), hex::encode(hash), head.size);
    let old =
        format!(r#"SELECT {size}, x'{bytes}', x'{hash}', group_id, incarnation FROM ledger_entries WHERE "index" = 0"#);
    world.edit(&format!("INSERT INTO ledger_entries {columns} {old}").replace(", x'", ",  x'")).await;
    world.edit(&format!("UPDATE ledger_head SET size = {}", size + 1)).await;
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "CONSENT_EVIDENCE_INVALID");
}

#[tokio::test]
async fn a_ledger_rewritten_below_the_commitment_gives_nothing_after_a_start() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let head = world.records().head().await.expect("head").size;
    let leaves = world.records().leaf_hashes(0, head).await.expect("leaves");
    let mut frontier = cofre_ledger::tree::Frontier::empty();
    for leaf in leaves {
        frontier.append(leaf);
    }
    let commitment = cofre_store::IntegratorState { generation: 1, size: head, root: frontier.root() };
    assert!(world.stores.keyring.swap_integrator(None, commitment).await.expect("committed to"));
    let World { folder, clock, stores, tenant, institution, recipient, job_key, .. } = world;
    stores.close().await;
    let stores = Stores::open(config(folder.path()).await, commit_config(&clock)).await.expect("opened again");
    let world = World::rebuilt(folder, clock, stores, tenant, institution, recipient, job_key);
    end_lease(&world, &world.attended(&credential)).await;
    // An entry that decides nothing, told a second time in the place of another: each leaf reads well by itself.
    let told_twice =
        r#"substr(bytes, 1, 17) || substr((SELECT e.bytes FROM ledger_entries e WHERE e."index" = 0), 18)"#;
    let told_twice = match engine() {
        Engine::Sqlite => format!("CAST({told_twice} AS BLOB)"),
        Engine::Postgres => told_twice.to_owned(),
    };
    let place = r#"(SELECT MIN("index") FROM ledger_facets WHERE kind = 'TEMPLATE_PUT')"#;
    let exchanged = format!(r#"UPDATE ledger_entries SET bytes = {told_twice} WHERE "index" = {place}"#);
    assert_eq!(world.edit(&exchanged).await, 1);
    let World { folder, clock, stores, tenant, institution, recipient, job_key, .. } = world;
    stores.close().await;
    let stores =
        Stores::open(config(folder.path()).await, commit_config(&clock)).await.expect("opens, and grants nothing");
    let world = World::rebuilt(folder, clock, stores, tenant, institution, recipient, job_key);
    world.clock.advance(Span::minutes(1));
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "INTEGRITY_FAILURE");
}
