//! Warm tenant keys: asked for once however many wait, each asking under its own Warm entry, kept in locked memory no
//! longer than the tenant allows. This room decides how long a key lives; what is opened with it is in [`crate::open`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofre_envelope::{DedupeKey, RowKeyPlace, RowMac, Slab, TenantKey};
use cofre_model::id::TenantId;
use cofre_model::time::{Clock, Monotonic, Span};
use tokio::sync::OnceCell;

use crate::custodian::Description;
use crate::error::{Broken, Error};
use crate::journal::{Failed, Journal, WarmOutcome};
use crate::open::{DepositKeys, FIRST, ReleaseKeys, RowKeys, WrapKey};
use crate::rewrap::RewrapKeys;
use crate::rotate::RotateKeys;
use crate::set::CarriedKeys;
use crate::shares::{Unwrapping, Wrapping};
use crate::tally::Usage;

/// How long a tenant key stays warm where the tenant does not say otherwise.
pub const WARM_FOR: Span = Span::secs(300);
/// A warm key that nobody uses for this long is wiped earlier.
pub const IDLE: Span = Span::secs(60);

/// Which tenant key: what the tenant's row in records says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRef {
    /// The tenant.
    pub tenant: TenantId,
    /// The region its key is bound to.
    pub region: Arc<str>,
    /// The version of the key.
    pub key_version: u32,
    /// The id the key must have.
    pub key_id: [u8; 16],
    /// How long it may stay warm; zero asks the custodian on every use.
    pub warm_for: Span,
}

impl TenantRef {
    /// A version of a tenant's key, warm for the default span.
    #[must_use]
    pub fn of(tenant: &cofre_model::registry::Tenant, key_version: u32) -> Self {
        Self {
            tenant: tenant.id,
            region: tenant.home_region.as_str().into(),
            key_version,
            key_id: tenant.tenant_key_id,
            warm_for: WARM_FOR,
        }
    }

    /// Where the keys of the tenant's rows are wrapped under this version.
    pub(crate) const fn row_keys(&self) -> RowKeyPlace {
        RowKeyPlace { tenant: self.tenant, tenant_key_id: self.key_id, tenant_key_version: self.key_version }
    }
}

/// What [`TenantKeys`] is built from.
#[derive(Debug)]
pub struct Wiring {
    /// Wraps new tenant keys.
    pub wrapping: Wrapping,
    /// Opens tenant keys.
    pub unwrapping: Unwrapping,
    /// Commits Warm entries.
    pub journal: Arc<dyn Journal>,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
    /// The process's locked memory.
    pub slab: Arc<Slab>,
}

/// What happened since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Custodian calls that asked for a share: all that follow a Warm entry, and of those that follow a Rewrap entry all
    /// that do not wrap.
    pub custodian_calls: u64,
    /// Those of them that failed.
    pub failed_calls: u64,
    /// Warm entries committed.
    pub warm_ups: u64,
    /// Tenant keys warm now.
    pub warm_now: u64,
    /// Warm keys wiped so far, for whatever reason.
    pub wiped: u64,
    /// Data keys opened, or made.
    pub data_keys: u64,
}

/// The tenant keys of a process. `server` builds one and hands out the narrow handles.
#[derive(Clone)]
pub struct TenantKeys {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) wiring: Wiring,
    tenants: Mutex<HashMap<TenantId, Tenant>>,
    calls: AtomicU64,
    failed: AtomicU64,
    pub(crate) warm_ups: AtomicU64,
    pub(crate) data_keys: AtomicU64,
    wiped: AtomicU64,
}

/// Everything kept of one tenant.
#[derive(Default)]
struct Tenant {
    /// One for each version in use: two while what lies under a key moves to the next.
    warm: Vec<WarmKey>,
    /// Of the two versions asked for last, the newer asking first.
    rows: Vec<Rows>,
    flights: Vec<Arc<Flight>>,
    /// Raised by every wipe: a key that was under way at that time is used by those who wait, but not kept.
    wipes: u64,
}

struct WarmKey {
    key: Arc<TenantKey>,
    id: [u8; 16],
    until: Monotonic,
    idle: Monotonic,
}

/// Keys that open nothing; they stay while the node serves the tenant.
#[derive(Clone)]
pub(crate) struct Rows {
    id: [u8; 16],
    pub(crate) integrity: Arc<RowMac>,
    pub(crate) dedupe: Arc<DedupeKey>,
}

/// One asking under way. Whoever comes first asks; if it is cancelled, the next one who waits takes over.
struct Flight {
    id: [u8; 16],
    answer: OnceCell<Result<(Arc<TenantKey>, Rows), Error>>,
}

/// Whether a key that arrives stays warm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// A permit was decided: keep it warm.
    Key,
    /// Only row keys are needed: derive them and let the tenant key go.
    Rows,
}

// === impl TenantKeys ===

impl TenantKeys {
    /// Starts cold.
    #[must_use]
    pub fn new(wiring: Wiring) -> Self {
        let inner = Inner {
            wiring,
            tenants: Mutex::default(),
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            warm_ups: AtomicU64::new(0),
            data_keys: AtomicU64::new(0),
            wiped: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// For `release`: row MACs, warming, opening a data key against a Release permit.
    #[must_use]
    pub fn for_release(&self) -> ReleaseKeys {
        ReleaseKeys(self.inner.clone())
    }

    /// For `deposit`: row MACs, duplicate tags, opening a deposit key against a Deposit permit.
    #[must_use]
    pub fn for_deposit(&self) -> DepositKeys {
        DepositKeys(self.inner.clone())
    }

    /// For `consent`, `privacy` and `admin`: row MACs and wrapping new keys.
    #[must_use]
    pub fn for_wrapping(&self) -> WrapKey {
        WrapKey(self.inner.clone())
    }

    /// For whoever only reads rows.
    #[must_use]
    pub fn for_rows(&self) -> RowKeys {
        RowKeys(self.inner.clone())
    }

    /// For jobs over keys: opening a tenant key against a Rewrap permit and wrapping it anew.
    #[must_use]
    pub fn for_rewrapping(&self) -> RewrapKeys {
        RewrapKeys(self.inner.clone())
    }

    /// Wipes every warm key past its time and answers how many. To be called each second: a key that nobody asks for
    /// any more would otherwise stay.
    pub fn sweep(&self) -> usize {
        let now = self.inner.now();
        self.inner.wipe_over(now)
    }

    /// Wipes one tenant's warm key: suspension, rotation. Operations that already hold it end with it.
    pub fn wipe(&self, tenant: &TenantId) -> bool {
        let mut tenants = self.inner.tenants();
        tenants.get_mut(tenant).is_some_and(|held| self.inner.wipe(held) > 0)
    }

    /// Wipes all warm keys and answers how many: lockdown, lost heartbeat.
    pub fn wipe_all(&self) -> usize {
        // Also where nothing is warm yet: a key under way must not stay when it arrives.
        self.inner.tenants().values_mut().map(|held| self.inner.wipe(held)).sum()
    }

    /// Drops everything of one tenant, its row keys too: the node stops serving it.
    pub fn forget(&self, tenant: &TenantId) {
        let mut tenants = self.inner.tenants();
        if let Some(held) = tenants.get_mut(tenant) {
            self.inner.wipe(held);
            held.rows.clear();
        }
    }

    /// Drops everything: shutdown.
    pub fn forget_all(&self) {
        let mut tenants = self.inner.tenants();
        for held in tenants.values_mut() {
            self.inner.wipe(held);
            held.rows.clear();
        }
    }

    /// Every custodian of this node as it stands now, and what was asked of it lately. Asks none.
    #[must_use]
    pub fn custodians(&self) -> Vec<(Description, Usage)> {
        self.inner.wiring.unwrapping.standing()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let warm_now: usize = self.inner.tenants().values().map(|held| held.warm.len()).sum();
        Counters {
            custodian_calls: self.inner.calls.load(Ordering::Relaxed),
            failed_calls: self.inner.failed.load(Ordering::Relaxed),
            warm_ups: self.inner.warm_ups.load(Ordering::Relaxed),
            warm_now: u64::try_from(warm_now).unwrap_or(u64::MAX),
            wiped: self.inner.wiped.load(Ordering::Relaxed),
            data_keys: self.inner.data_keys.load(Ordering::Relaxed),
        }
    }
}

impl TenantKeys {
    /// For jobs over keys: making the next version of a tenant key, and moving what lies under the ones before it.
    #[must_use]
    pub fn for_rotating(&self) -> RotateKeys {
        RotateKeys(self.inner.clone())
    }
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKeys").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

// === impl WarmKey ===

impl WarmKey {
    fn over(&self, now: Monotonic) -> bool {
        self.until <= now || self.idle <= now
    }
}

// === impl Inner ===

impl Inner {
    fn now(&self) -> Monotonic {
        self.wiring.clock.monotonic()
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
        // Every change under this lock is a single assignment: what a panic leaves is whole.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wipe(&self, held: &mut Tenant) -> usize {
        held.wipes += 1;
        // SECURITY: whoever asks from now on asks anew, under a Warm entry of its own. Boarding what is under way would
        // keep a key that was wiped before it arrived.
        held.flights.clear();
        self.wiped(held.warm.drain(..).count())
    }

    fn wipe_over(&self, now: Monotonic) -> usize {
        let mut tenants = self.tenants();
        tenants.values_mut().map(|held| self.wiped(held.warm.extract_if(.., |warm| warm.over(now)).count())).sum()
    }

    fn wiped(&self, keys: usize) -> usize {
        self.wiped.fetch_add(u64::try_from(keys).unwrap_or(u64::MAX), Ordering::Relaxed);
        keys
    }

    /// The tenant key, for the one operation that asks.
    pub(crate) async fn key(&self, tenant: &TenantRef) -> Result<Arc<TenantKey>, Error> {
        if let Some(key) = self.warm_key(tenant) {
            return Ok(key);
        }
        // One call for one use, however many ask at once: the custodian's own log is held against the ledger.
        if tenant.warm_for == Span::default() {
            return self.ask(tenant).await.map(|(key, _)| key);
        }
        self.fly(tenant, Want::Key).await.map(|(key, _)| key)
    }

    /// The row keys; the tenant key is asked for only where they are not there yet, and is not kept.
    pub(crate) async fn rows(&self, tenant: &TenantRef) -> Result<Rows, Error> {
        let of_key = |held: &Tenant| held.rows.iter().find(|rows| rows.id == tenant.key_id).cloned();
        let there = self.tenants().get(&tenant.tenant).and_then(of_key);
        match there {
            Some(rows) => Ok(rows),
            None => self.fly(tenant, Want::Rows).await.map(|(_, rows)| rows),
        }
    }

    fn warm_key(&self, tenant: &TenantRef) -> Option<Arc<TenantKey>> {
        let now = self.now();
        let mut tenants = self.tenants();
        let held = tenants.get_mut(&tenant.tenant)?;
        self.wiped(held.warm.extract_if(.., |warm| warm.over(now)).count());
        let warm = held.warm.iter_mut().find(|warm| warm.id == tenant.key_id)?;
        warm.idle = now.plus(IDLE);
        Some(warm.key.clone())
    }

    async fn fly(&self, tenant: &TenantRef, want: Want) -> Result<(Arc<TenantKey>, Rows), Error> {
        let (flight, wipes) = self.board(tenant);
        let answer = flight.answer.get_or_init(|| self.ask(tenant)).await.clone();
        self.land(tenant, &flight, (want, wipes), answer.as_ref().ok());
        answer
    }

    /// Joins the asking under way, or opens one.
    fn board(&self, tenant: &TenantRef) -> (Arc<Flight>, u64) {
        let mut tenants = self.tenants();
        let held = tenants.entry(tenant.tenant).or_default();
        let flight = match held.flights.iter().find(|flight| flight.id == tenant.key_id) {
            Some(flight) => flight.clone(),
            None => {
                let flight = Arc::new(Flight { id: tenant.key_id, answer: OnceCell::new() });
                held.flights.push(flight.clone());
                flight
            }
        };
        (flight, held.wipes)
    }

    /// Keeps what may be kept. Everybody who waited comes here; the first does the work.
    fn land(
        &self,
        tenant: &TenantRef,
        flight: &Arc<Flight>,
        (want, wipes): (Want, u64),
        answer: Option<&(Arc<TenantKey>, Rows)>,
    ) {
        let now = self.now();
        let mut tenants = self.tenants();
        let held = tenants.entry(tenant.tenant).or_default();
        held.flights.retain(|own| !Arc::ptr_eq(own, flight));
        let Some((key, rows)) = answer else { return };
        if held.wipes != wipes {
            return;
        }
        if held.rows.iter().all(|own| own.id != rows.id) {
            // Two versions are in use at once, and no more: what is older gives its locked memory back.
            held.rows.truncate(1);
            held.rows.insert(0, rows.clone());
        }
        let warm = held.warm.iter().any(|warm| warm.id == tenant.key_id);
        if want == Want::Key && !warm && tenant.warm_for > Span::default() {
            let (until, idle) = (now.plus(tenant.warm_for), now.plus(IDLE));
            held.warm.push(WarmKey { key: key.clone(), id: tenant.key_id, until, idle });
        }
    }

    /// Asks the custodians, under a Warm entry, and records what came of it.
    async fn ask(&self, tenant: &TenantRef) -> Result<(Arc<TenantKey>, Rows), Error> {
        let Wiring { journal, unwrapping, clock, .. } = &self.wiring;
        let (permit, wrapped) = journal.warm(tenant).await?;
        self.warm_ups.fetch_add(1, Ordering::Relaxed);
        let entry = permit.entry().clone();
        let (key, calls) = unwrapping.unwrap(permit, tenant, &wrapped, clock.as_ref()).await;
        self.tally(&calls);
        let answer = key.and_then(|key| {
            let (integrity, dedupe) = row_keys(tenant, &key, wrapped.carried.as_ref())?;
            let rows = Rows { id: tenant.key_id, integrity: Arc::new(integrity), dedupe: Arc::new(dedupe) };
            Ok((Arc::new(key), rows))
        });
        let result = answer.as_ref().map(|_| ()).map_err(Failed::from);
        // A call that is not on record serves nobody; what failed before it matters more than the record of it.
        match journal.warmed(entry, WarmOutcome { calls, result }).await {
            Err(cause) if answer.is_ok() => Err(cause.into()),
            _ => answer,
        }
    }

    pub(crate) fn tally(&self, calls: &[crate::journal::Call]) {
        for call in calls {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.failed.fetch_add(u64::from(call.result.is_err()), Ordering::Relaxed);
        }
    }
}

/// The keys of a tenant's rows: derived from its first key, carried under every later one, so that a new key needs no
/// row to be tagged anew.
///
/// SECURITY: a later key whose carried ones are missing gives none. What would be derived from it instead makes every
/// row of the tenant look forged, and makes new rows that no other node takes for genuine.
pub(crate) fn row_keys(
    tenant: &TenantRef,
    key: &TenantKey,
    carried: Option<&CarriedKeys>,
) -> Result<(RowMac, DedupeKey), Error> {
    match (tenant.key_version, carried) {
        (FIRST, None) => Ok((key.integrity()?, key.dedupe()?)),
        (FIRST, Some(_)) | (_, None) => Err(Error::Integrity(Broken::RowKeys)),
        (_, Some(CarriedKeys { integrity, dedupe })) => {
            key.unwrap_row_keys((integrity, dedupe), tenant.row_keys()).map_err(Error::opening(Broken::RowKeys))
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKeys").finish_non_exhaustive()
    }
}
