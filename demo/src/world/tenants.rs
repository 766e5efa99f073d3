//! Tenants beside the two that every world has, each with custodians and a warm span of its own.

use anyhow::Result;
use cofre_model::id::InstitutionId;
use cofre_model::time::Span;
use cofre_testkit::institutions;

use super::World;
use super::seed::{self, Tenant};

/// What a tenant wants for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// The segment its identities carry.
    pub slug: &'static str,
    /// Who is to hold its key.
    pub set: &'static str,
    /// How long its key may stay warm.
    pub warm_for: Span,
}

impl World {
    /// Registers tenants, connects their front ends, and has the pool's first `workers` serve them beside the two.
    ///
    /// # Errors
    /// What the vault refused.
    pub async fn register(&self, all: &[Own], workers: usize) -> Result<Vec<Tenant>> {
        let mut tenants = Vec::new();
        for own in all {
            let wanted = (Some(own.set.to_owned()), Some(own.warm_for));
            let put = seed::put_tenant(&self.operator, &*self.clock, own.slug, wanted).await?;
            let mut tenant = seed::recalled(&put, own.slug)?;
            self.identities.add_front_end(own.slug, self.clock.now())?;
            tenant.connect(&self.door, &self.identities, &self.clock).await?;
            tenants.push(tenant);
        }
        let served: Vec<_> = [&self.north, &self.south].into_iter().chain(&tenants).map(|tenant| tenant.id).collect();
        let institutions = institutions::all()?;
        let institutions: Vec<_> =
            institutions.iter().map(|each| InstitutionId::try_from(each.id().as_str())).collect::<Result<_, _>>()?;
        seed::put_workers(&self.operator, workers, &served, &institutions).await?;
        Ok(tenants)
    }
}
