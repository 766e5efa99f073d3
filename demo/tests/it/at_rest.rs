//! Promises 1 and 2 over a thousand logins: with ciphertexts, keyring and token everything opens; with any one of them
//! missing nothing does; and no sixteen bytes of any value or key stand in any dump.

use cofre_demo::control;
use cofre_demo::needles::Needles;
use cofre_demo::world::{World, stores, token};
use cofre_model::id::CredentialId;
use cofre_testkit::stores::Store;

use crate::crowd;

const LOGINS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_needs_ciphertexts_keyring_and_token_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = crate::usual(&folder.path().join("world"));
    let cluster = wishes.cluster.as_ref();
    let world = World::start(&wishes).await.expect("a world");
    let crowd = crowd::deposit(&world, LOGINS).await.expect("deposits");
    assert_eq!(crowd.len(), LOGINS);

    let (stores, tokens) = (stores::folder(&world.folder), world.folder.join("token"));
    let logins: Vec<CredentialId> = crowd.iter().map(|each| each.credential).collect();
    let copied = async |name: &str| {
        let copy = folder.path().join(name);
        control::copy_stores(cluster, &stores, &copy, &Store::ALL).await.expect("a copy");
        copy
    };

    let mut values = Needles::default();
    for canary in crowd.iter().flat_map(|each| each.login.canaries()) {
        values.add(canary).expect("canaries are long");
    }
    assert!(values.len() >= LOGINS, "each login has at least one canary");
    let dump = copied("dump").await;
    let seen = values.in_folder(&dump, &[]).expect("files");
    println!("{} runs of values, {} bytes of dumps, {} found", values.len(), seen.bytes, seen.found);
    assert!(seen.bytes > 1_000_000 && seen.found == 0);
    if let Some(cluster) = cluster {
        for raw in cluster.lies_in(&stores).await.expect("its files") {
            let seen = values.in_folder(&raw, &[]).expect("files");
            println!("{}: {} bytes, {} found", raw.display(), seen.bytes, seen.found);
            assert!(seen.bytes > 1_000_000 && seen.found == 0, "{}", raw.display());
        }
    }

    let all = control::open_all(cluster, &copied("all").await, (&tokens, &wishes.module), &logins).expect("a trial");
    assert_eq!(all.known, LOGINS);
    for each in &crowd {
        let expected = control::digest_of(each.login.fields().map(|(_, value)| value));
        assert_eq!(all.digests.get(&each.credential), Some(&expected), "{}", each.credential);
    }
    println!("{} runs of keys, {} bytes of dumps, {} found", all.key_runs, all.keys_seen.bytes, all.keys_seen.found);
    assert!(all.key_runs >= 2 * LOGINS * 17 && all.keys_seen.found == 0);

    for missing in [Store::Ciphertexts, Store::Keyring] {
        let copy = copied(&format!("without-{}", missing.name())).await;
        control::empty(cluster, &copy, missing).await.expect("emptied");
        let opened = control::open_all(cluster, &copy, (&tokens, &wishes.module), &logins).expect("a trial");
        assert_eq!((opened.known, opened.digests.len()), (LOGINS, 0), "without {}", missing.name());
    }
    let other = folder.path().join("other");
    token::make(&other, &wishes.module).expect("another token");
    let opened =
        control::open_all(cluster, &copied("without-token").await, (&other.join("token"), &wishes.module), &logins)
            .expect("a trial");
    assert_eq!((opened.known, opened.digests.len()), (LOGINS, 0), "with another token");
    world.stop().expect("an ordered stop");
}
