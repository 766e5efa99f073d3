//! The drills: each shows every row, and one that is not shown fails it. On both engines.

use std::process::Command;

use cofre_demo::world::token::dev_binary;
use cofre_testkit::stores::Engine;

/// Tokens of two makes and two services hold the keys of seven tenants; each loss costs those who need what is lost, and
/// nobody else.
#[test]
fn the_loss_of_custodians_shows_every_row() {
    let mut drill = Command::new(dev_binary().expect("cofre-dev is built"));
    drill.args(["drill", "custody"]);
    if Engine::of_this_run().expect("an engine") == Engine::Postgres {
        drill.arg("--postgres");
    }
    let done = drill.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    println!("{said}");
    let rows = said.lines().filter(|line| line.starts_with("  ✓")).count();
    assert!(rows >= 28 && said.contains(&format!("{rows} rows, 0 not shown")), "{said}");
}
