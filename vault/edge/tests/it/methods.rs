//! By enumeration over the wire's own description: no method without a row at the gate, and no row without a method.

use std::collections::BTreeSet;

use cofre_edge::gate;
use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::support::CHECK;

#[test]
fn every_method_has_a_row_and_every_row_a_method() {
    let described = FileDescriptorSet::decode(cofre_proto::DESCRIPTORS).expect("descriptors");
    let mut methods = BTreeSet::new();
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    assert!(methods.len() > 30, "the descriptors hold the services: {methods:?}");
    // Health is described by tonic-health, and only its Check is listed.
    methods.insert(CHECK.to_owned());
    let rows: BTreeSet<String> = gate::methods().map(str::to_owned).collect();
    assert_eq!(methods.difference(&rows).collect::<Vec<_>>(), Vec::<&String>::new(), "methods without a row");
    assert_eq!(rows.difference(&methods).collect::<Vec<_>>(), Vec::<&String>::new(), "rows without a method");
    assert!(rows.iter().all(|method| gate::allowed(method).is_some_and(|roles| !roles.is_empty())));
}
