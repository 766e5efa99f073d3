//! What a decision leaves behind: terms, bounds and the ledger entry, for grants and denials.

use cofre_model::entry::{Entry, EntryKind, Epochs, Verdict};
use cofre_model::reason::Reason;
use cofre_model::time::{Span, Timestamp};
use cofre_model::wording::{Attendance, Form, Scope};
use cofre_policy::decision::{Decision, Denial, GrantTerms};
use cofre_policy::facts::{AttendanceFacts, Evidence, Facts, JobFault, LeaseFacts, Repeat};

use crate::change::{consent_of, credential_of};
use crate::facts::{
    OTHER, OWN, asked, at, consent, credential, institution, job, now, permitting, presence, shipped, subject, tenant,
    unattended, worker,
};

type Fault = fn(&mut Facts);

fn granted(facts: &Facts) -> GrantTerms {
    match shipped().decide(facts) {
        Decision::Permit(grant) => grant.into_terms(),
        Decision::Deny(denial) => panic!("denied: {}", denial.reason),
    }
}

fn denied(facts: &Facts) -> Denial {
    match shipped().decide(facts) {
        Decision::Deny(denial) => denial,
        Decision::Permit(_) => panic!("permitted"),
    }
}

#[test]
fn a_grants_entry_says_everything() {
    let facts = permitting();
    let terms = granted(&facts);
    let policy_input = shipped().policies_alone(&facts).input;
    let mut expected = Entry::new(EntryKind::Granted, [9; 16]);
    expected.caller = Some(facts.caller.clone());
    expected.method = Some("cofre.v1.ReleaseService/Release".into());
    expected.tenant = Some(tenant(OWN));
    expected.region = Some("eu-nl".into());
    expected.credential = Some(credential(OWN));
    expected.class = Some(facts.request.class);
    expected.secret_version = Some(4);
    expected.owner = Some(subject(OWN));
    expected.institution = Some(institution("ins_banco-abierto"));
    expected.consents = vec![consent(OWN)];
    expected.epochs = Some(facts.epochs);
    expected.purpose = Some(cofre_model::wording::Purpose::WealthAggregation);
    expected.scopes = [Scope::Positions].into_iter().collect();
    expected.attendance = Some(Attendance::Attended);
    expected.job = Some(job(OWN));
    expected.request_digest = Some([3; 32]);
    expected.policy_digest = Some(*shipped().digest());
    expected.rules = vec!["release-login-with-consent".into()];
    expected.policy_input = policy_input;
    expected.verdict = Some(Verdict::Granted);
    expected.fields = vec![("user".into(), Form::Full), ("password".into(), Form::Full)];
    expected.tenant_key = Some(([5; 16], 8));
    expected.lease_until = Some(now().plus(Span::secs(120)));
    assert_eq!(terms.entry, expected);
}

#[test]
fn a_grants_terms_are_what_was_decided() {
    let facts = permitting();
    let terms = granted(&facts);
    assert_eq!((terms.tenant, terms.credential, terms.job), (tenant(OWN), credential(OWN), job(OWN)));
    assert_eq!((terms.request, terms.request_digest), (facts.request.id, [3; 32]));
    assert_eq!((terms.seal_key_digest, terms.epochs), ([4; 32], facts.epochs));
    assert_eq!((terms.worker.as_str(), terms.unattended_per_day), (worker("w1").to_string().as_str(), 2));
    // Presence counts five minutes and is remembered a quarter of an hour beyond.
    assert_eq!(terms.attendance_token, Some((presence(OWN), now().plus(Span::minutes(4 + 15)))));
    assert_eq!((terms.attendance, terms.redelivery_of), (Attendance::Attended, None));
    let warrant = &terms.warrant;
    assert_eq!((warrant.tenant, warrant.owner, warrant.credential), (tenant(OWN), subject(OWN), credential(OWN)));
    assert_eq!((warrant.secret_version, warrant.tenant_key_id, warrant.request_digest), (4, [5; 16], [3; 32]));
    assert_eq!((&warrant.fields, &warrant.worker), (&facts.request.fields, &terms.worker));
    assert_eq!((warrant.lease_until, warrant.class), (terms.lease_until, facts.request.class));
}

#[test]
fn a_grant_is_bounded_by_whatever_ends_first() {
    let until = |change: fn(&mut Facts), mut facts: Facts| {
        change(&mut facts);
        let terms = granted(&facts);
        assert!(facts.now < terms.not_after, "a grant that is over before it begins");
        (terms.not_after, terms.lease_until)
    };
    let lease = now().plus(Span::secs(120));
    // Presence since a minute ends before the request id, which is a second old.
    assert_eq!(until(|_| (), permitting()), (now().plus(Span::minutes(4)), lease));
    assert_eq!(until(|_| (), unattended()), (now().plus(Span::secs(299)), lease));
    let soon = at("2026-05-04T10:00:30Z");
    assert_eq!(until(|facts| consent_of(facts).valid_until = at("2026-05-04T10:00:30Z"), permitting()), (soon, soon));
    assert_eq!(
        until(|facts| facts.job.as_mut().expect("one").deadline = at("2026-05-04T10:00:30Z"), permitting()),
        (soon, soon)
    );
    // A signing key that ends takes its statements with it.
    assert_eq!(until(|facts| facts.statements_until = at("2026-05-04T10:00:30Z"), permitting()), (soon, lease));
    let old = |facts: &mut Facts| facts.request.id = crate::facts::request(at("2026-05-04T09:55:30Z"));
    assert_eq!(until(old, unattended()), (soon, lease));
    // The bank's window ends at 10:01; that bounds a visit nobody attends, and no other.
    let window = |facts: &mut Facts| facts.institution.as_mut().expect("one").unattended_to = 601;
    assert_eq!(until(window, unattended()).0, at("2026-05-04T10:01:00Z"));
    assert_eq!(until(window, permitting()).0, now().plus(Span::minutes(4)));
}

#[test]
fn a_session_asks_again_for_five_minutes_at_most() {
    let mut facts = permitting();
    let lease = |since: Timestamp| LeaseFacts {
        job: job(OWN),
        worker: worker("w1").to_string(),
        seal_key_digest: [4; 32],
        since,
        attendance: Attendance::Attended,
        until: now().plus(Span::secs(1)),
    };
    for (age, left) in [(0, 120), (180, 120), (181, 119), (299, 1)] {
        facts.lease = Some(lease(now().minus(Span::secs(age))));
        assert_eq!(granted(&facts).lease_until, now().plus(Span::secs(left)), "{age} seconds old");
    }
    // A row that says it goes on for longer was edited.
    for age in [300, 301] {
        facts.lease = Some(lease(now().minus(Span::secs(age))));
        let denial = denied(&facts);
        assert_eq!((denial.reason, denial.retry_at), (Reason::LeaseHeld, Some(now().plus(Span::secs(1)))));
    }
}

#[test]
fn a_repeat_is_a_redelivery_that_follows_the_first_grant() {
    let mut facts = unattended();
    facts.request.repeat = Repeat::Same { first: 41 };
    let terms = granted(&facts);
    assert_eq!((terms.redelivery_of, terms.attendance_token), (Some(41), None));
    assert_eq!((terms.entry.kind, terms.entry.follows), (EntryKind::Redelivered, Some(41)));
    assert_eq!((terms.attendance, terms.entry.attendance), (Attendance::Unattended, Some(Attendance::Unattended)));
}

#[test]
fn a_denial_is_recorded_as_fully_as_a_grant() {
    let mut facts = permitting();
    facts.request.fields = vec![asked("signature", Form::Code, &[])];
    let denial = denied(&facts);
    let mut expected = granted(&permitting()).entry;
    expected.kind = EntryKind::Denied;
    expected.verdict = Some(Verdict::Denied);
    expected.reason = Some(Reason::FieldNotReleasable);
    expected.rules = vec!["invariant:17".into()];
    expected.fields = vec![("signature".into(), Form::Code)];
    expected.policy_input = shipped().policies_alone(&facts).input;
    expected.lease_until = None;
    assert_eq!(denial.entry, expected);
    assert_eq!((denial.reason, denial.retry_at, denial.epochs), (Reason::FieldNotReleasable, None, facts.epochs));
}

#[test]
fn what_is_not_the_workers_business_is_not_in_its_denial() {
    let foreign: [(Reason, Fault); 4] = [
        (Reason::CredentialNotFound, |facts| credential_of(facts).tenant = tenant(OTHER)),
        (Reason::JobInvalid, |facts| facts.job.as_mut().expect("one").worker = worker("w2").to_string()),
        (Reason::JobInvalid, |facts| facts.job = Err(JobFault::Signature)),
        (Reason::JobInvalid, |facts| facts.tenant.as_mut().expect("one").id = tenant(OTHER)),
    ];
    for (reason, change) in foreign {
        let mut facts = permitting();
        change(&mut facts);
        let denial = denied(&facts);
        let entry = &denial.entry;
        assert_eq!((denial.reason, entry.reason), (reason, Some(reason)));
        assert_eq!((&entry.owner, &entry.institution, entry.secret_version), (&None, &None, None));
        assert_eq!((entry.tenant_key, &entry.consents, &entry.policy_input), (None, &vec![], &vec![]));
        assert_eq!(entry.epochs, Some(Epochs { institution: 0, credential: 0, ..facts.epochs }));
        // The commit still checks every epoch the denial relied on.
        assert_eq!(denial.epochs, facts.epochs);
        assert_eq!((entry.caller.as_ref(), entry.request_digest), (Some(&facts.caller), Some([3; 32])));
        assert_eq!(entry.job.is_some(), facts.job.is_ok());
    }
}

#[test]
fn another_tenants_login_is_recorded_exactly_like_none() {
    let mut foreign = permitting();
    credential_of(&mut foreign).tenant = tenant(OTHER);
    let mut absent = permitting();
    absent.credential = Evidence::Absent;
    assert_eq!(denied(&foreign), denied(&absent));
}

#[test]
fn the_policy_input_is_canonical_small_and_without_names() {
    let opinion = shipped().policies_alone(&permitting());
    let text = String::from_utf8(opinion.input).expect("UTF-8");
    let expected = [
        r#"{"attendance":"ATTENDED","class":"LOGIN","#,
        r#""consent":{"active":true,"complete":true,"covers_credential":true,"purpose":"WEALTH_AGGREGATION","#,
        &format!(r#""recipient":"{}","scopes":["ACCOUNTS","POSITIONS"],"#, crate::facts::recipient(OWN)),
        r#""unattended_per_day":2,"valid_from":"2026-01-01T00:00:00.000Z","valid_until":"2026-10-31T00:00:00.000Z"},"#,
        r#""forms":["FULL"],"minute_of_day":600,"now":"2026-05-04T10:00:00.000Z","purpose":"WEALTH_AGGREGATION","#,
        &format!(r#""recipient":"{}","region":"eu-nl","#, crate::facts::recipient(OWN)),
        r#""releases_last_hour":0,"scopes":["POSITIONS"]}"#,
    ]
    .concat();
    assert_eq!(text, expected);

    let mut widest = permitting();
    consent_of(&mut widest).scopes = Scope::ALL.iter().copied().collect();
    widest.job.as_mut().expect("one").scopes = Scope::ALL.iter().copied().collect();
    widest.region = crate::facts::slug(&"r".repeat(63));
    widest.releases_last_hour = u32::MAX;
    let input = shipped().policies_alone(&widest).input;
    assert!(!input.is_empty() && input.len() <= 2048, "{} bytes", input.len());
}

#[test]
fn an_instant_beyond_the_calendar_is_refused_not_guessed() {
    let mut facts = permitting();
    consent_of(&mut facts).valid_until = Timestamp::from_micros(u64::MAX);
    let denial = denied(&facts);
    assert_eq!((denial.reason, denial.entry.rules), (Reason::PolicyDenied, vec!["error:input".to_owned()]));
}

#[test]
fn an_unproven_presence_is_recorded_as_neither() {
    let mut facts = permitting();
    facts.attendance = AttendanceFacts::Invalid;
    assert_eq!(denied(&facts).entry.attendance, None);
}
