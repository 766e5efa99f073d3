//! The story itself: it ends well, and a row that is not shown would fail it.

use std::process::Command;

use cofre_demo::world::token::dev_binary;
use cofre_testkit::stores::Engine;

#[test]
fn the_story_shows_every_row() {
    let mut demo = Command::new(dev_binary().expect("cofre-dev is built"));
    demo.arg("demo");
    if Engine::of_this_run().expect("an engine") == Engine::Postgres {
        demo.arg("--postgres");
    }
    let done = demo.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let rows = said.lines().filter(|line| line.starts_with("  ✓")).count();
    assert!(rows >= 35 && said.contains(&format!("{rows} rows, 0 not shown")), "{said}");
}
