//! The contract: one set of cases that every driver passes. PKCS#11 modules pass it case by case in a process and with a
//! token of their own, services, ours and those of other makes ([`crate::second`]), each case with keys of its own. What they legitimately differ in is asserted, of modules
//! in [`capability`] and of services in [`crate::services`], not skipped.

use std::future::Future;
use std::pin::Pin as Pinned;
use std::time::Duration;

use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony as making};
use cofre_custody::{Cause, Fault};
use cofre_testkit::hsm::{Module, TokenFolder};
use cofre_testkit::kms::Kind;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};
use tokio::runtime::Runtime;

use crate::bench::{
    Child, Runs, any_warm_permit, child as this_child, context, custodian, row_of, run_alone, run_each, share, slab,
};
use crate::capability;
use crate::site::{AsCustodian, Form, Served, Site};

mod ceremony;
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

/// What cases expect differently of different custodians.
pub(crate) struct Abilities {
    manufacturer: &'static str,
    simulator: bool,
    mechanism: &'static str,
    signer: &'static str,
    /// The length of the shortest message it signs.
    signs_from: usize,
    /// Whether it takes a digest for a message, and signs the digest of that.
    digests_again: bool,
    /// How many bytes at the start of what it wrapped name the key, and what it says where they name another.
    names_its_key: (usize, Cause),
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
    Abilities {
        manufacturer,
        simulator: kind == Module::HsmSim,
        mechanism: "aes-gcm",
        signer,
        signs_from: 0,
        digests_again: false,
        names_its_key: (0, Cause::Integrity),
        locks_after,
        counts_sessions,
    }
}

fn abilities_of(site: &Site) -> Abilities {
    let (form, signer) = match site {
        Site::Token(child) => return abilities(child.kind),
        Site::Service(served) => (served.form, served.signer),
        Site::Second(second) => (second.form, second.signer),
    };
    let (manufacturer, mechanism) = match form {
        Form::Aws => ("AWS KMS", "aws-kms"),
        Form::Gcp => ("Google Cloud KMS", "gcp-kms"),
        Form::Transit => ("transit", "transit-aead"),
        Form::Derived => ("transit", "transit-derived"),
    };
    let edwards = signer == Kind::Ed25519;
    // It differs from the service in these; the service's own words for them are held in the driver.
    let moto = matches!(site, Site::Second(second) if second.form == Form::Aws);
    Abilities {
        manufacturer,
        simulator: false,
        mechanism,
        signer: if edwards { "ed25519" } else { "ecdsa-p256-sha256" },
        signs_from: usize::from(edwards && form == Form::Aws),
        digests_again: moto,
        names_its_key: if moto { (36, Cause::Denied) } else { (0, Cause::Integrity) },
        locks_after: None,
        counts_sessions: false,
    }
}

pub(crate) type Case<T = Child> = (&'static str, for<'a> fn(&'a T) -> Pinned<Box<dyn Future<Output = ()> + 'a>>);

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |child| Box::pin($name(child)))),*] };
}
pub(crate) use cases;

/// What only a token can be put to, in families.
const OF_TOKENS: [&[Case]; 5] = [tokens::CASES, keys::CASES, ceremony::CASES, mechanisms::CASES, serving::OF_TOKENS];
/// What every custodian can be put to, in families.
const OF_ALL: [&[Case<Site>]; 3] = [wrapping::CASES, signing::CASES, serving::CASES];

/// What only the driver inside this process is asked: another library of it does something behind the driver's back.
const INSIDE: &[Case] = cases![a_login_lost_behind_its_back_is_made_good];

/// The names of what every token is put to.
fn of_a_token() -> Vec<&'static str> {
    let own = OF_TOKENS.iter().copied().flatten().map(|(name, _)| *name);
    own.chain(OF_ALL.iter().copied().flatten().map(|(name, _)| *name)).collect()
}

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
    on(&prepared(Module::HsmSim), Module::HsmSim, &of_a_token(), Runs::Inside);
}

fn keep(kind: Module) {
    let ready = prepared(kind);
    on(&ready, kind, &of_a_token(), Runs::Hosted);
    on(&ready, kind, &names(INSIDE), Runs::Inside);
}

fn on(ready: &TokenFolder, kind: Module, cases: &[&str], runs: Runs) {
    run_each("contract::child", cases, ready, kind, runs);
    // One after the other on one token.
    let folder = ready.copy().expect("a copy of the token");
    for (half, _) in wrapping::HALVES {
        run_alone("contract::child", half, kind, &folder, runs).unwrap_or_else(|out| panic!("{out}"));
    }
}

#[test]
fn aws_kms_keeps_the_contract() {
    keep_at(Form::Aws);
}

#[test]
fn google_cloud_kms_keeps_the_contract() {
    keep_at(Form::Gcp);
}

#[test]
fn transit_keeps_the_contract() {
    keep_at(Form::Transit);
}

#[test]
fn transit_with_a_derived_key_keeps_the_contract() {
    keep_at(Form::Derived);
}

/// Every case with each kind of signing key, each on a service of its own.
fn keep_at(form: Form) {
    keep_on(&runtime(), &[Kind::Ed25519, Kind::P256], async |signer, _| {
        Site::Service(Served::start(form, signer).await)
    });
}

/// Every case with each of these kinds of signing key, on a site of its own, which is told its number.
pub(crate) fn keep_on(runtime: &Runtime, signers: &[Kind], site: impl AsyncFn(Kind, usize) -> Site) {
    let mut failed = Vec::new();
    let cases = signers.iter().flat_map(|signer| OF_ALL.iter().copied().flatten().map(move |case| (*signer, case)));
    for (number, (signer, (name, case))) in cases.enumerate() {
        let run = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async { case(&site(signer, number).await).await });
        });
        if std::panic::catch_unwind(run).is_err() {
            failed.push(format!("{name} with {signer:?}"));
        }
    }
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}

/// The names of cases.
pub(crate) fn names(cases: &[Case]) -> Vec<&'static str> {
    cases.iter().map(|(name, _)| *name).collect()
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
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
        &OF_TOKENS[..],
        &[
            extra,
            INSIDE,
            wrapping::HALVES,
            crate::faults::CASES,
            crate::faults::INSIDE,
            crate::ceremony::CASES,
            capability::CASES,
        ],
    ]
    .concat()
    .concat();
    if let Some((_, case)) = all.iter().find(|(name, _)| *name == child.case) {
        return runtime().block_on(case(&child));
    }
    let found = OF_ALL.iter().copied().flatten().find(|(name, _)| *name == child.case);
    let (_, case) = found.unwrap_or_else(|| panic!("no case {}", child.case));
    runtime().block_on(case(&Site::Token(child)));
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
pub(crate) async fn wrapped(custodian: &impl AsCustodian) -> Vec<u8> {
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    let made = custodian.as_custodian().wrap(context.encode(), bound).await;
    made.unwrap_or_else(|fault| panic!("{fault}")).bytes.as_bytes().to_vec()
}

/// Unwraps and answers the first byte of the share.
pub(crate) async fn unwrapped(custodian: &impl AsCustodian, bytes: Vec<u8>) -> Result<u8, Fault> {
    let (context, custodian) = (context("hsm-1"), custodian.as_custodian());
    let answer = custodian.unwrap(&any_warm_permit(), context.encode(), &row_of(custodian, bytes)).await?;
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

/// A prepared folder of the simulated module, whose log holds nothing of the preparation.
pub(crate) fn prepared_in_silence() -> TokenFolder {
    let ready = prepared(Module::HsmSim);
    std::fs::remove_file(ready.tokens().join("calls.log")).expect("the token keeps a log");
    ready
}

/// Asks until the share comes; whatever else is answered meanwhile has to be one of the causes that may be.
pub(crate) async fn serves_within(
    token: &Token,
    bytes: &[u8],
    most: Duration,
    may_be: impl Fn(Cause) -> bool,
) -> Result<(), tokio::time::error::Elapsed> {
    let serves = async {
        loop {
            match unwrapped(token, bytes.to_vec()).await {
                Ok(first) => return assert_eq!(first, 7),
                Err(fault) => assert!(may_be(fault.cause), "{fault}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(most, serves).await
}

async fn prepare(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let serial = making::init_token(&settings.id, &child.module, LABEL, &pin(SO_PIN), &pin(USER_PIN))
        .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(!serial.is_empty());
    let made = making::ensure_keys(&settings, pin(USER_PIN), &slab()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(made.root, making::Found::Made);
    assert_eq!(made.signer, Some((making::Found::Made, abilities(child.kind).signer)));
}
