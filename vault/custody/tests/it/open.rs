//! The dangerous calls: what a permit opens, and that nothing else opens with it.

use cofre_custody::{
    Broken, CustodySet, DepositKeyRow, DepositRows, Error, OpenedDeposit, SubjectKeyRow, TenantRef, Warmed, WrappedKeys,
};
use cofre_envelope::context::SecretContext;
use cofre_envelope::{Plain, Suite};
use cofre_model::credential::FieldKey;
use cofre_model::id::{CredentialId, DepositKeyId, EnrolmentId, SubjectId};
use cofre_model::permit::{Deposit, DepositWarrant, Permit, Release, ReleaseWarrant};
use cofre_model::sealed::SealedSecret;
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;

use crate::bench::{custodian, entry, mint};
use crate::warm::House;

pub(crate) fn owner(number: u8) -> SubjectId {
    SubjectId::from_parts(1, [number; 10])
}

fn credential(number: u8) -> CredentialId {
    CredentialId::from_parts(1, [number; 10])
}

fn field() -> FieldKey {
    FieldKey::try_from("password").expect("a field key")
}

fn deposit_permit(tenant: &TenantRef, deposit_key: DepositKeyId, (login, whose): (u8, u8)) -> Permit<Deposit> {
    let (at, send_by) = entry();
    mint().permit(
        at,
        send_by,
        DepositWarrant {
            tenant: tenant.tenant,
            owner: owner(whose),
            credential: credential(login),
            class: Class::Login,
            secret_version: 1,
            enrolment: EnrolmentId::from_parts(1, [login; 10]),
            template_version: 1,
            deposit_key,
            tenant_key_id: tenant.key_id,
        },
    )
}

fn release_permit(tenant: &TenantRef, (login, whose): (u8, u8)) -> Permit<Release> {
    let (at, send_by) = entry();
    mint().permit(
        at,
        send_by,
        ReleaseWarrant {
            tenant: tenant.tenant,
            owner: owner(whose),
            credential: credential(login),
            class: Class::Login,
            secret_version: 1,
            tenant_key_id: tenant.key_id,
            worker: "spiffe://cofre.example/worker/pool/one".into(),
            request_digest: [0; 32],
            fields: Vec::new(),
            lease_until: Timestamp::from_secs(2_000_000_000),
        },
    )
}

pub(crate) struct Desk {
    pub(crate) house: House,
    pub(crate) tenant: TenantRef,
    pub(crate) key: DepositKeyRow,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let house = House::new(&["a"]);
        let tenant = house.tenant(1, &CustodySet::any_of(vec![custodian("a")]).expect("a set")).await;
        let (id, suite) = (DepositKeyId::from_parts(1, [1; 10]), Suite::X25519);
        let (not_before, not_after) = (Timestamp::from_secs(1), Timestamp::from_secs(2));
        let wrapping = house.keys.for_wrapping();
        let made = wrapping.new_deposit_key(&tenant, id, suite, not_before, not_after).await.expect("made");
        assert_eq!(made.0.suite(), suite);
        let key = DepositKeyRow { id, suite, not_before, not_after, under: tenant.clone(), wrapped: made.1 };
        Self { house, tenant, key }
    }

    pub(crate) async fn deposit(&self, who: (u8, u8), subject: Option<SubjectKeyRow>) -> Result<OpenedDeposit, Error> {
        let permit = deposit_permit(&self.tenant, self.key.id, who);
        let rows = DepositRows { tenant: self.tenant.clone(), deposit_key: self.key.clone(), subject };
        self.house.keys.for_deposit().open_deposit(permit, rows).await
    }

    /// A login at rest: its sealed field and its wrapped keys.
    pub(crate) async fn rest(&self, who: (u8, u8)) -> (SealedSecret, WrappedKeys, SecretContext) {
        let opened = self.deposit(who, None).await.expect("opens");
        let plain = Plain::copy_of(&self.house.slab, b"correct horse").expect("room");
        let sealed = opened.dek.seal_field(&opened.secret, &field(), plain).expect("seals");
        let subject = opened.new_subject.expect("the owner's first");
        let wrapped = WrappedKeys {
            tenant: self.tenant.clone(),
            subject_key_version: subject.version,
            subject: subject.wrapped,
            data: opened.data,
        };
        (sealed, wrapped, opened.secret)
    }

    pub(crate) async fn open(&self, who: (u8, u8), wrapped: WrappedKeys) -> Result<cofre_envelope::Dek, Error> {
        self.house.keys.for_release().open_keys(release_permit(&self.tenant, who), wrapped, Warmed::default()).await
    }
}

#[tokio::test]
async fn a_key_that_may_not_stay_warm_is_asked_for_once_a_release() {
    let mut desk = Desk::new().await;
    let (_, mut wrapped, _) = desk.rest((1, 1)).await;
    desk.tenant.warm_for = cofre_model::time::Span::default();
    wrapped.tenant.warm_for = desk.tenant.warm_for;
    desk.house.keys.wipe_all();
    let (keys, before) = (desk.house.keys.for_release(), desk.house.custodians[0].unwraps());
    for release in 1..=3 {
        let warmed = keys.warm(&desk.tenant, Warmed::default()).await.expect("asks");
        keys.open_keys(release_permit(&desk.tenant, (1, 1)), wrapped.clone(), warmed).await.map(drop).expect("opens");
        assert_eq!(desk.house.custodians[0].unwraps(), before + release);
    }
    assert_eq!(desk.house.keys.counters().warm_now, 0);
}

#[tokio::test]
async fn what_a_deposit_seals_a_release_opens() {
    let desk = Desk::new().await;
    let (sealed, wrapped, secret) = desk.rest((1, 1)).await;
    desk.house.keys.wipe_all();
    let before = desk.house.custodians[0].unwraps();
    let dek = desk.open((1, 1), wrapped).await.expect("opens, warming a cold key");
    let plain = dek.open_field(&secret, &field(), &sealed).expect("opens");
    assert!(plain.with_bytes(|bytes| bytes == b"correct horse"));
    assert_eq!(desk.house.custodians[0].unwraps(), before + 1);
}

#[tokio::test]
async fn keys_of_another_login_or_owner_do_not_open() {
    let desk = Desk::new().await;
    let (_, one, _) = desk.rest((1, 1)).await;
    let (_, two, _) = desk.rest((2, 2)).await;
    assert_eq!(desk.open((2, 1), one.clone()).await.map(drop), Err(Error::Integrity(Broken::DataKey)));
    assert_eq!(desk.open((1, 2), one.clone()).await.map(drop), Err(Error::Integrity(Broken::SubjectKey)));
    let mixed = WrappedKeys { data: two.data.clone(), ..one.clone() };
    assert_eq!(desk.open((1, 1), mixed).await.map(drop), Err(Error::Integrity(Broken::DataKey)));
    let swapped = WrappedKeys { subject: two.subject, ..one.clone() };
    assert_eq!(desk.open((1, 1), swapped).await.map(drop), Err(Error::Integrity(Broken::SubjectKey)));
    let older = WrappedKeys { subject_key_version: 2, ..one };
    assert_eq!(desk.open((1, 1), older).await.map(drop), Err(Error::Integrity(Broken::SubjectKey)));
}

#[tokio::test]
async fn rows_of_another_tenant_key_are_foreign_and_cost_no_call() {
    let desk = Desk::new().await;
    let (_, wrapped, _) = desk.rest((1, 1)).await;
    desk.house.keys.wipe_all();
    let before = desk.house.custodians[0].unwraps();
    let mut other = wrapped;
    other.tenant.key_id = [9; 16];
    assert_eq!(desk.open((1, 1), other).await.map(drop), Err(Error::Foreign));
    assert_eq!(desk.house.custodians[0].unwraps(), before);
}

#[tokio::test]
async fn an_owners_second_deposit_uses_the_same_subject_key() {
    let desk = Desk::new().await;
    let first = desk.deposit((1, 1), None).await.expect("opens").new_subject.expect("the first");
    let second = desk.deposit((2, 1), Some(first.clone())).await.expect("opens");
    assert!(second.new_subject.is_none());
    let wrapped = WrappedKeys {
        tenant: desk.tenant.clone(),
        subject_key_version: second.subject_key_version,
        subject: first.wrapped.clone(),
        data: second.data,
    };
    desk.open((2, 1), wrapped).await.expect("opens");
    let stolen = desk.deposit((3, 3), Some(first)).await.map(drop);
    assert_eq!(stolen, Err(Error::Integrity(Broken::SubjectKey)), "another owner's subject key");
}

#[tokio::test]
async fn a_deposit_opens_only_the_deposit_key_it_names() {
    let mut desk = Desk::new().await;
    let named = desk.key.clone();
    desk.key.not_after = Timestamp::from_secs(3);
    assert_eq!(desk.deposit((1, 1), None).await.map(drop), Err(Error::Integrity(Broken::DepositKey)));
    desk.key = DepositKeyRow { id: DepositKeyId::from_parts(1, [2; 10]), ..named };
    let permit = deposit_permit(&desk.tenant, DepositKeyId::from_parts(1, [1; 10]), (1, 1));
    let rows = DepositRows { tenant: desk.tenant.clone(), deposit_key: desk.key.clone(), subject: None };
    assert_eq!(desk.house.keys.for_deposit().open_deposit(permit, rows).await.map(drop), Err(Error::Foreign));
}
