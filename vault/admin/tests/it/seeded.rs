//! What a rewrap costs does not depend on how many logins lie under the keys it moves, and every one of them opens
//! afterwards as before. `COFRE_NIGHT` makes it a million.

use cofre_custody::{TenantRef, Warmed, WrappedKeys};
use cofre_envelope::context::SecretContext;
use cofre_model::permit::{EntryRef, Mint, Permit, Release, ReleaseWarrant, SendBy};
use cofre_model::time::{Monotonic, Timestamp};
use cofre_model::wording::Class;
use cofre_testkit::seed::Seeded;

use crate::house::{House, Node, never};

const TENANTS: u16 = 100;
/// What every seeded login holds.
pub(crate) const FIELDS: [&[u8]; 2] = [b"seeded", b"seeded: opens nothing anywhere"];

/// A permit as the commit would mint it for this login; these logins have no consent and get none.
#[expect(clippy::disallowed_methods, reason = "a test stands for the commit")]
fn permit(seeded: &Seeded, number: u64, tenant_key_id: [u8; 16]) -> Permit<Release> {
    let (credential, owner) = seeded.login(number);
    let warrant = ReleaseWarrant {
        tenant: seeded.tenant.id,
        owner,
        credential,
        class: Class::Login,
        secret_version: 1,
        tenant_key_id,
        worker: String::new(),
        request_digest: [0; 32],
        fields: Vec::new(),
        lease_until: Timestamp::default(),
    };
    let at = EntryRef { index: 0, leaf_hash: [0; 32], time: Timestamp::default() };
    Mint::assemble().permit(at, SendBy::from_submission(Monotonic::default()), warrant)
}

/// Opens a login all the way down, and says what its fields hold.
pub(crate) async fn opened(node: &Node, seeded: &Seeded, number: u64) -> Vec<Vec<u8>> {
    let (credential, owner) = seeded.login(number);
    let keyring = &node.stores.keyring;
    let data = keyring.data_key(&credential, Class::Login, 1).await.expect("read").expect("a data key");
    let subject = keyring.subject_key_version(&owner, 1).await.expect("read").expect("a subject key");
    let version = subject.tenant_key_version;
    let known = node.stores.records.tenant_key_version(&seeded.tenant.id, version).await.expect("read");
    let key_id = known.expect("the records know it").key_id;
    let rows = WrappedKeys {
        tenant: TenantRef { key_id, ..TenantRef::of(&seeded.tenant, version) },
        subject_key_version: 1,
        subject: subject.wrapped,
        data: data.wrapped,
    };
    let dek = node.keys.for_release().open_keys(permit(seeded, number, key_id), rows, Warmed::default()).await;
    let dek = dek.expect("opens");
    let secret = SecretContext { tenant: seeded.tenant.id, owner, credential, class: Class::Login, version: 1 };
    let sealed = node.stores.ciphertexts.of(&credential, Class::Login, 1).await.expect("read");
    let open = sealed.iter().map(|(field, sealed)| dek.open_field(&secret, field, sealed).expect("opens"));
    open.map(|plain| plain.with_bytes(<[u8]>::to_vec)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custodian_is_left_with_two_calls_a_tenant_however_many_logins_there_are() {
    let night = std::env::var_os("COFRE_NIGHT").is_some();
    let logins = if night { 1_000_000 } else { 10_000 };
    let mut house = House::new(&["a", "b"]);
    let node = house.node().await;
    node.stores.close().await;
    let seeded = house.seed("a", TENANTS, logins).await;
    let node = house.node().await;
    assert_eq!(seeded.iter().map(|tenant| tenant.logins).sum::<u64>(), logins);

    let before = house.calls();
    let job = node.open("any_of(b)").await;
    let pass = node.jobs.rewrap(&job, &never).await.expect("a pass");
    assert_eq!((pass.moved, pass.failed, pass.done), (u64::from(TENANTS), 0, true));
    let after = house.calls();
    // And one to see that the first new share opens.
    assert_eq!((after.0 - before.0, after.1 - before.1), (u64::from(TENANTS) + 1, usize::from(TENANTS)));
    node.opened_no_data_key();

    house.custodian("a").take_away();
    for tenant in &seeded {
        // All of them by day, and as many by night.
        let step = (tenant.logins / 100).max(1);
        for number in (0..tenant.logins).step_by(usize::try_from(step).expect("few")) {
            assert_eq!(opened(&node, tenant, number).await, FIELDS);
        }
    }
    assert!(node.keys.counters().data_keys >= 10_000, "the counter counts");
}
