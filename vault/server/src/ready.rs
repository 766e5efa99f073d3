//! Readiness: custodians, each store, the policy set and the clock, each asked within its own time limit and by name.
//! However many ask for it, the parts are asked once a second at most.

use std::sync::Arc;
use std::time::Duration;

use cofre_custody::Custodian;
use cofre_edge::services::Readiness;
use cofre_model::id::CredentialId;
use cofre_model::time::{Clock, Span, Timestamp};
use cofre_model::wording::Class;
use cofre_store::{Ciphertexts, Keyring, Records};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

/// No part may take longer to answer.
const WITHIN: Duration = Duration::from_secs(1);
/// A clock this far behind the newest entry is not to be believed.
const BEHIND: Span = Span::secs(2);

/// An answer serves everybody who asks within this long of it.
const FRESH: Span = Span::secs(1);

/// One answer for all who ask at once, and for a second after: a check of a token is a call to it, and whoever may call
/// `Health/Check` could otherwise keep the token from its work.
#[derive(Debug)]
pub(crate) struct Shared<R> {
    inner: Arc<R>,
    clock: Arc<dyn Clock>,
    last: Arc<Mutex<Option<(Timestamp, bool)>>>,
}

impl<R> Shared<R> {
    pub(crate) fn new(inner: R, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(inner), clock, last: Arc::default() }
    }
}

impl<R: Readiness + 'static> Readiness for Shared<R> {
    fn ready(&self) -> BoxFuture<'static, bool> {
        let (inner, clock, last) = (Arc::clone(&self.inner), Arc::clone(&self.clock), Arc::clone(&self.last));
        // In a task of its own: a caller that hangs up does not have the parts asked anew by the next one.
        let asked = tokio::spawn(async move {
            let mut last = last.lock().await;
            let now = clock.now();
            match *last {
                Some((at, ready)) if at <= now && now < at.plus(FRESH) => ready,
                _ => {
                    let ready = inner.ready().await;
                    *last = Some((clock.now(), ready));
                    ready
                }
            }
        });
        Box::pin(async move { asked.await.unwrap_or(false) })
    }
}

/// Asks the parts a node stands on.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) records: Records,
    pub(crate) ciphertexts: Ciphertexts,
    pub(crate) keyring: Keyring,
    pub(crate) custodians: Vec<Arc<dyn Custodian>>,
    pub(crate) clock: Arc<dyn Clock>,
}

async fn answers(name: &str, part: impl Future<Output = bool>) -> bool {
    let ready = tokio::time::timeout(WITHIN, part).await.unwrap_or(false);
    if !ready {
        tracing::warn!(part = name, "not ready");
    }
    ready
}

impl Readiness for Ready {
    fn ready(&self) -> BoxFuture<'static, bool> {
        let (store, sealed, keys) = (self.records.clone(), self.ciphertexts.clone(), self.keyring.clone());
        let (asked, clock) = (self.custodians.clone(), Arc::clone(&self.clock));
        Box::pin(async move {
            let records = answers("records", async {
                match store.head().await {
                    Ok(head) => head.last_time.minus(BEHIND) <= clock.now(),
                    Err(_) => false,
                }
            });
            // A login that never was: that there is nothing under it is the answer of a store that works.
            let nobody = CredentialId::from_parts(0, [0; 10]);
            let ciphertexts = answers("ciphertexts", async { sealed.of(&nobody, Class::Login, 1).await.is_ok() });
            let keyring = answers("keyring", async { keys.integrator().await.is_ok() });
            let policy = answers("policy", async { matches!(store.policy().await, Ok(Some(_))) });
            let (records, ciphertexts, keyring, policy) = tokio::join!(records, ciphertexts, keyring, policy);
            let mut custodians = true;
            for custodian in &asked {
                custodians &= answers(custodian.id().as_str(), async { custodian.check().await.is_ok() }).await;
            }
            records && ciphertexts && keyring && policy && custodians
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cofre_testkit::clock::TestClock;

    use super::*;

    #[derive(Debug, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Readiness for Counting {
        fn ready(&self) -> BoxFuture<'static, bool> {
            let asked = Arc::clone(&self.0);
            Box::pin(async move {
                tokio::task::yield_now().await;
                // Ready the first time only.
                asked.fetch_add(1, Ordering::SeqCst) == 0
            })
        }
    }

    #[tokio::test]
    async fn however_many_ask_the_parts_are_asked_once_a_second() {
        let (clock, asked) = (Arc::new(TestClock::default()), Arc::new(AtomicUsize::new(0)));
        let ready = Shared::new(Counting(Arc::clone(&asked)), Arc::clone(&clock) as Arc<dyn Clock>);
        let all = futures_util::future::join_all((0..100).map(|_| ready.ready())).await;
        assert!(all.iter().all(|ready| *ready) && all.len() == 100);
        assert!(ready.ready().await);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        clock.advance(Span::secs(1));
        assert!(!ready.ready().await, "what was is not said for longer");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_caller_that_hangs_up_does_not_have_the_parts_asked_anew() {
        let (clock, asked) = (Arc::new(TestClock::default()), Arc::new(AtomicUsize::new(0)));
        let ready = Shared::new(Counting(Arc::clone(&asked)), clock as Arc<dyn Clock>);
        for _ in 0..50 {
            drop(ready.ready());
        }
        assert!(ready.ready().await);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
