//! Second-factor challenges.

use cofre_model::request::{ChallengeKey, ChallengeRequest, SealedAnswer};
use cofre_model::wording::ScaKind;

use super::Malformed;
use super::common::{bounded, id, instant, present, text, word};
use super::release::seal_key;
use crate::v1;

const MOST_CHAIN: usize = 4;
const MOST_CERTIFICATE: usize = 4_096;

/// Parses a challenge.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn challenge_request(wire: v1::OpenRequest) -> Result<ChallengeRequest, Malformed> {
    let small = |field: &str, value: u32, most: u8| {
        u8::try_from(value)
            .ok()
            .filter(|v| (1..=most).contains(v))
            .ok_or_else(|| Malformed::new(field, format!("must be 1 to {most}")))
    };
    if wire.intent != "LOGIN" && wire.intent != "ACCOUNT_ACCESS" {
        return Err(Malformed::new("intent", "must be LOGIN or ACCOUNT_ACCESS"));
    }
    Ok(ChallengeRequest {
        id: id("challenge_id", &wire.challenge_id)?,
        credential: id("credential_id", &wire.credential_id)?,
        job: id("job_id", &wire.job_id)?,
        kind: word("kind", ScaKind::from_number(wire.kind))?,
        code_length: small("code_length", wire.code_length, 12)?,
        attempt: small("attempt", wire.attempt, 5)?,
        expires: instant("expires_us", wire.expires_us)?,
        text: text("text", wire.text, 500)?,
        key: challenge_key(present("key", wire.key)?)?,
    })
}

/// Parses a challenge key. Whether the worker signed it is for the front end to verify.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn challenge_key(wire: v1::ChallengeKey) -> Result<ChallengeKey, Malformed> {
    if wire.certificate_chain.is_empty() || wire.certificate_chain.len() > MOST_CHAIN {
        return Err(Malformed::new("key.certificate_chain", format!("must hold 1 to {MOST_CHAIN} certificates")));
    }
    let mut chain = Vec::new();
    for certificate in wire.certificate_chain {
        chain.push(bounded("key.certificate_chain", certificate, MOST_CERTIFICATE)?);
    }
    Ok(ChallengeKey {
        key: seal_key("key.public_key", wire.suite, wire.public_key)?,
        chain,
        signature: bounded("key.signature", wire.signature, 512)?,
    })
}

/// A challenge key for the wire, unchanged.
#[must_use]
pub fn challenge_key_to_wire(key: &ChallengeKey) -> v1::ChallengeKey {
    v1::ChallengeKey {
        suite: key.key.suite.number(),
        public_key: key.key.bytes.clone(),
        certificate_chain: key.chain.clone(),
        signature: key.signature.clone(),
    }
}

/// Parses a sealed answer. Only the worker can open it.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn sealed_answer(encapsulated_key: Vec<u8>, ciphertext: Vec<u8>) -> Result<SealedAnswer, Malformed> {
    Ok(SealedAnswer {
        encapsulated_key: bounded("encapsulated_key", encapsulated_key, 2_048)?,
        ciphertext: bounded("ciphertext", ciphertext, 1_024)?,
    })
}
