//! The development token. A PKCS#11 module reads its environment when it is loaded, once per process, so whoever
//! touches a token here is a child process of its own: `cofre-dev token`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cofre_custody::CustodianId;
use cofre_custody::pkcs11::{Pin, Settings, Token, TokenName, ceremony as keys};
use cofre_custody::{Signer, VerifyingKey};
use cofre_envelope::{Backing, Slab};
use cofre_ledger::note::NoteKey;
use cofre_ledger::signed;
use secrecy::SecretString;

use super::NAME;

/// Where hsm-sim finds its token folder.
pub const SIM_FOLDER: &str = "COFRE_HSM_SIM_DIR";
/// The custodian's name in configurations.
pub const CUSTODIAN: &str = "hsm-1";
/// The token's label.
pub const LABEL: &str = "cofre-dev";
/// The label of the key that wraps.
pub const ROOT: &str = "root-1";
/// A second custodian, and the label of its key in the same token.
pub const SECOND: (&str, &str) = ("hsm-2", "root-2");
/// The label of the key that signs.
pub const SIGNER: &str = "ledger-1";
/// PINs of a token that keeps nothing safe; they stand in a file beside it anyway.
const PINS: (&str, &str) = ("dev-so-pin", "dev-user-pin");

/// The hsm-sim module: from the environment, or beside the running executable.
///
/// # Errors
/// Where it is nowhere; says how to build it.
pub fn hsm_sim() -> Result<PathBuf> {
    match std::env::var_os("COFRE_HSM_MODULE") {
        Some(module) => Ok(PathBuf::from(module)),
        None => beside("libcofre_hsm_sim.so")?.context(
            "hsm-sim is not beside this executable; build it: cargo build -p cofre-hsm-sim, or set COFRE_HSM_MODULE",
        ),
    }
}

/// A file beside the running executable, or beside the folder of a test's.
fn beside(name: &str) -> Result<Option<PathBuf>> {
    let here = std::env::current_exe()?;
    Ok(here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists()))
}

/// Makes the token where it is missing and says the deployment's verifier key.
///
/// # Errors
/// What the child said.
pub fn make(folder: &Path, module: &Path) -> Result<String> {
    let token = folder.join("token");
    std::fs::create_dir_all(&token)?;
    let pin = folder.join("pin");
    if !pin.exists() {
        std::fs::write(&pin, PINS.1)?;
    }
    ceremony((SIM_FOLDER, &token), module)
}

/// Has a token made in a process of its own, which reads where it is from this variable; says its verifier key.
///
/// # Errors
/// What the child said.
pub(super) fn ceremony((variable, place): (&str, &Path), module: &Path) -> Result<String> {
    let child = Command::new(dev_binary()?)
        .arg("token")
        .arg("--module")
        .arg(module)
        .env(variable, place)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cofre-dev token")?;
    if !child.status.success() {
        bail!("cofre-dev token ended with {}", child.status);
    }
    Ok(String::from_utf8(child.stdout)?.trim().to_owned())
}

/// Has `cofred init` make the keys that a configuration names and the token lacks.
///
/// # Errors
/// What it said.
pub(super) fn complete(folder: &Path, config: &Path) -> Result<()> {
    let mut init = Command::new(binary("cofred")?);
    init.args(["init", "--config"]).arg(config).env(SIM_FOLDER, folder.join("token"));
    let done = init.output().context("cofred init")?;
    if !done.status.success() {
        bail!("cofred init: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// The `cofre-dev` executable: this one, or the one beside a test's.
///
/// # Errors
/// Where it is not built.
pub fn dev_binary() -> Result<PathBuf> {
    binary("cofre-dev")
}

/// An executable of this workspace, beside the running one.
///
/// # Errors
/// Where it is not built; says how.
pub fn binary(name: &str) -> Result<PathBuf> {
    beside(name)?.with_context(|| format!("{name} is not beside this executable; build it: cargo build --workspace"))
}

/// In the child: initialises the token where it is new, makes the keys that are missing, prints the verifier key.
///
/// # Errors
/// The custodian's fault with its advice.
pub async fn child(module: &Path) -> Result<()> {
    let id = CustodianId::try_from(CUSTODIAN)?;
    let pin = |text: &str| Pin::new(SecretString::from(text.to_owned()));
    let settings = settings(module)?;
    match keys::init_token(&id, module, LABEL, &pin(PINS.0), &pin(PINS.1)) {
        Ok(_) => {}
        Err(fault) if fault.cause == cofre_custody::Cause::TokenExists => {}
        Err(fault) => bail!("{fault}; {}", fault.advice()),
    }
    let slab = Slab::new(Backing::Mlock)?;
    keys::ensure_keys(&settings, pin(PINS.1), &slab).map_err(|fault| anyhow::anyhow!("{fault}; {}", fault.advice()))?;
    let token = Token::open(settings, pin(PINS.1), &slab).await?;
    println!("{}", note_key(&*token.signer()?)?);
    token.close().await?;
    Ok(())
}

/// Settings of the development token.
///
/// # Errors
/// Never with these names; the constructor is strict.
pub fn settings(module: &Path) -> Result<Settings> {
    let id = CustodianId::try_from(CUSTODIAN)?;
    let name = TokenName::Label(LABEL.to_owned());
    Ok(Settings {
        signer_label: Some(SIGNER.to_owned()),
        sessions: 2,
        ..Settings::new(id, module.to_path_buf(), name, ROOT)
    })
}

/// The user PIN of the development token.
#[must_use]
pub fn user_pin() -> Pin {
    Pin::new(SecretString::from(PINS.1.to_owned()))
}

fn note_key(signer: &dyn Signer) -> Result<NoteKey> {
    let key = match signer.public_key() {
        VerifyingKey::Ed25519(bytes) => signed::VerifyingKey::ed25519(bytes)?,
        VerifyingKey::P256(point) => signed::VerifyingKey::p256(point)?,
    };
    Ok(NoteKey::new(&cofre_ledger::checkpoint::origin(NAME), key)?)
}
