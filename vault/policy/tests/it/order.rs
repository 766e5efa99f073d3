//! The first check that does not hold decides: faults are piled up from the last step to the first, and each new one
//! takes over.

use cofre_model::consent::ConsentState;
use cofre_model::credential::CredentialState;
use cofre_model::reason::Reason;
use cofre_model::registry::{InstitutionState, LockdownScope, TenantState, WorkerState};
use cofre_model::time::Span;
use cofre_model::wording::{Attendance, Class, Purpose};
use cofre_policy::checks::ORDER;
use cofre_policy::decision::Decision;
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, JobFault, LeaseFacts, Repeat};

use crate::change::{consent_of, credential_of};
use crate::facts::{OTHER, job, permitting, shipped, worker};

type Fault = fn(&mut Facts);

const PILE: [(u8, Reason, Fault); 25] = [
    (18, Reason::LeaseHeld, |facts| {
        let until = facts.now.plus(Span::minutes(1));
        facts.lease = Some(LeaseFacts {
            job: job(OTHER),
            worker: worker("w2").to_string(),
            seal_key_digest: [0; 32],
            since: facts.now,
            attendance: Attendance::Attended,
            until,
        });
    }),
    (17, Reason::FieldNotReleasable, |facts| facts.request.fields.clear()),
    (16, Reason::PolicyDenied, |facts| facts.request.class = Class::TotpSeed),
    (14, Reason::AttendanceInvalid, |facts| facts.attendance = AttendanceFacts::Invalid),
    (11, Reason::ConsentScopeExceeded, |facts| consent_of(facts).purpose = Purpose::TaxReporting),
    (10, Reason::ConsentNotActive, |facts| consent_of(facts).valid_from = facts.now.plus(Span::days(1))),
    (10, Reason::ConsentExpired, |facts| consent_of(facts).valid_until = facts.now),
    (10, Reason::ConsentRevoked, |facts| consent_of(facts).state = ConsentState::Revoked),
    (10, Reason::ConsentMissing, |facts| facts.consent = Evidence::Absent),
    (9, Reason::LockedAtInstitution, |facts| credential_of(facts).not_before = facts.now.plus(Span::hours(1))),
    (9, Reason::SecretRejected, |facts| credential_of(facts).state = CredentialState::SecretRejected),
    (8, Reason::InstitutionSuspended, |facts| {
        facts.institution.as_mut().expect("one").state = InstitutionState::Suspended;
    }),
    (8, Reason::WorkerNotAssigned, |facts| facts.worker.as_mut().expect("one").scopes.clear()),
    (7, Reason::CredentialNotFound, |facts| facts.credential = Evidence::Absent),
    (6, Reason::JobInvalid, |facts| facts.job.as_mut().expect("one").deadline = facts.now),
    (6, Reason::JobInvalid, |facts| facts.statements_until = facts.now),
    (6, Reason::JobInvalid, |facts| facts.job = Err(JobFault::Signature)),
    (5, Reason::WrongRegion, |facts| facts.region = crate::facts::slug("eu-es")),
    (5, Reason::TenantSuspended, |facts| facts.tenant.as_mut().expect("one").state = TenantState::Suspended),
    (4, Reason::Lockdown, |facts| facts.lockdown = Some(LockdownScope::Platform)),
    (4, Reason::ClockUntrusted, |facts| facts.clock_trusted = false),
    (3, Reason::Replay, |facts| facts.request.repeat = Repeat::Other),
    (3, Reason::BadRequest, |facts| facts.request.id = crate::facts::request(facts.now.minus(Span::hours(1)))),
    (2, Reason::WorkerQuarantined, |facts| facts.worker.as_mut().expect("one").state = WorkerState::Quarantined),
    (2, Reason::WorkerQuarantined, |facts| facts.worker = None),
];

#[test]
fn each_earlier_fault_takes_over() {
    let rules = shipped();
    let mut facts = permitting();
    assert!(matches!(rules.decide(&facts), Decision::Permit(_)));
    for (step, reason, fault) in PILE {
        fault(&mut facts);
        match rules.decide(&facts) {
            Decision::Deny(denial) => {
                assert_eq!(denial.reason, reason, "step {step}");
                if step != 16 {
                    assert_eq!(denial.entry.rules, [format!("invariant:{step}")]);
                }
            }
            Decision::Permit(_) => panic!("permitted with a fault of step {step}"),
        }
    }
}

#[test]
fn every_step_is_in_the_pile() {
    let piled: std::collections::BTreeSet<u8> = PILE.iter().map(|(step, ..)| *step).collect();
    assert!(ORDER.iter().all(|step| piled.contains(&step.number)));
    for (number, reason, _) in PILE {
        let step = ORDER.iter().find(|step| step.number == number).expect("a step");
        assert!(step.reasons.contains(&reason), "{reason} is not among the reasons of step {number}");
    }
}
