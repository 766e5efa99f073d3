//! Data subjects: an opaque id, and the tenant's own reference until erasure takes it away.

use cofre_model::id::{SubjectId, TenantId};

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row};
use crate::statement::statement;

macro_rules! column_words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The text in the column.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            pub(crate) fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    )*};
}
pub(crate) use column_words;

column_words! {
    /// What a data subject is.
    SubjectKind {
        /// A person.
        Natural = "NATURAL",
        /// A company.
        Legal = "LEGAL",
    }

    /// Where a data subject stands.
    SubjectState {
        /// Served.
        Active = "ACTIVE",
        /// Erasure was accepted.
        Erasing = "ERASING",
        /// Nothing ties this id to a person any more.
        Erased = "ERASED",
    }
}

/// A data subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its id.
    pub id: SubjectId,
    /// The tenant that brought it.
    pub tenant: TenantId,
    /// What it is.
    pub kind: SubjectKind,
    /// The tenant's own pseudonym for it; gone once erased.
    pub external_ref: Option<String>,
    /// Where it stands.
    pub state: SubjectState,
}

fn record(row: &Row) -> Result<Subject, Error> {
    let cells = Cells::of("subjects", row);
    Ok(Subject {
        id: cells.id("id")?,
        tenant: cells.id("tenant_id")?,
        kind: cells.word("kind", SubjectKind::from_text)?,
        external_ref: cells.optional("external_ref", Cells::string)?,
        state: cells.word("state", SubjectState::from_text)?,
    })
}

pub(crate) async fn subject(
    session: &mut Session<'_>,
    tenant: &TenantId,
    id: &SubjectId,
) -> Result<Option<Subject>, Error> {
    let row = statement("SELECT * FROM subjects WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant.to_string())
        .fetch_optional(session)
        .await?;
    row.as_ref().map(record).transpose()
}

pub(crate) async fn by_ref(
    session: &mut Session<'_>,
    tenant: &TenantId,
    external_ref: &str,
) -> Result<Option<Subject>, Error> {
    let row = statement("SELECT * FROM subjects WHERE tenant_id = $1 AND external_ref = $2")
        .bind(tenant.to_string())
        .bind(external_ref)
        .fetch_optional(session)
        .await?;
    row.as_ref().map(record).transpose()
}

impl Records {
    /// A subject of this tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn subject(&self, tenant: &TenantId, id: &SubjectId) -> Result<Option<Subject>, Error> {
        subject(&mut self.reader().await?, tenant, id).await
    }

    /// The subject this tenant knows by its own reference.
    ///
    /// # Errors
    /// The store's.
    pub async fn subject_by_ref(&self, tenant: &TenantId, external_ref: &str) -> Result<Option<Subject>, Error> {
        by_ref(&mut self.reader().await?, tenant, external_ref).await
    }

    /// The tenant of a subject, for callers bound to no tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenant_of_subject(&self, id: &SubjectId) -> Result<Option<TenantId>, Error> {
        let row = statement("SELECT tenant_id FROM subjects WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(|row| Cells::of("subjects", row).id("tenant_id")).transpose()
    }
}
