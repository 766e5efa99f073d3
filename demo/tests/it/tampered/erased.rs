//! A person is erased, and afterwards everything that any store held of them is put back from a copy: keys and
//! ciphertexts without their tombstone, then the rows of records too, then all of it under a vault that starts anew.
//!
//! What holds. Keys that were put back do open what was put back: nothing in keyring and ciphertexts can prevent that.
//! It is the records that refuse, and where their rows were put back as well, what the ledger says was erased. As long
//! as the erasure's own row stands, the vault destroys again what came back.

use std::time::Duration;

use cofre_demo::world::Wishes;
use cofre_model::request::Person;
use cofre_testkit::administrator::{Administrator, Line, Table};
use cofre_testkit::stores::Store;

use super::house::{Came, House};

/// Which login's holder is erased: the only one of theirs.
const ERASED: usize = 2;
/// Tables of records that say that a person was erased, or what they had.
const SAID: &[&str] = &["credentials", "consents", "subjects", "enrolments"];
/// With the person's logins their consents ended.
const ENDED: &[&str] = &["ERASED", "CONSENT_REVOKED"];
/// What the ledger makes of rows that it says are no more.
const FORGED: &[&str] = &["ERASED", "INTEGRITY_FAILURE", "CONSENT_EVIDENCE_INVALID"];
/// The vault looks every ten seconds for what came back.
const PATIENCE: usize = 300;

/// The rows of a table at some instant.
struct Copy {
    store: Store,
    table: Table,
    rows: Vec<Line>,
}

async fn copies(house: &House, store: Store, tables: impl Fn(&str) -> bool) -> Vec<Copy> {
    let mut administrator = house.administrator(store).await;
    let mut copies = Vec::new();
    for table in administrator.tables().await.expect("tables").into_iter().filter(|table| tables(&table.name)) {
        let rows = administrator.rows(&table).await.expect("rows");
        copies.push(Copy { store, table, rows });
    }
    copies
}

/// Makes a table what it was.
async fn put_back(administrator: &mut Administrator, copy: &Copy) -> usize {
    let now = administrator.rows(&copy.table).await.expect("rows");
    let gone: Vec<Line> = now.iter().filter(|row| !copy.rows.contains(row)).cloned().collect();
    let back: Vec<Line> = copy.rows.iter().filter(|row| !now.contains(row)).cloned().collect();
    administrator.exchange(&copy.table, &gone, &back).await.expect("put back");
    back.len()
}

async fn put_all_back(house: &House, copies: &[Copy]) -> usize {
    let mut back = 0;
    for copy in copies {
        back += put_back(&mut house.administrator(copy.store).await, copy).await;
    }
    back
}

/// How many keys the keyring holds of the person.
async fn keys_of(house: &House, owner: &str) -> usize {
    let mut administrator = house.administrator(Store::Keyring).await;
    let mut held = 0;
    for table in ["subject_keys", "data_keys"] {
        let table = administrator.table(table).await.expect("a table");
        let rows = administrator.rows(&table).await.expect("rows");
        held += rows.iter().filter(|row| super::rows::names(row, owner)).count();
    }
    held
}

async fn says(house: &House, what: &str, reasons: &[&str]) {
    match house.attempt(&house.logins[ERASED]).await {
        Came::Whole => panic!("{what}: an erased person's login was released"),
        Came::Refused(refused) => house.remember(what, &refused),
    }
    for (reason, _) in house.settle().await {
        assert!(reasons.contains(&reason.as_str()), "{what}: {reason}");
    }
    for (number, login) in house.logins.iter().enumerate().filter(|(number, _)| *number != ERASED) {
        assert!(house.attempt(login).await.is_whole(), "{what}: login {number}");
    }
}

pub(super) async fn stays(mut house: House, wishes: &Wishes) {
    let owner = house.logins[ERASED].owner;
    let mut sealed = copies(&house, Store::Ciphertexts, |name| name != "meta").await;
    sealed.extend(copies(&house, Store::Keyring, |name| !["meta", "integrator"].contains(&name)).await);
    let records = copies(&house, Store::Records, |name| SAID.contains(&name)).await;
    let held = keys_of(&house, &owner.to_string()).await;
    assert!(held >= 2, "{held} keys");

    house.world.privacy.erase(&Person::Id(owner)).await.expect("erased");
    assert_eq!(keys_of(&house, &owner.to_string()).await, 0);
    says(&house, "erased", ENDED).await;

    // The keyring and the ciphertexts of before, where nothing says that a key was destroyed.
    assert!(put_all_back(&house, &sealed).await > held);
    assert_eq!(keys_of(&house, &owner.to_string()).await, held);
    says(&house, "keys put back", ENDED).await;
    let mut looks = 0;
    while keys_of(&house, &owner.to_string()).await > 0 {
        looks += 1;
        assert!(looks < PATIENCE, "the vault never destroyed again what came back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    says(&house, "keys destroyed again", ENDED).await;

    // The rows of records too, and the erasure itself taken out: nothing but the ledger knows of it.
    house.administrator(Store::Records).await.run("DELETE FROM erasures").await.expect("taken out");
    assert!(put_all_back(&house, &sealed).await > held);
    assert!(put_all_back(&house, &records).await >= 3);
    says(&house, "everything put back", FORGED).await;

    house = house.restarted(wishes).await;
    says(&house, "everything put back, after a start", FORGED).await;
    assert_eq!(keys_of(&house, &owner.to_string()).await, held, "no test of anything without keys to open with");
    house.stop();
}
