//! Whoever edits a login's row gets no deposit to make it true: the row a deposit makes active is the row that was
//! written, under its MAC, when the enrolment was opened.

use cofre_deposit::{Deposits, Error, OpenSession, Rests};
use cofre_envelope::context::DepositContext;
use cofre_envelope::{ClientSecret, PublicKey, seal_deposit, sha256};
use cofre_ledger::entry::Leaf;
use cofre_model::credential::{Credential, CredentialState, FieldKey};
use cofre_model::entry::EntryKind;
use cofre_model::id::{CredentialId, EnrolmentId};
use cofre_model::reason::Reason;
use cofre_model::request::{Login, OpenEnrolment, SealedDeposit, SubjectRef};
use cofre_model::wording::Class;
use cofre_policy::facts::Evidence;
use cofre_store::{Search, columns};

use crate::house::House;

fn deposits(house: &House) -> Deposits {
    Deposits {
        records: house.stores.records.clone(),
        ciphertexts: house.stores.ciphertexts.clone(),
        keyring: house.stores.keyring.clone(),
        keys: house.keys.for_deposit(),
        wrapping: house.keys.for_wrapping(),
        signer: house.token.clone(),
        clock: house.clock.clone(),
    }
}

async fn open(house: &House, login: Login) -> Result<OpenSession, Error> {
    deposits(house).open(&house.caller(), &OpenEnrolment { login }).await
}

fn new_login(house: &House, subject: &str) -> Login {
    let subject = SubjectRef::try_from(subject).expect("a reference");
    Login::New { institution: house.institution.clone(), subject }
}

/// What the investor's page sends.
async fn sealed(house: &House, opened: &OpenSession, user: &str) -> SealedDeposit {
    let key = deposits(house).deposit_key(&house.caller()).await.expect("a key");
    let context = DepositContext {
        tenant: house.tenant.id,
        key: key.id,
        enrolment: opened.enrolment,
        owner: opened.owner,
        credential: opened.credential,
        template_version: opened.template.version,
    };
    let public = PublicKey::try_from(&key.key).expect("a public key");
    let field = |name: &str| FieldKey::try_from(name).expect("key");
    let fields = vec![
        (field("user"), ClientSecret::copy_of(user.as_bytes())),
        (field("password"), ClientSecret::copy_of(b"correct horse")),
    ];
    let sealed = seal_deposit(&public, &context, fields).expect("sealed");
    SealedDeposit {
        enrolment: opened.enrolment,
        deposit_key: key.id,
        encapsulated_key: sealed.encapsulated_key,
        fields: sealed.fields.into_iter().map(|field| (field.key, field.sealed)).collect(),
    }
}

async fn send(house: &House, deposit: SealedDeposit) -> Result<(Credential, Rests), Error> {
    deposits(house).deposit(&house.caller(), deposit).await
}

async fn enrolled(house: &House, subject: &str) -> Credential {
    let opened = open(house, new_login(house, subject)).await.expect("opened");
    send(house, sealed(house, &opened, subject).await).await.expect("deposited").0
}

fn reason<T>(result: Result<T, Error>) -> Option<Reason> {
    result.err().map(|error| error.reason())
}

async fn genuine(house: &House, id: &CredentialId) -> bool {
    let row = house.stores.records.credential(&house.tenant.id, id).await.expect("read").expect("there").row;
    let tenant = cofre_custody::TenantRef::of(&house.tenant, 1);
    let mac = house.keys.for_rows().integrity(&tenant).await.expect("a key");
    matches!(row.verify_as_tagged(|table, columns, entry| mac.tag(table, columns, entry)), Evidence::Genuine(_))
}

/// Edits of one login's row, each of which a deposit would once have made true.
const EDITS: &[&str] = &[
    "UPDATE credentials SET owner_id = (SELECT MIN(id) FROM subjects WHERE id <> owner_id) WHERE id = ",
    "UPDATE credentials SET institution_id = 'ins_banco-cerrado' WHERE id = ",
    "UPDATE credentials SET not_before = not_before + 1 WHERE id = ",
    "UPDATE credentials SET secret_version = secret_version + 1 WHERE id = ",
    "UPDATE credentials SET tag = x'0000000000000000000000000000000000000000000000000000000000000000' WHERE id = ",
];

#[tokio::test]
async fn an_edited_row_is_not_made_true_by_a_first_deposit() {
    for edit in EDITS {
        let house = House::new().await;
        enrolled(&house, "somebody-else").await;
        let opened = open(&house, new_login(&house, "investor")).await.expect("opened");
        assert!(genuine(&house, &opened.credential).await, "tagged when it was opened");
        let deposit = sealed(&house, &opened, "investor").await;
        assert_eq!(house.edit(&format!("{edit}'{}'", opened.credential)).await, 1);
        assert_eq!(reason(send(&house, deposit).await), Some(Reason::IntegrityFailure), "{edit}");
        assert!(!genuine(&house, &opened.credential).await, "{edit}");
        let rows = &house.stores.ciphertexts;
        assert!(rows.of(&opened.credential, Class::Login, 1).await.expect("read").is_empty());
    }
}

/// The institution refused the secret: what the report of it does to the row.
async fn reject(house: &House, login: &Credential, written: u64) {
    let row = house.stores.records.entry(written).await.expect("read").expect("there");
    let entry = Leaf::parse(&row.bytes).expect("a leaf").entry().expect("an entry").id;
    let mac = house.keys.for_rows().integrity(&cofre_custody::TenantRef::of(&house.tenant, 1)).await.expect("a key");
    let columns = columns::credential(login);
    let tag = mac.tag(columns::CREDENTIALS, &columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), &entry);
    let aside = sha256(&[b"cofre/v1/row/aside".as_slice(), &tag].concat());
    let hex = aside.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let set = format!("state = 'SECRET_REJECTED', tag = x'', last_tag = x'{hex}'");
    house.edit(&format!("UPDATE credentials SET {set} WHERE id = '{}'", login.id)).await;
}

#[tokio::test]
async fn an_edited_row_is_not_made_true_by_a_new_secret() {
    for (edit, rejected) in EDITS.iter().flat_map(|edit| [(edit, false), (edit, true)]) {
        // An ended row has no tag to spoil.
        let edit = if rejected {
            edit.replace(
                "SET tag = x'0000000000000000000000000000000000000000000000000000000000000000'",
                "SET last_tag = x''",
            )
        } else {
            (*edit).into()
        };
        let house = House::new().await;
        enrolled(&house, "somebody-else").await;
        let opened = open(&house, new_login(&house, "investor")).await.expect("opened");
        let (login, rests) = send(&house, sealed(&house, &opened, "investor").await).await.expect("deposited");
        if rejected {
            reject(&house, &login, rests.entry.index).await;
        }
        let again = open(&house, Login::Existing(login.id)).await.expect("entered anew");
        let deposit = sealed(&house, &again, "investor").await;
        assert_eq!(house.edit(&format!("{edit}'{}'", login.id)).await, 1);
        let reopened = open(&house, Login::Existing(login.id)).await;
        assert_eq!(reason(reopened), Some(Reason::IntegrityFailure), "{edit} {rejected}");
        assert_eq!(reason(send(&house, deposit).await), Some(Reason::IntegrityFailure), "{edit} {rejected}");
        assert!(!genuine(&house, &login.id).await, "{edit} {rejected}");
    }
}

#[tokio::test]
async fn a_refused_secret_is_entered_anew_and_its_row_is_true_again() {
    let house = House::new().await;
    let opened = open(&house, new_login(&house, "investor")).await.expect("opened");
    let (login, rests) = send(&house, sealed(&house, &opened, "investor").await).await.expect("deposited");
    reject(&house, &login, rests.entry.index).await;
    let opened = open(&house, Login::Existing(login.id)).await.expect("opened");
    let (again, _) = send(&house, sealed(&house, &opened, "investor").await).await.expect("deposited");
    assert_eq!((again.state, again.owner), (CredentialState::Active, login.owner));
    assert!(genuine(&house, &login.id).await);
    // A state set by hand, without the digest an ending leaves, is nothing to build on.
    house.edit("UPDATE credentials SET state = 'SECRET_REJECTED'").await;
    assert_eq!(reason(open(&house, Login::Existing(login.id)).await), Some(Reason::IntegrityFailure));
}

#[tokio::test]
async fn a_secret_entered_anew_rests_under_the_next_version() {
    let house = House::new().await;
    let login = enrolled(&house, "investor").await;
    let opened = open(&house, Login::Existing(login.id)).await.expect("opened");
    let (again, rests) = send(&house, sealed(&house, &opened, "investor").await).await.expect("deposited");
    assert_eq!((again.id, again.owner, again.state), (login.id, login.owner, CredentialState::Active));
    assert!(rests.secret_version > login.secret_version);
    assert!(genuine(&house, &login.id).await);
}

#[tokio::test]
async fn a_session_turned_to_another_login_opens_nothing() {
    let house = House::new().await;
    let other = enrolled(&house, "somebody-else").await;
    let opened = open(&house, new_login(&house, "investor")).await.expect("opened");
    let deposit = sealed(&house, &opened, "investor").await;
    let session: EnrolmentId = opened.enrolment;
    house.edit(&format!("UPDATE enrolments SET credential_id = '{}' WHERE id = '{session}'", other.id)).await;
    // The fields were sealed for the login the page was told of.
    assert_eq!(reason(send(&house, deposit).await), Some(Reason::DepositMalformed));
    let row = house.stores.records.credential(&house.tenant.id, &other.id).await.expect("read").expect("there");
    assert_eq!(row.claimed, other);
}

#[tokio::test]
async fn a_duplicate_leaves_nothing_behind() {
    let house = House::new().await;
    enrolled(&house, "investor").await;
    let opened = open(&house, new_login(&house, "second-name")).await.expect("opened");
    let deposit = sealed(&house, &opened, "investor").await;
    assert_eq!(reason(send(&house, deposit).await), Some(Reason::DuplicateLogin));
    let (keyring, ciphertexts) = (&house.stores.keyring, &house.stores.ciphertexts);
    assert!(keyring.subject_key(&opened.owner).await.expect("read").is_none());
    assert!(keyring.data_key(&opened.credential, Class::Login, 1).await.expect("read").is_none());
    assert!(ciphertexts.of(&opened.credential, Class::Login, 1).await.expect("read").is_empty());
    // The intent is on record, so is how it ended.
    let mut found = Vec::new();
    for kind in [EntryKind::DepositIntended, EntryKind::Outcome] {
        let credential = Some(opened.credential);
        let search = Search { kind: Some(kind), credential, limit: 10, ..Search::default() };
        found.extend(house.stores.records.search(&search).await.expect("read").rows);
    }
    let told: Vec<_> = found.iter().map(|row| (row.kind, row.reason)).collect();
    let ended = (EntryKind::Outcome, Some(Reason::DuplicateLogin));
    assert_eq!(told, [(EntryKind::DepositIntended, None), ended]);
}

#[tokio::test]
async fn two_first_deposits_of_one_owner_end_well_or_ask_to_be_sent_again() {
    let house = House::new().await;
    let one = open(&house, new_login(&house, "investor")).await.expect("opened");
    let two = open(&house, new_login(&house, "investor")).await.expect("opened");
    assert_eq!(one.owner, two.owner);
    let (first, second) = (sealed(&house, &one, "a").await, sealed(&house, &two, "b").await);
    let again = [first.clone(), second.clone()];
    let (first, second) = tokio::join!(send(&house, first), send(&house, second));
    let lost = [reason(first), reason(second)];
    assert!(lost.contains(&None), "one of them is the first: {lost:?}");
    for (why, again) in lost.into_iter().zip(again) {
        let Some(why) = why else { continue };
        assert_eq!(why, Reason::ConsentChanged);
        send(&house, again).await.expect("sent again");
    }
}
