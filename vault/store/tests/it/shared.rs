//! Several nodes on the same databases: what one has destroyed no other puts back, and of those that swap or put the
//! same thing at once one succeeds.

use cofre_model::credential::FieldKey;
use cofre_model::id::{CredentialId, SubjectId, TenantId};
use cofre_model::sealed::{SealedSecret, WrappedKey};
use cofre_model::time::Timestamp;
use cofre_model::wording::Class;
use cofre_store::*;
use tokio::task::JoinSet;

use crate::databases::Databases;

fn wrapped() -> WrappedKey {
    WrappedKey::from_bytes(vec![0xd1; 40])
}

#[tokio::test]
async fn what_one_node_destroys_no_other_puts_back() {
    let databases = Databases::migrated().await;
    let (one, other) = (databases.open().await.expect("opened"), databases.open().await.expect("opened"));
    let mut late = 0;
    for turn in 0..24 {
        let (owner, credential) = (SubjectId::from_parts(turn, [1; 10]), CredentialId::from_parts(turn, [2; 10]));
        let subject = StoredSubjectKey {
            owner,
            version: 1,
            tenant: TenantId::from_parts(1, [3; 10]),
            tenant_key_version: 1,
            wrapped: wrapped(),
        };
        let data = StoredDataKey {
            credential,
            class: Class::Login,
            version: 1,
            owner,
            subject_key_version: 1,
            wrapped: wrapped(),
        };
        // All three wait for this, and then run in whatever order.
        let mut start = databases.hold("keyring", &owner.to_string()).await;
        let begin = async {
            tokio::task::yield_now().await;
            sqlx::Executor::execute(&mut start, "ROLLBACK").await.map(drop)
        };
        let (put, added, gone, begun) = tokio::join!(
            other.keyring.put_subject_key(&subject),
            other.keyring.put_data_key(&data),
            one.keyring.destroy_owner(&owner, Timestamp::default(), 7),
            begin
        );
        begun.expect("begun");
        gone.expect("destroyed");
        for put in [put, added] {
            assert!(matches!(put, Ok(()) | Err(Error::Destroyed)), "{put:?}");
            late += usize::from(put.is_err());
        }
        for stores in [&one, &other] {
            assert_eq!(stores.keyring.subject_key(&owner).await.expect("read"), None, "owner {turn}");
            assert_eq!(
                stores.keyring.data_key(&credential, Class::Login, 1).await.expect("read"),
                None,
                "owner {turn}"
            );
        }
    }
    assert!(late > 0, "never did a put come after its owner was destroyed");
}

#[tokio::test]
async fn of_many_that_swap_the_integrators_row_one_succeeds() {
    let databases = Databases::migrated().await;
    let nodes = [databases.open().await.expect("opened"), databases.open().await.expect("opened")];
    let mut stands = None;
    for generation in 1..4 {
        let mut swaps = JoinSet::new();
        for turn in 0..8_u8 {
            let keyring = nodes[usize::from(turn) % 2].keyring.clone();
            let next = IntegratorState { generation, size: generation * 10, root: [turn; 32] };
            swaps.spawn(async move { keyring.swap_integrator(stands, next).await.map(|swapped| (swapped, next)) });
        }
        let mut won = Vec::new();
        while let Some(swap) = swaps.join_next().await {
            let (swapped, next) = swap.expect("joined").expect("answered");
            won.extend(swapped.then_some(next));
        }
        assert_eq!(won.len(), 1, "generation {generation}");
        assert_eq!(nodes[0].keyring.integrator().await.expect("read"), won.first().copied());
        stands = won.pop();
    }
}

#[tokio::test]
async fn of_many_that_put_a_version_one_succeeds() {
    let databases = Databases::migrated().await;
    let nodes = [databases.open().await.expect("opened"), databases.open().await.expect("opened")];
    let credential = CredentialId::from_parts(1, [1; 10]);
    let mut puts = JoinSet::new();
    for turn in 0..8_u8 {
        let store = nodes[usize::from(turn) % 2].ciphertexts.clone();
        puts.spawn(async move {
            let key = |name: &str| FieldKey::try_from(name).expect("key");
            // Each brings fields of its own names, so that no key of the table would keep them apart.
            let names: &[&str] = if turn % 2 == 0 { &["user", "password"] } else { &["login"] };
            let fields: Vec<_> =
                names.iter().map(|name| (key(name), SealedSecret::from_bytes(vec![turn; 64]))).collect();
            store.put(&credential, Class::Login, 1, &fields).await.map(|()| fields)
        });
    }
    let mut stored = Vec::new();
    while let Some(put) = puts.join_next().await {
        match put.expect("joined") {
            Ok(fields) => stored.push(fields),
            Err(cause) => assert!(matches!(cause, Error::Exists), "{cause:?}"),
        }
    }
    assert_eq!(stored.len(), 1);
    assert_eq!(nodes[0].ciphertexts.of(&credential, Class::Login, 1).await.expect("of"), stored[0]);
}
