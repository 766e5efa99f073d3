//! Institutions, login templates and workers.

use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::registry::{Institution, Template, Worker, WorkerState};
use cofre_model::request::PutWorker;
use cofre_store::Operation;

use crate::{Admin, Error};

impl Admin {
    /// Registers or changes an institution.
    ///
    /// # Errors
    /// AUDIT_UNAVAILABLE where records cannot be written.
    pub async fn put_institution(&self, caller: &Caller, institution: Institution) -> Result<EntryRef, Error> {
        let mut entry = Self::entry(EntryKind::InstitutionPut, caller, "cofre.v1.AdminService/PutInstitution")?;
        entry.institution = Some(institution.id.clone());
        Ok(self.records.apply(entry, Operation::PutInstitution(institution)).await?)
    }

    /// Registers a version of a login template. Versions never change.
    ///
    /// # Errors
    /// BAD_REQUEST where a pattern does not compile; NOT_FOUND for an unknown institution; WRONG_STATE for a version
    /// that exists.
    pub async fn put_template(&self, caller: &Caller, template: Template) -> Result<EntryRef, Error> {
        for (place, field) in template.fields.iter().enumerate() {
            if !stands_alone(&field.pattern) {
                let path = format!("fields[{place}].pattern");
                return Err(Error::field(Reason::BadRequest, path, "must be a regular expression of moderate size"));
            }
        }
        if self.records.institution(&template.institution).await?.is_none() {
            let advice = "must be a registered institution; put it first";
            return Err(Error::field(Reason::NotFound, "institution_id", advice));
        }
        let mut entry = Self::entry(EntryKind::TemplatePut, caller, "cofre.v1.AdminService/PutTemplate")?;
        entry.institution = Some(template.institution.clone());
        entry.count = Some(u64::from(template.version));
        Ok(self.records.apply(entry, Operation::PutTemplate(template)).await?)
    }

    /// Registers a worker or replaces what it may serve. A quarantine stays: putting a worker anew does not lift it.
    ///
    /// # Errors
    /// NOT_FOUND for an unknown tenant or institution among its scopes.
    pub async fn put_worker(&self, caller: &Caller, request: PutWorker) -> Result<EntryRef, Error> {
        for (place, (tenant, institution)) in request.scopes.iter().enumerate() {
            let known =
                self.records.tenant(tenant).await?.is_some() && self.records.institution(institution).await?.is_some();
            if !known {
                let path = format!("scopes[{place}]");
                return Err(Error::field(Reason::NotFound, path, "must name a registered tenant and institution"));
            }
        }
        let identity = request.id.to_string();
        let state = self.records.worker(&identity).await?.map_or(WorkerState::Enabled, |worker| worker.state);
        let mut entry = Self::entry(EntryKind::WorkerPut, caller, "cofre.v1.AdminService/PutWorker")?;
        entry.reference = Some(identity);
        let worker = Worker { id: request.id, state, scopes: request.scopes };
        Ok(self.records.apply(entry, Operation::PutWorker(worker)).await?)
    }
}

/// Whether a pattern is a whole expression by itself and stays one inside its anchors. `a)|(?:b` is only the second:
/// it would close the anchors' group and match anywhere.
fn stands_alone(pattern: &str) -> bool {
    let compiles = |text: &str| regex::bytes::RegexBuilder::new(text).size_limit(1 << 20).build().is_ok();
    compiles(pattern) && compiles(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests {
    use super::stands_alone;

    #[test]
    fn a_pattern_that_breaks_out_of_its_anchors_is_refused() {
        for good in ["[0-9]{8}", "a|b", "(?:a)(b)", ".+", "(?i)[a-z]+"] {
            assert!(stands_alone(good), "{good}");
        }
        for bad in ["a)|(?:.*", ")|(", "(?x)a #", "[0-9", "(?:[0-9]{1000}){1000}"] {
            assert!(!stands_alone(bad), "{bad}");
        }
    }
}
