//! Readiness: custodians, each store, the policy set and the clock, each asked within its own time limit and by name.

use std::sync::Arc;
use std::time::Duration;

use cofre_custody::Custodian;
use cofre_custody::pkcs11::Token;
use cofre_edge::services::Readiness;
use cofre_model::id::CredentialId;
use cofre_model::time::{Clock, Span};
use cofre_model::wording::Class;
use cofre_store::{Ciphertexts, Keyring, Records};
use futures_util::future::BoxFuture;

/// No part may take longer to answer.
const WITHIN: Duration = Duration::from_secs(1);
/// A clock this far behind the newest entry is not to be believed.
const BEHIND: Span = Span::secs(2);

/// Asks the parts a node stands on.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) records: Records,
    pub(crate) ciphertexts: Ciphertexts,
    pub(crate) keyring: Keyring,
    pub(crate) tokens: Vec<Arc<Token>>,
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
        let (tokens, clock) = (self.tokens.clone(), Arc::clone(&self.clock));
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
            for token in &tokens {
                custodians &= answers(token.id().as_str(), async { token.check().await.is_ok() }).await;
            }
            records && ciphertexts && keyring && policy && custodians
        })
    }
}
