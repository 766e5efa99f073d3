//! Whose job changes versions of a tenant's key, what stops it, and which versions may be opened.

use cofre_model::entry::EntryKind;
use cofre_model::id::{KeyJobId, Slug, TenantId};
use cofre_model::keys::{KeyJob, KeyJobState};
use cofre_model::registry::Tenant;
use cofre_model::time::{Clock as _, Span};
use cofre_store::*;

use super::{count, end, id_of, in_force, make, moved, open, order, permit, request, retire, rotation, running, said};
use crate::world::{World, refusal};

impl World {
    /// Registers another tenant.
    async fn beside_tenant(&self) -> TenantId {
        let id = TenantId::from_parts(self.ms(), [0xbb; 10]);
        let slug = Slug::try_from("beside").expect("slug");
        let tenant = Tenant { id, slug, ..self.tenant.clone() };
        let (signing_keys, recipients) = (Vec::new(), Vec::new());
        let put = Operation::PutTenant {
            tenant,
            key_version: 1,
            custody_set: None,
            warm_for: Span::secs(60),
            signing_keys,
            recipients,
        };
        let mut entry = self.entry(EntryKind::TenantPut);
        entry.tenant = Some(id);
        self.records().apply(entry, put).await.expect("registered");
        id
    }
}

#[tokio::test]
async fn whoever_makes_opens_or_moves_has_a_rotation_of_that_key_running() {
    let world = World::new().await;
    let stranger = KeyJobId::from_parts(1, [0xaa; 10]);
    let rewrap = world.key_job("any_of(hsm-2)");
    order(&world, rewrap.clone()).await.expect("opened");
    let ended = running(&world).await;
    end(&world, ended).await;
    // Somebody has the row of it run again.
    world.edit(&format!("UPDATE key_jobs SET state = 'RUNNING' WHERE id = '{ended}'")).await;
    for job in [stranger, rewrap.id, ended] {
        assert_eq!(refusal(make(&world, job, 2).await), "WRONG_STATE", "{job}");
        assert_eq!(refusal(open(&world, job, 1).await), "WRONG_STATE", "{job}");
        assert_eq!(refusal(moved(&world, job, 1).await), "WRONG_STATE", "{job}");
    }
    world.edit(&format!("UPDATE key_jobs SET state = 'STOPPED' WHERE id = '{ended}'")).await;
    let other = world.beside_tenant().await;
    let theirs = rotation(&world, &other.to_string());
    order(&world, theirs.clone()).await.expect("opened");
    assert_eq!(refusal(make(&world, theirs.id, 2).await), "WRONG_STATE", "of another tenant's key");
    end(&world, theirs.id).await;
    let ours = rotation(&world, &world.tenant.id.to_string());
    order(&world, ours.clone()).await.expect("opened");
    let job = ours.id;
    make(&world, job, 2).await.expect("made");
    open(&world, job, 2).await.expect("opened");
    for job in [stranger, rewrap.id, ended, theirs.id] {
        assert_eq!(refusal(permit(&world, request(&world, job, 1, 2)).await), "WRONG_STATE", "{job}");
    }
    let _ = permit(&world, request(&world, job, 1, 2)).await.expect("a permit");
    moved(&world, job, 2).await.expect("moved");
    let foreign = Operation::MakeTenantKey { job, tenant: other, version: 2, key_id: [1; 16] };
    assert_eq!(refusal(world.apply(EntryKind::TenantKeyMade, foreign).await), "WRONG_STATE");
    // A permit to wrap anew is of a rewrap.
    let mut entry = world.entry(EntryKind::Rewrap);
    entry.tenant_key = Some((id_of(2), 2));
    let (tenant, target) = (world.tenant.id, ours.target.clone());
    let dressed = RewrapRequest { job, target, tenant, tenant_key_version: 2, tenant_key_id: id_of(2), entry };
    assert_eq!(refusal(world.records().rewrap(dressed).await), "WRONG_STATE");
}

#[tokio::test]
async fn a_rotation_is_of_all_or_of_a_tenant_that_is_there() {
    let world = World::new().await;
    let moved_away = NewKeyJob { from_key: Some("root 1".into()), ..rotation(&world, KeyJob::ALL) };
    assert_eq!(refusal(order(&world, moved_away).await), "BAD_REQUEST");
    let stranger = TenantId::from_parts(1, [0xaa; 10]).to_string();
    for target in ["ALL", "", "any_of(hsm-2)", &stranger] {
        assert_eq!(refusal(order(&world, rotation(&world, target)).await), "NOT_FOUND", "{target}");
    }
    let job = rotation(&world, &world.tenant.id.to_string());
    let opened = order(&world, job.clone()).await.expect("opened");
    assert_eq!(said(&world, opened).await.reference, Some(format!("{} ROTATE {} -", job.id, world.tenant.id)));
    assert_eq!(refusal(order(&world, rotation(&world, KeyJob::ALL)).await), "WRONG_STATE", "one runs");
    let rewrap = world.key_job("any_of(hsm-2)");
    order(&world, rewrap.clone()).await.expect("the other kind");
    for id in [job.id, rewrap.id] {
        let row = world.records().key_job(&id).await.expect("read").expect("there");
        assert!(world.records().key_job_stands(&row).await.expect("read"), "{id}");
    }
    end(&world, job.id).await;
    let next = running(&world).await;
    let mut revived = world.records().key_job(&job.id).await.expect("read").expect("there");
    (revived.state, revived.ended) = (KeyJobState::Running, None);
    assert!(!world.records().key_job_stands(&revived).await.expect("read"));
    let row = world.records().key_job(&next).await.expect("read").expect("there");
    assert!(world.records().key_job_stands(&row).await.expect("read"));
}

#[tokio::test]
async fn a_permit_to_move_is_from_a_closed_version_to_the_one_in_force() {
    let world = World::new().await;
    let job = running(&world).await;
    make(&world, job, 2).await.expect("made");
    open(&world, job, 2).await.expect("opened");
    make(&world, job, 3).await.expect("made");
    let asked = || request(&world, job, 1, 2);
    for (what, other) in [
        ("another id of the old one", MoveRequest { from_id: [9; 16], ..asked() }),
        ("another id of the new one", MoveRequest { to_id: [9; 16], ..asked() }),
        ("from the one in force", request(&world, job, 2, 2)),
        ("from one that was only made", request(&world, job, 3, 2)),
        ("to one that was only made", request(&world, job, 1, 3)),
        ("to the old one", request(&world, job, 1, 1)),
        ("from one that never was", request(&world, job, 7, 2)),
    ] {
        assert_eq!(refusal(permit(&world, other).await), "INTEGRITY_FAILURE", "{what}");
    }
    assert_eq!(refusal(permit(&world, MoveRequest { count: 0, ..asked() }).await), "BAD_REQUEST");
    let stranger = MoveRequest { tenant: TenantId::from_parts(1, [0xaa; 10]), ..asked() };
    assert_eq!(refusal(permit(&world, stranger).await), "NOT_FOUND");
    let mut unfit = asked();
    unfit.entry.kind = EntryKind::Rewrap;
    assert!(matches!(permit(&world, unfit).await, Err(CommitError::Store(Error::Unfit { kind: EntryKind::Rewrap }))));
    let _ = permit(&world, asked()).await.expect("a permit");
}

#[tokio::test]
async fn a_stop_button_stops_a_rotation() {
    let world = World::new().await;
    let job = running(&world).await;
    make(&world, job, 2).await.expect("made");
    open(&world, job, 2).await.expect("opened");
    make(&world, job, 3).await.expect("made");
    world.apply(EntryKind::Lockdown, Operation::Lockdown(Lockdown::Tenant(world.tenant.id))).await.expect("stopped");
    for _ in 0..2 {
        assert_eq!(refusal(open(&world, job, 3).await), "LOCKDOWN");
        assert_eq!(refusal(permit(&world, request(&world, job, 1, 2)).await), "LOCKDOWN");
        // Whoever takes it out of its table does not release it.
        world.edit("DELETE FROM lockdowns").await;
    }
    assert_eq!(in_force(&world).await, (2, id_of(2), 1));
    world.clock.set(world.clock.now().minus(Span::secs(30)));
    assert_eq!(refusal(open(&world, job, 3).await), "CLOCK_UNTRUSTED");
}

#[tokio::test]
async fn each_version_is_opened_once_it_was_made() {
    let world = World::new().await;
    let warm = async |version: u32, tenant_key_id| {
        let (tenant, tenant_key_version) = (world.tenant.id, version);
        let entry = world.entry(EntryKind::Warm);
        world.records().warm(WarmRequest { tenant, tenant_key_version, tenant_key_id, entry }).await.map(drop)
    };
    let rewrap = world.key_job("any_of(hsm-2)");
    order(&world, rewrap.clone()).await.expect("opened");
    let wrap = async |version: u32| {
        let (job, target, tenant) = (rewrap.id, rewrap.target.clone(), world.tenant.id);
        let mut entry = world.entry(EntryKind::Rewrap);
        entry.tenant_key = Some((id_of(version), version));
        let (tenant_key_version, tenant_key_id) = (version, id_of(version));
        let asked = RewrapRequest { job, target, tenant, tenant_key_version, tenant_key_id, entry };
        world.records().rewrap(asked).await.map(drop)
    };
    let job = running(&world).await;
    assert_eq!(refusal(warm(2, id_of(2)).await), "INTEGRITY_FAILURE", "nobody made it");
    make(&world, job, 2).await.expect("made");
    warm(2, id_of(2)).await.expect("made");
    assert_eq!(refusal(wrap(2).await), "INTEGRITY_FAILURE", "it is not in force yet");
    open(&world, job, 2).await.expect("opened");
    for version in [1, 2] {
        warm(version, id_of(version)).await.expect("warm");
        wrap(version).await.expect("wrapped anew");
    }
    assert_eq!(refusal(warm(1, id_of(2)).await), "INTEGRITY_FAILURE", "another's id");
    moved(&world, job, 2).await.expect("moved");
    end(&world, job).await;
    end(&world, rewrap.id).await;
    count(&world, 0).await;
    retire(&world).await.expect("retired");
    // Its shares are retired in the keyring: there is nothing left to ask a custodian for.
    warm(2, id_of(2)).await.expect("warm");
}
