//! The vault as a process of its own, with its configuration and its log file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::token::{CUSTODIAN, SIM_FOLDER, binary};
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
        Self::start_with(folder, config, &[(SIM_FOLDER, folder.join("token").into_os_string())])
    }

    /// The same, with this in its environment.
    ///
    /// # Errors
    /// What it wrote into its log instead.
    pub fn start_with(folder: &Path, config: &Path, environment: &[(&str, OsString)]) -> Result<Self> {
        let log = folder.join("cofred.log");
        let mut child = Command::new(binary("cofred")?)
            .arg("run")
            .arg("--config")
            .arg(config)
            .envs(environment.iter().map(|(name, value)| (name, value)))
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

    /// The processes that hold its modules, by custodian.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn custody_hosts(&self) -> Result<BTreeMap<String, u32>> {
        let mut hosts = BTreeMap::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid())).context("the vault has ended")? {
            // A thread may have ended since it was listed.
            let children = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                if let Some(custodian) = hosted(child.parse()?) {
                    hosts.insert(custodian, child.parse()?);
                }
            }
        }
        Ok(hosts)
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

    /// Ends it at once, as a machine that fails does.
    ///
    /// # Errors
    /// Where it had ended already.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("cofred has no process id")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }
}

/// The custodian whose module a process holds, where it is a custody host.
#[must_use]
pub fn hosted(pid: u32) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&str> = line.split_terminator('\0').collect();
    match words.as_slice() {
        [_, "custody-host", custodian] => Some((*custodian).to_owned()),
        _ => None,
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
    let (set, custodians) = (wishes.custody.default_set(), wishes.custody.tables(folder, &wishes.module)?);
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
custody = {{ default = {set}, signer = "{CUSTODIAN}", warm_for = "{warm_for}" }}
policies = {{ dir = {policies} }}

[identity]
trust_domain = "{NAME}"
certificate = {certificate}
key = {{ file = {key} }}
bundle = {bundle}
revocations = {revocations}

[stores]
{stores}
{custodians}"#,
        memory = wishes.memory,
        telemetry = telemetry,
        log = wishes.log,
        warm_for = wishes.warm_for,
        policies = quoted(&wishes.policies),
        certificate = file("node.pem"),
        key = file("node.key"),
        bundle = file("bundle.pem"),
        revocations = file("crl.pem"),
    );
    let path = folder.join("cofre.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}
