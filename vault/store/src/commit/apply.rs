//! From a typed operation to the rows it changes. Each arm ends with its entry appended, or with a refusal and
//! nothing changed.

use cofre_model::entry::{Entry, EntryKind, Verdict};
use cofre_model::reason::Reason;

use crate::commit::carrier::Outcome;
use crate::commit::group::Group;
use crate::commit::operation::Operation as Op;
use crate::commit::{consents, ending, enrolment, keys, registry, undelivered, versions};
use crate::error::CommitError;

/// Nothing of that name for this caller.
pub(crate) const ABSENT: CommitError = CommitError::Refused(Reason::NotFound);
/// It is not in the state this needs.
pub(crate) const WRONG_STATE: CommitError = CommitError::Refused(Reason::WrongState);

pub(crate) async fn apply(group: &mut Group<'_>, entry: Entry, operation: Op) -> Result<Outcome, CommitError> {
    let starts = matches!(operation, Op::NodeStarted);
    let follows = match operation {
        Op::NodeStarted | Op::NodeStopped | Op::NodeCertified => None,
        Op::Note => {
            if let (EntryKind::Outcome, Some(Verdict::Denied), Some(grant)) = (entry.kind, entry.verdict, entry.follows)
            {
                undelivered::withdraw(group, grant).await?;
            }
            None
        }
        // The pairs themselves are in the keyring.
        Op::DepositKeyMade | Op::DepositKeysDestroyed => None,
        Op::PolicyActivated { digest } => registry::activate_policy(group, digest).await?,
        Op::PutTenant { tenant, key_version, custody_set: _, warm_for, signing_keys, recipients } => {
            registry::put_tenant(group, &tenant, key_version, warm_for).await?;
            for key in &signing_keys {
                registry::put_signing_key(group, key).await?;
            }
            for recipient in &recipients {
                registry::put_recipient(group, recipient).await?;
            }
            None
        }
        Op::PutSigningKey(key) => registry::put_signing_key(group, &key).await?,
        Op::PutRecipient(recipient) => registry::put_recipient(group, &recipient).await?,
        Op::PutInstitution(institution) => registry::put_institution(group, &institution).await?,
        Op::PutTemplate(template) => registry::put_template(group, &template).await?,
        Op::PutWorker(worker) => registry::put_worker(group, &worker).await?,
        Op::OpenEnrolment { subject, credential, tag, enrolment, expires_at } => {
            let row = (&credential, &entry.id, tag.as_ref());
            enrolment::open(group, subject.as_ref(), row, &enrolment, expires_at).await?
        }
        Op::EndEnrolment { tenant, enrolment } => enrolment::end(group, &tenant, &enrolment).await?,
        Op::CompleteDeposit { enrolment, credential, tag } => {
            enrolment::complete(group, &enrolment, &credential, &entry.id, &tag).await?
        }
        Op::RequestConsent { consent, tag, lapses_at, notice_digest, locale } => {
            consents::request(group, &consent, (&entry.id, &tag), lapses_at, &notice_digest, locale).await?
        }
        Op::GrantConsent { consent, tag, evidence, receipt } => {
            consents::grant(group, &consent, (&entry.id, &tag), &evidence, receipt).await?
        }
        Op::EndConsent { tenant, consent, to } => consents::end(group, &tenant, &consent, to).await?,
        Op::Receipt { consent, receipt, seq, state, jws } => {
            consents::receipt(group, &consent, &receipt, seq, state, &jws).await?
        }
        Op::ReportOutcome { credential, job, worker, outcome, lock } => {
            ending::report(group, &entry.id, &credential, &job, &worker, outcome, lock.as_ref()).await?
        }
        Op::Lockdown(lockdown) => ending::lockdown(group, &lockdown).await?,
        Op::QuarantineWorker { worker } => ending::quarantine(group, &worker).await?,
        Op::AcceptErasure { erasure, tenant, subject } => {
            ending::accept_erasure(group, &erasure, &tenant, &subject).await?
        }
        Op::KeysDestroyed { erasure } => ending::keys_destroyed(group, &erasure).await?,
        Op::CertifyErasure { erasure, certificate, horizon } => {
            ending::certify(group, &erasure, &certificate, horizon).await?
        }
        Op::OpenKeyJob(job) => keys::open(group, &job).await?,
        Op::EndKeyJob { job, to, moved } => keys::end(group, &job, to, moved).await?,
        Op::MakeTenantKey { job, tenant, version, key_id } => {
            versions::make(group, &job, tenant, version, key_id).await?
        }
        Op::OpenTenantKey { job, tenant, version } => versions::open(group, &entry, &job, &tenant, version).await?,
        Op::TenantKeyMoved { job, tenant, version, .. } => {
            versions::moved(group, &entry, &job, &tenant, version).await?
        }
        Op::CountKeys { subject, remaining, statement } => {
            keys::counted(group, &subject, remaining, &statement).await?
        }
        Op::RetireKeys { subject } => keys::retire(group, &subject).await?,
        // The shares are in the keyring.
        Op::RetiredKeysDestroyed { .. } => None,
    };
    let entry = Entry { follows: entry.follows.or(follows), ..entry };
    group.append(entry).await?;
    if starts {
        undelivered::earlier_lives(group).await?;
    }
    Ok(Outcome::Written)
}
