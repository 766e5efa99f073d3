//! Keys that are nobody's: they open nothing, and hold up neither the end of a job nor a retirement. Nothing here drops one.

use cofre_model::keys::{KeyJob, KeyJobKind, TenantKeyState};
use cofre_model::time::Span;
use cofre_store::KeyVersion;

use crate::Error;
use crate::keys::KeyJobs;
use crate::keys::rewrap::{AGAIN, One};

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

    /// A key of nobody is listed among what failed, but does not rest: whoever comes next counts it again, so that all of
    /// them are counted by one pass, however many there are.
    pub(super) async fn listed(&self, job: &KeyJob, key: KeyVersion, cause: &str) -> Result<One, Error> {
        let rested = self.clock.now().minus(AGAIN);
        self.keyring.note_failure(&job.id, &key.to_string(), Some(cause), rested).await?;
        Ok(One::Nobodys)
    }
}
