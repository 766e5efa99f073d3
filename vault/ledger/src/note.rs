//! Signed notes as C2SP `signed-note` v1.0.0 has them: a text, an empty line, and a line per signature.
//!
//! Two kinds of signature are made and checked: Ed25519 (0x01), which witnesses and standard clients understand, and
//! ECDSA over P-256 (0x02) for a token without Ed25519, which they do not cosign. Lines of other keys are carried
//! along untouched and prove nothing.

#[cfg(test)]
mod tests;

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::signed::VerifyingKey;
use crate::text::{base64, from_base64};

/// The most signature lines a note may have. The standard asks for 16 at least.
pub const MAX_SIGNATURES: usize = 64;
/// The most bytes a note may have.
pub const MAX_NOTE: usize = 1 << 20;

const ED25519: u8 = 0x01;
const ECDSA: u8 = 0x02;
/// DER of a `SubjectPublicKeyInfo` for an uncompressed P-256 point, up to the point itself (RFC 5480).
pub(crate) const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why a text is no note, or a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is not text, empty line and signature lines; or holds control bytes; or is too large.
    #[error("note is malformed: {0}")]
    Malformed(&'static str),
    /// A verifier key's text is not `name+id+key`.
    #[error("verifier key is malformed: {0}")]
    Key(&'static str),
    /// A signature of a known key does not hold: the whole note is refused.
    #[error("a signature by a known key does not hold")]
    BadSignature,
    /// No known key signed the note.
    #[error("no known key signed the note")]
    Unsigned,
}

/// Why a note could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError<E> {
    /// The signer failed.
    #[error("signer: {0}")]
    Signer(E),
    /// What the signer returned does not verify under the key it is said to have.
    #[error("signer returned a signature that does not hold under its own public key")]
    Faulty,
}

/// A key under the name it signs with. For a ledger the name is its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    key: VerifyingKey,
}

impl NoteKey {
    /// A key under a name.
    ///
    /// # Errors
    /// [`NoteError::Key`] where the name is empty, or has a space, a plus sign or a control character.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if name_is_valid(name) {
            Ok(Self { name: name.to_owned(), key })
        } else {
            Err(NoteError::Key("name must be non-empty, without spaces, plus signs and control characters"))
        }
    }

    /// Parses the text of a verifier key, `name+hex(id)+base64(type ‖ key)`.
    ///
    /// # Errors
    /// [`NoteError::Key`] also where the id is not that of the key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.split_once('+').ok_or(NoteError::Key("expected name+id+key"))?;
        let (id, key) = rest.split_once('+').ok_or(NoteError::Key("expected name+id+key"))?;
        let bytes = from_base64(key).ok_or(NoteError::Key("key is not base64"))?;
        let (kind, public) = bytes.split_first().ok_or(NoteError::Key("key is empty"))?;
        let key = match *kind {
            ED25519 => public.try_into().ok().and_then(|bytes| VerifyingKey::ed25519(bytes).ok()),
            ECDSA => public.strip_prefix(&P256_SPKI).and_then(|point| VerifyingKey::p256(point).ok()),
            _ => return Err(NoteError::Key("type is neither Ed25519 (1) nor ECDSA (2)")),
        };
        let parsed = Self::new(name, key.ok_or(NoteError::Key("public key is not usable"))?)?;
        if hex::encode(parsed.id()) == id { Ok(parsed) } else { Err(NoteError::Key("id is not that of this key")) }
    }

    /// The name it signs with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The four bytes that lead a signature: for Ed25519 of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)`, for ECDSA of
    /// `SHA-256(SubjectPublicKeyInfo)`.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let digest = match &self.key {
            VerifyingKey::Ed25519(key) => Sha256::new()
                .chain_update(&self.name)
                .chain_update([b'\n', ED25519])
                .chain_update(key.as_bytes())
                .finalize(),
            VerifyingKey::P256(_) => Sha256::digest(self.spki()),
        };
        let mut id = [0; 4];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        id
    }

    fn spki(&self) -> Vec<u8> {
        [P256_SPKI.as_slice(), &self.key.to_bytes()].concat()
    }

    /// Whether `signature`, as it stands in a note, holds over `text`.
    fn holds(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            VerifyingKey::Ed25519(_) => self.key.verify(text, signature).is_ok(),
            VerifyingKey::P256(_) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| self.key.verify(text, &signature.to_bytes()).is_ok()),
        }
    }

    /// A signer's 64 bytes in the form that notes carry: as they are for Ed25519, DER for ECDSA.
    fn in_note(&self, signature: Vec<u8>) -> Option<Vec<u8>> {
        match &self.key {
            VerifyingKey::Ed25519(_) => Some(signature),
            VerifyingKey::P256(_) => p256::ecdsa::Signature::from_slice(&signature)
                .ok()
                .map(|signature| signature.to_der().as_bytes().to_vec()),
        }
    }
}

impl fmt::Display for NoteKey {
    /// The text of the verifier key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, public) = match &self.key {
            VerifyingKey::Ed25519(_) => (ED25519, self.key.to_bytes()),
            VerifyingKey::P256(_) => (ECDSA, self.spki()),
        };
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), base64(&[&[kind], public.as_slice()].concat()))
    }
}

fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// One signature line, believed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key that claims to have signed.
    pub name: String,
    /// The id of that key.
    pub key_id: [u8; 4],
    /// What follows the id.
    pub signature: Vec<u8>,
}

/// A text with its signatures. Parsing believes nothing; [`Note::verify`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note without a signature yet.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] where the text does not end in a newline or holds control characters.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed("text does not end in a newline"));
        }
        refuse_control(text)?;
        Ok(Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Parses a note with at least one signature line.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::Malformed("larger than 1 MiB"));
        }
        refuse_control(note)?;
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, rest) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed("no text"))?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(NoteError::Malformed("signatures do not end in a newline"))?;
        let signatures = lines.split('\n').map(signature_line).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Malformed("more than 64 signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text with its last newline. Believe it only after [`Note::verify`].
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature. `sign` gets the text and returns 64 bytes: R ‖ S for Ed25519, r ‖ s for P-256 over the
    /// SHA-256 of the text. The signature is checked before it is added.
    ///
    /// # Errors
    /// [`SignError::Signer`] with what `sign` said, [`SignError::Faulty`] where its signature does not hold.
    pub fn sign<E>(
        &mut self,
        key: &NoteKey,
        mut sign: impl FnMut(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), SignError<E>> {
        let made = sign(self.text.as_bytes()).map_err(SignError::Signer)?;
        let signature = key.in_note(made).ok_or(SignError::Faulty)?;
        if !key.holds(self.text.as_bytes(), &signature) {
            return Err(SignError::Faulty);
        }
        self.signatures.push(NoteSignature { name: key.name.clone(), key_id: key.id(), signature });
        Ok(())
    }

    /// Adds a signature that was made elsewhere and is in the form that notes carry: R ‖ S for Ed25519, DER for ECDSA.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] where it does not hold.
    pub fn add(&mut self, key: &NoteKey, signature: Vec<u8>) -> Result<(), NoteError> {
        if !key.holds(self.text.as_bytes(), &signature) {
            return Err(NoteError::BadSignature);
        }
        self.signatures.push(NoteSignature { name: key.name.clone(), key_id: key.id(), signature });
        Ok(())
    }

    /// Verifies the note against known keys and returns those that signed it.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] where one known key's signature does not hold, whatever others say;
    /// [`NoteError::Unsigned`] where no known key signed.
    pub fn verify<'k>(&self, known: &'k [NoteKey]) -> Result<Vec<&'k NoteKey>, NoteError> {
        let mut signers: Vec<&NoteKey> = Vec::new();
        for line in &self.signatures {
            for key in known.iter().filter(|key| key.name == line.name && key.id() == line.key_id) {
                if !key.holds(self.text.as_bytes(), &line.signature) {
                    return Err(NoteError::BadSignature);
                }
                if !signers.contains(&key) {
                    signers.push(key);
                }
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let value = [line.key_id.as_slice(), &line.signature].concat();
            writeln!(f, "— {} {}", line.name, base64(&value))?;
        }
        Ok(())
    }
}

fn signature_line(line: &str) -> Result<NoteSignature, NoteError> {
    let (name, value) = line
        .strip_prefix("— ")
        .and_then(|rest| rest.split_once(' '))
        .filter(|(name, _)| name_is_valid(name))
        .ok_or(NoteError::Malformed("a signature line is not `— name base64`"))?;
    let bytes = from_base64(value).ok_or(NoteError::Malformed("a signature is not base64"))?;
    let (id, signature) =
        bytes.split_first_chunk::<4>().ok_or(NoteError::Malformed("a signature is shorter than its key id"))?;
    if signature.is_empty() {
        return Err(NoteError::Malformed("a signature is empty"));
    }
    Ok(NoteSignature { name: name.to_owned(), key_id: *id, signature: signature.to_vec() })
}

/// Newline is the one control character a note may hold; DEL and the C1 range are refused with the rest.
fn refuse_control(text: &str) -> Result<(), NoteError> {
    if text.chars().any(|c| c.is_control() && c != '\n') {
        Err(NoteError::Malformed("holds control characters"))
    } else {
        Ok(())
    }
}
