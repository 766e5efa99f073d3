//! Facts of any shape: a release in which everything is right, bent in a few places by the input.

#[path = "../../../vault/policy/tests/it/facts.rs"]
#[allow(dead_code, reason = "the policy crate's tests use all of it, this target a part")]
mod base;

use cofre_model::consent::ConsentState;
use cofre_model::credential::{CredentialState, FieldRequest};
use cofre_model::registry::{InstitutionState, LockdownScope, TenantState, WorkerState};
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Class, Form, Purpose, Scope, ScopeSet};
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, JobFault, LeaseFacts, Repeat};

use base::{OTHER, OWN, asked, credential, institution, job, recipient, request, slug, subject, tenant, worker};
pub(super) use base::{permitting, unattended};

use crate::input::Input;

/// How many ways there are to bend.
pub(super) const BENDS: u8 = 40;

/// One flag for presence, then up to seven bends.
pub(super) fn from(input: &mut Input<'_>) -> Facts {
    let mut facts = if input.flag() { unattended() } else { permitting() };
    for _ in 0..input.byte() & 7 {
        match input.byte() % BENDS {
            which @ 0..10 => bend_consent(&mut facts, which, input),
            which @ 10..18 => bend_credential(&mut facts, which, input),
            which @ 18..28 => bend_registry(&mut facts, which, input),
            which => bend_call(&mut facts, which, input),
        }
    }
    facts
}

/// Near `now`, or anywhere at all.
fn instant(now: Timestamp, input: &mut Input<'_>) -> Timestamp {
    match input.byte() % 4 {
        0 => Timestamp::from_micros(input.long()),
        1 => now,
        2 => now.plus(Span::micros(u64::from(input.short()) * 11_000)),
        _ => now.minus(Span::micros(u64::from(input.short()) * 11_000)),
    }
}

fn scopes(input: &mut Input<'_>) -> ScopeSet {
    let bits = input.short();
    Scope::ALL.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, scope)| *scope).collect()
}

fn word(input: &mut Input<'_>, words: &[&'static str]) -> &'static str {
    words[input.below(words.len())]
}

fn whose(input: &mut Input<'_>) -> u8 {
    if input.byte() % 3 == 0 { OTHER } else { OWN }
}

fn bend_consent(facts: &mut Facts, which: u8, input: &mut Input<'_>) {
    let now = facts.now;
    let Evidence::Genuine(consent) = &mut facts.consent else { return };
    match which {
        0 => consent.state = *input.pick(ConsentState::ALL),
        1 => consent.valid_until = instant(now, input),
        2 => consent.valid_from = instant(now, input),
        3 => consent.scopes = scopes(input),
        4 => consent.purpose = *input.pick(Purpose::ALL),
        5 => consent.credential = credential(whose(input)),
        6 => (consent.subject, consent.recipient) = (subject(whose(input)), recipient(whose(input))),
        7 => consent.tenant = tenant(whose(input)),
        8 => consent.unattended_per_day = input.byte(),
        _ => {
            consent.history_from = instant(now, input);
            if input.byte() % 4 == 0 {
                facts.consent = if input.flag() { Evidence::Absent } else { Evidence::Forged };
            }
        }
    }
}

fn bend_credential(facts: &mut Facts, which: u8, input: &mut Input<'_>) {
    let now = facts.now;
    let Evidence::Genuine(login) = &mut facts.credential else { return };
    match which {
        10 => login.state = *input.pick(CredentialState::ALL),
        11 => login.secret_version = u32::from(input.byte()),
        12 => login.not_before = instant(now, input),
        13 => login.tenant = tenant(whose(input)),
        14 => login.institution = institution(word(input, &["ins_banco-abierto", "ins_otro"])),
        15 => login.owner = subject(whose(input)),
        16 => login.id = credential(whose(input)),
        _ => facts.credential = if input.flag() { Evidence::Absent } else { Evidence::Forged },
    }
}

fn bend_registry(facts: &mut Facts, which: u8, input: &mut Input<'_>) {
    match (which, &mut facts.worker, &mut facts.tenant, &mut facts.institution) {
        (18, ..) => facts.lockdown = Some(*input.pick(LockdownScope::ALL)),
        (19, ..) => facts.region = slug(word(input, &["eu-nl", "eu-es"])),
        (20, Some(row), ..) => row.state = *input.pick(WorkerState::ALL),
        (21, Some(row), ..) => {
            row.scopes = vec![(tenant(whose(input)), institution(word(input, &["ins_banco-abierto", "ins_otro"])))];
        }
        (22, Some(row), ..) => row.id = worker(word(input, &["w1", "w2"])),
        (23, _, Some(row), _) => row.state = *input.pick(TenantState::ALL),
        (24, _, Some(row), _) => {
            (row.id, row.home_region) = (tenant(whose(input)), slug(word(input, &["eu-nl", "us"])))
        }
        (25, _, _, Some(row)) => {
            row.state = *input.pick(InstitutionState::ALL);
            row.id = institution(word(input, &["ins_banco-abierto", "ins_otro"]));
        }
        (26, _, _, Some(row)) => {
            (row.unattended_from, row.unattended_to) = (input.short() % 1_442, input.short() % 1_442)
        }
        (27, ..) => match input.byte() % 4 {
            0 => facts.worker = None,
            1 => facts.tenant = None,
            2 => facts.institution = None,
            _ => facts.template = None,
        },
        _ => {}
    }
}

fn bend_call(facts: &mut Facts, which: u8, input: &mut Input<'_>) {
    let now = facts.now;
    match (which, &mut facts.job) {
        (28, _) => facts.clock_trusted = input.flag(),
        (29, _) => facts.request.id = request(instant(now, input)),
        (30, _) => facts.request.repeat = *input.pick(&[Repeat::New, Repeat::Same { first: 1 }, Repeat::Other]),
        (31, _) => facts.request.class = *input.pick(Class::ALL),
        (32, _) => facts.request.fields = (0..input.byte() & 3).map(|_| field(input)).collect(),
        (33, Ok(job)) => job.deadline = instant(now, input),
        (34, Ok(job)) => (job.scopes, job.purpose) = (scopes(input), *input.pick(Purpose::ALL)),
        (35, Ok(job)) => {
            job.worker = worker(word(input, &["w1", "w1", "w2"])).to_string();
            (job.recipient, job.tenant) = (recipient(whose(input)), tenant(whose(input)));
            (job.credential, job.history_from) = (credential(whose(input)), instant(now, input));
        }
        (36, _) => {
            let last_at = input.flag().then(|| instant(now, input));
            facts.attendance = AttendanceFacts::Unattended { granted_last_day: u32::from(input.byte()), last_at };
        }
        (37, _) => bend_presence(facts, input),
        (38, _) => {
            facts.lease = Some(LeaseFacts {
                job: job(whose(input)),
                worker: worker(word(input, &["w1", "w1", "w2"])).to_string(),
                seal_key_digest: if input.flag() { [0; 32] } else { facts.request.seal_key_digest },
                since: instant(now, input),
                attendance: *input.pick(&[Attendance::Attended, Attendance::Unattended]),
                until: instant(now, input),
            });
        }
        (39, _) => match input.byte() % 4 {
            0 => facts.job = Err(*input.pick(&[JobFault::Key, JobFault::Signature, JobFault::Login])),
            1 => facts.statements_until = instant(now, input),
            2 => facts.releases_last_hour = u32::from(input.short()) << 16 | u32::from(input.short()),
            _ => facts.now = instant(now, input),
        },
        _ => {}
    }
}

fn bend_presence(facts: &mut Facts, input: &mut Input<'_>) {
    let now = facts.now;
    match &mut facts.attendance {
        AttendanceFacts::Attended { statement, used } => {
            statement.issued_at = instant(now, input);
            (statement.owner, statement.credential) = (subject(whose(input)), credential(whose(input)));
            *used = input.byte() % 4 == 0;
        }
        AttendanceFacts::Unattended { .. } | AttendanceFacts::Invalid => facts.attendance = AttendanceFacts::Invalid,
    }
}

fn field(input: &mut Input<'_>) -> FieldRequest {
    let key = *input.pick(&["user", "password", "card", "signature", "pin"]);
    let form = *input.pick(Form::ALL);
    let positions: Vec<u16> = (0..input.byte() & 3).map(|_| u16::from(input.byte() & 7)).collect();
    asked(key, form, &positions)
}
