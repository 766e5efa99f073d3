//! Chapter 4, first half: a consent revoked under a live lease, a person erased, the token taken away and back.

use anyhow::{Context, Result};
use cofre_model::id::CredentialId;
use cofre_model::request::{Person, SubjectRef};
use cofre_model::time::Span;
use cofre_model::wording::Outcome;
use cofre_testkit::stores::Store;
use serde_json::Value;

use super::Story;
use super::bank::{event, start_worker};
use crate::control;
use crate::world::seed::Wanted;
use crate::world::stores;

/// Whose consent is revoked while a worker holds the login; banc-valles asks no second factor.
const REVOKES: usize = 2;
/// Who asks to be erased.
const LEAVES: usize = 8;
/// Whose login is asked for while the token is away.
const WAITS: usize = 14;

impl Story {
    pub(super) async fn ends(&mut self) -> Result<()> {
        self.revocation().await?;
        self.erasure().await?;
        self.token_away().await
    }

    async fn revocation(&mut self) -> Result<()> {
        let consent = self.investors.get(REVOKES).and_then(|each| each.consent).context("consent")?;
        let mut worker = start_worker(&self.ticket(REVOKES, "w03", true)?).await?;
        let mut events = Vec::new();
        while let Some(said) = worker.event().await? {
            let holding = said.get("event").and_then(Value::as_str) == Some("holding");
            events.push(said);
            if holding {
                break;
            }
        }
        let held = event(&events, "holding").is_some();
        let revoked = self.world.north.front_end()?.revoke(&consent).await?;
        events.extend(worker.finish().await?);
        let stopped = event(&events, "result").and_then(|result| result.get("stopped_by")?.as_str().map(str::to_owned));
        let told = held && stopped.as_deref() == Some("REVOKED");
        if !told {
            println!("    {events:?}");
        }
        self.table.row(
            9,
            "consent revoked while a worker held the login: the worker was told and logged out",
            Some(revoked.entry.index),
            told,
        );
        let state = revoked.receipt.as_ref().and_then(|receipt| receipt.text("state").map(str::to_owned));
        self.table.row(
            3,
            "the revocation has its own signed receipt",
            Some(revoked.entry.index),
            state.as_deref() == Some("REVOKED"),
        );
        let investor = self.investors.get(REVOKES).context("investors")?;
        let errand = self.errand(&self.world.north, investor, &Wanted::by("w04"))?;
        let error = self.worker("w04").await?.release(errand).await.err();
        self.refused("the next call after the revocation", error, "CONSENT_REVOKED", "CONSENT_REQUIRED").await
    }

    async fn erasure(&mut self) -> Result<()> {
        let stores = stores::folder(&self.world.folder);
        let cluster = self.wishes.cluster.as_ref();
        let before = self.scratch.join("before-erasure");
        control::copy_stores(cluster, &stores, &before, &[Store::Ciphertexts]).await?;
        let investor = self.investors.get(LEAVES).context("investors")?;
        let (gone, reference) = (investor.credential, investor.reference.clone());
        let person = Person::Ref(SubjectRef::try_from(reference.as_str())?);
        let erased = self.world.north.front_end()?.erase(&person).await?;
        let certificate = erased.certificate.as_ref();
        let names = certificate.is_some_and(|paper| paper.content.to_string().contains(&gone.to_string()));
        self.table.row(
            10,
            "one investor erased: the certificate is signed in the token and verifies",
            Some(erased.entry.index),
            names,
        );

        // Yesterday's ciphertexts beside today's keyring and the token.
        let folder = self.scratch.join("restored");
        control::copy_stores(cluster, &stores, &folder, &[Store::Records, Store::Keyring]).await?;
        control::copy_stores(cluster, &before, &folder, &[Store::Ciphertexts]).await?;
        let logins: Vec<CredentialId> = self.investors.iter().map(|each| each.credential).collect();
        let opened =
            control::open_all(cluster, &folder, (&self.world.folder.join("token"), &self.wishes.module), &logins)?;
        let only_the_erased = !opened.digests.contains_key(&gone) && opened.digests.len() + 2 >= logins.len();
        self.table.row(
            10,
            "old ciphertexts put back: the erased login does not open, the others do",
            Some(erased.entry.index),
            only_the_erased,
        );

        let investor = self.investors.get(LEAVES).context("investors")?;
        let errand = self.errand(&self.world.north, investor, &Wanted::by("w05"))?;
        let error = self.worker("w05").await?.release(errand).await.err();
        let refused = error.as_ref().and_then(|error| error.refused());
        let entry = refused.and_then(|refused| refused.entry);
        let shown = refused.is_some_and(|refused| refused.public_reason() == "CONSENT_REQUIRED");
        self.table.row(10, "a release of the erased login is refused", entry, shown);
        Ok(())
    }

    /// Takes the token away, waits until the warm key has gone cold, and brings the token back.
    async fn token_away(&mut self) -> Result<()> {
        let plan = self.world.folder.join("token").join("faults.toml");
        std::fs::write(&plan, "removed = true\n")?;
        let refused = self.release_until(|answer| answer.is_err()).await?;
        let (entry, public) = match &refused {
            Err(error) => (
                error.refused().and_then(|refused| refused.entry),
                error.refused().map(|refused| refused.public_reason().to_owned()).unwrap_or_default(),
            ),
            Ok(_) => (None, String::new()),
        };
        let exact = match entry {
            Some(index) => self.exact_reason(index).await?,
            None => String::new(),
        };
        let shown = public == "UNAVAILABLE" && exact == "KEY_SERVICE_UNAVAILABLE";
        self.table.row(12, "token taken away: refused with a named reason, nothing released", entry, shown);
        std::fs::remove_file(&plan)?;
        let served = self.release_until(Result::is_ok).await?;
        let index = served.as_ref().ok().copied();
        self.table.row(12, "token brought back: served again without a restart", index, served.is_ok());
        Ok(())
    }

    /// Asks for one login again and again, for at most twenty seconds, until the answer is as wished: the index of a
    /// grant, or a refusal.
    async fn release_until(
        &self,
        wished: impl Fn(&Result<u64, cofre_client::Error>) -> bool,
    ) -> Result<Result<u64, cofre_client::Error>> {
        let worker = self.worker("w06").await?;
        let until = self.world.clock.now().plus(Span::secs(20));
        loop {
            let investor = self.investors.get(WAITS).context("investors")?;
            let errand = self.errand(&self.world.north, investor, &Wanted::by("w06"))?;
            let answer = match worker.release(errand).await {
                Ok(login) => {
                    worker.report(&login.lease, Outcome::Ok, None).await?;
                    Ok(login.entry.index)
                }
                Err(error) => Err(error),
            };
            if wished(&answer) || until < self.world.clock.now() {
                return Ok(answer);
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }
}
