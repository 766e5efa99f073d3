//! `cofre-dev seed`: fills the stores of a development deployment that is down with many logins, for jobs over keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use cofre_custody::pkcs11::Token;
use cofre_envelope::{Backing, Slab};
use cofre_model::id::Slug;
use cofre_model::time::Clock as _;
use cofre_server::clock::SystemClock;
use cofre_testkit::postgres::{CLUSTER, Cluster, Wanted};
use cofre_testkit::seed::{Order, seed};
use cofre_testkit::stores::Store;

use crate::world::token::{SIM_FOLDER, dev_binary, hsm_sim, settings, user_pin};
use crate::world::{REGION, stores};

/// How much to make, and where.
#[derive(Debug, Args)]
pub struct Wishes {
    /// Where the deployment is kept. It has to be down, and to have been up once.
    #[arg(long, default_value = ".cofre/dev")]
    folder: PathBuf,
    /// Logins, shared out evenly over the tenants.
    #[arg(long)]
    credentials: u64,
    /// Tenants, each with a key of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    tenants: u16,
}

/// Makes them, in a process of its own: the token's module reads its environment when it is loaded.
///
/// # Errors
/// Where the deployment is up or was never made, or the stores hold seeded tenants already.
pub async fn run(wishes: &Wishes) -> Result<()> {
    let folder = std::path::absolute(&wishes.folder)?;
    let token = folder.join("token");
    if std::env::var_os(SIM_FOLDER).as_deref() == Some(token.as_os_str()) {
        return fill(&folder, wishes).await;
    }
    let status = Command::new(dev_binary()?)
        .args(["seed", "--credentials", &wishes.credentials.to_string()])
        .args(["--tenants", &wishes.tenants.to_string()])
        .arg("--folder")
        .arg(&folder)
        .env(SIM_FOLDER, &token)
        .stdin(Stdio::null())
        .status()
        .context("cofre-dev seed")?;
    if status.success() { Ok(()) } else { bail!("nothing more was seeded") }
}

async fn fill(folder: &Path, wishes: &Wishes) -> Result<()> {
    let places = stores::folder(folder);
    let kept_in = folder.join("postgres");
    let cluster = if kept_in.exists() {
        Some(Cluster::start(&Wanted { kept_in: Some(kept_in), ..Wanted::default() })?)
    } else if Store::Records.file(&places).exists() || std::env::var_os(CLUSTER).is_none() {
        None
    } else {
        Some(Cluster::here()?)
    };
    let held = if cluster.is_none() { Some(hold(&places)?) } else { None };
    let slab = Slab::new(Backing::Mlock)?;
    let token = Token::open(settings(&hsm_sim()?)?, user_pin(), &slab).await?;
    let clock = SystemClock::new();
    let order = Order {
        tenants: wishes.tenants,
        credentials: wishes.credentials,
        region: Slug::try_from(REGION)?,
        at: clock.now(),
    };
    let begun = clock.monotonic();
    let seeded = seed(&places, cluster.as_ref(), &*token, &slab, &order).await?;
    let micros = clock.monotonic().micros().saturating_sub(begun.micros()).max(1);
    token.close().await?;
    drop(held);
    let logins: u64 = seeded.iter().map(|tenant| tenant.logins).sum();
    println!(
        "seeded {logins} logins of {} tenants at {} a second; the ledger knows nothing of them, so none is released",
        seeded.len(),
        logins.saturating_mul(1_000_000) / micros
    );
    Ok(())
}

/// Holds the records as a vault does, so that none is at work meanwhile.
fn hold(stores: &Path) -> Result<std::fs::File> {
    let mut name = Store::Records.file(stores).into_os_string();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = std::fs::File::options().write(true).open(&path);
    let file = file.with_context(|| format!("{}: bring the deployment up once", path.display()))?;
    file.try_lock().with_context(|| format!("{}: the deployment is up; stop it first", path.display()))?;
    Ok(file)
}
