//! Registering a tenant: its key is made, wrapped by the custodians of its set, and put before the tenant exists.

use cofre_custody::CustodySet;
use cofre_envelope::random;
use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::id::{RecipientId, SigningKeyId, Slug, TenantId};
use cofre_model::job::SigningKey;
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::registry::{Recipient, Tenant, TenantState};
use cofre_model::request::PutTenant;
use cofre_store::{KeyVersion, Operation, TenantRecord};

use crate::keys::{RETIRED, no_looser, not_configured, set_from};
use crate::{Admin, Error, stored, wrapped};

/// A registered tenant, with what the vault numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredTenant {
    /// Its id.
    pub id: TenantId,
    /// Its keys that sign jobs and attendance.
    pub signing_keys: Vec<SigningKey>,
    /// Its recipients.
    pub recipients: Vec<Recipient>,
    /// The entry.
    pub entry: EntryRef,
}

impl Admin {
    /// Registers a tenant, or changes one by its slug: its name is replaced, keys and recipients are added. Its region
    /// never changes, since its key is bound to it.
    ///
    /// # Errors
    /// WRONG_REGION for a new tenant of another region than this cell's; WRONG_STATE for another region than a known
    /// tenant has, or another custody set; BAD_REQUEST for a custody set that is none, names a custodian not configured or is
    /// looser than this node's own; WRONG_STATE where one of its custodians was retired;
    /// KEY_SERVICE_UNAVAILABLE where its key cannot be wrapped; AUDIT_UNAVAILABLE where records cannot be written.
    pub async fn put_tenant(&self, caller: &Caller, request: PutTenant) -> Result<RegisteredTenant, Error> {
        let known = self.records.tenant_by_slug(&request.slug).await?;
        let now = self.clock.now().millis();
        let (tenant, key_version, set, warm_for) = match known {
            Some(TenantRecord { tenant, .. }) if tenant.home_region != request.home_region => {
                let advice = "of a tenant never changes; its key is bound to it. Give the region it has";
                return Err(Error::field(Reason::WrongState, "home_region", advice));
            }
            Some(TenantRecord { tenant, key_version, warm_for, .. }) => {
                let set = self.same_set(&tenant, key_version, request.custody_set.as_deref()).await?;
                (Tenant { legal_name: request.legal_name, ..tenant }, key_version, set, warm_for)
            }
            None if request.home_region != self.region => {
                let advice = "must be the region of this cell; register the tenant at its own";
                return Err(Error::field(Reason::WrongRegion, "home_region", advice));
            }
            None => {
                let set = self.set_of(request.custody_set.as_deref())?;
                let (tenant, version) =
                    self.new_tenant((request.slug, request.legal_name, request.home_region), &set).await?;
                (tenant, version, Some(set), self.warm_for)
            }
        };
        let mut signing_keys = Vec::new();
        for (kind, public_key, not_after) in request.signing_keys {
            let id = SigningKeyId::from_parts(now, random::array()?);
            signing_keys.push(SigningKey { id, tenant: tenant.id, kind, public_key, not_after });
        }
        let mut recipients = Vec::new();
        for name in request.recipients {
            let id = RecipientId::from_parts(now, random::array()?);
            recipients.push(Recipient { id, tenant: tenant.id, name });
        }
        let mut entry = Self::entry(EntryKind::TenantPut, caller, "cofre.v1.AdminService/PutTenant")?;
        entry.tenant = Some(tenant.id);
        entry.region = Some(tenant.home_region.to_string());
        entry.tenant_key = Some((tenant.tenant_key_id, key_version));
        let id = tenant.id;
        let operation = Operation::PutTenant {
            tenant,
            key_version,
            custody_set: set.map(|set| set.to_string()),
            warm_for: request.warm_for.unwrap_or(warm_for),
            signing_keys: signing_keys.clone(),
            recipients: recipients.clone(),
        };
        let entry = self.records.apply(entry, operation).await?;
        Ok(RegisteredTenant { id, signing_keys, recipients, entry })
    }

    /// The custody set that is asked for, or this node's own.
    fn set_of(&self, asked: Option<&str>) -> Result<CustodySet, Error> {
        let Some(text) = asked else { return Ok(self.custody.clone()) };
        let set = set_from(text)?;
        self.wrapping.knows(&set).map_err(|_| not_configured())?;
        no_looser(&self.custody, &set)?;
        Ok(set)
    }

    /// The set a known tenant has. It keeps that here: another one means wrapping its key anew.
    async fn same_set(&self, tenant: &Tenant, version: u32, asked: Option<&str>) -> Result<Option<CustodySet>, Error> {
        let held = wrapped(self.keyring.tenant_key(&tenant.id, version).await?).map(|held| held.set);
        let Some(text) = asked else { return Ok(held) };
        if held.as_ref() == Some(&set_from(text)?) {
            return Ok(held);
        }
        let advice = "of a known tenant is changed by `cofre keys rewrap`; leave it out, or give the one it has";
        Err(Error::field(Reason::WrongState, "custody_set", advice))
    }

    async fn new_tenant(
        &self,
        (slug, legal_name, home_region): (Slug, String, Slug),
        set: &CustodySet,
    ) -> Result<(Tenant, u32), Error> {
        let id = TenantId::from_parts(self.clock.now().millis(), random::array()?);
        let key = self.wrapping.new_tenant_key(home_region.as_str(), id, set).await?;
        let shares = stored(KeyVersion { tenant: id, version: key.version }, key.wrapped);
        // The key first: a tenant whose key is missing could never open anything again.
        match self.keyring.put_tenant_key(&shares, &[], self.clock.now()).await {
            Err(cofre_store::Error::Retired) => return Err(Error::field(Reason::WrongState, "custody_set", RETIRED)),
            put => put?,
        }
        let tenant =
            Tenant { id, slug, legal_name, state: TenantState::Active, home_region, tenant_key_id: key.key_id };
        Ok((tenant, key.version))
    }
}
