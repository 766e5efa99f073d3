//! Operations that build things up, and what each refuses.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::EntryKind;
use cofre_model::id::*;
use cofre_model::registry::{Tenant, TenantState};
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::{Locale, Outcome};
use cofre_store::{CommitError, EnrolmentState, Error, Operation, WarmRequest};

use crate::world::{WORKER, World, consent_tag, refusal, told};

#[tokio::test]
async fn registered_parties_read_back_and_keep_what_never_changes() {
    let world = World::new().await;
    let records = world.records();
    let known = records.tenant_by_slug(&world.tenant.slug).await.expect("read").expect("there");
    assert_eq!((known.tenant.clone(), known.key_version), (world.tenant.clone(), 1));
    assert_eq!(records.tenants().await.expect("read"), [known]);
    assert_eq!(records.template(&world.institution).await.expect("read"), Some(world.template(1)));
    assert_eq!(records.worker(WORKER).await.expect("read").expect("there").scopes.len(), 1);
    assert!(records.signing_key(&world.job_key).await.expect("read").is_some());
    assert!(records.recipient(&world.tenant.id, &world.recipient).await.expect("read").is_some());
    let stranger = TenantId::from_parts(1, [0xaa; 10]);
    assert!(records.recipient(&stranger, &world.recipient).await.expect("read").is_none());

    let put = |tenant: Tenant| Operation::PutTenant {
        tenant,
        key_version: 1,
        custody_set: None,
        warm_for: Span::secs(0),
        signing_keys: Vec::new(),
        recipients: Vec::new(),
    };
    let twin = Tenant { id: stranger, ..world.tenant.clone() };
    assert_eq!(refusal(world.apply(EntryKind::TenantPut, put(twin)).await), "WRONG_STATE");
    let renamed = Tenant { slug: Slug::try_from("other").expect("slug"), ..world.tenant.clone() };
    assert_eq!(refusal(world.apply(EntryKind::TenantPut, put(renamed)).await), "WRONG_STATE");
    let other_key = Tenant { tenant_key_id: [6; 16], ..world.tenant.clone() };
    assert_eq!(refusal(world.apply(EntryKind::TenantPut, put(other_key)).await), "WRONG_STATE");
    let suspended = Tenant { state: TenantState::Suspended, ..world.tenant.clone() };
    world.apply(EntryKind::TenantPut, put(suspended.clone())).await.expect("changed");
    assert_eq!(records.tenant(&world.tenant.id).await.expect("read").expect("there").tenant, suspended);

    let skipped = Operation::PutTemplate(world.template(3));
    assert_eq!(refusal(world.apply(EntryKind::TemplatePut, skipped).await), "WRONG_STATE");
    world.apply(EntryKind::TemplatePut, Operation::PutTemplate(world.template(2))).await.expect("next");
    assert_eq!(records.template_version(&world.institution, 1).await.expect("read"), Some(world.template(1)));
    let unfit = world.apply(EntryKind::TenantPut, Operation::PutTemplate(world.template(3))).await;
    assert!(matches!(unfit, Err(CommitError::Store(Error::Unfit { kind: EntryKind::TenantPut }))));
}

#[tokio::test]
async fn a_login_is_deposited_once_per_tenant() {
    let world = World::new().await;
    let first = world.login().await;
    let (subject, other) = (world.subject(), world.subject());
    let blank = world.blank(subject.id);
    let enrolment = world.enrol(Some(subject.clone()), &blank).await.expect("enrolment");
    assert_eq!(refusal(world.complete(enrolment, &blank, 1, b"t".to_vec()).await), "WRONG_STATE");
    let version = world.intend(enrolment).await.expect("intent");
    // A malformed deposit is tried again under a version of its own.
    let again = world.intend(enrolment).await.expect("intent");
    assert!(again > version);
    assert_eq!(refusal(world.complete(enrolment, &blank, version, b"t".to_vec()).await), "WRONG_STATE");
    assert_eq!(refusal(world.complete(enrolment, &blank, again, first.dedupe_tag.clone()).await), "DUPLICATE_LOGIN");
    let stolen = Credential { owner: other.id, ..blank.clone() };
    assert_eq!(refusal(world.complete(enrolment, &stolen, again, b"t".to_vec()).await), "WRONG_STATE");
    world.complete(enrolment, &blank, again, b"t".to_vec()).await.expect("deposit");
    assert_eq!(refusal(world.complete(enrolment, &blank, again, b"t".to_vec()).await), "WRONG_STATE");
    assert_eq!(refusal(world.intend(enrolment).await), "WRONG_STATE");
    let session = world.records().enrolment(&world.tenant.id, &enrolment).await.expect("read").expect("there");
    assert_eq!((session.state, session.version), (EnrolmentState::Completed, again));
    let held = world.records().credentials_of(&world.tenant.id, &subject.id).await.expect("read");
    assert_eq!((held.len(), held[0].claimed.state), (1, CredentialState::Active));
}

#[tokio::test]
async fn an_enrolment_ends_by_hand_by_time_and_by_a_newer_one() {
    let world = World::new().await;
    let subject = world.subject();
    let blank = world.blank(subject.id);
    let first = world.enrol(Some(subject.clone()), &blank).await.expect("first");
    let second = world.enrol(None, &blank).await.expect("second");
    assert_eq!(refusal(world.intend(first).await), "WRONG_STATE");
    world.clock.advance(Span::minutes(30));
    assert_eq!(refusal(world.intend(second).await), "WRONG_STATE");
    let end = Operation::EndEnrolment { tenant: world.tenant.id, enrolment: second };
    world.apply(EntryKind::EnrolmentEnded, end.clone()).await.expect("ended");
    assert_eq!(refusal(world.apply(EntryKind::EnrolmentEnded, end).await), "WRONG_STATE");
    let discarded = world.records().credential(&world.tenant.id, &blank.id).await.expect("read").expect("kept");
    assert_eq!(discarded.claimed.state, CredentialState::Discarded);
    assert_eq!(refusal(world.enrol(None, &blank).await), "WRONG_STATE");
    let twin = world.subject();
    let taken = cofre_store::Subject { external_ref: subject.external_ref, ..twin.clone() };
    assert_eq!(refusal(world.enrol(Some(taken), &world.blank(twin.id)).await), "WRONG_STATE");
}

#[tokio::test]
async fn a_consent_is_granted_as_it_was_shown_or_not_at_all() {
    let world = World::new().await;
    let credential = world.login().await;
    let awaited = world.request_consent(&credential, 1).await.expect("request");
    let wider = Consent { unattended_per_day: 4, ..awaited.clone() };
    assert_eq!(refusal(world.grant_consent(&wider).await), "WRONG_STATE");
    let longer = Consent { valid_until: awaited.valid_until.plus(Span::days(1)), ..awaited.clone() };
    assert_eq!(refusal(world.grant_consent(&longer).await), "WRONG_STATE");
    world.grant_consent(&awaited).await.expect("grant");
    assert_eq!(refusal(world.grant_consent(&awaited).await), "WRONG_STATE");
    let second = world.request_consent(&credential, 1).await.expect("request");
    assert_eq!(refusal(world.grant_consent(&second).await), "WRONG_STATE", "one consent per login");

    let record = world.records().consent(&world.tenant.id, &awaited.id).await.expect("read").expect("there");
    assert_eq!((record.locale, record.evidence.is_empty()), (Locale::Es, false));
    let receipt = |seq, place| Operation::Receipt {
        consent: awaited.id,
        receipt: ReceiptId::from_parts(1, [place; 10]),
        seq,
        state: record.claimed.state,
        jws: "e30.e30.c2ln".into(),
    };
    let put = |seq, place| world.apply(EntryKind::ReceiptIssued, receipt(seq, place));
    assert_eq!(refusal(put(1, 1).await), "WRONG_STATE", "the grant brought the first");
    assert_eq!(refusal(put(3, 1).await), "WRONG_STATE");
    let at = put(2, 1).await.expect("second");
    assert_eq!(refusal(put(3, 1).await), "WRONG_STATE", "a receipt id is used once");
    put(3, 2).await.expect("third");
    let kept = world.records().receipts(&awaited.id).await.expect("read");
    assert_eq!(kept.iter().map(|receipt| receipt.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((kept[1].index, kept[1].at), (at.index, at.time));
}

#[tokio::test]
async fn a_consent_and_its_receipt_begin_together_or_not_at_all() {
    let world = World::new().await;
    let (_, first) = world.releasable(1).await;
    let kept = world.records().receipts(&first.id).await.expect("read");
    let [receipt] = kept.as_slice() else { panic!("{} receipts", kept.len()) };
    let granted = world.records().entry(receipt.index).await.expect("read").expect("its entry");
    let leaf = cofre_ledger::entry::Leaf::parse(&granted.bytes).expect("a leaf").entry().expect("an entry");
    assert_eq!((leaf.kind, receipt.state), (EntryKind::ConsentGranted, ConsentState::Active));
    // A receipt that cannot be kept: its id is used already. The consent does not begin.
    let credential = world.login().await;
    let awaited = world.request_consent(&credential, 1).await.expect("request");
    let consent = Consent { state: ConsentState::Active, ..awaited.clone() };
    let row = world.records().consent(&world.tenant.id, &awaited.id).await.expect("read").expect("there");
    let entry = world.entry(EntryKind::ConsentGranted);
    let grant = Operation::GrantConsent {
        tag: consent_tag(&consent, &row.shown(), &entry),
        consent,
        evidence: b"signed".to_vec(),
        receipt: (receipt.id, "e30.e30.c2ln".into()),
    };
    assert_eq!(refusal(world.records().apply(entry, grant).await), "WRONG_STATE");
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "CONSENT_NOT_ACTIVE");
    assert!(world.records().receipts(&awaited.id).await.expect("read").is_empty());
    world.grant_consent(&awaited).await.expect("with a receipt of its own");
}

#[tokio::test]
async fn a_lock_that_came_in_between_is_not_overwritten_by_a_deposit() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    let enrolment = world.enrol(None, &credential).await.expect("enrolment");
    let version = world.intend(enrolment).await.expect("intent");
    let locked = Credential { not_before: world.clock.now().plus(Span::hours(24)), ..credential.clone() };
    world.lock(&ask, &locked).await.expect("report");
    let stale = world.complete(enrolment, &credential, version, credential.dedupe_tag.clone()).await;
    assert_eq!(refusal(stale), "CONSENT_CHANGED");
    world.complete(enrolment, &locked, version, credential.dedupe_tag.clone()).await.expect("read and tagged anew");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "LOCKED_AT_INSTITUTION");
}

#[tokio::test]
async fn no_report_locks_a_login_for_longer_than_a_week() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    let lost = Credential { not_before: world.clock.now().plus(Span::days(8)), ..credential.clone() };
    assert_eq!(refusal(world.lock(&ask, &lost).await), "WRONG_STATE");
    let week = Credential { not_before: world.clock.now().plus(Span::days(7)), ..credential.clone() };
    world.lock(&ask, &week).await.expect("a week");
}

#[tokio::test]
async fn a_report_is_taken_while_the_lease_lives_and_ten_minutes_longer() {
    for (late, expected) in [(Span::secs(12 * 60 - 1), "Ok"), (Span::secs(12 * 60 + 1), "WRONG_STATE")] {
        let world = World::new().await;
        let (credential, _) = world.releasable(4).await;
        let ask = world.ask(credential.id);
        assert_eq!(told(&world.once(&ask).await), "GRANTED");
        world.clock.advance(late);
        assert!(refusal(world.report(&ask, Outcome::WrongSecret).await).starts_with(expected), "{late:?}");
    }
    // The lease taken away: the time counts from the grant.
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    world.revoke(&consent).await.expect("revoke");
    world.clock.advance(Span::minutes(5));
    world.report(&ask, Outcome::WrongSecret).await.expect("in time");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "SECRET_REJECTED");
}

#[tokio::test]
async fn a_twin_is_seen_before_anything_is_stored() {
    let world = World::new().await;
    let (first, second) = (world.login().await, world.login().await);
    let twin = async |id, tag| world.records().has_twin(&world.tenant.id, id, tag).await.expect("read");
    assert!(twin(&second.id, &first.dedupe_tag).await);
    assert!(!twin(&first.id, &first.dedupe_tag).await);
    assert!(!twin(&second.id, b"").await);
    let stranger = TenantId::from_parts(1, [0xaa; 10]);
    assert!(!world.records().has_twin(&stranger, &second.id, &first.dedupe_tag).await.expect("read"));
}

#[tokio::test]
async fn a_key_is_warmed_only_as_recorded() {
    let world = World::new().await;
    let warm = |tenant_key_version, tenant_key_id| WarmRequest {
        tenant: world.tenant.id,
        tenant_key_version,
        tenant_key_id,
        entry: world.entry(EntryKind::Warm),
    };
    let permit = world.records().warm(warm(1, [5; 16])).await.expect("warm");
    assert_eq!(permit.entry().warrant.tenant, world.tenant.id);
    assert_eq!(refusal(world.records().warm(warm(1, [6; 16])).await), "INTEGRITY_FAILURE");
    assert_eq!(refusal(world.records().warm(warm(2, [5; 16])).await), "INTEGRITY_FAILURE");
    let lockdown = Operation::Lockdown(cofre_store::Lockdown::Platform);
    world.apply(EntryKind::Lockdown, lockdown).await.expect("lockdown");
    assert_eq!(refusal(world.records().warm(warm(1, [5; 16])).await), "LOCKDOWN");
}

#[tokio::test]
async fn a_login_the_institution_locked_waits_until_it_opens() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    let locked = Credential { not_before: world.clock.now().plus(Span::hours(24)), ..credential.clone() };
    let widened = Credential { secret_version: 9, ..locked.clone() };
    assert_eq!(refusal(world.lock(&ask, &widened).await), "WRONG_STATE");
    world.lock(&ask, &locked).await.expect("report");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "LOCKED_AT_INSTITUTION");
    world.clock.advance(Span::hours(24));
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "GRANTED");
}
