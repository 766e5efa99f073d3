//! A key of a service that was away when the node started: opened, with every check of a start, once it is there. Until
//! then it serves nothing. Tokens are not opened late: their PIN is tried once, at a start.
//!
//! A node starts where `custody.default` is served without it: what tenants of their own sets lack meanwhile costs them
//! alone. How many those are is read from the keyring and said.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError};

use cofre_custody::recorded::Recorded;
use cofre_custody::{
    Cause, Custodian, CustodianId, CustodySet, Description, Fault, Mechanism, Operation, Pending, Unwrapped, Wrapped,
    WrappedShare,
};
use cofre_envelope::{BoundShare, Slab};
use cofre_model::permit::{Permit, Warm};
use cofre_model::time::{Clock, Monotonic, Span};
use cofre_store::Keyring;

use super::services::{self, Service};
use crate::config::Configured;

#[cfg(all(test, feature = "transit"))]
mod tests;

/// After a try that failed nobody tries again for so long; shorter than the rests of a custodian in trouble.
const AGAIN: Span = Span::secs(2);

/// Whether the node may start without a custodian that said this: it is away, and will not refuse when it is back.
pub(super) fn may_come_later(error: &anyhow::Error) -> bool {
    let fault = error.downcast_ref::<Fault>();
    fault.is_some_and(|fault| matches!(fault.cause, Cause::Transient | Cause::Timeout | Cause::Throttled))
}

/// Of how many tenant keys, by the sets that the keyring has, none opens until custodians that are away are back.
///
/// # Errors
/// The keyring's.
pub(super) async fn waiting(
    keyring: &Keyring,
    there: impl Fn(&CustodianId) -> bool,
) -> Result<u64, cofre_store::Error> {
    let sets = keyring.custody_sets().await?;
    // What is no set any more opens with nobody; the first use of that key says so.
    let waits = |text: &str| text.parse::<CustodySet>().is_ok_and(|set| !set.opens_with(&there));
    Ok(sets.into_iter().filter(|(text, _)| waits(text)).map(|(_, keys)| keys).sum())
}

/// The custodian that is to come.
pub(crate) struct Late {
    id: CustodianId,
    configured: Configured,
    /// What its ceremony recorded of it, where it had one.
    recorded: Option<Recorded>,
    clock: Arc<dyn Clock>,
    slab: Arc<Slab>,
    opened: OnceLock<Service>,
    /// When the last try failed, and how. Held while one is under way.
    failed: Arc<tokio::sync::Mutex<Option<(Monotonic, Fault)>>>,
    closed: std::sync::Mutex<bool>,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late")
            .field("id", &self.id)
            .field("opened", &self.opened.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Late {
    pub(super) fn new(
        id: CustodianId,
        configured: Configured,
        recorded: Option<Recorded>,
        (clock, slab): (Arc<dyn Clock>, Arc<Slab>),
    ) -> Arc<Self> {
        let (failed, closed) = (Arc::default(), std::sync::Mutex::new(false));
        Arc::new(Self { id, configured, recorded, clock, slab, opened: OnceLock::new(), failed, closed })
    }

    pub(super) fn fault(&self, operation: Operation, cause: Cause) -> Fault {
        Fault { custodian: self.id.clone(), operation, cause, detail: None, request: None }
    }

    /// The open custodian. One caller at a time tries to open it, and is not waited for: others have other custodians.
    async fn custodian(self: Arc<Self>, operation: Operation) -> Result<Arc<dyn Custodian>, Fault> {
        if let Some(service) = self.opened.get() {
            return Ok(service.custodian());
        }
        let Ok(failed) = Arc::clone(&self.failed).try_lock_owned() else {
            return Err(self.fault(operation, Cause::Busy));
        };
        let ended = self.fault(operation, Cause::Stopped);
        // In a task of its own: whoever does not wait for the end does not keep it from being opened.
        tokio::spawn(async move { self.open(failed).await }).await.map_err(|_| ended)?
    }

    async fn open(
        &self,
        mut failed: tokio::sync::OwnedMutexGuard<Option<(Monotonic, Fault)>>,
    ) -> Result<Arc<dyn Custodian>, Fault> {
        if let Some(service) = self.opened.get() {
            return Ok(service.custodian());
        }
        if let Some((at, fault)) = &*failed
            && self.clock.monotonic() < at.plus(AGAIN)
        {
            // Nobody was asked: this is no call of the service's, and no news of it.
            return Err(Fault { cause: Cause::Resting, request: None, ..fault.clone() });
        }
        let rooms = (&self.clock, &self.slab);
        match services::open_recorded(&self.id, &self.configured, self.recorded.as_ref(), rooms).await {
            Ok(service) => self.keep(service),
            Err(error) => {
                let fault = error.downcast().unwrap_or_else(|_| self.fault(Operation::Connect, Cause::EndpointWrong));
                *failed = Some((self.clock.monotonic(), fault.clone()));
                Err(fault)
            }
        }
    }

    fn keep(&self, service: Service) -> Result<Arc<dyn Custodian>, Fault> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            service.close();
            return Err(self.fault(Operation::Connect, Cause::Stopped));
        }
        tracing::info!(custodian = %self.id, "a custodian that was away is open now");
        Ok(self.opened.get_or_init(|| service).custodian())
    }

    /// Takes no more calls, also where it is opened at this moment.
    pub(super) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        if let Some(service) = self.opened.get() {
            service.close();
        }
    }
}

/// The custodian that calls go to.
#[derive(Debug, Clone)]
pub(super) struct Opening(pub(super) Arc<Late>);

impl Custodian for Opening {
    fn id(&self) -> &CustodianId {
        &self.0.id
    }

    /// Until it is open, what the configuration says of it.
    fn describe(&self) -> Description {
        if let Some(service) = self.0.opened.get() {
            return service.custodian().describe();
        }
        let (mechanism, key, address) = match &self.0.configured {
            Configured::AwsKms(of) => (Mechanism::AwsKms, &*of.key, &*of.endpoint),
            Configured::GcpKms(of) => (Mechanism::GcpKms, &*of.key, &*of.endpoint),
            Configured::Transit(of) => (Mechanism::TransitAead, &*of.key, &*of.address),
            Configured::Pkcs11(of) => (Mechanism::AesGcm, &*of.key_label, ""),
        };
        let away = || "away since the start".to_owned();
        Description {
            custodian: self.0.id.clone(),
            manufacturer: away(),
            model: away(),
            serial: away(),
            token_label: address.to_owned(),
            key_label: key.to_owned(),
            mechanism,
            sessions: 0,
            signer: None,
        }
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async { Arc::clone(&self.0).custodian(Operation::Check).await?.check().await })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async move { Arc::clone(&self.0).custodian(Operation::Wrap).await?.wrap(context, share).await })
    }

    fn unwrap<'a>(
        &'a self,
        permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        Box::pin(async move {
            Arc::clone(&self.0).custodian(Operation::Unwrap).await?.unwrap(permit, context, wrapped).await
        })
    }
}
