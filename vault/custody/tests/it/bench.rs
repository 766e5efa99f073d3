//! What the tests of this folder share: locked memory, a clock moved by hand, permits, names, and running one case in
//! a process of its own (a PKCS#11 module is initialised once per process).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofre_custody::pkcs11::Place;
use cofre_custody::pkcs11::host::{Hosting, Sandbox};
use cofre_custody::{Custodian, CustodianId, Mechanism, TenantRef, WARM_FOR, WrappedShare};
use cofre_envelope::context::WrapTenant;
use cofre_envelope::{Backing, BoundShare, Room, Share, Slab};
use cofre_model::id::TenantId;
use cofre_model::permit::{EntryRef, Mint, Permit, SendBy, Warm, WarmWarrant};
use cofre_model::time::{Clock, Monotonic, Span, Timestamp};
use cofre_testkit::hsm::{Module, TokenFolder};

pub(crate) fn slab() -> Arc<Slab> {
    Slab::with_room(Backing::Mlock, Room { small: 512, large: 8 }).expect("a quarter of a MiB can be locked")
}

#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn forward(&self, span: Span) {
        self.0.fetch_add(span.as_micros(), Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_790_000_000).plus(Span::micros(self.0.load(Ordering::Relaxed)))
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn custodian(name: &str) -> CustodianId {
    CustodianId::try_from(name).expect("a slug")
}

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId::from_parts(1_790_000_000_000, [number; 10])
}

pub(crate) fn tenant_ref(number: u8, key_id: [u8; 16]) -> TenantRef {
    TenantRef { tenant: tenant(number), region: "eu-nl".into(), key_version: 1, key_id, warm_for: WARM_FOR }
}

#[expect(clippy::disallowed_methods, reason = "tests stand for the store")]
pub(crate) fn mint() -> Mint {
    Mint::assemble()
}

pub(crate) fn entry() -> (EntryRef, SendBy) {
    let at = EntryRef { index: 7, leaf_hash: [7; 32], time: Timestamp::from_secs(1_790_000_000) };
    (at, SendBy::from_submission(Monotonic::from_micros(0)))
}

pub(crate) fn warm_permit(warrant: WarmWarrant) -> Permit<Warm> {
    let (at, send_by) = entry();
    mint().permit(at, send_by, warrant)
}

/// A permit for driver tests, which do not look at its warrant.
pub(crate) fn any_warm_permit() -> Permit<Warm> {
    warm_permit(WarmWarrant { tenant: tenant(1), tenant_key_version: 1, tenant_key_id: [0; 16] })
}

pub(crate) fn context(custodian: &str) -> WrapTenant<'_> {
    WrapTenant {
        region: "eu-nl",
        tenant: tenant(1),
        tenant_key_version: 1,
        custody_set: [3; 32],
        custodian,
        share_index: 0,
        share_count: 1,
    }
}

pub(crate) fn share(slab: &Arc<Slab>, fill: u8) -> Share {
    let made = Share::fill(slab, |slot| {
        slot.fill(fill);
        Ok::<_, cofre_envelope::Error>(())
    });
    made.expect("room in the slab")
}

pub(crate) fn bytes_of(share: &BoundShare) -> [u8; 64] {
    share.with_bytes(|bytes| *bytes)
}

pub(crate) fn row(custodian: &CustodianId, key: &str, bytes: Vec<u8>) -> WrappedShare {
    WrappedShare {
        custodian: custodian.clone(),
        share: 0,
        wrapped: cofre_model::sealed::WrappedKey::from_bytes(bytes),
        mechanism: Mechanism::AesGcm,
        custodian_key: key.to_owned(),
    }
}

/// A row as this custodian makes them, with these bytes.
pub(crate) fn row_of(custodian: &dyn Custodian, bytes: Vec<u8>) -> WrappedShare {
    let is = custodian.describe();
    WrappedShare { mechanism: is.mechanism, ..row(&is.custodian, &is.key_label, bytes) }
}

pub(crate) const CASE: &str = "CUSTODY_CASE";
pub(crate) const MODULE: &str = "CUSTODY_MODULE";
pub(crate) const TOKENS: &str = "CUSTODY_TOKENS";
const PLACE: &str = "CUSTODY_PLACE";

/// Where a case has its module run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// In the case's own process.
    Inside,
    /// In a custody host.
    Hosted,
}

/// Runs one named case of the test `child` in a fresh process on this token, and answers what it printed
/// when it failed.
pub(crate) fn run_alone(child: &str, case: &str, kind: Module, folder: &TokenFolder, runs: Runs) -> Result<(), String> {
    let done = alone(child, case, kind, folder, runs);
    let out = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    // Modules on OpenSSL 3 sometimes die in its exit handlers, after the case has ended and was reported, when a session
    // is closed meanwhile.
    let ended = done.status.success() || (kind != Module::HsmSim && done.status.code().is_none());
    // A child that runs no test would succeed too.
    if ended && out.contains("test result: ok. 1 passed") {
        Ok(())
    } else {
        Err(format!("--- {case} on {kind:?}: {}\n{out}", done.status))
    }
}

/// Runs each of these cases on a copy of the token; all are run before any failure is told.
pub(crate) fn run_each(child: &str, cases: &[&str], ready: &TokenFolder, kind: Module, runs: Runs) {
    let one = |case: &&str| run_alone(child, case, kind, &ready.copy().expect("a copy of the token"), runs).err();
    let failed: Vec<String> = cases.iter().filter_map(one).collect();
    assert!(failed.is_empty(), "{} of {} cases failed\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Runs one named case in a fresh process and answers how that ended.
pub(crate) fn alone(child: &str, case: &str, kind: Module, folder: &TokenFolder, runs: Runs) -> std::process::Output {
    let (name, value) = folder.environment();
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", child, "--nocapture"])
        .env(CASE, format!("{kind:?}:{case}"))
        .env(MODULE, folder.module())
        .env(TOKENS, folder.tokens())
        .env(PLACE, format!("{runs:?}"))
        .env(name, value)
        .output()
        .expect("this binary starts")
}

/// Which case this process is to run, on what.
pub(crate) struct Child {
    pub(crate) case: String,
    pub(crate) kind: Module,
    pub(crate) module: PathBuf,
    pub(crate) tokens: PathBuf,
    pub(crate) runs: Runs,
    /// The value of the variable that the module reads.
    configuration: OsString,
}

impl Child {
    /// Where this case has its module run, walled in by the strictest profile.
    pub(crate) fn place(&self) -> Place {
        match self.runs {
            Runs::Inside => Place::Inside,
            Runs::Hosted => Place::Child(self.hosting()),
        }
    }

    /// Without a case: this process itself opens the token of that folder.
    pub(crate) fn on(kind: Module, folder: &TokenFolder, runs: Runs) -> Self {
        let configuration = folder.environment().1.into_os_string();
        let (module, tokens) = (folder.module().to_owned(), folder.tokens());
        Self { case: String::new(), kind, module, tokens, runs, configuration }
    }

    /// A host with the module's environment and nothing else.
    pub(crate) fn hosting(&self) -> Hosting {
        let variable = self.kind.variable();
        Hosting {
            program: env!("CARGO_BIN_EXE_cofre-custody-host").into(),
            arguments: vec!["hsm-1".into()],
            environment: vec![(variable.into(), self.configuration.clone())],
            sandbox: Sandbox { writable: vec![self.tokens.clone()], ..Sandbox::default() },
        }
    }
}

/// The case this process was started for; none in the parent, which starts a process per case.
pub(crate) fn child() -> Option<Child> {
    std::env::var_os(CASE)?;
    let var = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by the parent test; run that one"));
    let both = var(CASE);
    let (kind, case) = both.split_once(':').expect("kind:case");
    let kind = Module::ALL.into_iter().find(|known| format!("{known:?}") == kind).expect("a module we know");
    let runs = if var(PLACE) == "Hosted" { Runs::Hosted } else { Runs::Inside };
    let configuration = std::env::var_os(kind.variable()).expect("the parent test names the module's configuration");
    let (module, tokens) = (var(MODULE).into(), var(TOKENS).into());
    Some(Child { case: case.to_owned(), kind, module, tokens, runs, configuration })
}

/// How often the simulated token finished each function, by its own log; nothing where it was never asked.
pub(crate) fn calls(child: &Child) -> BTreeMap<(String, String), usize> {
    cofre_testkit::hsm::calls(&child.tokens).unwrap_or_default()
}

pub(crate) fn count(child: &Child, function: &str) -> usize {
    calls(child).iter().filter(|((name, _), _)| name == function).map(|(_, count)| count).sum()
}

/// Tries of each cell of a table of faults; the night has more.
pub(crate) fn tries() -> usize {
    if std::env::var_os("COFRE_NIGHT").is_some() { 100 } else { 5 }
}

/// Replaces the fault plan in one step.
pub(crate) fn faults(child: &Child, plan: &str) {
    faults_in(&child.tokens, plan);
}

/// The same, of the token folder.
pub(crate) fn faults_in(tokens: &Path, plan: &str) {
    let new = tokens.join(".new-plan");
    std::fs::write(&new, plan).expect("the plan is written");
    std::fs::rename(&new, tokens.join("faults.toml")).expect("the plan is put in place");
}
