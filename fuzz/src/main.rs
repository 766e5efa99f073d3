//! The engine's way in. One program holds all targets, so that linking happens once: `COFRE_FUZZ_TARGET` names the one
//! to attack. With `COFRE_FUZZ_SEEDS=<folder>` it writes the seeds of every target there instead, and ends.
//!
//! Arguments are libFuzzer's own. `cargo xtask fuzz` builds and drives this.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use cofre_fuzz::{TARGETS, Target, target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.run)(data);
    }
});

fn choose() {
    if let Some(folder) = std::env::var_os("COFRE_FUZZ_SEEDS") {
        let written = write_seeds(Path::new(&folder));
        end(written.map_err(|problem| format!("seeds: {problem}")).err());
    }
    let name = std::env::var("COFRE_FUZZ_TARGET").unwrap_or_default();
    let Some(found) = target(&name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return end(Some(format!("COFRE_FUZZ_TARGET must be one of {}", names.join(", "))));
    };
    CHOSEN.get_or_init(|| found);
}

fn end(problem: Option<String>) {
    if let Some(problem) = &problem {
        eprintln!("{problem}");
    }
    std::process::exit(i32::from(problem.is_some()));
}

/// Each seed under `<folder>/<target>/<name>`.
fn write_seeds(folder: &Path) -> std::io::Result<()> {
    for target in TARGETS {
        let home = folder.join(target.name);
        std::fs::create_dir_all(&home)?;
        for (name, bytes) in (target.seeds)() {
            std::fs::write(home.join(name), bytes)?;
        }
    }
    Ok(())
}
