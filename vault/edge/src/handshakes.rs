//! Places for peers that are nobody yet. They are few, one source address takes only its share, and where all are
//! taken the oldest handshake of the busiest source gives way: whoever stalls loses, whoever goes on gets through.
//!
//! Nothing here knows a certificate; who has shown a good one leaves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The handshakes of one listener.
#[derive(Debug)]
pub(crate) struct Handshakes {
    most: usize,
    per_source: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    by_source: BTreeMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

impl Places {
    fn taken(&self) -> usize {
        self.by_source.values().map(BTreeMap::len).sum()
    }

    fn leave(&mut self, source: IpAddr, number: u64) -> Option<CancellationToken> {
        let of_source = self.by_source.get_mut(&source)?;
        let token = of_source.remove(&number);
        if of_source.is_empty() {
            self.by_source.remove(&source);
        }
        token
    }

    /// The oldest of the busiest source; of equally busy ones, that with the oldest.
    fn to_give_way(&self) -> Option<(IpAddr, u64)> {
        let oldest = self.by_source.iter().filter_map(|(source, of_source)| {
            of_source.first_key_value().map(|(number, _)| (of_source.len(), Reverse(*number), *source))
        });
        oldest.max().map(|(_, Reverse(number), source)| (source, number))
    }
}

impl Handshakes {
    pub(crate) fn new(most: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { most, per_source, places: Mutex::default() })
    }

    /// A place for a peer at `address`, or none where its source has its share. Another may be cut for it.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Handshake> {
        let source = source(address);
        let mut places = self.places();
        if places.by_source.get(&source).is_some_and(|of_source| of_source.len() >= self.per_source) {
            return None;
        }
        if places.taken() >= self.most {
            let (source, number) = places.to_give_way()?;
            if let Some(cut) = places.leave(source, number) {
                cut.cancel();
            }
        }
        let number = places.next;
        places.next = places.next.wrapping_add(1);
        let cut = CancellationToken::new();
        places.by_source.entry(source).or_default().insert(number, cut.clone());
        Some(Handshake { handshakes: Arc::clone(self), source, number, cut })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Each change is one insert or remove, which a panic elsewhere cannot leave half done.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One handshake's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    source: IpAddr,
    number: u64,
    cut: CancellationToken,
}

impl Handshake {
    /// Resolves when it has to give way.
    pub(crate) async fn gave_way(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.places().leave(self.source, self.number);
    }
}

/// What counts as one source: an address of version 4, the /64 of one of version 6, which one host may own whole.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn stands(handshake: &Handshake) -> bool {
        !handshake.cut.is_cancelled()
    }

    #[test]
    fn a_source_has_its_share_and_gets_places_back() {
        let handshakes = Handshakes::new(8, 2);
        let first = handshakes.enter(at("10.0.0.1")).expect("a place");
        let _second = handshakes.enter(at("::ffff:10.0.0.1")).expect("the same source in other writing");
        assert!(handshakes.enter(at("10.0.0.1")).is_none());
        assert!(handshakes.enter(at("10.0.0.2")).is_some());
        drop(first);
        assert!(handshakes.enter(at("10.0.0.1")).is_some());
    }

    #[test]
    fn one_network_of_version_6_is_one_source() {
        let handshakes = Handshakes::new(8, 1);
        let _held = handshakes.enter(at("2001:db8:1:2::1")).expect("a place");
        assert!(handshakes.enter(at("2001:db8:1:2:ffff::9")).is_none());
        assert!(handshakes.enter(at("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn the_oldest_of_the_busiest_gives_way() {
        let handshakes = Handshakes::new(4, 3);
        let honest = handshakes.enter(at("10.0.0.1")).expect("a place");
        let busy: Vec<_> = (0..3).map(|_| handshakes.enter(at("10.0.0.9")).expect("a place")).collect();
        let newcomer = handshakes.enter(at("10.0.0.2")).expect("a place that another gave");
        assert_eq!(busy.iter().map(stands).collect::<Vec<_>>(), [false, true, true]);
        assert!(stands(&honest) && stands(&newcomer));
        drop(busy);
        assert_eq!(handshakes.places().taken(), 2, "who gave way gives nothing back twice");
    }

    #[test]
    fn among_many_sources_of_one_each_the_oldest_gives_way() {
        let handshakes = Handshakes::new(3, 3);
        let held: Vec<_> = (1..=3).map(|n| handshakes.enter(at(&format!("10.0.0.{n}"))).expect("a place")).collect();
        let _newcomer = handshakes.enter(at("10.0.0.8")).expect("a place");
        assert_eq!(held.iter().map(stands).collect::<Vec<_>>(), [false, true, true]);
    }
}
