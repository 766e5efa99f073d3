//! What must be true of each request that was taken: it says what the wire said, no more and no less, within bounds.
//! Each function gives the refusal back where there was one.

use cofre_model::job::SignedStatement;
use cofre_model::registry::{Institution, InstitutionState, Template};
use cofre_model::request::{
    ChallengeRequest, GrantRequest, Lockdown, Login, NoticeRequest, OpenEnrolment, OutcomeReport, Person, PutTenant,
    PutWorker, ReleaseRequest, SealKey, SealSuite, SealedAnswer, SealedDeposit, SearchQuery,
};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Form, Outcome, ScopeSet};
use cofre_proto::convert::{self, Malformed};
use cofre_proto::v1;

type Taken<T> = Result<T, Malformed>;

/// The first instant of the year 9999, as the wire promises.
const YEAR_9999: Timestamp = Timestamp::from_micros(253_370_764_800_000_000);

fn instant(at: Timestamp, wire: u64) {
    assert_eq!(at.micros(), wire);
    assert!(wire > 0 && at < YEAR_9999);
}

fn text(text: &str, most: usize) {
    assert!(!text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control));
}

fn scopes(taken: &ScopeSet, wire: &[i32]) {
    assert!(!taken.is_empty() && taken.iter().count() == wire.len(), "a scope was lost, or came twice");
    assert!(taken.iter().all(|scope| wire.contains(&scope.number())));
}

pub(super) fn open_enrolment(wire: &v1::OpenEnrolmentRequest, taken: Taken<OpenEnrolment>) -> Option<Malformed> {
    use v1::open_enrolment_request::Login as Wire;
    match (taken, wire.login.as_ref()) {
        (Err(problem), _) => return Some(problem),
        (Ok(OpenEnrolment { login: Login::New { institution, subject } }), Some(Wire::NewLogin(new))) => {
            assert_eq!(
                (institution.to_string(), subject.as_str()),
                (new.institution_id.clone(), new.subject_ref.as_str())
            );
        }
        (Ok(OpenEnrolment { login: Login::Existing(id) }), Some(Wire::CredentialId(text))) => {
            assert_eq!(id.to_string(), *text);
        }
        (Ok(other), _) => panic!("not what the wire said: {other:?}"),
    }
    None
}

pub(super) fn deposit(wire: &v1::DepositRequest, taken: Taken<SealedDeposit>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.enrolment.to_string(), taken.deposit_key.to_string()),
        (wire.enrolment_id.clone(), wire.deposit_key_id.clone())
    );
    assert!(taken.encapsulated_key == wire.encapsulated_key && (1..=2_048).contains(&wire.encapsulated_key.len()));
    assert!((1..=16).contains(&taken.fields.len()) && taken.fields.len() == wire.fields.len());
    for (place, ((key, sealed), field)) in taken.fields.iter().zip(&wire.fields).enumerate() {
        assert!(key.as_str() == field.key && *sealed == field.sealed && (1..=4_096).contains(&sealed.len()));
        assert!(!taken.fields[..place].iter().any(|(earlier, _)| earlier == key), "a field came twice");
    }
    None
}

pub(super) fn notice(wire: &v1::NoticeRequest, taken: Taken<NoticeRequest>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.credential.to_string(), taken.recipient.to_string()),
        (wire.credential_id.clone(), wire.recipient_id.clone())
    );
    assert_eq!((taken.purpose.number(), taken.locale.number()), (wire.purpose, wire.locale));
    scopes(&taken.scopes, &wire.scopes);
    instant(taken.valid_until, wire.valid_until_us);
    instant(taken.history_from, wire.history_from_us);
    assert!(u32::from(taken.unattended_per_day) == wire.unattended_per_day && taken.unattended_per_day <= 4);
    None
}

pub(super) fn grant(wire: &v1::GrantRequest, taken: Taken<GrantRequest>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.consent.to_string(), taken.notice_sha256.to_vec()),
        (wire.consent_id.clone(), wire.notice_sha256.clone())
    );
    assert_eq!(
        (taken.authn_method.as_str(), taken.session.as_str()),
        (wire.authn_method.as_str(), wire.session_id.as_str())
    );
    text(taken.session.as_str(), 64);
    None
}

fn statement(taken: &SignedStatement, wire: &v1::SignedStatement) {
    assert_eq!(taken.key_id.to_string(), wire.key_id);
    assert!(taken.statement == wire.statement && (1..=1_024).contains(&wire.statement.len()));
    assert_eq!(taken.signature.as_slice(), wire.signature);
}

fn seal_key(taken: &SealKey, suite: i32, bytes: &[u8]) {
    let len = match taken.suite {
        SealSuite::MlKem768X25519 => 1_216,
        SealSuite::X25519 => 32,
    };
    assert!(taken.suite.number() == suite && taken.bytes == bytes && bytes.len() == len);
}

pub(super) fn release(wire: &v1::ReleaseRequest, taken: Taken<ReleaseRequest>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.id.to_string(), taken.credential.to_string()),
        (wire.request_id.clone(), wire.credential_id.clone())
    );
    statement(&taken.job, wire.job.as_ref().expect("a job was taken"));
    match (&taken.attendance, &wire.attendance) {
        (Some(taken), Some(wire)) => statement(taken, wire),
        (None, None) => {}
        other => panic!("presence is not what the wire said: {other:?}"),
    }
    assert_eq!(taken.class.number(), wire.class);
    seal_key(&taken.worker_key, wire.suite, &wire.seal_key);
    assert!((1..=16).contains(&taken.fields.len()) && taken.fields.len() == wire.fields.len());
    for (place, (field, said)) in taken.fields.iter().zip(&wire.fields).enumerate() {
        assert!(field.key.as_str() == said.key && field.form.number() == said.form);
        assert!(field.positions.iter().map(|p| u32::from(*p)).eq(said.positions.iter().copied()));
        assert!(field.positions.is_sorted_by(|a, b| a < b) && field.positions.iter().all(|p| (1..=256).contains(p)));
        assert_eq!(field.form == Form::Positions, !field.positions.is_empty());
        assert!(!taken.fields[..place].iter().any(|earlier| earlier.key == field.key), "a field came twice");
    }
    // What binds the answer to the request tells every part of it.
    assert!(taken.digest_input().len() > 200 && taken.digest_input() == taken.clone().digest_input());
    None
}

pub(super) fn outcome(wire: &v1::ReportOutcomeRequest, taken: Taken<OutcomeReport>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.credential.to_string(), taken.job.to_string()),
        (wire.credential_id.clone(), wire.job_id.clone())
    );
    assert_eq!(taken.outcome.number(), wire.outcome);
    assert_eq!(taken.outcome == Outcome::Locked, taken.locked_until.is_some());
    assert_eq!(taken.locked_until.map_or(0, Timestamp::micros), wire.locked_until_us);
    None
}

pub(super) fn challenge(wire: &v1::OpenRequest, taken: Taken<ChallengeRequest>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.id.to_string(), taken.credential.to_string()),
        (wire.challenge_id.clone(), wire.credential_id.clone())
    );
    assert_eq!((taken.job.to_string(), taken.kind.number()), (wire.job_id.clone(), wire.kind));
    assert_eq!((u32::from(taken.code_length), u32::from(taken.attempt)), (wire.code_length, wire.attempt));
    assert!((1..=12).contains(&taken.code_length) && (1..=5).contains(&taken.attempt));
    instant(taken.expires, wire.expires_us);
    assert_eq!(taken.text, wire.text);
    text(&taken.text, 500);
    let key = wire.key.as_ref().expect("a key was taken");
    seal_key(&taken.key.key, key.suite, &key.public_key);
    assert_eq!(convert::challenge_key_to_wire(&taken.key), *key);
    None
}

pub(super) fn answer(wire: &v1::AnswerRequest, taken: Taken<SealedAnswer>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert!(taken.encapsulated_key == wire.encapsulated_key && taken.ciphertext == wire.ciphertext);
    assert!((1..=2_048).contains(&taken.encapsulated_key.len()) && (1..=1_024).contains(&taken.ciphertext.len()));
    None
}

pub(super) fn person(wire: &v1::EraseRequest, taken: Taken<Person>) -> Option<Malformed> {
    use v1::erase_request::Person as Wire;
    match (taken, wire.person.as_ref()) {
        (Err(problem), _) => return Some(problem),
        (Ok(Person::Id(id)), Some(Wire::SubjectId(text))) => assert_eq!(id.to_string(), *text),
        (Ok(Person::Ref(name)), Some(Wire::SubjectRef(text))) => assert_eq!(name.as_str(), text),
        (Ok(other), _) => panic!("not what the wire said: {other:?}"),
    }
    None
}

pub(super) fn tenant(wire: &v1::PutTenantRequest, taken: Taken<PutTenant>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!((taken.slug.as_str(), taken.home_region.as_str()), (wire.slug.as_str(), wire.home_region.as_str()));
    assert_eq!((&taken.legal_name, &taken.recipients), (&wire.legal_name, &wire.recipients));
    text(&taken.legal_name, 120);
    taken.recipients.iter().for_each(|name| text(name, 120));
    assert!(
        taken.recipients.len() <= 64
            && taken.signing_keys.len() <= 16
            && taken.signing_keys.len() == wire.signing_keys.len()
    );
    for ((_, key, until), said) in taken.signing_keys.iter().zip(&wire.signing_keys) {
        assert_eq!(key.as_slice(), said.public_key);
        instant(*until, said.not_after_us);
    }
    None
}

pub(super) fn institution(wire: &v1::PutInstitutionRequest, taken: Taken<Institution>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(
        (taken.id.to_string(), &taken.name, &taken.country),
        (wire.institution_id.clone(), &wire.name, &wire.country)
    );
    text(&taken.name, 120);
    assert!(taken.country.len() == 2 && (1..=20).contains(&taken.lockout_threshold));
    assert_eq!(u32::from(taken.lockout_threshold), wire.lockout_threshold);
    assert_eq!(
        (u32::from(taken.unattended_from), u32::from(taken.unattended_to)),
        (wire.unattended_from, wire.unattended_to)
    );
    assert!(taken.unattended_from <= 1_440 && taken.unattended_to <= 1_440);
    assert_eq!(taken.state == InstitutionState::Suspended, wire.suspended);
    None
}

pub(super) fn template(wire: &v1::PutTemplateRequest, taken: Taken<Template>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!((taken.institution.to_string(), taken.version), (wire.institution_id.clone(), wire.version));
    assert!(taken.version > 0 && (1..=16).contains(&taken.fields.len()));
    let back: Vec<v1::TemplateField> = taken.fields.iter().map(convert::template_field).collect();
    assert_eq!(back, wire.fields);
    for (place, field) in taken.fields.iter().enumerate() {
        text(&field.pattern, 200);
        assert!(!taken.fields[..place].iter().any(|earlier| earlier.key == field.key), "a field came twice");
    }
    None
}

pub(super) fn worker(wire: &v1::PutWorkerRequest, taken: Taken<PutWorker>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    assert_eq!(taken.id.to_string(), wire.spiffe_id);
    assert!(taken.scopes.len() == wire.scopes.len() && taken.scopes.len() <= 256);
    for ((tenant, institution), said) in taken.scopes.iter().zip(&wire.scopes) {
        assert_eq!(
            (tenant.to_string(), institution.to_string()),
            (said.tenant_id.clone(), said.institution_id.clone())
        );
    }
    None
}

pub(super) fn lockdown(wire: &v1::LockdownRequest, taken: Taken<Lockdown>) -> Option<Malformed> {
    use v1::lockdown_request::Scope as Wire;
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    let said = match wire.scope.as_ref().expect("a scope was taken") {
        Wire::Platform(all) => {
            assert!(all, "a platform stop that was not asked for");
            ""
        }
        Wire::TenantId(text) | Wire::InstitutionId(text) | Wire::CredentialId(text) => text,
    };
    assert_eq!(taken.target, said);
    None
}

pub(super) fn search(wire: &v1::SearchRequest, taken: Taken<SearchQuery>) -> Option<Malformed> {
    let taken = match taken {
        Ok(taken) => taken,
        Err(problem) => return Some(problem),
    };
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    assert_eq!(taken.credential.map(|id| id.to_string()), said(&wire.credential_id));
    assert_eq!(taken.tenant.map(|id| id.to_string()), said(&wire.tenant_id));
    assert_eq!(taken.kind.map(|kind| kind.as_str().to_owned()), said(&wire.kind));
    assert_eq!(taken.reason.map(|reason| reason.as_str().to_owned()), said(&wire.reason));
    assert_eq!(taken.caller, said(&wire.caller));
    assert!((1..=500).contains(&taken.page.limit) && taken.page.from == wire.from_index);
    None
}
