//! `cofre-worker`: one sandboxed visit to one bank for one job, told in JSON lines on standard output.
//!
//! Ends with 0 when there is a result, 1 for a failure, 3 when the vault refused, 4 when the sandbox is not whole.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use cofre_client::{Error, Worker};
use cofre_demo::worker::bank::BankClient;
use cofre_demo::worker::events::Event;
use cofre_demo::worker::sandbox;
use cofre_demo::worker::self_test::{Attempt, attempt_all};
use cofre_demo::worker::ticket::{Loaded, Ticket};
use cofre_demo::worker::visit::Visit;
use cofre_server::clock::SystemClock;

const FAILED: u8 = 1;
const REFUSED: u8 = 3;
const NO_SANDBOX: u8 = 4;

/// One sandboxed visit to one bank for one job.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The job ticket, JSON; `-` reads standard input.
    #[arg(long, default_value = "-")]
    ticket: PathBuf,
    /// Go on where the kernel cannot enforce the whole sandbox.
    #[arg(long)]
    allow_partial_sandbox: bool,
    /// Try from inside the sandbox what must not work, and say how it went: the allowed address and another one.
    #[arg(long, num_args = 2, value_names = ["ALLOWED", "OTHER"], hide = true)]
    self_test: Option<Vec<SocketAddr>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match options.self_test.as_deref() {
        Some([allowed, other]) => self_test(*allowed, *other),
        Some(_) | None => visit(&options),
    };
    ended.unwrap_or_else(|error| {
        say(&Event::Failed { why: format!("{error:#}") });
        ExitCode::from(FAILED)
    })
}

fn say(event: &Event) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to leave a session open: the visit goes on to its end.
    let _ = writeln!(out, "{}", event.line()).and_then(|()| out.flush());
}

/// Closes the sandbox and says what is enforced; false where it is not whole and has to be.
fn close(ports: &[u16], allow_partial: bool) -> anyhow::Result<bool> {
    let enforced = sandbox::enforce(ports)?;
    let enough = enforced.full || allow_partial;
    say(&Event::Sandbox(enforced));
    if !enough {
        let why = "this kernel does not enforce the whole sandbox; use one with Landlock ABI 6, or accept it with \
                   --allow-partial-sandbox";
        say(&Event::Failed { why: why.to_owned() });
    }
    Ok(enough)
}

fn visit(options: &Options) -> anyhow::Result<ExitCode> {
    let loaded = ticket(&options.ticket)?.load()?;
    // SECURITY: one thread. The sandbox holds the thread that closes it, and no other can start afterwards.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(loaded, options.allow_partial_sandbox))
}

fn ticket(path: &PathBuf) -> anyhow::Result<Ticket> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("reading the ticket from standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    }
    serde_json::from_str(&text).context("ticket")
}

async fn run(loaded: Loaded, allow_partial: bool) -> anyhow::Result<ExitCode> {
    let Loaded { deployment, identity, bank, institution, errand, hold_until_told, ports } = loaded;
    let worker = Worker::connect(&deployment, identity, Arc::new(SystemClock::new())).await?;
    let mut bank = BankClient::new(&bank, &institution)?;
    if !close(&ports, allow_partial)? {
        return Ok(ExitCode::from(NO_SANDBOX));
    }
    let visit = Visit { worker: &worker, bank: &mut bank, hold_until_told, say };
    match visit.run(errand).await {
        Ok(ended) => {
            say(&Event::Result(ended));
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Refused(refused)) => {
            say(&Event::Refused { public_reason: refused.public_reason().to_owned(), entry: refused.entry });
            Ok(ExitCode::from(REFUSED))
        }
        Err(error) => Err(error.into()),
    }
}

fn self_test(allowed: SocketAddr, other: SocketAddr) -> anyhow::Result<ExitCode> {
    if !close(&[allowed.port()], false)? {
        return Ok(ExitCode::from(NO_SANDBOX));
    }
    let attempts = attempt_all(allowed, other);
    let held = attempts.iter().all(Attempt::as_it_should);
    say(&Event::SelfTest { attempts });
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
