//! The tables of the keyring that no release reads: what was destroyed, what the integrator committed to, what names
//! the set. Every column is edited while no node runs. The next start is refused, or nothing is released, or it is all
//! one; what ended stays ended. The other tables are gone through with real keys in demo/tests/it/tampered/rows.rs.

use std::collections::{BTreeMap, BTreeSet};

use cofre_model::credential::Credential;
use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_model::time::Clock as _;
use cofre_model::wording::Outcome;
use cofre_store::{IntegratorState, Operation, Stores};
use cofre_testkit::administrator::{Administrator, Cell, Line, Table};
use cofre_testkit::stores::Store;

use super::others;
use crate::hands::engine;
use crate::world::{World, commit_config, config, refusal, told};

/// What an edit of a column may come to, beside nothing at all. Whatever is not listed has to be all one.
const MAY: &[(&str, &[&str])] = &[
    ("integrator.one", &["refused to start"]),
    ("integrator.generation", &["refused to start"]),
    ("integrator.size", &["nothing released", "refused to start"]),
    ("integrator.root", &["nothing released", "refused to start"]),
    ("meta.key", &["refused to start"]),
    ("meta.value", &["refused to start"]),
];

/// Columns by every edit of which something has to come of it.
const MUST: &[&str] = &["integrator.root", "meta.key", "meta.value"];

/// A login that may be released, one whose consent was revoked, and one of a person who was erased.
struct Logins {
    good: Credential,
    revoked: Credential,
    erased: Credential,
}

async fn prepared(world: &World) -> Logins {
    let (good, _) = world.releasable(4).await;
    let (revoked, consent) = world.releasable(4).await;
    world.revoke(&consent).await.expect("revoke");
    let (erased, _) = world.releasable(4).await;
    let erasure = ErasureId::from_parts(world.ms(), world.bytes());
    let accept = Operation::AcceptErasure { erasure, tenant: world.tenant.id, subject: erased.owner };
    let accepted = world.apply(EntryKind::ErasureAccepted, accept).await.expect("accepted");
    let keyring = &world.stores.keyring;
    keyring.destroy_owner(&erased.owner, world.clock.now(), accepted.index).await.expect("destroyed");
    world.apply(EntryKind::KeysDestroyed, Operation::KeysDestroyed { erasure }).await.expect("recorded");
    let mut frontier = cofre_ledger::tree::Frontier::empty();
    let size = world.records().head().await.expect("head").size;
    for leaf in world.records().leaf_hashes(0, size).await.expect("leaves") {
        frontier.append(leaf);
    }
    let commitment = IntegratorState { generation: 7, size, root: frontier.root() };
    assert!(keyring.swap_integrator(None, commitment).await.expect("committed to"));
    Logins { good, revoked, erased }
}

/// What a node that was started comes to.
async fn examine(world: &World, logins: &Logins, what: &str) -> &'static str {
    for ended in [&logins.revoked, &logins.erased] {
        let came = told(&world.once(&world.attended(ended)).await);
        assert!(!["GRANTED", "MOVED"].contains(&came.as_str()), "{what}: {came}");
    }
    // Nobody enters a login of an erased person anew, whatever the keyring has forgotten.
    let anew = world.enrol(None, &logins.erased).await;
    assert_eq!(refusal(anew), "WRONG_STATE", "{what}");
    let ask = world.attended(&logins.good);
    let came = told(&world.once(&ask).await);
    if came != "GRANTED" {
        assert_eq!(came, "INTEGRITY_FAILURE", "{what}");
        return "nothing released";
    }
    world.report(&ask, Outcome::Ok).await.expect("report");
    "all one"
}

/// Edits a row while no node runs, and starts one: what comes of it, with everything as it was afterwards. Nothing
/// where the column cannot hold such a value.
async fn made(world: World, logins: &Logins, table: &Table, edit: [&Line; 2]) -> (World, Option<&'static str>) {
    let (folder, clock) = (world.folder.path().to_owned(), world.clock.clone());
    let open = async || Stores::open(config(&folder).await, commit_config(&clock)).await;
    let exchange = async |taken: &Line, put: &Line| {
        let mut hands = Administrator::of(&folder, Store::Keyring, engine()).await.expect("administrator");
        let done = hands.exchange(table, std::slice::from_ref(taken), std::slice::from_ref(put)).await;
        hands.close().await.expect("closed");
        done.is_ok()
    };
    let [row, edited] = edit;
    let (mut held, mut refused) = (true, false);
    let world = world.reopened(async {
        held = exchange(row, edited).await;
        match open().await {
            Ok(stores) => stores,
            Err(_) => {
                refused = true;
                assert!(exchange(edited, row).await, "taken back");
                open().await.expect("starts as it was")
            }
        }
    });
    let world = world.await;
    if !held {
        assert!(!refused, "{}: it was not edited", table.name);
        return (world, None);
    }
    if refused {
        return (world, Some("refused to start"));
    }
    let came = examine(&world, logins, &format!("{}: {edited:?}", table.name)).await;
    let world = world.reopened(async {
        assert!(exchange(edited, row).await, "taken back");
        open().await.expect("starts as it was")
    });
    (world.await, Some(came))
}

#[tokio::test]
async fn no_edit_of_what_the_keyring_says_of_itself_brings_anything_back() {
    let mut world = World::new().await;
    let logins = prepared(&world).await;
    assert_eq!(examine(&world, &logins, "before").await, "all one");
    let folder = world.folder.path().to_owned();
    let mut hands = Administrator::of(&folder, Store::Keyring, engine()).await.expect("administrator");
    let (mut came, mut all_tables) = (BTreeMap::<String, BTreeSet<&str>>::new(), Vec::new());
    let mut tables = Vec::new();
    for table in hands.tables().await.expect("tables") {
        all_tables.push(table.name.clone());
        if ["destroyed", "integrator", "meta"].contains(&table.name.as_str()) {
            let rows = hands.rows(&table).await.expect("rows");
            assert!(!rows.is_empty(), "{}", table.name);
            tables.push((table, rows));
        }
    }
    hands.close().await.expect("closed");
    assert_eq!(tables.len(), 3, "{all_tables:?}");
    let texts = BTreeSet::from([logins.good.owner.to_string(), "owner".to_owned(), "one_else".to_owned()]);
    for (table, rows) in &tables {
        for (place, column) in table.columns.iter().enumerate() {
            let name = format!("{}.{}", table.name, column.name);
            let cells: Vec<Cell> = rows.iter().map(|row| row[place].clone()).collect();
            for row in rows {
                for value in others(column, &row[place], &cells, &texts) {
                    let edited = table.with(row, &column.name, value).expect("a column");
                    let (after, outcome) = made(world, &logins, table, [row, &edited]).await;
                    world = after;
                    came.entry(name.clone()).or_default().extend(outcome);
                }
            }
            let come = &came[&name];
            let may = MAY.iter().find(|(column, _)| *column == name).map_or(&[][..], |(_, may)| *may);
            assert!(come.iter().all(|come| *come == "all one" || may.contains(come)), "{name}: {come:?}");
            assert!(!MUST.contains(&name.as_str()) || !come.contains("all one"), "{name}: {come:?}");
        }
    }
    assert_eq!(examine(&world, &logins, "after").await, "all one");
}
