//! Modules that fail: a table of causes by module, beside that of `faults.rs`, which asks for the exact answer of one call.
//! Here each cause begins and ends again and again under a token that stays open. While it lasts, no share comes out that
//! the module did not open; when it ends, the same token serves within ten seconds; at the end the token itself counts no
//! more sessions than the driver was to hold.

use std::sync::Arc;
use std::time::Duration;

use cofre_custody::pkcs11::Token;
use cofre_custody::{Cause, Custodian, Mechanism, WrappedShare};
use cofre_testkit::hsm::{Module, TokenFolder};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Child, Runs, any_warm_permit, calls, context, row, tries};
use crate::contract::{KEY, open, prepared, runtime, serves_within, settings, unwrapped, wrapped};

mod rows;

/// Sessions a token is opened with, and so the most that it may count.
const SESSIONS: u64 = 2;

/// The bar for a cause that ended.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);

/// One call asks for the length, one for the bytes.
const CALLS_A_SHARE: usize = 2;

/// How often one cell is asked while its cause lasts.
const ASKED: usize = 3;

/// One cause.
struct Row {
    what: &'static str,
    /// How long a call may take; briefly only where the module is slow, so that a busy machine is taken for none.
    deadline: Duration,
    begin: fn(&World),
    end: fn(&World),
    /// What is asked while it lasts.
    asks: Asks,
    /// What may be answered beside a share. Of a cause that is always seen, no call is served while it lasts.
    seen: &'static [Cause],
    always: bool,
}

/// Which row of the keyring a call is about.
#[derive(Clone, Copy)]
enum Asks {
    Good,
    Damaged,
    OfAnotherTenant,
    OfAnotherKey,
    OfAnotherMechanism,
}

/// An open token, and what its module's surroundings are.
struct World {
    child: Child,
    folder: TokenFolder,
    /// A token of the same label with other keys, to be put in this one's place.
    other: TokenFolder,
    token: Arc<Token>,
    bytes: Vec<u8>,
}

impl World {
    async fn open(kind: Module, ready: &TokenFolder, other: &TokenFolder, row: &Row) -> Self {
        let (folder, other) = (ready.copy().expect("a copy"), other.copy().expect("a copy"));
        let child = Child::on(kind, &folder, Runs::Hosted);
        let mut settings = settings(&child);
        settings.sessions = usize::try_from(SESSIONS).expect("a small number");
        settings.deadline = row.deadline;
        let token = open(settings).await.unwrap_or_else(|fault| panic!("{}: {fault}", row.what));
        let bytes = wrapped(&token).await;
        Self { child, folder, other, token, bytes }
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.token.host().expect("a host").pid else { return };
        // It may have ended since.
        let _ = kill_process(Pid::from_raw(i32::try_from(pid).expect("an id")).expect("an id"), signal);
    }

    /// Calls that opened a share by the module's own log; none where it keeps none.
    fn opened_by_the_module(&self) -> Option<usize> {
        let ok = ("C_Decrypt".to_owned(), "CKR_OK".to_owned());
        (self.child.kind == Module::HsmSim).then(|| calls(&self.child).get(&ok).copied().unwrap_or_default())
    }

    /// Asks as the row says. Whatever is served is the share that was wrapped, or the test ends here.
    async fn ask(&self, asks: Asks) -> Result<(), Cause> {
        let good = context("hsm-1");
        let (mut bytes, mut tenant, mut key) = (self.bytes.clone(), good.tenant, KEY);
        let mut mechanism = Mechanism::AesGcm;
        match asks {
            Asks::Good => {
                let first = unwrapped(&self.token, bytes).await.map_err(|fault| fault.cause)?;
                return if first == 7 { Ok(()) } else { panic!("another share came out: {first}") };
            }
            Asks::Damaged => bytes[20] ^= 1,
            Asks::OfAnotherTenant => tenant = crate::bench::tenant(9),
            Asks::OfAnotherKey => key = "root-9",
            Asks::OfAnotherMechanism => mechanism = Mechanism::AesKwp,
        }
        let context = cofre_envelope::context::WrapTenant { tenant, ..good };
        let row = WrappedShare { mechanism, ..row(self.token.id(), key, bytes) };
        let answer = self.token.unwrap(&any_warm_permit(), context.encode(), &row).await;
        answer.map(drop).map_err(|fault| fault.cause)
    }

    /// One time: the cause begins, is met, ends, and is over.
    async fn play(&self, row: &Row, number: usize) {
        let named = format!("{} on {:?}, try {number}", row.what, self.child.kind);
        self.serves_again(row, &named).await;
        let before = self.opened_by_the_module();
        (row.begin)(self);
        let mut served = 0;
        for _ in 0..ASKED {
            match self.ask(row.asks).await {
                Ok(()) => {
                    assert!(!row.always, "{named}: served");
                    served += 1;
                }
                Err(cause) => assert!(row.seen.contains(&cause), "{named}: {cause}"),
            }
        }
        if let (Some(before), Some(after)) = (before, self.opened_by_the_module()) {
            assert!(
                after.saturating_sub(before) >= CALLS_A_SHARE * served,
                "{named}: {served} shares came out of calls {before} to {after}"
            );
        }
        (row.end)(self);
        self.serves_again(row, &named).await;
    }

    async fn serves_again(&self, row: &Row, named: &str) {
        let may_be = |cause: Cause| {
            assert!(cause.retryable() || row.seen.contains(&cause), "{named}, after it ended: {cause}");
            true
        };
        let again = serves_within(&self.token, &self.bytes, AGAIN_WITHIN, may_be).await;
        again.unwrap_or_else(|_| panic!("{named}: no service after it ended"));
    }

    /// What the token counts when everything is over.
    async fn leaves_no_session(&self, row: &Row) {
        let open = self.token.open_sessions().await.unwrap_or_else(|fault| panic!("{}: {fault}", row.what));
        // One module always says none.
        if crate::contract::abilities(self.child.kind).counts_sessions {
            assert!(matches!(open, Some(1..=SESSIONS)), "{} on {:?}: {open:?}", row.what, self.child.kind);
        }
    }
}

/// Plays every row on one module, four cells at a time: most of them wait.
fn table(kind: Module, rows: &[&'static [Row]]) {
    let (ready, other) = (Arc::new(prepared(kind)), Arc::new(prepared(kind)));
    let played = runtime().block_on(async {
        let at_once = Arc::new(tokio::sync::Semaphore::new(4));
        let mut cells = tokio::task::JoinSet::new();
        for row in rows.iter().flat_map(|rows| rows.iter()) {
            let (ready, other, at_once) = (ready.clone(), other.clone(), at_once.clone());
            cells.spawn(async move {
                let _one = at_once.acquire_owned().await.expect("never closed");
                let world = World::open(kind, &ready, &other, row).await;
                for number in 0..tries() {
                    world.play(row, number).await;
                }
                world.leaves_no_session(row).await;
                world.token.close().await.unwrap_or_else(|fault| panic!("{}: {fault}", row.what));
            });
        }
        let (mut played, mut failed) = (0, Vec::new());
        while let Some(cell) = cells.join_next().await {
            played += 1;
            failed.extend(cell.err().map(|error| error.to_string()));
        }
        assert!(failed.is_empty(), "{} of {played} cells failed: {failed:#?}", failed.len());
        played
    });
    assert_eq!(played, rows.iter().map(|rows| rows.len()).sum::<usize>());
}

#[test]
fn hsm_sim_fails_as_the_table_says() {
    table(Module::HsmSim, &[rows::ANY, rows::SIMULATED]);
}

#[test]
fn softhsm_fails_as_the_table_says() {
    table(Module::SoftHsm, &[rows::ANY]);
}

#[test]
fn kryoptic_fails_as_the_table_says() {
    table(Module::Kryoptic, &[rows::ANY]);
}

/// The table is as long as it is said to be, the services' own beside it.
#[test]
fn the_table_has_its_rows() {
    let cells = 3 * rows::ANY.len() + rows::SIMULATED.len();
    assert!(cells >= 40, "{cells}");
}
