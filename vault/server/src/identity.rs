//! The node's identity files: read at start, read again whenever one of them changes, so that a revocation counts
//! without a restart. Files that do not work together change nothing, but for one case: where only certificate and key
//! do not fit, bundle and revocation lists are taken all the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use cofre_edge::revocation::{Reloaded, Standing};
use cofre_edge::tls::Material;
use cofre_model::time::{Clock, Span, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::config;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Files that did not work are tried again after this many looks though they did not change: what kept them from
/// being read may have gone by itself.
const RETRY: u32 = 12;
/// How often the end of the revocation lists is warned of.
const WARN_EVERY: Span = Span::days(1);

/// The PEM files of the node's identity, as they were read.
pub(crate) struct Identity {
    certificate: Vec<u8>,
    key: secrecy::SecretString,
    bundle: Vec<u8>,
    revocations: Vec<u8>,
    pub(crate) spiffe_id: String,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// The key of the configuration whose file cannot be read, or does not name a node.
    pub(crate) fn read(files: &config::Identity) -> Result<Self> {
        let file = |key: &'static str, path: &Path| {
            std::fs::read(path).with_context(|| format!("{key}: {} cannot be read", path.display()))
        };
        let certificate = file("identity.certificate", &files.certificate)?;
        Ok(Self {
            spiffe_id: name_in(&certificate, &files.trust_domain)?,
            certificate,
            key: files.key.read("identity.key")?,
            bundle: file("identity.bundle", &files.bundle)?,
            revocations: file("identity.revocations", &files.revocations)?,
        })
    }

    /// Lends them to TLS.
    pub(crate) fn material(&self) -> Material<'_> {
        Material {
            certificate: &self.certificate,
            key: self.key.expose_secret().as_bytes(),
            bundle: &self.bundle,
            revocations: &self.revocations,
        }
    }
}

/// The node's SPIFFE id, from its certificate.
///
/// # Errors
/// A certificate that cannot be read, or carries none of this trust domain.
pub(crate) fn name(files: &config::Identity) -> Result<String> {
    let certificate = std::fs::read(&files.certificate)
        .with_context(|| format!("identity.certificate: {} cannot be read", files.certificate.display()))?;
    name_in(&certificate, &files.trust_domain)
}

fn name_in(certificate: &[u8], trust_domain: &str) -> Result<String> {
    let leaf = CertificateDer::from_pem_slice(certificate).context("identity.certificate: no PEM certificate")?;
    let caller = cofre_edge::peer::caller_from_certificate(&leaf, trust_domain)
        .context("identity.certificate: must carry this node's SPIFFE id")?;
    Ok(caller.identity().to_string())
}

/// What tells one state of a file from another; none where it cannot be looked at.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// Keeps the trust in use in step with the files.
pub(crate) struct Watch {
    files: config::Identity,
    /// The identity this node was started with: entries and promises name it.
    spiffe_id: String,
    standing: Arc<Standing>,
    clock: Arc<dyn Clock>,
    seen: Vec<Stamp>,
    /// Looks since files that did not work; none while all is well.
    failing: Option<u32>,
    renewal: Renewal,
}

impl Watch {
    /// Watches the files that `standing` was loaded from. Looked at before they are read again, so that what changes in
    /// between is seen by the next look.
    pub(crate) fn new(
        files: config::Identity,
        spiffe_id: String,
        standing: Arc<Standing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let renewal = Renewal::of(clock.now(), standing.revocations_until());
        // Nothing seen yet: what changed between the start's reading and now is caught by the first look.
        Self { files, spiffe_id, standing, clock, seen: Vec::new(), failing: None, renewal }
    }

    /// Looks every five seconds, and at once when told to, until the node stops.
    pub(crate) async fn run(self, mut told: Signal, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watch = self;
        loop {
            let forced = tokio::select! {
                _ = ticks.tick() => false,
                _ = told.recv() => true,
                () = stop.cancelled() => return,
            };
            // Reading files and verifying every live chain would hold up other calls.
            let looked = tokio::task::spawn_blocking(move || {
                watch.look(forced);
                watch
            });
            match looked.await {
                Ok(back) => watch = back,
                Err(error) => {
                    tracing::error!(error = %error, "identity files are watched no more; restart the node");
                    return;
                }
            }
        }
    }

    /// One look: reads the files again where one changed, or where `forced`.
    pub(crate) fn look(&mut self, forced: bool) {
        let now_seen: Vec<Stamp> = self.paths().iter().map(|path| stamp(path)).collect();
        let retry = self.failing.is_some_and(|looks| looks >= RETRY);
        if forced || retry || now_seen != self.seen {
            self.seen = now_seen;
            match self.reload() {
                Ok(all) => self.failing = (!all).then_some(0),
                Err(error) => {
                    self.failing = Some(0);
                    tracing::error!(
                        error = format!("{error:#}"),
                        "identity files not taken; the ones before stay in use"
                    );
                }
            }
        }
        self.failing = self.failing.map(|looks| looks.saturating_add(1));
        let now = self.clock.now();
        if self.renewal.is_due(now) {
            tracing::warn!(
                until = %self.renewal.until,
                "identity.revocations: renew the lists; once they are stale nobody is let in"
            );
        }
    }

    /// Takes what fits, and says whether that was everything.
    fn reload(&mut self) -> Result<bool> {
        let (reloaded, all) = match self.reload_all() {
            Ok(reloaded) => (reloaded, true),
            // SECURITY: a pair that does not fit, such as a renewed certificate beside the key of before, must not keep
            // revocations from counting.
            Err(error) => match self.reload_lists() {
                Ok(reloaded) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "identity.certificate and identity.key not taken, bundle and revocations are"
                    );
                    (reloaded, false)
                }
                Err(_) => return Err(error),
            },
        };
        self.renewal = Renewal::of(self.clock.now(), reloaded.revocations_until);
        tracing::info!(all, cut = reloaded.cut, until = %reloaded.revocations_until, "identity files taken");
        Ok(all)
    }

    fn reload_all(&self) -> Result<Reloaded> {
        let identity = Identity::read(&self.files)?;
        ensure!(
            identity.spiffe_id == self.spiffe_id,
            "identity.certificate: is another node's; restart the node to give it another identity"
        );
        Ok(self.standing.reload(&identity.material())?)
    }

    fn reload_lists(&self) -> Result<Reloaded> {
        let bundle = std::fs::read(&self.files.bundle).context("identity.bundle")?;
        let revocations = std::fs::read(&self.files.revocations).context("identity.revocations")?;
        Ok(self.standing.reload_lists(&bundle, &revocations)?)
    }

    fn paths(&self) -> Vec<PathBuf> {
        let config::Identity { certificate, key, bundle, revocations, .. } = &self.files;
        let key = key.path();
        [Some(certificate.clone()), key, Some(bundle.clone()), Some(revocations.clone())]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// When to warn that revocation lists want renewing: once a quarter of their time is left, and daily from then on.
#[derive(Debug)]
struct Renewal {
    until: Timestamp,
    from: Timestamp,
    warned: Option<Timestamp>,
}

impl Renewal {
    fn of(now: Timestamp, until: Timestamp) -> Self {
        let quarter = Span::micros(until.since(now).as_micros() / 4);
        Self { until, from: until.minus(quarter), warned: None }
    }

    fn is_due(&mut self, now: Timestamp) -> bool {
        let due = now >= self.from && self.warned.is_none_or(|warned| warned.plus(WARN_EVERY) <= now);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests;
