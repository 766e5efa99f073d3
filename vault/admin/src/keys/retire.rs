//! Retiring what a custodian wrapped: every share of what replaced it is opened once, what is left is counted, the count
//! is signed and recorded, and only under a count of zero the older shares are used no more. They are destroyed later.

use cofre_custody::CustodianId;
use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::RetireKeys;
use cofre_model::time::Span;
use cofre_store::{CommitError, KeyVersion, Operation, WrappedBy};

use crate::Error;
use crate::keys::{KeyJobs, RETIRE, entry};

/// Retired shares are kept this long, so that a backup of the records can still be put back: 30 days, and an hour by which
/// the clocks of node and database may differ. PostgreSQL holds to the 30 days by its own.
const KEPT: Span = Span::hours(30 * 24 + 1);
/// A wrapping that was opened longer ago is opened anew before what it replaced is retired.
pub(super) const PROVEN: Span = Span::hours(24);
/// A call opens shares for this long, so that it is answered within its time.
pub(super) const OPENING: Span = Span::secs(3);
/// With more keys in force than this, some of them are somebody's.
const NOBODYS: usize = 100;
/// How the entry of their destruction names them.
const DESTROYED: &str = "retired-wrappings";

/// A custodian, or one key of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The custodian.
    pub custodian: CustodianId,
    /// Its key; none for all of them.
    pub key: Option<String>,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.key {
            None => self.custodian.fmt(f),
            Some(key) => write!(f, "{} key {key}", self.custodian),
        }
    }
}

impl TryFrom<RetireKeys> for Source {
    type Error = Error;
    fn try_from(request: RetireKeys) -> Result<Self, Error> {
        let custodian = CustodianId::try_from(request.custodian.as_str())
            .map_err(|_| Error::field(Reason::BadRequest, "custodian", "must be the name of a custodian"))?;
        Ok(Self { custodian, key: request.key.map(|key| key.as_str().to_owned()) })
    }
}

impl Source {
    fn by(&self) -> WrappedBy<'_> {
        WrappedBy { custodian: self.custodian.as_str(), key: self.key.as_deref() }
    }
}

/// What was retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Shares.
    pub shares: u64,
    /// Where the count of zero stands.
    pub counted: EntryRef,
    /// Where the retirement stands.
    pub entry: EntryRef,
    /// The count of zero as it was signed: the statement, and 64 bytes of signature.
    pub statement: Vec<u8>,
}

impl KeyJobs {
    /// Counts what a custodian still wraps, has the count signed, and records it.
    ///
    /// # Errors
    /// KEY_SERVICE_UNAVAILABLE where nobody signs; else the stores'.
    pub async fn count(&self, caller: &Caller, source: &Source) -> Result<(u64, EntryRef), Error> {
        let (remaining, _) = self.remaining(source).await?;
        Ok((remaining, self.counted(caller, source.to_string(), remaining).await?))
    }

    /// Has a count signed, and records it.
    pub(super) async fn counted(&self, caller: &Caller, subject: String, remaining: u64) -> Result<EntryRef, Error> {
        let mut statement = statement(&self.deployment, &subject, remaining, self.clock.now().micros());
        let signature = self.signer.sign(&statement).await.map_err(cofre_custody::Error::from)?;
        statement.extend_from_slice(&signature);
        let entry = entry(EntryKind::KeysCounted, Some(caller), RETIRE)?;
        Ok(self.records.apply(entry, Operation::CountKeys { subject, remaining, statement }).await?)
    }

    /// Retires what a custodian wrapped. Each key that was moved away from it is opened by all of its new shares first.
    ///
    /// # Errors
    /// WRONG_STATE while it still has a share in force or is to hold new tenants' keys, a rewrap runs, a moved key has no
    /// proven wrapping, or not all could be opened within three seconds; INTEGRITY_FAILURE or KEY_SERVICE_UNAVAILABLE
    /// where a new share does not open. Nothing is retired then.
    pub async fn retire(&self, caller: &Caller, source: &Source) -> Result<Retired, Error> {
        if source.key.is_none() && self.floor.custodians().any(|custodian| *custodian == source.custodian) {
            return Err(refused(
                "holds the keys of new tenants; name another under `custody.default` on every node first",
            ));
        }
        let proven = self.clock.now().minus(PROVEN);
        let begun = self.clock.monotonic();
        for key in self.keyring.unproven(source.by(), proven).await? {
            if self.clock.monotonic().micros().saturating_sub(begun.micros()) > OPENING.as_micros() {
                return Err(refused(
                    "has newer shares that are still to be opened; give the command again, it goes on with those",
                ));
            }
            self.prove(key).await?;
        }
        let (remaining, counted) = self.count(caller, source).await?;
        if remaining > 0 {
            return Err(refused("still wraps keys in force; run `cofre keys rewrap` and wait until none is left"));
        }
        let entry = entry(EntryKind::KeysRetired, Some(caller), RETIRE)?;
        let retire = Operation::RetireKeys { subject: source.to_string() };
        // Counted once more in the transaction that retires: a row put back meanwhile is not overlooked. Nobody moves a
        // key until that is over, and the entry is written where it is certain that something is retired under it.
        let (_, nobodys) = self.remaining(source).await?;
        let now = self.clock.now();
        let Some(retirement) = self.keyring.retire_shares(source.by(), &nobodys, proven, now).await? else {
            return Err(refused("wraps a key that came back meanwhile; run `cofre keys rewrap` again"));
        };
        let entry = match self.records.apply(entry, retire).await {
            Err(CommitError::Refused(Reason::WrongState)) => {
                return Err(refused("cannot be retired while a rewrap runs; wait until it is done, or stop it"));
            }
            applied => applied?,
        };
        let shares = retirement.commit().await?;
        Ok(Retired { shares, counted, entry, statement: self.statement_of(&source.to_string(), &counted).await? })
    }

    /// The statement that was counted under an entry.
    pub(super) async fn statement_of(&self, subject: &str, counted: &EntryRef) -> Result<Vec<u8>, Error> {
        let count = self.records.key_count(subject).await?;
        let statement = count.filter(|count| count.entry_index == counted.index).map(|count| count.statement);
        Ok(statement.unwrap_or_default())
    }

    /// How many shares in force a custodian wrapped. Those of keys that are nobody's do not count where they are all
    /// there is; they are named then.
    async fn remaining(&self, source: &Source) -> Result<(u64, Vec<KeyVersion>), Error> {
        let shares = self.keyring.shares_in_force(source.by()).await?;
        let keys = self.keyring.keys_in_force(source.by(), NOBODYS + 1).await?;
        if shares == 0 || keys.len() > NOBODYS {
            return Ok((shares, Vec::new()));
        }
        for key in &keys {
            if !self.is_nobodys(*key).await? {
                return Ok((shares, Vec::new()));
            }
        }
        Ok((0, keys))
    }

    /// Destroys what was retired long ago; gives the number of shares. The entry first, and only where something is due.
    ///
    /// # Errors
    /// The stores'; the next call goes on from there.
    pub async fn destroy_retired(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        let before = now.minus(KEPT);
        let due = self.keyring.shares_retired(before).await?;
        if due == 0 {
            return Ok(0);
        }
        let mut entry = entry(EntryKind::KeysDestroyed, None, RETIRE)?;
        (entry.reference, entry.count) = (Some(DESTROYED.to_owned()), Some(due));
        let at = self.records.apply(entry, Operation::RetiredKeysDestroyed).await?;
        Ok(self.keyring.destroy_retired(before, now, at.index).await?)
    }

    /// Opens every share of what is in force of a key, under an entry of its own, and keeps in mind that they opened.
    pub(super) async fn prove(&self, key: KeyVersion) -> Result<(), Error> {
        let wrapping = |rows: &[cofre_store::TenantKeyShare]| rows.first().map(|row| row.wrapping);
        let before = wrapping(&self.keyring.tenant_key(&key.tenant, key.version).await?);
        let tenant = self.tenant(key).await?.ok_or_else(|| refused("wrapped a key the records do not know"))?;
        self.rewrapping.prove(&tenant).await?;
        // Numbers only grow: where it is the same before and after, it is the one that was opened.
        let after = wrapping(&self.keyring.tenant_key(&key.tenant, key.version).await?);
        match before.filter(|before| after == Some(*before)) {
            Some(wrapping) => Ok(self.keyring.prove_wrapping(key, wrapping, self.clock.now()).await?),
            None => Err(refused("has a key that was wrapped anew meanwhile; try again")),
        }
    }
}

fn refused(advice: &'static str) -> Error {
    Error::field(Reason::WrongState, "custodian", advice)
}

/// What the signer signs: label, deployment, custodian, count and time, each on a line of its own.
fn statement(deployment: &str, subject: &str, remaining: u64, at_us: u64) -> Vec<u8> {
    format!("cofre/v1/keys-counted\n{deployment}\n{subject}\n{remaining}\n{at_us}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_signed_over_these_bytes() {
        let custodian = CustodianId::try_from("hsm-1").expect("a name");
        let source = Source { custodian, key: Some("root-1".into()) };
        let bytes = statement("cofre.example", &source.to_string(), 0, 1_790_000_000_000_000);
        assert_eq!(bytes, b"cofre/v1/keys-counted\ncofre.example\nhsm-1 key root-1\n0\n1790000000000000\n");
    }
}
