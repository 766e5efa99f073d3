//! How several fields stand in one released answer:
//!
//! ```text
//! payload = count(u16) then per field: key length(u16) ‖ key ‖ form(u8) ‖ value length(u16) ‖ value
//! form    = 1 FULL, 2 POSITIONS (the characters in ascending order of position), 3 CODE
//! ```
//! All numbers big-endian. The payload is padded like every HPKE payload.

use cofre_model::credential::FieldKey;
use cofre_model::wording::Form;

use super::ReleasedField;
use crate::client::ClientSecret;
use crate::error::Error;
use crate::opened::NarrowedField;
use crate::plain::Plain;

/// Encodes the fields in locked memory; their own slots are wiped by the caller dropping them.
pub(super) fn encode(fields: &[NarrowedField]) -> Result<Plain, Error> {
    let slab = fields.first().map(|field| field.value.slab()).ok_or(Error::FieldAbsent)?;
    let len = 2 + fields.iter().map(|field| 2 + field.key.as_str().len() + 1 + 2 + field.value.len()).sum::<usize>();
    Plain::fill(slab, len, |place| {
        let mut out = Writer(place);
        out.number(fields.len())?;
        for field in fields {
            out.number(field.key.as_str().len())?;
            out.bytes(field.key.as_str().as_bytes())?;
            out.bytes(&[u8::try_from(field.form.number()).map_err(|_| Error::FormRefused)?])?;
            out.number(field.value.len())?;
            out.bytes(field.value.value())?;
        }
        Ok(())
    })
}

struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn number(&mut self, number: usize) -> Result<(), Error> {
        self.bytes(&u16::try_from(number).map_err(|_| Error::TooLong)?.to_be_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (here, rest) = std::mem::take(&mut self.0).split_at_mut_checked(bytes.len()).ok_or(Error::TooLong)?;
        here.copy_from_slice(bytes);
        self.0 = rest;
        Ok(())
    }
}

/// Decodes on the worker's side. Exactly one encoding is accepted: nothing left over, no key twice.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<ReleasedField>, Error> {
    let mut rest = Reader(payload);
    let count = rest.number()?;
    let mut fields: Vec<ReleasedField> = Vec::new();
    for _ in 0..count {
        let len = rest.number()?;
        let key = std::str::from_utf8(rest.bytes(len)?).map_err(|_| Error::Payload)?;
        let key = FieldKey::try_from(key).map_err(|_| Error::Payload)?;
        let form = rest.bytes(1)?.first().and_then(|number| Form::from_number(i32::from(*number)));
        let len = rest.number()?;
        let value = ClientSecret::copy_of(rest.bytes(len)?);
        if fields.iter().any(|field| field.key == key) {
            return Err(Error::Payload);
        }
        fields.push(ReleasedField { key, form: form.ok_or(Error::Payload)?, value });
    }
    if rest.0.is_empty() && count > 0 { Ok(fields) } else { Err(Error::Payload) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<usize, Error> {
        let (number, rest) = self.0.split_first_chunk::<2>().ok_or(Error::Payload)?;
        self.0 = rest;
        Ok(usize::from(u16::from_be_bytes(*number)))
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (here, rest) = self.0.split_at_checked(len).ok_or(Error::Payload)?;
        self.0 = rest;
        Ok(here)
    }
}
