//! What an operation has its entry name, whoever asked for it: what stands is read from the entries alone.

use cofre_model::entry::Entry;
use cofre_store::{Lockdown, Operation as Op};
use sha2::{Digest as _, Sha256};

pub(super) fn named(entry: Entry, operation: &Op) -> Entry {
    match operation {
        Op::PutTenant { custody_set, warm_for, .. } => {
            let secs = warm_for.as_micros() / 1_000_000;
            Entry { reference: Some(format!("{} {secs}", custody_set.as_deref().unwrap_or("-"))), ..entry }
        }
        Op::OpenEnrolment { credential, .. } => {
            Entry { credential: Some(credential.id), owner: Some(credential.owner), ..entry }
        }
        Op::CompleteDeposit { credential, .. } => Entry {
            credential: Some(credential.id),
            owner: Some(credential.owner),
            secret_version: Some(credential.secret_version),
            ..entry
        },
        Op::RequestConsent { consent, .. } | Op::GrantConsent { consent, .. } => Entry {
            credential: Some(consent.credential),
            owner: Some(consent.subject),
            consents: vec![consent.id],
            ..entry
        },
        Op::EndConsent { consent, .. } => Entry { consents: vec![*consent], ..entry },
        Op::ReportOutcome { credential, outcome, lock, .. } => Entry {
            credential: Some(*credential),
            outcome: Some(*outcome),
            digest: lock.as_ref().map(|(_, tag)| Sha256::digest(tag).into()),
            ..entry
        },
        Op::Lockdown(lockdown) => Entry {
            reference: Some(match lockdown {
                Lockdown::Platform => "PLATFORM".into(),
                Lockdown::Tenant(id) => format!("TENANT {id}"),
                Lockdown::Institution(id) => format!("INSTITUTION {id}"),
                Lockdown::Credential(id) => format!("CREDENTIAL {id}"),
            }),
            ..entry
        },
        Op::QuarantineWorker { worker } => Entry { reference: Some(worker.clone()), ..entry },
        Op::AcceptErasure { erasure, tenant, subject } => {
            Entry { tenant: Some(*tenant), owner: Some(*subject), reference: Some(erasure.to_string()), ..entry }
        }
        _ => entry,
    }
}
