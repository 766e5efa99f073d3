//! `cofre-dev`: a development deployment to play with (`up`), and the story (`demo`). Never shipped; what it makes
//! carries a marker that production refuses.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cofre_demo::needles::Needles;
use cofre_demo::{browser, control, drill, play, seed, story, up, world};
use cofre_testkit::postgres::Cluster;

#[derive(Debug, Parser)]
#[command(name = "cofre-dev", version, about = "A development deployment of Cofre, and its story")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a vault and a test bank that stay until interrupted, and say how to reach them.
    Up {
        /// Where to keep it.
        #[arg(long, default_value = ".cofre/dev")]
        folder: PathBuf,
        /// Keep the stores in a PostgreSQL of its own, below that folder, instead of SQLite files.
        #[arg(long)]
        postgres: bool,
        /// A folder of policies instead of the shipped ones.
        #[arg(long)]
        policies: Option<PathBuf>,
    },
    /// Fill the stores of a deployment that is down with many logins, for trying jobs over keys.
    Seed(seed::Wishes),
    /// Play one part by hand beside a deployment that is up.
    Play {
        /// Where that deployment is kept.
        #[arg(long, default_value = ".cofre/dev", global = true)]
        folder: PathBuf,
        #[command(subcommand)]
        part: play::Part,
    },
    /// Play the main story and end with a table of what was shown. Exit code 1 if a row was not shown.
    Demo {
        /// Keep everything in this folder instead of a temporary one.
        #[arg(long)]
        folder: Option<PathBuf>,
        /// Play it on a throw-away PostgreSQL instead of SQLite files.
        #[arg(long)]
        postgres: bool,
    },
    /// Play what operators are promised when something is lost, on a deployment of its own. Exit code 1 if a row was not
    /// shown.
    Drill {
        #[command(subcommand)]
        what: Loss,
        /// Keep everything in this folder, which is not there yet, instead of a temporary one.
        #[arg(long, global = true)]
        folder: Option<PathBuf>,
        /// Play it on a throw-away PostgreSQL instead of SQLite files.
        #[arg(long, global = true)]
        postgres: bool,
    },
    /// Stands for an investor's browser: reads a page and values from standard input, prints the sealed login.
    #[command(hide = true)]
    Browser,
    /// Touches the token, in a process of its own.
    #[command(hide = true)]
    Token {
        /// The PKCS#11 module.
        #[arg(long)]
        module: PathBuf,
    },
    /// Holds a line of standard input in memory until standard input ends.
    #[command(hide = true)]
    Hold,
    /// Looks for a line of standard input in the memory of a process.
    #[command(hide = true)]
    Scan {
        /// The process.
        #[arg(long)]
        pid: u32,
    },
    /// Tries to open copied stores with a token, in a process of its own.
    #[command(hide = true)]
    Control {
        /// The folder of the copied stores.
        #[arg(long)]
        stores: PathBuf,
        /// The PKCS#11 module.
        #[arg(long)]
        module: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Loss {
    /// Custodians: a token leaves its slot, a service goes away, a tenant disables the key it holds.
    Custody,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cofre-dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Up { folder, postgres, policies } => {
            runtime.block_on(up::up(&folder, postgres, policies.as_deref()))?;
        }
        Command::Seed(wishes) => runtime.block_on(seed::run(&wishes))?,
        Command::Play { folder, part } => runtime.block_on(play::play(&folder, part))?,
        Command::Demo { folder, postgres } => {
            let cluster = postgres.then(Cluster::here).transpose()?;
            return runtime.block_on(story::demo(folder, cluster));
        }
        Command::Drill { what: Loss::Custody, folder, postgres } => {
            let cluster = postgres.then(Cluster::here).transpose()?;
            return runtime.block_on(drill::custody(folder, cluster));
        }
        Command::Hold => hold()?,
        Command::Scan { pid } => scan(pid)?,
        Command::Browser => browser::seal_standard_input()?,
        Command::Token { module } => runtime.block_on(world::token::child(&module))?,
        Command::Control { stores, module } => runtime.block_on(control::child(&stores, &module))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn hold() -> Result<()> {
    let mut held = String::new();
    std::io::stdin().read_line(&mut held)?;
    println!("holding {} bytes", held.len());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    drop(held);
    Ok(())
}

fn scan(pid: u32) -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let mut needles = Needles::default();
    needles.add(line.trim_end().as_bytes())?;
    let seen = needles.in_memory(pid)?;
    println!("{} bytes, {} found", seen.bytes, seen.found);
    Ok(())
}
