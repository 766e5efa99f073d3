//! Chapter 1: twenty-five investors deposit, sealed in browser processes; what a thief of the stores could open.

use anyhow::{Context, Result};
use cofre_client::sealing::Page;
use cofre_model::id::{CredentialId, InstitutionId};
use cofre_model::request::{Login as Wanted, SubjectRef};
use cofre_testkit::stores::Store;
use cofre_testkit::{institutions, logins};

use super::cast::Investor;
use super::{INVESTORS, Story};
use crate::browser::seal_in_a_browser;
use crate::control;
use crate::testbank::Enrolment;
use crate::world::stores;
use crate::world::token;

/// Who mistypes the password.
pub(super) const MISTYPES: usize = 23;

impl Story {
    pub(super) async fn rests(&mut self) -> Result<()> {
        let mut newest = 0;
        for number in 0..INVESTORS {
            let (investor, index) = self.deposit_one(number).await?;
            newest = index;
            self.investors.push(investor);
        }
        self.table.row(
            5,
            format!("{} logins of six institutions sealed in browser processes and deposited", self.investors.len()),
            Some(newest),
            self.investors.len() == INVESTORS,
        );
        self.refuse_signing_factor().await?;
        self.refuse_twin().await?;
        self.controls().await
    }

    async fn deposit_one(&self, number: usize) -> Result<(Investor, u64)> {
        let all = institutions::all()?;
        let institution = all.get(number % all.len()).context("fixtures")?.clone();
        let seed = 1_000 + u64::try_from(number)?;
        let login = logins::login(&institution, seed)?;
        let typed = if number == MISTYPES {
            logins::wrong_login(&institution, seed)?
        } else {
            logins::login(&institution, seed)?
        };
        let number_of_phone = format!("+34600000{number:03}");
        let fields: Vec<(&str, &[u8])> = login.fields().collect();
        let enrolled = self.bank.enrol(&Enrolment {
            institution: &institution.slug,
            phone: &number_of_phone,
            fields: &fields,
            behaviour: None,
        })?;
        let reference = format!("inv-{number:03}");
        let front_end = self.world.north.front_end()?;
        let enrolment = front_end
            .open_enrolment(&Wanted::New {
                institution: InstitutionId::try_from(institution.id().as_str())?,
                subject: SubjectRef::try_from(reference.as_str())?,
            })
            .await?;
        let key = front_end.deposit_key().await?;
        let (owner, credential) = (enrolment.owner, enrolment.credential);
        let page = Page { key: key.signed().clone(), enrolment };
        let values: Vec<(&str, &[u8])> = typed.fields().collect();
        let sealed = seal_in_a_browser(&page, &self.world.door.signer, self.world.north.id, &values)?;
        let deposited = front_end.deposit(sealed).await?;
        let phone = (number_of_phone, enrolled.phone_token);
        let investor = Investor { reference, institution, login, typed, phone, owner, credential, consent: None };
        Ok((investor, deposited.entry.index))
    }

    /// A page that asks for a key that signs orders gets no such login sealed.
    async fn refuse_signing_factor(&mut self) -> Result<()> {
        let institution = institutions::find("caja-colegiados")?;
        let front_end = self.world.north.front_end()?;
        let enrolment = front_end
            .open_enrolment(&Wanted::New {
                institution: InstitutionId::try_from(institution.id().as_str())?,
                subject: SubjectRef::try_from("inv-signer")?,
            })
            .await?;
        let session = enrolment.id;
        let key = front_end.deposit_key().await?;
        let page = Page { key: key.signed().clone(), enrolment };
        let login = logins::login(&institution, 9)?;
        let factors = logins::signing_factors(&institution, 9)?;
        let mut values: Vec<(&str, &[u8])> = login.fields().collect();
        values.extend(factors.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        let refused = seal_in_a_browser(&page, &self.world.door.signer, self.world.north.id, &values).err();
        let said = refused.map(|error| error.to_string()).unwrap_or_default();
        let entry = front_end.cancel_enrolment(&session).await?;
        let shown = factors.iter().any(|(key, _)| said.contains(key.as_str()));
        self.table.row(4, "a signing key offered with a login is refused by its field", Some(entry.index), shown);
        Ok(())
    }

    /// The same login twice in one tenant is refused.
    async fn refuse_twin(&mut self) -> Result<()> {
        let first = self.investors.first().context("investors")?;
        let front_end = self.world.north.front_end()?;
        let enrolment = front_end
            .open_enrolment(&Wanted::New {
                institution: InstitutionId::try_from(first.institution.id().as_str())?,
                subject: SubjectRef::try_from("inv-twin")?,
            })
            .await?;
        let key = front_end.deposit_key().await?;
        let page = Page { key: key.signed().clone(), enrolment };
        let sealed = seal_in_a_browser(&page, &self.world.door.signer, self.world.north.id, &first.typed())?;
        let refused = front_end.deposit(sealed).await.err();
        let entry = refused.as_ref().and_then(|error| error.refused()).and_then(|refused| refused.entry);
        let exact = match entry {
            Some(index) => self.exact_reason(index).await?,
            None => String::new(),
        };
        self.table.row(
            1,
            "the same login a second time is refused without being compared in clear",
            entry,
            exact == "DUPLICATE_LOGIN",
        );
        Ok(())
    }

    /// With ciphertexts, keyring and token everything opens; with any of the three missing, nothing.
    async fn controls(&mut self) -> Result<()> {
        let stores = stores::folder(&self.world.folder);
        let cluster = self.wishes.cluster.as_ref();
        let token = self.world.folder.join("token");
        let logins: Vec<CredentialId> = self.investors.iter().map(|investor| investor.credential).collect();
        let expected: Vec<(CredentialId, String)> = self
            .investors
            .iter()
            .map(|each| (each.credential, control::digest_of(each.typed.fields().map(|(_, value)| value))))
            .collect();
        let module = self.wishes.module.clone();
        let all = self.scratch.join("all");
        control::copy_stores(cluster, &stores, &all, &Store::ALL).await?;
        let opened = control::open_all(cluster, &all, (&token, &module), &logins)?;
        let every =
            opened.known == logins.len() && expected.iter().all(|(id, digest)| opened.digests.get(id) == Some(digest));
        self.table.row(1, "control: ciphertexts, keyring and token together open every login", None, every);

        for missing in [Store::Ciphertexts, Store::Keyring] {
            let folder = self.scratch.join(format!("without-{}", missing.name()));
            control::copy_stores(cluster, &stores, &folder, &Store::ALL).await?;
            control::empty(cluster, &folder, missing).await?;
            let opened = control::open_all(cluster, &folder, (&token, &module), &logins)?;
            let none = opened.known == logins.len() && opened.digests.is_empty();
            self.table.row(2, format!("without {}: not one of {} opens", missing.name(), opened.known), None, none);
        }
        let other = self.scratch.join("another-token");
        token::make(&other, &module)?;
        let folder = self.scratch.join("without-token");
        control::copy_stores(cluster, &stores, &folder, &Store::ALL).await?;
        let opened = control::open_all(cluster, &folder, (&other.join("token"), &module), &logins)?;
        let none = opened.known == logins.len() && opened.digests.is_empty();
        self.table.row(2, format!("with another token: not one of {} opens", opened.known), None, none);
        // What is chosen from a list stands in the template for everybody to see.
        let typed_in = self.investors.iter().flat_map(|each| {
            let chosen = |key: &str| each.institution.fields.iter().any(|f| f.key == key && !f.choices.is_empty());
            each.typed.fields().filter(move |(key, _)| !chosen(key))
        });
        let found = control::occurrences(&all, Store::Records, typed_in)?;
        self.table.row(2, "records alone: no value of any login occurs in them", None, found == 0);
        Ok(())
    }
}
