//! The steps of an erasure, each resumable, and their order.

use cofre_envelope::{random, sha256};
use cofre_ledger::entry::Leaf;
use cofre_model::caller::{Caller, Role};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{ErasureId, SubjectId, TenantId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::Person;
use cofre_model::wording::Class;
use cofre_store::{CommitError, Erasure, ErasureState, Operation, Search, Tombstone};

use crate::certificate::HORIZON;
use crate::{Erasures, Error};

/// Steps taken at most in one call: three states, and a few lost races.
const ROUNDS: usize = 8;
/// Erasures looked at per page when resuming.
const PAGE: u32 = 500;

/// An erasure as its caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Its id.
    pub id: ErasureId,
    /// The entry of its acceptance: from there on nothing was released.
    pub entry: EntryRef,
    /// The certificate, a compact JWS; none while the custodian cannot sign.
    pub certificate: Option<String>,
}

impl Erasures {
    /// Erases a person: every login this person holds becomes unreleasable, its keys are destroyed, its ciphertexts
    /// deleted, and a certificate says so. Erasing again goes on where the first time stopped, or gives the same
    /// certificate.
    ///
    /// # Errors
    /// NOT_FOUND for a person the caller's tenant does not have; BAD_REQUEST for a pseudonym without its tenant; the
    /// stores'. A custodian that cannot sign is no error: the certificate is owed and follows.
    pub async fn erase(&self, caller: &Caller, person: Person) -> Result<Erased, Error> {
        if caller.identity().role() == Role::Auditor {
            return Err(Error::refused(Reason::MethodNotAllowed));
        }
        let (tenant, subject) = self.person(caller, &person).await?;
        let erasure = match self.records.erasure_of(&tenant, &subject).await? {
            // Who asks for it again says that this person is to be erased, and no checkpoint need cover that.
            Some(under_way) => {
                self.as_accepted(&under_way).await?;
                under_way
            }
            None => self.accept(caller, tenant, subject).await?,
        };
        let entry = self.place(erasure.accepted).await?.reference()?;
        let id = erasure.id;
        match self.carry_on(Some(caller), erasure).await {
            Ok(done) => Ok(Erased { id, entry, certificate: Some(text(done)?) }),
            Err(error) if error.only_unsigned() => {
                tracing::warn!(error = %error, erasure = %id, "erased; the certificate is owed");
                Ok(Erased { id, entry, certificate: None })
            }
            Err(error) => Err(error),
        }
    }

    /// The certificate of an erasure. What is still owed is done first, except for auditors, who change nothing.
    ///
    /// # Errors
    /// NOT_FOUND for an erasure the caller's tenant does not have; WRONG_STATE for an auditor where it is not
    /// certified yet; KEY_SERVICE_UNAVAILABLE while the custodian cannot sign.
    pub async fn certificate(&self, caller: &Caller, id: &ErasureId) -> Result<String, Error> {
        let bound = self.bound(caller).await?;
        let erasure = self.records.erasure(id).await?;
        let erasure = erasure
            .filter(|erasure| bound.is_none_or(|tenant| tenant == erasure.tenant))
            .ok_or(Error::refused(Reason::NotFound))?;
        if caller.identity().role() == Role::Auditor && erasure.state != ErasureState::Certified {
            let advice = "is not certified yet; ask again once the custodian signs";
            return Err(Error::field(Reason::WrongState, "erasure_id", advice));
        }
        let accepted = self.as_accepted(&erasure).await?;
        if erasure.state != ErasureState::Certified {
            self.beyond_doubt(&erasure.id, &accepted).await?;
        }
        text(self.carry_on(Some(caller), erasure).await?)
    }

    /// Goes on with every erasure that stopped before its certificate, and destroys again what a restored keyring
    /// brought back; each only where its acceptance is beyond doubt. For the start of a node, before it serves, and now and then after. Returns how many erasures are
    /// still owed a step; each was logged with its cause.
    ///
    /// # Errors
    /// The store's, where the list itself cannot be read.
    pub async fn resume(&self) -> Result<u64, Error> {
        let mut owed = 0;
        let mut start = 0;
        loop {
            let kind = Some(EntryKind::ErasureAccepted);
            let page = self.records.search(&Search { kind, start, limit: PAGE, ..Search::default() }).await?;
            for found in page.rows {
                // One that cannot even be read holds up no other.
                let Err(error) = self.resume_one(found.index).await else { continue };
                owed += 1;
                if error.is_incident() {
                    tracing::error!(error = %error, index = found.index, "incident: an erasure is held");
                } else {
                    tracing::warn!(error = %error, index = found.index, "erasure still owed a step");
                }
            }
            match page.next {
                Some(next) => start = next,
                None => return Ok(owed),
            }
        }
    }

    async fn resume_one(&self, index: u64) -> Result<(), Error> {
        let row = self.records.entry(index).await?.ok_or(Error::Missing)?;
        let erasure = self.accepted_by(&row).await?;
        let gone = self.keyring.destroyed(&erasure.subject).await?.is_some();
        if erasure.state == ErasureState::Certified && gone {
            return Ok(());
        }
        // SECURITY: without this, whoever writes records has the keys of any person destroyed.
        self.beyond_doubt(&erasure.id, &row).await?;
        if erasure.state == ErasureState::Certified {
            tracing::error!(erasure = %erasure.id, "the keyring holds an erased person's keys again: destroyed anew");
            self.tombstone(&erasure).await?;
            self.delete_ciphertexts(&erasure).await?;
        }
        self.carry_on(None, erasure).await?;
        Ok(())
    }

    /// From here on nothing of this person is released.
    async fn accept(&self, caller: &Caller, tenant: TenantId, subject: SubjectId) -> Result<Erasure, Error> {
        let erasure = ErasureId::from_parts(self.clock.now().millis(), random::array().map_err(no_randomness)?);
        let mut entry = new_entry(EntryKind::ErasureAccepted, Some(caller), &erasure, tenant, subject)?;
        entry.count = Some(self.keys_held(&tenant, &subject).await?);
        match self.records.apply(entry, Operation::AcceptErasure { erasure, tenant, subject }).await {
            // Refused as WRONG_STATE where another call was faster: its erasure is this one's too.
            Ok(_) => self.known.add(erasure),
            Err(CommitError::Refused(Reason::WrongState)) => {}
            Err(error) => return Err(error.into()),
        }
        self.records.erasure_of(&tenant, &subject).await?.ok_or(Error::refused(Reason::WrongState))
    }

    /// Keys that the keyring holds of a person: what a certificate falls back on where a crash came between the
    /// destruction and its entry.
    async fn keys_held(&self, tenant: &TenantId, subject: &SubjectId) -> Result<u64, Error> {
        let newest = self.keyring.subject_key(subject).await?.map_or(0, |key| key.version);
        let mut held = 0;
        for version in 1..=newest {
            held += u64::from(self.keyring.subject_key_version(subject, version).await?.is_some());
        }
        for record in self.records.credentials_of(tenant, subject).await? {
            for class in Class::ALL {
                for version in 1..=record.claimed.secret_version {
                    held += u64::from(self.keyring.data_key(&record.claimed.id, *class, version).await?.is_some());
                }
            }
        }
        Ok(held)
    }

    /// Takes the steps that are left, in their order.
    async fn carry_on(&self, caller: Option<&Caller>, mut erasure: Erasure) -> Result<Erasure, Error> {
        for _ in 0..ROUNDS {
            let step = match erasure.state {
                ErasureState::Accepted => self.destroy_keys(caller, &erasure).await,
                ErasureState::KeysDestroyed => self.certify(caller, &erasure).await,
                ErasureState::Certified => return Ok(erasure),
            };
            match step {
                // Refused as WRONG_STATE where another call took this step meanwhile: go on from where it got to.
                Ok(()) | Err(Error::Commit(CommitError::Refused(Reason::WrongState))) => {}
                Err(error) => return Err(error),
            }
            erasure = self.records.erasure(&erasure.id).await?.ok_or(Error::Missing)?;
        }
        Err(Error::refused(Reason::WrongState))
    }

    async fn destroy_keys(&self, caller: Option<&Caller>, erasure: &Erasure) -> Result<(), Error> {
        let before = self.keyring.destroyed(&erasure.subject).await?;
        let gone = self.keyring.destroy_owner(&erasure.subject, self.clock.now(), erasure.accepted).await?;
        let mut entry = new_entry(EntryKind::KeysDestroyed, caller, &erasure.id, erasure.tenant, erasure.subject)?;
        entry.follows = Some(erasure.accepted);
        let count = gone.subject_keys.saturating_add(gone.data_keys);
        let held = self.place(erasure.accepted).await?.entry()?.count;
        // Where another run destroyed them, cut off before this or at the same time, this one's nought would be false.
        entry.count = Some(count).filter(|count| before.is_none() && (*count > 0 || held == Some(0)));
        self.records.apply(entry, Operation::KeysDestroyed { erasure: erasure.id }).await?;
        Ok(())
    }

    /// The tombstone; made again where a restored keyring has lost it.
    async fn tombstone(&self, erasure: &Erasure) -> Result<Tombstone, Error> {
        if self.keyring.destroyed(&erasure.subject).await?.is_none() {
            self.keyring.destroy_owner(&erasure.subject, self.clock.now(), erasure.accepted).await?;
        }
        self.keyring.destroyed(&erasure.subject).await?.ok_or(Error::Missing)
    }

    async fn delete_ciphertexts(&self, erasure: &Erasure) -> Result<(), Error> {
        for record in self.records.credentials_of(&erasure.tenant, &erasure.subject).await? {
            self.ciphertexts.delete(&record.claimed.id).await?;
        }
        Ok(())
    }

    async fn certify(&self, caller: Option<&Caller>, erasure: &Erasure) -> Result<(), Error> {
        let tombstone = self.tombstone(erasure).await?;
        self.delete_ciphertexts(erasure).await?;
        let certificate = self.sign_certificate(erasure, &tombstone).await?;
        let mut entry = new_entry(EntryKind::ErasureCertified, caller, &erasure.id, erasure.tenant, erasure.subject)?;
        entry.follows = Some(erasure.accepted);
        entry.digest = Some(sha256(certificate.as_bytes()));
        let operation = Operation::CertifyErasure {
            erasure: erasure.id,
            certificate: certificate.into_bytes(),
            horizon: tombstone.at.plus(HORIZON),
        };
        self.records.apply(entry, operation).await?;
        Ok(())
    }

    /// The leaf at an index that must be there.
    pub(crate) async fn place(&self, index: u64) -> Result<Leaf, Error> {
        let row = self.records.entry(index).await?.ok_or(Error::Missing)?;
        Ok(Leaf::parse(&row.bytes)?)
    }
}

fn new_entry(
    kind: EntryKind,
    caller: Option<&Caller>,
    erasure: &ErasureId,
    tenant: TenantId,
    subject: SubjectId,
) -> Result<Entry, Error> {
    let mut entry = Entry::new(kind, random::array().map_err(no_randomness)?);
    if let Some(caller) = caller {
        entry = entry.by(caller);
        entry.method = Some("cofre.v1.PrivacyService/Erase".into());
    }
    entry.tenant = Some(tenant);
    entry.owner = Some(subject);
    entry.reference = Some(erasure.to_string());
    Ok(entry)
}

fn no_randomness(_: cofre_envelope::Error) -> Error {
    Error::Randomness
}

fn text(certified: Erasure) -> Result<String, Error> {
    String::from_utf8(certified.certificate.ok_or(Error::Missing)?).map_err(|_| Error::Missing)
}
