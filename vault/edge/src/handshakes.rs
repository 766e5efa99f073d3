//! Places for peers that are nobody yet. They are few and one source takes only its share. Where its share is taken its
//! own oldest handshake gives way, and where all are taken that of the busiest: whoever stalls loses, whoever goes on
//! gets through, also from behind the same address.
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

    /// The oldest of the busiest network in the busiest site, or in `site`; of equally busy ones, that with the oldest.
    fn to_give_way(&self, site: Option<IpAddr>) -> Option<(IpAddr, u64)> {
        let mut of_site: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (source, of_source) in &self.by_source {
            *of_site.entry(site_of(*source)).or_default() += of_source.len();
        }
        let sources = self.by_source.iter().filter(|(source, _)| site.is_none_or(|site| site_of(**source) == site));
        let oldest = sources.filter_map(|(source, of_source)| {
            let busy = of_site.get(&site_of(*source)).copied().unwrap_or_default();
            of_source.first_key_value().map(|(number, _)| (busy, of_source.len(), Reverse(*number), *source))
        });
        oldest.max().map(|(_, _, Reverse(number), source)| (source, number))
    }

    fn of_site(&self, site: IpAddr) -> usize {
        self.by_source.iter().filter(|(source, _)| site_of(**source) == site).map(|(_, each)| each.len()).sum()
    }
}

impl Handshakes {
    pub(crate) fn new(most: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { most, per_source, places: Mutex::default() })
    }

    /// A place for a peer at `address`, for which another may be cut; none only where there are no places.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Handshake> {
        let source = source(address);
        let site = site_of(source);
        let mut places = self.places();
        let of_site = (places.of_site(site) >= self.per_source).then_some(site);
        if of_site.is_some() || places.taken() >= self.most {
            let (source, number) = places.to_give_way(of_site)?;
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

/// What shares one share: an address of version 4, the /48 of one of version 6, which one customer may own whole.
fn site_of(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 80 << 80)),
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
        let second = handshakes.enter(at("::ffff:10.0.0.1")).expect("the same source in other writing");
        let other = handshakes.enter(at("10.0.0.2")).expect("a place");
        let third = handshakes.enter(at("10.0.0.1")).expect("the place of its own oldest");
        assert_eq!([&first, &second, &other, &third].map(stands), [false, true, true, true]);
        drop(first);
        drop(second);
        let fourth = handshakes.enter(at("10.0.0.1")).expect("a place that was given back");
        assert!(stands(&third) && stands(&fourth));
    }

    #[test]
    fn one_site_of_version_6_has_one_share_and_its_busiest_network_gives_way() {
        let handshakes = Handshakes::new(8, 3);
        let enter = |address| handshakes.enter(at(address)).expect("a place");
        let single = enter("2001:db8:1:3::1");
        let twice = [enter("2001:db8:1:2::1"), enter("2001:db8:1:2:ffff::9")];
        let other = enter("2001:db8:2:2::1");
        // The site has its share: the busiest of its networks gives way, not the oldest of all.
        let newcomer = enter("2001:db8:1:4::1");
        assert_eq!([&single, &twice[0], &twice[1], &other, &newcomer].map(stands), [true, false, true, true, true]);
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
