//! Rounds: in each, every tenant's worker asks for a login, all at once. Whoever is to go on has to come in every round,
//! also in those that see a custodian go or come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use cofre_client::Refused;
use cofre_model::time::Span;
use futures_util::future::join_all;

use super::{Drill, Party};
use crate::crowd::Came;
use crate::ledger;

/// A change that does not show by then never will. Long: nothing here is about speed.
const NEVER: Span = Span::secs(60);
/// Rounds that a state has to last once it is there.
const LASTS: usize = 3;
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of one round, by tenant.
pub(super) struct Round(BTreeMap<&'static str, Came>);

impl Round {
    pub(super) fn came(&self, slug: &str) -> Option<&Came> {
        self.0.get(slug)
    }

    fn refused(&self) -> BTreeSet<&'static str> {
        self.0.iter().filter(|(_, came)| came.end.is_err()).map(|(slug, _)| *slug).collect()
    }
}

/// The rounds since something changed.
pub(super) struct Seen {
    rounds: Vec<Round>,
    /// How many of them, the last ones, saw what was waited for; none where it never came.
    lasted: usize,
}

impl Seen {
    /// The entry of a tenant's last grant, where it came in every round.
    pub(super) fn went_on(&self, slug: &str) -> Option<u64> {
        let granted = |round: &Round| round.came(slug).and_then(|came| came.end.as_ref().ok().copied());
        let all: Option<Vec<u64>> = self.rounds.iter().map(granted).collect();
        all?.pop().filter(|_| self.lasted > 0)
    }

    /// A tenant's last grant, where it came in the rounds that lasted.
    pub(super) fn came(&self, slug: &str) -> Option<u64> {
        let mut entry = None;
        for round in self.rounds.iter().rev().take(self.lasted) {
            let granted = round.came(slug).and_then(|came| came.end.as_ref().ok().copied())?;
            entry.get_or_insert(granted);
        }
        entry
    }

    /// A tenant's last refusal, where nothing of it came in the rounds that lasted.
    pub(super) fn stood_still(&self, slug: &str) -> Option<&Refused> {
        let mut all = Vec::new();
        for round in self.rounds.iter().rev().take(self.lasted) {
            all.push(round.came(slug).and_then(|came| came.end.as_ref().err())?.as_ref());
        }
        all.first().copied()
    }
}

impl Drill {
    fn party(&self, slug: &str) -> Result<&Party> {
        self.parties.iter().find(|party| party.own.slug == slug).with_context(|| format!("no tenant {slug}"))
    }

    /// One release of one tenant's.
    pub(super) async fn ask(&self, slug: &str) -> Result<Came> {
        let Party { tenant, asker, logins, .. } = self.party(slug)?;
        asker.ask(&self.world, tenant, logins.first().context("logins")?).await
    }

    /// One release of every tenant's, all at once.
    pub(super) async fn round(&self, number: usize) -> Result<Round> {
        let all = self.parties.iter().map(async |Party { own, tenant, asker, logins }| {
            let login = logins.get(number % logins.len().max(1)).context("logins")?;
            anyhow::Ok((own.slug, asker.ask(&self.world, tenant, login).await?))
        });
        join_all(all).await.into_iter().collect::<Result<_>>().map(Round)
    }

    /// Asks everybody in rounds until those that are refused are exactly these, and in some more.
    pub(super) async fn until(&self, refused: &[&str]) -> Result<Seen> {
        let wanted: BTreeSet<&str> = refused.iter().copied().collect();
        let give_up = self.world.clock.now().plus(NEVER);
        let mut seen = Seen { rounds: Vec::new(), lasted: 0 };
        while seen.lasted <= LASTS {
            let round = self.round(seen.rounds.len()).await?;
            let is = round.refused() == wanted;
            if seen.lasted > 0 && !is || give_up < self.world.clock.now() {
                println!("    refused: {:?}, expected: {wanted:?}", round.refused());
                seen.lasted = 0;
                break;
            }
            seen.lasted += usize::from(is);
            seen.rounds.push(round);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(seen)
    }

    /// A row: a tenant is refused, its worker is told only that, and the register says exactly why.
    pub(super) async fn stands_still(&mut self, what: &str, seen: &Seen, slug: &str, exact: &str) -> Result<()> {
        let refused = seen.stood_still(slug);
        let entry = refused.and_then(|refused| refused.entry);
        let register = match entry {
            Some(index) => ledger::exact_reason(&self.world, index).await?,
            None => String::new(),
        };
        let shown = register == exact && refused.is_some_and(|refused| !refused.message.contains(exact));
        if !shown {
            println!("    expected {exact}, register {register:?}, worker {refused:?}");
        }
        let set = self.party(slug)?.own.set;
        self.table.row(12, format!("{what}: {set} opens nothing, {exact}"), entry, shown);
        Ok(())
    }

    /// A row: tenants come in every round since something changed.
    pub(super) fn go_on(&mut self, what: &str, seen: &Seen, slugs: &[&str]) -> Result<()> {
        let grants: Vec<_> = slugs.iter().map(|slug| seen.went_on(slug)).collect();
        let sets: Vec<_> = slugs.iter().map(|slug| Ok(self.party(slug)?.own.set)).collect::<Result<_>>()?;
        let (entry, shown) = (grants.iter().flatten().max().copied(), grants.iter().all(Option::is_some));
        self.table.row(12, format!("{what}: {} went on all the time", sets.join(", ")), entry, shown);
        Ok(())
    }

    /// A row: tenants that were refused come again.
    pub(super) fn come_back(&mut self, what: &str, seen: &Seen, slugs: &[&str]) -> Result<()> {
        let grants: Vec<_> = slugs.iter().map(|slug| seen.came(slug)).collect();
        let sets: Vec<_> = slugs.iter().map(|slug| Ok(self.party(slug)?.own.set)).collect::<Result<_>>()?;
        let (entry, shown) = (grants.iter().flatten().max().copied(), grants.iter().all(Option::is_some));
        self.table.row(12, format!("{what}: {} came again without a restart", sets.join(", ")), entry, shown);
        Ok(())
    }
}
