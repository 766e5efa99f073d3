//! Between the rows of the keyring, which know no custodian, and what custody opens.

use cofre_custody::{CarriedKeys, CustodianId, JournalError, Mechanism, WrappedShare, WrappedTenantKey};
use cofre_store::{CarriedKey, CarriedKind, KeyVersion, TenantKeyShare};

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
    Some(WrappedTenantKey { set: set.parse().ok()?, shares: shares.collect::<Option<_>>()?, carried: None })
}

/// What custody is told where a tenant key cannot be had from the stores. A row that cannot be read is one tenant's: whoever
/// asks for others need not wait for it. What else fails concerns everybody.
#[must_use]
pub const fn not_had(cause: &cofre_store::Error) -> JournalError {
    match cause {
        cofre_store::Error::Corrupt { .. } => JournalError::NoSuchKey,
        _ => JournalError::Unavailable,
    }
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

/// The keys of a tenant's rows as custody opens them; nothing where one of them is missing.
#[must_use]
pub fn carried(rows: Vec<CarriedKey>) -> Option<CarriedKeys> {
    let (mut integrity, mut dedupe) = (None, None);
    for CarriedKey { kind, wrapped } in rows {
        match kind {
            CarriedKind::Integrity => integrity = Some(wrapped),
            CarriedKind::Dedupe => dedupe = Some(wrapped),
        }
    }
    Some(CarriedKeys { integrity: integrity?, dedupe: dedupe? })
}

/// The rows of the keys of a tenant's rows, to be put beside the key that wraps them.
#[must_use]
pub fn carried_rows(keys: CarriedKeys) -> Vec<CarriedKey> {
    let CarriedKeys { integrity, dedupe } = keys;
    let row = |kind, wrapped| CarriedKey { kind, wrapped };
    vec![row(CarriedKind::Integrity, integrity), row(CarriedKind::Dedupe, dedupe)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_one_tenants_and_what_else_fails_everybodys() {
        use cofre_store::Error;
        let corrupt = Error::Corrupt { table: "tenant_keys", column: "share_count" };
        assert!(matches!(not_had(&corrupt), JournalError::NoSuchKey));
        assert!(matches!(not_had(&Error::Closed), JournalError::Unavailable));
    }
}
