//! Tenants, and what belongs to one: recipients and the keys that sign its statements.

use cofre_model::id::{RecipientId, SigningKeyId, Slug, TenantId};
use cofre_model::job::{SigningKey, StatementKind};
use cofre_model::registry::{Recipient, Tenant, TenantState};
use cofre_model::time::Span;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row};
use crate::statement::statement;

/// A tenant with what the vault needs to serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// The tenant.
    pub tenant: Tenant,
    /// The version of its key in force.
    pub key_version: u32,
    /// The oldest version of its key that something may still lie under; the one in force, where nothing lies under others.
    pub oldest_key_version: u32,
    /// How long its key may stay warm; 0 asks the custodian each time.
    pub warm_for: Span,
}

pub(crate) fn record(row: &Row) -> Result<TenantRecord, Error> {
    let cells = Cells::of("tenants", row);
    Ok(TenantRecord {
        tenant: Tenant {
            id: cells.id("id")?,
            slug: cells.id("slug")?,
            legal_name: cells.string("legal_name")?,
            state: cells.word("state", TenantState::from_text)?,
            home_region: cells.id("home_region")?,
            tenant_key_id: cells.bytes("tenant_key_id")?,
        },
        key_version: cells.int("tenant_key_version")?,
        oldest_key_version: cells.int("tenant_key_oldest")?,
        warm_for: Span::micros(cells.int("warm_for_us")?),
    })
}

pub(crate) async fn tenant(session: &mut Session<'_>, id: &TenantId) -> Result<Option<TenantRecord>, Error> {
    let row = statement("SELECT * FROM tenants WHERE id = $1").bind(id.to_string()).fetch_optional(session).await?;
    row.as_ref().map(record).transpose()
}

pub(crate) async fn signing_key(session: &mut Session<'_>, id: &SigningKeyId) -> Result<Option<SigningKey>, Error> {
    let row =
        statement("SELECT * FROM signing_keys WHERE id = $1").bind(id.to_string()).fetch_optional(session).await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("signing_keys", row);
            Ok(SigningKey {
                id: cells.id("id")?,
                tenant: cells.id("tenant_id")?,
                kind: cells.word("kind", StatementKind::from_text)?,
                public_key: cells.bytes("public_key")?,
                not_after: cells.time("not_after")?,
            })
        })
        .transpose()
}

pub(crate) async fn recipient(session: &mut Session<'_>, id: &RecipientId) -> Result<Option<Recipient>, Error> {
    let row = statement("SELECT * FROM recipients WHERE id = $1").bind(id.to_string()).fetch_optional(session).await?;
    row.as_ref()
        .map(|row| {
            let cells = Cells::of("recipients", row);
            Ok(Recipient { id: cells.id("id")?, tenant: cells.id("tenant_id")?, name: cells.string("name")? })
        })
        .transpose()
}

impl Records {
    /// The tenant of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, Error> {
        tenant(&mut self.reader().await?, id).await
    }

    /// The tenant whose identities carry this segment.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_by_slug(&self, slug: &Slug) -> Result<Option<TenantRecord>, Error> {
        let mut reader = self.reader().await?;
        let row =
            statement("SELECT * FROM tenants WHERE slug = $1").bind(slug.as_str()).fetch_optional(&mut reader).await?;
        row.as_ref().map(record).transpose()
    }

    /// Every tenant, in the order of their slugs.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants(&self) -> Result<Vec<TenantRecord>, Error> {
        let rows = statement("SELECT * FROM tenants ORDER BY slug").fetch_all(&mut self.reader().await?).await?;
        rows.iter().map(record).collect()
    }

    /// A registered key that signs statements, of whatever tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn signing_key(&self, id: &SigningKeyId) -> Result<Option<SigningKey>, Error> {
        signing_key(&mut self.reader().await?, id).await
    }

    /// A recipient of this tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn recipient(&self, tenant: &TenantId, id: &RecipientId) -> Result<Option<Recipient>, Error> {
        let found = recipient(&mut self.reader().await?, id).await?;
        Ok(found.filter(|recipient| recipient.tenant == *tenant))
    }
}
