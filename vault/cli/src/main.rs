//! The binary `cofre`: every operation of every personal role over gRPC, and offline verification.
//!
//! It shows no secret and takes none: deposits and releases are for the client library, where sealed values go from
//! process to process and never over a terminal. What it prints of the register is read from bytes whose hash was
//! checked here, not from the vault's own rendering of them.

mod answer;
mod clock;
mod commands;
mod connection;
mod entry_text;
mod failure;
mod input;
mod proof_file;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::failure::Failure;

const AFTER_HELP: &str = "\
Exit codes:
  0  done, or it verifies
  1  failed, or it does not verify
  2  the arguments, the profile or an input file have to be mended
  3  the vault refused; the reason, the way out and the ledger entry are printed

No command shows or takes a secret. Deposits and releases are for the client library
(crate `cofre-client`), not for this tool.";

/// Cofre: a vault for bank logins. Operations of its personal roles, and offline verification.
#[derive(Debug, Parser)]
#[command(name = "cofre", version, after_help = AFTER_HELP, arg_required_else_help = true, max_term_width = 110)]
struct Arguments {
    /// Print one JSON object instead of text; problems too, on standard error.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    let done = arguments.command.run().and_then(|answer| {
        answer.write(json, &mut std::io::stdout().lock()).map_err(Failure::output)?;
        Ok(answer.exit())
    });
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            // Nobody is left to tell if standard error is gone too; the exit code still says it.
            let _ = writeln!(std::io::stderr().lock(), "{}", failure.render(json));
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests;
