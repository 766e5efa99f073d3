//! Keys that are nobody's: they open nothing, and hold up neither the end of a job nor a retirement. Nothing here drops one.

use cofre_model::keys::{KeyJobKind, TenantKeyState};
use cofre_model::time::Span;
use cofre_store::KeyVersion;

use crate::Error;
use crate::keys::KeyJobs;

/// A tenant is registered within this long of its key, or never.
const REGISTERED: Span = Span::hours(1);

impl KeyJobs {
    /// Whether a key is of no tenant there ever was, or of a version that was never put in force or has been closed and has
    /// nothing left under it, and was put too long ago for anything still to come: it opens nothing.
    pub(super) async fn is_nobodys(&self, key: KeyVersion) -> Result<bool, Error> {
        let before = self.clock.now().minus(REGISTERED);
        let known = self.records.tenant_known(&key.tenant).await? && self.in_use(key).await?;
        Ok(!known && self.keyring.put_before(key, before).await?)
    }

    /// The same, of a key that was not moved: what cannot be read of it may be somebody's.
    pub(super) async fn is_surely_nobodys(&self, key: KeyVersion) -> Result<bool, Error> {
        match self.is_nobodys(key).await {
            Err(Error::Store(cofre_store::Error::Corrupt { .. })) => Ok(false),
            known => known,
        }
    }

    /// Whether the records know a version, and have it in use, or a rotation under way that may put it in force.
    async fn in_use(&self, key: KeyVersion) -> Result<bool, Error> {
        Ok(match self.records.tenant_key_version(&key.tenant, key.version).await?.map(|version| version.state) {
            None => false,
            Some(TenantKeyState::Current) => true,
            // One that was made and never opened is closed by the next. SECURITY: records carry no MAC for this: the keyring
            // says what still lies under it.
            Some(TenantKeyState::Closed) => !self.keyring.is_outlived(key).await?,
            Some(TenantKeyState::Made) => {
                self.records.key_jobs_running().await?.iter().any(|job| job.kind == KeyJobKind::Rotate)
            }
        })
    }
}
