//! The integrator: takes what was committed into the tree and has the new root signed.
//!
//! Order: entries → tree → commitment in the keyring → signature in the token → tiles and checkpoint in records. The
//! commitment stands in another failure domain than the ledger and comes before the signature, so that no two roots of
//! one size are ever signed, whatever crashes or is restored between. Any replica can integrate.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cofre_custody::Signer;
use cofre_ledger::Hash;
use cofre_ledger::checkpoint::Checkpoint as Signed;
use cofre_ledger::note::NoteKey;
use cofre_ledger::tile::{TilePath, TileSet, new_tiles};
use cofre_ledger::tree::{self, Frontier, NodeId};
use cofre_store::{Checkpoint, IntegratorState, Keyring, Records, Tile};
use tokio::time::MissedTickBehavior;

use crate::error::{Error, Halt};
use crate::tiles;

/// How often it looks whether something was added.
const EVERY: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `server` hands to the integrator.
#[derive(Debug)]
pub struct Integrator {
    /// Entries, tiles and checkpoints.
    pub records: Records,
    /// Holds the commitment.
    pub keyring: Keyring,
    /// Signs in the token.
    pub signer: Arc<dyn Signer>,
    /// The signer's public half under the ledger's origin: see [`crate::note_key`].
    pub key: NoteKey,
}

/// The tree as it was last published.
struct Published {
    frontier: Frontier,
    tiles: TileSet,
}

/// The tree as it shall be published.
struct Grown {
    size: u64,
    root: Hash,
    tiles: TileSet,
}

impl Integrator {
    /// Integrates what was added since the last checkpoint and publishes a new one; nothing where nothing was added,
    /// or where another replica was faster.
    ///
    /// A crash between commitment and publication is mended by the next call: the same root is signed again.
    ///
    /// # Errors
    /// [`Error::Halted`] where records and commitment contradict each other; [`Error::Signer`] while the token does
    /// not sign; the store's.
    pub async fn integrate(&self) -> Result<Option<Checkpoint>, Error> {
        // In this order each is at least as far as the one before it, whatever another integrator does meanwhile.
        let stored = self.records.checkpoint().await?;
        let committed = self.keyring.integrator().await?;
        self.records.hold_against(committed);
        let head = self.records.head().await?.size;
        let published = stored.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let promised = committed.map_or(0, |state| state.size);
        if promised < published {
            return Err(Halt::KeyringBehind { committed: promised, published }.into());
        }
        if head < promised {
            return Err(Halt::RecordsBehind { records: head, committed: promised }.into());
        }
        if head == published {
            return Ok(None);
        }
        let base = self.published(stored.as_ref(), committed, head).await?;
        let grown = self.grow(base, committed, head).await?;
        if !self.commit_to(committed, &grown).await? {
            tracing::debug!(size = grown.size, "another integrator was faster");
            return Ok(None);
        }
        let checkpoint = Checkpoint { size: grown.size, note: self.sign(&grown).await? };
        self.records.integrate(stored_tiles(published, &grown)?, checkpoint.clone()).await?;
        Ok(Some(checkpoint))
    }

    /// The published tree's right edge, from tiles that give the root its checkpoint names.
    async fn published(
        &self,
        stored: Option<&Checkpoint>,
        committed: Option<IntegratorState>,
        head: u64,
    ) -> Result<Published, Error> {
        let Some(stored) = stored else {
            return Ok(Published { frontier: Frontier::empty(), tiles: TileSet::new() });
        };
        let signed = Signed::open(&stored.note, &self.key)?;
        let promised = committed.map_or(0, |state| state.size);
        let mut nodes = tree::frontier_nodes(signed.size);
        nodes.extend(tree::consistency_nodes(promised.min(head), head));
        nodes.retain(|node| covered(*node, signed.size));
        let tiles = tiles::holding(&self.records, &nodes).await?;
        let halt = Halt::Tiles { size: signed.size };
        let frontier = Frontier::read(signed.size, &tiles).map_err(|_| halt)?;
        if signed.size != stored.size || frontier.root() != signed.root {
            return Err(halt.into());
        }
        Ok(Published { frontier, tiles })
    }

    /// Appends the leaves up to `head`. On the way the root committed to is met and compared; at the end the proof
    /// from there is made from the very tiles that will be stored, and verified.
    async fn grow(&self, base: Published, committed: Option<IntegratorState>, head: u64) -> Result<Grown, Error> {
        let Published { mut frontier, mut tiles } = base;
        let meets = |frontier: &Frontier| match committed {
            Some(state) if state.size == frontier.size() && state.root != frontier.root() => {
                Err(Error::Halted(Halt::Fork { size: state.size }))
            }
            _ => Ok(()),
        };
        meets(&frontier)?;
        while frontier.size() < head {
            let leaves = self.records.leaf_hashes(frontier.size(), head).await?;
            if leaves.is_empty() {
                return Err(Error::Missing);
            }
            for leaf in leaves {
                tiles.add(&frontier.append(leaf)).ok_or(Halt::Tiles { size: frontier.size() })?;
                meets(&frontier)?;
            }
        }
        let root = frontier.root();
        if let Some(state) = committed {
            let fork = Halt::Fork { size: state.size };
            let proof = tree::consistency_proof(state.size, head, &tiles).map_err(|_| fork)?;
            tree::verify_consistency(state.size, &state.root, head, &root, &proof).map_err(|_| fork)?;
        }
        Ok(Grown { size: head, root, tiles })
    }

    /// Commits to the new root before it is signed. Says whether the commitment is ours to sign.
    async fn commit_to(&self, committed: Option<IntegratorState>, grown: &Grown) -> Result<bool, Error> {
        if committed.is_some_and(|state| state.size == grown.size) {
            // Committed to before a crash, and the root was found equal: it may be signed again.
            return Ok(true);
        }
        let generation = committed.map_or(1, |state| state.generation.saturating_add(1));
        let next = IntegratorState { generation, size: grown.size, root: grown.root };
        Ok(self.keyring.swap_integrator(committed, next).await?)
    }

    async fn sign(&self, grown: &Grown) -> Result<String, Error> {
        let checkpoint = Signed { origin: self.key.name().to_owned(), size: grown.size, root: grown.root };
        let signature = self.signer.sign(checkpoint.body().as_bytes()).await?;
        let note = checkpoint
            .sign(&self.key, |_| Ok::<_, Infallible>(signature.to_vec()))
            .map_err(|_| Error::FaultySignature)?;
        Ok(note.to_string())
    }

    /// Integrates each second until `stop` resolves, then once more, so that a clean end leaves nothing unsigned.
    /// Trouble is waited out with growing pauses, up to half a minute; service resumes by itself.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(stop);
        let mut pause = EVERY;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                _ = tick.tick() => {}
            }
            match self.integrate().await {
                Ok(_) => {
                    if pause > EVERY {
                        tracing::info!("checkpoints are signed again");
                    }
                    pause = EVERY;
                }
                Err(error) => {
                    pause = pause.saturating_mul(2).min(PATIENCE);
                    report(&error, pause);
                    tick.reset_after(pause);
                }
            }
        }
        if let Err(error) = self.integrate().await {
            tracing::warn!(error = %error, "the last entries are not under a checkpoint yet");
        }
    }
}

fn report(error: &Error, pause: Duration) {
    let seconds = pause.as_secs();
    if matches!(error, Error::Halted(_) | Error::Checkpoint(_) | Error::Missing) {
        tracing::error!(error = %error, seconds, "integrity: no checkpoint is signed");
    } else {
        tracing::warn!(error = %error, seconds, "no checkpoint for now; tried again");
    }
}

/// Whether the subtree of `node` is complete in the tree of `size` leaves.
const fn covered(node: NodeId, size: u64) -> bool {
    match node.index.checked_add(1) {
        Some(after) => node.level < 64 && after <= size >> node.level,
        None => false,
    }
}

fn stored_tiles(published: u64, grown: &Grown) -> Result<Vec<Tile>, Error> {
    new_tiles(published, grown.size)
        .filter_map(|path| match path {
            TilePath::Hashes { tile, width } => Some((tile, width)),
            TilePath::Entries { .. } => None,
        })
        .map(|(id, width)| {
            let hashes = grown.tiles.bytes(id).ok_or(Error::Missing)?;
            Ok(Tile { level: id.level, n: id.n, width, hashes })
        })
        .collect()
}
