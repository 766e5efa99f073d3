//! On the way out: narrowed fields sealed to the one worker that asked, bound to the ledger entry that granted them.
//! A replayed or redirected answer does not open.

use cofre_model::credential::FieldKey;
use cofre_model::sealed::Released;
use cofre_model::wording::Form;
use zeroize::Zeroizing;

use super::kem::{Drawn, Receiver, Sender, split_tag};
use super::{PublicKey, WorkerKeyPair, payload};
use crate::client::ClientSecret;
use crate::context::ReleaseContext;
use crate::error::Error;
use crate::opened::Narrowed;

/// One field as the worker gets it.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct ReleasedField {
    /// Which field.
    pub key: FieldKey,
    /// In which form; for [`Form::Positions`] the value is the characters asked for, in ascending order of position.
    pub form: Form,
    /// The value.
    pub value: ClientSecret,
}

/// Seals narrowed fields to a worker's key for one grant. The plaintext is encrypted where it stands and wiped.
///
/// # Errors
/// [`Error::FieldAbsent`] for no fields at all, [`Error::TooLong`], [`Error::SlabFull`], [`Error::Randomness`].
pub fn seal_to(worker_key: &PublicKey, narrowed: Narrowed, ctx: &ReleaseContext<'_>) -> Result<Released, Error> {
    let Narrowed(fields) = narrowed;
    let mut body = payload::encode(&fields)?.into_padded();
    drop(fields);
    let (encapsulated_key, mut sender) =
        Sender::new(worker_key.suite(), worker_key.as_bytes(), &ctx.encode(), Drawn::fresh()?)?;
    let ciphertext = sender.seal(&[], body.bytes_mut())?;
    Ok(Released { encapsulated_key, ciphertext })
}

/// Opens an answer in the worker's own process.
///
/// # Errors
/// The cause: another key, another grant, changed bytes, or a payload that is not canonical.
pub fn open_released(
    pair: &WorkerKeyPair,
    ctx: &ReleaseContext<'_>,
    released: &Released,
) -> Result<Vec<ReleasedField>, Error> {
    let padded = open_client(pair, &ctx.encode(), &released.encapsulated_key, &released.ciphertext)?;
    ClientSecret::unpad(&padded)?.with_bytes(payload::decode)
}

/// Opens one message with empty AAD into wiped memory of a client's process.
pub(super) fn open_client(
    pair: &WorkerKeyPair,
    info: &[u8],
    encapsulated_key: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut receiver = Receiver::new(pair.public().suite(), pair.private(), encapsulated_key, info)?;
    let (ciphertext, tag) = split_tag(sealed)?;
    let mut body = Zeroizing::new(ciphertext.to_vec());
    receiver.open(&[], &mut body, tag)?;
    Ok(body)
}
