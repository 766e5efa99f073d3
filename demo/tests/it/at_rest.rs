//! Promises 1 and 2 over a thousand logins: with ciphertexts, keyring and token everything opens; with any one of them
//! missing nothing does; and no sixteen bytes of any value or key stand in any dump.

use cofre_demo::control::{self, STORES};
use cofre_demo::needles::Needles;
use cofre_demo::world::{Wishes, World, token};
use cofre_model::id::CredentialId;

use crate::crowd;

const LOGINS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_needs_ciphertexts_keyring_and_token_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = Wishes::usual(&folder.path().join("world")).expect("hsm-sim is built");
    let world = World::start(&wishes).await.expect("a world");
    let crowd = crowd::deposit(&world, LOGINS).await.expect("deposits");
    assert_eq!(crowd.len(), LOGINS);

    let (stores, tokens) = (world.folder.join("stores"), world.folder.join("token"));
    let logins: Vec<CredentialId> = crowd.iter().map(|each| each.credential).collect();
    let copied = |name: &str| {
        let copy = folder.path().join(name);
        control::copy_stores(&stores, &copy, &STORES).expect("a copy");
        copy
    };

    let mut values = Needles::default();
    for canary in crowd.iter().flat_map(|each| each.login.canaries()) {
        values.add(canary).expect("canaries are long");
    }
    assert!(values.len() >= LOGINS, "each login has at least one canary");
    let dump = copied("dump");
    let seen = values.in_folder(&dump, &[]).expect("files");
    println!("{} runs of values, {} bytes of dumps, {} found", values.len(), seen.bytes, seen.found);
    assert!(seen.bytes > 1_000_000 && seen.found == 0);

    let all = control::open_all(&copied("all"), &tokens, &wishes.module, &logins).expect("a trial");
    assert_eq!(all.known, LOGINS);
    for each in &crowd {
        let expected = control::digest_of(each.login.fields().map(|(_, value)| value));
        assert_eq!(all.digests.get(&each.credential), Some(&expected), "{}", each.credential);
    }
    println!("{} runs of keys, {} bytes of dumps, {} found", all.key_runs, all.keys_seen.bytes, all.keys_seen.found);
    assert!(all.key_runs >= 2 * LOGINS * 17 && all.keys_seen.found == 0);

    for missing in ["ciphertexts.db", "keyring.db"] {
        let copy = copied(&format!("without-{missing}"));
        control::empty(&copy, missing).await.expect("emptied");
        let opened = control::open_all(&copy, &tokens, &wishes.module, &logins).expect("a trial");
        assert_eq!((opened.known, opened.digests.len()), (LOGINS, 0), "without {missing}");
    }
    let other = folder.path().join("other");
    token::make(&other, &wishes.module).expect("another token");
    let opened =
        control::open_all(&copied("without-token"), &other.join("token"), &wishes.module, &logins).expect("a trial");
    assert_eq!((opened.known, opened.digests.len()), (LOGINS, 0), "with another token");
    world.stop().expect("an ordered stop");
}
