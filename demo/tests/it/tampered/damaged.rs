//! SQLite files that are broken, cut short, gone, or others': a vault that starts on one says which file it is and what
//! to do, and leaves every byte of it alone; one that runs refuses what it cannot read and goes on with the rest.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use cofre_demo::world::token::{SIM_FOLDER, binary};
use cofre_demo::world::{Wishes, World, stores};
use cofre_testkit::stores::Store;

use super::house::House;

/// SQLite's pages here.
const PAGE: usize = 4_096;

/// Breaks the first file; the second path is the folder of another set.
type Break = fn(&Path, &Path);

/// Ways to break a file that holds a store.
const BREAKS: &[(&str, Break)] = &[
    ("its header zeroed", |file, _| overwrite(file, 0, &[0; 100])),
    ("its first page overwritten", |file, _| overwrite(file, 0, &[0xa5; PAGE])),
    ("a page of its tables overwritten", |file, _| overwrite(file, PAGE, &[0xa5; PAGE])),
    ("cut at a page", |file, _| cut(file, |length| length / 2 / PAGE * PAGE)),
    ("cut within a page", |file, _| cut(file, |length| length / 2 / PAGE * PAGE + 1_000)),
    ("cut to a few bytes", |file, _| cut(file, |_| 20)),
    ("empty", |file, _| cut(file, |_| 0)),
    ("gone", |file, _| std::fs::remove_file(file).expect("removed")),
    ("a folder", |file, _| {
        std::fs::remove_file(file).expect("removed");
        std::fs::create_dir(file).expect("a folder");
    }),
    ("another store's file", |file, _| {
        let other = if file.ends_with("keyring.db") { "ciphertexts.db" } else { "keyring.db" };
        let _bytes = std::fs::copy(file.with_file_name(other), file).expect("copied");
    }),
    ("the file of another set", |file, other| {
        let _bytes = std::fs::copy(other.join(file.file_name().expect("a name")), file).expect("copied");
    }),
];

fn overwrite(file: &Path, at: usize, with: &[u8]) {
    let mut file = std::fs::File::options().write(true).open(file).expect("the file");
    file.seek(SeekFrom::Start(at as u64)).expect("a place");
    file.write_all(with).expect("written");
}

fn cut(file: &Path, to: impl Fn(usize) -> usize) {
    let open = std::fs::File::options().write(true).open(file).expect("the file");
    let length = usize::try_from(open.metadata().expect("a length").len()).expect("a length");
    open.set_len(to(length) as u64).expect("cut");
}

/// The three files, and what is in them; none where there is no such file.
fn contents(folder: &Path) -> Vec<Option<Vec<u8>>> {
    Store::ALL.iter().map(|store| std::fs::read(store.file(folder)).ok()).collect()
}

/// Copies the three files and nothing else.
fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    std::fs::create_dir_all(to).expect("a folder");
    for store in Store::ALL {
        std::fs::copy(store.file(from), store.file(to)).expect("copied");
    }
}

/// Starts the vault of a world on stores that it must not start on; says why it did not.
fn refused(world: &Path, config: &Path) -> String {
    let mut cofred = Command::new(binary("cofred").expect("cofred is built"));
    let output = cofred.args(["run", "--config"]).arg(config).env(SIM_FOLDER, world.join("token")).output();
    let output = output.expect("it ends by itself");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("ready"), "it said that it was ready");
    said.lines().skip_while(|line| !line.starts_with("cofred: ")).collect::<Vec<_>>().join("\n")
}

/// A configuration of the same vault on other files.
fn elsewhere(world: &Path, folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(world.join("cofre.toml")).expect("its configuration");
    let stores = stores::folder(world).display().to_string();
    assert!(text.contains(&stores));
    let file = folder.with_extension("toml");
    std::fs::write(&file, text.replace(&stores, &folder.display().to_string())).expect("written");
    file
}

/// Every way to break each of the three files, at a start.
pub(super) async fn at_a_start(folder: &Path, wishes: &Wishes) {
    let other = Wishes { folder: folder.join("other"), workers: 1, ..wishes.clone() };
    World::start(&other).await.expect("another world").stop().expect("it stops in order");
    let other = stores::folder(&other.folder);
    let house = House::new(wishes).await;
    let (logins, world) = (house.logins.len(), house.world.folder.clone());
    let house = house.stopped();
    let (whole, tried) = (stores::folder(&world), folder.join("tried"));
    let config = elsewhere(&world, &tried);
    for (how, make) in BREAKS {
        for store in Store::ALL {
            copy(&whole, &tried);
            let file = store.file(&tried);
            make(&file, &other);
            let before = contents(&tried);
            let why = refused(&world, &config);
            // The records are opened first and tell a set: where they are another's, it is the next file that differs.
            let named = why.contains(&file.display().to_string()) || why.contains("belongs to another set");
            let way_out =
                ["restore", "check the places", "put it back", "directory"].iter().any(|out| why.contains(out));
            assert!(named && way_out, "{} {how}: {why}", store.name());
            assert!(contents(&tried) == before, "{} {how}: a file was written to", store.name());
        }
    }
    copy(&whole, &tried);
    let house = house.started(wishes).await;
    assert_eq!(house.logins.len(), logins);
    house.all_whole("every broken start").await;
    house.stop();
}

/// Each file in turn is broken under a vault that runs, on pages that it has to read.
pub(super) async fn under_way(wishes: &Wishes) {
    let mut house = House::new(wishes).await;
    for store in [Store::Ciphertexts, Store::Keyring] {
        // What was written last is in the file, not beside it, and what was read is forgotten.
        house = house.restarted(wishes).await;
        let file = store.file(&house.stores());
        let mut administrator = house.administrator(store).await;
        administrator.run("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("in the file");
        administrator.close().await.expect("closed");
        let kept = std::fs::read(&file).expect("the file");
        overwrite(&file, PAGE, &vec![0xa5; kept.len() - PAGE]);
        for login in &house.logins {
            let came = house.attempt(login).await;
            assert!(!came.is_whole(), "{}: read from nothing", store.name());
        }
        // Whoever asks about records is answered meanwhile.
        house.world.auditor.status().await.expect("it is up");
        let front_end = house.world.north.front_end().expect("connected");
        front_end.credential_state(&house.logins[0].credential).await.expect("records are read");
        // Pages that were read broken stay in the vault's memory: a file is mended while no vault has it open.
        let stopped = house.stopped();
        overwrite(&file, 0, &kept);
        house = stopped.started(wishes).await;
        house.all_whole(store.name()).await;
    }
    house.stop();
}
