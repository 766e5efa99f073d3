//! The vault as a process of its own, with its configuration and its log file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::token::{CUSTODIAN, LABEL, ROOT, SIGNER, SIM_FOLDER, binary};
use super::{NAME, REGION, Wishes};

/// A running `cofred`.
#[derive(Debug)]
pub struct Vault {
    child: Child,
    /// Where front ends and workers are served.
    pub tenants_and_workers: String,
    /// Where people are served.
    pub people: String,
    /// Where its metrics are scraped.
    pub metrics: String,
    /// Its log, JSON lines.
    pub log: PathBuf,
}

impl Vault {
    /// Starts the vault and waits until it says that it is ready.
    ///
    /// # Errors
    /// What it wrote into its log instead.
    pub fn start(folder: &Path, config: &Path) -> Result<Self> {
        let log = folder.join("cofred.log");
        let mut child = Command::new(binary("cofred")?)
            .arg("run")
            .arg("--config")
            .arg(config)
            .env(SIM_FOLDER, folder.join("token"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .context("cofred")?;
        let said = child.stdout.take().context("cofred has no output")?;
        let mut ready = String::new();
        BufReader::new(said).read_line(&mut ready)?;
        let address = |key: &str| ready.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_owned);
        match (address("tenants_and_workers="), address("people="), address("metrics=")) {
            (Some(tenants_and_workers), Some(people), Some(metrics)) => {
                Ok(Self { child, tenants_and_workers, people, metrics, log })
            }
            _ => {
                let _ = child.wait();
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(5).collect();
                bail!(
                    "cofred did not become ready; its log ends:\n{}",
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                )
            }
        }
    }

    /// The vault's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits.
    ///
    /// # Errors
    /// Where a step of its stop failed.
    pub fn stop(mut self) -> Result<()> {
        self.terminate()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("cofred ended with {status}; see {}", self.log.display()) }
    }

    fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("cofred has no process id")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // An error on the way must not leave a vault behind; one that was stopped is waited for already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.terminate();
            let _ = self.child.wait();
        }
    }
}

/// Writes the configuration of a development vault with these lines below `[stores]`.
///
/// # Errors
/// Where it cannot be written.
pub fn write_config(folder: &Path, wishes: &Wishes, stores: &str) -> Result<PathBuf> {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let file = |name: &str| quoted(&folder.join("identities").join(name));
    let telemetry = match &wishes.collector {
        Some(uri) => format!("telemetry = {{ otlp = \"{uri}\", interval = \"1s\" }}"),
        None => String::new(),
    };
    let text = format!(
        r#"# Written by cofre-dev. Production refuses it.
mode = "dev"
deployment = "{NAME}"
operator = "AISP Ejemplo SL"
region = "{REGION}"
memory = "{memory}"
log = "{log}"
listen = {{ tenants_and_workers = "127.0.0.1:0", people = "127.0.0.1:0", metrics = "127.0.0.1:0" }}
{telemetry}
custody = {{ default = {{ any_of = ["{CUSTODIAN}"] }}, signer = "{CUSTODIAN}", warm_for = "{warm_for}" }}
policies = {{ dir = {policies} }}

[identity]
trust_domain = "{NAME}"
certificate = {certificate}
key = {{ file = {key} }}
bundle = {bundle}
revocations = {revocations}

[stores]
{stores}
[custodians.{CUSTODIAN}]
pkcs11 = {{ module = {module}, token_label = "{LABEL}", key_label = "{ROOT}", signer_label = "{SIGNER}", pin = {{ file = {pin} }}, sessions = 4, environment = ["{SIM_FOLDER}"], sandbox = {{ writable = [{token}] }} }}
"#,
        memory = wishes.memory,
        telemetry = telemetry,
        log = wishes.log,
        warm_for = wishes.warm_for,
        policies = quoted(&wishes.policies),
        certificate = file("node.pem"),
        key = file("node.key"),
        bundle = file("bundle.pem"),
        revocations = file("crl.pem"),
        module = quoted(&wishes.module),
        pin = quoted(&folder.join("pin")),
        token = quoted(&folder.join("token")),
    );
    let path = folder.join("cofre.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}
