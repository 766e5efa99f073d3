//! `cofred`, the vault process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cofre_server::clock::SystemClock;
use cofre_server::config::Config;
use cofre_server::migrate::Owners;
use cofre_server::telemetry::Telemetry;
use cofre_server::{exits, migrate, node};

#[derive(Debug, Parser)]
#[command(name = "cofred", version, about = "The Cofre vault")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (SIGTERM or SIGINT).
    Run(Configured),
    /// Read and check the configuration and print what would run.
    Check(Check),
    /// Make the custodians' keys that are missing. Nothing is overwritten or deleted.
    Init(Configured),
    /// Bring the configured PostgreSQL databases to this release and give the configured roles their rights. Connects
    /// as the databases' owner; stop every cofred of an older release before.
    Migrate(Migrate),
    /// Hold the module of one custodian. Started by cofred itself.
    #[command(hide = true)]
    CustodyHost {
        /// The custodian's name, for whoever lists processes.
        custodian: String,
    },
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    configured: Configured,
    /// Open each custodian as well, tokens with one login, and print what it is, which mechanism its key goes with and
    /// why, and what holds a module in.
    #[arg(long)]
    custodians: bool,
}

#[derive(Debug, clap::Args)]
struct Migrate {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    owners: Owners,
}

#[derive(Debug, clap::Args)]
struct Configured {
    /// The configuration file.
    #[arg(long, env = "COFRE_CONFIG")]
    config: PathBuf,
}

fn main() -> ExitCode {
    // Only where: a message may quote what was at hand, and this is a log that others read.
    std::panic::set_hook(Box::new(|panicked| match panicked.location() {
        Some(at) => eprintln!("cofred: a fault of this program at {}:{}", at.file(), at.line()),
        None => eprintln!("cofred: a fault of this program"),
    }));
    let arguments = Arguments::parse();
    let path = match &arguments.command {
        // Before anything else: it has no configuration, and nothing of the vault's.
        Command::CustodyHost { .. } => return cofre_custody::pkcs11::host::serve(),
        Command::Run(path) | Command::Init(path) | Command::Check(Check { configured: path, .. }) => path,
        Command::Migrate(Migrate { configured: path, .. }) => path,
    };
    let config = match Config::load(&path.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("cofred: {error}");
            return ExitCode::from(exits::CONFIGURATION);
        }
    };
    let done = match arguments.command {
        Command::Check(check) => {
            println!("{config:#?}");
            if check.custodians { look(&config) } else { Ok(()) }
        }
        Command::Init(_) => node::protect(&config).and_then(|_| node::init(&config)),
        Command::Migrate(what) => node::protect(&config).and_then(|_| migrate::migrate(&config, &what.owners)),
        Command::Run(_) | Command::CustodyHost { .. } => run(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofred: {error:#}");
            ExitCode::from(exits::of(&error))
        }
    }
}

fn look(config: &Config) -> Result<()> {
    node::protect(config)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(node::look(config))
}

fn run(config: Config) -> Result<()> {
    // Before the first thread, so that every thread inherits it.
    let borne = node::protect(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let started = {
        let _within = runtime.enter();
        Telemetry::start(&config, &node::name(&config)?, Arc::new(SystemClock::new()))
    };
    let telemetry = Arc::new(started?);
    if let Some(refused) = borne {
        tracing::warn!(refused, "process protection is partial; production would refuse to start");
    }
    let done = runtime.block_on(node::run(config, Arc::clone(&telemetry)));
    // The runtime still turns: it carries the last deliveries.
    telemetry.finish();
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}
