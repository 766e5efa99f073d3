//! The project's own commands. A fresh Debian machine with a Rust toolchain and a C compiler needs nothing else:
//! what is missing is installed here, or named with the line to type.
//!
//! `cargo xtask demo` plays the main story, `cargo xtask test` runs every check, `cargo xtask check` the quick ones,
//! `cargo xtask night` the long ones.

mod check;
mod demo;
mod docs;
mod fuzz;
mod install;
mod night;
mod peers;
mod postgres;
mod programs;
mod run;
mod test;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Cofre's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything and play the main story on SQLite, hsm-sim, a dev CA and TestBank.
    Demo {
        /// Play it on a throw-away PostgreSQL instead of SQLite, installed where it is missing.
        #[arg(long)]
        postgres: bool,
        /// Handed on to `cofre-dev demo`.
        #[arg(last = true)]
        rest: Vec<String>,
    },
    /// Install and build what single tests need that are run without `test`.
    Install,
    /// Install what tests need, then run every check, every test, and those of the stores on PostgreSQL once more.
    Test,
    /// Write the reference chapters of the book from the code.
    Docs,
    /// Formatting, lints, documentation, the dependency table, the Never list, licences and floor versions.
    Check,
    /// Build the fuzz targets, replay what is kept, and search on.
    Fuzz {
        /// Seconds of search, in total over all targets.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Add inputs that reach something new to the committed corpora.
        #[arg(long)]
        keep: bool,
        /// One target; all where there is none.
        target: Option<String>,
    },
    /// The long versions: an hour of fuzzing in total, and tests that go further.
    Night {
        /// Seconds of fuzzing, in total over all targets.
        #[arg(long, default_value_t = 3_600)]
        fuzz_seconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Demo { postgres, rest } => demo::demo(postgres, &rest),
        Command::Install => install::install().and_then(|()| peers::build()),
        Command::Test => test::test(),
        Command::Docs => docs::docs(),
        Command::Check => check::check(),
        Command::Fuzz { seconds, keep, target } => {
            install::install()?;
            fuzz::fuzz(&fuzz::Plan { seconds, keep, target })
        }
        Command::Night { fuzz_seconds } => night::night(fuzz_seconds),
    }
}
