//! Whoever owns a store's database edits it behind the back of a vault that runs: rows are broken, exchanged with
//! others', taken out or put back from a copy. A login that comes all the same is the one that was deposited; what does
//! not come is refused by an entry that says why; and nobody else's login is touched. On both engines.

mod damaged;
mod erased;
pub(crate) mod house;
mod rows;
mod sealed_to;

use cofre_demo::world::Wishes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_broken_or_exchanged_gives_its_login_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = Wishes { workers: 4, warm_for: "1s", ..crate::usual(&folder.path().join("world")) };
    let mut house = house::House::new(&wishes).await;
    rows::of_ciphertexts(&house).await;
    rows::of_the_keyring(&house).await;
    sealed_to::of_deposits(&mut house).await;
    house.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_does_not_come_back_from_copies() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = Wishes { workers: 4, ..crate::usual(&folder.path().join("world")) };
    let house = house::House::new(&wishes).await;
    erased::stays(house, &wishes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_is_named_at_a_start_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = Wishes { workers: 4, cluster: None, ..crate::usual(&folder.path().join("world")) };
    damaged::at_a_start(folder.path(), &wishes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_breaks_under_a_running_vault_gives_nothing_until_it_is_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let wishes = Wishes { workers: 4, cluster: None, ..crate::usual(&folder.path().join("world")) };
    damaged::under_way(&wishes).await;
}
