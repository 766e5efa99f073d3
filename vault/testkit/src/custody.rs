//! A custodian and a signer in memory, with behaviour instead of hardware: what one wrapped opens for the same context
//! only, both can be taken away and brought back, and calls can be held so that they overlap. For tests of whatever
//! stands over custody; a driver is tested on tokens ([`crate::hsm`]), never on these.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cofre_custody::{
    Cause, Custodian, CustodianId, Description, Fault, Journal, JournalError, Mechanism, Operation, Pending, RequestId,
    Signer, TenantRef, Unwrapped, VerifyingKey, WarmOutcome, Wrapped, WrappedShare, WrappedTenantKey,
};
use cofre_envelope::{BoundShare, Slab};
use cofre_model::permit::{Evidence, Permit, Warm, WarmWarrant};
use cofre_model::sealed::WrappedKey;
use ed25519_dalek::{Signer as _, SigningKey};
use tokio::sync::Semaphore;

/// The label that wrapped rows name as the custodian's key, until it wraps by another.
const KEY: &str = "test";

/// Whether something is there, and how often it was asked in vain.
#[derive(Debug, Default)]
struct Presence {
    away: AtomicBool,
    refused: AtomicU64,
}

impl Presence {
    fn asked(&self, custodian: &CustodianId, operation: Operation) -> Result<(), Fault> {
        if !self.away.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(fault(custodian, operation, Cause::TokenAbsent))
    }
}

fn fault(custodian: &CustodianId, operation: Operation, cause: Cause) -> Fault {
    Fault { custodian: custodian.clone(), operation, cause, detail: None, request: None }
}

/// A custodian that remembers what it wrapped.
#[derive(Debug)]
pub struct Memory {
    id: CustodianId,
    slab: Arc<Slab>,
    kept: Mutex<Vec<(Vec<u8>, [u8; 64])>>,
    key: Mutex<String>,
    presence: Presence,
    careless: AtomicBool,
    forgetful: AtomicBool,
    unwraps: AtomicU64,
    places: Semaphore,
}

impl Memory {
    /// As many unwraps as may be under way at once, until a test holds some.
    pub const PLACES: u32 = 1000;

    /// An empty one that is there.
    #[must_use]
    pub fn new(id: CustodianId, slab: Arc<Slab>) -> Arc<Self> {
        Arc::new(Self {
            id,
            slab,
            kept: Mutex::default(),
            key: Mutex::new(KEY.to_owned()),
            presence: Presence::default(),
            careless: AtomicBool::new(false),
            forgetful: AtomicBool::new(false),
            unwraps: AtomicU64::new(0),
            places: Semaphore::new(Self::PLACES as usize),
        })
    }

    /// From now on nothing is served.
    pub fn take_away(&self) {
        self.presence.away.store(true, Ordering::SeqCst);
    }

    /// From now on everything is served again.
    pub fn bring_back(&self) {
        self.presence.away.store(false, Ordering::SeqCst);
    }

    /// From now on it wraps by a newer key. What older ones wrapped still opens.
    pub fn turn_to(&self, key: &str) {
        key.clone_into(&mut self.key.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn key(&self) -> String {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on whatever is named is opened, as by a mechanism without associated data.
    pub fn forget_contexts(&self) {
        self.careless.store(true, Ordering::SeqCst);
    }

    /// From now on what it wraps opens for nobody.
    pub fn lose_what_is_wrapped(&self) {
        self.forgetful.store(true, Ordering::SeqCst);
    }

    /// How many shares it wrapped.
    #[must_use]
    pub fn wraps(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How often it was asked to unwrap, in vain or not.
    #[must_use]
    pub fn unwraps(&self) -> u64 {
        self.unwraps.load(Ordering::SeqCst)
    }

    /// Each unwrap takes one of these places and gives it back; who takes all [`Memory::PLACES`] holds them up.
    #[must_use]
    pub const fn places(&self) -> &Semaphore {
        &self.places
    }

    fn open(&self, context: &[u8], wrapped: &WrappedShare) -> Result<BoundShare, Fault> {
        let careless = self.careless.load(Ordering::SeqCst);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let number: Option<usize> = std::str::from_utf8(wrapped.wrapped.as_bytes()).ok().and_then(|n| n.parse().ok());
        let found = number.and_then(|number| kept.get(number)).filter(|(own, _)| careless || own == context);
        let (_, bytes) = found.ok_or_else(|| fault(&self.id, Operation::Unwrap, Cause::Integrity))?;
        let share = BoundShare::fill(&self.slab, |slot| {
            slot.copy_from_slice(bytes);
            Ok::<_, cofre_envelope::Error>(())
        });
        share.map_err(|_| fault(&self.id, Operation::Unwrap, Cause::LockedMemory))
    }
}

impl Custodian for Memory {
    fn id(&self) -> &CustodianId {
        &self.id
    }

    fn describe(&self) -> Description {
        Description {
            custodian: self.id.clone(),
            manufacturer: "memory".into(),
            model: "test".into(),
            serial: "1".into(),
            token_label: "test".into(),
            key_label: self.key(),
            mechanism: Mechanism::AesGcm,
            sessions: 1,
            signer: None,
        }
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async { self.presence.asked(&self.id, Operation::Check) })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async move {
            self.presence.asked(&self.id, Operation::Wrap)?;
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let number = kept.len();
            let context = if self.forgetful.load(Ordering::SeqCst) { Vec::new() } else { context };
            kept.push((context, share.with_bytes(|bytes| *bytes)));
            Ok(Wrapped {
                bytes: WrappedKey::from_bytes(number.to_string().into_bytes()),
                mechanism: Mechanism::AesGcm,
                custodian_key: self.key(),
                request: RequestId::new(format!("{}/wrap/{number}", self.id)),
            })
        })
    }

    fn unwrap<'a>(
        &'a self,
        _permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        Box::pin(async move {
            let number = self.unwraps.fetch_add(1, Ordering::SeqCst);
            let _place = self.places.acquire().await;
            self.presence.asked(&self.id, Operation::Unwrap)?;
            let share = self.open(&context, wrapped)?;
            Ok(Unwrapped { share, request: RequestId::new(format!("{}/unwrap/{number}", self.id)) })
        })
    }
}

/// A token that signs with Ed25519.
#[derive(Debug)]
pub struct Signs {
    id: CustodianId,
    key: SigningKey,
    public: VerifyingKey,
    presence: Presence,
}

impl Signs {
    /// With the key of this seed; it is there.
    #[must_use]
    pub fn new(id: CustodianId, seed: &[u8; 32]) -> Arc<Self> {
        let key = SigningKey::from_bytes(seed);
        let public = VerifyingKey::Ed25519(key.verifying_key().to_bytes());
        Arc::new(Self { id, key, public, presence: Presence::default() })
    }

    /// From now on nothing is signed.
    pub fn take_away(&self) {
        self.presence.away.store(true, Ordering::SeqCst);
    }

    /// From now on everything is signed again.
    pub fn bring_back(&self) {
        self.presence.away.store(false, Ordering::SeqCst);
    }

    /// How often it was asked in vain.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.presence.refused.load(Ordering::SeqCst)
    }
}

impl Signer for Signs {
    fn public_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        Box::pin(async move {
            self.presence.asked(&self.id, Operation::Sign)?;
            Ok(self.key.sign(message).to_bytes())
        })
    }
}

/// A register that knows no tenant key: none is ever warmed.
#[derive(Debug)]
pub struct NoKeys;

impl Journal for NoKeys {
    fn warm<'a>(&'a self, _: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(async { Err(JournalError::NoSuchKey) })
    }

    fn warmed(&self, _: Evidence<WarmWarrant>, _: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(async { Err(JournalError::Unavailable) })
    }
}
