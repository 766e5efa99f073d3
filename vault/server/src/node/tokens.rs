//! Custodians: tokens and keys of services, opened at start, and tokens on explicit order given their keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofre_custody::pkcs11::host::Hosting;
use cofre_custody::pkcs11::{Pin, Place, Settings, Token, ceremony as making};
use cofre_custody::{Cause, Custodian, CustodianId, Fault, Guarded, Operation, Signer};
use cofre_envelope::Slab;
use cofre_model::time::Clock;

use super::late::{self, Late, Opening};
use super::services::{self, Service};
use crate::ceremony;
use crate::clock::SystemClock;
use crate::config::{Config, Configured, Mode, Token as ConfiguredToken};

/// An open custodian.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    kind: Kind,
    /// The same, left alone while it is in trouble.
    guarded: Guarded,
}

/// What drives it.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A token.
    Token(Arc<Token>),
    /// A key of a service.
    Service(Service),
    /// One that was away when the node started.
    Late(Arc<Late>),
}

impl Kind {
    fn custodian(&self) -> Arc<dyn Custodian> {
        match self {
            Self::Token(token) => token.clone(),
            Self::Service(service) => service.custodian(),
            Self::Late(late) => Arc::new(Opening(Arc::clone(late))),
        }
    }
}

impl Driver {
    pub(super) fn new(kind: Kind, clock: &Arc<dyn Clock>) -> Self {
        let guarded = Guarded::new(kind.custodian(), Arc::clone(clock));
        if let Kind::Late(_) = kind {
            guarded.doubt();
        }
        Self { kind, guarded }
    }

    pub(crate) fn custodian(&self) -> Arc<dyn Custodian> {
        Arc::new(self.guarded.clone())
    }

    /// Whether it was away when the node started.
    pub(crate) const fn is_late(&self) -> bool {
        matches!(self.kind, Kind::Late(_))
    }

    /// Its signing key.
    pub(crate) fn signer(&self) -> Result<Arc<dyn Signer>, Fault> {
        let signer: Arc<dyn Signer> = match &self.kind {
            Kind::Token(token) => token.signer()?,
            Kind::Service(service) => service.signer()?,
            Kind::Late(late) => return Err(late.fault(Operation::FindKey, Cause::Transient)),
        };
        Ok(self.guarded.signer(signer))
    }

    /// Why the mechanism is the one it is.
    fn why(&self) -> &str {
        match &self.kind {
            Kind::Token(token) => token.why(),
            Kind::Service(_) => "the key is of this kind",
            Kind::Late(_) => "it is away since the start",
        }
    }

    /// Takes no more calls; logs out of a token.
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        let closed = match &self.kind {
            Kind::Token(token) => token.close().await,
            Kind::Service(service) => {
                service.close();
                Ok(())
            }
            Kind::Late(late) => {
                late.close();
                Ok(())
            }
        };
        self.guarded.doubt();
        closed
    }
}

/// This very program, also where its file was replaced since it was started.
const PROGRAM: &str = "/proc/self/exe";

pub(crate) fn settings(id: &CustodianId, token: &ConfiguredToken) -> Result<Settings> {
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

/// What becomes of a custodian that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// It is opened when it is back, where new tenants' keys open without it and it does not sign. Tenants whose own
    /// sets need it wait.
    Borne,
    /// It is named, and nothing goes on.
    Refused,
}

/// Opens every configured custodian. Production refuses a simulator.
pub(super) async fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    slab: &Arc<Slab>,
    bearing: Away,
) -> Result<BTreeMap<CustodianId, Driver>> {
    let (mut drivers, mut away) = (BTreeMap::new(), BTreeMap::new());
    for (id, configured) in &config.custodians {
        let recorded = ceremony::kept(config, id)?;
        let is_recorded = recorded.is_some();
        let kind = match configured {
            Configured::Pkcs11(token) => {
                if config.mode == Mode::Production && token.host.is_none() {
                    bail!(
                        "custodian {id}: `host = \"inside\"` puts the module beside opened logins; production refuses it"
                    );
                }
                let pin = Pin::new(token.pin.read_pin(id)?);
                let opened = match recorded {
                    None => Token::open(settings(id, token)?, pin, slab).await,
                    Some(kept) => Token::open_recorded(settings(id, token)?, pin, slab, kept.of_token()).await,
                };
                Kind::Token(opened.with_context(|| format!("custodian {id}"))?)
            }
            service => {
                let recorded = recorded.map(|kept| kept.of_service(id)).transpose()?;
                match services::open_recorded(id, service, recorded.as_ref(), (clock, slab)).await {
                    Ok(opened) => Kind::Service(opened),
                    Err(error) if bearing == Away::Borne && late::may_come_later(&error) => {
                        away.insert(id.clone(), error);
                        let rooms = (Arc::clone(clock), Arc::clone(slab));
                        Kind::Late(Late::new(id.clone(), service.clone(), recorded, rooms))
                    }
                    Err(error) => return Err(error).with_context(|| format!("custodian {id}")),
                }
            }
        };
        let driver = Driver::new(kind, clock);
        let description = driver.custodian().describe();
        if config.mode == Mode::Production && description.is_simulator() {
            bail!("custodian {id}: a simulated token keeps nothing safe; production refuses it");
        }
        if is_recorded && description.signer.is_some() {
            let signs = ceremony::seen_to_sign(id, &*driver.signer()?).await;
            signs.with_context(|| format!("custodian {id}"))?;
        }
        if driver.is_late() {
            drivers.insert(id.clone(), driver);
            continue;
        }
        tracing::info!(
            custodian = %id,
            manufacturer = description.manufacturer,
            model = description.model,
            mechanism = description.mechanism.as_str(),
            // Not `reason`, which telemetry lets out: a module may have had a part in this text.
            why = driver.why(),
            sessions = description.sessions,
            signer = description.signer.unwrap_or("none"),
            "custodian opened"
        );
        drivers.insert(id.clone(), driver);
    }
    let opens = config.custody.opens_with(|member| !away.contains_key(member));
    for (id, error) in away {
        if !opens || id == config.signer {
            return Err(error).with_context(|| format!("custodian {id}"));
        }
        tracing::warn!(custodian = %id, error = %error, "a custodian is away; the node starts, and opens it when it is back");
    }
    Ok(drivers)
}

/// Opens every configured custodian, says what it is, how its key wraps and why, and what holds a module in, and closes
/// it again. One login each.
///
/// # Errors
/// The custodian that failed, with one line of advice.
pub async fn look(config: &Config) -> Result<()> {
    let slab = super::start::locked_memory(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    for (id, driver) in open(config, &clock, &slab, Away::Refused).await? {
        let is = driver.custodian().describe();
        println!("custodian {id}: {} {}, {} ({})", is.manufacturer, is.model, is.token_label, is.serial);
        println!("    wraps by {}: {}", is.mechanism.as_str(), driver.why());
        println!("    signs by {}", is.signer.unwrap_or("nothing"));
        println!("    {} at once", is.sessions);
        if let Kind::Token(token) = &driver.kind
            && let Some(host) = token.host()
        {
            println!("    {}", host.walls);
        }
        driver.close().await.with_context(|| format!("custodian {id}"))?;
    }
    Ok(())
}

/// Makes the keys that are missing in every configured token and says what it found. Overwrites and deletes nothing. Keys
/// of services are made with the services' own tools.
///
/// # Errors
/// The custodian that failed, with one line of advice.
pub fn init(config: &Config) -> Result<()> {
    let slab = super::start::locked_memory(config)?;
    for (id, configured) in &config.custodians {
        let Configured::Pkcs11(token) = configured else {
            println!("custodian {id}: nothing is made at a service; `cofred run` says whether its keys fit");
            continue;
        };
        if config.ceremonies.contains_key(id) {
            println!("custodian {id}: its keys are made by `cofred keys init`");
            continue;
        }
        let pin = Pin::new(token.pin.read_pin(id)?);
        let ensured =
            making::ensure_keys(&settings(id, token)?, pin, &slab).with_context(|| format!("custodian {id}"))?;
        println!("custodian {id}: {ensured:?}");
    }
    Ok(())
}
