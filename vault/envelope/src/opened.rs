//! An opened login in locked memory, and the least of it that serves. What was not asked for is wiped before anything
//! is sealed to a worker.

#[cfg(test)]
mod tests;

use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::sealed::SealedSecret;
use cofre_model::wording::Form;

use crate::context::SecretContext;
use crate::error::Error;
use crate::keys::Dek;
use crate::plain::Plain;

/// All opened fields of one version of one login. Not to be sealed as it is: first [`Opened::narrow`].
#[must_use = "a login that was opened for nothing is an outcome to record"]
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Opened(Vec<(FieldKey, Plain)>);

/// One field in the form that was decided.
pub(crate) struct NarrowedField {
    pub(crate) key: FieldKey,
    pub(crate) form: Form,
    pub(crate) value: Plain,
}

/// The fields and forms that were asked for, and nothing else.
#[must_use = "narrowed fields are there to be sealed"]
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Narrowed(pub(crate) Vec<NarrowedField>);

/// Opens all sealed fields of a login. Consumes the data key: it lives for one operation.
///
/// # Errors
/// The cause, where one field does not open; the others are wiped.
pub fn open(dek: Dek, sealed: &[(FieldKey, SealedSecret)], ctx: &SecretContext) -> Result<Opened, Error> {
    let fields = sealed
        .iter()
        .map(|(key, bytes)| dek.open_field(ctx, key, bytes).map(|plain| (key.clone(), plain)))
        .collect::<Result<_, _>>()?;
    Ok(Opened(fields))
}

impl Opened {
    /// Keeps what is asked for, in the forms asked for; everything else is wiped here.
    ///
    /// # Errors
    /// [`Error::FieldAbsent`], [`Error::FieldRepeated`], [`Error::FormRefused`] (a code, or positions with a full
    /// value), [`Error::Position`], [`Error::NotText`] or [`Error::SlabFull`]; nothing is kept then.
    pub fn narrow(mut self, requests: &[FieldRequest]) -> Result<Narrowed, Error> {
        let mut narrowed = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            if requests.iter().take(index).any(|earlier| earlier.key == request.key) {
                return Err(Error::FieldRepeated);
            }
            let at = self.0.iter().position(|(key, _)| *key == request.key).ok_or(Error::FieldAbsent)?;
            let (key, plain) = self.0.swap_remove(at);
            let value = match request.form {
                Form::Full if request.positions.is_empty() => plain,
                Form::Positions => characters(&plain, &request.positions)?,
                // Codes come from TOTP seeds only, and a full value has no positions.
                Form::Full | Form::Code => return Err(Error::FormRefused),
            };
            narrowed.push(NarrowedField { key, form: request.form, value });
        }
        Ok(Narrowed(narrowed))
    }
}

/// The characters (Unicode scalar values, not bytes) at the 1-based positions, in locked memory.
fn characters(plain: &Plain, positions: &[u16]) -> Result<Plain, Error> {
    let ascending = positions.windows(2).all(|pair| matches!(pair, [one, next] if one < next));
    if positions.is_empty() || !ascending || positions.first() == Some(&0) {
        return Err(Error::Position);
    }
    let text = std::str::from_utf8(plain.value()).map_err(|_| Error::NotText)?;
    let wanted = || (1u16..).zip(text.chars()).filter(|(at, _)| positions.binary_search(at).is_ok());
    if wanted().count() != positions.len() {
        return Err(Error::Position);
    }
    let len = wanted().map(|(_, character)| character.len_utf8()).sum();
    Plain::fill(plain.slab(), len, |mut place| {
        for (_, character) in wanted() {
            let (here, rest) = place.split_at_mut_checked(character.len_utf8()).ok_or(Error::TooLong)?;
            character.encode_utf8(here);
            place = rest;
        }
        Ok(())
    })
}
