//! Tokens: opened at start, and on explicit order given their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony};
use cofre_custody::{Custodian, CustodianId};
use cofre_envelope::Slab;

use crate::config::{Config, Mode, Token as Configured};

fn settings(id: &CustodianId, token: &Configured) -> Settings {
    let name = TokenName::Label(token.token_label.clone());
    Settings {
        signer_label: token.signer_label.clone(),
        sessions: token.sessions,
        ..Settings::new(id.clone(), token.module.clone(), name, token.key_label.clone())
    }
}

/// Opens every configured token. Production refuses a simulator.
pub(super) async fn open(config: &Config, slab: &Arc<Slab>) -> Result<BTreeMap<CustodianId, Arc<Token>>> {
    let mut tokens = BTreeMap::new();
    for (id, configured) in &config.custodians {
        let pin = Pin::new(configured.pin.read("custodians.*.pkcs11.pin")?);
        let token =
            Token::open(settings(id, configured), pin, slab).await.with_context(|| format!("custodian {id}"))?;
        let description = token.describe();
        if config.mode == Mode::Production && description.is_simulator() {
            bail!("custodian {id}: a simulated token keeps nothing safe; production refuses it");
        }
        tracing::info!(
            custodian = %id,
            manufacturer = description.manufacturer,
            model = description.model,
            mechanism = description.mechanism.as_str(),
            signer = description.signer.unwrap_or("none"),
            "token opened"
        );
        tokens.insert(id.clone(), token);
    }
    Ok(tokens)
}

/// Makes the keys that are missing in every configured token and says what it found. Overwrites and deletes nothing.
///
/// # Errors
/// The custodian that failed, with one line of advice.
pub fn init(config: &Config) -> Result<()> {
    for (id, configured) in &config.custodians {
        let pin = Pin::new(configured.pin.read("custodians.*.pkcs11.pin")?);
        let ensured =
            ceremony::ensure_keys(&settings(id, configured), pin).with_context(|| format!("custodian {id}"))?;
        println!("custodian {id}: {ensured:?}");
    }
    Ok(())
}
