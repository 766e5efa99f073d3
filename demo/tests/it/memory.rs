//! Promise 5: after two hundred deposits and two hundred releases, one second later, no canary is in the vault's
//! memory, in its files or in its log. Once with pages nobody can read, once with locked ones that a scan can read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use cofre_demo::control;
use cofre_demo::needles::Needles;
use cofre_demo::world::token::dev_binary;
use cofre_demo::world::{Wishes, World};
use cofre_testkit::stores::Store;

use crate::crowd;

const LOGINS: usize = 200;

/// A process that holds a line in memory while `work` looks.
fn with_holder(line: &str, work: impl FnOnce(u32)) {
    let mut holder = Command::new(dev_binary().expect("cofre-dev is built"))
        .arg("hold")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a holder");
    let mut to = holder.stdin.take().expect("its input");
    writeln!(to, "{line}").expect("it reads");
    let mut said = String::new();
    BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut said).expect("it says so");
    assert!(said.starts_with("holding"), "{said}");
    work(holder.id());
    drop(to);
    assert!(holder.wait().expect("it ends").success());
}

#[test]
fn the_scan_finds_what_is_there_and_fails_without_the_right_to_look() {
    let canary = "a canary planted in a helper process 0123456789";
    with_holder(canary, |pid| {
        let mut needles = Needles::default();
        needles.add(canary.as_bytes()).expect("long");
        let seen = needles.in_memory(pid).expect("this process may read its child");
        assert!(seen.found > 0 && seen.bytes > 100_000, "{seen:?}");

        // Nobody's processes may not look into ours.
        let mut scan = Command::new(dev_binary().expect("cofre-dev is built"));
        scan.args(["scan", "--pid", &pid.to_string()]).uid(65_534).gid(65_534);
        scan.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut scan = scan.spawn().expect("root may become nobody; run the tests as root");
        writeln!(scan.stdin.take().expect("its input"), "{canary}").expect("it reads");
        let said = scan.wait_with_output().expect("it ends");
        assert!(!said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    });
}

/// Every thread of the vault has given up new privileges, and nothing of it can end up in a core dump.
fn protected(pid: u32) {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut threads = 0;
    for task in tasks {
        let status = task.expect("a thread").path().join("status");
        // A thread of the pool may have ended since it was listed.
        let Ok(status) = std::fs::read_to_string(status) else { continue };
        assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
        threads += 1;
    }
    assert!(threads > 1);
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the core limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

async fn nothing_is_left(memory: &'static str) {
    let folder = tempfile::tempdir().expect("a folder");
    // Everything the vault could say about its work, it says here.
    let wishes = Wishes { memory, log: "debug,cofre=trace", ..crate::usual(&folder.path().join("world")) };
    let world = World::start(&wishes).await.expect("a world");
    let crowd = crowd::deposit(&world, LOGINS).await.expect("deposits");
    crowd::consent(&world, &crowd).await.expect("consents");
    assert_eq!(crowd::release(&world, &crowd).await.expect("releases"), LOGINS);

    // One second later, as the bar says; nothing else is waited for.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut canaries = Needles::default();
    for canary in crowd.iter().flat_map(|each| each.login.canaries()) {
        canaries.add(canary).expect("canaries are long");
    }
    let seen = canaries.in_memory(world.vault.pid()).expect("root may read the vault's memory");
    // On PostgreSQL the stores do not lie in the world's folder: their dumps do, on either engine.
    let dumps = world.folder.join("dumps");
    let stores = cofre_demo::world::stores::folder(&world.folder);
    control::copy_stores(wishes.cluster.as_ref(), &stores, &dumps, &Store::ALL).await.expect("dumps");
    let files = canaries.in_folder(&world.folder, &[]).expect("files");
    let status = world.operator.status().await.expect("status");
    println!(
        "{memory}: {} runs; memory {} bytes, {} found; files and log {} bytes, {} found; slots {} taken, {} wiped",
        canaries.len(),
        seen.bytes,
        seen.found,
        files.bytes,
        files.found,
        status.slots_taken,
        status.slots_wiped
    );
    assert_eq!(status.memory, memory);
    protected(world.vault.pid());
    assert!(seen.bytes > 10_000_000 && seen.found == 0, "{seen:?}");
    assert!(files.bytes > 1_000_000 && files.found == 0, "{files:?}");
    assert!(status.slots_wiped > 4 * LOGINS as u64);
    // What is still held are keys of the node and its tenants, not of any login.
    assert!(status.slots_taken - status.slots_wiped < 16, "{status:?}");
    world.stop().expect("an ordered stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_left_with_memfd_secret() {
    nothing_is_left("memfd_secret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_left_with_plain_mlock() {
    nothing_is_left("mlock").await;
}
