//! A tenant's key is bound to its region, so the region is settled when it is registered.

use cofre_admin::Error;
use cofre_model::reason::Reason;

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
