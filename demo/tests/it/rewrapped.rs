//! Tenant keys move from one key of the token to another while their vault, the processes that hold its modules, or all of
//! them are killed (SIGKILL) at random instants, over ten thousand logins: each life goes on from the rows, nothing is
//! lost, and what was left is retired once nothing needs it. On both engines; `COFRE_NIGHT` makes it two hundred kills.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use cofre_client::Error;
use cofre_demo::world::Wishes;
use cofre_demo::world::custody::Custody;
use cofre_demo::world::token::{CUSTODIAN, SECOND, dev_binary};
use cofre_demo::world::vault::hosted;
use cofre_model::entry::EntryKind;
use cofre_model::id::{KeyJobId, Slug};
use cofre_model::reason::PublicReason;
use cofre_model::request::{RetireKeys, RewrapKeys};
use cofre_proto::v1::KeyStatusResponse;
use cofre_testkit::administrator::Line;
use cofre_testkit::postgres::CLUSTER;
use cofre_testkit::stores::Store;
use rustix::process::{Pid, Signal, kill_process};

use crate::tampered::house::House;

pub(crate) const KILLS: u64 = 5;
pub(crate) const NIGHT: u64 = 200;
/// Tenants that are seeded, and all of them with the two of the world.
pub(crate) const SEEDED: u64 = 60;
pub(crate) const ALL: u64 = SEEDED + 2;
pub(crate) const LOGINS: u64 = 10_000;
/// Keys a second: a move takes longer than several lives.
const RATE: u32 = 20;
/// Keys that lives which were killed may hold.
const CLAIMED: u64 = 6;
/// A life, or a host's, is killed within this many milliseconds of serving.
pub(crate) const LIFE: u64 = 700;

/// What is killed, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Vault,
    /// Custody hosts; the vault lives on.
    Hosts,
    /// Custody hosts, and the vault at once after them.
    Both,
}

impl Victim {
    fn of(kill: u64) -> Self {
        match kill % 3 {
            0 => Self::Vault,
            1 => Self::Hosts,
            _ => Self::Both,
        }
    }
}

fn hosts(house: &House) -> BTreeMap<String, u32> {
    house.world.vault.custody_hosts().expect("the vault runs")
}

fn kill_host(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("not zero");
    // One that ended in this very moment is as dead as one that was killed.
    let _ = kill_process(pid, Signal::KILL);
}

/// Waits until it is so; what never comes fails the test.
async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: never");
}

/// Kills, and gives the house with a vault that serves. Nobody starts a custody host but the vault, and none outlives it.
pub(crate) async fn killed(house: House, wishes: &Wishes, kill: u64) -> House {
    let victim = Victim::of(kill);
    let there = hosts(&house);
    assert_eq!(there.keys().collect::<Vec<_>>(), [CUSTODIAN, SECOND.0], "a host for each custodian");
    // Both of them, or one.
    let dead = there.values().skip(usize::from(kill.is_multiple_of(2))).filter(|_| victim != Victim::Vault);
    let dead: Vec<u32> = dead.copied().inspect(|pid| kill_host(*pid)).collect();
    if victim == Victim::Hosts {
        let again = || {
            let now = hosts(&house);
            now.len() == there.len() && now.values().all(|pid| !dead.contains(pid))
        };
        until("the vault starts its hosts again", again).await;
        return house;
    }
    let stopped = house.killed();
    until("hosts end with their vault", || there.values().all(|pid| hosted(*pid).is_none())).await;
    stopped.started(wishes).await
}

pub(crate) fn seed(wishes: &Wishes) {
    let mut dev = Command::new(dev_binary().expect("cofre-dev is built"));
    dev.args(["seed", "--tenants", &SEEDED.to_string(), "--credentials", &LOGINS.to_string(), "--folder"]);
    dev.arg(&wishes.folder);
    if let Some(cluster) = &wishes.cluster {
        dev.env(CLUSTER, cluster.folder());
    }
    let done = dev.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains(&format!("seeded {LOGINS} logins of {SEEDED} tenants")), "{said}");
}

pub(crate) async fn status(house: &House) -> KeyStatusResponse {
    house.world.operator.key_status().await.expect("its operator is told")
}

/// What lies under tenant keys: no move of those touches it.
async fn below(house: &House) -> Vec<Vec<Line>> {
    let mut administrator = house.administrator(Store::Keyring).await;
    let mut below = Vec::new();
    for table in ["subject_keys", "data_keys"] {
        let table = administrator.table(table).await.expect("a table");
        let mut rows = administrator.rows(&table).await.expect("rows");
        rows.sort_by_key(|row| format!("{row:?}"));
        below.push(rows);
    }
    administrator.close().await.expect("closed");
    below
}

fn order(to: &str, dry_run: bool) -> RewrapKeys {
    RewrapKeys { custody_set: format!("any_of({to})"), from_key: None, rate: Some(RATE), dry_run }
}

fn retire(custodian: &str) -> RetireKeys {
    RetireKeys { custodian: Slug::try_from(custodian).expect("a name"), key: None }
}

/// A custodian that still wraps something in force, or is to wrap the keys of new tenants, is not retired.
async fn not_retired(house: &House, custodian: &str) {
    let refused = loop {
        let refused = house.world.operator.retire_keys(&retire(custodian)).await.expect_err("it is still needed");
        if !matches!(refused, Error::BrokenOff) {
            break refused;
        }
    };
    let reason = refused.refused().and_then(|refused| refused.reason);
    assert_eq!(reason, Some(PublicReason::WrongState), "{refused:?}");
}

/// Has the keys move where no job has much to do; gives where they move to. What is left of a job may be all claimed by
/// lives that were killed, and is let go half a minute later: a kill in between would hit nobody at work. So that job is
/// stopped, and what it moved moves back.
async fn moving(house: &House, to: &'static str) -> &'static str {
    let operator = &house.world.operator;
    let last = status(house).await.jobs.into_iter().next();
    let turned = match last {
        Some(job) if job.state == "RUNNING" && job.left > CLAIMED => return to,
        Some(job) if job.state == "RUNNING" => {
            let id = KeyJobId::try_from(job.job_id.as_str()).expect("an id");
            // It may have ended by itself since.
            operator.stop_key_job(&id).await.is_ok()
        }
        _ => false,
    };
    let to = if to == CUSTODIAN { SECOND.0 } else { CUSTODIAN };
    let counted = operator.rewrap_keys(&order(to, true)).await.expect("counted");
    assert!(counted.due == ALL || turned && counted.due > 0, "a dry run: {counted:?}");
    assert_eq!(counted.job, None, "a dry run");
    let ordered = operator.rewrap_keys(&order(to, false)).await.expect("ordered");
    assert!(ordered.job.is_some());
    let from = if to == CUSTODIAN { SECOND.0 } else { CUSTODIAN };
    not_retired(house, from).await;
    to
}

/// Waits until nothing is left to move.
pub(crate) async fn moved(house: &House) -> KeyStatusResponse {
    for _ in 0..600 {
        let status = status(house).await;
        if status.jobs.first().is_some_and(|job| job.state == "DONE") {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("still not moved: {:?}", status(house).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_move_and_open_however_often_the_vault_is_killed_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let usual = crate::usual(&folder.path().join("world"));
    let wishes = Wishes { workers: 2, custody: Custody::SecondKey, ..usual };
    let house = House::new(&wishes).await;
    let stopped = house.stopped();
    seed(&wishes);
    let mut house = stopped.started(&wishes).await;
    let before = below(&house).await;
    assert!(before.iter().all(|rows| rows.len() as u64 > LOGINS), "seeded beside those of the world");

    let mut to = CUSTODIAN;
    let kills = if std::env::var_os("COFRE_NIGHT").is_some() { NIGHT } else { KILLS };
    for kill in 0..kills {
        to = moving(&house, to).await;
        tokio::time::sleep(Duration::from_millis(house.world.clock.now().micros() % LIFE)).await;
        let job = status(&house).await.jobs.swap_remove(0);
        let victim = Victim::of(kill);
        println!("kill {kill}, {victim:?}: {} to {}, {} moved, {} left", job.state, job.target, job.moved, job.left);
        house = killed(house, &wishes, kill).await;
        house.all_whole("a kill").await;
    }
    let mut after = moved(&house).await;
    if to != CUSTODIAN {
        // Whoever is to hold new tenants' keys is not retired, whatever it holds now.
        not_retired(&house, CUSTODIAN).await;
        to = moving(&house, to).await;
        after = moved(&house).await;
    }
    let from = SECOND.0;
    let mut ended = after.jobs.iter().filter(|job| job.state != "STOPPED");
    assert!(ended.all(|job| job.state == "DONE" && job.failed == 0 && job.failures.is_empty()), "{:?}", after.jobs);
    let in_force =
        |name: &str| after.custodians.iter().filter(|row| row.custodian == name).map(|row| row.current).sum::<u64>();
    assert_eq!([in_force(from), in_force(to)], [0, ALL], "one live wrapping of each key");
    assert!(before == below(&house).await, "what lies under tenant keys was touched");
    house.all_whole("the move").await;

    // Every new share is opened by this, and gives the key that the records name.
    // A call that is broken off is made again, and goes on with the shares that were not opened yet.
    let mut asked = 1;
    while let Err(cause) = house.world.operator.retire_keys(&retire(from)).await {
        let more = matches!(cause, Error::BrokenOff) || format!("{cause:?}").contains("still to be opened");
        assert!(more && asked < 30, "nothing needs it: {cause:?}");
        asked += 1;
    }
    let retired = status(&house).await.custodians;
    let retired: u64 = retired.iter().filter(|row| row.custodian == from).map(|row| row.retired).sum();
    assert!(retired >= ALL, "{retired} shares");
    let entries = house.entries(EntryKind::KeysRetired, 0).await.len();
    assert!((1..=asked).contains(&entries), "{entries} entries: it was refused before the move");
    let house = house.restarted(&wishes).await;
    house.all_whole("what was left is retired").await;
    house.stop();
}
