//! Canonical bytes of statements that one party signs and another verifies apart: a label, then every part as u16
//! big-endian length ‖ bytes. The bytes stand in `docs/formats.md` with vectors.

use crate::id::{ChallengeId, CredentialId, DepositKeyId, TenantId};
use crate::request::SealKey;
use crate::time::Timestamp;

fn statement(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        // INVARIANT: every part is an id, a number or a key of at most 2 KiB.
        out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// What the deployment's signer signs about a deposit key. Whoever seals to the key checks this first.
#[must_use]
pub fn deposit_key(
    tenant: TenantId,
    id: DepositKeyId,
    key: &SealKey,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Vec<u8> {
    statement(
        "cofre/v1/deposit-key",
        &[
            &tenant.to_bytes(),
            &id.to_bytes(),
            key.suite.as_str().as_bytes(),
            &key.bytes,
            &not_before.micros().to_be_bytes(),
            &not_after.micros().to_be_bytes(),
        ],
    )
}

/// What a worker signs with its identity's key about the key of one challenge, so that nobody between can put
/// another key there.
#[must_use]
pub fn challenge_key(
    credential: CredentialId,
    challenge: ChallengeId,
    attempt: u8,
    expires: Timestamp,
    key: &SealKey,
) -> Vec<u8> {
    statement(
        "cofre/v1/challenge-key",
        &[
            &credential.to_bytes(),
            &challenge.to_bytes(),
            &[attempt],
            &expires.micros().to_be_bytes(),
            key.suite.as_str().as_bytes(),
            &key.bytes,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::SealSuite;

    #[test]
    fn parts_cannot_run_into_each_other() {
        let key = SealKey { suite: SealSuite::X25519, bytes: vec![9; 32] };
        let one = challenge_key(
            CredentialId::from_parts(1, [1; 10]),
            ChallengeId::from_parts(1, [2; 10]),
            1,
            Timestamp::from_secs(1),
            &key,
        );
        assert_eq!(one.get(..2), Some(&[0u8, 22][..]));
        assert_eq!(one.len(), 2 + 22 + 2 + 16 + 2 + 16 + 2 + 1 + 2 + 8 + 2 + 6 + 2 + 32);
    }
}
