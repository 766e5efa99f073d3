//! Entries one by one and by search, for auditors.

use cofre_model::caller::Caller;
use cofre_model::permit::EntryRef;
use cofre_model::request::SearchQuery;
use cofre_store::{LedgerRow, Operation, Search};

use super::{ANSWER_BYTES, NO_ENTRY, Register, read, span};
use crate::error::Error;
use crate::json;

/// An entry as an auditor gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryView {
    /// Where it stands.
    pub at: EntryRef,
    /// The leaf, exactly as hashed.
    pub leaf: Vec<u8>,
    /// The readable form.
    pub json: String,
}

/// One page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In the order of the ledger; fewer than asked for where they would not fit one answer.
    pub entries: Vec<EntryView>,
    /// Where the next page starts, if there is more.
    pub next: Option<u64>,
}

impl EntryView {
    fn of(row: &LedgerRow) -> Result<Self, Error> {
        let (leaf, entry) = read(row)?;
        let at = leaf.reference().map_err(|cause| Error::Entry { index: row.index, cause })?;
        Ok(Self { at, leaf: row.bytes.clone(), json: json::placed(&at, &entry).to_string() })
    }

    fn size(&self) -> usize {
        self.leaf.len().saturating_add(self.json.len()).saturating_add(128)
    }
}

impl Register {
    /// One entry.
    ///
    /// # Errors
    /// NOT_FOUND where there is none; AUDIT_UNAVAILABLE where the read cannot be recorded.
    pub async fn entry(&self, caller: &Caller, index: u64) -> Result<EntryView, Error> {
        let row = self.records.entry(index).await?.ok_or(NO_ENTRY)?;
        let view = EntryView::of(&row)?;
        self.note_read(caller, "Entry", span(index, index.saturating_add(1)), 1).await?;
        Ok(view)
    }

    /// Entries by their facets, in the order of the ledger.
    ///
    /// # Errors
    /// AUDIT_UNAVAILABLE where the read cannot be recorded.
    pub async fn search(&self, caller: &Caller, query: &SearchQuery) -> Result<Found, Error> {
        let page = self
            .records
            .search(&Search {
                kind: query.kind,
                tenant: query.tenant,
                credential: query.credential,
                caller: query.caller.clone(),
                reason: query.reason,
                start: query.page.from,
                limit: query.page.limit.clamp(1, 500),
                ..Search::default()
            })
            .await?;
        let mut next = page.next.filter(|next| *next < query.page.to);
        let mut entries: Vec<EntryView> = Vec::new();
        let mut size = 0usize;
        for found in page.rows.into_iter().take_while(|found| found.index < query.page.to) {
            let row = LedgerRow {
                index: found.index,
                bytes: found.bytes,
                leaf_hash: found.leaf_hash,
                incarnation: [0; 16],
                group_id: Vec::new(),
            };
            let view = EntryView::of(&row)?;
            size = size.saturating_add(view.size());
            if size > ANSWER_BYTES && !entries.is_empty() {
                next = Some(found.index);
                break;
            }
            entries.push(view);
        }
        self.note_search(caller, query, entries.len()).await?;
        Ok(Found { entries, next })
    }

    /// What was looked for goes into the entry by its own fields: who looked at a login is found under that login.
    async fn note_search(&self, caller: &Caller, query: &SearchQuery, entries: usize) -> Result<(), Error> {
        let mut entry = self.read_entry(caller, "Search")?;
        entry.tenant = query.tenant;
        entry.credential = query.credential;
        entry.count = u64::try_from(entries).ok();
        let mut words = vec![span(query.page.from, query.page.to)];
        words.extend(query.kind.map(|kind| format!("kind {kind}")));
        words.extend(query.reason.map(|reason| format!("reason {reason}")));
        // The searched identity is the auditor's free text: only what can be an identity is repeated.
        let identity = query.caller.as_ref().filter(|text| is_identity(text));
        words.extend(identity.map(|identity| format!("caller {identity}")));
        entry.reference = Some(words.join(", "));
        self.records.apply(entry, Operation::Note).await?;
        Ok(())
    }
}

fn is_identity(text: &str) -> bool {
    text.len() <= 255 && text.starts_with("spiffe://") && text.bytes().all(|byte| byte.is_ascii_graphic())
}
