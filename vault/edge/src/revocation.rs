//! Who is in good standing now: trust that can be exchanged while the node runs, and every live connection measured
//! against it. A certificate is checked once by a handshake; here it is checked again whenever trust changes, and
//! at each call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use cofre_model::caller::Caller;
use cofre_model::time::{Clock, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::{NamedGroup, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::departure::Departures;
use crate::load::Places;
use crate::peer::{self, PeerError};
use crate::tls::{Material, TlsError, Trust};

/// The other end of one verified connection.
#[derive(Debug)]
pub struct Peer {
    caller: Caller,
    address: SocketAddr,
    group: NamedGroup,
    chain: Vec<CertificateDer<'static>>,
    /// The earliest end of all certificates of the chain.
    not_after: Timestamp,
    cut: CancellationToken,
    places: Arc<Places>,
    departures: Departures,
}

impl Peer {
    /// The caller the certificate proves. Whether it is still in good standing, [`Standing::check`] says.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where it connected from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key exchange that was negotiated.
    #[must_use]
    pub fn group(&self) -> NamedGroup {
        self.group
    }

    /// The instant at which its chain ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A connection without a socket.
    #[cfg(test)]
    pub(crate) fn for_test(caller: Caller) -> Self {
        Self {
            caller,
            address: ([127, 0, 0, 1], 1).into(),
            group: NamedGroup::X25519MLKEM768,
            chain: Vec::new(),
            not_after: Timestamp::default(),
            cut: CancellationToken::new(),
            places: Arc::default(),
            departures: Departures::default(),
        }
    }

    /// The calls at work on this connection.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// The grants' answers that its transport has.
    pub(crate) fn departures(&self) -> &Departures {
        &self.departures
    }

    /// Resolves when the connection must be cut.
    pub(crate) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    /// Connections cut because their chain verifies no more.
    pub cut: usize,
    /// When the new revocation lists go stale. Renew, and alarm, well before: from then on nobody is let in.
    pub revocations_until: Timestamp,
}

/// Trust in use and the connections made under it. One for all listeners of a node.
#[derive(Debug)]
pub struct Standing {
    trust_domain: String,
    clock: Arc<dyn Clock>,
    trust: ArcSwap<Trust>,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    next: u64,
    peers: BTreeMap<u64, Arc<Peer>>,
}

impl Standing {
    /// Loads the material a node starts with.
    ///
    /// # Errors
    /// [`TlsError`] names the part that does not work.
    pub fn new(material: &Material<'_>, trust_domain: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let trust = Trust::load(material, trust_domain, &clock)?;
        Ok(Arc::new(Self {
            trust_domain: trust_domain.to_owned(),
            clock,
            trust: ArcSwap::from_pointee(trust),
            live: Mutex::default(),
        }))
    }

    /// Exchanges certificate, bundle and revocation lists, and cuts every connection that they refuse. Verifies each
    /// live chain (some 0.1 ms for each connection), so call it where blocking that long is fine.
    ///
    /// # Errors
    /// [`TlsError`] names the part that does not work; nothing was changed then.
    pub fn reload(&self, material: &Material<'_>) -> Result<Reloaded, TlsError> {
        Ok(self.exchange(Trust::load(material, &self.trust_domain, &self.clock)?))
    }

    /// Exchanges bundle and revocation lists as [`Standing::reload`] does, and keeps the certificate and key in use.
    ///
    /// # Errors
    /// [`TlsError`] names the part that does not work; nothing was changed then.
    pub fn reload_lists(&self, bundle: &[u8], revocations: &[u8]) -> Result<Reloaded, TlsError> {
        let in_use = self.trust.load_full();
        Ok(self.exchange(in_use.with_lists(bundle, revocations, &self.trust_domain, &self.clock)?))
    }

    fn exchange(&self, trust: Trust) -> Reloaded {
        let trust = Arc::new(trust);
        // INVARIANT: swapped before the list is taken, so that a handshake of the old trust either is in it already or
        // finds the new trust in `admit`, which looks under the lock.
        self.trust.store(Arc::clone(&trust));
        let now = self.clock.now();
        let mut cut = 0;
        // Verified outside the lock: nobody's admission waits for hundreds of chains.
        let peers: Vec<Arc<Peer>> = self.live().peers.values().map(Arc::clone).collect();
        for peer in peers {
            if trust.verify(&peer.chain, now).is_err() {
                peer.cut.cancel();
                cut += 1;
            }
        }
        Reloaded { cut, revocations_until: trust.revocations_until }
    }

    /// When the revocation lists in use go stale.
    #[must_use]
    pub fn revocations_until(&self) -> Timestamp {
        self.trust.load().revocations_until
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.live().peers.len()
    }

    /// The configuration of the next handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.trust.load().config)
    }

    /// How long a chain that ends at `not_after` has left.
    pub(crate) fn time_left(&self, not_after: Timestamp) -> std::time::Duration {
        not_after.since(self.clock.now()).to_std()
    }

    /// Takes a connection in whose handshake ended: makes its caller, and verifies it against the trust of now,
    /// which may not be that of the handshake. Its identity may have `most` connections.
    pub(crate) fn admit(
        self: &Arc<Self>,
        chain: Vec<CertificateDer<'static>>,
        address: SocketAddr,
        group: NamedGroup,
        most: usize,
    ) -> Result<Admission, PeerError> {
        let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
        let caller = peer::caller_from_certificate(leaf, &self.trust_domain)?;
        let mut not_after = peer::not_after(leaf)?;
        for each in &chain {
            not_after = not_after.min(peer::not_after(each)?);
        }
        let peer = Arc::new(Peer {
            caller,
            address,
            group,
            chain,
            not_after,
            cut: CancellationToken::new(),
            places: Arc::default(),
            departures: Departures::default(),
        });
        let mut live = self.live();
        self.trust.load().verify(&peer.chain, self.clock.now()).map_err(|_| PeerError::Untrusted)?;
        self.check(&peer)?;
        let identity = peer.caller.identity();
        let held = live.peers.values().filter(|other| other.caller.identity() == identity).count();
        if held >= most {
            return Err(PeerError::TooManyConnections);
        }
        let number = live.next;
        live.next = live.next.wrapping_add(1);
        live.peers.insert(number, Arc::clone(&peer));
        Ok(Admission { peer, number, standing: Arc::clone(self) })
    }

    /// Whether the peer is in good standing now; asked at each call.
    ///
    /// # Errors
    /// [`PeerError::Untrusted`], [`PeerError::Expired`] or [`PeerError::RevocationsStale`].
    pub fn check(&self, peer: &Peer) -> Result<(), PeerError> {
        let now = self.clock.now();
        if peer.cut.is_cancelled() {
            return Err(PeerError::Untrusted);
        }
        if now >= peer.not_after {
            return Err(PeerError::Expired);
        }
        if now >= self.trust.load().revocations_until {
            return Err(PeerError::RevocationsStale);
        }
        Ok(())
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // A panic elsewhere leaves the map whole: each change of it is one insert or remove.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the live connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) peer: Arc<Peer>,
    number: u64,
    standing: Arc<Standing>,
}

impl Admission {
    /// Whether the peer is in good standing now.
    pub(crate) fn check(&self) -> Result<(), PeerError> {
        self.standing.check(&self.peer)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.standing.live().peers.remove(&self.number);
    }
}
