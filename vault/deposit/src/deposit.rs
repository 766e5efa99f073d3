//! The deposit: intent, open, judge, seal for rest, store, make visible.

use cofre_custody::{DepositKeyRow, DepositRows, OpenedDeposit, SubjectKeyRow, TenantRef};
use cofre_envelope::context::DepositContext;
use cofre_envelope::{Plain, SealedDeposit as Envelope, SealedField, Suite, open_deposit, random};
use cofre_model::caller::Caller;
use cofre_model::credential::{Credential, CredentialState, FieldKey};
use cofre_model::entry::{Entry, EntryKind, Verdict};
use cofre_model::permit::{Deposit, DepositWarrant, EntryRef, Evidence, Permit};
use cofre_model::reason::Reason;
use cofre_model::registry::Template;
use cofre_model::request::SealedDeposit;
use cofre_model::sealed::SealedSecret;
use cofre_model::wording::Class;
use cofre_store::{
    CommitError, DepositIntent, Operation, StoredDataKey, StoredDepositKey, StoredSubjectKey, TenantRecord,
};

use crate::keys::GRACE;
use crate::{Deposits, Error, template, tenant_ref};

const METHOD: &str = "cofre.v1.DepositService/Deposit";

/// How often a row that changed under the deposit is tagged again.
const RETRIES: usize = 2;

/// A login that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rests {
    /// The version of its secret.
    pub secret_version: u32,
    /// The entry that made it visible.
    pub entry: EntryRef,
}

/// What a deposit names, judged.
struct Judged {
    tenant: TenantRecord,
    key: StoredDepositKey,
    credential: Credential,
    template: Template,
}

impl Deposits {
    /// Takes one sealed deposit. Order: records intent → keyring → ciphertexts → records visible, so that a crash
    /// between leaves rows that nothing can release and that name their intent.
    ///
    /// # Errors
    /// NOT_FOUND, WRONG_STATE, SIGNING_FACTOR_REFUSED, DEPOSIT_MALFORMED or DUPLICATE_LOGIN, naming the field where
    /// the caller can mend it; CONSENT_CHANGED where it is to be sent again, because another deposit of this owner or
    /// a report on this login came in between; INTEGRITY_FAILURE where the login's row is not as it was written;
    /// KEY_SERVICE_UNAVAILABLE and AUDIT_UNAVAILABLE.
    pub async fn deposit(&self, caller: &Caller, deposit: SealedDeposit) -> Result<(Credential, Rests), Error> {
        let judged = self.judge(caller, &deposit).await?;
        let mut intent = Self::entry(EntryKind::DepositIntended, caller, METHOD, &judged.tenant)?;
        intent.credential = Some(judged.credential.id);
        intent.owner = Some(judged.credential.owner);
        intent.class = Some(Class::Login);
        intent.reference = Some(deposit.enrolment.to_string());
        let permit = self
            .records
            .intend_deposit(DepositIntent {
                tenant: judged.tenant.tenant.id,
                enrolment: deposit.enrolment,
                class: Class::Login,
                deposit_key: deposit.deposit_key,
                entry: intent,
            })
            .await?;
        let evidence = permit.entry().clone();
        match self.seal(caller, permit, judged, deposit).await {
            Ok(rests) => Ok(rests),
            Err(cause) => Err(self.outcome(&evidence, cause).await),
        }
    }

    /// What the deposit names, looked up and judged before anything opens.
    async fn judge(&self, caller: &Caller, deposit: &SealedDeposit) -> Result<Judged, Error> {
        let tenant = self.tenant(caller).await?;
        let (key, credential) = self.judge_references(&tenant, deposit).await?;
        let template = self.template(&credential).await?;
        template::check_keys(&template, deposit.fields.iter().map(|(key, _)| key))?;
        Ok(Judged { tenant, key, credential, template })
    }

    /// Opens the deposit and seals it for rest. Eats the permit.
    async fn seal(
        &self,
        caller: &Caller,
        permit: Permit<Deposit>,
        judged: Judged,
        deposit: SealedDeposit,
    ) -> Result<(Credential, Rests), Error> {
        let Judged { tenant, key, credential, template } = judged;
        let evidence = permit.entry().clone();
        if evidence.warrant.tenant_key_id != tenant.tenant.tenant_key_id {
            // The tenant's next key came in between; the next try begins with it.
            return Err(Error::refused(Reason::ConsentChanged));
        }
        // The commit reads rows and verifies no MAC: what it warrants has to be what was verified here.
        if !warrants(&evidence.warrant, &credential, &deposit) {
            tracing::error!(credential = %credential.id, "incident: the permit of a deposit is for another login");
            return Err(Error::refused(Reason::IntegrityFailure));
        }
        let subject = match self.keyring.subject_key(&credential.owner).await? {
            Some(row) => {
                let under = self.key_above(&tenant, row.tenant_key_version).await?;
                Some(SubjectKeyRow { version: row.version, under, wrapped: row.wrapped })
            }
            None => None,
        };
        let under = self.key_above(&tenant, key.tenant_key_version).await?;
        let rows = DepositRows { tenant: tenant_ref(&tenant), deposit_key: key_row(key, under)?, subject };
        let opened = self.keys.open_deposit(permit, rows).await?;

        let values = open_fields(&opened, &evidence, deposit)?;
        template::check_values(&template, &values)?;
        let dedupe_tag = self.dedupe_tag(&tenant, &template, &credential, &values).await?;
        // Before anything is stored; the commit looks again.
        if self.records.has_twin(&tenant.tenant.id, &credential.id, &dedupe_tag).await? {
            return Err(Error::refused(Reason::DuplicateLogin));
        }
        let sealed = seal_for_rest(&opened, values)?;
        self.store(&evidence, opened, &sealed).await?;
        self.make_visible(caller, &tenant, &evidence, credential, dedupe_tag).await
    }

    /// An intent was committed and no login rests: says so in an OUTCOME entry.
    async fn outcome(&self, intended: &Evidence<DepositWarrant>, cause: Error) -> Error {
        let Ok(id) = random::array() else {
            tracing::error!(index = intended.at.index, "outcome not recorded: no randomness");
            return cause;
        };
        let mut entry = Entry::new(EntryKind::Outcome, id);
        entry.method = Some(METHOD.into());
        entry.tenant = Some(intended.warrant.tenant);
        entry.credential = Some(intended.warrant.credential);
        entry.owner = Some(intended.warrant.owner);
        entry.verdict = Some(Verdict::Denied);
        entry.reason = Some(cause.reason());
        entry.follows = Some(intended.at.index);
        if let Err(error) = self.records.apply(entry, Operation::Note).await {
            tracing::error!(index = intended.at.index, error = %error, "outcome not recorded");
        }
        cause
    }

    /// The deposit key and the login that the deposit names, if they are this tenant's and still good.
    async fn judge_references(
        &self,
        tenant: &TenantRecord,
        deposit: &SealedDeposit,
    ) -> Result<(StoredDepositKey, Credential), Error> {
        let key = self.keyring.deposit_key(&deposit.deposit_key).await?;
        let key = key
            .filter(|key| key.tenant == tenant.tenant.id && self.clock.now() < key.not_after.plus(GRACE))
            .ok_or_else(|| Error::field(Reason::NotFound, "deposit_key_id", "must be this tenant's current key"))?;
        let no_session = || Error::field(Reason::NotFound, "enrolment_id", "must be an open session of this tenant");
        let session = self.records.enrolment(&tenant.tenant.id, &deposit.enrolment).await?.ok_or_else(no_session)?;
        let record = self.records.credential(&tenant.tenant.id, &session.credential).await?.ok_or_else(no_session)?;
        match record.claimed.state {
            CredentialState::Enrolling | CredentialState::Active | CredentialState::SecretRejected => {
                Ok((key, self.genuine(tenant, record).await?))
            }
            _ => Err(Error::refused(Reason::WrongState)),
        }
    }

    /// The version of the tenant's key that a row lies under: the one in force, but while a rotation moves such rows.
    async fn key_above(&self, tenant: &TenantRecord, version: u32) -> Result<TenantRef, Error> {
        let in_force = tenant_ref(tenant);
        if version == in_force.key_version {
            return Ok(in_force);
        }
        let known = self.records.tenant_key_version(&tenant.tenant.id, version).await?;
        let known = known.ok_or(Error::refused(Reason::IntegrityFailure))?;
        Ok(TenantRef { key_version: known.version, key_id: known.key_id, ..in_force })
    }

    /// The keyed tag over the fields that identify a login; empty where the template names none.
    async fn dedupe_tag(
        &self,
        tenant: &TenantRecord,
        template: &Template,
        credential: &Credential,
        values: &[(FieldKey, Plain)],
    ) -> Result<Vec<u8>, Error> {
        let identifies = |key: &FieldKey| template.fields.iter().any(|field| field.key == *key && field.identifies);
        let identifying: Vec<(&FieldKey, &Plain)> =
            values.iter().filter(|(key, _)| identifies(key)).map(|(key, value)| (key, value)).collect();
        if identifying.is_empty() {
            return Ok(Vec::new());
        }
        let dedupe = self.keys.dedupe(&tenant_ref(tenant)).await?;
        Ok(dedupe.tag(&credential.institution, &identifying).to_vec())
    }

    /// Keyring first, then ciphertexts.
    async fn store(
        &self,
        evidence: &Evidence<DepositWarrant>,
        opened: OpenedDeposit,
        sealed: &[(FieldKey, SealedSecret)],
    ) -> Result<(), Error> {
        let warrant = &evidence.warrant;
        if let Some(row) = opened.new_subject {
            let stored = StoredSubjectKey {
                owner: warrant.owner,
                version: row.version,
                tenant: warrant.tenant,
                tenant_key_version: row.under.key_version,
                wrapped: row.wrapped,
            };
            self.keyring.put_subject_key(&stored).await.map_err(|error| match error {
                // Another first login of this owner came in between, or the tenant's next key: the next try finds it.
                cofre_store::Error::Exists | cofre_store::Error::Closed => Error::refused(Reason::ConsentChanged),
                error => error.into(),
            })?;
        }
        let data = StoredDataKey {
            credential: warrant.credential,
            class: warrant.class,
            version: warrant.secret_version,
            owner: warrant.owner,
            subject_key_version: opened.subject_key_version,
            wrapped: opened.data,
        };
        self.keyring.put_data_key(&data).await?;
        self.ciphertexts.put(&warrant.credential, warrant.class, warrant.secret_version, sealed).await?;
        Ok(())
    }

    async fn complete(
        &self,
        caller: &Caller,
        tenant: &TenantRecord,
        evidence: &Evidence<DepositWarrant>,
        rests: &Credential,
    ) -> Result<EntryRef, Error> {
        let warrant = &evidence.warrant;
        let mut entry = Self::entry(EntryKind::Deposited, caller, METHOD, tenant)?;
        entry.credential = Some(rests.id);
        entry.owner = Some(rests.owner);
        entry.institution = Some(rests.institution.clone());
        entry.class = Some(warrant.class);
        entry.secret_version = Some(warrant.secret_version);
        entry.tenant_key = Some((tenant.tenant.tenant_key_id, tenant.key_version));
        entry.follows = Some(evidence.at.index);
        let tag = self.tag(tenant, rests, &entry.id).await?;
        let operation = Operation::CompleteDeposit { enrolment: warrant.enrolment, credential: rests.clone(), tag };
        Ok(self.records.apply(entry, operation).await?)
    }

    async fn make_visible(
        &self,
        caller: &Caller,
        tenant: &TenantRecord,
        evidence: &Evidence<DepositWarrant>,
        credential: Credential,
        dedupe_tag: Vec<u8>,
    ) -> Result<(Credential, Rests), Error> {
        let warrant = &evidence.warrant;
        let mut credential = credential;
        let mut tries = 0;
        let (at, credential) = loop {
            let rests = Credential {
                state: CredentialState::Active,
                secret_version: warrant.secret_version,
                dedupe_tag: dedupe_tag.clone(),
                ..credential
            };
            match self.complete(caller, tenant, evidence, &rests).await {
                Ok(at) => break (at, rests),
                // The institution's lock moved under it: the row is read, verified and tagged again.
                Err(Error::Commit(CommitError::Refused(Reason::ConsentChanged))) if tries < RETRIES => tries += 1,
                Err(error) => return Err(error),
            }
            let record = self.records.credential(&warrant.tenant, &warrant.credential).await?;
            let record = record.ok_or(Error::refused(Reason::NotFound))?;
            let now = self.genuine(tenant, record).await?;
            if now.owner != warrant.owner || now.template_version != warrant.template_version {
                return Err(Error::refused(Reason::IntegrityFailure));
            }
            credential = now;
        };
        // What was superseded is kept no longer than needed; a failure here loses nothing and is tried again later.
        if let Err(error) = self.ciphertexts.prune(&credential.id, warrant.class, warrant.secret_version).await {
            tracing::warn!(error = %error, "superseded ciphertexts are still there");
        }
        Ok((credential, Rests { secret_version: warrant.secret_version, entry: at }))
    }
}

/// Whether the permit is for the very login that was verified, under the session that was named.
fn warrants(warrant: &DepositWarrant, credential: &Credential, deposit: &SealedDeposit) -> bool {
    warrant.tenant == credential.tenant
        && warrant.owner == credential.owner
        && warrant.credential == credential.id
        && warrant.template_version == credential.template_version
        && warrant.enrolment == deposit.enrolment
        && warrant.deposit_key == deposit.deposit_key
}

fn key_row(stored: StoredDepositKey, under: TenantRef) -> Result<DepositKeyRow, Error> {
    Ok(DepositKeyRow {
        id: stored.id,
        suite: Suite::from_id(stored.suite)?,
        not_before: stored.not_before,
        not_after: stored.not_after,
        under,
        wrapped: stored.wrapped_private,
    })
}

/// Opens the fields into locked memory. A deposit sealed for another session, owner or key does not open, and says no
/// more than that.
fn open_fields(
    opened: &OpenedDeposit,
    evidence: &Evidence<DepositWarrant>,
    deposit: SealedDeposit,
) -> Result<Vec<(FieldKey, Plain)>, Error> {
    let warrant = &evidence.warrant;
    let context = DepositContext {
        tenant: warrant.tenant,
        key: warrant.deposit_key,
        enrolment: warrant.enrolment,
        owner: warrant.owner,
        credential: warrant.credential,
        template_version: warrant.template_version,
    };
    let fields = deposit
        .fields
        .into_iter()
        .zip(0u16..)
        .map(|((key, sealed), position)| SealedField { key, position, sealed })
        .collect();
    let sealed = Envelope { encapsulated_key: deposit.encapsulated_key, fields };
    open_deposit(&opened.pair, &context, &sealed).map_err(|error| match error {
        cofre_envelope::Error::SlabFull | cofre_envelope::Error::Randomness => error.into(),
        _ => Error::field(
            Reason::DepositMalformed,
            "fields",
            "does not open: seal to the current deposit key, for this session, in this order",
        ),
    })
}

fn seal_for_rest(
    opened: &OpenedDeposit,
    values: Vec<(FieldKey, Plain)>,
) -> Result<Vec<(FieldKey, SealedSecret)>, Error> {
    values
        .into_iter()
        .map(|(key, plain)| {
            let sealed = opened.dek.seal_field(&opened.secret, &key, plain)?;
            Ok((key, sealed))
        })
        .collect()
}
