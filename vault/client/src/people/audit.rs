//! The register, for those who verify it. Checkpoints, entries and proofs are verified here; an export is written as
//! it comes, to be verified offline.

use std::io::Write;
use std::sync::Arc;

use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::entry::leaf_hash;
use cofre_ledger::note::NoteKey;
use cofre_model::permit::EntryRef;
use cofre_model::request::SearchQuery;
use cofre_model::time::Clock;
use cofre_proto::v1;
use cofre_proto::v1::audit_service_client::AuditServiceClient;
use cofre_proto::v1::operator_service_client::OperatorServiceClient;
use tonic::transport::Channel;

use crate::connect::ConnectError;
use crate::deployment::Deployment;
use crate::error::{Error, NotVerified};
use crate::identity::Identity;
use crate::promise::verify_proof;
use crate::wire::{call, entry};

/// An auditor.
#[derive(Debug, Clone)]
pub struct Auditor {
    channel: Channel,
    signer: NoteKey,
}

/// One entry of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Where it stands; the hash is that of `leaf`, computed here.
    pub entry: EntryRef,
    /// Its exact bytes.
    pub leaf: Vec<u8>,
    /// The same in JSON, for people.
    pub json: String,
}

impl Auditor {
    /// Connects with the identity of an auditor.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        deployment: &Deployment,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Ok(Self { channel: deployment.channel(identity, clock).await?, signer: deployment.signer.clone() })
    }

    fn register(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    /// The newest checkpoint, verified, and its note.
    ///
    /// # Errors
    /// [`NotVerified::Proof`] where the pinned signer did not sign it.
    pub async fn checkpoint(&self) -> Result<(Checkpoint, String), Error> {
        let wire = self.register().checkpoint(call(v1::CheckpointRequest {})).await?.into_inner();
        let checkpoint = Checkpoint::open(&wire.note, &self.signer).map_err(|_| NotVerified::Proof)?;
        Ok((checkpoint, wire.note))
    }

    /// A hash tile, by its path (C2SP `tlog-tiles`).
    ///
    /// # Errors
    /// NOT_FOUND for a tile beyond the ledger.
    pub async fn tile(&self, path: &str) -> Result<Vec<u8>, Error> {
        let request = v1::TileRequest { path: path.to_owned() };
        Ok(self.register().tile(call(request)).await?.into_inner().tile)
    }

    /// One entry.
    ///
    /// # Errors
    /// NOT_FOUND beyond the end.
    pub async fn entry(&self, index: u64) -> Result<Read, Error> {
        read(self.register().entry(call(v1::EntryRequest { index })).await?.into_inner())
    }

    /// Fetches and verifies the proof that `entry` is in the ledger.
    ///
    /// # Errors
    /// WRONG_STATE while no checkpoint covers it; [`NotVerified::Proof`].
    pub async fn prove(&self, entry: &EntryRef) -> Result<Checkpoint, Error> {
        let wire = self.register().prove(call(v1::ProveRequest { index: entry.index })).await?.into_inner();
        verify_proof(&wire.proof, entry, &self.signer)
    }

    /// One page of a search, and the index to go on from, if there is more.
    ///
    /// # Errors
    /// BAD_REQUEST names the field.
    pub async fn search(&self, query: &SearchQuery) -> Result<(Vec<Read>, Option<u64>), Error> {
        let request = v1::SearchRequest {
            credential_id: query.credential.as_ref().map(ToString::to_string).unwrap_or_default(),
            tenant_id: query.tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
            kind: query.kind.map(|kind| kind.to_string()).unwrap_or_default(),
            reason: query.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            caller: query.caller.clone().unwrap_or_default(),
            from_index: query.page.from,
            to_index: if query.page.to == u64::MAX { 0 } else { query.page.to },
            limit: query.page.limit,
        };
        let wire = self.register().search(call(request)).await?.into_inner();
        let entries = wire.entries.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok((entries, (wire.next_index != 0).then_some(wire.next_index)))
    }

    /// Writes the export from an index on to `out` as JSON Lines; returns how many bytes. Verify it with
    /// `cofre_ledger::export::verify_export`, where this vault has no say.
    ///
    /// # Errors
    /// [`Error::Write`], or why the stream broke: what was written is then not whole.
    pub async fn export(&self, from: u64, out: &mut (impl Write + Send)) -> Result<u64, Error> {
        // No deadline: an export takes as long as the ledger is.
        let request = v1::ExportRequest { from_index: from };
        let mut stream = self.register().export(request).await?.into_inner();
        let mut written = 0_u64;
        while let Some(part) = stream.message().await? {
            out.write_all(&part.chunk)?;
            written = written.saturating_add(u64::try_from(part.chunk.len()).unwrap_or(u64::MAX));
        }
        out.flush()?;
        Ok(written)
    }

    /// The state of the node that answers.
    ///
    /// # Errors
    /// As any call.
    pub async fn status(&self) -> Result<v1::StatusResponse, Error> {
        let mut operators = OperatorServiceClient::new(self.channel.clone());
        Ok(operators.status(call(v1::StatusRequest {})).await?.into_inner())
    }
}

fn read(wire: v1::EntryResponse) -> Result<Read, Error> {
    let entry = entry(wire.entry)?;
    if leaf_hash(&wire.leaf) != entry.leaf_hash {
        return Err(NotVerified::Proof.into());
    }
    Ok(Read { entry, leaf: wire.leaf, json: wire.json })
}
