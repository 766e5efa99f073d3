//! Everything that can fail, in one command, ending with the test runner's own totals.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, step};
use crate::{check, fuzz, install};

/// Seconds of fuzzing, in total over all targets.
const FUZZ_SECONDS: u64 = 60;

/// What the test runner counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
}

impl Totals {
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
    check::check()?;
    // The PKCS#11 module and the binaries that tests start are built once, here.
    step("build", &mut cargo(&["build", "--workspace"]))?;
    let mut totals = Totals::default();
    let targets = counted(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"], &mut totals)?;
    let documentation = counted(&["test", "--workspace", "--doc", "--no-fail-fast"], &mut totals)?;
    println!("cofre: {} passed, {} failed", totals.passed, totals.failed);
    if !(targets && documentation) || totals.failed > 0 || totals.passed == 0 {
        bail!("tests failed");
    }
    fuzz::fuzz(&fuzz::Plan { seconds: FUZZ_SECONDS, ..fuzz::Plan::default() })
}

fn counted(arguments: &[&str], totals: &mut Totals) -> Result<bool> {
    println!("==> cargo {}", arguments.join(" "));
    let mut child = cargo(arguments).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        totals.add(&line);
        println!("{line}");
    }
    Ok(child.wait()?.success())
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
        assert_eq!(totals, Totals { passed: 15, failed: 2 });
    }
}
