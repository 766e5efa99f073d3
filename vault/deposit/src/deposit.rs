//! The deposit: intent, open, judge, seal for rest, store, make visible.

use cofre_custody::{DepositKeyRow, DepositRows, OpenedDeposit, SubjectKeyRow};
use cofre_envelope::context::DepositContext;
use cofre_envelope::{Plain, SealedDeposit as Envelope, SealedField, Suite, open_deposit};
use cofre_model::caller::Caller;
use cofre_model::credential::{Credential, CredentialState, FieldKey};
use cofre_model::entry::EntryKind;
use cofre_model::permit::{DepositWarrant, EntryRef, Evidence};
use cofre_model::reason::Reason;
use cofre_model::registry::Template;
use cofre_model::request::SealedDeposit;
use cofre_model::sealed::SealedSecret;
use cofre_model::wording::Class;
use cofre_store::{DepositIntent, Operation, StoredDataKey, StoredDepositKey, StoredSubjectKey, TenantRecord, columns};

use crate::keys::GRACE;
use crate::{Deposits, Error, template, tenant_ref};

const METHOD: &str = "cofre.v1.DepositService/Deposit";

/// A login that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rests {
    /// The version of its secret.
    pub secret_version: u32,
    /// The entry that made it visible.
    pub entry: EntryRef,
}

impl Deposits {
    /// Takes one sealed deposit. Order: records intent → keyring → ciphertexts → records visible, so that a crash
    /// between leaves rows that nothing can release and that name their intent.
    ///
    /// # Errors
    /// NOT_FOUND, WRONG_STATE, SIGNING_FACTOR_REFUSED, DEPOSIT_MALFORMED or DUPLICATE_LOGIN, naming the field where
    /// the caller can mend it; KEY_SERVICE_UNAVAILABLE and AUDIT_UNAVAILABLE where it cannot.
    pub async fn deposit(&self, caller: &Caller, deposit: SealedDeposit) -> Result<(Credential, Rests), Error> {
        let tenant = self.tenant(caller).await?;
        let (key, credential) = self.judge_references(&tenant, &deposit).await?;
        let template = self.template(&credential).await?;
        template::check_keys(&template, deposit.fields.iter().map(|(key, _)| key))?;

        let mut intent = Self::entry(EntryKind::DepositIntended, caller, METHOD, &tenant)?;
        intent.credential = Some(credential.id);
        intent.owner = Some(credential.owner);
        intent.class = Some(Class::Login);
        intent.reference = Some(deposit.enrolment.to_string());
        let permit = self
            .records
            .intend_deposit(DepositIntent {
                tenant: tenant.tenant.id,
                enrolment: deposit.enrolment,
                class: Class::Login,
                deposit_key: deposit.deposit_key,
                entry: intent,
            })
            .await?;
        let evidence = permit.entry().clone();
        let subject = self.keyring.subject_key(&credential.owner).await?;
        let rows = DepositRows {
            tenant: tenant_ref(&tenant),
            deposit_key: key_row(key)?,
            subject: subject.map(|row| SubjectKeyRow { version: row.version, wrapped: row.wrapped }),
        };
        let opened = self.keys.open_deposit(permit, rows).await?;

        let values = open_fields(&opened, &evidence, deposit)?;
        template::check_values(&template, &values)?;
        let dedupe_tag = self.dedupe_tag(&tenant, &template, &credential, &values).await?;
        let sealed = seal_for_rest(&opened, values)?;
        self.store(&tenant, &evidence, opened, &sealed).await?;
        self.make_visible(caller, &tenant, &evidence, credential, dedupe_tag).await
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
        Ok((key, record.claimed))
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
        tenant: &TenantRecord,
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
                tenant_key_version: tenant.key_version,
                wrapped: row.wrapped,
            };
            self.keyring.put_subject_key(&stored).await?;
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

    async fn make_visible(
        &self,
        caller: &Caller,
        tenant: &TenantRecord,
        evidence: &Evidence<DepositWarrant>,
        credential: Credential,
        dedupe_tag: Vec<u8>,
    ) -> Result<(Credential, Rests), Error> {
        let warrant = &evidence.warrant;
        let mut entry = Self::entry(EntryKind::Deposited, caller, METHOD, tenant)?;
        entry.credential = Some(credential.id);
        entry.owner = Some(credential.owner);
        entry.institution = Some(credential.institution.clone());
        entry.class = Some(warrant.class);
        entry.secret_version = Some(warrant.secret_version);
        entry.tenant_key = Some((tenant.tenant.tenant_key_id, tenant.key_version));
        entry.follows = Some(evidence.at.index);
        let credential = Credential {
            state: CredentialState::Active,
            secret_version: warrant.secret_version,
            dedupe_tag,
            ..credential
        };
        let mac = self.keys.integrity(&tenant_ref(tenant)).await?;
        let row = columns::credential(&credential);
        let row: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
        let tag = mac.tag(columns::CREDENTIALS, &row, &entry.id);
        let operation =
            Operation::CompleteDeposit { enrolment: warrant.enrolment, credential: credential.clone(), tag };
        let at = self.records.apply(entry, operation).await?;
        // What was superseded is kept no longer than needed; a failure here loses nothing and is tried again later.
        if let Err(error) = self.ciphertexts.prune(&credential.id, warrant.class, warrant.secret_version).await {
            tracing::warn!(error = %error, "superseded ciphertexts are still there");
        }
        Ok((credential, Rests { secret_version: warrant.secret_version, entry: at }))
    }
}

fn key_row(stored: StoredDepositKey) -> Result<DepositKeyRow, Error> {
    Ok(DepositKeyRow {
        id: stored.id,
        suite: Suite::from_id(stored.suite)?,
        not_before: stored.not_before,
        not_after: stored.not_after,
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
