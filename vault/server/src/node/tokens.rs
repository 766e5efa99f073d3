//! Custodians: tokens and keys of services, opened at start, and tokens on explicit order given their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony};
use cofre_custody::{Custodian, CustodianId, Fault, Signer};
use cofre_envelope::Slab;
use cofre_model::time::Clock;

use super::services;
use crate::config::{Config, Configured, Mode, Token as ConfiguredToken};

/// An open custodian, of whatever kind.
#[derive(Debug, Clone)]
pub(crate) enum Driver {
    /// A token.
    Token(Arc<Token>),
    /// A key of a service.
    #[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
    Service(services::Service),
}

impl Driver {
    pub(crate) fn custodian(&self) -> Arc<dyn Custodian> {
        match self {
            Self::Token(token) => token.clone(),
            #[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
            Self::Service(service) => service.custodian(),
        }
    }

    /// Its signing key.
    pub(crate) fn signer(&self) -> Result<Arc<dyn Signer>, Fault> {
        match self {
            Self::Token(token) => Ok(token.signer()?),
            #[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
            Self::Service(service) => service.signer(),
        }
    }

    /// Takes no more calls; logs out of a token.
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        match self {
            Self::Token(token) => token.close().await,
            #[cfg(any(feature = "aws", feature = "gcp", feature = "transit"))]
            Self::Service(service) => {
                service.close();
                Ok(())
            }
        }
    }
}

fn settings(id: &CustodianId, token: &ConfiguredToken) -> Settings {
    let name = TokenName::Label(token.token_label.clone());
    Settings {
        signer_label: token.signer_label.clone(),
        sessions: token.sessions,
        ..Settings::new(id.clone(), token.module.clone(), name, token.key_label.clone())
    }
}

/// Opens every configured custodian. Production refuses a simulator.
pub(super) async fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    slab: &Arc<Slab>,
) -> Result<BTreeMap<CustodianId, Driver>> {
    let mut drivers = BTreeMap::new();
    for (id, configured) in &config.custodians {
        let driver = match configured {
            Configured::Pkcs11(token) => {
                let pin = Pin::new(token.pin.read("custodians.*.pkcs11.pin")?);
                let opened = Token::open(settings(id, token), pin, slab).await;
                Driver::Token(opened.with_context(|| format!("custodian {id}"))?)
            }
            service => services::open(id, service, clock, slab).await.with_context(|| format!("custodian {id}"))?,
        };
        let description = driver.custodian().describe();
        if config.mode == Mode::Production && description.is_simulator() {
            bail!("custodian {id}: a simulated token keeps nothing safe; production refuses it");
        }
        tracing::info!(
            custodian = %id,
            manufacturer = description.manufacturer,
            model = description.model,
            mechanism = description.mechanism.as_str(),
            signer = description.signer.unwrap_or("none"),
            "custodian opened"
        );
        drivers.insert(id.clone(), driver);
    }
    Ok(drivers)
}

/// Makes the keys that are missing in every configured token and says what it found. Overwrites and deletes nothing. Keys
/// of services are made with the services' own tools.
///
/// # Errors
/// The custodian that failed, with one line of advice.
pub fn init(config: &Config) -> Result<()> {
    for (id, configured) in &config.custodians {
        let Configured::Pkcs11(token) = configured else {
            println!("custodian {id}: nothing is made at a service; `cofred run` says whether its keys fit");
            continue;
        };
        let pin = Pin::new(token.pin.read("custodians.*.pkcs11.pin")?);
        let ensured = ceremony::ensure_keys(&settings(id, token), pin).with_context(|| format!("custodian {id}"))?;
        println!("custodian {id}: {ensured:?}");
    }
    Ok(())
}
