//! From what `cofre_commit` answers back to outcomes, places in the ledger and changes to tell. Strict, like rows: what
//! the function cannot have written is named as corrupt.

use cofre_model::entry::EntryKind;
use cofre_model::permit::{DepositWarrant, EntryRef, ReleaseWarrant};
use cofre_model::reason::Reason;
use cofre_model::registry::LockdownScope;
use cofre_model::time::Timestamp;
use serde_json::Value;

use super::encode::Awaited;
use crate::commit::carrier::{Carried, Outcome, Traces};
use crate::commit::change::Change;
use crate::commit::operation::Lockdown;
use crate::error::{CommitError, Error};

/// The name that stands for the function where an answer of it is not what it should be.
const FUNCTION: &str = "cofre_commit";

/// One object of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'v>(pub(super) &'v Value);

impl<'v> Fields<'v> {
    fn optional(self, name: &'static str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(self, name: &'static str) -> Result<&'v str, Error> {
        self.0.get(name).and_then(Value::as_str).ok_or(Error::corrupt(FUNCTION, name))
    }

    fn number(self, name: &'static str) -> Result<u64, Error> {
        self.0.get(name).and_then(Value::as_u64).ok_or(Error::corrupt(FUNCTION, name))
    }

    fn small(self, name: &'static str) -> Result<u32, Error> {
        u32::try_from(self.number(name)?).map_err(|_| Error::corrupt(FUNCTION, name))
    }

    fn time(self, name: &'static str) -> Result<Timestamp, Error> {
        self.number(name).map(Timestamp::from_micros)
    }

    fn bytes<const N: usize>(self, name: &'static str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        hex::decode_to_slice(self.text(name)?, &mut bytes).map_err(|_| Error::corrupt(FUNCTION, name))?;
        Ok(bytes)
    }

    fn id<T: for<'a> TryFrom<&'a str>>(self, name: &'static str) -> Result<T, Error> {
        T::try_from(self.text(name)?).map_err(|_| Error::corrupt(FUNCTION, name))
    }

    fn id_if_any<T: for<'a> TryFrom<&'a str>>(self, name: &'static str) -> Result<Option<T>, Error> {
        self.optional(name).map(|_| self.id(name)).transpose()
    }

    fn word<T>(self, name: &'static str, from_text: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        from_text(self.text(name)?).ok_or(Error::corrupt(FUNCTION, name))
    }

    /// The objects of a list; a list that is not named is empty.
    fn list(self, name: &'static str) -> impl Iterator<Item = Fields<'v>> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().map(Fields)
    }
}

/// What one request came to.
pub(super) fn carried(verdict: Fields<'_>, awaited: Awaited) -> Result<Carried, CommitError> {
    if verdict.text("verdict")? == "REFUSED" {
        return Err(CommitError::Refused(verdict.word("reason", Reason::from_text)?));
    }
    let outcome = outcome(verdict, awaited)?;
    let (appended, mut changes) = entries(verdict)?;
    changes.extend(told(verdict)?);
    Ok(Carried { outcome, appended, changes })
}

fn outcome(verdict: Fields<'_>, awaited: Awaited) -> Result<Outcome, Error> {
    Ok(match (verdict.text("verdict")?, awaited) {
        ("MOVED", Awaited::Decision(_)) => Outcome::Moved,
        ("DENIED", Awaited::Decision(_)) => {
            let retry_at = verdict.optional("retry_at").map(|_| verdict.time("retry_at")).transpose()?;
            Outcome::Denied(verdict.word("reason", Reason::from_text)?, retry_at)
        }
        ("GRANTED", Awaited::Decision(Some(warrant))) => {
            Outcome::Granted(ReleaseWarrant { lease_until: verdict.time("lease_until")?, ..warrant })
        }
        ("WRITTEN", Awaited::Warm(warrant)) => Outcome::Warm(warrant),
        ("WRITTEN", Awaited::Rewrap(warrant)) => Outcome::Rewrap(warrant),
        ("WRITTEN", Awaited::Move(warrant)) => Outcome::Move(warrant),
        ("INTENDED", Awaited::Intent(intent)) => Outcome::Intended(DepositWarrant {
            tenant: intent.tenant,
            owner: verdict.id("owner")?,
            credential: verdict.id("credential")?,
            class: intent.class,
            secret_version: verdict.small("version")?,
            enrolment: intent.enrolment,
            template_version: verdict.small("template_version")?,
            deposit_key: intent.deposit_key,
            tenant_key_id: verdict.bytes("key_id")?,
        }),
        ("WRITTEN", Awaited::Other) => Outcome::Written,
        ("DONE", Awaited::Other) => Outcome::Done,
        _ => return Err(Error::corrupt(FUNCTION, "verdict")),
    })
}

/// Entries, with the change that each is.
pub(super) fn entries(object: Fields<'_>) -> Result<(Vec<EntryRef>, Vec<Change>), Error> {
    let mut places = Vec::new();
    let mut changes = Vec::new();
    for entry in object.list("entries") {
        let at = EntryRef { index: entry.number("index")?, leaf_hash: entry.bytes("hash")?, time: entry.time("time")? };
        places.push(at);
        changes.push(Change::Entry {
            at,
            kind: entry.word("kind", EntryKind::from_text)?,
            tenant: entry.id_if_any("tenant")?,
            credential: entry.id_if_any("credential")?,
        });
    }
    Ok((places, changes))
}

/// What else changed.
pub(super) fn told(object: Fields<'_>) -> Result<Vec<Change>, Error> {
    object.list("changes").map(change).collect()
}

fn change(change: Fields<'_>) -> Result<Change, Error> {
    Ok(match change.text("change")? {
        "LEASE_ENDED" => Change::LeaseEnded {
            credential: change.id("credential")?,
            job: change.id("job")?,
            worker: change.text("worker")?.to_owned(),
        },
        "CONSENT_ENDED" => Change::ConsentEnded {
            consent: change.id("consent")?,
            credential: change.id("credential")?,
            state: change.word("state", cofre_model::consent::ConsentState::from_text)?,
        },
        "LOCKDOWN" => Change::Lockdown(match change.word("scope", LockdownScope::from_text)? {
            LockdownScope::Platform => Lockdown::Platform,
            LockdownScope::Tenant => Lockdown::Tenant(change.id("id")?),
            LockdownScope::Institution => Lockdown::Institution(change.id("id")?),
            LockdownScope::Credential => Lockdown::Credential(change.id("id")?),
        }),
        "WORKER_QUARANTINED" => Change::WorkerQuarantined { worker: change.text("worker")?.to_owned() },
        "ERASURE_ACCEPTED" => Change::ErasureAccepted {
            subject: change.id("subject")?,
            credentials: change
                .0
                .get("credentials")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|id| id.as_str().and_then(|id| id.try_into().ok()).ok_or(Error::corrupt(FUNCTION, "credentials")))
                .collect::<Result<_, _>>()?,
        },
        _ => return Err(Error::corrupt(FUNCTION, "change")),
    })
}

/// Whether a group stands, and what it changed.
pub(super) fn stood(verdict: Fields<'_>) -> Result<Option<Traces>, Error> {
    let stood = Fields(verdict.0.get("stood").ok_or(Error::corrupt(FUNCTION, "stood"))?);
    let (_, mut changes) = entries(stood)?;
    if changes.is_empty() {
        return Ok(None);
    }
    let grant = changes.iter().find_map(|change| match change {
        Change::Entry { at, kind: EntryKind::Granted | EntryKind::Redelivered, .. } => Some(at.index),
        _ => None,
    });
    changes.extend(told(stood)?);
    Ok(Some(Traces { grant, changes }))
}
