//! The contract: one set of cases that every PKCS#11 module passes, each case in a process and with a token of its own.
//! What modules legitimately differ in is asserted in [`capability`], not skipped.

use std::future::Future;
use std::pin::Pin as Pinned;
use std::time::Duration;

use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony};
use cofre_custody::{Cause, Custodian, Fault};
use cofre_testkit::hsm::{Module, TokenFolder};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};

use crate::bench::{
    Child, Runs, any_warm_permit, child as this_child, context, custodian, row, run_alone, share, slab,
};
use crate::capability;

mod keys;
mod mechanisms;
mod serving;
mod signing;
mod tokens;
mod wrapping;

use serving::a_login_lost_behind_its_back_is_made_good;

pub(crate) const LABEL: &str = "cofre";
pub(crate) const KEY: &str = "root-1";
pub(crate) const SIGNER: &str = "ledger-1";
pub(crate) const USER_PIN: &str = "4711-user-pin";
const SO_PIN: &str = "0815-officer-pin";

/// What cases expect differently of different modules.
pub(crate) struct Abilities {
    manufacturer: &'static str,
    simulator: bool,
    signer: &'static str,
    /// After this many wrong PINs the token locks.
    locks_after: Option<usize>,
    /// Whether the token says how many sessions are open.
    pub(crate) counts_sessions: bool,
}

/// As the table of capabilities has it; that it tells the truth is a test of its own.
pub(crate) fn abilities(kind: Module) -> Abilities {
    let manufacturer = match kind {
        Module::HsmSim => "Cofre hsm-sim",
        Module::SoftHsm => "SoftHSM project",
        Module::Kryoptic => "Kryoptic Project",
    };
    let signer = match capability::says(capability::ED25519, kind) {
        "yes" => "ed25519",
        _ => "ecdsa-p256-sha256",
    };
    let locks_after = match capability::says(capability::LOCKS, kind) {
        "never" => None,
        after => Some(after.trim_start_matches("after ").parse().expect("a number of tries")),
    };
    let counts_sessions = capability::says(capability::COUNTS, kind) == "yes";
    Abilities { manufacturer, simulator: kind == Module::HsmSim, signer, locks_after, counts_sessions }
}

pub(crate) type Case = (&'static str, for<'a> fn(&'a Child) -> Pinned<Box<dyn Future<Output = ()> + 'a>>);

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |child| Box::pin($name(child)))),*] };
}
pub(crate) use cases;

/// Every case, in its family.
const FAMILIES: [&[Case]; 6] =
    [tokens::CASES, keys::CASES, wrapping::CASES, mechanisms::CASES, signing::CASES, serving::CASES];

/// What only the driver inside this process is asked: another library of it does something behind the driver's back.
const INSIDE: &[Case] = cases![a_login_lost_behind_its_back_is_made_good];

#[test]
fn hsm_sim_keeps_the_contract() {
    keep(Module::HsmSim);
}

/// Not skipped where SoftHSM2 is missing: it fails with the line to type.
#[test]
fn softhsm_keeps_the_contract() {
    keep(Module::SoftHsm);
}

/// Not skipped where Kryoptic does not build: it fails with the line to type.
#[test]
fn kryoptic_keeps_the_contract() {
    keep(Module::Kryoptic);
}

/// The driver without a host, as development may choose it; what modules differ in, they differ in either way.
#[test]
fn hsm_sim_keeps_the_contract_inside() {
    on(&prepared(Module::HsmSim), Module::HsmSim, &FAMILIES.concat(), Runs::Inside);
}

fn keep(kind: Module) {
    let ready = prepared(kind);
    on(&ready, kind, &FAMILIES.concat(), Runs::Hosted);
    on(&ready, kind, INSIDE, Runs::Inside);
}

fn on(ready: &TokenFolder, kind: Module, cases: &[Case], runs: Runs) {
    let mut failed = Vec::new();
    for (name, _) in cases {
        let folder = ready.copy().expect("a copy of the token");
        failed.extend(run_alone("contract::child", name, kind, &folder, runs).err());
    }
    let folder = ready.copy().expect("a copy of the token");
    for (half, _) in wrapping::HALVES {
        failed.extend(run_alone("contract::child", half, kind, &folder, runs).err());
    }
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), cases.len() + 2, failed.join("\n"));
}

/// A folder with an initialised token and both keys.
pub(crate) fn prepared(kind: Module) -> TokenFolder {
    let folder = TokenFolder::empty(kind).unwrap_or_else(|error| panic!("{error:#}"));
    run_alone("contract::child", "prepare", kind, &folder, Runs::Inside).unwrap_or_else(|out| panic!("{out}"));
    folder
}

/// One case in a process of its own. The parents assert that exactly this test ran there; among them it has no case.
#[test]
fn child() {
    let Some(child) = this_child() else { return };
    let extra: &[Case] = cases![prepare];
    let all = [
        &FAMILIES[..],
        &[extra, INSIDE, wrapping::HALVES, crate::faults::CASES, crate::faults::INSIDE, capability::CASES],
    ]
    .concat()
    .concat();
    let found = all.iter().find(|(name, _)| *name == child.case);
    let (_, case) = found.unwrap_or_else(|| panic!("no case {}", child.case));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(case(&child));
}

pub(crate) fn settings(child: &Child) -> Settings {
    let mut settings = Settings::new(custodian("hsm-1"), child.module.clone(), TokenName::Label(LABEL.into()), KEY);
    settings.sessions = 3;
    settings.deadline = Duration::from_secs(20);
    settings.place = child.place();
    settings
}

pub(crate) fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned().into())
}

pub(crate) async fn open(settings: Settings) -> Result<std::sync::Arc<Token>, Fault> {
    Token::open(settings, pin(USER_PIN), &slab()).await
}

pub(crate) async fn opened(child: &Child) -> std::sync::Arc<Token> {
    open(settings(child)).await.unwrap_or_else(|fault| panic!("{fault}"))
}

async fn refusal(settings: Settings) -> Cause {
    open(settings).await.map(drop).expect_err("must not open").cause
}

/// Wraps a share of sevens and answers the bytes.
pub(crate) async fn wrapped(token: &Token) -> Vec<u8> {
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    token.wrap(context.encode(), bound).await.unwrap_or_else(|fault| panic!("{fault}")).bytes.as_bytes().to_vec()
}

/// Unwraps and answers the first byte of the share.
pub(crate) async fn unwrapped(token: &Token, bytes: Vec<u8>) -> Result<u8, Fault> {
    let context = context("hsm-1");
    let row = row(token.id(), KEY, bytes);
    let answer = token.unwrap(&any_warm_permit(), context.encode(), &row).await?;
    Ok(answer.share.unbind(&context).expect("bound to this context").with_bytes(|share| share[0]))
}

/// A session of this process, past the driver, logged in.
pub(crate) fn by_hand(child: &Child) -> Session {
    let session = without_login(child);
    session.login(UserType::User, Some(&USER_PIN.to_owned().into())).expect("login");
    session
}

/// A session of the test's own that nobody logged in.
pub(crate) fn without_login(child: &Child) -> Session {
    let module = Pkcs11::new(&child.module).expect("loads");
    // Initialised already when the driver was open before.
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = module.get_slots_with_initialized_token().expect("slots");
    module.open_rw_session(slots[0]).expect("session")
}

async fn prepare(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let serial = ceremony::init_token(&settings.id, &child.module, LABEL, &pin(SO_PIN), &pin(USER_PIN))
        .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(!serial.is_empty());
    let made = ceremony::ensure_keys(&settings, pin(USER_PIN), &slab()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(made.root, ceremony::Found::Made);
    assert_eq!(made.signer, Some((ceremony::Found::Made, abilities(child.kind).signer)));
}
