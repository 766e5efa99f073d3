//! Institutions and the versions of their login forms.

use cofre_model::id::InstitutionId;
use cofre_model::registry::{Institution, InstitutionState, Template, TemplateField};
use cofre_model::wording::Form;

use crate::engine::Session;
use crate::error::Error;
use crate::records::Records;
use crate::row::{Cells, Row};
use crate::statement::statement;

fn record(row: &Row) -> Result<Institution, Error> {
    let cells = Cells::of("institutions", row);
    Ok(Institution {
        id: cells.id("id")?,
        name: cells.string("name")?,
        country: cells.string("country")?,
        state: cells.word("state", InstitutionState::from_text)?,
        lockout_threshold: cells.int("lockout_threshold")?,
        unattended_from: cells.int("unattended_from")?,
        unattended_to: cells.int("unattended_to")?,
    })
}

fn field(row: &Row) -> Result<TemplateField, Error> {
    let cells = Cells::of("template_fields", row);
    Ok(TemplateField {
        key: cells.id("field_key")?,
        pattern: cells.string("pattern")?,
        required: cells.flag("required")?,
        secret: cells.flag("secret")?,
        signing_factor: cells.flag("signing_factor")?,
        identifies: cells.flag("identifies")?,
        release_form: cells.word("release_form", Form::from_text)?,
    })
}

pub(crate) async fn institution(session: &mut Session<'_>, id: &InstitutionId) -> Result<Option<Institution>, Error> {
    let row =
        statement("SELECT * FROM institutions WHERE id = $1").bind(id.to_string()).fetch_optional(session).await?;
    row.as_ref().map(record).transpose()
}

pub(crate) async fn template(
    session: &mut Session<'_>,
    id: &InstitutionId,
    version: u32,
) -> Result<Option<Template>, Error> {
    let rows = statement("SELECT * FROM template_fields WHERE institution_id = $1 AND version = $2 ORDER BY place")
        .bind(id.to_string())
        .bind(i64::from(version))
        .fetch_all(session)
        .await?;
    // A version without fields is never written, so no field means no such version.
    if rows.is_empty() {
        return Ok(None);
    }
    let fields = rows.iter().map(field).collect::<Result<_, _>>()?;
    Ok(Some(Template { institution: id.clone(), version, fields }))
}

pub(crate) async fn newest(session: &mut Session<'_>, id: &InstitutionId) -> Result<u32, Error> {
    let row = statement("SELECT COALESCE(MAX(version), 0) AS version FROM login_templates WHERE institution_id = $1")
        .bind(id.to_string())
        .fetch_one(session)
        .await?;
    Cells::of("login_templates", &row).int("version")
}

impl Records {
    /// The institution of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn institution(&self, id: &InstitutionId) -> Result<Option<Institution>, Error> {
        institution(&mut self.reader().await?, id).await
    }

    /// Every institution, in the order of their ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn institutions(&self) -> Result<Vec<Institution>, Error> {
        let rows = statement("SELECT * FROM institutions ORDER BY id").fetch_all(&mut self.reader().await?).await?;
        rows.iter().map(record).collect()
    }

    /// The newest login form of an institution.
    ///
    /// # Errors
    /// The store's.
    pub async fn template(&self, id: &InstitutionId) -> Result<Option<Template>, Error> {
        let mut reader = self.reader().await?;
        let version = newest(&mut reader, id).await?;
        template(&mut reader, id, version).await
    }

    /// One version of an institution's login form.
    ///
    /// # Errors
    /// The store's.
    pub async fn template_version(&self, id: &InstitutionId, version: u32) -> Result<Option<Template>, Error> {
        template(&mut self.reader().await?, id, version).await
    }
}
