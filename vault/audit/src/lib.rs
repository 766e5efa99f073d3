//! Use case: the register. The integrator that commits itself to a tree and has its checkpoints signed, everything an
//! auditor or a worker reads, and the recording of refusals.
//!
//! Nothing here changes an entry, decides a release or opens a key. Reading entries is itself an entry.

mod error;
mod integrator;
mod json;
mod recorder;
mod register;
mod tiles;

pub use error::{Error, Halt};
pub use integrator::Integrator;
pub use json::json;
pub use recorder::Recorder;
pub use register::{EntryView, Export, Found, Published, Register};

use cofre_custody::Signer;
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed;
use cofre_model::entry::{Entry, EntryKind};

/// The key that the deployment's checkpoints are verified with: its signer's public half under the ledger's origin.
///
/// # Errors
/// [`Error::Key`] where the origin cannot stand in a note or the token's key is not a usable point.
pub fn note_key(origin: &str, signer: &dyn Signer) -> Result<NoteKey, Error> {
    let key = match signer.public_key() {
        cofre_custody::VerifyingKey::Ed25519(bytes) => signed::VerifyingKey::ed25519(bytes),
        cofre_custody::VerifyingKey::P256(point) => signed::VerifyingKey::p256(point),
    };
    let key = key.map_err(|_| Error::Key("the token's public key is not usable"))?;
    NoteKey::new(origin, key).map_err(|_| Error::Key("the deployment's name cannot stand in a signed note"))
}

fn entry(kind: EntryKind) -> Result<Entry, Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| Error::Randomness)?;
    Ok(Entry::new(kind, id))
}
