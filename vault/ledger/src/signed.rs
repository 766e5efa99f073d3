//! Signatures made outside this process, and what may be believed of the statement under them.
//!
//! A job is signed by the tenant's scheduler, attendance by its front end; receipts, deposit keys, erasure
//! certificates and node certificates by the deployment's signer in the token. Verification is the only way from
//! bytes to content. Deadlines, freshness and single use are not checked here: they are facts that `policy` weighs.

#[cfg(test)]
pub(crate) mod tests;

use cofre_model::job::{AttendanceStatement, Job, SignedStatement, SigningKey, StatementKind};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Purpose, Scope};
use prost::Message as _;

use crate::entry::scopes_from_numbers;
use crate::wire;

/// The label before a job statement.
pub const JOB_LABEL: &[u8] = b"cofre/v1/job";
/// The label before an attendance statement.
pub const ATTENDANCE_LABEL: &[u8] = b"cofre/v1/attendance";

/// DER of a `SubjectPublicKeyInfo` for Ed25519, up to the key itself (RFC 8410, section 4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key of one of the two kinds of signature that the vault makes or accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Ed25519 (RFC 8032).
    Ed25519(ed25519_dalek::VerifyingKey),
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5), for tokens without Ed25519.
    P256(p256::ecdsa::VerifyingKey),
}

/// Bytes are no usable public key: no point of the curve, or one of small order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes are no usable public key")]
pub struct BadKey;

/// A signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature does not hold")]
pub struct BadSignature;

impl VerifyingKey {
    /// From the 32 bytes of RFC 8032. Points of small order are refused, and so are encodings that section 5.1.3
    /// does not allow (y not below p, or the sign of a zero x): a key has one spelling.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn ed25519(bytes: &[u8; 32]) -> Result<Self, BadKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| BadKey)?;
        // SECURITY: the library decompresses y modulo p, so another spelling would be another registered key.
        let one_spelling = key.to_edwards().compress().as_bytes() == bytes;
        if key.is_weak() || !one_spelling { Err(BadKey) } else { Ok(Self::Ed25519(key)) }
    }

    /// From an uncompressed or compressed point (SEC 1, section 2.3.3).
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn p256(point: &[u8]) -> Result<Self, BadKey> {
        p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P256).map_err(|_| BadKey)
    }

    /// From a certificate's `SubjectPublicKeyInfo` (RFC 8410 and RFC 5480), in the one encoding that DER has for it.
    ///
    /// # Errors
    /// [`BadKey`], also for any other kind of key.
    pub fn from_spki(der: &[u8]) -> Result<Self, BadKey> {
        if let Some(point) = der.strip_prefix(&crate::note::P256_SPKI) {
            return Self::p256(point);
        }
        let key = der.strip_prefix(&ED25519_SPKI).and_then(|key| key.try_into().ok());
        Self::ed25519(key.ok_or(BadKey)?)
    }

    /// The public key's bytes: 32 of RFC 8032, or the 65 of an uncompressed point.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.to_bytes().to_vec(),
            Self::P256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    /// Verifies a signature of 64 bytes: R ‖ S for Ed25519 (strict, RFC 8032 section 5.1.7 with canonical S and no
    /// small-order points), r ‖ s for P-256.
    ///
    /// # Errors
    /// [`BadSignature`], without saying why.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self {
            Self::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify_strict(message, &signature).map_err(|_| BadSignature)
            }
            Self::P256(key) => {
                use p256::ecdsa::signature::Verifier as _;
                let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify(message, &signature).map_err(|_| BadSignature)
            }
        }
    }
}

/// Verifies a signature over `message`: receipts, deposit keys, certificates.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_signature(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    key.verify(message, signature)
}

/// Why a signed statement is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// The statement names another key than the one it is checked against.
    #[error("statement names another key")]
    WrongKey,
    /// The key may not sign statements of this kind.
    #[error("key is registered for another kind of statement")]
    WrongKind,
    /// The key is past its end.
    #[error("key is past its not_after; register a new one")]
    KeyEnded,
    /// The registered key is no usable public key.
    #[error("registered key is no usable public key")]
    BadKey,
    /// The signature does not hold.
    #[error("signature does not hold over label, zero byte and statement")]
    Signature,
    /// The statement is not the one encoding of its message.
    #[error("statement is not a canonical message")]
    NotCanonical,
    /// A field of the statement holds no valid value.
    #[error("statement field `{0}` holds no valid value")]
    Field(&'static str),
    /// The statement speaks of another tenant than the one the key belongs to.
    #[error("statement speaks of another tenant than its key")]
    WrongTenant,
}

/// What is signed: label ‖ 0x00 ‖ statement.
#[must_use]
pub fn signing_input(kind: StatementKind, statement: &[u8]) -> Vec<u8> {
    let label = match kind {
        StatementKind::Job => JOB_LABEL,
        StatementKind::Attendance => ATTENDANCE_LABEL,
    };
    [label, &[0], statement].concat()
}

/// The canonical statement of a job.
#[must_use]
pub fn encode_job(job: &Job) -> Vec<u8> {
    wire::JobStatement {
        id: job.id.to_string(),
        tenant_id: job.tenant.to_string(),
        credential_id: job.credential.to_string(),
        worker: job.worker.clone(),
        purpose: job.purpose.number(),
        scopes: job.scopes.iter().map(Scope::number).collect(),
        recipient_id: job.recipient.to_string(),
        history_from_us: job.history_from.micros(),
        deadline_us: job.deadline.micros(),
    }
    .encode_to_vec()
}

/// The canonical statement of attendance.
#[must_use]
pub fn encode_attendance(statement: &AttendanceStatement) -> Vec<u8> {
    wire::AttendanceStatement {
        id: statement.id.to_string(),
        tenant_id: statement.tenant.to_string(),
        owner_id: statement.owner.to_string(),
        credential_id: statement.credential.to_string(),
        issued_at_us: statement.issued_at.micros(),
    }
    .encode_to_vec()
}

/// Verifies a job against the key registered for it. `now` is compared with the key's end only; the job's own
/// deadline is for whoever decides.
///
/// # Errors
/// Each variant of [`SignedError`].
pub fn verify_job(signed: &SignedStatement, key: &SigningKey, now: Timestamp) -> Result<Job, SignedError> {
    verify(signed, key, StatementKind::Job, now)?;
    let raw: wire::JobStatement = wire::canonical(&signed.statement).ok_or(SignedError::NotCanonical)?;
    let job = Job {
        id: id("id", &raw.id)?,
        tenant: id("tenant_id", &raw.tenant_id)?,
        credential: id("credential_id", &raw.credential_id)?,
        worker: if raw.worker.is_empty() { Err(SignedError::Field("worker")) } else { Ok(raw.worker) }?,
        purpose: Purpose::from_number(raw.purpose).ok_or(SignedError::Field("purpose"))?,
        scopes: scopes_from_numbers(&raw.scopes).ok_or(SignedError::Field("scopes"))?,
        recipient: id("recipient_id", &raw.recipient_id)?,
        history_from: Timestamp::from_micros(raw.history_from_us),
        deadline: Timestamp::from_micros(raw.deadline_us),
    };
    if job.tenant == key.tenant { Ok(job) } else { Err(SignedError::WrongTenant) }
}

/// Verifies attendance against the key registered for it. Its age and single use are for whoever decides.
///
/// # Errors
/// Each variant of [`SignedError`].
pub fn verify_attendance(
    signed: &SignedStatement,
    key: &SigningKey,
    now: Timestamp,
) -> Result<AttendanceStatement, SignedError> {
    verify(signed, key, StatementKind::Attendance, now)?;
    let raw: wire::AttendanceStatement = wire::canonical(&signed.statement).ok_or(SignedError::NotCanonical)?;
    let statement = AttendanceStatement {
        id: id("id", &raw.id)?,
        tenant: id("tenant_id", &raw.tenant_id)?,
        owner: id("owner_id", &raw.owner_id)?,
        credential: id("credential_id", &raw.credential_id)?,
        issued_at: Timestamp::from_micros(raw.issued_at_us),
    };
    if statement.tenant == key.tenant { Ok(statement) } else { Err(SignedError::WrongTenant) }
}

fn verify(signed: &SignedStatement, key: &SigningKey, kind: StatementKind, now: Timestamp) -> Result<(), SignedError> {
    if signed.key_id != key.id {
        return Err(SignedError::WrongKey);
    }
    if key.kind != kind {
        return Err(SignedError::WrongKind);
    }
    if now >= key.not_after {
        return Err(SignedError::KeyEnded);
    }
    VerifyingKey::ed25519(&key.public_key)
        .map_err(|_| SignedError::BadKey)?
        .verify(&signing_input(kind, &signed.statement), &signed.signature)
        .map_err(|_| SignedError::Signature)
}

fn id<'a, T: TryFrom<&'a str>>(field: &'static str, text: &'a str) -> Result<T, SignedError> {
    T::try_from(text).map_err(|_| SignedError::Field(field))
}
