//! The vault runs under the restrictions of its systemd unit, as far as they can be had without a service manager: the
//! system calls the unit allows and no others, no core dumps, and no more locked memory than this machine lets anybody have.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use cofre_demo::world::token::{SIM_FOLDER, binary};
use cofre_demo::world::{Wishes, World};
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{BpfProgram, TargetArch};

const UNIT: &str = include_str!("../../../deploy/systemd/cofred.service");

/// The values of a key of the unit, in order.
fn values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A word of `SystemCallFilter=` as names of system calls; groups as the service manager of this machine has them.
fn names_of(word: &str) -> BTreeSet<String> {
    if !word.starts_with('@') {
        return BTreeSet::from([word.to_owned()]);
    }
    let said = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", word]).output();
    let said = said.expect("systemd-analyze runs; it comes with Debian's package systemd");
    assert!(said.status.success(), "{word}: {}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8(said.stdout).expect("text");
    let members = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(names_of).collect()
}

/// What the unit's lines leave, taken one after the other as the service manager does.
fn allowed() -> BTreeSet<String> {
    // What every process needs to start and end is always allowed.
    let mut allowed = names_of("@default");
    for line in values("SystemCallFilter") {
        let (taken_away, words) = line.strip_prefix('~').map_or((false, line), |rest| (true, rest));
        for name in words.split(' ').flat_map(names_of) {
            if taken_away {
                allowed.remove(&name)
            } else {
                allowed.insert(name)
            };
        }
    }
    allowed
}

fn compiled(names: &[&str]) -> Result<BpfProgram, seccompiler::Error> {
    let calls: Vec<_> = names.iter().map(|name| serde_json::json!({ "syscall": name })).collect();
    // 1 is EPERM, the unit's SystemCallErrorNumber.
    let filter = serde_json::json!({
        "vault": { "mismatch_action": { "errno": 1 }, "match_action": "allow", "filter": calls }
    });
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(seccompiler::Error::Backend)?;
    let mut programs = seccompiler::compile_from_json(filter.to_string().as_bytes(), arch)?;
    Ok(programs.remove("vault").expect("the one program"))
}

/// Starts the vault under the unit's restrictions, has it stop, and gives its exit status and what it said.
fn under(program: BpfProgram, folder: &Path) -> (std::process::ExitStatus, String, String) {
    let (folder, log) = (folder.to_path_buf(), folder.join("restricted.log"));
    let errors = std::fs::File::create(&log).expect("a log");
    // A filter belongs to a thread and is inherited by what it starts.
    let run = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("a filter");
        let mut vault = Command::new("prlimit")
            .arg("--core=0:0")
            .arg(binary("cofred").expect("cofred is built"))
            .args(["run", "--config"])
            .arg(folder.join("cofre.toml"))
            .env(SIM_FOLDER, folder.join("token"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("prlimit is part of every Debian");
        let mut ready = String::new();
        BufReader::new(vault.stdout.take().expect("its output")).read_line(&mut ready).expect("a line or its end");
        let pid = Pid::from_raw(i32::try_from(vault.id()).expect("an id")).expect("an id");
        let status = std::fs::read_to_string(format!("/proc/{}/status", vault.id())).unwrap_or_default();
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
        (vault.wait().expect("it ends"), ready + &status)
    });
    let (status, said) = run.join().expect("the thread");
    (status, said, std::fs::read_to_string(log).expect("the log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_starts_serves_and_stops_under_its_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = Wishes { workers: 1, ..crate::usual(&folder.path().join("world")) };
    let world = World::start(&wishes).await.expect("a world");
    let place = world.folder.clone();
    world.stop().expect("an ordered stop");

    let allowed = allowed();
    assert!(allowed.contains("memfd_secret") && allowed.contains("mlock") && allowed.contains("prctl"));
    assert!(!allowed.contains("ptrace") && !allowed.contains("mount") && !allowed.contains("bpf"), "{allowed:?}");
    // Groups name calls of every machine; this one's table has its own.
    let here: Vec<&str> = allowed.iter().map(String::as_str).filter(|name| compiled(&[name]).is_ok()).collect();
    assert!(here.len() > 200 && here.contains(&"memfd_secret"), "{here:?}");
    let (status, said, log) = under(compiled(&here).expect("a filter"), &place);
    assert!(said.starts_with("ready "), "{said}{log}");
    assert!(said.contains("Seccomp:\t2"), "{said}");
    assert!(status.success(), "{status}: {log}");

    // Were memfd_secret not on the list, the vault would not start: the filter is in force, and the line is needed.
    let without: Vec<&str> = here.iter().copied().filter(|name| *name != "memfd_secret").collect();
    let (status, said, log) = under(compiled(&without).expect("a filter"), &place);
    assert!(!status.success() && !said.starts_with("ready"), "{said}");
    assert!(log.contains("locked memory cannot be had"), "{log}");
}
