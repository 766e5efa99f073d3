//! What policies get to see of the facts, as plain words and numbers, and its canonical text for the register. Nothing
//! personal is in it: random ids, closed lists, instants and counts.

use cofre_model::caller::IdentityPath;
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::Credential;
use cofre_model::registry::{Institution, Worker};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Attendance, Form, ScopeSet};
use serde::Serialize;

use crate::facts::{AttendanceFacts, Evidence, Facts};

/// The most bytes the register keeps of a policy input.
pub(crate) const MOST_BYTES: usize = 2048;

/// Principal, resource and context of one question.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) worker: String,
    pub(crate) pool: String,
    pub(crate) tenants: Vec<String>,
    pub(crate) institutions: Vec<String>,
    pub(crate) credential: String,
    pub(crate) tenant: String,
    pub(crate) home_region: String,
    pub(crate) institution: InstitutionInput,
    pub(crate) context: ContextInput,
}

/// The institution, as far as policies care.
#[derive(Debug, Clone)]
pub(crate) struct InstitutionInput {
    pub(crate) id: String,
    pub(crate) country: String,
    pub(crate) unattended_from: u16,
    pub(crate) unattended_to: u16,
}

/// The context record. Its fields stand in the order of the alphabet: that, and no white space, is the canonical form.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ContextInput {
    pub(crate) attendance: &'static str,
    pub(crate) class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consent: Option<ConsentInput>,
    pub(crate) forms: Vec<&'static str>,
    pub(crate) minute_of_day: u16,
    pub(crate) now: String,
    pub(crate) purpose: &'static str,
    pub(crate) recipient: String,
    pub(crate) region: String,
    pub(crate) releases_last_hour: u32,
    pub(crate) scopes: Vec<&'static str>,
}

/// The consent, folded. Same order.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConsentInput {
    pub(crate) active: bool,
    pub(crate) complete: bool,
    pub(crate) covers_credential: bool,
    pub(crate) purpose: &'static str,
    pub(crate) recipient: String,
    pub(crate) scopes: Vec<&'static str>,
    pub(crate) unattended_per_day: u8,
    pub(crate) valid_from: String,
    pub(crate) valid_until: String,
}

impl Input {
    /// What policies see of these facts; nothing where something they are promised is missing.
    pub(crate) fn of(facts: &Facts) -> Option<Self> {
        let (Ok(job), Evidence::Genuine(credential)) = (&facts.job, &facts.credential) else {
            return None;
        };
        let (worker, tenant, institution) =
            (facts.worker.as_ref()?, facts.tenant.as_ref()?, facts.institution.as_ref()?);
        let IdentityPath::Worker { pool, .. } = worker.id.path() else {
            return None;
        };
        let consent = match &facts.consent {
            Evidence::Genuine(consent) => Some(ConsentInput::of(consent, credential)?),
            Evidence::Absent | Evidence::Forged => None,
        };
        let (tenants, institutions) = assignments(worker);
        Some(Self {
            worker: worker.id.to_string(),
            pool: pool.to_string(),
            tenants,
            institutions,
            credential: credential.id.to_string(),
            tenant: credential.tenant.to_string(),
            home_region: tenant.home_region.to_string(),
            institution: InstitutionInput::of(institution),
            context: ContextInput {
                attendance: attendance(&facts.attendance).as_str(),
                class: facts.request.class.as_str(),
                consent,
                forms: Form::ALL
                    .iter()
                    .filter(|form| facts.request.fields.iter().any(|field| field.form == **form))
                    .map(|form| form.as_str())
                    .collect(),
                minute_of_day: facts.now.minute_of_day(),
                now: datetime(facts.now)?,
                purpose: job.purpose.as_str(),
                recipient: job.recipient.to_string(),
                region: facts.region.to_string(),
                releases_last_hour: facts.releases_last_hour,
                scopes: words(&job.scopes),
            },
        })
    }

    /// The context record as canonical JSON; nothing where it would not fit the register.
    pub(crate) fn canonical(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.context).ok().filter(|bytes| bytes.len() <= MOST_BYTES)
    }
}

impl InstitutionInput {
    fn of(institution: &Institution) -> Self {
        Self {
            id: institution.id.to_string(),
            country: institution.country.clone(),
            unattended_from: institution.unattended_from,
            unattended_to: institution.unattended_to,
        }
    }
}

impl ConsentInput {
    /// One consent, one party: complete where the holder of the login gave it.
    fn of(consent: &Consent, credential: &Credential) -> Option<Self> {
        Some(Self {
            active: consent.state == ConsentState::Active,
            complete: consent.subject == credential.owner,
            covers_credential: consent.credential == credential.id && consent.tenant == credential.tenant,
            purpose: consent.purpose.as_str(),
            recipient: consent.recipient.to_string(),
            scopes: words(&consent.scopes),
            unattended_per_day: consent.unattended_per_day,
            valid_from: datetime(consent.valid_from)?,
            valid_until: datetime(consent.valid_until)?,
        })
    }
}

/// Presence as policies see it: what is not proven is not presence.
pub(crate) fn attendance(facts: &AttendanceFacts) -> Attendance {
    match facts {
        AttendanceFacts::Attended { .. } => Attendance::Attended,
        AttendanceFacts::Unattended { .. } | AttendanceFacts::Invalid => Attendance::Unattended,
    }
}

/// The two halves of the worker's pairs, each sorted and without repeats.
fn assignments(worker: &Worker) -> (Vec<String>, Vec<String>) {
    use std::collections::BTreeSet;
    let tenants: BTreeSet<_> = worker.scopes.iter().map(|(tenant, _)| tenant.to_string()).collect();
    let institutions: BTreeSet<_> = worker.scopes.iter().map(|(_, institution)| institution.to_string()).collect();
    (tenants.into_iter().collect(), institutions.into_iter().collect())
}

fn words(scopes: &ScopeSet) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}

/// Cedar's datetime: UTC with milliseconds, rounded down. Nothing where the instant has no four-digit year.
fn datetime(at: Timestamp) -> Option<String> {
    let text = at.to_string();
    let whole = text.strip_suffix('Z').filter(|whole| whole.len() == "2026-01-01T00:00:00".len())?;
    Some(format!("{whole}.{:03}Z", at.millis() % 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_milliseconds() {
        assert_eq!(
            datetime(Timestamp::from_micros(1_790_000_000_123_999)).as_deref(),
            Some("2026-09-21T14:13:20.123Z")
        );
        assert_eq!(datetime(Timestamp::from_micros(u64::MAX)), None);
    }
}
