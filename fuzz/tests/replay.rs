//! What is kept is replayed without the engine: `cargo test` in this folder. Corpora and regressions are read from
//! their folders, and every target is held to have some.

use std::path::{Path, PathBuf};

use cofre_fuzz::{TARGETS, target};

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = target(name).expect("a target of that name").run;
    let (corpus, regressions) = (files(&home.join("corpus").join(name)), files(&home.join("regressions").join(name)));
    assert!(!corpus.is_empty(), "nothing is kept for {name}");
    for file in corpus.iter().chain(&regressions) {
        let data = std::fs::read(file).expect("a file");
        // The last line of a failing run names the input.
        eprintln!("{}", file.display());
        run(&data);
    }
}

macro_rules! replayed {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_has_its_folder_and_its_test() {
            let tests = [$(stringify!($name)),*];
            let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(targets, tests);
            let mut folders: Vec<String> = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))
                .iter()
                .filter_map(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()))
                .collect();
            folders.sort();
            let mut sorted = tests.map(str::to_owned);
            sorted.sort();
            assert_eq!(folders, sorted);
        }
    };
}

replayed! { envelope wire identity policy ledger custody door }

#[test]
fn every_seed_runs_clean() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            eprintln!("{} {name}", target.name);
            (target.run)(&bytes);
        }
    }
}
