//! Identifiers. Each kind is a type of its own: a three-letter prefix, an underscore and the 26 upper-case
//! Crockford characters of a UUIDv7 (RFC 9562, section 5.7). Parsing is strict: nothing is trimmed or folded, so
//! that lock-out, policy and ledger can never see two spellings of one thing.

use std::fmt;

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix is missing or belongs to another kind of identifier.
    #[error("identifier must start with `{0}_`")]
    Prefix(&'static str),
    /// After the prefix there are not exactly 26 upper-case Crockford characters.
    #[error("identifier must have 26 upper-case Crockford base-32 characters after its prefix")]
    Encoding,
    /// The 128 bits are not those of a UUIDv7.
    #[error("identifier is not a UUIDv7")]
    Version,
    /// A name segment is not `[a-z0-9][a-z0-9-]{0,62}`.
    #[error("name must match [a-z0-9][a-z0-9-]{{0,62}}")]
    Slug,
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn encode(value: u128) -> String {
    (0..26)
        .rev()
        .map(|place| {
            let digit = usize::try_from((value >> (place * 5)) & 31).unwrap_or(0);
            char::from(CROCKFORD.get(digit).copied().unwrap_or(b'0'))
        })
        .collect()
}

fn decode(text: &str) -> Result<u128, IdError> {
    if text.len() != 26 {
        return Err(IdError::Encoding);
    }
    let mut value: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = CROCKFORD.iter().position(|known| *known == byte).ok_or(IdError::Encoding)?;
        // 26 characters carry 130 bits: the first may use only its low three.
        if place == 0 && digit > 7 {
            return Err(IdError::Encoding);
        }
        value = (value << 5) | (digit as u128);
    }
    Ok(value)
}

fn version_7(value: u128) -> bool {
    (value >> 76) & 0xf == 7 && (value >> 62) & 0b11 == 0b10
}

fn assemble(unix_ms: u64, random: [u8; 10]) -> u128 {
    let mut bytes = [0u8; 16];
    let (head, tail) = bytes.split_at_mut(6);
    head.copy_from_slice(unix_ms.to_be_bytes().split_at(2).1);
    tail.copy_from_slice(&random);
    let value = u128::from_be_bytes(bytes);
    (value & !(0xf << 76) & !(0b11 << 62)) | (7 << 76) | (0b10 << 62)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The prefix of this kind of identifier, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier for the instant `unix_ms` (milliseconds since 1970) from ten random bytes.
            #[must_use]
            pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(assemble(unix_ms, random))
            }

            /// The instant embedded in the identifier, in milliseconds since 1970.
            #[must_use]
            pub fn unix_ms(&self) -> u64 {
                u64::try_from(self.0 >> 80).unwrap_or(u64::MAX)
            }

            /// The 16 bytes of the UUID, big-endian.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), encode(self.0))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or(IdError::Prefix($prefix))?;
                let value = decode(rest)?;
                if version_7(value) { Ok(Self(value)) } else { Err(IdError::Version) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text)
            }
        }
    )*};
}

ids! {
    /// A client of the AISP.
    TenantId = "ten";
    /// A data subject: investor or company whose login is kept.
    SubjectId = "sub";
    /// A financial adviser.
    AdviserId = "adv";
    /// Somebody named in a consent as receiving the data.
    RecipientId = "rec";
    /// One e-banking login of an investor at an institution.
    CredentialId = "crd";
    /// One enrolment session, single use.
    EnrolmentId = "enr";
    /// One consent record.
    ConsentId = "cns";
    /// One signed receipt about an event in the life of a consent.
    ReceiptId = "rcp";
    /// One job of the scheduler.
    JobId = "job";
    /// One attendance token: the investor is present. Used once.
    AttendanceId = "att";
    /// One release request of a worker; a repeat carries the same id.
    RequestId = "req";
    /// One second-factor challenge.
    ChallengeId = "chl";
    /// One deposit key pair of a tenant.
    DepositKeyId = "dpk";
    /// One registered public key that signs jobs or attendance.
    SigningKeyId = "sgk";
    /// One erasure of a person.
    ErasureId = "era";
    /// One job over keys: a rewrap or a rotation.
    KeyJobId = "kjb";
}

/// A name segment of an identity or an institution: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// The text, exactly as parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Slug {
    type Error = IdError;
    fn try_from(text: &str) -> Result<Self, IdError> {
        let mut bytes = text.bytes();
        let first_ok = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if first_ok && rest_ok && text.len() <= 63 { Ok(Self(text.to_owned())) } else { Err(IdError::Slug) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bank or custodian: `ins_<slug>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstitutionId(Slug);

impl InstitutionId {
    /// The slug after the prefix.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.0
    }
}

impl From<Slug> for InstitutionId {
    fn from(slug: Slug) -> Self {
        Self(slug)
    }
}

impl TryFrom<&str> for InstitutionId {
    type Error = IdError;
    fn try_from(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("ins_").ok_or(IdError::Prefix("ins")).and_then(Slug::try_from).map(Self)
    }
}

impl fmt::Display for InstitutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ins_{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_survives_its_text() {
        let id = CredentialId::from_parts(1_790_000_000_123, [7; 10]);
        let text = id.to_string();
        assert_eq!(text.len(), 4 + 26);
        assert_eq!(CredentialId::try_from(text.as_str()), Ok(id));
        assert_eq!(id.unix_ms(), 1_790_000_000_123);
    }

    #[test]
    fn hostile_spellings_are_refused_never_folded() {
        let good = TenantId::from_parts(1, [0xff; 10]).to_string();
        for bad in [
            good.to_lowercase(),
            format!("{good} "),
            format!(" {good}"),
            good.replace("ten_", "TEN_"),
            good.replace("ten_", "crd_"),
            good.replace('_', "%5f"),
            format!("{good}."),
            good.replacen('Z', "U", 1),
            good.replacen("ten_0", "ten_8", 1),
            "ten_..".into(),
            "root".into(),
            "*".into(),
            String::new(),
        ] {
            assert!(TenantId::try_from(bad.as_str()).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(TenantId::try_from("ten_00000000000000000000000000"), Err(IdError::Version));
    }

    #[test]
    fn slugs_are_strict() {
        for bad in ["", "-a", "A", "a.b", "a/b", "ä", "a b", "a%2f", &"a".repeat(64)] {
            assert!(Slug::try_from(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Slug::try_from("banco-abierto").is_ok());
        assert_eq!(InstitutionId::try_from("ins_banco-abierto").map(|i| i.to_string()), Ok("ins_banco-abierto".into()));
    }
}
