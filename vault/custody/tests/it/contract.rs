//! The contract: one set of cases that every driver passes. PKCS#11 modules pass it case by case in a process and with a
//! token of their own, services each case with keys of its own. What they legitimately differ in is asserted, of modules
//! in [`capability`] and of services in [`crate::services`], not skipped.

use std::future::Future;
use std::pin::Pin as Pinned;
use std::time::Duration;

use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony};
use cofre_custody::{Cause, Fault};
use cofre_testkit::hsm::{Module, TokenFolder};
use cofre_testkit::kms::Kind;

use crate::bench::{Child, any_warm_permit, child as this_child, context, custodian, row_of, run_alone, share, slab};
use crate::capability;
use crate::site::{AsCustodian, Form, Served, Site};

mod keys;
mod serving;
mod signing;
mod tokens;
mod wrapping;

pub(crate) const LABEL: &str = "cofre";
pub(crate) const KEY: &str = "root-1";
pub(crate) const SIGNER: &str = "ledger-1";
pub(crate) const USER_PIN: &str = "4711-user-pin";
const SO_PIN: &str = "0815-officer-pin";

/// What cases expect differently of different custodians.
struct Abilities {
    manufacturer: &'static str,
    simulator: bool,
    mechanism: &'static str,
    signer: &'static str,
    /// The length of the shortest message it signs.
    signs_from: usize,
    /// After this many wrong PINs the token locks.
    locks_after: Option<usize>,
}

/// As the table of capabilities has it; that it tells the truth is a test of its own.
fn abilities(kind: Module) -> Abilities {
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
    let simulator = kind == Module::HsmSim;
    Abilities { manufacturer, simulator, mechanism: "aes-gcm", signer, signs_from: 0, locks_after }
}

fn abilities_of(site: &Site) -> Abilities {
    let served = match site {
        Site::Token(child) => return abilities(child.kind),
        Site::Service(served) => served,
    };
    let (manufacturer, mechanism) = match served.form {
        Form::Aws => ("AWS KMS", "aws-kms"),
        Form::Gcp => ("Google Cloud KMS", "gcp-kms"),
        Form::Transit => ("transit", "transit-aead"),
        Form::Derived => ("transit", "transit-derived"),
    };
    let edwards = served.signer == Kind::Ed25519;
    Abilities {
        manufacturer,
        simulator: false,
        mechanism,
        signer: if edwards { "ed25519" } else { "ecdsa-p256-sha256" },
        signs_from: usize::from(edwards && served.form == Form::Aws),
        locks_after: None,
    }
}

pub(crate) type Case<T = Child> = (&'static str, for<'a> fn(&'a T) -> Pinned<Box<dyn Future<Output = ()> + 'a>>);

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |child| Box::pin($name(child)))),*] };
}
pub(crate) use cases;

/// What only a token can be put to, in families.
const OF_TOKENS: [&[Case]; 3] = [tokens::CASES, keys::CASES, serving::OF_TOKENS];
/// What every custodian can be put to, in families.
const OF_ALL: [&[Case<Site>]; 3] = [wrapping::CASES, signing::CASES, serving::CASES];

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

fn keep(kind: Module) {
    let ready = prepared(kind);
    let mut failed = Vec::new();
    let of_tokens = OF_TOKENS.iter().copied().flatten().map(|(name, _)| *name);
    let cases: Vec<&str> = of_tokens.chain(OF_ALL.iter().copied().flatten().map(|(name, _)| *name)).collect();
    for name in &cases {
        let folder = ready.copy().expect("a copy of the token");
        failed.extend(run_alone("contract::child", name, kind, &folder).err());
    }
    for (half, _) in wrapping::HALVES {
        failed.extend(run_alone("contract::child", half, kind, &ready).err());
    }
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), cases.len() + 2, failed.join("\n"));
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
    let mut failed = Vec::new();
    for signer in [Kind::Ed25519, Kind::P256] {
        for (name, case) in OF_ALL.iter().copied().flatten() {
            let run = std::panic::AssertUnwindSafe(|| {
                runtime().block_on(async { case(&Site::Service(Served::start(form, signer).await)).await });
            });
            if std::panic::catch_unwind(run).is_err() {
                failed.push(format!("{name} with {signer:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "failed at {form:?}, see above: {failed:?}");
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A folder with an initialised token and both keys.
pub(crate) fn prepared(kind: Module) -> TokenFolder {
    let folder = TokenFolder::empty(kind).unwrap_or_else(|error| panic!("{error:#}"));
    run_alone("contract::child", "prepare", kind, &folder).unwrap_or_else(|out| panic!("{out}"));
    folder
}

/// One case in a process of its own. The parents assert that exactly this test ran there; among them it has no case.
#[test]
fn child() {
    let Some(child) = this_child() else { return };
    let extra: &[Case] = cases![prepare];
    let all = [&OF_TOKENS[..], &[extra, wrapping::HALVES, crate::faults::CASES, capability::CASES]].concat().concat();
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

async fn prepare(child: &Child) {
    let mut settings = settings(child);
    settings.signer_label = Some(SIGNER.into());
    let serial = ceremony::init_token(&settings.id, &child.module, LABEL, &pin(SO_PIN), &pin(USER_PIN))
        .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(!serial.is_empty());
    let made = ceremony::ensure_keys(&settings, pin(USER_PIN)).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(made.root, ceremony::Found::Made);
    assert_eq!(made.signer, Some((ceremony::Found::Made, abilities(child.kind).signer)));
}
