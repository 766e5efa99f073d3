//! Wire to model: every request message, as raw protobuf bytes and through the one way in.
//!
//! What must hold: nothing panics; what is refused names a field and a way out and repeats nothing of what was sent;
//! what is taken prints back the very text it was parsed from and lies within the bounds the wire promises; a message
//! that decodes encodes to something that decodes to itself.

mod parsed;
mod samples;

use cofre_model::caller::SpiffeId;
use cofre_model::id::{
    ChallengeId, ConsentId, CredentialId, EnrolmentId, ErasureId, IdError, InstitutionId, JobId, Slug, SubjectId,
    TenantId,
};
use cofre_proto::convert::{self, Malformed};
use cofre_proto::v1;
use prost::Message;

use crate::input::Input;

pub(crate) const TRUST_DOMAIN: &str = "cofre.test";

/// The first byte names the message, the second whether what follows is the message itself or bends a good one.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (which, bent) = (usize::from(input.byte()) % samples::METHODS, input.flag());
    let bytes = if bent { input.bend(&samples::good(which)) } else { input.rest().to_vec() };
    let refused = offer(which, &bytes);
    if let Some(problem) = refused {
        named(&problem, &bytes);
    }
    texts(&String::from_utf8_lossy(&bytes));
}

/// A refusal names its field and the way out, in our own words.
fn named(problem: &Malformed, sent: &[u8]) {
    let path = |c: char| c.is_ascii_alphanumeric() || "_.[], ".contains(c);
    assert!(!problem.field.is_empty() && problem.field.len() < 64 && problem.field.chars().all(path), "{problem:?}");
    assert!((4..200).contains(&problem.advice.len()) && !problem.advice.ends_with('.'), "{problem:?}");
    // Our words are those of a source file: a long control character or non-ASCII text could only be the peer's.
    assert!(problem.advice.is_ascii() && !problem.advice.chars().any(char::is_control), "{problem:?}");
    if let Ok(text) = std::str::from_utf8(sent)
        && text.len() > 24
    {
        assert!(!problem.advice.contains(text), "the advice repeats what was sent");
    }
}

/// Decodes and re-encodes: the second reading is the first.
fn decode<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).expect("what we wrote decodes");
    assert!(again == message, "a message changed by being written");
    Some(message)
}

/// Parses an id; its text is canonical.
fn id<'a, T: TryFrom<&'a str, Error = IdError> + ToString>(field: &str, text: &'a str) -> Option<Malformed> {
    match convert::id::<T>(field, text) {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            None
        }
        Err(problem) => {
            assert_eq!(problem.field, field);
            Some(problem)
        }
    }
}

/// Offers bytes as the message of a method, the way its service reads it.
fn offer(which: usize, bytes: &[u8]) -> Option<Malformed> {
    match which {
        0 => {
            let wire: v1::OpenEnrolmentRequest = decode(bytes)?;
            parsed::open_enrolment(&wire, convert::open_enrolment(wire.clone()))
        }
        1 => {
            let wire: v1::DepositRequest = decode(bytes)?;
            parsed::deposit(&wire, convert::sealed_deposit(wire.clone()))
        }
        2 => {
            let wire: v1::NoticeRequest = decode(bytes)?;
            parsed::notice(&wire, convert::notice_request(wire.clone()))
        }
        3 => {
            let wire: v1::GrantRequest = decode(bytes)?;
            parsed::grant(&wire, convert::grant_request(&wire))
        }
        4 => {
            let wire: v1::ReleaseRequest = decode(bytes)?;
            parsed::release(&wire, convert::release_request(wire.clone()))
        }
        5 => {
            let wire: v1::ReportOutcomeRequest = decode(bytes)?;
            parsed::outcome(&wire, convert::outcome_report(&wire))
        }
        6 => {
            let wire: v1::OpenRequest = decode(bytes)?;
            parsed::challenge(&wire, convert::challenge_request(wire.clone()))
        }
        7 => {
            let wire: v1::AnswerRequest = decode(bytes)?;
            let (key, text) = (wire.encapsulated_key.clone(), wire.ciphertext.clone());
            id::<ChallengeId>("challenge_id", &wire.challenge_id)
                .or_else(|| parsed::answer(&wire, convert::sealed_answer(key, text)))
        }
        8 => {
            let wire: v1::EraseRequest = decode(bytes)?;
            parsed::person(&wire, convert::person(wire.clone()))
        }
        9 => {
            let wire: v1::PutTenantRequest = decode(bytes)?;
            parsed::tenant(&wire, convert::put_tenant(wire.clone()))
        }
        10 => {
            let wire: v1::PutInstitutionRequest = decode(bytes)?;
            parsed::institution(&wire, convert::put_institution(wire.clone()))
        }
        11 => {
            let wire: v1::PutTemplateRequest = decode(bytes)?;
            parsed::template(&wire, convert::put_template(wire.clone()))
        }
        12 => {
            let wire: v1::PutWorkerRequest = decode(bytes)?;
            parsed::worker(&wire, convert::put_worker(&wire, TRUST_DOMAIN))
        }
        13 => {
            let wire: v1::LockdownRequest = decode(bytes)?;
            parsed::lockdown(&wire, convert::lockdown(wire.clone()))
        }
        14 => {
            let wire: v1::SearchRequest = decode(bytes)?;
            parsed::search(&wire, convert::search(wire.clone()))
        }
        15 => {
            let wire: v1::QuarantineWorkerRequest = decode(bytes)?;
            convert::worker(&wire.spiffe_id, TRUST_DOMAIN).map(|id| assert_eq!(id.to_string(), wire.spiffe_id)).err()
        }
        _ => only_ids(which, bytes),
    }
}

/// Messages that hold ids and nothing else that is judged at the counter.
fn only_ids(which: usize, bytes: &[u8]) -> Option<Malformed> {
    match which {
        16 => id::<CredentialId>("credential_id", &decode::<v1::CredentialStateRequest>(bytes)?.credential_id),
        17 => id::<EnrolmentId>("enrolment_id", &decode::<v1::CancelEnrolmentRequest>(bytes)?.enrolment_id),
        18 => id::<ConsentId>("consent_id", &decode::<v1::RevokeRequest>(bytes)?.consent_id),
        19 => id::<ConsentId>("consent_id", &decode::<v1::ReceiptRequest>(bytes)?.consent_id),
        20 => id::<ErasureId>("erasure_id", &decode::<v1::CertificateRequest>(bytes)?.erasure_id),
        21 => id::<ChallengeId>("challenge_id", &decode::<v1::AwaitAnswerRequest>(bytes)?.challenge_id),
        22 => id::<ChallengeId>("challenge_id", &decode::<v1::ConcludeRequest>(bytes)?.challenge_id),
        23 => id::<ChallengeId>("challenge_id", &decode::<v1::CancelRequest>(bytes)?.challenge_id),
        24 => id::<TenantId>("tenant_id", &decode::<v1::RotateDepositKeyRequest>(bytes)?.tenant_id),
        25 => {
            let wire = decode::<v1::WatchLeaseRequest>(bytes)?;
            id::<CredentialId>("credential_id", &wire.credential_id).or_else(|| id::<JobId>("job_id", &wire.job_id))
        }
        26 => decode::<v1::TileRequest>(bytes).and(None),
        27 => decode::<v1::ProveRequest>(bytes).and(None),
        28 => decode::<v1::EntryRequest>(bytes).and(None),
        _ => decode::<v1::ExportRequest>(bytes).and(None),
    }
}

/// Any text as every kind of name: taken as it is, or not at all.
fn texts(text: &str) {
    let _ = id::<SubjectId>("id", text);
    let _ = id::<Slug>("id", text);
    let _ = id::<InstitutionId>("id", text);
    if let Ok(identity) = SpiffeId::parse(text, TRUST_DOMAIN) {
        assert_eq!(identity.to_string(), text);
    }
}

/// One good message of each kind, as it is and to be bent.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for which in 0..samples::METHODS {
        let first = u8::try_from(which).expect("few methods");
        let mut raw = vec![first, 0];
        raw.extend(samples::good(which));
        seeds.push((format!("message-{which:02}"), raw));
        seeds.push((format!("bent-{which:02}"), vec![first, 1, 1, 1, 5, 7]));
    }
    seeds
}
