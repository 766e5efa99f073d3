//! Orders about the key tree.

use cofre_model::id::Slug;
use cofre_model::keys::KeyJob;
use cofre_model::request::{KeyName, RetireKeys, RewrapKeys, RotateKeys};

use super::{Malformed, id};
use crate::v1;

/// The longest text of a custody set: nine names of 63 characters and what stands between them.
const CUSTODY_SET: usize = 640;

fn key_name(field: &str, text: &str) -> Result<Option<KeyName>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    KeyName::try_from(text).map(Some).map_err(|why| Malformed::new(field, why.to_string()))
}

/// Parses the order of a rewrap. Whether the custodians are configured is the use case's to judge.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn rewrap_keys(wire: v1::RewrapKeysRequest) -> Result<RewrapKeys, Malformed> {
    if wire.custody_set.is_empty() || wire.custody_set.len() > CUSTODY_SET {
        let advice = "must read any_of(<custodian>,…) or all_of(<custodian>,…)";
        return Err(Malformed::new("custody_set", advice));
    }
    let rate = rate(wire.rate)?;
    Ok(RewrapKeys {
        from_key: key_name("from_key", &wire.from_key)?,
        custody_set: wire.custody_set,
        rate,
        dry_run: wire.dry_run,
    })
}

fn rate(rate: u32) -> Result<Option<u32>, Malformed> {
    if rate > KeyJob::FASTEST {
        return Err(Malformed::new("rate", format!("must be at most {}, or 0 for as many as it can", KeyJob::FASTEST)));
    }
    Ok((rate > 0).then_some(rate))
}

/// Parses the order of a rotation.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn rotate_keys(wire: &v1::RotateKeysRequest) -> Result<RotateKeys, Malformed> {
    let tenant = if wire.tenant_id.is_empty() { None } else { Some(id("tenant_id", &wire.tenant_id)?) };
    match (tenant, wire.every_tenant) {
        (None, false) => return Err(Malformed::new("tenant_id", "must name a tenant, unless every_tenant is set")),
        (Some(_), true) => return Err(Malformed::new("every_tenant", "must not be set beside a tenant")),
        (None, true) | (Some(_), false) => {}
    }
    Ok(RotateKeys { tenant, rate: rate(wire.rate)?, dry_run: wire.dry_run })
}

/// Parses the order to retire older versions of tenant keys.
///
/// # Errors
/// [`Malformed`] where it does not say that it is meant.
pub fn retire_tenant_keys(wire: v1::RetireTenantKeysRequest) -> Result<(), Malformed> {
    if wire.every_tenant {
        Ok(())
    } else {
        Err(Malformed::new("every_tenant", "must be set; it is about every tenant"))
    }
}

/// Parses the order of a retirement.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn retire_keys(wire: &v1::RetireKeysRequest) -> Result<RetireKeys, Malformed> {
    let custodian =
        Slug::try_from(wire.custodian.as_str()).map_err(|why| Malformed::new("custodian", why.to_string()))?;
    Ok(RetireKeys { custodian, key: key_name("key", &wire.key)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_order_is_about_nobody() {
        let refused = |wire: v1::RotateKeysRequest| rotate_keys(&wire).map_err(|why| why.field);
        assert_eq!(refused(v1::RotateKeysRequest::default()), Err("tenant_id".into()));
        let one = cofre_model::id::TenantId::from_parts(1, [1; 10]);
        let both = v1::RotateKeysRequest { tenant_id: one.to_string(), every_tenant: true, ..Default::default() };
        assert_eq!(refused(both.clone()), Err("every_tenant".into()));
        let all = v1::RotateKeysRequest { tenant_id: String::new(), ..both.clone() };
        assert_eq!(refused(all).map(|order| order.tenant), Ok(None));
        let named = v1::RotateKeysRequest { every_tenant: false, ..both };
        assert_eq!(refused(named).map(|order| order.tenant), Ok(Some(one)));
        assert!(retire_tenant_keys(v1::RetireTenantKeysRequest::default()).is_err());
        assert!(retire_tenant_keys(v1::RetireTenantKeysRequest { every_tenant: true }).is_ok());
    }
}
