//! What ends things: stop buttons, quarantine, consents that lapse, erasure of a person.

use cofre_model::consent::ConsentState;
use cofre_model::credential::CredentialState;
use cofre_model::entry::EntryKind;
use cofre_model::id::ErasureId;
use cofre_model::time::{Clock as _, Span};
use cofre_store::{Change, ErasureState, Lockdown, Operation, SubjectState};

use crate::world::{WORKER, World, refusal, told};

#[tokio::test]
async fn each_stop_button_stops_its_scope_and_ends_its_leases() {
    for lockdown in 0..4 {
        let world = World::new().await;
        let (credential, _) = world.releasable(4).await;
        assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
        let lockdown = match lockdown {
            0 => Lockdown::Platform,
            1 => Lockdown::Tenant(world.tenant.id),
            2 => Lockdown::Institution(world.institution.clone()),
            _ => Lockdown::Credential(credential.id),
        };
        let mut changes = world.records().changes();
        world.apply(EntryKind::Lockdown, Operation::Lockdown(lockdown.clone())).await.expect("lockdown");
        let mut heard = Vec::new();
        while let Ok(change) = changes.try_recv() {
            heard.push(change);
        }
        assert!(heard.contains(&Change::Lockdown(lockdown.clone())));
        assert!(heard.iter().any(|change| matches!(change, Change::LeaseEnded { worker, .. } if worker == WORKER)));
        assert_eq!(told(&world.once(&world.attended(&credential)).await), "LOCKDOWN");
        assert_eq!(world.records().lockdowns().await.expect("read"), [lockdown]);
    }
}

#[tokio::test]
async fn a_quarantined_worker_gets_nothing() {
    let world = World::new().await;
    let (credential, _) = world.releasable(4).await;
    let quarantine = Operation::QuarantineWorker { worker: WORKER.into() };
    world.apply(EntryKind::WorkerQuarantined, quarantine).await.expect("quarantine");
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "WORKER_QUARANTINED");
    let nobody = Operation::QuarantineWorker { worker: "spiffe://cofre.test/worker/pool-a/nobody".into() };
    assert_eq!(refusal(world.apply(EntryKind::WorkerQuarantined, nobody).await), "NOT_FOUND");
}

#[tokio::test]
async fn a_revocation_frees_the_login_for_the_next_consent() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    let ask = world.ask(credential.id);
    assert_eq!(told(&world.once(&ask).await), "GRANTED");
    world.revoke(&consent).await.expect("revoke");
    let grant = world.records().grant(&credential.id, &ask.job).await.expect("read").expect("kept");
    assert_eq!(grant.lease_until, None, "the lease ended with the consent");
    let awaited = world.request_consent(&credential, 4).await.expect("request");
    world.grant_consent(&awaited).await.expect("grant");
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "GRANTED");
}

#[tokio::test]
async fn only_time_expires_a_consent_and_an_awaited_one_lapses() {
    let world = World::new().await;
    let (_, consent) = world.releasable(4).await;
    let expire = || Operation::EndConsent { tenant: world.tenant.id, consent: consent.id, to: ConsentState::Expired };
    assert_eq!(refusal(world.apply(EntryKind::ConsentExpired, expire()).await), "WRONG_STATE");
    let awaited = world.request_consent(&world.login().await, 1).await.expect("request");
    world.clock.advance(Span::hours(1));
    assert_eq!(refusal(world.grant_consent(&awaited).await), "WRONG_STATE");
    assert_eq!(world.records().consents_due(world.clock.now()).await.expect("due"), [(world.tenant.id, awaited.id)]);
    world.clock.advance(Span::days(180));
    world.apply(EntryKind::ConsentExpired, expire()).await.expect("expired");
    assert_eq!(refusal(world.revoke(&consent).await), "WRONG_STATE");
}

#[tokio::test]
async fn an_erased_person_has_no_login_no_consent_and_no_name() {
    let world = World::new().await;
    let (credential, consent) = world.releasable(4).await;
    assert_eq!(told(&world.once(&world.ask(credential.id)).await), "GRANTED");
    let owner = credential.owner;
    let erasure = ErasureId::from_parts(world.ms(), world.bytes());
    let accept = Operation::AcceptErasure { erasure, tenant: world.tenant.id, subject: owner };
    let mut changes = world.records().changes();
    let accepted = world.apply(EntryKind::ErasureAccepted, accept.clone()).await.expect("accepted").index;
    let mut heard = Vec::new();
    while let Ok(change) = changes.try_recv() {
        heard.push(change);
    }
    assert!(heard.contains(&Change::ErasureAccepted { subject: owner, credentials: vec![credential.id] }));
    assert!(heard.iter().any(|change| matches!(change, Change::LeaseEnded { .. })));
    assert_eq!(refusal(world.apply(EntryKind::ErasureAccepted, accept).await), "WRONG_STATE");
    // The last consent ended with it, and that is the reason given for a login being erased.
    assert_eq!(told(&world.once(&world.attended(&credential)).await), "CONSENT_REVOKED");
    assert_eq!(refusal(world.enrol(None, &credential).await), "WRONG_STATE");
    let ended = world.records().consent(&world.tenant.id, &consent.id).await.expect("read").expect("kept");
    assert_eq!(ended.claimed.state, ConsentState::Revoked);

    let certificate = || Operation::CertifyErasure {
        erasure,
        certificate: b"{}".to_vec(),
        horizon: world.clock.now().plus(Span::days(30)),
    };
    assert_eq!(refusal(world.apply(EntryKind::ErasureCertified, certificate()).await), "WRONG_STATE");
    world.apply(EntryKind::KeysDestroyed, Operation::KeysDestroyed { erasure }).await.expect("destroyed");
    world.apply(EntryKind::ErasureCertified, certificate()).await.expect("certified");
    let kept = world.records().erasure_of(&world.tenant.id, &owner).await.expect("read").expect("kept");
    assert_eq!((kept.state, kept.accepted), (ErasureState::Certified, accepted));
    let subject = world.records().subject(&world.tenant.id, &owner).await.expect("read").expect("kept");
    assert_eq!((subject.state, subject.external_ref), (SubjectState::Erased, None));
    let login = world.records().credential(&world.tenant.id, &credential.id).await.expect("read").expect("kept");
    assert_eq!(login.claimed.state, CredentialState::Erased);
    assert!(login.claimed.dedupe_tag.is_empty());
}

#[tokio::test]
async fn an_erasure_id_is_one_erasure() {
    let world = World::new().await;
    let (one, other) = (world.releasable(1).await.0, world.login().await);
    let erasure = ErasureId::from_parts(world.ms(), world.bytes());
    let accept = |subject| Operation::AcceptErasure { erasure, tenant: world.tenant.id, subject };
    world.apply(EntryKind::ErasureAccepted, accept(one.owner)).await.expect("accepted");
    assert_eq!(refusal(world.apply(EntryKind::ErasureAccepted, accept(other.owner)).await), "WRONG_STATE");
    // Nothing of the refused one stays.
    let person = world.records().subject(&world.tenant.id, &other.owner).await.expect("read").expect("a person");
    assert_eq!(person.state, SubjectState::Active);
}
