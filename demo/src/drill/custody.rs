//! The losses, one after the other.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cofre_testkit::kms::State;

use super::rounds::Seen;
use super::{Drill, Party};
use crate::crowd::{Asker, Came};
use crate::world::World;
use crate::world::custody::{OWN, SERVICE, SOFT};
use crate::world::token::{CUSTODIAN, ROOT};

/// Rounds in which everybody is served.
const ROUNDS: usize = 5;
/// How often a machine may be too slow to ask twice while a key is warm.
const TRIES: usize = 10;

impl Drill {
    /// Calls that each custodian was asked so far.
    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let status = self.world.operator.status().await?;
        Ok(status.custodians.into_iter().map(|one| (one.name, one.calls_last_hour)).collect())
    }

    /// Everybody is served at once, each by the custodians of its own set.
    pub(super) async fn at_once(&mut self) -> Result<()> {
        let before = self.calls().await?;
        let (mut whole, mut last) = (0, None);
        for number in 0..ROUNDS {
            let round = self.round(number).await?;
            for Party { own, .. } in &self.parties {
                if let Some(Came { end: Ok(entry), .. }) = round.came(own.slug) {
                    whole += 1;
                    last = last.max(Some(*entry));
                }
            }
        }
        let all = ROUNDS * self.parties.len();
        let what = format!("{} tenants, {whole} releases, {} at once", self.parties.len(), self.parties.len());
        self.table.row(3, what, last, whole == all);

        let after = self.calls().await?;
        let of = |calls: &BTreeMap<String, u64>, name: &str| calls.get(name).copied().unwrap_or_default();
        // Of the members of an any_of, the first is asked where it serves.
        for (name, sets) in [(CUSTODIAN, 4), (SOFT, 2), (SERVICE, 2)] {
            let asked = usize::try_from(of(&after, name).saturating_sub(of(&before, name)))?;
            self.table.row(1, format!("{name} was asked for {asked} shares"), None, asked >= sets * ROUNDS);
        }
        // Its one tenant's key may have been warm already.
        let asked = of(&after, OWN);
        self.table.row(1, format!("{OWN} was asked for {asked} shares since the start"), None, asked > 0);
        Ok(())
    }

    /// `hsm-1` leaves its slot and is put back.
    pub(super) async fn a_token_is_lost(&mut self) -> Result<()> {
        let plan = self.world.folder.join("token").join("faults.toml");
        let written = plan.with_extension("new");
        std::fs::write(&written, "removed = true\n")?;
        std::fs::rename(&written, &plan)?;
        let lost = ["token", "both", "token-and-one"];
        let seen = self.until(&lost).await?;
        self.go_on("hsm-1 is gone", &seen, &["either"])?;
        self.go_on("hsm-1 is gone", &seen, &["other-token", "service", "own-key"])?;
        for slug in lost {
            self.stands_still("hsm-1 is gone", &seen, slug, "KEY_SERVICE_UNAVAILABLE").await?;
        }
        std::fs::remove_file(&plan)?;
        let seen = self.until(&[]).await?;
        self.come_back("hsm-1 is back", &seen, &lost)?;
        self.go_on("hsm-1 is back", &seen, &["either", "other-token", "service", "own-key"])
    }

    /// Nothing answers at the address of `kms-1`; later it does again.
    pub(super) async fn a_service_is_lost(&mut self) -> Result<()> {
        self.service.go_away();
        let lost = ["service", "both"];
        let seen = self.until(&lost).await?;
        self.go_on("kms-1 is gone", &seen, &["either", "token-and-one"])?;
        self.go_on("kms-1 is gone", &seen, &["token", "other-token", "own-key"])?;
        for slug in lost {
            self.stands_still("kms-1 is gone", &seen, slug, "KEY_SERVICE_UNAVAILABLE").await?;
        }
        self.service.come_back().await?;
        let seen = self.until(&[]).await?;
        self.come_back("kms-1 is back", &seen, &lost)?;
        self.go_on("kms-1 is back", &seen, &["either", "token-and-one", "token", "other-token", "own-key"])
    }

    /// A tenant disables the key that it holds itself. What is warm serves until its time is over, and nothing after that.
    pub(super) async fn a_key_is_pulled(&mut self) -> Result<()> {
        let warm = self.pulled_while_warm().await?;
        let what = "kms-own is disabled: its tenant is served from a warm key, and kms-own is not asked";
        self.table.row(1, what, warm, warm.is_some());
        let seen = self.until(&["own-key"]).await?;
        self.stands_still("kms-own is disabled, the warm key is over", &seen, "own-key", "KEY_DISABLED").await?;
        let others: Vec<&str> =
            self.parties.iter().map(|party| party.own.slug).filter(|slug| *slug != "own-key").collect();
        self.go_on("kms-own is disabled", &seen, &others)?;
        self.own.set(ROOT, None, State::Enabled)?;
        let seen = self.until(&[]).await?;
        self.come_back("kms-own is enabled", &seen, &["own-key"])?;
        self.go_on("kms-own is enabled", &seen, &others)
    }

    /// Disables the key after a release, and gives the grant of one that came afterwards without any call. On a machine
    /// so slow that the key was over by then, this is done again.
    async fn pulled_while_warm(&self) -> Result<Option<u64>> {
        for _ in 0..TRIES {
            self.own.set(ROOT, None, State::Enabled)?;
            self.until(&[]).await?;
            self.ask("own-key").await?;
            self.own.set(ROOT, None, State::Disabled)?;
            let calls = self.own.requests();
            let came = self.ask("own-key").await?;
            if let (Ok(entry), true) = (came.end, self.own.requests() == calls) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Stops the vault and starts it again while neither service is there. `custody.default` names none of them.
    pub(super) async fn started_without_services(self) -> Result<Self> {
        let Self { world, wishes, service, own, parties, table } = self;
        world.stop()?;
        service.go_away();
        own.go_away();
        let world = World::start(&wishes).await?;
        let mut again = Vec::new();
        for (number, Party { own, tenant, logins, .. }) in parties.into_iter().enumerate() {
            let asker = Asker::connect(&world, number + 1).await?;
            again.push(Party { own, tenant, asker, logins });
        }
        Ok(Self { world, wishes, service, own, parties: again, table })
    }

    pub(super) async fn it_serves_who_can_be_served(&mut self) -> Result<()> {
        let away = ["service", "both", "own-key"];
        let seen = self.until(&away).await?;
        self.go_on(
            "a node started while kms-1 and kms-own are away",
            &seen,
            &["either", "token-and-one", "token", "other-token"],
        )?;
        for slug in away {
            self.stands_still("kms-1 and kms-own are away since the start", &seen, slug, "KEY_SERVICE_UNAVAILABLE")
                .await?;
        }
        self.said_what_does_not_open()?;
        self.service.come_back().await?;
        self.own.come_back().await?;
        let seen: Seen = self.until(&[]).await?;
        self.come_back("kms-1 and kms-own are there", &seen, &away)
    }

    /// Whether the log of the start says how many tenant keys do not open without the two.
    fn said_what_does_not_open(&mut self) -> Result<()> {
        let log = std::fs::read_to_string(&self.world.vault.log).context("the vault's log")?;
        let said = log.lines().any(|line| line.contains("tenant keys do not open") && line.contains("\"keys\":3"));
        self.table.row(12, "its log says that three tenant keys do not open until they are back", None, said);
        Ok(())
    }
}
