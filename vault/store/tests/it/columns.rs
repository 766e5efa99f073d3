//! Every column of every table of records that carries no MAC, read from the store's own schema, so that a new one is
//! met here: each is edited to other values of its kind, and nobody who must not have a login gets one, but for the
//! columns that docs/adr/0007 leaves open, which are written down here one by one. So are those whose edit stops
//! service. A column in neither list may be edited without any release coming or going.

mod cases;
mod keyring;

use std::collections::{BTreeMap, BTreeSet};

use cofre_testkit::administrator::{Administrator, Cell, Column, Kind, Line, Table};
use cofre_testkit::stores::{Engine, Store};

use crate::hands::engine;
use cases::{Deployment, deployment};

/// Tables that are gone through elsewhere, and where.
const ELSEWHERE: &[(&str, &str)] = &[
    ("consents", "edited.rs and put_back.rs"),
    ("credentials", "edited.rs and put_back.rs"),
    ("ledger_entries", "put_back.rs: nothing stands any more"),
    ("ledger_head", "put_back.rs: nothing stands any more"),
    ("ledger_checkpoints", "the integrator's tests in vault/audit"),
    ("ledger_tiles", "the integrator's tests in vault/audit"),
    ("meta", "files.rs: read at a start, and as the keyring's in columns/keyring.rs"),
];

/// Columns by which an administrator of records widens today what is released, until their rows carry a MAC.
const OPEN: &[(&str, &str)] = &[
    ("institutions.state", "an institution that was suspended is served"),
    ("leases.credential_id", "a login that somebody holds is had by another session"),
    ("leases.until", "a login that somebody holds is had by another session"),
    ("releases.at", "visits are forgotten"),
    ("releases.attendance", "visits are forgotten"),
    ("releases.counted", "visits are forgotten"),
    ("releases.credential_id", "visits are forgotten"),
    ("releases.worker_id", "a request id is used again"),
    ("signing_keys.kind", "a key signs what it was not registered for"),
    ("signing_keys.not_after", "a key signs past its end"),
    ("signing_keys.public_key", "another's key signs"),
    ("signing_keys.tenant_id", "another tenant's key signs"),
    ("template_fields.release_form", "a field leaves in a wider form"),
    ("template_fields.signing_factor", "a field that signs orders leaves"),
    ("tenants.home_region", "a tenant of another region is served here"),
    ("tenants.state", "a tenant that was suspended is served"),
    ("worker_scopes.tenant", "a worker serves another tenant"),
    ("worker_scopes.worker", "another worker serves a tenant"),
];

/// Columns by which an administrator of records can stop a release that was due. What widens may stop as well.
const STOPS: &[&str] = &[
    "cell.epoch",
    "institutions.epoch",
    "institutions.id",
    "institutions.lockout_threshold",
    "institutions.state",
    "institutions.unattended_from",
    "institutions.unattended_to",
    "leases.credential_id",
    "lockdowns.scope_id",
    "lockdowns.scope_kind",
    "login_templates.institution_id",
    "login_templates.version",
    "policy_active.epoch",
    "policy_active.scope",
    "signing_keys.id",
    "signing_keys.kind",
    "signing_keys.not_after",
    "signing_keys.public_key",
    "signing_keys.tenant_id",
    "template_fields.field_key",
    "template_fields.identifies",
    "template_fields.institution_id",
    "template_fields.release_form",
    "template_fields.required",
    "template_fields.secret",
    "template_fields.signing_factor",
    "template_fields.version",
    "tenants.epoch",
    "tenants.home_region",
    "tenants.id",
    "tenants.slug",
    "tenants.state",
    "tenants.tenant_key_id",
    "tenants.tenant_key_oldest",
    "tenants.tenant_key_version",
    "tenants.warm_for_us",
    "worker_scopes.institution",
    "worker_scopes.tenant",
    "worker_scopes.worker",
    "workers.epoch",
    "workers.spiffe_id",
    "workers.state",
];

/// Words that a column of this name may hold.
const WORDS: &[(&str, &[&str])] = &[
    (
        "state",
        &[
            "ACTIVE",
            "ENABLED",
            "SUSPENDED",
            "QUARANTINED",
            "ERASED",
            "OPEN",
            "DONE",
            "CERTIFIED",
            "REVOKED",
            "CURRENT",
            "CLOSED",
        ],
    ),
    ("kind", &["job", "attendance", "NATURAL", "LEGAL", "GRANTED", "CONSENT_GRANTED", "DEPOSITED"]),
    ("release_form", &["FULL", "POSITIONS", "CODE"]),
    ("attendance", &["ATTENDED", "UNATTENDED"]),
    ("outcome", &["OK", "WRONG_SECRET", "NOT_DELIVERED"]),
    ("scope_kind", &["PLATFORM", "TENANT", "INSTITUTION", "CREDENTIAL"]),
    ("home_region", &["eu-nl", "ch-zh"]),
];

/// A day, in microseconds: for what may be an instant or a span.
const DAY: i64 = 86_400_000_000;
/// Tables that no release reads today: fewer edits of their many rows show whether that is so.
const BYSTANDERS: &[&str] = &[
    "consent_events",
    "enrolments",
    "erasures",
    "key_counts",
    "key_jobs",
    "ledger_facets",
    "login_templates",
    "recipients",
    "subjects",
    "tenant_key_versions",
];

/// Columns of whose many edits every one is made: few of them matter.
const ALL_EDITS: &[&str] = &["institutions.state", "signing_keys.public_key", "template_fields.release_form"];

/// Edits of one column, at most; spread over its rows and values. A server takes longer for each, and the night has
/// the time for more of them.
fn most(table: &str, column: &str) -> usize {
    let most = match table {
        _ if ALL_EDITS.contains(&format!("{table}.{column}").as_str()) => usize::MAX,
        table if BYSTANDERS.contains(&table) => 4,
        _ => 20,
    };
    match (engine(), night()) {
        (Engine::Sqlite, true) => most,
        (Engine::Sqlite, false) | (Engine::Postgres, true) => most.min(100).div_ceil(4),
        (Engine::Postgres, false) => most.min(100).div_ceil(16),
    }
}

fn night() -> bool {
    std::env::var_os("COFRE_NIGHT").is_some()
}

/// What values are like: those of one kind may stand in one another's place.
fn alike(text: &str) -> &str {
    text.split_once(['_', ':']).map_or("", |(kind, _)| kind)
}

/// Other values of its kind that a cell may hold.
fn others(column: &Column, own: &Cell, column_cells: &[Cell], texts: &BTreeSet<String>) -> Vec<Cell> {
    let mut values: Vec<Cell> = column_cells.to_vec();
    match own {
        Cell::Text(own) => {
            let words = WORDS.iter().filter(|(name, _)| *name == column.name).flat_map(|(_, words)| words.iter());
            values.extend(words.map(|word| Cell::Text((*word).to_owned())));
            let like = texts.iter().filter(|text| !alike(own).is_empty() && alike(text) == alike(own));
            values.extend(like.map(|text| Cell::Text(text.clone())));
        }
        Cell::Number(own) => {
            let near = [own - 1, own + 1, own - DAY, own + DAY, own - 400 * DAY, own + 400 * DAY, 0, 1, 1_440];
            values.extend(near.map(Cell::Number));
        }
        Cell::Bytes(own) => {
            values.push(Cell::Bytes(vec![0; own.len()]));
            values.push(Cell::Bytes(own.iter().map(|byte| byte ^ 1).collect()));
        }
        Cell::Null => values.push(match column.kind {
            Kind::Number => Cell::Number(0),
            Kind::Text | Kind::Document => Cell::Text("OK".into()),
            Kind::Bytes => Cell::Bytes(vec![1]),
        }),
    }
    if !column.key {
        values.push(Cell::Null);
    }
    let mut seen = vec![own.clone()];
    values.retain(|value| {
        let new = !seen.contains(value);
        seen.push(value.clone());
        new
    });
    values
}

/// The records as they were made, under an administrator's hands.
struct Sweep {
    deployment: Deployment,
    administrator: Administrator,
    tables: Vec<(Table, Vec<Line>)>,
    texts: BTreeSet<String>,
    widened: BTreeMap<String, String>,
    stopped: BTreeMap<String, String>,
    edits: usize,
}

impl Sweep {
    async fn new() -> Self {
        let deployment = deployment().await;
        let folder = deployment.north().folder.path();
        let mut administrator = Administrator::of(folder, Store::Records, engine()).await.expect("administrator");
        let (mut tables, mut texts) = (Vec::new(), BTreeSet::new());
        for table in administrator.tables().await.expect("tables") {
            let rows = administrator.rows(&table).await.expect("rows");
            texts.extend(rows.iter().flatten().filter_map(|cell| match cell {
                Cell::Text(text) => Some(text.clone()),
                _ => None,
            }));
            tables.push((table, rows));
        }
        // Whoever was never registered is a plausible name for a worker, too.
        texts.insert(cases::STRANGER.to_owned());
        Self { deployment, administrator, tables, texts, widened: BTreeMap::new(), stopped: BTreeMap::new(), edits: 0 }
    }

    /// Every edit of a column: a row, and what it becomes.
    fn edits(&self, table: &Table, rows: &[Line], place: usize) -> Vec<(Line, Line)> {
        let column = &table.columns[place];
        let cells: Vec<Cell> = rows.iter().map(|row| row[place].clone()).collect();
        let mut edits = Vec::new();
        for row in rows {
            for value in others(column, &row[place], &cells, &self.texts) {
                edits.push((row.clone(), table.with(row, &column.name, value).expect("a column")));
            }
        }
        let every = edits.len().div_ceil(most(&table.name, &column.name)).max(1);
        edits.into_iter().step_by(every).collect()
    }

    /// Makes an edit, sees who gets what, and takes it back.
    async fn make(&mut self, table: &Table, name: &str, (row, edited): (Line, Line)) {
        let (row, edited) = ([row], [edited]);
        if let Err(cause) = self.administrator.exchange(table, &row, &edited).await {
            // Nothing where something has to be, a second row of one key: no value such a column can hold.
            let said = format!("{cause:#}").to_lowercase();
            let refused = ["constraint", "json"].iter().any(|word| said.contains(word));
            assert!(refused, "{name}: {said}");
            return;
        }
        self.edits += 1;
        let mut granted = false;
        for case in &self.deployment.cases {
            let came = self.deployment.came(case).await;
            assert_ne!(came, "MOVED", "{name}: {}", case.what);
            if came == "GRANTED" {
                granted = true;
                self.widened.entry(name.to_owned()).or_insert_with(|| format!("{} ({edited:?})", case.what));
            }
        }
        if !self.deployment.would(&self.deployment.allowed).await {
            self.stopped.entry(name.to_owned()).or_insert_with(|| format!("{edited:?}"));
        }
        if granted {
            self.restore().await;
        } else {
            self.administrator.exchange(table, &edited, &row).await.expect("taken back");
        }
    }

    /// Puts every row back as it was: what was granted has left its own.
    async fn restore(&mut self) {
        for (table, rows) in &self.tables {
            if table.name.starts_with("ledger_") {
                continue;
            }
            let now = self.administrator.rows(table).await.expect("rows");
            let apart = |one: &[Line], other: &[Line]| -> Vec<Line> {
                one.iter().filter(|row| !other.contains(row)).cloned().collect()
            };
            let (taken, put) = (apart(&now, rows), apart(rows, &now));
            if !taken.is_empty() || !put.is_empty() {
                self.administrator.exchange(table, &taken, &put).await.expect("restored");
            }
        }
    }

    /// Every case comes to its reason, and the release that is due would come.
    async fn as_it_was(&self, when: &str) {
        for case in &self.deployment.cases {
            assert_eq!(self.deployment.came(case).await, case.reason, "{when}: {}", case.what);
        }
        assert!(self.deployment.would(&self.deployment.allowed).await, "{when}: the release that is due");
    }
}

/// None but those that are written down.
fn listed(what: &str, found: &BTreeMap<String, String>, listed: &[&str]) {
    let others: Vec<_> = found.iter().filter(|(name, _)| !listed.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "columns that {what} and are not written down: {others:#?}");
}

#[tokio::test]
async fn no_edit_of_another_table_releases_more_but_where_it_is_written_down() {
    let mut sweep = Sweep::new().await;
    sweep.as_it_was("before").await;
    for (table, rows) in sweep.tables.clone() {
        if ELSEWHERE.iter().any(|(name, _)| *name == table.name) {
            continue;
        }
        assert!(!rows.is_empty(), "{}: bring a row of it into the deployment", table.name);
        for place in 0..table.columns.len() {
            let name = format!("{}.{}", table.name, table.columns[place].name);
            let edits = sweep.edits(&table, &rows, place);
            for edit in edits {
                sweep.make(&table, &name, edit).await;
            }
        }
        sweep.as_it_was(&table.name).await;
    }
    let open: Vec<&str> = OPEN.iter().map(|(name, _)| *name).collect();
    listed("widen", &sweep.widened, &open);
    listed("stop", &sweep.stopped, STOPS);
    // Where all edits are made, what does not widen any more is to be taken off the list.
    if engine() == Engine::Sqlite && night() {
        assert_eq!(sweep.widened.keys().collect::<Vec<_>>(), open, "columns that widen");
        assert!(sweep.stopped.len() > 25, "{:?}", sweep.stopped.keys());
    }
    assert!(sweep.edits > 100, "only {} edits were made", sweep.edits);
    assert_eq!(sweep.deployment.came(&sweep.deployment.allowed).await, "GRANTED", "the release that is due");
}
