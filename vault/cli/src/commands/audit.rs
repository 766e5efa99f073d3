//! The register over the wire. Entries, checkpoints and proofs are verified before they are shown; an export is
//! verified with the pinned key right after it was written.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use cofre_client::people::Auditor;
use cofre_client::people::audit::Read;
use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::export::verify_export;
use cofre_ledger::note::NoteKey;
use cofre_ledger::tile::TileSet;
use cofre_model::entry::EntryKind;
use cofre_model::id::{CredentialId, TenantId};
use cofre_model::permit::EntryRef;
use cofre_model::reason::{PublicReason, Reason};
use cofre_model::request::{Page, SearchQuery};
use serde_json::{Value, json};

use super::verify::checkpoint_json;
use crate::answer::{Answer, entry_json, pairs, table};
use crate::connection::Connection;
use crate::entry_text;
use crate::failure::Failure;
use crate::input::{keep, word};
use crate::proof_file;

/// How long a proof waits for a checkpoint over its entry, which comes every second, and how often it looks.
const COVERED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);

/// Read, search, prove and export the register. Every reading is itself recorded in it.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The newest signed checkpoint. Keep its note: `cofre verify --known` compares later exports with it.
    Checkpoint {
        /// Keep the note in a new file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// One entry.
    Entry {
        /// Its index.
        #[arg(value_name = "N")]
        index: u64,
        /// Keep its exact bytes in a new file, for `cofre verify-proof`.
        #[arg(long, value_name = "FILE")]
        leaf_out: Option<PathBuf>,
    },
    /// Entries that match all that is given.
    Search(Search),
    /// Prove that an entry stands in the register.
    Prove {
        /// Its index.
        #[arg(value_name = "N")]
        index: u64,
        /// Also make a proof file (C2SP tlog-proof) from checkpoint and tiles, for `cofre verify-proof`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// The register as JSON Lines, for `cofre verify`; verified with the pinned key once written.
    Export {
        /// The first entry.
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: u64,
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Search {
    /// The login, crd_…
    #[arg(long, value_name = "ID")]
    credential: Option<CredentialId>,
    /// The tenant, ten_…
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// The kind of entry, such as GRANTED.
    #[arg(long, value_parser = |text: &str| word(EntryKind::ALL, text))]
    kind: Option<EntryKind>,
    /// The exact reason of a refusal, such as CONSENT_REVOKED.
    #[arg(long, value_parser = |text: &str| word(Reason::ALL, text))]
    reason: Option<Reason>,
    /// The caller's SPIFFE id, exactly.
    #[arg(long, value_name = "SPIFFE_ID")]
    caller: Option<String>,
    /// Entries from this index on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Entries before this index.
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// At most so many, 1 to 500.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

impl Audit {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        let session = self.connection.session()?;
        let auditor = Auditor::connect(&session.deployment, &session.identity, session.clock).await?;
        let key = &session.deployment.signer;
        match self.what {
            What::Checkpoint { out } => checkpoint(&auditor, out.as_deref()).await,
            What::Entry { index, leaf_out } => entry(&auditor, index, leaf_out.as_deref()).await,
            What::Search(search) => search.run(&auditor).await,
            What::Prove { index, out } => prove(&auditor, key, index, out.as_deref()).await,
            What::Export { from, out } => export(&auditor, key, from, &out).await,
        }
    }
}

async fn checkpoint(auditor: &Auditor, out: Option<&Path>) -> Result<Answer, Failure> {
    let (checkpoint, note) = auditor.checkpoint().await?;
    if let Some(path) = out {
        keep(path, note.as_bytes())?;
    }
    let text = format!("{}\n\n{note}", checkpoint_text(&checkpoint));
    Ok(Answer::new(text, json!({ "checkpoint": checkpoint_json(&checkpoint), "note": note })))
}

async fn entry(auditor: &Auditor, index: u64, leaf_out: Option<&Path>) -> Result<Answer, Failure> {
    let read = at(auditor, index).await?;
    if let Some(path) = leaf_out {
        keep(path, &read.leaf)?;
    }
    let (_, entry) = parse(&read)?;
    let place = [
        ("index", read.entry.index.to_string()),
        ("time", read.entry.time.to_string()),
        ("leaf_hash", hex::encode(read.entry.leaf_hash)),
    ];
    Ok(Answer::new(pairs(place.into_iter().chain(entry_text::fields(&entry))), read_json(&read)?))
}

/// The entry at an index, whose bytes say that they are this entry.
async fn at(auditor: &Auditor, index: u64) -> Result<Read, Failure> {
    let read = auditor.entry(index).await?;
    let (reference, _) = parse(&read)?;
    if reference.index == index { Ok(read) } else { Err(other_entry(index)) }
}

fn other_entry(index: u64) -> Failure {
    Failure::Failed(format!("entry {index}: the vault answered with another entry; report it to the operators"))
}

/// The entry from its bytes. Index and time the vault states beside them must be the ones within.
fn parse(read: &Read) -> Result<(EntryRef, cofre_model::entry::Entry), Failure> {
    let index = read.entry.index;
    let (leaf, entry) =
        entry_text::parse(&read.leaf).map_err(|why| Failure::Failed(format!("entry {index}: {why}")))?;
    if leaf.index == index && leaf.time == read.entry.time { Ok((read.entry, entry)) } else { Err(other_entry(index)) }
}

fn read_json(read: &Read) -> Result<Value, Failure> {
    let (reference, entry) = parse(read)?;
    Ok(json!({
        "entry": entry_json(&reference), "leaf": STANDARD.encode(&read.leaf), "fields": entry_text::json(&entry),
    }))
}

impl Search {
    async fn run(self, auditor: &Auditor) -> Result<Answer, Failure> {
        let query = SearchQuery {
            credential: self.credential,
            tenant: self.tenant,
            kind: self.kind,
            reason: self.reason,
            caller: self.caller,
            page: Page { from: self.from, to: self.to.unwrap_or(u64::MAX), limit: self.limit },
        };
        let (found, next) = auditor.search(&query).await?;
        let rows = found.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let mut text = table(["entry", "time", "kind", "reason", "caller", "concerns"], rows);
        text += &match next {
            Some(next) => format!("\n{} entries; more with --from {next}", found.len()),
            None => format!("\n{} entries", found.len()),
        };
        let entries = found.iter().map(read_json).collect::<Result<Vec<_>, _>>()?;
        Ok(Answer::new(text, json!({ "entries": entries, "next": next })))
    }
}

fn row(read: &Read) -> Result<[String; 6], Failure> {
    let (reference, entry) = parse(read)?;
    let concerns = [
        entry.credential.map(|id| id.to_string()),
        entry.tenant.map(|id| id.to_string()),
        entry.institution.as_ref().map(ToString::to_string),
        entry.reference.clone(),
    ];
    Ok([
        reference.index.to_string(),
        reference.time.to_string(),
        entry.kind.to_string(),
        entry.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        entry.caller.map(|caller| caller.identity).unwrap_or_default(),
        concerns.into_iter().flatten().next().unwrap_or_default(),
    ])
}

async fn prove(auditor: &Auditor, key: &NoteKey, index: u64, out: Option<&Path>) -> Result<Answer, Failure> {
    let read = at(auditor, index).await?;
    covered(auditor, index).await?;
    let mut checkpoint = auditor.prove(&read.entry).await?;
    if let Some(path) = out {
        let (newest, note) = auditor.checkpoint().await?;
        if newest.size < checkpoint.size {
            let why = "the newest checkpoint is older than the one just proved with; keep both and report it";
            return Err(Failure::Failed(why.into()));
        }
        let mut tiles = TileSet::new();
        for (tile, path) in proof_file::tiles(index, newest.size) {
            let bytes = auditor.tile(&path.to_string()).await?;
            tiles.insert(tile, &bytes).ok_or_else(|| Failure::Failed(format!("{path}: the vault sent no tile")))?;
        }
        let proof = proof_file::make(&read.entry, &newest, &note, &tiles, key)
            .map_err(|why| Failure::Failed(format!("the tiles do not prove entry {index}: {why}; report it")))?;
        keep(path, proof.to_string().as_bytes())?;
        checkpoint = newest;
    }
    let head = format!("PROVED: entry {index} of {} at {}", checkpoint.origin, read.entry.time);
    let json = json!({
        "proved": true, "entry": entry_json(&read.entry), "checkpoint": checkpoint_json(&checkpoint),
    });
    Ok(Answer::new(format!("{head}\n{}", checkpoint_text(&checkpoint)), json))
}

/// Waits for a checkpoint over the entry; where none comes, the vault's refusal says so. Reading checkpoints leaves no
/// entry behind, asking too early does.
async fn covered(auditor: &Auditor, index: u64) -> Result<(), Failure> {
    for _ in 0..COVERED.as_millis() / LOOK.as_millis() {
        match auditor.checkpoint().await {
            Ok((newest, _)) if newest.size > index => return Ok(()),
            Ok(_) => {}
            // There is none at all yet.
            Err(why) if why.refused().is_some_and(|refused| refused.reason == Some(PublicReason::WrongState)) => {}
            Err(why) => return Err(why.into()),
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn export(auditor: &Auditor, key: &NoteKey, from: u64, path: &Path) -> Result<Answer, Failure> {
    let unwritable = |why| Failure::unwritable(path, &why);
    let file = File::create_new(path).map_err(unwritable)?;
    let mut out = BufWriter::new(file);
    let written = auditor.export(from, &mut out).await;
    let file = out.into_inner().map_err(|why| unwritable(why.into_error()))?;
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(why) => {
            // What was written is not whole; left lying there it would look like an export.
            drop(file);
            std::fs::remove_file(path).map_err(unwritable)?;
            return Err(why.into());
        }
    };
    file.sync_all().map_err(unwritable)?;
    let reader = BufReader::new(File::open(path).map_err(|why| Failure::unreadable(path, &why))?);
    let report = verify_export(reader, Some(key), None)
        .map_err(|why| Failure::Failed(format!("{}: DOES NOT VERIFY, kept as evidence: {why}", path.display())))?;
    if report.from != from {
        let why = format!("begins at entry {}, not {from}; kept as evidence", report.from);
        return Err(Failure::Failed(format!("{}: {why}", path.display())));
    }
    let text = format!(
        "exported {} entries from {from} on, {bytes} bytes, to {}; VERIFIED with the pinned key",
        report.entries,
        path.display()
    );
    let json = json!({
        "exported": report.entries, "from": from, "bytes": bytes, "file": path.display().to_string(),
        "verified": true, "checkpoint": checkpoint_json(&report.checkpoint),
    });
    Ok(Answer::new(format!("{text}\n{}", checkpoint_text(&report.checkpoint)), json))
}

fn checkpoint_text(checkpoint: &Checkpoint) -> String {
    format!(
        "checkpoint, signature verified with the pinned key: {} entries, root {}",
        checkpoint.size,
        STANDARD.encode(checkpoint.root)
    )
}
