//! Builds the fuzz targets with coverage on the stable toolchain, replays what is kept, and searches on.
//!
//! Everything built stands in `target/fuzz` and is built once; new inputs grow in `target/fuzz/corpus`. What is
//! committed under `fuzz/corpus` and `fuzz/regressions` changes only by `cargo xtask fuzz --keep`, or by hand.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, output, root, step};

/// Counters on every edge, comparisons traced: what libFuzzer steers by. The rest of the recipe is `--target`, without
/// which build scripts would be instrumented too.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The whole front door is slow and deep, and gets this many shares of the time where a parser gets one.
const SHARES_OF_THE_DOOR: u64 = 3;

/// Seconds of search from which the optimised build wins back the minutes it takes.
const LONG: u64 = 600;

/// Longest input, in bytes; a certificate or an export fits.
const LONGEST: &str = "-max_len=12288";

/// What to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Seconds of search, in total over all targets.
    pub(crate) seconds: u64,
    /// One target; all where there is none.
    pub(crate) target: Option<String>,
    /// Whether inputs that reach something new are added to the committed corpora.
    pub(crate) keep: bool,
}

/// Where things stand.
struct Places {
    program: PathBuf,
    target: PathBuf,
}

/// Builds, replays, searches; fails on the first target that crashed, after all have run.
pub(crate) fn fuzz(plan: &Plan) -> Result<()> {
    let places = build(if plan.seconds < LONG { "fuzz" } else { "night" })?;
    if plan.keep {
        sow(&places)?;
    }
    let mut names = names()?;
    if let Some(one) = &plan.target {
        if !names.contains(one) {
            bail!("no target is called {one}: there are {}", names.join(", "));
        }
        names.retain(|name| name == one);
    }
    println!("==> fuzz: {} s in total over {}", plan.seconds, names.join(", "));
    if plan.keep {
        keep(&places, &names)?;
    }
    let failed = over_all(&places, &names, plan.seconds);
    if plan.keep {
        keep(&places, &names)?;
    }
    if failed.is_empty() { Ok(()) } else { bail!("fuzz targets failed: {}", failed.join(", ")) }
}

/// The one program that holds all targets, built by a profile of `fuzz/Cargo.toml`.
fn build(profile: &str) -> Result<Places> {
    let versions = output(Command::new("rustc").arg("-vV"))?;
    let host = versions.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let base = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let target = base.join("fuzz");
    let mut build = cargo(&["build", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--profile", profile]);
    build.args(["--target", host, "--target-dir"]).arg(&target);
    build.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", INSTRUMENTED);
    step("fuzz targets", &mut build)?;
    Ok(Places { program: target.join(host).join(profile).join("cofre-fuzz"), target })
}

/// The targets, by the folders of their corpora.
fn names() -> Result<Vec<String>> {
    let corpora = root().join("fuzz/corpus");
    let mut names = Vec::new();
    for folder in std::fs::read_dir(&corpora).with_context(|| format!("{}", corpora.display()))? {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() { bail!("{} is empty", corpora.display()) } else { Ok(names) }
}

/// Two targets side by side, each on a core of its own; gives the names of those that failed.
fn over_all(places: &Places, names: &[String], seconds: u64) -> Vec<String> {
    let shares: u64 = names.iter().map(|name| share(name)).sum();
    // The longest first, so that none is left over at the end.
    let mut waiting: Vec<&String> = names.iter().collect();
    waiting.sort_by_key(|name| std::cmp::Reverse(share(name)));
    let (waiting, failed) = (Mutex::new(VecDeque::from(waiting)), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(name) = next else { return };
            match attack(places, name, seconds * share(name) / shares.max(1)) {
                Ok(line) => println!("    {line}"),
                Err(problem) => {
                    println!("    {name}: {problem:#}");
                    failed.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn share(name: &str) -> u64 {
    if name == "door" { SHARES_OF_THE_DOOR } else { 1 }
}

/// Replays what is kept for one target, then searches; gives the line that says what was done.
fn attack(places: &Places, name: &str, seconds: u64) -> Result<String> {
    let (kept, regressions) = (kept(name), root().join("fuzz/regressions").join(name));
    let mut replayed = 0;
    let mut replay = places.engine(name);
    for folder in [&kept, &regressions] {
        for file in files(folder)? {
            replay.arg(file);
            replayed += 1;
        }
    }
    if replayed == 0 {
        bail!("nothing is kept in {}", kept.display());
    }
    places.run(replay, name, "replay")?;
    let grown = places.grown(name);
    std::fs::create_dir_all(&grown)?;
    let mut search = places.engine(name);
    search.arg(format!("-max_total_time={seconds}")).args([&grown, &kept]);
    if regressions.is_dir() {
        search.arg(&regressions);
    }
    let log = if seconds == 0 { String::new() } else { places.run(search, name, "search")? };
    let figure = |key: &str| -> u64 {
        let line = log.lines().rev().find_map(|line| line.strip_prefix(&format!("stat::{key}:")));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    let (runs, new, peak) = (figure("number_of_executed_units"), figure("new_units_added"), figure("peak_rss_mb"));
    if seconds > 0 && runs == 0 {
        bail!("the search ran nothing; see {}", places.log(name, "search").display());
    }
    Ok(format!("{name:<10} {replayed:>4} replayed, {seconds:>5} s, {runs:>10} runs, {new:>5} new, {peak:>4} MiB"))
}

fn kept(name: &str) -> PathBuf {
    root().join("fuzz/corpus").join(name)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

/// Writes the seeds of every target anew, and makes sure that each has a home.
fn sow(places: &Places) -> Result<()> {
    let seeds = places.seeds();
    std::fs::create_dir_all(&seeds)?;
    step("seeds", Command::new(&places.program).env("COFRE_FUZZ_SEEDS", &seeds).stdin(Stdio::null()))?;
    for target in files(&seeds)? {
        std::fs::create_dir_all(kept(&target.file_name().unwrap_or_default().to_string_lossy()))?;
    }
    Ok(())
}

/// Folds seeds and what was found into the committed corpora: only inputs that reach something new are added.
fn keep(places: &Places, names: &[String]) -> Result<()> {
    for name in names {
        let (grown, home) = (places.grown(name), kept(name));
        std::fs::create_dir_all(&grown)?;
        let mut merge = places.engine(name);
        merge.arg("-merge=1").args([&home, &places.seeds().join(name), &grown]);
        places.run(merge, name, "keep")?;
        println!("    {name}: {} inputs are kept", files(&home)?.len());
    }
    Ok(())
}

impl Places {
    fn engine(&self, name: &str) -> Command {
        let mut engine = Command::new(&self.program);
        engine.env("COFRE_FUZZ_TARGET", name).env("RUST_BACKTRACE", "1").current_dir(&self.target);
        engine.args(["-timeout=25", "-rss_limit_mb=1024", "-print_final_stats=1", LONGEST]);
        engine.arg(format!("-artifact_prefix={}/", self.crashes(name).display()));
        engine
    }

    fn seeds(&self) -> PathBuf {
        self.target.join("seeds")
    }

    fn grown(&self, name: &str) -> PathBuf {
        self.target.join("corpus").join(name)
    }

    fn crashes(&self, name: &str) -> PathBuf {
        self.target.join("crashes").join(name)
    }

    fn log(&self, name: &str, what: &str) -> PathBuf {
        self.target.join("logs").join(format!("{name}-{what}.log"))
    }

    /// Runs the engine with its words in a log, and gives them back.
    fn run(&self, mut engine: Command, name: &str, what: &str) -> Result<String> {
        let (log, crashes) = (self.log(name, what), self.crashes(name));
        std::fs::create_dir_all(log.parent().context("a folder of logs")?)?;
        std::fs::create_dir_all(&crashes)?;
        let file = std::fs::File::create(&log)?;
        let ended = engine.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status()?;
        let words = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        if ended.success() {
            return Ok(words);
        }
        let last: Vec<&str> = words.lines().rev().take(40).collect();
        for line in last.iter().rev() {
            println!("      | {line}");
        }
        bail!(
            "{what} ended with {ended}; the input is in {}, mend the cause and keep it as fuzz/regressions/{name}/<what-it-was>",
            crashes.display()
        )
    }
}
