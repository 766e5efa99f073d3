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
use crate::set::{CustodySet, Member, Place, Rule, SetError, WrappedShare, WrappedTenantKey};
use crate::tally::Usage;
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
    fn context(self, set: &CustodySet, custodian: &'a CustodianId, place: Place) -> WrapTenant<'a> {
        WrapTenant {
            region: self.region,
            tenant: self.tenant,
            tenant_key_version: self.version,
            custody_set: set.digest(),
            custodian: custodian.as_str(),
            share_index: place.index,
            share_count: place.count,
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
        set.custodians().try_for_each(|custodian| driver(&self.0, custodian).map(drop))
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
        let mut shares = Vec::new();
        for (custodian, place, share) in split(set, key)? {
            let context = which.context(set, custodian, place);
            let answer = driver(&self.0, custodian)?.wrap(context.encode(), share.bind(&context)?).await;
            called(custodian, answer.as_ref().map(|wrapped| &wrapped.request));
            let wrapped = answer?;
            shares.push(WrappedShare {
                custodian: custodian.clone(),
                share: place.index,
                wrapped: wrapped.bytes,
                mechanism: wrapped.mechanism,
                custodian_key: wrapped.custodian_key,
            });
        }
        Ok(WrappedTenantKey { set: set.clone(), shares, carried: None })
    }
}

/// Each custodian of a set, where its share belongs, and the share.
type Parts<'a> = Vec<(&'a CustodianId, Place, Arc<Share>)>;

/// A share for each custodian of a set. `any_of` gives each member the whole, `all_of` splits it once.
fn split<'a>(set: &'a CustodySet, key: &TenantKey) -> Result<Parts<'a>, Error> {
    let mut all = Vec::new();
    let mut outer = match set.rule() {
        Rule::Any => Vec::new(),
        Rule::All => key.split(set.members().next().map_or(1, |(_, place)| place.count))?,
    }
    .into_iter();
    for (member, place) in set.members() {
        let custodians = member.custodians().iter().zip(0u16..);
        match set.rule() {
            Rule::Any => {
                for ((custodian, nth), share) in custodians.zip(key.split(place.count)?) {
                    all.push((custodian, set.place(place, nth), Arc::new(share)));
                }
            }
            Rule::All => {
                // INVARIANT: the key was split into as many shares as there are members.
                let share = Arc::new(outer.next().ok_or(Error::Incomplete)?);
                all.extend(custodians.map(|(custodian, nth)| (custodian, set.place(place, nth), share.clone())));
            }
        }
    }
    Ok(all)
}

/// Can open tenant keys, one committed Warm entry each.
pub struct Unwrapping(Drivers);

impl fmt::Debug for Unwrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Unwrapping {
    /// Every custodian as it stands now, and what was asked of it lately.
    pub(crate) fn standing(&self) -> Vec<(Description, Usage)> {
        self.0.values().map(|driver| (driver.describe(), driver.usage())).collect()
    }

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

    /// Opens every share, also where one would do; gives the key where all of them give the one recorded.
    pub(crate) async fn prove(
        &self,
        permit: Permit<Warm>,
        tenant: &TenantRef,
        wrapped: &WrappedTenantKey,
        clock: &dyn Clock,
    ) -> (Result<TenantKey, Error>, Vec<Call>) {
        let mut asking = Asking { drivers: &self.0, permit, tenant, wrapped, clock, calls: Vec::new() };
        let proven = asking.prove().await;
        (proven, asking.calls)
    }
}

/// `any_of`: the next one is asked when one does not serve. A share that does not open ends it at once: going on would
/// hide an incident. Answers why nobody served so far.
fn passed_over(before: Error, cause: Error) -> Result<Error, Error> {
    match cause {
        Error::Custodian(_) | Error::UnknownCustodian(_) => Ok(cause),
        Error::Incomplete => Ok(before),
        incident => Err(incident),
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

    async fn prove(&mut self) -> Result<TenantKey, Error> {
        self.named()?;
        let gives = |shares| TenantKey::combine(shares, &self.tenant.key_id);
        let broken = || Error::opening(Broken::TenantKey);
        let wrapped = self.wrapped;
        let mut one_of_each = Vec::new();
        let mut key = Err(Error::Incomplete);
        for (member, place) in wrapped.set.members() {
            let mut shares = self.every_one(member, place).await?;
            match wrapped.set.rule() {
                Rule::Any => key = Ok(gives(shares).map_err(broken())?),
                Rule::All => {
                    // Those who may stand in for each other hold one and the same share.
                    let first = shares.swap_remove(0);
                    if shares.iter().any(|other| !first.is(other)) {
                        return Err(Error::Integrity(Broken::Share));
                    }
                    one_of_each.push(first);
                }
            }
        }
        match wrapped.set.rule() {
            Rule::Any => key,
            Rule::All => gives(one_of_each).map_err(broken()),
        }
    }

    async fn key(&mut self) -> Result<TenantKey, Error> {
        self.named()?;
        let wrapped = self.wrapped;
        let mut shares = Vec::new();
        match wrapped.set.rule() {
            Rule::Any => {
                let mut failed = Error::Incomplete;
                for (member, place) in wrapped.set.members() {
                    match self.every_one(member, place).await {
                        Ok(these) => {
                            shares = these;
                            break;
                        }
                        Err(cause) => failed = passed_over(failed, cause)?,
                    }
                }
                if shares.is_empty() {
                    return Err(failed);
                }
            }
            Rule::All => {
                for (member, place) in wrapped.set.members() {
                    shares.push(self.first_that_serves(member, place).await?);
                }
            }
        }
        TenantKey::combine(shares, &self.tenant.key_id).map_err(Error::opening(Broken::TenantKey))
    }

    /// One share of a member whose custodians may stand in for each other.
    async fn first_that_serves(&mut self, member: &Member, place: Place) -> Result<Share, Error> {
        let mut failed = Error::Incomplete;
        for (custodian, nth) in member.custodians().iter().zip(0u16..) {
            match self.share(self.wrapped.set.place(place, nth), custodian).await {
                Ok(share) => return Ok(share),
                Err(cause) => failed = passed_over(failed, cause)?,
            }
        }
        Err(failed)
    }

    /// The shares of every custodian of a member.
    async fn every_one(&mut self, member: &Member, place: Place) -> Result<Vec<Share>, Error> {
        let mut shares = Vec::new();
        for (custodian, nth) in member.custodians().iter().zip(0u16..) {
            shares.push(self.share(self.wrapped.set.place(place, nth), custodian).await?);
        }
        Ok(shares)
    }

    async fn share(&mut self, place: Place, custodian: &CustodianId) -> Result<Share, Error> {
        let driver = driver(self.drivers, custodian)?;
        let wrapped = self
            .wrapped
            .shares
            .iter()
            .find(|share| share.custodian == *custodian && share.share == place.index)
            .ok_or(Error::Incomplete)?;
        let which = Which { region: &self.tenant.region, tenant: self.tenant.tenant, version: self.tenant.key_version };
        let context = which.context(&self.wrapped.set, custodian, place);
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
