//! Between the rows of the keyring, which know no custodian, and what custody opens.

use cofre_custody::{CustodianId, Mechanism, WrappedShare, WrappedTenantKey};
use cofre_store::{KeyVersion, TenantKeyShare};

/// A tenant key as custody opens it, from the rows of one wrapping. Nothing where the rows are none, say different sets,
/// or name what no custodian is called.
#[must_use]
pub fn wrapped(rows: Vec<TenantKeyShare>) -> Option<WrappedTenantKey> {
    let set = rows.first()?.set.clone();
    if rows.iter().any(|row| row.set != set) {
        return None;
    }
    let shares = rows.into_iter().map(|row| {
        Some(WrappedShare {
            custodian: CustodianId::try_from(row.custodian.as_str()).ok()?,
            share: row.share,
            wrapped: row.wrapped,
            mechanism: Mechanism::from_text(&row.mechanism)?,
            custodian_key: row.custodian_key,
        })
    });
    Some(WrappedTenantKey { set: set.parse().ok()?, shares: shares.collect::<Option<_>>()? })
}

/// The rows of a wrapping, to be put as the first one of its version.
#[must_use]
pub fn stored(key: KeyVersion, wrapped: WrappedTenantKey) -> Vec<TenantKeyShare> {
    let count = u16::try_from(wrapped.shares.len()).unwrap_or(u16::MAX);
    let set = wrapped.set.to_string();
    wrapped
        .shares
        .into_iter()
        .map(|share| TenantKeyShare {
            tenant: key.tenant,
            version: key.version,
            custodian: share.custodian.to_string(),
            share: share.share,
            share_count: count,
            wrapped: share.wrapped,
            mechanism: share.mechanism.as_str().to_owned(),
            custodian_key: share.custodian_key,
            set: set.clone(),
            wrapping: 1,
        })
        .collect()
}
