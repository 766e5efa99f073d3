//! Good messages for every method, with some choice in them.

use cofre_envelope::context::DepositContext;
use cofre_envelope::{PublicKey, Suite, seal_deposit};
use cofre_model::id::{ChallengeId, RequestId};
use cofre_model::time::{Clock, Span};
use cofre_proto::v1;
use prost::Message;

use super::super::people::WORKER;
use super::super::world::World;
use super::{BANK, Known, PAIR, SECRETS, SUBJECT, secrets, template};
use crate::input::Input;

impl Known {
    /// A good message of `method`, with some choice in it.
    pub(in crate::door) fn message(&mut self, method: &str, world: &World, input: &mut Input<'_>) -> Vec<u8> {
        let clock = world.clock();
        let credential_id = self.credential.to_string();
        let choice = input.byte();
        if choice & 1 == 0 {
            self.serial = self.serial.wrapping_add(1);
        }
        let job_id = self.job(&*clock).0.to_string();
        let challenge_id = ChallengeId::from_parts(clock.now().millis(), [choice >> 6; 10]).to_string();
        match method.rsplit_once('.').map_or(method, |(_, name)| name) {
            "ReleaseService/Release" => self.release(&*clock, choice).encode_to_vec(),
            "ReleaseService/ReportOutcome" => {
                let outcome = 1 + i32::from(choice >> 4) % 11;
                let locked_until_us = if outcome == 4 { clock.now().plus(Span::hours(1)).micros() } else { 0 };
                v1::ReportOutcomeRequest { credential_id, job_id, outcome, locked_until_us }.encode_to_vec()
            }
            "ReleaseService/WatchLease" => v1::WatchLeaseRequest { credential_id, job_id }.encode_to_vec(),
            "RelayService/Open" => v1::OpenRequest {
                credential_id,
                job_id,
                kind: 4,
                code_length: 6,
                attempt: 1,
                expires_us: clock.now().plus(Span::minutes(3)).micros(),
                intent: "LOGIN".to_owned(),
                text: "Enter the code of your app".to_owned(),
                challenge_id,
                key: Some(v1::ChallengeKey {
                    suite: 2,
                    public_key: PAIR.public().as_bytes().to_vec(),
                    certificate_chain: vec![vec![1; 64]],
                    signature: vec![2; 64],
                }),
            }
            .encode_to_vec(),
            "RelayService/Answer" => {
                v1::AnswerRequest { challenge_id, encapsulated_key: vec![4; 32], ciphertext: vec![5; 80] }
                    .encode_to_vec()
            }
            "RelayService/AwaitAnswer" => v1::AwaitAnswerRequest { challenge_id }.encode_to_vec(),
            "RelayService/Conclude" => v1::ConcludeRequest { challenge_id, succeeded: choice & 2 == 0 }.encode_to_vec(),
            "RelayService/Cancel" => v1::CancelRequest { challenge_id }.encode_to_vec(),
            "ConsentService/Notice" => v1::NoticeRequest {
                credential_id,
                recipient_id: self.recipient.to_string(),
                purpose: 1,
                scopes: vec![2, 7],
                valid_until_us: clock.now().plus(Span::days(60)).micros(),
                history_from_us: clock.now().minus(Span::days(700)).micros(),
                unattended_per_day: u32::from(choice & 7),
                locale: 1 + i32::from(choice >> 6),
            }
            .encode_to_vec(),
            "ConsentService/Grant" => v1::GrantRequest {
                consent_id: self.offered.0.clone(),
                notice_sha256: self.offered.1.clone(),
                authn_method: "passkey".to_owned(),
                session_id: "s-2".to_owned(),
            }
            .encode_to_vec(),
            "ConsentService/Revoke" => v1::RevokeRequest { consent_id: self.consent.clone() }.encode_to_vec(),
            "ConsentService/Receipt" => v1::ReceiptRequest { consent_id: self.consent.clone() }.encode_to_vec(),
            "PrivacyService/Certificate" => v1::CertificateRequest { erasure_id: self.erasure.clone() }.encode_to_vec(),
            "PrivacyService/Erase" => {
                let person = match choice & 2 {
                    0 => v1::erase_request::Person::SubjectId(self.owner.to_string()),
                    _ => v1::erase_request::Person::SubjectRef(SUBJECT.to_owned()),
                };
                v1::EraseRequest { person: Some(person) }.encode_to_vec()
            }
            "SecurityService/Lockdown" => {
                use v1::lockdown_request::Scope as Wire;
                let scope = match choice >> 6 {
                    0 => Wire::Platform(true),
                    1 => Wire::TenantId(self.tenant.to_string()),
                    2 => Wire::InstitutionId(BANK.to_owned()),
                    _ => Wire::CredentialId(credential_id),
                };
                v1::LockdownRequest { scope: Some(scope) }.encode_to_vec()
            }
            "SecurityService/QuarantineWorker" => {
                v1::QuarantineWorkerRequest { spiffe_id: WORKER.to_owned() }.encode_to_vec()
            }
            "OperatorService/RotateDepositKey" => {
                v1::RotateDepositKeyRequest { tenant_id: self.tenant.to_string() }.encode_to_vec()
            }
            "OperatorService/RewrapKeys" => v1::RewrapKeysRequest {
                custody_set: "any_of(hsm-1)".to_owned(),
                from_key: if choice & 2 == 0 { String::new() } else { "memory".to_owned() },
                rate: u32::from(choice >> 6),
                dry_run: choice & 4 == 4,
            }
            .encode_to_vec(),
            "OperatorService/RotateKeys" => v1::RotateKeysRequest {
                tenant_id: if choice & 2 == 0 { String::new() } else { self.tenant.to_string() },
                rate: u32::from(choice >> 6),
                dry_run: choice & 4 == 4,
                every_tenant: choice & 8 == 8,
            }
            .encode_to_vec(),
            "OperatorService/RetireTenantKeys" => {
                v1::RetireTenantKeysRequest { every_tenant: choice & 8 == 8 }.encode_to_vec()
            }
            "OperatorService/RetireKeys" => {
                v1::RetireKeysRequest { custodian: "hsm-1".to_owned(), key: String::new() }.encode_to_vec()
            }
            other => self.enrolled(other, choice),
        }
    }

    /// Enrolment, registries and the register.
    fn enrolled(&self, name: &str, choice: u8) -> Vec<u8> {
        let number = u64::from(choice >> 2);
        match name {
            "DepositService/OpenEnrolment" => {
                use v1::open_enrolment_request::Login as Wire;
                let new = v1::NewLogin { institution_id: BANK.to_owned(), subject_ref: format!("inv-{}", choice >> 6) };
                let anew = Wire::CredentialId(self.credential.to_string());
                let login = if choice & 2 == 0 { Wire::NewLogin(new) } else { anew };
                v1::OpenEnrolmentRequest { login: Some(login) }.encode_to_vec()
            }
            "DepositService/Deposit" => self.deposit().encode_to_vec(),
            "DepositService/CancelEnrolment" => {
                v1::CancelEnrolmentRequest { enrolment_id: self.enrolment.clone() }.encode_to_vec()
            }
            "DepositService/CredentialState" => {
                v1::CredentialStateRequest { credential_id: self.credential.to_string() }.encode_to_vec()
            }
            "AuditService/Tile" => v1::TileRequest { path: format!("tile/0/000.p/{number}") }.encode_to_vec(),
            "AuditService/Prove" => v1::ProveRequest { index: number }.encode_to_vec(),
            "AuditService/Entry" => v1::EntryRequest { index: number }.encode_to_vec(),
            "AuditService/Search" => v1::SearchRequest {
                credential_id: self.credential.to_string(),
                from_index: number,
                limit: 9,
                ..v1::SearchRequest::default()
            }
            .encode_to_vec(),
            "AdminService/PutTenant" => v1::PutTenantRequest {
                slug: if choice & 2 == 0 { "rival" } else { "acme" }.to_owned(),
                legal_name: "Rival".to_owned(),
                home_region: "eu-nl".to_owned(),
                signing_keys: Vec::new(),
                recipients: Vec::new(),
                custody_set: if choice & 4 == 0 { "" } else { "any_of(hsm-1, hsm-2)" }.to_owned(),
                warm_for_s: (choice & 8 != 0).then_some(number),
            }
            .encode_to_vec(),
            "AdminService/PutTemplate" => v1::PutTemplateRequest {
                institution_id: BANK.to_owned(),
                version: 1 + u32::from(choice >> 6),
                fields: template().fields.iter().map(cofre_proto::convert::template_field).collect(),
            }
            .encode_to_vec(),
            "AdminService/PutInstitution" => v1::PutInstitutionRequest {
                institution_id: BANK.to_owned(),
                name: "Banco Abierto".to_owned(),
                country: "ES".to_owned(),
                lockout_threshold: 3,
                unattended_from: 0,
                unattended_to: 1_440,
                suspended: choice & 2 == 2,
            }
            .encode_to_vec(),
            "AdminService/PutWorker" => {
                let scope = v1::WorkerScope { tenant_id: self.tenant.to_string(), institution_id: BANK.to_owned() };
                v1::PutWorkerRequest { spiffe_id: WORKER.to_owned(), scopes: vec![scope] }.encode_to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn release(&self, clock: &dyn Clock, choice: u8) -> v1::ReleaseRequest {
        let mut fields: Vec<v1::FieldRequest> = SECRETS
            .iter()
            .map(|(key, _)| v1::FieldRequest { key: (*key).to_owned(), form: 1, positions: Vec::new() })
            .collect();
        if choice & 4 == 4 {
            fields[1] = v1::FieldRequest { key: "password".to_owned(), form: 2, positions: vec![1, 8] };
        }
        v1::ReleaseRequest {
            request_id: RequestId::from_parts(clock.now().millis(), [self.serial; 10]).to_string(),
            credential_id: self.credential.to_string(),
            job: self.job(clock).1,
            attendance: if choice & 2 == 0 { self.attendance(clock) } else { None },
            class: 1,
            fields,
            suite: 2,
            seal_key: PAIR.public().as_bytes().to_vec(),
        }
    }

    fn deposit(&self) -> v1::DepositRequest {
        let (deposit_key_id, key) = self.deposit_key.clone().unwrap_or_default();
        let suite = if key.len() == 32 { Suite::X25519 } else { Suite::MlKem768X25519 };
        // The true context is not known to this client for every enrolment: most deposits are sealed for another one.
        let context = DepositContext {
            tenant: self.tenant,
            key: deposit_key_id
                .as_str()
                .try_into()
                .unwrap_or_else(|_| cofre_model::id::DepositKeyId::from_parts(1, [1; 10])),
            enrolment: self
                .enrolment
                .as_str()
                .try_into()
                .unwrap_or_else(|_| cofre_model::id::EnrolmentId::from_parts(1, [1; 10])),
            owner: self.owner,
            credential: self.credential,
            template_version: 1,
        };
        let sealed = PublicKey::new(suite, &key).and_then(|to| seal_deposit(&to, &context, secrets()));
        let (encapsulated_key, fields) =
            sealed.map_or_else(|_| (vec![1; 32], Vec::new()), |sealed| (sealed.encapsulated_key, sealed.fields));
        let fields =
            fields.into_iter().map(|field| v1::SealedField { key: field.key.to_string(), sealed: field.sealed });
        v1::DepositRequest {
            enrolment_id: self.enrolment.clone(),
            deposit_key_id,
            encapsulated_key,
            fields: fields.collect(),
        }
    }
}
