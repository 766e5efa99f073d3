//! Wrapping and unwrapping tenant keys by custody set. Two handles: who holds [`Wrapping`] can make wrapped keys and
//! open none; [`Unwrapping`] eats the permit of a committed Warm entry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cofre_envelope::context::WrapTenant;
use cofre_envelope::{Share, TenantKey};
use cofre_model::id::TenantId;
use cofre_model::permit::{Permit, Warm};
use cofre_model::time::Clock;

use crate::custodian::{Custodian, CustodianId, Description, RequestId};
use crate::error::{Broken, Error};
use crate::fault::{Cause, Fault};
use crate::journal::Call;
use crate::set::{CustodySet, Rule, SetError, WrappedShare, WrappedTenantKey};
use crate::warm::TenantRef;

type Drivers = Arc<BTreeMap<CustodianId, Arc<dyn Custodian>>>;

/// All configured custodians, before they are handed out by power.
#[derive(Debug)]
pub struct Custodians(Drivers);

impl Custodians {
    /// Takes the opened drivers.
    ///
    /// # Errors
    /// [`SetError::Twice`] when two carry one name, [`SetError::Empty`] for none.
    pub fn new(drivers: impl IntoIterator<Item = Arc<dyn Custodian>>) -> Result<Self, SetError> {
        let mut all = BTreeMap::new();
        for driver in drivers {
            let id = driver.id().clone();
            if all.insert(id.clone(), driver).is_some() {
                return Err(SetError::Twice(id));
            }
        }
        if all.is_empty() { Err(SetError::Empty) } else { Ok(Self(Arc::new(all))) }
    }

    /// What each is, for start-up messages.
    #[must_use]
    pub fn describe(&self) -> Vec<Description> {
        self.0.values().map(|driver| driver.describe()).collect()
    }

    /// The two powers, apart.
    #[must_use]
    pub fn split(self) -> (Wrapping, Unwrapping) {
        (Wrapping(self.0.clone()), Unwrapping(self.0))
    }
}

fn driver<'a>(drivers: &'a Drivers, id: &CustodianId) -> Result<&'a Arc<dyn Custodian>, Error> {
    drivers.get(id).ok_or_else(|| Error::UnknownCustodian(id.clone()))
}

/// Which tenant key, for the context of its shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Which<'a> {
    pub(crate) region: &'a str,
    pub(crate) tenant: TenantId,
    pub(crate) version: u32,
}

impl<'a> Which<'a> {
    fn context(self, set: &CustodySet, custodian: &'a CustodianId, share_index: u16) -> WrapTenant<'a> {
        WrapTenant {
            region: self.region,
            tenant: self.tenant,
            tenant_key_version: self.version,
            custody_set: set.digest(),
            custodian: custodian.as_str(),
            share_index,
            share_count: set.share_count(),
        }
    }
}

/// Can wrap tenant keys. It has no way to open one.
#[derive(Clone)]
pub struct Wrapping(Drivers);

impl fmt::Debug for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Wrapping {
    /// Wraps a tenant key by every custodian of the set. All must answer, also for `any_of`: a set that lacks a share
    /// from the start would not survive what it promises to.
    pub(crate) async fn wrap(
        &self,
        which: Which<'_>,
        set: &CustodySet,
        key: &TenantKey,
    ) -> Result<WrappedTenantKey, Error> {
        self.wrap_each(which, set, key, |_, _| {}).await
    }

    pub(crate) fn knows(&self, set: &CustodySet) -> Result<(), Error> {
        set.members().iter().try_for_each(|member| driver(&self.0, member).map(drop))
    }

    /// The same, listing every custodian call it took, also when it failed.
    pub(crate) async fn wrap_listed(
        &self,
        which: Which<'_>,
        set: &CustodySet,
        key: &TenantKey,
        clock: &dyn Clock,
    ) -> (Result<WrappedTenantKey, Error>, Vec<Call>) {
        let mut calls = Vec::new();
        let mut begun = clock.monotonic();
        let wrapped = self
            .wrap_each(which, set, key, |custodian, answer| {
                let now = clock.monotonic();
                calls.push(Call::of(custodian, answer, now.micros().saturating_sub(begun.micros())));
                begun = now;
            })
            .await;
        (wrapped, calls)
    }

    async fn wrap_each(
        &self,
        which: Which<'_>,
        set: &CustodySet,
        key: &TenantKey,
        mut called: impl FnMut(&CustodianId, Result<&RequestId, &Fault>) + Send,
    ) -> Result<WrappedTenantKey, Error> {
        let mut split = Vec::new();
        // `any_of` gives each custodian a share that is the whole key, `all_of` splits once.
        while split.len() < set.members().len() {
            split.extend(key.split(set.share_count())?);
        }
        let mut shares = Vec::new();
        for ((index, custodian), share) in set.places().zip(split) {
            let context = which.context(set, custodian, index);
            let answer = driver(&self.0, custodian)?.wrap(context.encode(), share.bind(&context)?).await;
            called(custodian, answer.as_ref().map(|wrapped| &wrapped.request));
            let wrapped = answer?;
            shares.push(WrappedShare {
                custodian: custodian.clone(),
                share: index,
                wrapped: wrapped.bytes,
                mechanism: wrapped.mechanism,
                custodian_key: wrapped.custodian_key,
            });
        }
        Ok(WrappedTenantKey { set: set.clone(), shares })
    }
}

/// Can open tenant keys, one committed Warm entry each.
pub struct Unwrapping(Drivers);

impl fmt::Debug for Unwrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Unwrapping {
    /// Opens a tenant key and lists every custodian call it took, also when it failed. The key's id is derived again
    /// and must be the recorded one.
    pub(crate) async fn unwrap(
        &self,
        permit: Permit<Warm>,
        tenant: &TenantRef,
        wrapped: &WrappedTenantKey,
        clock: &dyn Clock,
    ) -> (Result<TenantKey, Error>, Vec<Call>) {
        let mut asking = Asking { drivers: &self.0, permit, tenant, wrapped, clock, calls: Vec::new() };
        let key = asking.key().await;
        (key, asking.calls)
    }

    /// Opens every share, also where one would do, and says whether all of them give the key recorded.
    pub(crate) async fn prove(
        &self,
        permit: Permit<Warm>,
        tenant: &TenantRef,
        wrapped: &WrappedTenantKey,
        clock: &dyn Clock,
    ) -> (Result<(), Error>, Vec<Call>) {
        let mut asking = Asking { drivers: &self.0, permit, tenant, wrapped, clock, calls: Vec::new() };
        let proven = asking.prove().await;
        (proven, asking.calls)
    }
}

/// One warm-up under way. Dropping it ends the permit.
struct Asking<'a> {
    drivers: &'a Drivers,
    permit: Permit<Warm>,
    tenant: &'a TenantRef,
    wrapped: &'a WrappedTenantKey,
    clock: &'a dyn Clock,
    calls: Vec<Call>,
}

impl Asking<'_> {
    fn named(&self) -> Result<(), Error> {
        let warrant = &self.permit.entry().warrant;
        let same = warrant.tenant == self.tenant.tenant
            && warrant.tenant_key_version == self.tenant.key_version
            && warrant.tenant_key_id == self.tenant.key_id;
        if same { Ok(()) } else { Err(Error::Foreign) }
    }

    async fn prove(&mut self) -> Result<(), Error> {
        self.named()?;
        let shares = self.every_one().await?;
        let gives = |shares| TenantKey::combine(shares, &self.tenant.key_id).map(drop);
        let broken = || Error::opening(Broken::TenantKey);
        match self.wrapped.set.rule() {
            Rule::Any => shares.into_iter().try_for_each(|share| gives(vec![share]).map_err(broken())),
            Rule::All => gives(shares).map_err(broken()),
        }
    }

    async fn key(&mut self) -> Result<TenantKey, Error> {
        self.named()?;
        let shares = match self.wrapped.set.rule() {
            Rule::Any => vec![self.first_that_serves().await?],
            Rule::All => self.every_one().await?,
        };
        TenantKey::combine(shares, &self.tenant.key_id).map_err(Error::opening(Broken::TenantKey))
    }

    /// `any_of`: the next custodian is asked when one does not serve. A share that does not open ends it at once:
    /// going on would hide an incident.
    async fn first_that_serves(&mut self) -> Result<Share, Error> {
        let mut failed = Error::Incomplete;
        let wrapped = self.wrapped;
        for (index, custodian) in wrapped.set.places() {
            match self.share(index, custodian).await {
                Err(next @ (Error::Custodian(_) | Error::UnknownCustodian(_))) => failed = next,
                Err(Error::Incomplete) => {}
                decided => return decided,
            }
        }
        Err(failed)
    }

    async fn every_one(&mut self) -> Result<Vec<Share>, Error> {
        let mut shares = Vec::new();
        let wrapped = self.wrapped;
        for (index, custodian) in wrapped.set.places() {
            shares.push(self.share(index, custodian).await?);
        }
        Ok(shares)
    }

    async fn share(&mut self, index: u16, custodian: &CustodianId) -> Result<Share, Error> {
        let driver = driver(self.drivers, custodian)?;
        let wrapped = self
            .wrapped
            .shares
            .iter()
            .find(|share| share.custodian == *custodian && share.share == index)
            .ok_or(Error::Incomplete)?;
        let which = Which { region: &self.tenant.region, tenant: self.tenant.tenant, version: self.tenant.key_version };
        let context = which.context(&self.wrapped.set, custodian, index);
        let begun = self.clock.monotonic();
        let answer = driver.unwrap(&self.permit, context.encode(), wrapped).await;
        let took_us = self.clock.monotonic().micros().saturating_sub(begun.micros());
        self.calls.push(Call::of(custodian, answer.as_ref().map(|unwrapped| &unwrapped.request), took_us));
        match answer {
            // SECURITY: the second half of a share is compared here, in constant time, for every driver.
            Ok(unwrapped) => unwrapped.share.unbind(&context).map_err(Error::opening(Broken::Share)),
            Err(Fault { cause: Cause::Integrity, .. }) => Err(Error::Integrity(Broken::Share)),
            Err(fault) => Err(Error::Custodian(fault)),
        }
    }
}
