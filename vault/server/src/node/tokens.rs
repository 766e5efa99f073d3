//! Tokens: opened at start, and on explicit order given their keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofre_custody::pkcs11::host::Hosting;
use cofre_custody::pkcs11::{Pin, Place, Settings, Token, ceremony};
use cofre_custody::{Custodian, CustodianId};
use cofre_envelope::Slab;

use crate::config::{Config, Mode, Token as Configured};

/// This very program, also where its file was replaced since it was started.
const PROGRAM: &str = "/proc/self/exe";

fn settings(id: &CustodianId, token: &Configured) -> Result<Settings> {
    let place = match &token.host {
        None => Place::Inside,
        Some(hosted) => Place::Child(Hosting {
            program: PROGRAM.into(),
            arguments: vec!["custody-host".into(), id.as_str().into()],
            environment: hosted.environment.iter().map(|name| passed_on(name)).collect::<Result<_>>()?,
            sandbox: hosted.sandbox.clone(),
        }),
    };
    Ok(Settings {
        module_sha256: token.module_sha256,
        signer_label: token.signer_label.clone(),
        mechanism: token.mechanism,
        sessions: token.sessions,
        reserve: token.reserve,
        deadline: token.deadline,
        place,
        ..Settings::new(id.clone(), token.module.clone(), token.token.clone(), token.key_label.clone())
    })
}

fn passed_on(name: &str) -> Result<(OsString, OsString)> {
    let value = std::env::var_os(name).with_context(|| {
        format!("custodians.*.pkcs11.environment names {name}, which is not set; set it, or leave it out")
    })?;
    Ok((name.into(), value))
}

/// Opens every configured token. Production refuses a simulator.
pub(super) async fn open(config: &Config, slab: &Arc<Slab>) -> Result<BTreeMap<CustodianId, Arc<Token>>> {
    let mut tokens = BTreeMap::new();
    for (id, configured) in &config.custodians {
        if config.mode == Mode::Production && configured.host.is_none() {
            bail!("custodian {id}: `host = \"inside\"` puts the module beside opened logins; production refuses it");
        }
        let pin = Pin::new(configured.pin.read_pin(id)?);
        let settings = settings(id, configured)?;
        let token = Token::open(settings, pin, slab).await.with_context(|| format!("custodian {id}"))?;
        let description = token.describe();
        if config.mode == Mode::Production && description.is_simulator() {
            bail!("custodian {id}: a simulated token keeps nothing safe; production refuses it");
        }
        tracing::info!(
            custodian = %id,
            manufacturer = description.manufacturer,
            model = description.model,
            mechanism = description.mechanism.as_str(),
            // Not `reason`, which telemetry lets out: a module may have had a part in this text.
            why = token.why(),
            sessions = description.sessions,
            signer = description.signer.unwrap_or("none"),
            "token opened"
        );
        tokens.insert(id.clone(), token);
    }
    Ok(tokens)
}

/// Opens every configured token, says what it is, how its key wraps and why, and what holds its module in, and closes it
/// again. One login each.
///
/// # Errors
/// The custodian that failed, with one line of advice.
pub async fn look(config: &Config) -> Result<()> {
    let slab = super::start::locked_memory(config)?;
    for (id, token) in open(config, &slab).await? {
        let is = token.describe();
        println!("custodian {id}: {} {}, token {} ({})", is.manufacturer, is.model, is.token_label, is.serial);
        println!("    wraps by {}: {}", is.mechanism.as_str(), token.why());
        println!("    signs by {}", is.signer.unwrap_or("nothing"));
        println!("    {} sessions", is.sessions);
        if let Some(host) = token.host() {
            println!("    {}", host.walls);
        }
        token.close().await.with_context(|| format!("custodian {id}"))?;
    }
    Ok(())
}

/// Makes the keys that are missing in every configured token and says what it found. Overwrites and deletes nothing.
///
/// # Errors
/// The custodian that failed, with one line of advice.
pub fn init(config: &Config) -> Result<()> {
    let slab = super::start::locked_memory(config)?;
    for (id, configured) in &config.custodians {
        let pin = Pin::new(configured.pin.read_pin(id)?);
        let ensured =
            ceremony::ensure_keys(&settings(id, configured)?, pin, &slab).with_context(|| format!("custodian {id}"))?;
        println!("custodian {id}: {ensured:?}");
    }
    Ok(())
}
