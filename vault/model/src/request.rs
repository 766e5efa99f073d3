//! Requests as the use cases see them: parsed at the counter, so that nothing behind it meets a malformed id, an
//! unknown number or an unbounded list. What still needs records or keys to be judged is judged by the use case.

mod audit;
mod deposit;
mod keys;
mod release;

pub use audit::{Page, SearchQuery};
pub use deposit::{Login, OpenEnrolment, SealedDeposit, SubjectRef};
pub use keys::{KeyName, NotAKeyName, RetireKeys, RewrapKeys, RotateKeys};
pub use release::{ReleaseRequest, SealKey, SealSuite};

use crate::caller::SpiffeId;
use crate::id::{ChallengeId, ConsentId, CredentialId, InstitutionId, JobId, RecipientId, Slug, SubjectId, TenantId};
use crate::job::StatementKind;
use crate::registry::LockdownScope;
use crate::time::{Span, Timestamp};
use crate::wording::{Locale, Outcome, Purpose, ScaKind, ScopeSet};

/// A short opaque text chosen by a caller: `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`. Never a name, never secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

/// A text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of [A-Za-z0-9._:-], the first a letter or digit")]
pub struct NotAToken;

impl Token {
    /// The text, exactly as parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Token {
    type Error = NotAToken;
    fn try_from(text: &str) -> Result<Self, NotAToken> {
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(known) { Ok(Self(text.to_owned())) } else { Err(NotAToken) }
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ask for a notice and open a consent that awaits authorisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRequest {
    /// The login it is about.
    pub credential: CredentialId,
    /// Who will receive the data.
    pub recipient: RecipientId,
    /// What for.
    pub purpose: Purpose,
    /// Which data.
    pub scopes: ScopeSet,
    /// Until when.
    pub valid_until: Timestamp,
    /// Data from this instant on.
    pub history_from: Timestamp,
    /// Unattended releases a rolling day may bring, 0 to 4.
    pub unattended_per_day: u8,
    /// The language the investor reads.
    pub locale: Locale,
}

/// The investor said yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRequest {
    /// To which consent.
    pub consent: ConsentId,
    /// To exactly this rendered notice.
    pub notice_sha256: [u8; 32],
    /// How the investor was authenticated.
    pub authn_method: Token,
    /// In which session.
    pub session: Token,
}

/// A worker's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeReport {
    /// The login.
    pub credential: CredentialId,
    /// The job that holds its lease.
    pub job: JobId,
    /// How it went.
    pub outcome: Outcome,
    /// For [`Outcome::Locked`]: until when the institution refuses.
    pub locked_until: Option<Timestamp>,
}

/// A worker opens a second-factor challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeRequest {
    /// Its id, chosen by the worker because it is part of what the worker signs.
    pub id: ChallengeId,
    /// The login.
    pub credential: CredentialId,
    /// The job that holds its lease.
    pub job: JobId,
    /// What the investor will be asked for.
    pub kind: ScaKind,
    /// How many characters the code has, 1 to 12.
    pub code_length: u8,
    /// Which try this is, from 1.
    pub attempt: u8,
    /// An answer after this instant is refused.
    pub expires: Timestamp,
    /// What the institution's page says. Looked at once for signs of an order; never stored.
    pub text: String,
    /// The key to seal the answer to, signed by the worker's identity.
    pub key: ChallengeKey,
}

/// A key for one challenge with the worker's own signature. The relay passes it on unread; the front end verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeKey {
    /// The public key.
    pub key: SealKey,
    /// The worker's certificate chain, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// By the leaf's key.
    pub signature: Vec<u8>,
}

/// An answer sealed to a challenge key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAnswer {
    /// HPKE encapsulated key.
    pub encapsulated_key: Vec<u8>,
    /// HPKE ciphertext.
    pub ciphertext: Vec<u8>,
}

/// Whose logins to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// By the vault's id.
    Id(SubjectId),
    /// By the tenant's own pseudonym.
    Ref(SubjectRef),
}

/// Register or change a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutTenant {
    /// The segment its identities carry.
    pub slug: Slug,
    /// Shown in notices.
    pub legal_name: String,
    /// Where its logins rest.
    pub home_region: Slug,
    /// Public keys of its scheduler and front end, with their ends.
    pub signing_keys: Vec<(StatementKind, [u8; 32], Timestamp)>,
    /// Names of recipients.
    pub recipients: Vec<String>,
    /// Who is to hold the tenant's key, such as `any_of(hsm-1)`; none for what the node is configured with. Never changed
    /// by registering again.
    pub custody_set: Option<String>,
    /// How long its key may stay warm; none for what it has, or the node is configured with.
    pub warm_for: Option<Span>,
}

/// Register or change a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutWorker {
    /// Its identity text; parsed against the deployment's trust domain by the use case.
    pub id: SpiffeId,
    /// What it may serve.
    pub scopes: Vec<(TenantId, InstitutionId)>,
}

/// Press a stop button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockdown {
    /// How wide.
    pub scope: LockdownScope,
    /// The id of what is locked; empty for the platform.
    pub target: String,
}
