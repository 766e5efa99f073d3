//! The databases of PostgreSQL: who may do what in them, and what is refused before anything is served from them.
//! These run on PostgreSQL whatever the engine of the run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cofre_store::*;
use cofre_testkit::clock::TestClock;
use cofre_testkit::postgres::Cluster;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::world::commit_config;

/// Three databases of one owner, each with a role that will serve from it.
pub(crate) struct Databases {
    cluster: Cluster,
    name: String,
}

pub(crate) const STORES: [&str; 3] = ["records", "ciphertexts", "keyring"];

impl Databases {
    /// Databases as an administrator prepares them: empty.
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::here().expect("cluster");
        let name = format!("set{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        cluster.run("postgres", &[&format!("CREATE ROLE {name}_owner LOGIN")]).await.expect("owner");
        for store in STORES {
            let role = format!("CREATE ROLE {name}_{store} LOGIN");
            let database = format!("CREATE DATABASE {name}_{store} OWNER {name}_owner");
            cluster.run("postgres", &[&role, &database]).await.expect("prepared");
        }
        Self { cluster, name }
    }

    /// Databases that can be served from.
    pub(crate) async fn migrated() -> Self {
        let databases = Self::new().await;
        databases.migrate().await.expect("migrated");
        databases
    }

    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        Stores::migrate(self.config("owner"), &self.roles()).await?;
        // Tests move their clocks by months.
        self.administer("records", "UPDATE cofre.clock_bound SET ahead = 3155760000000000").await;
        Ok(())
    }

    pub(crate) fn database(&self, store: &str) -> String {
        format!("{}_{store}", self.name)
    }

    pub(crate) fn role(&self, store: &str) -> String {
        self.database(store)
    }

    fn roles(&self) -> ServingRoles {
        ServingRoles {
            records: self.role("records"),
            ciphertexts: self.role("ciphertexts"),
            keyring: self.role("keyring"),
        }
    }

    fn place(&self, store: &str, role: &str) -> Place {
        let text = self.cluster.text(&self.database(store), &self.role(role));
        Place::Postgres(Postgres::parse(&text, None).expect("parsed"))
    }

    /// The stores as a role reaches them; `serving` for each store's own.
    pub(crate) fn config(&self, role: &str) -> StoreConfig {
        let place = |store| self.place(store, if role == "serving" { store } else { role });
        StoreConfig {
            records: place("records"),
            ciphertexts: place("ciphertexts"),
            keyring: place("keyring"),
            mode: Mode::Dev,
            ceiling: None,
        }
    }

    pub(crate) async fn open(&self) -> Result<Stores, Error> {
        open(self.config("serving")).await
    }

    /// The folder of the server's socket.
    pub(crate) fn folder(&self) -> &Path {
        self.cluster.folder()
    }

    /// Somebody's session that keeps others from writing about `what`.
    pub(crate) async fn hold(&self, store: &str, what: &str) -> PgConnection {
        let mut session = self.administrator(store).await;
        session.execute("BEGIN").await.expect("begun");
        let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(what.to_owned());
        session.execute(lock).await.expect("locked");
        session
    }

    /// A session of the administrator of the server.
    pub(crate) async fn administrator(&self, store: &str) -> PgConnection {
        self.cluster.administrator(&self.database(store)).await.expect("connected")
    }

    /// What the administrator of the server does.
    pub(crate) async fn administer(&self, store: &str, statement: &str) {
        self.cluster.run(&self.database(store), &[statement]).await.expect(statement);
    }

    /// Ends all sessions with a database but the administrator's own.
    pub(crate) async fn end_sessions(&self, store: &str) {
        let database = self.database(store);
        let others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname";
        self.administer(store, &format!("SELECT pg_terminate_backend(pid) {others} = '{database}'")).await;
    }

    /// The stores as they are served from by roles that have to show a password.
    pub(crate) async fn with_password(&self, password: &str) -> StoreConfig {
        let mut places = Vec::new();
        for store in STORES {
            let role = self.role(store);
            self.cluster.ask_password(&role, password).await.expect("asked from now on");
            let text = self.cluster.text(&self.database(store), &role);
            let shown = Some(password.to_owned().into());
            places.push(Place::Postgres(Postgres::parse(&text, shown).expect("parsed")));
        }
        let [records, ciphertexts, keyring] = places.try_into().expect("three");
        StoreConfig { records, ciphertexts, keyring, mode: Mode::Dev, ceiling: None }
    }

    /// What comes of a statement of somebody with a role: nothing, or the server's error code.
    pub(crate) async fn attempt(&self, store: &str, role: &str, statement: &str) -> Option<String> {
        let mut session = self.administrator(store).await;
        let become_role = format!("SET SESSION AUTHORIZATION {}; SET search_path = cofre", self.role(role));
        session.execute(sqlx::raw_sql(AssertSqlSafe(become_role))).await.expect("role");
        let done = session.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await;
        done.err().map(|cause| {
            let cause = cause.into_database_error().expect("the server's own");
            cause.code().map(|code| code.into_owned()).expect("code")
        })
    }
}

pub(crate) async fn open(config: StoreConfig) -> Result<Stores, Error> {
    // Each a node of its own name: a name is one live process's.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let node = format!("spiffe://cofre.test/node/eu-nl/s{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let mut incarnation = [7; 16];
    let count = NEXT.load(Ordering::SeqCst).to_be_bytes();
    incarnation[..4].copy_from_slice(&count);
    open_as(config, &node, incarnation).await
}

async fn open_as(config: StoreConfig, node: &str, incarnation: [u8; 16]) -> Result<Stores, Error> {
    let settings = commit_config(&Arc::new(TestClock::default()));
    Stores::open(config, CommitConfig { node: node.to_owned(), incarnation, ..settings }).await
}

#[tokio::test]
async fn of_two_processes_with_one_name_the_second_does_not_start() {
    let databases = Databases::migrated().await;
    let name = "spiffe://cofre.test/node/eu-nl/n1";
    let first = open_as(databases.config("serving"), name, [1; 16]).await.expect("opened");
    let second = open_as(databases.config("serving"), name, [2; 16]).await.map(drop);
    assert!(matches!(&second, Err(Error::Live { node }) if node == name), "{second:?}");
    let beside = open_as(databases.config("serving"), "spiffe://cofre.test/node/eu-nl/n2", [3; 16]).await;
    beside.expect("another name").close().await;
    first.close().await;
    open_as(databases.config("serving"), name, [4; 16]).await.expect("the name is free again").close().await;
}

/// What opening is refused with.
async fn refusal(databases: &Databases) -> String {
    databases.open().await.map(drop).expect_err("opened").to_string()
}

#[tokio::test]
async fn databases_are_migrated_by_their_owner_and_served_by_others() {
    let databases = Databases::new().await;
    let wanted = refusal(&databases).await;
    assert!(wanted.starts_with("the records database has 0 migrations and this release needs "), "{wanted}");
    assert!(wanted.contains("run `cofred migrate` of this release as the owner"), "{wanted}");
    databases.migrate().await.expect("migrated");
    databases.migrate().await.expect("doing it again changes nothing");
    let stores = databases.open().await.expect("opened");
    let id = stores.records.store_id();
    stores.close().await;
    assert_eq!(databases.open().await.expect("opened again").records.store_id(), id);

    let owner = open(databases.config("owner")).await.map(drop);
    assert!(matches!(&owner, Err(Error::Overpowered { store: "records", .. })), "{owner:?}");
    let other = Stores::migrate(databases.config("serving"), &databases.roles()).await;
    assert!(matches!(&other, Err(Error::NotOwner { store: "records" })), "{other:?}");
    let roles = ServingRoles { keyring: "nobody\"; DROP SCHEMA cofre; --".into(), ..databases.roles() };
    let nobody = Stores::migrate(databases.config("owner"), &roles).await;
    assert!(matches!(&nobody, Err(Error::NoRole { store: "keyring", .. })), "{nobody:?}");
    assert!(databases.open().await.is_ok());
}

#[tokio::test]
async fn two_who_migrate_at_once_give_one_name() {
    let databases = Databases::new().await;
    let (one, two) = tokio::join!(databases.migrate(), databases.migrate());
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    databases.open().await.expect("one set");
}

#[tokio::test]
async fn a_serving_role_does_what_its_store_needs_and_nothing_else() {
    const DENIED: &str = "42501";
    let databases = Databases::migrated().await;
    for (store, statements) in [
        (
            "records",
            &[
                "INSERT INTO cell VALUES (1, 9)",
                "UPDATE consents SET state = 'ACTIVE'",
                "UPDATE cell SET epoch = 0",
                "DELETE FROM ledger_entries",
                "DELETE FROM lockdowns",
                "TRUNCATE leases",
                "SELECT * FROM cell FOR UPDATE",
                "SELECT nextval('releases_id_seq')",
                "UPDATE _sqlx_migrations SET version = 9",
            ][..],
        ),
        ("ciphertexts", &["UPDATE sealed_fields SET sealed = ''", "TRUNCATE sealed_fields", "DELETE FROM meta"]),
        (
            "keyring",
            &[
                "UPDATE subject_keys SET owner_id = ''",
                "UPDATE data_keys SET owner_id = ''",
                "UPDATE deposit_keys SET not_after = 0",
                "UPDATE row_keys SET wrapped = ''",
                "UPDATE closed_keys SET tenant_id = ''",
                "DELETE FROM closed_keys",
                "UPDATE tenant_keys SET wrapped = ''",
                "UPDATE tenant_keys SET custody_set = ''",
                "TRUNCATE tenant_keys",
                "DELETE FROM retired_custodians",
                "UPDATE retired_custodians SET at = 0",
                "DELETE FROM destroyed",
                "UPDATE destroyed SET at = 0",
                "DELETE FROM integrator",
            ],
        ),
    ] {
        let everywhere = [
            "UPDATE meta SET value = ''",
            "CREATE TABLE cofre.mine (id BIGINT)",
            "CREATE TEMPORARY TABLE meta (id BIGINT)",
            "CREATE SCHEMA mine",
            "CREATE TABLE public.mine (id BIGINT)",
            "ALTER TABLE meta DISABLE TRIGGER ALL",
            "DROP TABLE meta",
            "CREATE FUNCTION cofre.mine() RETURNS BIGINT LANGUAGE sql AS 'SELECT 1'",
            "SELECT pg_read_file('/etc/passwd')",
            "SET session_replication_role = replica",
        ];
        for statement in statements.iter().chain(&everywhere) {
            let code = databases.attempt(store, store, statement).await;
            assert_eq!(code.as_deref(), Some(DENIED), "{store}: {statement}");
        }
        // Its own role opens no other store.
        for other in STORES.into_iter().filter(|other| *other != store) {
            let config = match other {
                "records" => StoreConfig { records: databases.place(other, store), ..databases.config("serving") },
                "ciphertexts" => {
                    StoreConfig { ciphertexts: databases.place(other, store), ..databases.config("serving") }
                }
                _ => StoreConfig { keyring: databases.place(other, store), ..databases.config("serving") },
            };
            assert!(open(config).await.is_err(), "{store}'s role opened {other}");
        }
    }
}

#[tokio::test]
async fn what_was_written_once_is_not_changed_by_the_owner_either() {
    const REFUSED: &str = "23001";
    let databases = Databases::migrated().await;
    for (store, statements) in [
        (
            "records",
            &[
                "UPDATE ledger_entries SET bytes = ''",
                "DELETE FROM ledger_entries",
                "TRUNCATE ledger_entries",
                "DELETE FROM ledger_facets",
                "UPDATE ledger_checkpoints SET note = ''",
                "DELETE FROM consent_events",
            ][..],
        ),
        ("ciphertexts", &["UPDATE sealed_fields SET sealed = ''", "UPDATE meta SET value = ''"]),
        (
            "keyring",
            &[
                "UPDATE tenant_keys SET wrapped = ''",
                "UPDATE subject_keys SET tenant_id = ''",
                "UPDATE data_keys SET wrapped = ''",
                "UPDATE row_keys SET wrapped = ''",
                "DELETE FROM closed_keys",
                "UPDATE deposit_keys SET not_after = 0",
                "DELETE FROM destroyed",
                "DELETE FROM integrator",
            ],
        ),
    ] {
        for statement in statements {
            let code = databases.attempt(store, "owner", statement).await;
            assert_eq!(code.as_deref(), Some(REFUSED), "{store}: {statement}");
        }
    }
}

#[tokio::test]
async fn a_role_that_may_do_more_is_not_served_and_migrating_takes_it_away() {
    let databases = Databases::migrated().await;
    let (role, owner) = (databases.role("records"), databases.role("owner"));
    for (gain, named) in [
        (format!("GRANT UPDATE ON cofre.consents TO {role}"), "UPDATE on consents"),
        (format!("GRANT UPDATE (state) ON cofre.consents TO {role}"), "UPDATE on consents"),
        ("GRANT DELETE ON cofre.leases TO PUBLIC".to_owned(), "DELETE on leases"),
        (format!("GRANT CREATE ON SCHEMA cofre TO {role}"), "CREATE on schema cofre"),
        (
            format!("GRANT TEMPORARY ON DATABASE {} TO PUBLIC", databases.database("records")),
            "TEMPORARY on the database",
        ),
        (format!("GRANT EXECUTE ON FUNCTION cofre.refuse_change() TO {role}"), "EXECUTE on refuse_change"),
        (format!("GRANT UPDATE ON SEQUENCE cofre.releases_id_seq TO {role}"), "SEQUENCE on releases_id_seq"),
    ] {
        databases.administer("records", &gain).await;
        let cause = refusal(&databases).await;
        assert!(cause.contains(&format!("may do more than serve ({named})")), "{gain}: {cause}");
        databases.migrate().await.expect("migrated");
        databases.open().await.expect(&gain).close().await;
    }
    // What the owner of a database cannot take away, migrating names.
    for (gain, loss, named) in [
        (format!("GRANT {owner} TO {role}"), format!("REVOKE {owner} FROM {role}"), "MEMBER on"),
        (format!("ALTER ROLE {role} SUPERUSER"), format!("ALTER ROLE {role} NOSUPERUSER"), "SUPERUSER on the server"),
        (format!("ALTER ROLE {role} CREATEROLE"), format!("ALTER ROLE {role} NOCREATEROLE"), "CREATEROLE on"),
        (format!("ALTER ROLE {role} REPLICATION"), format!("ALTER ROLE {role} NOREPLICATION"), "REPLICATION on"),
        (
            format!("GRANT pg_write_all_data TO {role}"),
            format!("REVOKE pg_write_all_data FROM {role}"),
            "MEMBER on pg_write_all_data",
        ),
        (
            format!("GRANT pg_execute_server_program TO {role}"),
            format!("REVOKE pg_execute_server_program FROM {role}"),
            "MEMBER on pg_execute_server_program",
        ),
        (
            format!("ALTER ROLE {role} NOINHERIT; GRANT {owner} TO {role}"),
            format!("REVOKE {owner} FROM {role}"),
            "MEMBER on",
        ),
        // Nothing of these is inherited; SET ROLE reaches them all the same.
        (
            format!("GRANT pg_write_all_data TO {role}"),
            format!("REVOKE pg_write_all_data FROM {role}"),
            "MEMBER on pg_write_all_data",
        ),
        (
            format!(
                "CREATE ROLE {role}_aside; GRANT UPDATE ON cofre.consents TO {role}_aside; GRANT {role}_aside TO {role}"
            ),
            format!("REVOKE UPDATE ON cofre.consents FROM {role}_aside"),
            "MEMBER on",
        ),
    ] {
        databases.administer("records", &gain).await;
        for cause in [databases.migrate().await.expect_err(&gain).to_string(), refusal(&databases).await] {
            assert!(cause.contains("may do more than serve (") && cause.contains(named), "{gain}: {cause}");
        }
        databases.administer("records", &loss).await;
        databases.open().await.expect(&loss).close().await;
    }
}

#[tokio::test]
async fn a_role_that_may_do_less_is_told_at_once() {
    let databases = Databases::migrated().await;
    for (store, loss, named) in [
        ("records", "REVOKE SELECT ON cofre.leases FROM", "SELECT on leases"),
        ("ciphertexts", "REVOKE DELETE ON cofre.sealed_fields FROM", "DELETE on sealed_fields"),
        ("keyring", "REVOKE UPDATE ON cofre.integrator FROM", "UPDATE on integrator"),
    ] {
        databases.administer(store, &format!("{loss} {}", databases.role(store))).await;
        let cause = refusal(&databases).await;
        assert!(cause.contains(&format!("lacks a right ({named})")), "{cause}");
        databases.migrate().await.expect("migrated");
    }
    databases.administer("keyring", &format!("REVOKE USAGE ON SCHEMA cofre FROM {}", databases.role("keyring"))).await;
    assert!(refusal(&databases).await.starts_with("the keyring database has 0 migrations"));
}

#[tokio::test]
async fn a_database_of_another_release_is_refused() {
    for (edit, named) in [
        ("UPDATE cofre._sqlx_migrations SET checksum = 'x' WHERE version = 1", "modified"),
        ("UPDATE cofre._sqlx_migrations SET success = FALSE WHERE version = 1", "partially applied"),
        (
            "INSERT INTO cofre._sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'later', TRUE, '', 0)",
            "of this release",
        ),
        ("DELETE FROM cofre._sqlx_migrations WHERE version = 1", "of this release"),
    ] {
        let databases = Databases::migrated().await;
        databases.administer("keyring", edit).await;
        let cause = refusal(&databases).await;
        assert!(cause.contains(named), "{edit}: {cause}");
    }
}

#[tokio::test]
async fn databases_of_another_mode_or_another_set_are_refused() {
    let (one, two) = (Databases::migrated().await, Databases::migrated().await);
    let production = StoreConfig { mode: Mode::Production, ..one.config("serving") };
    assert!(matches!(open(production).await, Err(Error::Mode { .. })));
    let production = StoreConfig { mode: Mode::Production, ..one.config("owner") };
    assert!(matches!(Stores::migrate(production, &one.roles()).await, Err(Error::Mode { .. })));
    let roles = ServingRoles { keyring: two.role("keyring"), ..one.roles() };
    let owner = StoreConfig { keyring: two.config("owner").keyring, ..one.config("owner") };
    assert!(matches!(Stores::migrate(owner, &roles).await, Err(Error::Apart { store: "keyring" })));
    let mixed = StoreConfig { keyring: two.config("serving").keyring, ..one.config("serving") };
    assert!(matches!(open(mixed).await, Err(Error::Apart { store: "keyring" })));

    one.administer("ciphertexts", "SET session_replication_role = replica; DELETE FROM cofre.meta").await;
    assert!(matches!(one.open().await, Err(Error::Unnamed { store: "ciphertexts" })));
    one.migrate().await.expect("a set cut short is completed while its ledger is not used");
    one.open().await.expect("opened").close().await;
    one.administer("ciphertexts", "SET session_replication_role = replica; DELETE FROM cofre.meta").await;
    one.administer("records", "UPDATE cofre.ledger_head SET size = 1").await;
    assert!(
        matches!(one.migrate().await, Err(Error::Apart { store: "ciphertexts" })),
        "an emptied store is no new one"
    );
}

#[tokio::test]
async fn files_and_databases_are_not_one_set() {
    let databases = Databases::migrated().await;
    let folder = tempfile::tempdir().expect("folder");
    let file = Place::Sqlite(folder.path().join("keyring.db"));
    let mixed = StoreConfig { keyring: file.clone(), ..databases.config("serving") };
    assert!(matches!(open(mixed).await, Err(Error::Mixed)));
    let mixed = StoreConfig { keyring: file.clone(), ..databases.config("owner") };
    assert!(matches!(Stores::migrate(mixed, &databases.roles()).await, Err(Error::Mixed)));
    let files =
        StoreConfig { records: file.clone(), ciphertexts: file.clone(), keyring: file, ..databases.config("owner") };
    assert!(matches!(Stores::migrate(files, &databases.roles()).await, Err(Error::NothingToMigrate)));
    assert!(std::fs::read_dir(folder.path()).expect("folder").next().is_none(), "nothing was made");
}

#[tokio::test]
async fn production_asks_nothing_in_the_clear() {
    let databases = Databases::new().await;
    let place = Postgres::parse("host=192.0.2.1 dbname=d user=u sslmode=disable", None).expect("parsed");
    let exposed = |mode| StoreConfig { mode, records: Place::Postgres(place.clone()), ..databases.config("serving") };
    let refused = open(exposed(Mode::Production)).await;
    assert!(matches!(refused, Err(Error::Exposed { store: "records" })));
    let refused = Stores::migrate(exposed(Mode::Production), &databases.roles()).await;
    assert!(matches!(refused, Err(Error::Exposed { store: "records" })));
}
