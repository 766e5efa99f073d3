//! Everything that can fail, in one command, ending with the test runner's own totals: every test with the stores on
//! SQLite, and then every crate whose tests open stores once more on PostgreSQL.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::check::sources::{self, Source};
use crate::postgres::Postgres;
use crate::run::{cargo, step};
use crate::{check, fuzz, install, peers, programs};

/// Tells tests on which engine their stores are to be.
pub(crate) const STORES: &str = "COFRE_TEST_STORES";
/// What every test says that opens stores.
const OPENS: &str = "cofre_testkit::stores";
/// Seconds of fuzzing, in total over all targets.
const FUZZ_SECONDS: u64 = 60;

/// What the test runner counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Whether the runner itself was content: what does not build is not counted.
    pub(crate) green: bool,
}

impl Totals {
    const fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            green: self.green && other.green,
        }
    }

    /// Adds one line of the runner's output, such as `test result: ok. 3 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result:") else { return };
        let words: Vec<&str> = rest.split_whitespace().collect();
        for pair in words.windows(2) {
            if let [count, what] = pair
                && let Ok(count) = count.parse::<u64>()
            {
                match what.trim_end_matches(';') {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    _ => {}
                }
            }
        }
    }
}

/// Installs what is missing, runs the checks, then every test, then the fuzz targets for a minute.
pub(crate) fn test() -> Result<()> {
    install::install()?;
    // Waits for the network and the disk, while the checks work.
    let services = std::thread::spawn(peers::services);
    check::check()?;
    let again = crates_with_stores(&sources::tracked()?);
    // All is built once, here: the binaries that tests start, and with the tests, because a crate that only they ask more of
    // is another crate to cargo, and so is whatever stands on it.
    step("build", &mut cargo(&["build", "--workspace", "--lib", "--bins", "--tests"]))?;
    peers::kryoptic()?;
    services.join().map_err(|_| anyhow!("the installation of moto and OpenBao ended early"))??;
    let postgres = Postgres::start("debug")?;
    let on_sqlite = |arguments: &[&str]| {
        println!("==> {STORES}=sqlite cargo {}", arguments.join(" "));
        counted(cargo(arguments).env(STORES, "sqlite").envs([postgres.variable()]))
    };
    let kinds = ["--lib", "--bins", "--tests", "--no-fail-fast"];
    let targets = on_sqlite(&[&["test", "--workspace"], &kinds[..]].concat())?;
    let documentation = on_sqlite(&["test", "--workspace", "--doc", "--no-fail-fast"])?;
    let mut stores = Totals { green: true, ..Totals::default() };
    for program in programs::built(&kinds[..3])?.iter().filter(|program| again.contains(&program.package)) {
        println!("==> {STORES}=postgres {}", program.name());
        let counted = counted(program.command().env(STORES, "postgres").envs([postgres.variable()]))?;
        stores = stores.plus(counted);
    }
    drop(postgres);
    // Searched before the totals are told, so that those are the last lines of a run.
    let searched = fuzz::fuzz(&fuzz::Plan { seconds: FUZZ_SECONDS, ..fuzz::Plan::default() });
    report(&targets.plus(documentation), &stores).and(searched)
}

/// The names of the crates whose tests open stores, by what their tests say.
fn crates_with_stores(files: &[Source]) -> Vec<String> {
    let folder =
        |path: &str| path.split_once("/tests/").or_else(|| path.split_once("/src/")).map(|(it, _)| it.to_owned());
    let name = |folder: String| format!("cofre-{}", folder.rsplit('/').next().unwrap_or(&folder));
    let mut names: Vec<String> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && !file.path.starts_with("xtask/") && file.text.contains(OPENS))
        .filter_map(|file| folder(&file.path).map(name))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The last lines of a run: what was counted on each engine, and all of it.
fn report(sqlite: &Totals, postgres: &Totals) -> Result<()> {
    let both = sqlite.plus(*postgres);
    println!("SQLite: {} passed, {} failed", sqlite.passed, sqlite.failed);
    println!("PostgreSQL: {} passed, {} failed", postgres.passed, postgres.failed);
    println!("cofre: {} passed, {} failed", both.passed, both.failed);
    if !both.green || both.failed > 0 || sqlite.passed == 0 || postgres.passed == 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Runs tests, showing what they print, and counts what the runner says.
pub(crate) fn counted(run: &mut Command) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut child = run.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        totals.add(&line);
        println!("{line}");
    }
    totals.green = child.wait()?.success();
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_the_runners_own_lines() {
        let mut totals = Totals::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored",
            "running 3 tests",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 15, failed: 2, green: false });
    }

    #[test]
    fn a_run_is_good_only_with_tests_on_both_engines_and_none_failed() {
        let good = Totals { passed: 3, failed: 0, green: true };
        assert!(report(&good, &good).is_ok());
        for bad in [Totals { failed: 1, ..good }, Totals { passed: 0, ..good }, Totals { green: false, ..good }] {
            assert!(report(&good, &bad).is_err() && report(&bad, &good).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn crates_are_run_again_because_of_what_their_tests_say() {
        let says = format!("use {OPENS};");
        let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file("vault/audit/tests/it/support.rs", &says),
            file("vault/audit/tests/it/read.rs", &says),
            file("demo/src/control/mod.rs", &says),
            file("vault/relay/tests/it/bench.rs", "no stores"),
            file("docs/notes.md", &says),
        ];
        assert_eq!(crates_with_stores(&files), ["cofre-audit", "cofre-demo"]);
    }
}
