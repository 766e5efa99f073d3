//! What holds a module in: what passes to its process, what it is told stands around it, and what becomes of what it tries.

use std::path::PathBuf;

use cofre_custody::Cause;
use cofre_custody::pkcs11::Place;
use cofre_custody::pkcs11::host::{Profile, Sandbox};

use crate::bench::{Child, count, faults};
use crate::contract::{Case, USER_PIN, cases, open, opened, settings, unwrapped, wrapped};

pub(super) const CASES: &[Case] = cases![
    nothing_of_the_vault_is_passed_on,
    the_walls_stand,
    what_is_tried_from_inside_is_refused,
    every_profile_serves,
    a_place_that_is_not_there_is_said,
];

/// Of a module that keeps its tokens elsewhere than its configuration.
pub(super) const SOFTHSM: &[Case] = cases![a_folder_that_is_not_named_is_out_of_reach];

/// No PIN on the command line or in the environment, and no variable but those that were named.
async fn nothing_of_the_vault_is_passed_on(child: &Child) {
    let token = opened(child).await;
    let place = PathBuf::from(format!("/proc/{}", token.host().and_then(|host| host.pid).expect("serves")));
    let read = |name: &str| std::fs::read(place.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let line = read("cmdline").expect("every process may be asked");
    assert!(line.starts_with("cofred\0") && !line.contains(USER_PIN), "{line}");
    // A process that is closed to tracing shows its environment to a privileged user only.
    if let Ok(environment) = read("environ") {
        let names: Vec<_> = environment.split_terminator('\0').filter_map(|pair| pair.split('=').next()).collect();
        assert_eq!(names, [child.kind.variable()], "{environment}");
    }
    if let Ok(open) = std::fs::read_dir(place.join("fd")) {
        let open: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).collect();
        for said in ["fd/1", "fd/2"] {
            let to = std::fs::read_link(place.join(said)).expect("open");
            assert_eq!(to, PathBuf::from("/dev/null"), "what a module prints goes nowhere");
        }
        let shared: Vec<_> = open.iter().filter(|to| to.to_string_lossy().contains("memfd")).collect();
        assert!(shared.is_empty(), "the shared memory stays mapped, and its descriptor is closed: {open:?}");
    }
}

async fn the_walls_stand(child: &Child) {
    let token = opened(child).await;
    let host = token.host().expect("a host");
    for wall in ["profile files: landlock full", "0 limited", "no new privileges", "not dumpable"] {
        assert_eq!(host.walls.contains(wall), wall != "0 limited", "{wall}: {}", host.walls);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid.expect("serves"))).expect("it runs");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let filters = |status: &str| -> usize {
        let count = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:\t"));
        count.expect("the kernel counts them").parse().expect("a number")
    };
    let own = filters(&std::fs::read_to_string("/proc/self/status").expect("this process runs"));
    assert!(filters(&status) >= own + 2, "besides those that this process was started under:\n{status}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", host.pid.expect("serves")));
    if let Ok(limits) = limits {
        let open = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
        assert!(open.contains("512"), "{open}");
    }
}

/// What the simulated module tries at its start, and the error numbers that may come back: refused by the filter (EPERM),
/// by Landlock (EACCES), not there (ENOSYS, EBADF).
const ATTEMPTS: [&str; 19] = [
    "read",
    "append",
    "make",
    "chmod",
    "chown",
    "utimens",
    "setxattr",
    "truncate",
    "left-open",
    "program",
    "signal",
    "owner",
    "limits",
    "dumpable",
    "unshare",
    "queue",
    "listen",
    "send",
    "pair",
];

/// The same attempts without walls: they are worth something only if they succeed there.
async fn what_is_tried_from_inside_is_refused(child: &Child) {
    let foreign = tempfile::tempdir().expect("a folder");
    let file = foreign.path().join("foreign");
    let left_open = leave_open();
    let plan = format!("[attempts]\nfile = {:?}\n", file.display().to_string());
    let tried = async |profile| -> std::collections::BTreeMap<String, String> {
        std::fs::write(&file, "untouched").expect("written");
        let mut walled = settings(child);
        let mut hosting = child.hosting();
        hosting.sandbox.profile = profile;
        walled.place = Place::Child(hosting);
        faults(child, &plan);
        open(walled).await.expect("opens").close().await.expect("closes");
        let log = std::fs::read_to_string(child.tokens.join("attempts.log")).expect("noted");
        log.lines().filter_map(|line| line.split_once(' ')).map(|(name, said)| (name.into(), said.into())).collect()
    };
    let files = tried(Profile::Files).await;
    assert_eq!(files.len(), ATTEMPTS.len(), "{files:?}");
    for name in ATTEMPTS {
        assert!(matches!(files[name].as_str(), "1" | "13" | "38" | "9"), "{name}: {}", files[name]);
    }
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "untouched");
    assert!(!file.with_extension("made").exists());
    let network = tried(Profile::Network).await;
    let free: Vec<_> = network.iter().filter(|(_, said)| *said == "ok").map(|(name, _)| name.as_str()).collect();
    // A socket that nobody may listen on, and a pair of them.
    assert_eq!(free, ["pair", "queue", "send"]);
    let off = tried(Profile::Off).await;
    let held: Vec<_> = off.iter().filter(|(_, said)| *said != "ok").map(|(name, _)| name.as_str()).collect();
    assert_eq!(held, ["left-open"], "inherited descriptors are closed whatever the profile: {off:?}");
    drop(left_open);
}

/// A descriptor of this process that a program it starts would inherit.
fn leave_open() -> std::os::fd::OwnedFd {
    let file = std::fs::File::open("/dev/null").expect("there");
    let left = rustix::io::fcntl_dupfd_cloexec(&file, 300).expect("a high number");
    assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&left), 300);
    rustix::io::fcntl_setfd(&left, rustix::io::FdFlags::empty()).expect("inherited from now on");
    left
}

async fn every_profile_serves(child: &Child) {
    for profile in [Profile::Files, Profile::Network, Profile::Off] {
        let mut walled = settings(child);
        let mut hosting = child.hosting();
        hosting.sandbox.profile = profile;
        walled.place = Place::Child(hosting);
        let token = open(walled).await.expect("opens");
        assert!(token.host().expect("a host").walls.starts_with(&format!("profile {}", profile.as_str())));
        assert_eq!(unwrapped(&token, wrapped(&token).await).await.expect("serves"), 7);
        token.close().await.expect("closes");
    }
}

async fn a_place_that_is_not_there_is_said(child: &Child) {
    let mut walled = settings(child);
    let mut hosting = child.hosting();
    hosting.sandbox.writable.push("/nonexistent/tokens".into());
    walled.place = Place::Child(hosting);
    let fault = open(walled).await.map(drop).expect_err("no such place");
    assert_eq!(fault.cause, Cause::Unprotected);
    assert!(fault.to_string().contains("/nonexistent/tokens"), "{fault}");
    assert_eq!(count(child, "C_Initialize"), 0);
}

/// SoftHSM2 keeps its tokens where its configuration says: a folder that nobody named to the walls.
async fn a_folder_that_is_not_named_is_out_of_reach(child: &Child) {
    let mut walled = settings(child);
    let mut hosting = child.hosting();
    hosting.sandbox = Sandbox::default();
    walled.place = Place::Child(hosting.clone());
    let fault = open(walled.clone()).await.map(drop).expect_err("out of reach");
    assert!(matches!(fault.cause, Cause::TokenAbsent | Cause::ModuleUnusable | Cause::Transient), "{fault}");
    hosting.sandbox.writable = vec![child.tokens.clone()];
    walled.place = Place::Child(hosting);
    assert_eq!(
        unwrapped(&open(walled.clone()).await.expect("opens"), wrapped(&open(walled).await.expect("opens")).await)
            .await
            .expect("serves"),
        7
    );
}
