//! Row MACs, without a custodian.

use cofre_ledger::entry::leaf_hash;
use cofre_model::consent::Consent;
use cofre_model::credential::Credential;
use cofre_model::entry::{Entry, EntryId};
use cofre_store::columns;

/// Stands for the row MAC: keyed by a word nobody who edits the files knows.
pub(crate) fn mac(table: &str, columns: &[&[u8]], entry: &EntryId) -> [u8; 32] {
    let mut message = format!("integrity/{table}/").into_bytes();
    for column in columns {
        message.extend(u64::try_from(column.len()).expect("small").to_be_bytes());
        message.extend(*column);
    }
    message.extend(entry);
    leaf_hash(&message)
}

pub(crate) fn true_mac(table: &str, columns: &[&[u8]], entry: &EntryId, tag: &[u8; 32]) -> bool {
    mac(table, columns, entry) == *tag
}

fn tag(table: &str, columns: &[Vec<u8>], entry: &EntryId) -> [u8; 32] {
    mac(table, &columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), entry)
}

pub(crate) fn consent_tag(consent: &Consent, shown: &columns::Shown, entry: &Entry) -> [u8; 32] {
    tag(columns::CONSENTS, &columns::consent(consent, shown), &entry.id)
}

pub(crate) fn credential_tag(credential: &Credential, entry: &Entry) -> [u8; 32] {
    tag(columns::CREDENTIALS, &columns::credential(credential), &entry.id)
}
