//! Every column of every table of ciphertexts and keyring, read from the store, broken in every way and exchanged with
//! the same column of every other kind of row.

use std::collections::BTreeMap;
use std::time::Duration;

use cofre_testkit::administrator::{Administrator, Cell, Column, Line, Table};
use cofre_testkit::stores::Store;

use super::house::{Came, House, Resting};

/// Edits that a release does not look at, each with the reason why it may: what was deposited comes all the same. Every
/// other edit releases nothing.
const UNREAD: &[(&str, &str)] = &[
    ("sealed_fields.place:", "the order of the fields; each is bound to its name"),
    ("data_keys.owner_id:", "the key is unwrapped for the holder whom the grant names; this one finds rows to destroy"),
    ("subject_keys.tenant_id:", "the key is unwrapped for the tenant whom the grant names"),
    ("tenant_keys.wrapping: 0", "tells wrappings of one key apart; where there is one, it is the newest"),
    ("tenant_keys.state_at:", "when the share was made or replaced; for jobs over keys"),
    ("tenant_keys.proven:", "whether older shares may be retired; for jobs over keys"),
    ("tenant_keys.share_count: 0", "where one custodian holds the whole key, none are to be joined"),
];

/// The reasons that the ledger gives for edits that start so. Any other edit is an INTEGRITY_FAILURE.
const REASONS: &[(&str, &[&str])] = &[
    // Which of the optional fields were deposited is not written elsewhere: one that is gone reads as one never entered.
    ("sealed_fields.credential_id:", &["FIELD_NOT_RELEASABLE"]),
    ("sealed_fields.class:", &["FIELD_NOT_RELEASABLE"]),
    ("sealed_fields.version:", &["FIELD_NOT_RELEASABLE"]),
    ("sealed_fields: taken out", &["FIELD_NOT_RELEASABLE"]),
    ("subject_keys.tenant_key_version:", &["INTEGRITY_FAILURE", "KEY_SERVICE_UNAVAILABLE"]),
    // The custodian does not know the key it is asked to unwrap with.
    ("tenant_keys.custodian_key:", &["KEY_DISABLED"]),
    ("tenant_keys.wrapped:", &["INTEGRITY_FAILURE"]),
    // No share that any configured custodian could unwrap is left.
    ("tenant_keys", &["INTEGRITY_FAILURE", "KEY_SERVICE_UNAVAILABLE"]),
];

/// Tenant keys stay warm for a second in this house.
const COOLED: Duration = Duration::from_millis(2_500);

/// Whether a row names something.
pub(super) fn names(row: &Line, id: &str) -> bool {
    row.iter().any(|cell| matches!(cell, Cell::Text(text) if text == id))
}

/// The rows that belong to a login: its own, else its holder's, else its tenant's.
fn of_login<'a>(house: &House, rows: &'a [Line], login: &Resting) -> Vec<&'a Line> {
    let ids = [login.credential.to_string(), login.owner.to_string(), house.tenant(login.of).id.to_string()];
    let of = |id: &String| rows.iter().filter(|row| names(row, id)).collect::<Vec<_>>();
    ids.iter().map(of).find(|rows| !rows.is_empty()).unwrap_or_default()
}

/// Values that a column does not hold, of its own kind.
pub(super) fn broken(cell: &Cell) -> Vec<(String, Cell)> {
    let mut broken: Vec<(String, Cell)> = match cell {
        Cell::Null => Vec::new(),
        Cell::Number(value) => [value ^ 1, value.wrapping_add(1 << 40), 0, -1, i64::MAX, i64::MIN]
            .map(|other| (format!("{other}"), Cell::Number(other)))
            .to_vec(),
        Cell::Text(text) => {
            let cut: String = text.chars().take(text.chars().count().saturating_sub(1)).collect();
            let last = text.chars().last().map_or('0', |last| if last == '0' { '1' } else { '0' });
            [
                ("last character", format!("{cut}{last}")),
                ("cut", cut),
                ("empty", String::new()),
                ("odd", "ñ\u{202e}".repeat(40)),
            ]
            .map(|(how, other)| (how.to_owned(), Cell::Text(other)))
            .to_vec()
        }
        Cell::Bytes(bytes) => {
            let flipped = |place: usize| {
                let mut other = bytes.clone();
                other[place] ^= 0x10;
                (format!("bit of byte {place}"), Cell::Bytes(other))
            };
            let mut all: Vec<_> = [0, 1, bytes.len() / 2, bytes.len() - 1].map(flipped).to_vec();
            let other = |how: &str, bytes: Vec<u8>| (how.to_owned(), Cell::Bytes(bytes));
            all.push(other("cut", bytes[..bytes.len() - 1].to_vec()));
            all.push(other("half", bytes[..bytes.len() / 2].to_vec()));
            all.push(other("empty", Vec::new()));
            all.push(other("longer", [bytes.as_slice(), &[0]].concat()));
            all.push(other("zeros", vec![0; bytes.len()]));
            all
        }
    };
    broken.retain(|(_, other)| other != cell);
    let mut seen: Vec<Cell> = Vec::new();
    broken.retain(|(_, other)| {
        !seen.contains(other) && {
            seen.push(other.clone());
            true
        }
    });
    broken
}

/// One edit: rows that go and rows that come.
struct Edit {
    what: String,
    taken: Vec<Line>,
    put: Vec<Line>,
    /// The other login whose row was touched.
    other: Option<usize>,
}

/// A table of the running vault under an administrator's hands.
struct Hands<'a> {
    house: &'a House,
    administrator: Administrator,
    table: Table,
    /// Edits that were refused, and that released.
    came: [usize; 2],
}

impl Hands<'_> {
    /// The first login's row, of the version that is released.
    fn victim(&self, rows: &[Line]) -> Line {
        let version = |row: &&Line| match self.table.cell(row, "version") {
            Ok(Cell::Number(version)) => *version,
            _ => 0,
        };
        let own = of_login(self.house, rows, &self.house.logins[0]);
        let newest = own.iter().map(version).max();
        own.into_iter().find(|row| Some(version(row)) == newest).expect("a row of the login").clone()
    }

    fn row_with(&self, row: &Line, column: &str, cell: Cell) -> Line {
        self.table.with(row, column, cell).expect("a column")
    }

    /// Every edit of one column of the first login's row.
    fn edits(&self, rows: &[Line], victim: &Line, column: &Column) -> Vec<Edit> {
        let own = self.table.cell(victim, &column.name).expect("a cell");
        let one = |how: String, cell: Cell| Edit {
            what: format!("{}.{}: {how}", self.table.name, column.name),
            taken: vec![victim.clone()],
            put: vec![self.row_with(victim, &column.name, cell)],
            other: None,
        };
        let mut edits: Vec<Edit> = broken(own).into_iter().map(|(how, cell)| one(how, cell)).collect();
        for row in self.house.older.get(&self.table.name).into_iter().flatten() {
            let older = self.table.cell(row, &column.name).expect("a cell");
            if older != own {
                edits.push(one("that of its earlier version".to_owned(), older.clone()));
            }
        }
        for (number, login) in self.house.logins.iter().enumerate() {
            for row in of_login(self.house, rows, login) {
                let theirs = self.table.cell(row, &column.name).expect("a cell");
                if theirs != own {
                    let put = vec![
                        self.row_with(victim, &column.name, theirs.clone()),
                        self.row_with(row, &column.name, own.clone()),
                    ];
                    let what = format!("{}.{}: exchanged with login {number}", self.table.name, column.name);
                    edits.push(Edit { what, taken: vec![victim.clone(), row.clone()], put, other: Some(number) });
                }
            }
        }
        edits
    }

    /// Every edit of a whole row: taken out, and another's or an older one's in its place.
    fn whole(&self, rows: &[Line], victim: &Line) -> Vec<Edit> {
        let mut edits = vec![Edit {
            what: format!("{}: taken out", self.table.name),
            taken: vec![victim.clone()],
            put: Vec::new(),
            other: None,
        }];
        let older = self.house.older.get(&self.table.name).into_iter().flatten();
        let others = self.house.logins.iter().flat_map(|login| of_login(self.house, rows, login));
        for row in older.chain(others).filter(|row| *row != victim) {
            // Everything of the other row, under the name of this one.
            let mut put = row.clone();
            for (place, column) in self.table.columns.iter().enumerate().filter(|(_, column)| column.key) {
                put[place] = self.table.cell(victim, &column.name).expect("a cell").clone();
            }
            if put != *victim {
                let what = format!("{}: another's row under its name", self.table.name);
                edits.push(Edit { what, taken: vec![victim.clone()], put: vec![put], other: None });
            }
        }
        edits
    }

    /// Makes an edit, sees what comes, and takes it back.
    async fn make(&mut self, edit: &Edit) {
        if let Err(error) = self.administrator.exchange(&self.table, &edit.taken, &edit.put).await {
            let said = format!("{error:#}").to_lowercase();
            let its_own_rules = ["unique constraint", "check constraint"].iter().any(|rule| said.contains(rule));
            assert!(its_own_rules, "{}: {said}", edit.what);
            return;
        }
        let unread = UNREAD.iter().any(|(start, _)| edit.what.starts_with(start));
        match self.house.attempt(&self.house.logins[0]).await {
            Came::Whole => {
                assert!(unread, "{}: released", edit.what);
                self.came[1] += 1;
            }
            Came::Refused(refused) => {
                self.house.remember(&edit.what, &refused);
                self.came[0] += 1;
            }
        }
        // Whether the other login's row was of use to it or not: what comes is its own.
        if let Some(other) = edit.other.filter(|other| *other != 0)
            && let Came::Refused(refused) = self.house.attempt(&self.house.logins[other]).await
        {
            self.house.remember(&edit.what, &refused);
        }
        self.administrator.exchange(&self.table, &edit.put, &edit.taken).await.expect("as it was");
    }

    async fn column(&mut self, column: &Column) {
        let rows = self.administrator.rows(&self.table).await.expect("rows");
        let victim = self.victim(&rows);
        let name = format!("{}.{}", self.table.name, column.name);
        let edits = self.edits(&rows, &victim, column);
        assert!(edits.len() > 2, "{name}: say how it is edited");
        for edit in &edits {
            self.make(edit).await;
        }
        self.house.all_whole(&name).await;
    }
}

async fn hands<'a>(house: &'a House, store: Store, table: &str) -> Hands<'a> {
    let mut administrator = house.administrator(store).await;
    let table = administrator.table(table).await.expect("a table");
    Hands { house, administrator, table, came: [0, 0] }
}

/// Every table of a store but those; says how many edits were refused and how many released.
async fn of(house: &House, store: Store, apart: &[&str]) -> [usize; 2] {
    let tables = house.administrator(store).await.tables().await.expect("tables");
    let mut all = [0, 0];
    for table in tables.iter().filter(|table| !apart.contains(&table.name.as_str())) {
        let mut hands = hands(house, store, &table.name).await;
        for column in &table.columns {
            hands.column(column).await;
        }
        let rows = hands.administrator.rows(table).await.expect("rows");
        let victim = hands.victim(&rows);
        for edit in hands.whole(&rows, &victim) {
            hands.make(&edit).await;
        }
        house.all_whole(&table.name).await;
        all = [all[0] + hands.came[0], all[1] + hands.came[1]];
        due(house.settle().await);
    }
    all
}

/// Each edit is refused for a reason of its own.
fn due(told: BTreeMap<String, Vec<String>>) {
    for (reason, edits) in told {
        for what in edits {
            let known = REASONS.iter().find(|(start, _)| what.starts_with(start)).map(|(_, reasons)| *reasons);
            assert!(known.unwrap_or(&["INTEGRITY_FAILURE"]).contains(&reason.as_str()), "{what}: {reason}");
        }
    }
}

pub(super) async fn of_ciphertexts(house: &House) {
    let [refused, released] = of(house, Store::Ciphertexts, &["meta"]).await;
    assert!(refused > 80 && released > 10, "{refused} refused, {released} released");
}

/// Tables that no release reads are left to other tests: what names the set, what was destroyed, what the integrator
/// committed to, the keys that deposits are sealed to, and who works on a job over keys.
pub(super) async fn of_the_keyring(house: &House) {
    // The custodian is asked each time, once the keys that are warm have cooled: what is wrapped is unwrapped each time.
    let mut records = house.administrator(Store::Records).await;
    records.run("UPDATE tenants SET warm_for_us = 0").await.expect("never warm");
    tokio::time::sleep(COOLED).await;
    let apart = [
        "meta",
        "destroyed",
        "integrator",
        "deposit_keys",
        "retired_custodians",
        "key_claims",
        "key_failures",
        "key_moves",
        "closed_keys",
        "row_keys",
    ];
    let [refused, released] = of(house, Store::Keyring, &apart).await;
    assert!(refused > 100 && released > 5, "{refused} refused, {released} released");
}
