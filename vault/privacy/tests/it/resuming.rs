//! Crashes between any two steps, and restored stores: what was begun is ended, and nothing comes back.

use cofre_ledger::jws;
use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_model::wording::Class;
use cofre_store::Operation;
use cofre_testkit::stores::{Store, back_up, edit, restore};
use serde_json::Value;

use crate::support::{Investor, NOW, Node, front_end, node};
use cofre_model::request::Person;

/// Takes the first steps of an erasure by hand, as a process that dies after the last of them.
async fn die_after(node: &Node, investor: &Investor, steps: usize) -> ErasureId {
    let erasure = ErasureId::from_parts(NOW.millis(), [5; 10]);
    let mut entry = node.entry(EntryKind::ErasureAccepted).by(&front_end());
    entry.tenant = Some(node.tenant());
    entry.owner = Some(investor.subject);
    entry.reference = Some(erasure.to_string());
    entry.count = Some(2);
    let accept = Operation::AcceptErasure { erasure, tenant: node.tenant(), subject: investor.subject };
    let accepted = node.apply(entry, accept).await;
    if steps >= 2 {
        node.stores.keyring.destroy_owner(&investor.subject, NOW, accepted).await.expect("destroyed");
    }
    if steps >= 3 {
        let mut entry = node.entry(EntryKind::KeysDestroyed);
        entry.follows = Some(accepted);
        entry.count = Some(2);
        node.apply(entry, Operation::KeysDestroyed { erasure }).await;
    }
    if steps >= 4 {
        node.stores.ciphertexts.delete(&investor.credential).await.expect("deleted");
    }
    erasure
}

#[tokio::test]
async fn whatever_step_was_the_last_a_restart_ends_the_erasure() {
    for (steps, counted) in [(1, "AT_DESTRUCTION"), (2, "AT_ACCEPTANCE"), (3, "AT_DESTRUCTION"), (4, "AT_DESTRUCTION")]
    {
        let node = node().await;
        let (gone, stays) = (node.investor("inv-1").await, node.investor("inv-2").await);
        let id = die_after(&node, &gone, steps).await;
        let node = node.restart(async |_| {}).await;
        let erasures = node.erasures();
        let held = node.stores.keyring.destroyed(&gone.subject).await.expect("read").is_none();
        assert_eq!(erasures.resume().await.expect("the list"), 1, "no checkpoint covers it yet");
        let destroyed = node.stores.keyring.destroyed(&gone.subject).await.expect("read");
        assert_eq!(destroyed.is_none(), held, "nothing went on the records' word alone");
        node.publish().await;
        assert_eq!(erasures.resume().await.expect("the list"), 0, "after step {steps}");
        assert_eq!(node.opens(&gone).await, None);
        assert_eq!(node.opens(&stays).await.as_deref(), Some("inv-2"));
        let rows = node.stores.ciphertexts.of(&gone.credential, Class::Login, 1).await.expect("ciphertexts");
        assert!(rows.is_empty());

        let certificate = erasures.certificate(&front_end(), &id).await.expect("certified");
        let verified = jws::verify(&certificate, &node.verifying_key()).expect("holds");
        let payload: Value = serde_json::from_slice(&verified.payload).expect("JSON");
        assert_eq!((&payload["keys"]["count"], &payload["keys"]["counted"]), (&2.into(), &counted.into()));
        assert_eq!(payload["requested_by"], "FRONT_END");
        let size = node.size().await;
        assert_eq!(erasures.resume().await.expect("the list"), 0);
        assert_eq!(node.size().await, size, "nothing is done twice");
    }
}

#[tokio::test]
async fn a_repeated_call_goes_on_where_the_first_stopped() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let id = die_after(&node, &gone, 2).await;
    let erased = node.erasures().erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    assert_eq!(erased.id, id);
    assert!(erased.certificate.is_some());
}

#[tokio::test]
async fn a_keyring_restored_from_before_the_erasure_loses_the_keys_again() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let node = node.restart(async |folder| back_up(folder, Store::Keyring).await.expect("backed up")).await;
    node.erasures().erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    node.stores.ciphertexts.put(&gone.credential, Class::Login, 1, &gone.sealed).await.expect("put back");
    node.publish().await;
    let node = node.restart(async |folder| restore(folder, Store::Keyring).await.expect("restored")).await;
    assert_eq!(node.opens(&gone).await.as_deref(), Some("inv-1"), "the danger is real");
    assert_eq!(node.erasures().resume().await.expect("the list"), 0);
    assert_eq!(node.opens(&gone).await, None);
    assert!(node.stores.ciphertexts.of(&gone.credential, Class::Login, 1).await.expect("ciphertexts").is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_one_erasure_holds_it_and_no_other() {
    let node = node().await;
    let (gone, stays) = (node.investor("inv-1").await, node.investor("inv-2").await);
    let forged = die_after(&node, &gone, 1).await;
    let second = node.investor("inv-3").await;
    node.publish().await;
    let folder_edit = format!("UPDATE erasures SET subject_id = '{}' WHERE id = '{forged}'", stays.subject);
    let node = node
        .restart(async |folder| {
            edit(folder, Store::Records, &[&folder_edit]).await.expect("edited");
        })
        .await;
    let owed = node.erasures().resume().await.expect("the list");
    assert_eq!(owed, 1, "the row names another person than its entry");
    for investor in [&gone, &stays, &second] {
        assert!(node.opens(investor).await.is_some(), "{}", investor.reference);
    }
    let done = node.erasures().erase(&front_end(), Person::Id(second.subject)).await.expect("erased");
    assert!(done.certificate.is_some());
    assert_eq!(node.opens(&second).await, None);
    assert_eq!(node.erasures().resume().await.expect("the list"), 1);
    assert!(node.opens(&stays).await.is_some());
}
