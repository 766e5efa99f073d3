//! What the tests of this crate share: a small slab, fixed identifiers, contexts, and the pinned vectors' file.

use std::sync::Arc;

use cofre_model::credential::FieldKey;
use cofre_model::id::{ChallengeId, CredentialId, DepositKeyId, EnrolmentId, SubjectId, TenantId};
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;

use crate::context::{
    AnswerContext, DepositContext, ReleaseContext, RowKeyKind, SecretContext, WrapData, WrapDepositKey, WrapEvidence,
    WrapRowKey, WrapSubject, WrapTenant,
};
use crate::keys::KeyBytes;
use crate::{Backing, Error, Room, Slab, Suite};

const AT: u64 = 1_790_000_000_000;
pub(crate) const WORKER: &str = "spiffe://cofre.example/worker/pool-a/w-1";

pub(crate) fn slab() -> Arc<Slab> {
    Slab::with_room(Backing::Mlock, Room { small: 64, large: 16 }).expect("80 KiB can be locked")
}

pub(crate) fn key(slab: &Arc<Slab>, bytes: &[u8]) -> KeyBytes {
    KeyBytes::fill::<Error>(slab, |place| {
        place.copy_from_slice(bytes);
        Ok(())
    })
    .expect("room")
}

pub(crate) fn field(text: &str) -> FieldKey {
    FieldKey::try_from(text).expect("a field key")
}

pub(crate) fn tenant() -> TenantId {
    TenantId::from_parts(AT, [1; 10])
}

pub(crate) fn owner() -> SubjectId {
    SubjectId::from_parts(AT, [2; 10])
}

pub(crate) fn credential() -> CredentialId {
    CredentialId::from_parts(AT, [3; 10])
}

pub(crate) fn secret() -> SecretContext {
    SecretContext { tenant: tenant(), owner: owner(), credential: credential(), class: Class::Login, version: 7 }
}

pub(crate) fn wrap_data() -> WrapData {
    WrapData { secret: secret(), subject_key_version: 2 }
}

pub(crate) fn wrap_subject() -> WrapSubject {
    WrapSubject {
        tenant: tenant(),
        owner: owner(),
        subject_key_version: 2,
        tenant_key_id: [0xa1; 16],
        tenant_key_version: 3,
    }
}

pub(crate) fn wrap_tenant() -> WrapTenant<'static> {
    WrapTenant {
        region: "eu-nl",
        tenant: tenant(),
        tenant_key_version: 3,
        custody_set: [0xb2; 32],
        custodian: "hsm-1",
        share_index: 0,
        share_count: 2,
    }
}

pub(crate) fn wrap_deposit_key() -> WrapDepositKey {
    WrapDepositKey {
        tenant: tenant(),
        key: DepositKeyId::from_parts(AT, [6; 10]),
        suite: Suite::MlKem768X25519,
        not_before: Timestamp::from_millis(AT),
        not_after: Timestamp::from_millis(AT + 86_400_000),
    }
}

pub(crate) fn wrap_row_key() -> WrapRowKey {
    WrapRowKey { tenant: tenant(), kind: RowKeyKind::Dedupe, tenant_key_id: [0xa1; 16], tenant_key_version: 3 }
}

pub(crate) fn wrap_evidence() -> WrapEvidence {
    WrapEvidence { tenant: tenant(), owner: owner(), evidence_key_version: 4 }
}

pub(crate) fn deposit() -> DepositContext {
    DepositContext {
        tenant: tenant(),
        key: DepositKeyId::from_parts(AT, [6; 10]),
        enrolment: EnrolmentId::from_parts(AT, [4; 10]),
        owner: owner(),
        credential: credential(),
        template_version: 1,
    }
}

pub(crate) fn release() -> ReleaseContext<'static> {
    ReleaseContext {
        origin: "cofre.example/ledger",
        index: 70_000,
        entry_hash: [0xc3; 32],
        request_digest: [0xd4; 32],
        worker: WORKER,
    }
}

pub(crate) fn answer() -> AnswerContext {
    AnswerContext {
        tenant: tenant(),
        credential: credential(),
        challenge: ChallengeId::from_parts(AT, [5; 10]),
        attempt: 1,
    }
}

/// The pinned vectors of the project's own formats.
pub(crate) fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../tests/vectors/envelope-v1.json")).expect("the file is JSON")
}

/// A hex string of a vector file, decoded.
pub(crate) fn bytes(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a string")).expect("hex")
}
