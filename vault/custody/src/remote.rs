//! What the drivers of key management services share: a service is asked within a time limit, a limited number of times,
//! by a limited number of callers at once, and what it gives back is put into locked memory. What a driver adds is one
//! service's way of saying things, behind the trait `Service`.
//!
//! A share travels to a service, and back, inside the one connection the driver opened: it is in the clear in this
//! process's buffers for as long as a call takes, and nowhere else. The driver makes, changes and deletes no key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cofre_envelope::{BoundShare, Slab, random};
use cofre_model::permit::{Permit, Warm};
use cofre_model::sealed::WrappedKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::custodian::{
    Custodian, CustodianId, Description, Mechanism, Pending, Signer, Unwrapped, VerifyingKey, Wrapped,
};
use crate::fault::{Cause, Fault, Operation};
use crate::recorded::{PROBE, Witness};
use crate::set::WrappedShare;

mod budget;
mod hold;
mod line;
pub(crate) mod point;
#[cfg(any(feature = "aws", feature = "gcp"))]
pub(crate) mod way;

use hold::Hold;
use line::Line;
#[cfg(any(feature = "aws", feature = "transit"))]
pub(crate) use line::named;
pub(crate) use line::{Answer, Trouble};

const OTHER: &[u8] = b"cofre/v1/custody-probe/other";
/// A bound share: 32 bytes of key, 32 of digest.
const SHARE: usize = 64;

/// How long a service is waited for, and by how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// One try, connecting included.
    pub attempt: Duration,
    /// All tries of one call, and the wait for a place, together.
    pub total: Duration,
    /// Calls that may be under way at once; more wait.
    pub at_once: usize,
}

impl Default for Patience {
    /// Two seconds, five seconds, 64 calls.
    fn default() -> Self {
        Self { attempt: Duration::from_secs(2), total: Duration::from_secs(5), at_once: 64 }
    }
}

/// What a service says of its wrapping key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) service: &'static str,
    pub(crate) kind: String,
    pub(crate) account: String,
    pub(crate) address: String,
    pub(crate) key: String,
    pub(crate) mechanism: Mechanism,
    /// What else the service says of the key, for the record of a ceremony.
    pub(crate) told: Vec<(&'static str, String)>,
}

/// What a service wrapped.
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    /// The key, or the version of it, that did.
    pub(crate) key: String,
}

/// One service's way of saying things. Every method is one try of one call; all can be repeated.
pub(crate) trait Service: Send + Sync + fmt::Debug + 'static {
    /// Asks for the wrapping key's state and kind, without using it.
    fn look(&self) -> impl Future<Output = Result<Answer<Facts>, Trouble>> + Send;

    /// Seals `plain` with `context` as associated data.
    fn seal(&self, context: &[u8], plain: &[u8]) -> impl Future<Output = Result<Answer<Sealed>, Trouble>> + Send;

    /// Opens what was sealed; [`Cause::Integrity`] where key, context or bytes are others.
    fn open(
        &self,
        context: &[u8],
        sealed: &[u8],
    ) -> impl Future<Output = Result<Answer<Zeroizing<Vec<u8>>>, Trouble>> + Send;

    /// Whether bytes can be what this service wrapped, by their form. What cannot is neither kept nor sent.
    fn fits(&self, sealed: &[u8]) -> bool;

    /// Whether a keyring row that names this key was wrapped under the key of this driver, in whatever version.
    fn wrapped_by(&self, key: &str) -> bool;

    /// Whether a signing key is configured.
    fn signs(&self) -> bool;

    /// The public half of the signing key.
    fn public_key(&self) -> impl Future<Output = Result<Answer<VerifyingKey>, Trouble>> + Send;

    /// Signs with it.
    fn sign(
        &self,
        key: &VerifyingKey,
        message: &[u8],
    ) -> impl Future<Output = Result<Answer<[u8; 64]>, Trouble>> + Send;
}

/// A service that was found to have the key, and to wrap and unwrap with it.
#[derive(Debug)]
pub struct Remote<S> {
    line: Line,
    service: S,
    facts: Facts,
    public: Option<VerifyingKey>,
    witness: Witness,
    hold: Hold,
    slab: Arc<Slab>,
}

#[expect(private_bounds, reason = "the services there are, are in this crate")]
impl<S: Service> Remote<S> {
    /// Looks at the keys, and proves that a throw-away value comes back under its context and under no other.
    pub(crate) async fn open(
        id: CustodianId,
        patience: Patience,
        service: S,
        slab: &Arc<Slab>,
    ) -> Result<Arc<Self>, Fault> {
        let line = Line::new(id, patience)?;
        let (facts, _) = line.ask(Operation::FindKey, || service.look()).await?;
        let public =
            if service.signs() { Some(line.ask(Operation::FindKey, || service.public_key()).await?.0) } else { None };
        let witness = probe(&line, &service).await?;
        let hold = Hold::default();
        Ok(Arc::new(Self { line, service, facts, public, witness, hold, slab: slab.clone() }))
    }

    /// What the key wrapped when it was opened, for the record of a ceremony.
    #[must_use]
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The signing key of this custodian.
    ///
    /// # Errors
    /// [`Cause::KeyMissing`] when the settings name none.
    pub fn signer(self: &Arc<Self>) -> Result<Arc<RemoteSigner<S>>, Fault> {
        match self.public {
            Some(public) => Ok(Arc::new(RemoteSigner { remote: self.clone(), public })),
            None => Err(self.line.fault(Operation::FindKey, Trouble::of(Cause::KeyMissing))),
        }
    }

    /// What the service said of the wrapping key when it was opened: names in the service's own words, and values.
    #[must_use]
    pub fn told(&self) -> Vec<(String, String)> {
        self.facts.told.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Takes no more calls. Calls under way are finished by whoever waits for them.
    pub fn close(&self) {
        self.line.close();
    }

    fn share(&self, opened: &[u8]) -> Result<BoundShare, Trouble> {
        BoundShare::fill(&self.slab, |slot| {
            if opened.len() != slot.len() {
                return Err(Trouble::of(Cause::Integrity));
            }
            slot.copy_from_slice(opened);
            Ok(())
        })
    }
}

/// Proves that a throw-away value comes back under its context and under no other.
async fn probe<S: Service>(line: &Line, service: &S) -> Result<Witness, Fault> {
    let fault = |cause| line.fault(Operation::Probe, Trouble::of(cause));
    let value = random::array::<SHARE>().map(Zeroizing::new).map_err(|_| fault(Cause::LockedMemory))?;
    let Sealed { bytes: wrapped, key } = line.ask(Operation::Probe, || service.seal(PROBE, &value[..])).await?.0;
    let opened = line.ask(Operation::Probe, || service.open(PROBE, &wrapped)).await?.0;
    let bound = match line.ask(Operation::Probe, || service.open(OTHER, &wrapped)).await {
        Ok(_) => false,
        Err(refused) if refused.cause == Cause::Integrity => true,
        Err(failed) => return Err(failed),
    };
    let sha256 = Sha256::digest(&value[..]).into();
    if opened.as_slice() == &value[..] && bound {
        Ok(Witness { wrapped, key, sha256 })
    } else {
        Err(fault(Cause::Unsupported))
    }
}

impl<S: Service> Custodian for Remote<S> {
    fn id(&self) -> &CustodianId {
        self.line.id()
    }

    fn describe(&self) -> Description {
        Description {
            custodian: self.line.id().clone(),
            manufacturer: self.facts.service.to_owned(),
            model: self.facts.kind.clone(),
            serial: self.facts.account.clone(),
            token_label: self.facts.address.clone(),
            key_label: self.facts.key.clone(),
            mechanism: self.facts.mechanism,
            sessions: self.line.at_once(),
            signer: self.public.as_ref().map(VerifyingKey::algorithm),
        }
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async {
            if self.hold.opens_next() {
                return self.still_recorded().await;
            }
            self.line.ask(Operation::Check, || self.service.look()).await?;
            self.hold.looked();
            Ok(())
        })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async move {
            self.before_a_wrap().await?;
            let plain = share.with_bytes(|bytes| Zeroizing::new(*bytes));
            drop(share);
            let asked = self.line.ask(Operation::Wrap, || self.service.seal(&context, &plain[..])).await;
            let (Sealed { bytes, key }, request) = asked?;
            if !self.service.fits(&bytes) {
                let strange = Trouble::of(Cause::EndpointWrong).said("no ciphertext of the form agreed on");
                return Err(self.line.fault(Operation::Wrap, strange.at(&request)));
            }
            let mechanism = self.facts.mechanism;
            Ok(Wrapped { bytes: WrappedKey::from_bytes(bytes), mechanism, custodian_key: key, request })
        })
    }

    fn unwrap<'a>(
        &'a self,
        _permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        Box::pin(async move {
            let fault = |trouble| self.line.fault(Operation::Unwrap, trouble);
            if !self.service.wrapped_by(&wrapped.custodian_key) {
                return Err(fault(Trouble::of(Cause::KeyMissing)));
            }
            // This key wraps in one form: a row that says another was changed.
            if wrapped.mechanism != self.facts.mechanism {
                return Err(fault(Trouble::of(Cause::Integrity)));
            }
            let bytes = wrapped.wrapped.as_bytes();
            // Nor is a row that was cut, or lengthened beyond measure, anything to ask a service about.
            if !self.service.fits(bytes) {
                return Err(fault(Trouble::of(Cause::Integrity).said("not of the form that this service wraps in")));
            }
            let (opened, request) = self.line.ask(Operation::Unwrap, || self.service.open(&context, bytes)).await?;
            let share = self.share(&opened).map_err(|trouble| fault(trouble.at(&request)))?;
            Ok(Unwrapped { share, request })
        })
    }
}

/// The signing key of a service.
#[derive(Debug)]
pub struct RemoteSigner<S> {
    remote: Arc<Remote<S>>,
    public: VerifyingKey,
}

impl<S: Service> Signer for RemoteSigner<S> {
    fn public_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        Box::pin(async {
            let Remote { line, service, .. } = &*self.remote;
            line.ask(Operation::Sign, || service.sign(&self.public, message)).await.map(|(signature, _)| signature)
        })
    }
}
