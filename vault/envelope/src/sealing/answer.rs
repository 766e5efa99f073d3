//! Past us: the investor's answer to a second-factor challenge, sealed on the investor's side to the worker's key.
//! The vault carries it and cannot open it.

use super::kem::{Drawn, Sender};
use super::release::open_client;
use super::{PublicKey, WorkerKeyPair};
use crate::client::ClientSecret;
use crate::context::AnswerContext;
use crate::error::Error;

/// A sealed answer on its way to the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAnswer {
    /// The encapsulated key of the HPKE context.
    pub encapsulated_key: Vec<u8>,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// Seals an answer to the key that came with the challenge.
///
/// # Errors
/// [`Error::PublicKey`], [`Error::TooLong`] or [`Error::Randomness`].
pub fn seal_answer(to: &PublicKey, ctx: &AnswerContext, answer: ClientSecret) -> Result<SealedAnswer, Error> {
    let mut body = answer.padded()?;
    let (encapsulated_key, mut sender) = Sender::new(to.suite(), to.as_bytes(), &ctx.encode(), Drawn::fresh()?)?;
    let ciphertext = sender.seal(&[], &mut body)?;
    Ok(SealedAnswer { encapsulated_key, ciphertext })
}

/// Opens an answer in the worker's own process.
///
/// # Errors
/// The cause: another key, another challenge or attempt, or changed bytes.
pub fn open_answer(pair: &WorkerKeyPair, ctx: &AnswerContext, sealed: &SealedAnswer) -> Result<ClientSecret, Error> {
    let padded = open_client(pair, &ctx.encode(), &sealed.encapsulated_key, &sealed.ciphertext)?;
    ClientSecret::unpad(&padded)
}
