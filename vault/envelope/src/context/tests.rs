use super::*;
use crate::samples;

#[test]
fn pinned_vectors_of_all_twelve_contexts() {
    let vectors = samples::vectors();
    let password = samples::field("password");
    let secret = samples::secret();
    let all = [
        ("field", FieldContext { secret, field: &password }.encode()),
        ("wrap/data", samples::wrap_data().encode()),
        ("wrap/subject", samples::wrap_subject().encode()),
        ("wrap/tenant", samples::wrap_tenant().encode()),
        ("wrap/deposit-key", samples::wrap_deposit_key().encode()),
        ("wrap/row-key", samples::wrap_row_key().encode()),
        ("wrap/evidence", samples::wrap_evidence().encode()),
        ("evidence", samples::wrap_evidence().document("cns_example")),
        ("cofre/v1/deposit", samples::deposit().encode()),
        ("cofre/v1/deposit/field", DepositContext::field(&password, 1)),
        ("cofre/v1/release", samples::release().encode()),
        ("cofre/v1/answer", samples::answer().encode()),
    ];
    let pinned = vectors["contexts"].as_object().expect("an object");
    assert_eq!(pinned.len(), all.len());
    for (label, encoded) in all {
        assert_eq!(hex::encode(encoded), pinned[label].as_str().expect("hex"), "{label}");
    }
    assert_eq!(samples::wrap_tenant().digest()[..], samples::bytes(&vectors["wrap_tenant_digest"])[..]);
}

#[test]
fn parts_cannot_slide_into_each_other() {
    let one = Encoder::new("a").part(b"bc").part(b"").done();
    let two = Encoder::new("a").part(b"b").part(b"c").done();
    let three = Encoder::new("ab").part(b"c").done();
    assert_ne!(one, two);
    assert_ne!(two, three);
    // A part that is too long is bound by its digest, under a length nothing else has.
    let long = vec![7; 70_000];
    let encoded = Encoder::new("a").part(&long).done();
    assert_eq!(encoded[3..5], [0xff, 0xff]);
    assert_eq!(encoded[5..], primitive::sha256(&long));
}

#[test]
fn warrants_say_which_secret_they_open() {
    let warrant = DepositWarrant {
        tenant: samples::tenant(),
        owner: samples::owner(),
        credential: samples::credential(),
        class: Class::Login,
        secret_version: 7,
        enrolment: samples::deposit().enrolment,
        template_version: 1,
        deposit_key: samples::deposit().key,
        tenant_key_id: [0; 16],
    };
    assert_eq!(SecretContext::from(&warrant), samples::secret());
}
