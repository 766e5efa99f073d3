//! The project's own commands. A fresh Debian machine with a Rust toolchain and a C compiler needs nothing else:
//! what is missing is installed here, or named with the line to type.
//!
//! `cargo xtask demo` plays the main story, `cargo xtask test` runs every check, `cargo xtask check` the quick ones.

mod check;
mod demo;
mod install;
mod postgres;
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
    /// Install what tests need, then run every check, every test, and those of the stores on PostgreSQL once more.
    Test,
    /// Formatting, lints, documentation, the dependency table, the Never list, licences and floor versions.
    Check,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Demo { postgres, rest } => demo::demo(postgres, &rest),
        Command::Test => test::test(),
        Command::Check => check::check(),
    }
}
