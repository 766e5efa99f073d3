//! The fold, entry by entry.

use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{ConsentId, CredentialId, InstitutionId, KeyJobId, SubjectId, TenantId};
use cofre_model::keys::{KeyJob, KeyJobKind, KeyJobState};
use cofre_model::registry::LockdownScope;
use cofre_model::time::Timestamp;
use cofre_model::wording::Outcome;

use super::{Standing, Word, stop};

/// A ledger in the making.
#[derive(Default)]
struct Ledger(Standing);

impl Ledger {
    fn append(&mut self, kind: EntryKind, fill: impl FnOnce(&mut Entry)) -> [u8; 16] {
        let index = self.0.next();
        let mut entry = Entry::new(kind, [u8::try_from(index + 1).expect("few"); 16]);
        fill(&mut entry);
        assert!(self.0.fold(index, Some(&entry)));
        entry.id
    }

    fn consent(&self, id: &ConsentId, holder: &SubjectId, written: &[u8; 16]) -> bool {
        self.0.consent(id, holder, written) == Word::Stands
    }

    fn login(&self, id: &CredentialId, holder: &SubjectId, written: &[u8; 16]) -> bool {
        self.0.login(id, holder, written) == Word::Stands
    }
}

fn login() -> (CredentialId, SubjectId) {
    (CredentialId::from_parts(1, [1; 10]), SubjectId::from_parts(1, [2; 10]))
}

#[test]
fn only_the_newest_row_of_a_consent_stands_and_none_once_it_ended() {
    let (credential, holder) = login();
    let consent = ConsentId::from_parts(1, [3; 10]);
    let of_it = |entry: &mut Entry| {
        entry.consents = vec![consent];
        entry.credential = Some(credential);
    };
    let mut ledger = Ledger::default();
    assert!(!ledger.consent(&consent, &holder, &[1; 16]), "nothing stands that was never written");
    let requested = ledger.append(EntryKind::ConsentRequested, of_it);
    assert!(ledger.consent(&consent, &holder, &requested));
    let granted = ledger.append(EntryKind::ConsentGranted, of_it);
    assert!(ledger.consent(&consent, &holder, &granted) && !ledger.consent(&consent, &holder, &requested));
    // Entries that only rely on it, and the end of another, change nothing.
    ledger.append(EntryKind::Granted, of_it);
    ledger.append(EntryKind::ConsentRevoked, |entry| entry.consents = vec![ConsentId::from_parts(1, [9; 10])]);
    assert!(ledger.consent(&consent, &holder, &granted));
    for end in [EntryKind::ConsentRevoked, EntryKind::ConsentExpired] {
        let granted = ledger.append(EntryKind::ConsentGranted, of_it);
        ledger.append(end, of_it);
        assert!(!ledger.consent(&consent, &holder, &granted), "{end}");
    }
}

#[test]
fn only_the_newest_row_of_a_login_stands() {
    let (credential, holder) = login();
    let of_it = |version: Option<u32>| {
        move |entry: &mut Entry| {
            entry.credential = Some(credential);
            entry.secret_version = version;
        }
    };
    let mut ledger = Ledger::default();
    let opened = ledger.append(EntryKind::EnrolmentOpened, of_it(None));
    assert!(ledger.login(&credential, &holder, &opened));
    let first = ledger.append(EntryKind::Deposited, of_it(Some(1)));
    assert!(ledger.login(&credential, &holder, &first) && !ledger.login(&credential, &holder, &opened));
    ledger.append(EntryKind::EnrolmentOpened, of_it(None));
    assert!(ledger.login(&credential, &holder, &first), "an enrolment of a login that is there writes no row");
    let locked = ledger.append(EntryKind::Reported, |entry| {
        of_it(Some(1))(entry);
        (entry.outcome, entry.digest) = (Some(Outcome::Locked), Some([7; 32]));
    });
    assert!(ledger.login(&credential, &holder, &locked) && !ledger.login(&credential, &holder, &first));
    let rejected = |version| {
        move |entry: &mut Entry| {
            of_it(version)(entry);
            entry.outcome = Some(Outcome::WrongSecret);
        }
    };
    let second = ledger.append(EntryKind::Deposited, of_it(Some(2)));
    ledger.append(EntryKind::Reported, rejected(Some(1)));
    assert!(ledger.login(&credential, &holder, &second), "a report on the secret before says nothing of this one");
    ledger.append(EntryKind::Reported, rejected(Some(2)));
    assert!(!ledger.login(&credential, &holder, &second));
    let third = ledger.append(EntryKind::Deposited, of_it(Some(3)));
    assert!(ledger.login(&credential, &holder, &third));
    ledger.append(EntryKind::Reported, rejected(None));
    assert!(!ledger.login(&credential, &holder, &third), "a report that names no version is held against it");
}

#[test]
fn nothing_of_an_erased_holder_stands() {
    let (credential, holder) = login();
    let consent = ConsentId::from_parts(1, [3; 10]);
    let mut ledger = Ledger::default();
    let deposited = ledger.append(EntryKind::Deposited, |entry| {
        (entry.credential, entry.secret_version) = (Some(credential), Some(1));
    });
    let granted = ledger.append(EntryKind::ConsentGranted, |entry| entry.consents = vec![consent]);
    ledger.append(EntryKind::ErasureAccepted, |entry| entry.owner = Some(holder));
    assert!(!ledger.login(&credential, &holder, &deposited) && !ledger.consent(&consent, &holder, &granted));
    let other = SubjectId::from_parts(1, [4; 10]);
    assert!(ledger.login(&credential, &other, &deposited));
}

#[test]
fn stop_buttons_and_quarantines_stay() {
    let tenant = TenantId::from_parts(1, [5; 10]);
    let (credential, _) = login();
    let institution = InstitutionId::try_from("ins_banco-abierto").expect("id");
    let mut ledger = Ledger::default();
    let asked = |ledger: &Ledger| ledger.0.lockdown(&tenant, Some(&institution), Some(&credential));
    assert_eq!(asked(&ledger), None);
    let scopes = [
        (LockdownScope::Credential, credential.to_string()),
        (LockdownScope::Institution, institution.to_string()),
        (LockdownScope::Tenant, tenant.to_string()),
        (LockdownScope::Platform, String::new()),
    ];
    for (scope, id) in scopes {
        ledger.append(EntryKind::Lockdown, |entry| entry.reference = Some(stop(scope, &id)));
        assert_eq!(asked(&ledger), Some(scope), "the widest is named");
    }
    assert!(!ledger.0.quarantined("spiffe://cofre.test/worker/pool-a/w1"));
    let worker = "spiffe://cofre.test/worker/pool-a/w1".to_owned();
    ledger.append(EntryKind::WorkerQuarantined, |entry| entry.reference = Some(worker.clone()));
    ledger.append(EntryKind::WorkerPut, |entry| entry.reference = Some(worker.clone()));
    assert!(ledger.0.quarantined(&worker), "registering anew lifts nothing");
}

#[test]
fn an_entry_told_a_second_time_revives_nothing() {
    let (credential, holder) = login();
    let consent = ConsentId::from_parts(1, [3; 10]);
    let mut ledger = Ledger::default();
    let granted = ledger.append(EntryKind::ConsentGranted, |entry| entry.consents = vec![consent]);
    ledger.append(EntryKind::ConsentRevoked, |entry| entry.consents = vec![consent]);
    let again = |kind: EntryKind, id: [u8; 16]| {
        move |entry: &mut Entry| {
            (entry.kind, entry.id, entry.consents) = (kind, id, vec![consent]);
            (entry.credential, entry.secret_version, entry.digest) = (Some(credential), Some(1), Some([7; 32]));
        }
    };
    ledger.append(EntryKind::ConsentGranted, again(EntryKind::ConsentGranted, granted));
    assert!(!ledger.consent(&consent, &holder, &granted));
    assert_eq!(ledger.0.consent(&consent, &holder, &granted), Word::Ended);
    let first = ledger.append(EntryKind::Deposited, |entry| {
        (entry.credential, entry.secret_version) = (Some(credential), Some(1));
    });
    let locked = ledger.append(EntryKind::Reported, |entry| {
        (entry.credential, entry.secret_version, entry.digest) = (Some(credential), Some(1), Some([7; 32]));
    });
    for kind in [EntryKind::Deposited, EntryKind::Reported, EntryKind::EnrolmentOpened] {
        ledger.append(kind, again(kind, first));
        assert!(!ledger.login(&credential, &holder, &first) && ledger.login(&credential, &holder, &locked), "{kind}");
    }
}

#[test]
fn an_entry_that_no_node_writes_takes_all_standing_away() {
    let (_, holder) = login();
    let consent = ConsentId::from_parts(1, [3; 10]);
    let mut ledger = Ledger::default();
    let granted = ledger.append(EntryKind::ConsentGranted, |entry| entry.consents = vec![consent]);
    assert!(ledger.0.fold(1, None));
    assert!(!ledger.consent(&consent, &holder, &granted));
    assert_eq!(ledger.0.next(), 2, "ending things goes on");
}

#[test]
fn entries_are_folded_in_their_order_and_once() {
    let consent = ConsentId::from_parts(1, [3; 10]);
    let (_, holder) = login();
    let entry = |kind, id| {
        let mut entry = Entry::new(kind, [id; 16]);
        entry.consents = vec![consent];
        entry
    };
    let mut standing = Standing::default();
    assert!(!standing.fold(1, Some(&entry(EntryKind::ConsentGranted, 1))));
    assert_eq!((standing.next(), standing.consent(&consent, &holder, &[1; 16])), (0, Word::Replaced), "a gap");
    assert!(standing.fold(0, Some(&entry(EntryKind::ConsentGranted, 1))));
    assert!(standing.fold(1, Some(&entry(EntryKind::ConsentRevoked, 2))));
    assert!(!standing.fold(0, Some(&entry(EntryKind::ConsentGranted, 3))));
    assert_eq!((standing.next(), standing.consent(&consent, &holder, &[1; 16])), (2, Word::Ended), "a repeat");
}

#[test]
fn a_tenant_that_was_put_is_known_for_ever() {
    let mut ledger = Ledger::default();
    let (known, other) = (TenantId::from_parts(1, [1; 10]), TenantId::from_parts(1, [2; 10]));
    ledger.append(EntryKind::TenantPut, |entry| entry.tenant = Some(known));
    assert!(ledger.0.tenant_put(&known) && !ledger.0.tenant_put(&other));
    ledger.0.distrust();
    assert!(ledger.0.tenant_put(&other), "nothing can be told");
}

fn job(number: u8, opened_entry: u64) -> KeyJob {
    KeyJob {
        id: KeyJobId::from_parts(1, [number; 10]),
        kind: KeyJobKind::Rewrap,
        target: "any_of(b)".into(),
        from_key: Some("root 1".into()),
        rate: Some(5),
        state: KeyJobState::Running,
        opened_at: Timestamp::default(),
        opened_entry,
        ended: None,
    }
}

#[test]
fn a_job_over_keys_stands_as_it_was_ordered_until_it_ends_or_another_follows() {
    let mut ledger = Ledger::default();
    let (first, second) = (job(1, 0), job(2, 1));
    assert!(!ledger.0.key_job(&first) && !ledger.0.key_job_runs(&first.id), "nobody ordered it");
    ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some(first.reference()));
    assert!(ledger.0.key_job(&first) && ledger.0.key_job_runs(&first.id));
    for other in [
        KeyJob { target: "any_of(c)".into(), ..first.clone() },
        KeyJob { from_key: None, ..first.clone() },
        KeyJob { rate: None, ..first.clone() },
        KeyJob { opened_entry: 1, ..first.clone() },
    ] {
        assert!(!ledger.0.key_job(&other), "{other:?}");
    }
    ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some(second.reference()));
    assert!(!ledger.0.key_job(&first) && !ledger.0.key_job_runs(&first.id), "another followed");
    // Whatever is said to follow what: the row that says it carries no MAC.
    for (reference, follows, what) in [
        (Some(format!("{} STOPPED", second.id)), Some(0), "it is named"),
        (Some(format!("{} DONE", second.id)), None, "it is named and nothing followed"),
        (Some(format!("{} STOPPED", job(9, 0).id)), Some(0), "a job is named that nobody opened"),
        (Some(format!("{} STOPPED", first.id)), Some(0), "a job is named that has ended"),
        (None, Some(0), "none is named"),
        (None, None, "nothing is said"),
    ] {
        let opened = ledger.0.next();
        let again = KeyJob { opened_entry: opened, ..second.clone() };
        ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some(again.reference()));
        assert!(ledger.0.key_job(&again) && ledger.0.key_job_runs(&again.id), "{what}");
        ledger.append(EntryKind::KeyJobEnded, |entry| (entry.reference, entry.follows) = (reference, follows));
        assert!(!ledger.0.key_job(&again) && !ledger.0.key_job_runs(&again.id), "{what}");
    }
}

#[test]
fn an_opening_that_cannot_be_told_ends_whatever_job_runs() {
    let mut ledger = Ledger::default();
    let id = KeyJobId::from_parts(1, [1; 10]);
    for reference in [None, Some("MELT"), Some("x MELT any_of(b) -")] {
        ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some(format!("{id} REWRAP any_of(b) -")));
        assert!(ledger.0.key_job_runs(&id));
        ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = reference.map(str::to_owned));
        assert!(!ledger.0.key_job_runs(&id), "{reference:?}");
    }
}

#[test]
fn jobs_of_two_kinds_stand_side_by_side_and_an_older_one_of_either_does_not() {
    let rotation = |number, opened| KeyJob {
        kind: KeyJobKind::Rotate,
        target: KeyJob::ALL.into(),
        from_key: None,
        ..job(number, opened)
    };
    let (rewraps, rotations) = ([job(1, 0), job(3, 2)], [rotation(2, 1), rotation(4, 3)]);
    let mut ledger = Ledger::default();
    for one in [&rewraps[0], &rotations[0]] {
        ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some(one.reference()));
        assert!(ledger.0.key_job(one) && ledger.0.key_job_runs(&one.id));
    }
    assert!(ledger.0.key_job(&rewraps[0]) && ledger.0.key_job_runs(&rewraps[0].id), "the other is of another kind");
    let dressed = KeyJob { kind: KeyJobKind::Rotate, ..rewraps[0].clone() };
    assert!(!ledger.0.key_job(&dressed), "another kind than was ordered");
    for [older, newer] in [&rewraps, &rotations] {
        ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some(newer.reference()));
        assert!(ledger.0.key_job(newer) && !ledger.0.key_job(older) && !ledger.0.key_job_runs(&older.id));
    }
    ledger.append(EntryKind::KeyJobEnded, |entry| {
        (entry.follows, entry.reference) = (Some(2), Some(format!("{} DONE", rewraps[1].id)));
    });
    assert!(!ledger.0.key_job(&rewraps[1]) && ledger.0.key_job(&rotations[1]), "the rewrap ended");
    // Nobody writes such an opening; whatever it was, what ran before it may have ended.
    ledger.append(EntryKind::KeyJobOpened, |entry| entry.reference = Some("kjb_x MELT all -".into()));
    assert!(!ledger.0.key_job(&rotations[1]) && !ledger.0.key_job_runs(&rotations[1].id));
}
