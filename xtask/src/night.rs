//! The long versions: fuzzing for an hour in total, and every test that goes further when it has the night. All rows run,
//! and the last lines say of each what it counted.

use anyhow::{Context, Result, bail};

use crate::postgres::Postgres;
use crate::programs::{self, Program};
use crate::run::{cargo, step};
use crate::test::{STORES, counted};
use crate::{fuzz, install, peers};

/// Set for every long run; a test that can go further reads it.
const NIGHT: &str = "COFRE_NIGHT";
/// What runs for hours runs optimised.
const PROFILE: &str = "night";

/// One long run: tests of the program `it` of one package.
struct Long {
    /// What it is about.
    name: &'static str,
    package: &'static str,
    /// Beginnings of the names of its tests.
    tests: &'static [&'static str],
    /// What the stores are on; empty where there are none.
    engines: &'static [&'static str],
}

const BOTH: &[&str] = &["sqlite", "postgres"];

/// A row stands here once its tests read [`NIGHT`].
const LONG: &[Long] = &[
    Long { name: "properties of decisions", package: "cofre-policy", tests: &["properties"], engines: &[] },
    Long { name: "edits of every column", package: "cofre-store", tests: &["columns::"], engines: BOTH },
    Long { name: "random lists on both engines", package: "cofre-store", tests: &["lists::"], engines: &[] },
    Long {
        name: "causes of custodians that fail",
        package: "cofre-custody",
        tests: &["modules::", "services::"],
        engines: &[],
    },
    Long { name: "what releases cost a custodian", package: "cofre-demo", tests: &["custody_calls::"], engines: BOTH },
    Long { name: "keys that move under kills", package: "cofre-demo", tests: &["rewrapped::"], engines: BOTH },
    Long { name: "tenants that get new keys under kills", package: "cofre-demo", tests: &["rotated::"], engines: BOTH },
    Long { name: "jobs over a million keys", package: "cofre-admin", tests: &["seeded::", "rotate::"], engines: BOTH },
    Long { name: "rewraps under kills", package: "cofre-admin", tests: &["kills::"], engines: BOTH },
];

/// Runs all of them.
pub(crate) fn night(fuzz_seconds: u64) -> Result<()> {
    install::install()?;
    peers::build()?;
    let kinds = ["--profile", PROFILE, "--lib", "--bins", "--tests"];
    step("build", cargo(&["build", "--workspace"]).args(kinds))?;
    let programs = programs::built(&kinds)?;
    let postgres = Postgres::start(PROFILE)?;
    let mut said = Vec::new();
    let mut failed = 0;
    for row in LONG {
        let program = programs.iter().find(|program| program.package == row.package && program.is_integration());
        let program = program.with_context(|| format!("{} has no tests of its whole", row.package))?;
        for engine in if row.engines.is_empty() { &[""] } else { row.engines } {
            let (good, line) = long(row, program, engine, &postgres)?;
            failed += usize::from(!good);
            said.push(line);
        }
    }
    drop(postgres);
    let searched = fuzz::fuzz(&fuzz::Plan { seconds: fuzz_seconds, ..fuzz::Plan::default() });
    println!("{}", said.join("\n"));
    if failed > 0 {
        bail!("{failed} long runs failed");
    }
    searched
}

/// Runs one row on one engine, and says whether all of it passed and what it counted. A name that fits no test is a
/// failure.
fn long(row: &Long, program: &Program, engine: &str, postgres: &Postgres) -> Result<(bool, String)> {
    println!("==> {} {engine}", row.name);
    let mut run = program.command();
    run.args(row.tests).arg("--nocapture").env(NIGHT, "1").envs([postgres.variable()]);
    if !engine.is_empty() {
        run.env(STORES, engine);
    }
    let totals = counted(&mut run)?;
    let good = totals.green && totals.failed == 0 && totals.passed > 0;
    let line = format!("{} {engine}: {} passed, {} failed", row.name, totals.passed, totals.failed);
    Ok((good, line))
}
