//! Operations as they travel to the functions of the commit: one arm each, and the row they write.

use cofre_model::consent::Consent;
use cofre_model::credential::Credential;
use cofre_model::id::EnrolmentId;
use cofre_model::time::Timestamp;
use serde_json::{Value, json};

use super::{hex, rows, with};
use crate::commit::operation::{NewKeyJob, Operation as Op};
use crate::records::subjects::Subject;
use crate::row::{column, instant};

pub(super) fn operation(operation: Op) -> Value {
    match operation {
        // Entries alone: the keys themselves are in the keyring. A note is encoded with its entry.
        Op::NodeStarted
        | Op::NodeStopped
        | Op::NodeCertified
        | Op::DepositKeyMade
        | Op::DepositKeysDestroyed
        | Op::Note => {
            json!({"op": operation.word()})
        }
        Op::RetiredKeysDestroyed { shares } => json!({"op": "RETIRED_KEYS_DESTROYED", "shares": shares}),
        Op::PolicyActivated { digest } => json!({"op": "ACTIVATE_POLICY", "digest": hex(&digest)}),
        Op::PutTenant { tenant, key_version, custody_set, warm_for, signing_keys, recipients } => json!({
            "op": "PUT_TENANT",
            "custody_set": custody_set,
            "tenant": rows::tenant(&tenant, key_version, warm_for),
            "signing_keys": signing_keys.iter().map(rows::signing_key).collect::<Vec<_>>(),
            "recipients": recipients.iter().map(rows::recipient).collect::<Vec<_>>(),
        }),
        Op::PutSigningKey(key) => json!({"op": "PUT_SIGNING_KEY", "signing_key": rows::signing_key(&key)}),
        Op::PutRecipient(row) => json!({"op": "PUT_RECIPIENT", "recipient": rows::recipient(&row)}),
        Op::PutInstitution(row) => rows::institution(&row),
        Op::PutTemplate(row) => rows::template(&row),
        Op::PutWorker(row) => rows::worker(&row),
        Op::OpenEnrolment { subject, credential, tag, enrolment, expires_at } => {
            open_enrolment(subject.as_ref(), &credential, tag, &enrolment, expires_at)
        }
        Op::EndEnrolment { tenant, enrolment } => {
            json!({"op": "END_ENROLMENT", "tenant": tenant.to_string(), "enrolment": enrolment.to_string()})
        }
        Op::CompleteDeposit { enrolment, credential, tag } => {
            let (enrolment, login) = (enrolment.to_string(), rows::login(&credential));
            json!({"op": "COMPLETE_DEPOSIT", "enrolment": enrolment, "credential": login, "tag": hex(&tag)})
        }
        Op::RequestConsent { consent, tag, lapses_at, notice_digest, locale } => json!({
            "op": "REQUEST_CONSENT",
            "consent": rows::consent(&consent),
            "tag": hex(&tag),
            "lapses_at": instant(lapses_at),
            "notice_digest": hex(&notice_digest),
            "locale": locale.as_str(),
        }),
        Op::GrantConsent { consent, tag, evidence, receipt: (receipt, jws) } => {
            grant_consent(&consent, &tag, &evidence, &receipt.to_string(), &jws)
        }
        Op::EndConsent { tenant, consent, to } => {
            let (tenant, consent) = (tenant.to_string(), consent.to_string());
            json!({"op": "END_CONSENT", "tenant": tenant, "consent": consent, "to": to.as_str()})
        }
        Op::Receipt { consent, receipt, seq, state, jws } => {
            let (consent, receipt) = (consent.to_string(), receipt.to_string());
            json!({"op": "RECEIPT", "consent": consent, "receipt": receipt, "seq": seq, "state": state.as_str(), "jws": jws})
        }
        Op::ReportOutcome { credential, job, worker, outcome, lock } => {
            let (credential, job) = (credential.to_string(), job.to_string());
            let outcome = outcome.as_str();
            let request =
                json!({"op": "REPORT", "credential": credential, "job": job, "worker": worker, "outcome": outcome});
            let request = with(request, "lock", lock.as_ref().map(|(row, _)| rows::login(row)));
            with(request, "tag", lock.map(|(_, tag)| hex(&tag).into()))
        }
        Op::Lockdown(lockdown) => {
            json!({"op": "LOCKDOWN", "scope": lockdown.scope().as_str(), "id": lockdown.id()})
        }
        Op::QuarantineWorker { worker } => json!({"op": "QUARANTINE", "worker": worker}),
        Op::AcceptErasure { erasure, tenant, subject } => {
            let (tenant, subject) = (tenant.to_string(), subject.to_string());
            json!({"op": "ACCEPT_ERASURE", "erasure": erasure.to_string(), "tenant": tenant, "subject": subject})
        }
        Op::KeysDestroyed { erasure } => json!({"op": "KEYS_DESTROYED", "erasure": erasure.to_string()}),
        Op::CertifyErasure { erasure, certificate, horizon } => {
            let (certificate, horizon) = (hex(&certificate), instant(horizon));
            json!({"op": "CERTIFY", "erasure": erasure.to_string(), "certificate": certificate, "horizon": horizon})
        }
        Op::OpenKeyJob(NewKeyJob { id, kind, target, from_key, rate }) => {
            let (id, kind) = (id.to_string(), kind.as_str());
            json!({"op": "OPEN_KEY_JOB", "id": id, "kind": kind, "target": target, "from_key": from_key, "rate": rate})
        }
        Op::EndKeyJob { job, to, moved } => {
            json!({"op": "END_KEY_JOB", "id": job.to_string(), "to": to.as_str(), "moved": column(moved)})
        }
        Op::MakeTenantKey { job, tenant, version, key_id } => {
            let (job, tenant, key_id) = (job.to_string(), tenant.to_string(), hex(&key_id));
            json!({"op": "MAKE_TENANT_KEY", "job": job, "tenant": tenant, "key_version": version, "key_id": key_id})
        }
        Op::OpenTenantKey { job, tenant, version } => {
            let (job, tenant) = (job.to_string(), tenant.to_string());
            json!({"op": "OPEN_TENANT_KEY", "job": job, "tenant": tenant, "key_version": version})
        }
        Op::TenantKeyMoved { job, tenant, version, moved } => {
            let (job, tenant, moved) = (job.to_string(), tenant.to_string(), column(moved));
            json!({"op": "TENANT_KEY_MOVED", "job": job, "tenant": tenant, "key_version": version, "moved": moved})
        }
        Op::CountKeys { subject, remaining, statement } => {
            let (remaining, statement) = (column(remaining), hex(&statement));
            json!({"op": "COUNT_KEYS", "subject": subject, "remaining": remaining, "statement": statement})
        }
        Op::RetireKeys { subject } => json!({"op": "RETIRE_KEYS", "subject": subject}),
    }
}

fn open_enrolment(
    subject: Option<&Subject>,
    credential: &Credential,
    tag: Option<[u8; 32]>,
    enrolment: &EnrolmentId,
    expires_at: Timestamp,
) -> Value {
    let request = json!({
        "op": "OPEN_ENROLMENT",
        "credential": rows::login(credential),
        "enrolment": enrolment.to_string(),
        "expires_at": instant(expires_at),
    });
    let request = with(request, "subject", subject.map(rows::person));
    with(request, "tag", tag.map(|tag| hex(&tag).into()))
}

fn grant_consent(consent: &Consent, tag: &[u8; 32], evidence: &[u8], receipt: &str, jws: &str) -> Value {
    json!({
        "op": "GRANT_CONSENT",
        "consent": rows::consent(consent),
        "tag": hex(tag),
        "evidence": hex(evidence),
        "receipt": receipt,
        "jws": jws,
    })
}
