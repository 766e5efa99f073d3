//! Receipts: a compact JWS over canonical JSON per event, signed in the token, each naming the digest of the one
//! before it (ISO/IEC TS 27560 names the content; the format is in `docs/formats.md`).

use std::collections::BTreeMap;

use cofre_envelope::{random, sha256};
use cofre_ledger::{jws, signed};
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::CredentialState;
use cofre_model::entry::EntryKind;
use cofre_model::id::{ConsentId, ReceiptId};
use cofre_model::time::Timestamp;
use cofre_model::wording::Locale;
use cofre_store::{ConsentRecord, Operation, TenantRecord};
use serde_json::{Value, json};

use crate::{Consents, Error, notice};

/// The `typ` of a receipt's header.
pub(crate) const TYPE: &str = "cofre-receipt+jws";

impl Consents {
    /// Signs a receipt; it is filed once the event it is about is committed.
    pub(crate) async fn sign_receipt(
        &self,
        tenant: &TenantRecord,
        consent: &Consent,
        locale: Locale,
        notice_digest: [u8; 32],
        at: Timestamp,
    ) -> Result<(ReceiptId, String), Error> {
        let id = ReceiptId::from_parts(at.millis(), random::array()?);
        let previous = self.records.receipts(&consent.id).await?;
        let recipient = self.records.recipient(&tenant.tenant.id, &consent.recipient).await?;
        let institution = self.institution(tenant, consent).await?;
        // A BTreeMap keeps the keys in order: the JSON is canonical by construction.
        let mut payload: BTreeMap<&str, Value> = BTreeMap::new();
        payload.insert("schema", json!("cofre.receipt/1"));
        payload.insert("receipt_id", json!(id.to_string()));
        payload.insert("consent_id", json!(consent.id.to_string()));
        payload.insert("state", json!(consent.state.as_str()));
        payload.insert("event_time", json!(at.to_string()));
        payload.insert("principal", json!(consent.subject.to_string()));
        payload.insert("controller", json!(tenant.tenant.legal_name));
        payload.insert("processor", json!(self.aisp));
        payload.insert("recipients", json!([recipient.map(|recipient| recipient.name)]));
        payload.insert("institution", json!(institution));
        payload.insert("credential", json!(consent.credential.to_string()));
        payload.insert("purpose", json!(consent.purpose.as_str()));
        payload.insert("scopes", json!(consent.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>()));
        payload.insert("history_from", json!(consent.history_from.date()));
        payload.insert("valid_from", json!(consent.valid_from.to_string()));
        payload.insert("valid_until", json!(consent.valid_until.to_string()));
        payload.insert("unattended_per_day", json!(consent.unattended_per_day));
        payload.insert("storage", json!([tenant.tenant.home_region.as_str()]));
        payload.insert("psd2_explicit", json!(true));
        payload.insert(
            "notice",
            json!({ "id": notice::id(locale), "lang": locale.as_str(), "sha256": hex::encode(notice_digest) }),
        );
        payload.insert("withdrawal", json!("cofre.v1.ConsentService/Revoke"));
        payload.insert("prev", json!(previous.last().map(|last| hex::encode(sha256(last.jws.as_bytes())))));
        // INVARIANT: a map of strings and numbers always serialises.
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        let key = match self.signer.public_key() {
            cofre_custody::VerifyingKey::Ed25519(bytes) => signed::VerifyingKey::ed25519(bytes),
            cofre_custody::VerifyingKey::P256(point) => signed::VerifyingKey::p256(point),
        }
        .map_err(|_| Error::refused(cofre_model::reason::Reason::KeyServiceUnavailable))?;
        let input = jws::signing_input(&key, &self.signer_name, TYPE, &payload)?;
        let signature = self.signer.sign(input.as_bytes()).await?;
        Ok((id, jws::assemble(&input, &signature)))
    }

    /// Files a signed receipt behind those the consent has.
    pub(crate) async fn file_receipt(
        &self,
        tenant: &TenantRecord,
        consent: ConsentId,
        state: ConsentState,
        (receipt, jws): (ReceiptId, String),
    ) -> Result<String, Error> {
        let seq = self.records.receipts(&consent).await?.last().map_or(1, |last| last.seq + 1);
        let mut entry = Self::entry(EntryKind::ReceiptIssued, None, tenant)?;
        entry.consents = vec![consent];
        entry.reference = Some(receipt.to_string());
        entry.digest = Some(sha256(jws.as_bytes()));
        let operation = Operation::Receipt { consent, receipt, seq, state, jws: jws.clone() };
        self.records.apply(entry, operation).await?;
        Ok(jws)
    }

    /// Where the login works. An erased one no longer says so under a MAC; the receipt before this one does.
    async fn institution(&self, tenant: &TenantRecord, consent: &Consent) -> Result<String, Error> {
        use CredentialState as S;
        let record = self.records.credential(&tenant.tenant.id, &consent.credential).await?;
        match record.map(|record| (record.claimed.state, record)) {
            None | Some((S::Erasing | S::Erased, _)) => Ok(String::new()),
            Some((_, record)) => Ok(self.login(tenant, record).await?.institution.to_string()),
        }
    }

    /// The receipt of an ending, signed after it: a custodian's outage delays the paper, never the ending. On a row
    /// that is not as it was written nothing is signed.
    pub(crate) async fn receipt_of_ending(
        &self,
        tenant: &TenantRecord,
        record: &ConsentRecord,
        to: ConsentState,
    ) -> Option<String> {
        self.make_up(tenant, record, to).await.map_err(|error| owed(&error)).ok()
    }

    /// Verifies the terms, signs the receipt of their ending and files it.
    pub(crate) async fn make_up(
        &self,
        tenant: &TenantRecord,
        record: &ConsentRecord,
        to: ConsentState,
    ) -> Result<String, Error> {
        let ended = Consent { state: to, ..self.terms(tenant, record).await? };
        let signed = self.sign_receipt(tenant, &ended, record.locale, record.notice_digest, self.clock.now()).await?;
        self.file_receipt(tenant, ended.id, to, signed).await
    }
}

/// Says that the receipt of an ending is not there yet.
pub(crate) fn owed(error: &Error) {
    tracing::warn!(error = %error, "the receipt of an ending is still owed");
}
