//! What an erasure does, in which order, and to whom it answers.

use cofre_model::credential::CredentialState;
use cofre_model::entry::EntryKind;
use cofre_model::id::SubjectId;
use cofre_model::reason::Reason;
use cofre_model::request::{Person, SubjectRef};
use cofre_model::wording::Class;
use cofre_store::{Error as StoreError, SubjectState};

use crate::support::{NOW, auditor, front_end, node, officer, other_front_end, worker};

#[tokio::test]
async fn an_erased_login_opens_no_more_and_its_neighbour_still_does() {
    let node = node().await;
    let (gone, stays) = (node.investor("inv-1").await, node.investor("inv-2").await);
    assert_eq!(node.opens(&gone).await.as_deref(), Some("inv-1"), "the control opens before");
    let from = node.size().await;
    let erased = node.erasures().erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    assert!(erased.certificate.is_some());
    assert_eq!(erased.entry.index, from);
    let kinds = node.kinds(from).await;
    assert_eq!(kinds, [EntryKind::ErasureAccepted, EntryKind::KeysDestroyed, EntryKind::ErasureCertified]);

    assert_eq!(node.opens(&gone).await, None);
    assert_eq!(node.opens(&stays).await.as_deref(), Some("inv-2"));
    let rows = node.stores.ciphertexts.of(&gone.credential, Class::Login, 1).await.expect("ciphertexts");
    assert!(rows.is_empty());
    let records = &node.stores.records;
    let login = records.credential(&node.tenant(), &gone.credential).await.expect("records").expect("the row");
    assert_eq!(login.claimed.state, CredentialState::Erased);
    let person = records.subject(&node.tenant(), &gone.subject).await.expect("records").expect("the row");
    assert_eq!((person.state, person.external_ref), (SubjectState::Erased, None));
}

#[tokio::test]
async fn old_rows_put_back_do_not_open_and_keys_are_not_taken_back() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    node.erasures().erase(&front_end(), Person::Id(gone.subject)).await.expect("erased");
    // Somebody puts the ciphertexts of an old backup back …
    node.stores.ciphertexts.put(&gone.credential, Class::Login, 1, &gone.sealed).await.expect("put back");
    assert_eq!(node.opens(&gone).await, None);
    // … and the keyring refuses the keys that would open them.
    let subject_key = node.stores.keyring.put_subject_key(&gone.subject_key).await;
    assert!(matches!(subject_key, Err(StoreError::Destroyed)), "{subject_key:?}");
    let data_key = node.stores.keyring.put_data_key(&gone.data_key).await;
    assert!(matches!(data_key, Err(StoreError::Destroyed)), "{data_key:?}");
    assert_eq!(node.opens(&gone).await, None);
}

#[tokio::test]
async fn erasing_again_gives_the_same_certificate_and_writes_nothing() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let erasures = node.erasures();
    let reference = SubjectRef::try_from(gone.reference.as_str()).expect("a reference");
    let first = erasures.erase(&front_end(), Person::Ref(reference.clone())).await.expect("erased");
    let size = node.size().await;
    assert_eq!(erasures.erase(&front_end(), Person::Id(gone.subject)).await.expect("again"), first);
    assert_eq!(erasures.erase(&officer(), Person::Id(gone.subject)).await.expect("again"), first);
    assert_eq!(erasures.certificate(&auditor(), &first.id).await.ok(), first.certificate);
    assert_eq!(node.size().await, size);
    // The pseudonym went with the erasure: nothing ties it to the erased id.
    let error = erasures.erase(&front_end(), Person::Ref(reference)).await.expect_err("no such person");
    assert_eq!(error.reason(), Reason::NotFound);
}

#[tokio::test]
async fn two_calls_at_once_make_one_erasure() {
    let node = node().await;
    let gone = node.investor("inv-1").await;
    let erasures = node.erasures();
    let (front_end, officer) = (front_end(), officer());
    let (one, other) = tokio::join!(
        erasures.erase(&front_end, Person::Id(gone.subject)),
        erasures.erase(&officer, Person::Id(gone.subject)),
    );
    assert_eq!(one.expect("erased"), other.expect("erased"));
    let accepted = node.kinds(0).await.into_iter().filter(|kind| *kind == EntryKind::ErasureAccepted).count();
    assert_eq!(accepted, 1);
}

#[tokio::test]
async fn a_foreign_person_is_as_absent_as_one_that_never_was() {
    let node = node().await;
    let investor = node.investor("inv-1").await;
    let erasures = node.erasures();
    let size = node.size().await;
    let reference = Person::Ref(SubjectRef::try_from("inv-1").expect("a reference"));
    let nobody = Person::Id(SubjectId::from_parts(NOW.millis(), [0xee; 10]));
    let absent = erasures.erase(&other_front_end(), nobody.clone()).await.expect_err("absent");
    for person in [Person::Id(investor.subject), reference.clone()] {
        let foreign = erasures.erase(&other_front_end(), person).await.expect_err("foreign");
        assert_eq!(foreign.reason(), Reason::NotFound);
        assert_eq!((foreign.to_string(), foreign.advice()), (absent.to_string(), absent.advice()));
    }
    assert_eq!(erasures.erase(&officer(), nobody).await.expect_err("absent").reason(), Reason::NotFound);
    let vague = erasures.erase(&officer(), reference).await.expect_err("without its tenant");
    assert_eq!((vague.reason(), vague.advice().map(|(field, _)| field)), (Reason::BadRequest, Some("subject_ref")));
    for other in [worker(), auditor()] {
        assert!(erasures.erase(&other, Person::Id(investor.subject)).await.is_err());
    }
    assert_eq!(node.size().await, size, "nothing was changed");
    assert_eq!(node.opens(&investor).await.as_deref(), Some("inv-1"));
}
