//! The demonstration's parts against one another, and the whole chain through its real processes.

#[cfg(test)]
mod at_rest;
#[cfg(test)]
mod book;
#[cfg(test)]
mod ceremony;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod custody_calls;
#[cfg(test)]
mod drills;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod rewrapped;
#[cfg(test)]
mod rotated;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod story;
#[cfg(test)]
mod tampered;
#[cfg(test)]
mod testbank;
#[cfg(test)]
mod unit;

/// The usual world in a folder, its stores on the engine of this run as `cofre_testkit::stores` reads it.
#[cfg(test)]
fn usual(folder: &std::path::Path) -> cofre_demo::world::Wishes {
    use cofre_testkit::postgres::Cluster;
    use cofre_testkit::stores::Engine;
    let cluster = match Engine::of_this_run().expect("an engine") {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Cluster::here().expect("a cluster")),
    };
    cofre_demo::world::Wishes { cluster, ..cofre_demo::world::Wishes::usual(folder).expect("hsm-sim is built") }
}
