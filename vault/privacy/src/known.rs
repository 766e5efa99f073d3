//! What an erasure that goes on by itself is held against: its own entry, as it stands in the ledger, and the signature
//! over the ledger. Nothing is destroyed in this room.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use cofre_ledger::checkpoint::{self, Checkpoint};
use cofre_ledger::entry::{Leaf, leaf_hash};
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed;
use cofre_ledger::tree::{inclusion_nodes, inclusion_proof, verify_inclusion};
use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_store::{Erasure, LedgerRow};

use crate::{Erasures, Error};

/// Erasures that this process accepted itself, or found proven. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<HashSet<ErasureId>>>);

impl Known {
    pub(crate) fn add(&self, id: ErasureId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    fn has(&self, id: &ErasureId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

impl Erasures {
    /// The erasure that this entry accepts. The facets and the row are what somebody could have written beside the
    /// ledger, so both are held against the entry's bytes, and these against their hash.
    pub(crate) async fn accepted_by(&self, row: &LedgerRow) -> Result<Erasure, Error> {
        let leaf = Leaf::parse(&row.bytes)?;
        if leaf.index != row.index || leaf_hash(&row.bytes) != row.leaf_hash {
            return Err(Error::Contradiction { index: row.index });
        }
        let entry = leaf.entry()?;
        let id = entry.reference.as_deref().and_then(|text| ErasureId::try_from(text).ok());
        let (EntryKind::ErasureAccepted, Some(id)) = (entry.kind, id) else {
            return Err(Error::Contradiction { index: row.index });
        };
        let erasure = self.records.erasure(&id).await?.ok_or(Error::Missing)?;
        let same = erasure.accepted == row.index
            && entry.tenant == Some(erasure.tenant)
            && entry.owner == Some(erasure.subject);
        if same { Ok(erasure) } else { Err(Error::Contradiction { index: row.index }) }
    }

    /// The erasure as the entry of its acceptance says it; refused where the row says something else.
    pub(crate) async fn as_accepted(&self, erasure: &Erasure) -> Result<LedgerRow, Error> {
        let row = self.records.entry(erasure.accepted).await?.ok_or(Error::Missing)?;
        let accepted = self.accepted_by(&row).await?;
        if accepted.id == erasure.id { Ok(row) } else { Err(Error::Contradiction { index: row.index }) }
    }

    /// Refuses an erasure that this process did not accept and that no signed checkpoint covers.
    pub(crate) async fn beyond_doubt(&self, id: &ErasureId, row: &LedgerRow) -> Result<(), Error> {
        if self.known.has(id) {
            return Ok(());
        }
        let uncovered = Error::Uncovered { index: row.index };
        let newest = self.records.checkpoint().await?;
        let Some(newest) = newest.filter(|newest| row.index < newest.size) else { return Err(uncovered) };
        let signed =
            Checkpoint::open(&newest.note, &self.note_key()?).map_err(|_| Error::Unproven { index: row.index })?;
        if row.index >= signed.size {
            return Err(uncovered);
        }
        let unproven = || Error::Unproven { index: row.index };
        let nodes = inclusion_nodes(row.index, signed.size);
        let tiles = self.records.tiles_holding(&nodes).await?.ok_or_else(unproven)?;
        let path = inclusion_proof(row.index, signed.size, &tiles).map_err(|_| unproven())?;
        verify_inclusion(&row.leaf_hash, row.index, signed.size, &path, &signed.root).map_err(|_| unproven())?;
        self.known.add(*id);
        Ok(())
    }

    fn note_key(&self) -> Result<NoteKey, Error> {
        let key = self.verifying_key()?;
        NoteKey::new(&checkpoint::origin(&self.deployment), key).map_err(|_| Error::FaultySignature)
    }

    /// What the deployment's signatures are verified with.
    pub(crate) fn verifying_key(&self) -> Result<signed::VerifyingKey, Error> {
        let key = match self.signer.public_key() {
            cofre_custody::VerifyingKey::Ed25519(bytes) => signed::VerifyingKey::ed25519(bytes),
            cofre_custody::VerifyingKey::P256(point) => signed::VerifyingKey::p256(point),
        };
        key.map_err(|_| Error::FaultySignature)
    }
}
