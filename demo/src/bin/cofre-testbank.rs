//! `cofre-testbank`: the six fixture institutions as a server of their own, until interrupted.
//! For development and demonstrations; it knows no real customer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;
use cofre_demo::testbank::{BankClock, Certificate, Config, TestBank};

/// TestBank: six fictional institutions over HTTPS.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:7480")]
    listen: SocketAddr,
    /// PEM chain of the server; made afresh when absent.
    #[arg(long, requires_all = ["key", "ca"])]
    cert: Option<PathBuf>,
    /// PEM private key of the server.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// PEM certificate of the authority that issued the server's.
    #[arg(long, requires = "cert")]
    ca: Option<PathBuf>,
    /// Where to write the authority's certificate for clients.
    #[arg(long)]
    ca_out: Option<PathBuf>,
    /// Bearer token of the `/_admin/` pages, at least 16 bytes. Better given in the environment than on the command line.
    #[arg(long, env = "COFRE_TESTBANK_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let certificate = match (options.cert, options.key, options.ca) {
        (Some(chain), Some(key), Some(ca)) => Certificate::Files { chain, key, ca },
        _ => Certificate::Generated,
    };
    let bank = TestBank::start(Config {
        listen: options.listen,
        certificate,
        admin_token: options.admin_token,
        clock: system_clock(),
        institutions: cofre_testkit::institutions::all()?,
    })
    .await?;
    if let Some(path) = options.ca_out {
        std::fs::write(&path, &bank.ca_pem).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("testbank listens on https://{}", bank.addr);
    tokio::signal::ctrl_c().await.context("waiting for an interrupt")?;
    bank.stop().await;
    Ok(())
}

fn system_clock() -> BankClock {
    Arc::new(|| {
        #[expect(clippy::disallowed_methods, reason = "a server of its own has nobody to take a clock from")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    })
}
