//! Retiring what a custodian wrapped: every share of what replaced it is opened once, what is left is counted, the count
//! is signed and recorded, and only under a count of zero the older shares are used no more. They are destroyed later, once
//! every share of what replaced them was opened again.

use cofre_custody::CustodianId;
use cofre_model::caller::Caller;
use cofre_model::entry::EntryKind;
use cofre_model::permit::EntryRef;
use cofre_model::reason::Reason;
use cofre_model::request::RetireKeys;
use cofre_model::time::{Monotonic, Span, Timestamp};
use cofre_store::{CommitError, CustodianShares, Destruction, KeyVersion, Operation, WrappedBy};

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
/// Keys looked at in one statement, wrappings retired in one transaction, and keys whose older shares are destroyed in one:
/// each is over long before the database would end it.
const PAGE: u32 = 512;
const DESTROYED_AT_ONCE: u32 = 32;

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
    /// Of tenants' keys: tenants that were looked at and keep their older versions.
    pub kept: u64,
    /// Of tenants' keys: whether time ran out before all were retired that can be. Giving the order again goes on.
    pub more: bool,
}

impl KeyJobs {
    /// Counts what a custodian still wraps, has the count signed, and records it.
    ///
    /// # Errors
    /// KEY_SERVICE_UNAVAILABLE where nobody signs; else the stores'.
    pub async fn count(&self, caller: &Caller, source: &Source) -> Result<(u64, EntryRef), Error> {
        let (remaining, _) = self.remaining(source).await?;
        Ok((remaining, self.counted((caller, RETIRE), (source.to_string(), &source.to_string()), remaining).await?))
    }

    /// Has a count signed, and records it: under its subject, and by what the statement says was counted.
    pub(super) async fn counted(
        &self,
        (caller, method): (&Caller, &'static str),
        (subject, said): (String, &str),
        remaining: u64,
    ) -> Result<EntryRef, Error> {
        let mut statement = statement(&self.deployment, said, remaining, self.clock.now().micros());
        let signature = self.signer.sign(&statement).await.map_err(cofre_custody::Error::from)?;
        statement.extend_from_slice(&signature);
        let entry = entry(EntryKind::KeysCounted, Some(caller), method)?;
        Ok(self.records.apply(entry, Operation::CountKeys { subject, remaining, statement }).await?)
    }

    /// Retires what a custodian wrapped. Each key that was moved away from it is opened by all of its new shares first.
    ///
    /// # Errors
    /// WRONG_STATE while it still has a share in force or is to hold new tenants' keys, where it never wrapped what was
    /// replaced, while a rewrap runs, where a moved key has no proven wrapping, or where not all could be done within
    /// three seconds; INTEGRITY_FAILURE or KEY_SERVICE_UNAVAILABLE where a new share does not open. Shares that were
    /// retired by then stay retired, and the next call goes on with the others.
    pub async fn retire(&self, caller: &Caller, source: &Source) -> Result<Retired, Error> {
        self.may_retire(source).await?;
        let proven = self.clock.now().minus(PROVEN);
        let begun = self.clock.monotonic();
        self.prove_moved(source, proven, begun).await?;
        let (remaining, counted) = self.count(caller, source).await?;
        if remaining > 0 {
            return Err(refused(
                "still wraps keys in force; run `cofre keys rewrap` and wait until none is left, or `cofre keys retire --tenant-keys` first where these are older ones that a rotation left behind; while more than a hundred are left, keys that are nobody's count as well",
            ));
        }
        // Before the entry: it is not written by a call that has no time left to do what it says.
        self.in_time(begun)?;
        let entry = entry(EntryKind::KeysRetired, Some(caller), RETIRE)?;
        let retire = Operation::RetireKeys { subject: source.to_string() };
        // Counted once more in the transaction that retires: a row put back meanwhile is not overlooked. Nobody moves a
        // key until that is over, and the entry is written where it is certain that something is retired under it.
        let (_, nobodys) = self.remaining(source).await?;
        let Some(retirement) = self.keyring.retire_custodian(source.by(), &nobodys, self.clock.now()).await? else {
            return Err(refused(
                "wraps a key that came back meanwhile, or none was moved away; run `cofre keys rewrap`",
            ));
        };
        let entry = match self.records.apply(entry, retire).await {
            Err(CommitError::Refused(Reason::WrongState)) => {
                return Err(refused("cannot be retired while a rewrap runs; wait until it is done, or stop it"));
            }
            applied => applied?,
        };
        retirement.commit().await?;
        let shares = self.retire_closed(source, proven, begun).await?;
        let statement = self.statement_of(&source.to_string(), &counted).await?;
        Ok(Retired { shares, counted, entry, statement, kept: 0, more: false })
    }

    /// The statement that was counted under an entry.
    pub(super) async fn statement_of(&self, subject: &str, counted: &EntryRef) -> Result<Vec<u8>, Error> {
        let count = self.records.key_count(subject).await?;
        let statement = count.filter(|count| count.entry_index == counted.index).map(|count| count.statement);
        Ok(statement.unwrap_or_default())
    }

    /// Refuses whoever new keys are to be wrapped by, and whoever never wrapped one: its name would be lost for nothing.
    async fn may_retire(&self, source: &Source) -> Result<(), Error> {
        if self.floor.custodians().any(|custodian| *custodian == source.custodian) {
            let Some(key) = source.key.as_deref() else {
                return Err(refused(
                    "holds the keys of new tenants; name another under `custody.default` on every node first",
                ));
            };
            let newer =
                |row: &CustodianShares| row.custodian == source.custodian.as_str() && row.key != key && row.current > 0;
            if !self.keyring.custodian_shares().await?.iter().any(newer) {
                return Err(refused(
                    "holds the keys of new tenants, and wraps none by another key; have it use a newer one, and run `cofre keys rewrap --from-key` first",
                ));
            }
        }
        // What is still in force is counted, signed and refused then.
        if self.keyring.wrapped_before(source.by()).await? || self.keyring.shares_in_force(source.by()).await? > 0 {
            return Ok(());
        }
        Err(refused("never wrapped a tenant's key here; see `cofre keys status` for those that did"))
    }

    /// Opens whatever replaced a share of this source and was not opened since `proven`.
    async fn prove_moved(&self, source: &Source, proven: Timestamp, begun: Monotonic) -> Result<(), Error> {
        let mut after = None;
        loop {
            let span = (proven, self.clock.now());
            let keys = self.keyring.closed_keys(source.by(), span, after, PAGE).await?;
            let Some((last, _)) = keys.last() else { return Ok(()) };
            after = Some(*last);
            for (key, _) in keys.iter().filter(|(_, proven)| !proven) {
                self.in_time(begun)?;
                self.prove(*key).await?;
            }
        }
    }

    /// Retires its closed shares, some at a time; gives their number.
    async fn retire_closed(&self, source: &Source, proven: Timestamp, begun: Monotonic) -> Result<u64, Error> {
        let mut shares = 0;
        loop {
            let now = self.clock.now();
            let retired = self.keyring.retire_shares(source.by(), proven, now, PAGE).await?;
            shares += retired;
            if self.keyring.closed_keys(source.by(), (proven, now), None, 1).await?.is_empty() {
                return Ok(shares);
            }
            if retired == 0 {
                return Err(refused("has a share whose key was wrapped anew meanwhile; give the command again"));
            }
            self.in_time(begun)?;
        }
    }

    /// Refuses once a call has gone on for as long as it may.
    pub(super) fn in_time(&self, begun: Monotonic) -> Result<(), Error> {
        if self.is_over(begun, OPENING) {
            return Err(refused(
                "has shares that are still to be opened or retired; give the command again, it goes on with those",
            ));
        }
        Ok(())
    }

    /// Whether a call has gone on for longer than that.
    pub(super) fn is_over(&self, begun: Monotonic, span: Span) -> bool {
        self.clock.monotonic().micros().saturating_sub(begun.micros()) > span.as_micros()
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

    /// Destroys what was retired long ago, once every share of what replaced it was opened: now, and not on the day it was
    /// retired. What does not open then keeps its older shares, which may be all there is. Gives the number of shares. The
    /// entry is written where it is certain which shares go under it, and before they do. `ended` says that the node is to
    /// stop.
    ///
    /// # Errors
    /// The stores'; the next call goes on from there.
    pub async fn destroy_retired(&self, ended: &(dyn Fn() -> bool + Sync)) -> Result<u64, Error> {
        let before = self.clock.now().minus(KEPT);
        let (mut gone, mut after) = (0, None);
        while !ended() {
            let keys = self.keyring.keys_retired(before, after, DESTROYED_AT_ONCE).await?;
            let Some(last) = keys.last() else { break };
            after = Some(*last);
            let mut opened = Vec::new();
            for key in keys {
                match self.keyring.tenant_key(&key.tenant, key.version).await {
                    // A version that was retired as a whole goes with the next function.
                    Ok(shares) if shares.is_empty() => continue,
                    Ok(_) => {}
                    Err(error @ cofre_store::Error::Corrupt { .. }) => {
                        tracing::warn!(key = %key, error = %error, "retired shares stay: what replaced them cannot be read");
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
                match self.prove(key).await {
                    Ok(wrapping) => opened.push((key, wrapping)),
                    Err(error) => {
                        tracing::warn!(key = %key, error = %error, "retired shares stay: what replaced them does not open");
                    }
                }
            }
            let (now, proven) = (self.clock.now(), self.clock.now().minus(PROVEN));
            let Some(destruction) = self.keyring.destroy_retired(&opened, before, proven, now).await? else { continue };
            gone += self.destroyed(destruction).await?;
        }
        Ok(gone + self.destroy_versions(before, ended).await?)
    }

    /// The entry, and then the shares it speaks of.
    pub(super) async fn destroyed(&self, destruction: Destruction) -> Result<u64, Error> {
        let entry = entry(EntryKind::KeysDestroyed, None, RETIRE)?;
        let destroyed = Operation::RetiredKeysDestroyed { shares: destruction.shares() };
        let at = self.records.apply(entry, destroyed).await?;
        Ok(destruction.commit(at.index).await?)
    }

    /// Opens every share of what is in force of a key, under an entry of its own, and keeps in mind that they opened; gives
    /// the number of that wrapping.
    pub(super) async fn prove(&self, key: KeyVersion) -> Result<u32, Error> {
        let wrapping = |rows: &[cofre_store::TenantKeyShare]| rows.first().map(|row| row.wrapping);
        let before = wrapping(&self.keyring.tenant_key(&key.tenant, key.version).await?);
        let tenant = self.tenant(key).await?.ok_or_else(|| refused("wrapped a key the records do not know"))?;
        self.rewrapping.prove(&tenant).await?;
        // Numbers only grow: where it is the same before and after, it is the one that was opened.
        let after = wrapping(&self.keyring.tenant_key(&key.tenant, key.version).await?);
        match before.filter(|before| after == Some(*before)) {
            Some(wrapping) => {
                self.keyring.prove_wrapping(key, wrapping, self.clock.now()).await?;
                Ok(wrapping)
            }
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
