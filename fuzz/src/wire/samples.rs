//! One good message of each method, to be bent.

use cofre_model::id::{
    ChallengeId, ConsentId, CredentialId, DepositKeyId, EnrolmentId, ErasureId, JobId, RecipientId, RequestId,
    SigningKeyId, TenantId,
};
use cofre_proto::v1;
use prost::Message;

/// How many messages there are.
pub(super) const METHODS: usize = 30;

const AT: u64 = 1_790_000_000_000;
const AT_US: u64 = AT * 1_000;
const WORKER: &str = "spiffe://cofre.test/worker/pool-a/w1";
const BANK: &str = "ins_banco-abierto";

fn statement(of: u8) -> v1::SignedStatement {
    v1::SignedStatement {
        key_id: SigningKeyId::from_parts(AT, [of; 10]).to_string(),
        statement: vec![of; 40],
        signature: vec![of; 64],
    }
}

fn credential() -> String {
    CredentialId::from_parts(AT, [1; 10]).to_string()
}

fn challenge() -> String {
    ChallengeId::from_parts(AT, [2; 10]).to_string()
}

fn job() -> String {
    JobId::from_parts(AT, [3; 10]).to_string()
}

fn tenant() -> String {
    TenantId::from_parts(AT, [4; 10]).to_string()
}

/// The bytes of a good message of method `which`.
pub(super) fn good(which: usize) -> Vec<u8> {
    match which {
        0..8 => asked(which),
        8..16 => registered(which),
        16 => v1::CredentialStateRequest { credential_id: credential() }.encode_to_vec(),
        17 => v1::CancelEnrolmentRequest { enrolment_id: EnrolmentId::from_parts(AT, [5; 10]).to_string() }
            .encode_to_vec(),
        18 => v1::RevokeRequest { consent_id: ConsentId::from_parts(AT, [6; 10]).to_string() }.encode_to_vec(),
        19 => v1::ReceiptRequest { consent_id: ConsentId::from_parts(AT, [6; 10]).to_string() }.encode_to_vec(),
        20 => v1::CertificateRequest { erasure_id: ErasureId::from_parts(AT, [7; 10]).to_string() }.encode_to_vec(),
        21 => v1::AwaitAnswerRequest { challenge_id: challenge() }.encode_to_vec(),
        22 => v1::ConcludeRequest { challenge_id: challenge(), succeeded: true }.encode_to_vec(),
        23 => v1::CancelRequest { challenge_id: challenge() }.encode_to_vec(),
        24 => v1::RotateDepositKeyRequest { tenant_id: tenant() }.encode_to_vec(),
        25 => v1::WatchLeaseRequest { credential_id: credential(), job_id: job() }.encode_to_vec(),
        26 => v1::TileRequest { path: "tile/0/x001/234.p/8".to_owned() }.encode_to_vec(),
        27 => v1::ProveRequest { index: 300 }.encode_to_vec(),
        28 => v1::EntryRequest { index: 300 }.encode_to_vec(),
        _ => v1::ExportRequest { from_index: 300 }.encode_to_vec(),
    }
}

/// What front ends and workers ask.
fn asked(which: usize) -> Vec<u8> {
    match which {
        0 => {
            let new = v1::NewLogin { institution_id: BANK.to_owned(), subject_ref: "inv-1".to_owned() };
            let login = Some(v1::open_enrolment_request::Login::NewLogin(new));
            v1::OpenEnrolmentRequest { login }.encode_to_vec()
        }
        1 => v1::DepositRequest {
            enrolment_id: EnrolmentId::from_parts(AT, [5; 10]).to_string(),
            deposit_key_id: DepositKeyId::from_parts(AT, [8; 10]).to_string(),
            encapsulated_key: vec![1; 32],
            fields: vec![
                v1::SealedField { key: "user".to_owned(), sealed: vec![2; 80] },
                v1::SealedField { key: "password".to_owned(), sealed: vec![3; 80] },
            ],
        }
        .encode_to_vec(),
        2 => v1::NoticeRequest {
            credential_id: credential(),
            recipient_id: RecipientId::from_parts(AT, [9; 10]).to_string(),
            purpose: 1,
            scopes: vec![2, 3, 7],
            valid_until_us: AT_US,
            history_from_us: 1,
            unattended_per_day: 4,
            locale: 1,
        }
        .encode_to_vec(),
        3 => v1::GrantRequest {
            consent_id: ConsentId::from_parts(AT, [6; 10]).to_string(),
            notice_sha256: vec![4; 32],
            authn_method: "passkey".to_owned(),
            session_id: "s-1".to_owned(),
        }
        .encode_to_vec(),
        4 => v1::ReleaseRequest {
            request_id: RequestId::from_parts(AT, [10; 10]).to_string(),
            credential_id: credential(),
            job: Some(statement(1)),
            attendance: Some(statement(2)),
            class: 1,
            fields: vec![
                v1::FieldRequest { key: "user".to_owned(), form: 1, positions: Vec::new() },
                v1::FieldRequest { key: "card".to_owned(), form: 2, positions: vec![1, 3, 256] },
            ],
            suite: 2,
            seal_key: vec![5; 32],
        }
        .encode_to_vec(),
        5 => {
            v1::ReportOutcomeRequest { credential_id: credential(), job_id: job(), outcome: 4, locked_until_us: AT_US }
                .encode_to_vec()
        }
        6 => v1::OpenRequest {
            credential_id: credential(),
            job_id: job(),
            kind: 1,
            code_length: 6,
            attempt: 1,
            expires_us: AT_US,
            intent: "LOGIN".to_owned(),
            text: "Introduzca el código".to_owned(),
            challenge_id: challenge(),
            key: Some(v1::ChallengeKey {
                suite: 2,
                public_key: vec![6; 32],
                certificate_chain: vec![vec![7; 300], vec![8; 300]],
                signature: vec![9; 70],
            }),
        }
        .encode_to_vec(),
        _ => v1::AnswerRequest { challenge_id: challenge(), encapsulated_key: vec![1; 32], ciphertext: vec![2; 80] }
            .encode_to_vec(),
    }
}

/// What is registered, stopped and searched.
fn registered(which: usize) -> Vec<u8> {
    match which {
        8 => {
            v1::EraseRequest { person: Some(v1::erase_request::Person::SubjectRef("inv-1".to_owned())) }.encode_to_vec()
        }
        9 => v1::PutTenantRequest {
            slug: "acme".to_owned(),
            legal_name: "Acme Patrimonios".to_owned(),
            home_region: "eu-nl".to_owned(),
            signing_keys: ["job", "attendance"]
                .map(|kind| v1::NewSigningKey { kind: kind.to_owned(), public_key: vec![1; 32], not_after_us: AT_US })
                .to_vec(),
            recipients: vec!["Acme Informes".to_owned()],
            custody_set: "all_of(hsm-1, any_of(kms-1, kms-2))".to_owned(),
            warm_for_s: Some(600),
        }
        .encode_to_vec(),
        10 => v1::PutInstitutionRequest {
            institution_id: BANK.to_owned(),
            name: "Banco Abierto".to_owned(),
            country: "ES".to_owned(),
            lockout_threshold: 3,
            unattended_from: 360,
            unattended_to: 1_440,
            suspended: true,
        }
        .encode_to_vec(),
        11 => v1::PutTemplateRequest {
            institution_id: BANK.to_owned(),
            version: 1,
            fields: ["user", "password"]
                .map(|key| v1::TemplateField {
                    key: key.to_owned(),
                    pattern: "[0-9]{8}".to_owned(),
                    required: true,
                    secret: true,
                    signing_factor: false,
                    identifies: true,
                    release_form: 1,
                })
                .to_vec(),
        }
        .encode_to_vec(),
        12 => {
            let scope = v1::WorkerScope { tenant_id: tenant(), institution_id: BANK.to_owned() };
            v1::PutWorkerRequest { spiffe_id: WORKER.to_owned(), scopes: vec![scope.clone(), scope] }.encode_to_vec()
        }
        13 => v1::LockdownRequest { scope: Some(v1::lockdown_request::Scope::TenantId(tenant())) }.encode_to_vec(),
        14 => v1::SearchRequest {
            credential_id: credential(),
            tenant_id: tenant(),
            kind: "GRANTED".to_owned(),
            reason: "LOCKDOWN".to_owned(),
            caller: WORKER.to_owned(),
            from_index: 1,
            to_index: 9,
            limit: 500,
        }
        .encode_to_vec(),
        _ => v1::QuarantineWorkerRequest { spiffe_id: WORKER.to_owned() }.encode_to_vec(),
    }
}
