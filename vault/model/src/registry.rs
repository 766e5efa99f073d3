//! Registered parties: tenants, institutions with their login templates, workers, recipients.

use crate::caller::SpiffeId;
use crate::credential::FieldKey;
use crate::id::{InstitutionId, RecipientId, Slug, TenantId};
use crate::wording::{Form, words};

words! {
    /// Whether a tenant is served.
    TenantState {
        /// Served.
        Active = 1 "ACTIVE",
        /// Nothing is released for it.
        Suspended = 2 "SUSPENDED",
    }

    /// Whether an institution is served.
    InstitutionState {
        /// Served.
        Enabled = 1 "ENABLED",
        /// Nothing is released for it.
        Suspended = 2 "SUSPENDED",
    }

    /// Whether a worker is trusted.
    WorkerState {
        /// May ask.
        Enabled = 1 "ENABLED",
        /// Refused until lifted.
        Quarantined = 2 "QUARANTINED",
    }

    /// What a lockdown stops.
    LockdownScope {
        /// The whole deployment.
        Platform = 1 "PLATFORM",
        /// One tenant.
        Tenant = 2 "TENANT",
        /// One institution.
        Institution = 3 "INSTITUTION",
        /// One credential.
        Credential = 4 "CREDENTIAL",
    }
}

/// A client of the AISP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The segment its identities carry.
    pub slug: Slug,
    /// Its legal name, shown in notices.
    pub legal_name: String,
    /// Whether it is served.
    pub state: TenantState,
    /// The only region its releases are decided in.
    pub home_region: Slug,
    /// The id derived from its tenant key, so that a substituted key is noticed.
    pub tenant_key_id: [u8; 16],
}

/// A bank or custodian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Institution {
    /// Its id.
    pub id: InstitutionId,
    /// The name shown in notices.
    pub name: String,
    /// ISO 3166-1 alpha-2 country.
    pub country: String,
    /// Whether it is served.
    pub state: InstitutionState,
    /// Wrong entries after which the institution locks the login.
    pub lockout_threshold: u8,
    /// Unattended visits are welcome from this minute of the day, UTC.
    pub unattended_from: u16,
    /// Unattended visits are welcome before this minute of the day, UTC; 1440 for the whole day.
    pub unattended_to: u16,
}

/// One field of an institution's login form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateField {
    /// Its key.
    pub key: FieldKey,
    /// The whole value must match this regular expression.
    pub pattern: String,
    /// Whether a deposit must carry it.
    pub required: bool,
    /// Whether the value is secret (all fields are sealed either way).
    pub secret: bool,
    /// A factor that signs orders: refused at deposit, always.
    pub signing_factor: bool,
    /// Whether it takes part in the tag that finds duplicates.
    pub identifies: bool,
    /// The widest form in which it may leave.
    pub release_form: Form,
}

/// A version of an institution's login form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The institution.
    pub institution: InstitutionId,
    /// Its version, from 1.
    pub version: u32,
    /// Its fields, in the order of the form.
    pub fields: Vec<TemplateField>,
}

/// An extraction worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its identity.
    pub id: SpiffeId,
    /// Whether it is trusted.
    pub state: WorkerState,
    /// The tenants and institutions it may serve, as pairs.
    pub scopes: Vec<(TenantId, InstitutionId)>,
}

/// Somebody who receives data under a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its id.
    pub id: RecipientId,
    /// The tenant that named it.
    pub tenant: TenantId,
    /// The name shown in notices.
    pub name: String,
}
