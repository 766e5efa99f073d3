//! A tenant's key is bound to its region, so the region is settled when it is registered.

use cofre_admin::Error;
use cofre_ledger::entry::Leaf;
use cofre_model::reason::Reason;
use cofre_model::request::PutTenant;
use cofre_model::time::Span;

use crate::bench::{Bench, operator, put};

fn told<T>(result: Result<T, Error>) -> Option<(Reason, Option<String>)> {
    match result {
        Err(Error::Refused { reason, field }) => Some((reason, field.map(|(field, _)| field))),
        _ => None,
    }
}

#[tokio::test]
async fn a_tenant_of_another_region_is_not_registered_here() {
    let bench = Bench::new().await;
    let refused = bench.admin.put_tenant(&operator(), put("acme", "Acme", "eu-es")).await;
    assert_eq!(told(refused), Some((Reason::WrongRegion, Some("home_region".to_owned()))));
    assert!(bench.admin.records.tenants().await.expect("read").is_empty());
    assert_eq!(bench.wraps(), 0, "no key was made for it");
}

#[tokio::test]
async fn a_tenant_has_its_own_custodians_and_time() {
    let bench = Bench::new().await;
    let with = |set: &str| PutTenant { custody_set: Some(set.to_owned()), ..put("acme", "Acme", "eu-nl") };
    for wrong in ["hsm-1", "any_of(nobody)", "all_of(hsm-1,hsm-1)", "any_of(hsm-1,hsm-2)"] {
        let refused = bench.admin.put_tenant(&operator(), with(wrong)).await;
        assert_eq!(told(refused), Some((Reason::BadRequest, Some("custody_set".to_owned()))), "{wrong}");
    }
    assert_eq!(bench.wraps(), 0);
    let known = PutTenant { warm_for: Some(Span::secs(7)), ..with("all_of(hsm-1)") };
    let known = bench.admin.put_tenant(&operator(), known).await.expect("registered");
    let refused = bench.admin.put_tenant(&operator(), with("any_of(hsm-1)")).await;
    assert_eq!(told(refused), Some((Reason::WrongState, Some("custody_set".to_owned()))));
    let again = bench.admin.put_tenant(&operator(), with("all_of(hsm-1)")).await.expect("what it has");
    for entry in [known.entry, again.entry] {
        let row = bench.admin.records.entry(entry.index).await.expect("read").expect("there");
        let said = Leaf::parse(&row.bytes).expect("a leaf").entry().expect("an entry");
        assert_eq!(said.reference.as_deref(), Some("all_of(hsm-1) 7"), "its custodians and its time in memory");
    }
    let row = bench.admin.records.tenant(&known.id).await.expect("read").expect("there");
    assert_eq!(row.warm_for, Span::secs(7), "what is not said stays");
    let rows = bench.admin.keyring.tenant_key(&known.id, row.key_version).await.expect("read");
    assert_eq!(cofre_admin::wrapped(rows).expect("whole").set.to_string(), "all_of(hsm-1)");
    assert_eq!(bench.wraps(), 1);
}

#[tokio::test]
async fn a_tenant_keeps_its_region_and_may_change_its_name() {
    let bench = Bench::new().await;
    let known = bench.admin.put_tenant(&operator(), put("acme", "Acme", "eu-nl")).await.expect("registered");
    let refused = bench.admin.put_tenant(&operator(), put("acme", "Acme", "eu-es")).await;
    assert_eq!(told(refused), Some((Reason::WrongState, Some("home_region".to_owned()))));
    let renamed = bench.admin.put_tenant(&operator(), put("acme", "Acme SGIIC", "eu-nl")).await.expect("renamed");
    assert_eq!(renamed.id, known.id);
    let row = bench.admin.records.tenant(&known.id).await.expect("read").expect("there");
    assert_eq!((row.tenant.legal_name.as_str(), row.tenant.home_region.as_str()), ("Acme SGIIC", "eu-nl"));
    assert_eq!(bench.wraps(), 1);
}
