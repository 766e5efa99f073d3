//! The keys that deposits are sealed to, edited column by column: a login is entered anew whole, or not at all and what
//! rested before still comes.

use cofre_client::Error;
use cofre_client::error::NotVerified;
use cofre_model::request::Login as Whose;
use cofre_testkit::administrator::{Cell, Line};
use cofre_testkit::institutions;
use cofre_testkit::logins;
use cofre_testkit::stores::Store;

use super::house::{House, Of};
use super::rows::{broken, names};

/// The login that is entered anew, over and over.
const RENEWED: usize = 2;

/// What entering anew came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    Anew,
    RefusedByVault,
    RefusedByPage,
}

async fn enter(house: &mut House, canary: bool) -> Entered {
    let institution = &institutions::all().expect("fixtures")[0];
    let make = if canary { logins::canary_login } else { logins::login };
    let login = make(institution, 70_003).expect("a login");
    let whose = Whose::Existing(house.logins[RENEWED].credential);
    match house.deposit(Of::North, &whose, &login).await {
        Ok(_) => {
            house.logins[RENEWED].login = login;
            Entered::Anew
        }
        Err(Error::Refused(_)) => Entered::RefusedByVault,
        // What the page does not take for a key of its deployment.
        Err(Error::NotVerified(NotVerified::DepositKey | NotVerified::DepositKeyTime) | Error::Answer(_)) => {
            Entered::RefusedByPage
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// The key in force of the tenant, and one of the other tenant.
async fn keys(house: &House, rows: Vec<Line>, not_before: usize) -> [Line; 2] {
    [Of::North, Of::South].map(|of| {
        let id = house.tenant(of).id.to_string();
        let own = rows.iter().filter(|row| names(row, &id));
        let begins = |row: &&Line| if let Cell::Number(at) = row[not_before] { at } else { panic!("an instant") };
        own.max_by_key(begins).expect("a key").clone()
    })
}

pub(super) async fn of_deposits(house: &mut House) {
    let mut administrator = house.administrator(Store::Keyring).await;
    let table = administrator.table("deposit_keys").await.expect("a table");
    let not_before = table.place("not_before").expect("a column");
    let mut came = [0; 3];
    for column in &table.columns {
        let rows = administrator.rows(&table).await.expect("rows");
        let [own, theirs] = keys(house, rows, not_before).await;
        let cell = table.cell(&own, &column.name).expect("a cell");
        let mut values = broken(cell);
        values.push(("exchanged".to_owned(), table.cell(&theirs, &column.name).expect("a cell").clone()));
        for (how, value) in values {
            let exchanged = how == "exchanged";
            let mut taken = vec![own.clone()];
            let mut put = vec![table.with(&own, &column.name, value).expect("a column")];
            if exchanged {
                taken.push(theirs.clone());
                put.push(table.with(&theirs, &column.name, cell.clone()).expect("a column"));
            }
            administrator.exchange(&table, &taken, &put).await.expect("edited");
            let entered = enter(house, came.iter().sum::<usize>() % 2 == 0).await;
            came[entered as usize] += 1;
            // Whichever secret stands now, it is one that was entered, whole.
            let whole = house.attempt(&house.logins[RENEWED]).await;
            assert!(whole.is_whole(), "{}: {how}: {entered:?}, then {whole:?}", column.name);
            administrator.exchange(&table, &put, &taken).await.expect("as it was");
        }
        assert_eq!(enter(house, false).await, Entered::Anew, "after {}", column.name);
        house.all_whole(&column.name).await;
    }
    let [anew, by_vault, by_page] = came;
    println!("deposit keys: {anew} entered anew, {by_vault} refused by the vault, {by_page} by the page");
    assert!(by_vault > 0 && by_page > 0, "{came:?}");
}
