//! On the way in: a login sealed on the investor's side to the tenant's deposit key, opened here into locked memory.
//! One encapsulation per deposit; the fields are its messages 0, 1, 2 and so on, each bound to its key and position.

use cofre_model::credential::FieldKey;

use super::kem::{Drawn, Receiver, Sender, split_tag};
use super::{DepositKeyPair, PublicKey};
use crate::client::ClientSecret;
use crate::context::DepositContext;
use crate::error::Error;
use crate::plain::Plain;

/// One sealed field of a deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedField {
    /// Which field.
    pub key: FieldKey,
    /// Where it stands in the deposit, from 0.
    pub position: u16,
    /// Ciphertext and tag.
    pub sealed: Vec<u8>,
}

/// A sealed login on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDeposit {
    /// The encapsulated key of the HPKE context.
    pub encapsulated_key: Vec<u8>,
    /// The fields, in the order they were sealed in.
    pub fields: Vec<SealedField>,
}

/// Seals a login to a deposit key, on the investor's side. Values and their padded copies are wiped.
///
/// # Errors
/// [`Error::PublicKey`], [`Error::TooLong`], [`Error::FieldRepeated`] or [`Error::Randomness`].
pub fn seal_deposit(
    to: &PublicKey,
    ctx: &DepositContext,
    fields: Vec<(FieldKey, ClientSecret)>,
) -> Result<SealedDeposit, Error> {
    once_each(fields.iter().map(|(key, _)| key))?;
    let (encapsulated_key, mut sender) = Sender::new(to.suite(), to.as_bytes(), &ctx.encode(), Drawn::fresh()?)?;
    let mut sealed_fields = Vec::with_capacity(fields.len());
    for (position, (key, value)) in (0u16..).zip(fields) {
        let mut body = value.padded()?;
        let sealed = sender.seal(&DepositContext::field(&key, position), &mut body)?;
        sealed_fields.push(SealedField { key, position, sealed });
    }
    Ok(SealedDeposit { encapsulated_key, fields: sealed_fields })
}

/// Opens a deposit into locked memory. All fields or none: on failure what was opened is wiped.
///
/// # Errors
/// The cause: another key, another context, changed, missing, moved or repeated fields, or no room.
pub fn open_deposit(
    pair: &DepositKeyPair,
    ctx: &DepositContext,
    deposit: &SealedDeposit,
) -> Result<Vec<(FieldKey, Plain)>, Error> {
    once_each(deposit.fields.iter().map(|field| &field.key))?;
    let private = pair.private();
    let mut receiver =
        Receiver::new(pair.public().suite(), private.expose(), &deposit.encapsulated_key, &ctx.encode())?;
    let mut opened = Vec::with_capacity(deposit.fields.len());
    for (position, field) in (0u16..).zip(&deposit.fields) {
        if field.position != position {
            return Err(Error::Order);
        }
        let (ciphertext, tag) = split_tag(&field.sealed)?;
        let mut slot = private.slab().take(ciphertext.len())?;
        slot.bytes_mut().copy_from_slice(ciphertext);
        receiver.open(&DepositContext::field(&field.key, position), slot.bytes_mut(), tag)?;
        opened.push((field.key.clone(), Plain::unpad(slot)?));
    }
    Ok(opened)
}

fn once_each<'a>(keys: impl Iterator<Item = &'a FieldKey>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(Error::FieldRepeated);
        }
    }
    Ok(())
}
