//! `cofred`, the vault process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cofre_custody::CustodianId;
use cofre_server::ceremony::{self, Done, Order};
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
    /// Make the custodians' keys that are missing, without a record: for development, and for custodians without a
    /// `ceremony`. Nothing is overwritten or deleted.
    Init(Configured),
    /// Make a custodian's keys in a ceremony, and record it.
    Keys(Keys),
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
struct Keys {
    #[command(subcommand)]
    what: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Write the plan of a custodian's keys, which people approve by `cofre keys approve`. Asks no token.
    Plan(PlanKeys),
    /// Make the keys that were planned and write the signed record. Refuses labels that are taken; nothing is overwritten
    /// or deleted.
    ///
    /// Approvals are checked first, then the token is asked whether it has room and what it can do, with keys that live in
    /// a session only. What is made is read back, and a record is signed only where every attribute is as asked. Of a
    /// service the keys are looked at and tried; its administrator makes them.
    ///
    /// Exit code 0 where the record is finished, 75 where people have still to sign it. Where something fails once the token
    /// was told to make a key, the file says what may be on the token, and no node takes it for a record.
    Init(InitKeys),
}

#[derive(Debug, clap::Args)]
struct PlanKeys {
    #[command(flatten)]
    configured: Configured,
    /// The custodian, as it stands under [custodians].
    #[arg(long, value_parser = custodian)]
    custodian: CustodianId,
}

#[derive(Debug, clap::Args)]
struct InitKeys {
    #[command(flatten)]
    configured: Configured,
    /// The custodian, as it stands under [custodians].
    #[arg(long, value_parser = custodian)]
    custodian: CustodianId,
    /// The plan that was approved. Needed where the custodian's `ceremony` asks for people.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// An approval of it; give one for each person.
    #[arg(long = "approval", value_name = "FILE")]
    approvals: Vec<PathBuf>,
    /// Where the record is written; a file that exists is not overwritten.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Check everything, and make nothing.
    #[arg(long, conflicts_with = "out")]
    dry_run: bool,
}

fn custodian(text: &str) -> Result<CustodianId, String> {
    CustodianId::try_from(text).map_err(|why| why.to_string())
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
        Command::Keys(Keys { what: KeysCommand::Plan(PlanKeys { configured: path, .. }) })
        | Command::Keys(Keys { what: KeysCommand::Init(InitKeys { configured: path, .. }) }) => path,
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
        Command::Keys(Keys { what: KeysCommand::Plan(what) }) => plan(&config, &what.custodian),
        Command::Keys(Keys { what: KeysCommand::Init(what) }) => match make_keys(&config, what) {
            Ok(true) => return ExitCode::from(exits::UNFINISHED),
            made => made.map(drop),
        },
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

fn plan(config: &Config, custodian: &CustodianId) -> Result<()> {
    print!("{}", ceremony::plan(config, custodian)?.to_text());
    Ok(())
}

/// Makes keys, and answers whether people have still to sign the record.
fn make_keys(config: &Config, what: InitKeys) -> Result<bool> {
    node::protect(config)?;
    let order = Order { custodian: what.custodian, plan: what.plan, approvals: what.approvals, record: what.out };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(ceremony::init(config, &order))? {
        Done::Rehearsed(words) => {
            println!("{words}\nNothing was made.");
            Ok(false)
        }
        Done::Recorded(record) => {
            print!("{record}");
            // The record itself goes to standard output, byte for byte.
            eprintln!("{}", ceremony::next_step(&record));
            Ok(ceremony::is_unfinished(&record))
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
