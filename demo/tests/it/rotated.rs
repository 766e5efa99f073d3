//! Every tenant gets a new key while their vault, the processes that hold its modules, or all of them are killed (SIGKILL) at
//! random instants, over ten thousand logins: each life goes on from the rows, every login opens, and older keys are retired
//! once nothing lies under them. On both engines; `COFRE_NIGHT` makes it two hundred kills.

use std::collections::BTreeMap;
use std::time::Duration;

use cofre_demo::world::Wishes;
use cofre_demo::world::custody::Custody;
use cofre_model::entry::EntryKind;
use cofre_model::request::RotateKeys;
use cofre_testkit::administrator::{Cell, Line};
use cofre_testkit::stores::Store;

use crate::rewrapped::{ALL, KILLS, LIFE, LOGINS, NIGHT, killed, moved, seed, status};
use crate::tampered::house::House;

/// Keys a second: a rotation takes longer than several lives.
const RATE: u32 = 1_000;

const EVERYBODY: RotateKeys = RotateKeys { tenant: None, rate: Some(RATE), dry_run: false };

async fn rows(house: &House, table: &str) -> (Vec<Line>, usize, usize) {
    let mut administrator = house.administrator(Store::Keyring).await;
    let table = administrator.table(table).await.expect("a table");
    let mut rows = administrator.rows(&table).await.expect("rows");
    rows.sort_by_key(|row| format!("{row:?}"));
    administrator.close().await.expect("closed");
    let place = |name| table.place(name).expect("a column");
    (rows, place("owner_id"), place(if table.name == "subject_keys" { "tenant_key_version" } else { "version" }))
}

/// Whose subject keys there are, and under which version of the tenant's key each lies.
async fn owners(house: &House) -> BTreeMap<String, i64> {
    let (rows, owner, version) = rows(house, "subject_keys").await;
    let cells = rows.iter().map(|row| match (&row[owner], &row[version]) {
        (Cell::Text(owner), Cell::Number(version)) => (owner.clone(), *version),
        other => panic!("{other:?}"),
    });
    cells.collect()
}

/// Orders a rotation where none runs.
async fn rotating(house: &House) {
    if status(house).await.jobs.first().is_none_or(|job| job.state != "RUNNING") {
        let ordered = house.world.operator.rotate_keys(&EVERYBODY).await.expect("ordered");
        assert!(ordered.job.is_some() && ordered.due == ALL, "{ordered:?}");
    }
}

/// Waits until what lies under older keys moves, or has moved.
async fn moving(house: &House) {
    for _ in 0..600 {
        let job = status(house).await.jobs.swap_remove(0);
        if job.moved > 0 || job.state != "RUNNING" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing moves: {:?}", status(house).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_get_new_keys_and_logins_open_however_often_the_vault_is_killed_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let usual = crate::usual(&folder.path().join("world"));
    let wishes = Wishes { workers: 2, custody: Custody::SecondKey, ..usual };
    let house = House::new(&wishes).await;
    let stopped = house.stopped();
    seed(&wishes);
    let mut house = stopped.started(&wishes).await;
    let (before, data_keys) = (owners(&house).await, rows(&house, "data_keys").await);
    assert!(before.len() as u64 > LOGINS && before.values().all(|version| *version == 1));
    let counted = house.world.operator.rotate_keys(&RotateKeys { dry_run: true, ..EVERYBODY }).await;
    assert_eq!(counted.map(|counted| (counted.due, counted.job)).expect("counted"), (ALL, None), "a dry run");

    let kills = if std::env::var_os("COFRE_NIGHT").is_some() { NIGHT } else { KILLS };
    for kill in 0..kills {
        rotating(&house).await;
        if kill > 1 {
            // Two lives end while tenants get their keys; the others while what lies under older ones moves.
            moving(&house).await;
        }
        tokio::time::sleep(Duration::from_millis(house.world.clock.now().micros() % (4 * LIFE))).await;
        let job = status(&house).await.jobs.swap_remove(0);
        println!("kill {kill}: {}, {} tenants moved, {} left", job.state, job.moved, job.left);
        house = killed(house, &wishes, kill).await;
        house.all_whole("a kill").await;
    }
    let after = moved(&house).await;
    assert!(after.jobs.iter().all(|job| job.failed == 0 && job.failures.is_empty()), "{:?}", after.jobs);
    let versions = owners(&house).await;
    assert!(versions.keys().eq(before.keys()), "an owner's key was lost, or came back");
    assert!(versions.values().all(|version| *version > 1), "a key lies under an older version");
    assert!(rows(&house, "data_keys").await == data_keys, "what lies under owners' keys was touched");
    house.all_whole("the rotation").await;

    // A call that is broken off is made again, and goes on with the shares that were not opened yet.
    let mut asked = 1;
    while let Err(cause) = house.world.operator.retire_tenant_keys().await {
        let more =
            matches!(cause, cofre_client::Error::BrokenOff) || format!("{cause:?}").contains("still to be opened");
        assert!(more && asked < 30, "nothing lies under them: {cause:?}");
        asked += 1;
    }
    assert_eq!(house.entries(EntryKind::KeysRetired, 0).await.len(), 1);
    let house = house.restarted(&wishes).await;
    house.all_whole("older keys are retired").await;
    house.stop();
}
