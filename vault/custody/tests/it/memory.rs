//! A custodian in memory, with behaviour: it keeps what it wrapped, opens it for the same context only, can be away,
//! and can be held so that calls overlap.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cofre_custody::{
    Call, Cause, Custodian, CustodianId, Description, Fault, Journal, JournalError, Mechanism, Operation, Pending,
    RequestId, TenantRef, Unwrapped, WarmOutcome, Wrapped, WrappedShare, WrappedTenantKey,
};
use cofre_envelope::{BoundShare, Slab};
use cofre_model::id::TenantId;
use cofre_model::permit::{Evidence, Permit, Warm, WarmWarrant};
use cofre_model::sealed::WrappedKey;
use tokio::sync::Semaphore;

use crate::bench::{custodian, slab, warm_permit};

#[derive(Debug)]
pub(crate) struct Memory {
    id: CustodianId,
    slab: std::sync::Arc<Slab>,
    kept: Mutex<Vec<(Vec<u8>, [u8; 64])>>,
    pub(crate) away: AtomicBool,
    /// Opens whatever is named, as a mechanism without associated data would.
    pub(crate) careless: AtomicBool,
    pub(crate) unwraps: AtomicU64,
    /// Each unwrap takes one place and gives it back; a test takes all to hold them.
    pub(crate) places: Semaphore,
}

impl Memory {
    pub(crate) fn named(name: &str) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            id: custodian(name),
            slab: slab(),
            kept: Mutex::default(),
            away: AtomicBool::new(false),
            careless: AtomicBool::new(false),
            unwraps: AtomicU64::new(0),
            places: Semaphore::new(1000),
        })
    }

    pub(crate) fn unwraps(&self) -> u64 {
        self.unwraps.load(Ordering::SeqCst)
    }

    fn fault(&self, operation: Operation, cause: Cause) -> Fault {
        Fault { custodian: self.id.clone(), operation, cause, detail: None, request: None }
    }

    fn open(&self, context: &[u8], wrapped: &WrappedShare) -> Result<Unwrapped, Fault> {
        if self.away.load(Ordering::SeqCst) {
            return Err(self.fault(Operation::Unwrap, Cause::TokenAbsent));
        }
        let careless = self.careless.load(Ordering::SeqCst);
        let kept = self.kept.lock().expect("whole");
        let number: Option<usize> = std::str::from_utf8(wrapped.wrapped.as_bytes()).ok().and_then(|n| n.parse().ok());
        let found = number.and_then(|number| kept.get(number)).filter(|(own, _)| careless || own == context);
        let (_, bytes) = found.ok_or(self.fault(Operation::Unwrap, Cause::Integrity))?;
        let share = BoundShare::fill(&self.slab, |slot| {
            slot.copy_from_slice(bytes);
            Ok::<_, cofre_envelope::Error>(())
        });
        let share = share.map_err(|_| self.fault(Operation::Unwrap, Cause::LockedMemory))?;
        Ok(Unwrapped { share, request: RequestId::new(format!("{}/{}", self.id, self.unwraps())) })
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
            key_label: "test".into(),
            mechanism: Mechanism::AesGcm,
            sessions: 1,
            signer: None,
        }
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async { Ok(()) })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(self.fault(Operation::Wrap, Cause::TokenAbsent));
            }
            let mut kept = self.kept.lock().expect("whole");
            kept.push((context, share.with_bytes(|bytes| *bytes)));
            Ok(Wrapped {
                bytes: WrappedKey::from_bytes((kept.len() - 1).to_string().into_bytes()),
                mechanism: Mechanism::AesGcm,
                custodian_key: "test".into(),
                request: RequestId::new("wrap".into()),
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
            self.unwraps.fetch_add(1, Ordering::SeqCst);
            let _place = self.places.acquire().await.expect("never closed");
            self.open(&context, wrapped)
        })
    }
}

/// A register in memory.
#[derive(Debug, Default)]
pub(crate) struct Register {
    pub(crate) keys: Mutex<std::collections::HashMap<TenantId, WrappedTenantKey>>,
    pub(crate) entries: Mutex<Vec<WarmWarrant>>,
    pub(crate) outcomes: Mutex<Vec<WarmOutcome>>,
    pub(crate) refuses: AtomicBool,
    pub(crate) loses_outcomes: AtomicBool,
    /// Grants a permit for this tenant instead of the one asked for.
    pub(crate) confuses: Mutex<Option<TenantId>>,
}

impl Register {
    pub(crate) fn keep(&self, tenant: TenantId, wrapped: WrappedTenantKey) {
        self.keys.lock().expect("whole").insert(tenant, wrapped);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.outcomes.lock().expect("whole").iter().flat_map(|outcome| outcome.calls.clone()).collect()
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.lock().expect("whole").len()
    }
}

impl Journal for Register {
    fn warm<'a>(&'a self, tenant: &'a TenantRef) -> Pending<'a, (Permit<Warm>, WrappedTenantKey), JournalError> {
        Box::pin(async move {
            if self.refuses.load(Ordering::SeqCst) {
                return Err(JournalError::Refused(cofre_model::reason::Reason::Lockdown));
            }
            let kept = self.keys.lock().expect("whole").get(&tenant.tenant).cloned().ok_or(JournalError::NoSuchKey)?;
            let warrant = WarmWarrant {
                tenant: self.confuses.lock().expect("whole").unwrap_or(tenant.tenant),
                tenant_key_version: tenant.key_version,
                tenant_key_id: tenant.key_id,
            };
            self.entries.lock().expect("whole").push(warrant.clone());
            Ok((warm_permit(warrant), kept))
        })
    }

    fn warmed(&self, _entry: Evidence<WarmWarrant>, outcome: WarmOutcome) -> Pending<'_, (), JournalError> {
        Box::pin(async move {
            self.outcomes.lock().expect("whole").push(outcome);
            if self.loses_outcomes.load(Ordering::SeqCst) { Err(JournalError::Unavailable) } else { Ok(()) }
        })
    }
}
