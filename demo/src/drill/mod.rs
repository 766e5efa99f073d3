//! Drills: what an operator is promised when a custodian is lost, played on a vault of the drill's own and shown row by row.
//! A row that was not shown makes the drill fail. Never played on a deployment that serves anybody.

mod custody;
mod rounds;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use cofre_model::time::Span;
use cofre_testkit::kms::{Kind, Kms};
use cofre_testkit::postgres::Cluster;

use crate::crowd::{self, Asker, Deposited};
use crate::ledger;
use crate::table::{Table, chapter};
use crate::world::custody::Custody;
use crate::world::seed::Tenant;
use crate::world::tenants::Own;
use crate::world::token::ROOT;
use crate::world::{Wishes, World};

/// Whoever has to ask a custodian for every single release.
const NEVER_WARM: Span = Span::secs(0);
/// The tenants, by who holds their keys. All but the last are never warm, so that what the loss of a custodian does shows
/// in the next release.
const TENANTS: [Own; 7] = [
    Own { slug: "token", set: "any_of(hsm-1)", warm_for: NEVER_WARM },
    Own { slug: "other-token", set: "any_of(soft-1)", warm_for: NEVER_WARM },
    Own { slug: "service", set: "any_of(kms-1)", warm_for: NEVER_WARM },
    Own { slug: "either", set: "any_of(hsm-1,kms-1)", warm_for: NEVER_WARM },
    Own { slug: "both", set: "all_of(hsm-1,kms-1)", warm_for: NEVER_WARM },
    Own { slug: "token-and-one", set: "all_of(hsm-1,any_of(soft-1,kms-1))", warm_for: NEVER_WARM },
    Own { slug: "own-key", set: "any_of(kms-own)", warm_for: Span::secs(5) },
];
/// Logins of each.
const LOGINS: u64 = 2;

/// A tenant of the drill with its logins, and the worker that asks for them.
struct Party {
    own: Own,
    tenant: Tenant,
    asker: Asker,
    logins: Vec<Deposited>,
}

/// What the chapters share.
struct Drill {
    world: World,
    wishes: Wishes,
    /// The service that holds the key of `kms-1`.
    service: Kms,
    /// The service that a tenant runs itself.
    own: Kms,
    parties: Vec<Party>,
    table: Table,
}

/// Plays the loss of custodians.
///
/// # Errors
/// What kept a chapter from being played at all; a check that did not hold is a row of the table instead.
pub async fn custody(folder: Option<PathBuf>, cluster: Option<Cluster>) -> Result<ExitCode> {
    let temporary = tempfile::tempdir()?;
    let folder = folder.unwrap_or_else(|| temporary.path().join("cofre"));
    if folder.exists() {
        bail!("{}: is there already; a drill makes its folder", folder.display());
    }
    println!("Starting a vault with two tokens of different makes and two services …");
    let mut drill = Drill::start(&folder, cluster).await?;

    chapter("1. Custodians of different makes, each tenant with its own");
    drill.at_once().await?;
    chapter("2. A token is lost");
    drill.a_token_is_lost().await?;
    chapter("3. A service is lost");
    drill.a_service_is_lost().await?;
    chapter("4. A tenant pulls its key");
    drill.a_key_is_pulled().await?;
    chapter("5. A node starts without its services");
    let mut drill = drill.started_without_services().await?;
    drill.it_serves_who_can_be_served().await?;
    chapter("6. The register");
    drill.register(&temporary.path().join("ledger.jsonl")).await?;

    let Drill { world, table, .. } = drill;
    world.stop()?;
    println!();
    Ok(if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Drill {
    /// The vault, its custodians, and tenants with logins under a consent.
    async fn start(folder: &std::path::Path, cluster: Option<Cluster>) -> Result<Self> {
        let (service, own) = (Kms::start().await?, Kms::start().await?);
        for kms in [&service, &own] {
            kms.make(ROOT, Kind::Aes)?;
        }
        let custody = Custody::Mixed { service: service.endpoint(), own: own.endpoint() };
        let wishes = Wishes { cluster, custody, workers: TENANTS.len(), ..Wishes::usual(folder)? };
        let world = World::start(&wishes).await?;
        let tenants = world.register(&TENANTS, wishes.workers).await?;
        let mut parties = Vec::new();
        for (number, (own, tenant)) in TENANTS.into_iter().zip(tenants).enumerate() {
            let logins = crowd::deposit(&tenant, 0..LOGINS).await?;
            crowd::consent(&tenant, world.clock.now(), &logins).await?;
            let asker = Asker::connect(&world, number + 1).await?;
            parties.push(Party { own, tenant, asker, logins });
        }
        Ok(Self { world, wishes, service, own, parties, table: Table::default() })
    }

    async fn register(&mut self, export: &std::path::Path) -> Result<()> {
        let size = ledger::newest_checkpoint(&self.world).await?;
        let bytes = ledger::export(&self.world, export).await?;
        let verified = ledger::verifies(&self.world, export)?;
        let what = format!("all of it is in the ledger: {size} entries, {bytes} bytes, verified offline");
        self.table.row(8, what, size.checked_sub(1), verified && size > 0);
        Ok(())
    }
}
