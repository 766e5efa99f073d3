//! Ciphertexts and keyring: immutable versions, and destruction that lasts.

use cofre_model::credential::FieldKey;
use cofre_model::id::{CredentialId, DepositKeyId, SubjectId, TenantId};
use cofre_model::sealed::{SealedSecret, WrappedKey};
use cofre_model::time::{Clock as _, Span};
use cofre_model::wording::Class;
use cofre_store::{
    Destroyed, Error, IntegratorState, StoredDataKey, StoredDepositKey, StoredSubjectKey, TenantKeyShare,
};
use cofre_testkit::stores::Engine;

use crate::hands::engine;
use crate::world::Cellar;

fn wrapped(byte: u8) -> WrappedKey {
    WrappedKey::from_bytes(vec![byte; 40])
}

#[tokio::test]
async fn a_version_of_a_ciphertext_never_changes_and_is_gone_once_deleted() {
    let cellar = Cellar::new().await;
    let store = &cellar.stores.ciphertexts;
    let id = CredentialId::from_parts(1, [1; 10]);
    let field = |name: &str, byte| (FieldKey::try_from(name).expect("key"), SealedSecret::from_bytes(vec![byte; 64]));
    let first = [field("user", 0xa1), field("password", 0xa2)];
    store.put(&id, Class::Login, 1, &first).await.expect("put");
    assert!(matches!(store.put(&id, Class::Login, 1, &[field("user", 0xb1)]).await, Err(Error::Exists)));
    store.put(&id, Class::Login, 2, &[field("user", 0xc1)]).await.expect("put");
    assert_eq!(store.of(&id, Class::Login, 1).await.expect("of"), first);
    assert_eq!(store.of(&id, Class::TotpSeed, 1).await.expect("of"), []);
    assert_eq!(store.prune(&id, Class::Login, 2).await.expect("prune"), 2);
    assert_eq!(store.delete(&id).await.expect("delete"), 1);
    // A PostgreSQL server keeps its pages until it vacuums them.
    if engine() == Engine::Sqlite {
        for file in ["ciphertexts.db", "ciphertexts.db-wal"] {
            let bytes = std::fs::read(cellar.folder.path().join(file)).expect(file);
            assert!(!bytes.windows(64).any(|run| run == [0xa1; 64] || run == [0xc1; 64]), "{file} still holds it");
        }
    }
}

#[tokio::test]
async fn a_destroyed_owner_is_never_stored_again() {
    let cellar = Cellar::new().await;
    let keyring = &cellar.stores.keyring;
    let (owner, tenant) = (SubjectId::from_parts(1, [1; 10]), TenantId::from_parts(1, [1; 10]));
    let subject = |version| StoredSubjectKey { owner, version, tenant, tenant_key_version: 1, wrapped: wrapped(0xd1) };
    let data = |version| StoredDataKey {
        credential: CredentialId::from_parts(1, [2; 10]),
        class: Class::Login,
        version,
        owner,
        subject_key_version: 1,
        wrapped: wrapped(0xd2),
    };
    keyring.put_subject_key(&subject(1)).await.expect("put");
    keyring.put_subject_key(&subject(2)).await.expect("put");
    assert!(matches!(keyring.put_subject_key(&subject(2)).await, Err(Error::Exists)));
    keyring.put_data_key(&data(1)).await.expect("put");
    assert!(matches!(keyring.put_data_key(&data(1)).await, Err(Error::Exists)));
    assert_eq!(keyring.subject_key(&owner).await.expect("newest"), Some(subject(2)));
    assert_eq!(keyring.subject_key_version(&owner, 1).await.expect("first"), Some(subject(1)));
    assert_eq!(keyring.data_key(&data(1).credential, Class::Login, 1).await.expect("key"), Some(data(1)));

    let now = cellar.clock.now();
    let gone = keyring.destroy_owner(&owner, now, 7).await.expect("destroyed");
    assert_eq!(gone, Destroyed { subject_keys: 2, data_keys: 1 });
    assert_eq!(keyring.subject_key(&owner).await.expect("none"), None);
    assert!(matches!(keyring.put_subject_key(&subject(3)).await, Err(Error::Destroyed)));
    assert!(matches!(keyring.put_data_key(&data(2)).await, Err(Error::Destroyed)));
    let again = keyring.destroy_owner(&owner, now.plus(Span::secs(1)), 8).await.expect("again");
    assert_eq!(again, Destroyed { subject_keys: 0, data_keys: 0 });
    assert_eq!(keyring.destroyed(&owner).await.expect("read").map(|stone| stone.entry_index), Some(7));
    if engine() == Engine::Sqlite {
        let bytes = std::fs::read(cellar.folder.path().join("keyring.db")).expect("file");
        assert!(!bytes.windows(40).any(|run| run == [0xd1; 40] || run == [0xd2; 40]), "the file still holds a key");
    }
}

#[tokio::test]
async fn tenant_and_deposit_keys_and_the_integrators_row() {
    let cellar = Cellar::new().await;
    let (keyring, now) = (&cellar.stores.keyring, cellar.clock.now());
    let tenant = TenantId::from_parts(1, [1; 10]);
    let share = |custodian: &str| TenantKeyShare {
        tenant,
        version: 1,
        custodian: custodian.into(),
        share: 0,
        share_count: 2,
        wrapped: wrapped(1),
        mechanism: "aes-gcm".into(),
        custodian_key: "root-1".into(),
        set: "any_of(hsm-1,hsm-2)".into(),
        wrapping: 1,
    };
    keyring.put_tenant_key(&[share("hsm-1"), share("hsm-2")], &[], now).await.expect("put");
    assert!(matches!(keyring.put_tenant_key(&[share("hsm-3"), share("hsm-1")], &[], now).await, Err(Error::Exists)));
    assert_eq!(keyring.tenant_key(&tenant, 1).await.expect("shares"), [share("hsm-1"), share("hsm-2")]);

    let pair = |place: u8, from: u64| StoredDepositKey {
        id: DepositKeyId::from_parts(1, [place; 10]),
        tenant,
        tenant_key_version: 1,
        suite: 0x647a,
        public: vec![place; 32],
        wrapped_private: wrapped(place),
        not_before: now.plus(Span::hours(from)),
        not_after: now.plus(Span::hours(from + 24)),
        signature: vec![place; 64],
    };
    for (place, from) in [(1, 0), (2, 12)] {
        keyring.put_deposit_key(&pair(place, from)).await.expect("put");
    }
    assert_eq!(keyring.deposit_key_at(&tenant, now).await.expect("now"), Some(pair(1, 0)));
    assert_eq!(keyring.deposit_key_at(&tenant, now.plus(Span::hours(13))).await.expect("later"), Some(pair(2, 12)));
    let ended = now.plus(Span::hours(25));
    assert_eq!(keyring.destroy_deposit_keys(ended, ended, 3).await.expect("destroyed"), 1);
    assert_eq!(keyring.deposit_key(&pair(1, 0).id).await.expect("gone"), None);
    assert!(matches!(keyring.put_deposit_key(&pair(1, 0)).await, Err(Error::Destroyed)));

    let state = |generation| IntegratorState { generation, size: generation * 10, root: [9; 32] };
    assert!(keyring.swap_integrator(None, state(1)).await.expect("first"));
    assert!(!keyring.swap_integrator(None, state(2)).await.expect("only once"));
    assert!(keyring.swap_integrator(Some(state(1)), state(2)).await.expect("next"));
    assert!(!keyring.swap_integrator(Some(state(1)), state(3)).await.expect("stale"));
    assert_eq!(keyring.integrator().await.expect("read"), Some(state(2)));
}
