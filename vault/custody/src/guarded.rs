//! A custodian behind a breaker, whatever drives it: calls reach it while it serves, and are refused at once while it is
//! left alone. It is asked whether it serves only where calls have not told. It adds nothing to an answer and takes
//! nothing away.

use std::fmt;
use std::sync::Arc;

use cofre_envelope::BoundShare;
use cofre_model::permit::{Permit, Warm};
use cofre_model::time::Clock;

use crate::breaker::Breaker;
use crate::custodian::{Custodian, CustodianId, Description, Pending, Signer, Unwrapped, VerifyingKey, Wrapped};
use crate::fault::{Fault, Operation};
use crate::set::WrappedShare;
use crate::tally::Usage;

/// An open custodian, spared while it is in trouble.
#[derive(Clone)]
pub struct Guarded {
    inner: Arc<dyn Custodian>,
    breaker: Arc<Breaker>,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Guarded {
    /// Of a custodian that was just opened, and so was seen to serve; else say so by [`Guarded::doubt`].
    #[must_use]
    pub fn new(inner: Arc<dyn Custodian>, clock: Arc<dyn Clock>) -> Self {
        let breaker = Arc::new(Breaker::new(inner.id().clone(), clock));
        Self { inner, breaker }
    }

    /// The custodian's signer behind a breaker of its own: services count signing apart, and checkpoints that are refused
    /// must not hold up releases.
    #[must_use]
    pub fn signer(&self, inner: Arc<dyn Signer>) -> Arc<dyn Signer> {
        Arc::new(GuardedSigner { inner, breaker: self.breaker.another() })
    }

    /// What it served before tells nothing: it was closed, or is not open yet.
    pub fn doubt(&self) {
        self.breaker.forget();
    }
}

impl Custodian for Guarded {
    fn id(&self) -> &CustodianId {
        self.inner.id()
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }

    fn usage(&self) -> Usage {
        self.breaker.usage()
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async {
            if self.breaker.fresh() {
                return Ok(());
            }
            self.breaker.begin_check()?;
            let (inner, breaker) = (self.inner.clone(), self.breaker.clone());
            // In a task of its own: whoever waits a second only does not keep a slow answer from being heard.
            let asked = tokio::spawn(async move {
                let found = inner.check().await;
                breaker.end_check(&found);
                found
            });
            asked.await.unwrap_or_else(|_| Err(self.breaker.stopped()))
        })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async move {
            let leave = self.breaker.leave(Operation::Wrap)?;
            leave.end(self.inner.wrap(context, share).await)
        })
    }

    fn unwrap<'a>(
        &'a self,
        permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        Box::pin(async move {
            let leave = self.breaker.leave(Operation::Unwrap)?;
            leave.end(self.inner.unwrap(permit, context, wrapped).await)
        })
    }
}

#[derive(Debug)]
struct GuardedSigner {
    inner: Arc<dyn Signer>,
    breaker: Breaker,
}

impl Signer for GuardedSigner {
    fn public_key(&self) -> &VerifyingKey {
        self.inner.public_key()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        Box::pin(async move {
            let leave = self.breaker.leave(Operation::Sign)?;
            leave.end(self.inner.sign(message).await)
        })
    }
}
