//! Throw-away tokens for tests: where the three PKCS#11 modules are, and a folder with the environment each one needs.
//!
//! A module reads its environment when it is initialised, once per process; a test that needs a fresh token runs in
//! a process of its own, started with [`TokenFolder::environment`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// What to type where SoftHSM2 is missing.
pub const INSTALL_SOFTHSM: &str = "apt-get install --yes softhsm2";

/// What to type where Kryoptic does not build.
pub const INSTALL_KRYOPTIC: &str = "Kryoptic is missing; `cargo xtask install` puts there what its build needs \
     (apt-get install --yes libssl-dev libclang-dev libsqlite3-dev)";

/// Environment variable that names the token folder of hsm-sim.
const SIM_FOLDER: &str = "COFRE_HSM_SIM_DIR";
/// Environment variable that names the configuration file of SoftHSM2.
const SOFTHSM_CONF: &str = "SOFTHSM2_CONF";

/// Environment variable that names the configuration file of Kryoptic.
const KRYOPTIC_CONF: &str = "KRYOPTIC_CONF";

/// Where distributions put SoftHSM2.
const SOFTHSM_PLACES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// The hsm-sim module, built once per process into a folder of its own: built among the rest, with fewer features than
/// there, it would be put in the place of a module that another test is loading.
///
/// # Errors
/// When the build fails, with what cargo printed.
pub fn hsm_sim() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    once(&BUILT, || {
        let (target, profile) = places()?;
        let release = profile.file_name().is_some_and(|name| name == "release");
        let (arguments, built): (&[&str], _) = if release { (&["--release"], "release") } else { (&[], "debug") };
        let target = target.join("hsm-sim");
        build("hsm-sim", &[&["--package", "cofre-hsm-sim"], arguments].concat(), &target)?;
        library(&target.join(built), "cofre_hsm_sim")
    })
}

/// The Kryoptic module, built once per process beside the target folder's own content; `cargo xtask install` does it
/// beforehand.
///
/// # Errors
/// When the build fails, with what cargo printed and what to type.
pub fn kryoptic() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    once(&BUILT, || {
        let target = places()?.0.join("kryoptic");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/kryoptic/Cargo.toml");
        build("Kryoptic", &["--locked", "--manifest-path", manifest], &target).context(INSTALL_KRYOPTIC)?;
        library(&target.join("debug"), "kryoptic_peer")
    })
}

fn once(built: &Mutex<Option<PathBuf>>, make: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    Ok(built.insert(make()?).clone())
}

/// The target folder of the running test, and in it the folder of its profile.
pub(crate) fn places() -> Result<(PathBuf, PathBuf)> {
    // …/<target>/<profile>/deps/<test>
    let this = std::env::current_exe().context("where this test runs")?;
    let profile = this
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "deps"))
        .and_then(Path::parent)
        .or_else(|| this.parent())
        .with_context(|| format!("{} lies in no target folder", this.display()))?;
    let target = profile.parent().with_context(|| format!("{} lies in no target folder", profile.display()))?;
    Ok((target.to_owned(), profile.to_owned()))
}

fn build(name: &str, arguments: &[&str], target: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet"]).args(arguments).arg("--target-dir").arg(target);
    let done = build.current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let done = done.with_context(|| format!("cargo build of {name}"))?;
    if !done.status.success() {
        bail!("{name} does not build:\n{}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

fn library(folder: &Path, name: &str) -> Result<PathBuf> {
    let module = folder.join(format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    if module.is_file() { Ok(module) } else { bail!("cargo built no {}", module.display()) }
}

/// The SoftHSM2 module, if it is installed.
#[must_use]
pub fn softhsm() -> Option<PathBuf> {
    SOFTHSM_PLACES.iter().map(PathBuf::from).find(|place| place.is_file())
}

/// The configuration of a SoftHSM2 whose tokens lie in this folder.
#[must_use]
pub fn softhsm_configuration(tokens: &Path) -> String {
    let tokens = tokens.display();
    format!("directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n")
}

/// A module to test against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Our own, with a fault plan.
    HsmSim,
    /// SoftHSM2, an independent one.
    SoftHsm,
    /// Kryoptic, another independent one.
    Kryoptic,
}

impl Module {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::HsmSim, Self::SoftHsm, Self::Kryoptic];

    /// The environment variable that it reads when it is initialised.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::HsmSim => SIM_FOLDER,
            Self::SoftHsm => SOFTHSM_CONF,
            Self::Kryoptic => KRYOPTIC_CONF,
        }
    }

    /// Its name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HsmSim => "hsm-sim",
            Self::SoftHsm => "SoftHSM2",
            Self::Kryoptic => "Kryoptic",
        }
    }
}

/// A folder that holds the token of one module, gone when dropped.
#[derive(Debug)]
pub struct TokenFolder {
    module: PathBuf,
    folder: tempfile::TempDir,
    kind: Module,
}

impl TokenFolder {
    /// An empty folder for this module: no token is in it yet.
    ///
    /// # Errors
    /// When the module is missing, with what to type.
    pub fn empty(kind: Module) -> Result<Self> {
        let module = match kind {
            Module::HsmSim => hsm_sim()?,
            Module::SoftHsm => softhsm().with_context(|| format!("SoftHSM2 is missing: {INSTALL_SOFTHSM}"))?,
            Module::Kryoptic => kryoptic()?,
        };
        let made = Self { module, folder: tempfile::tempdir()?, kind };
        std::fs::create_dir(made.tokens())?;
        let tokens = made.tokens();
        let text = match kind {
            Module::HsmSim => return Ok(made),
            Module::SoftHsm => softhsm_configuration(&tokens),
            Module::Kryoptic => format!(
                "[[slots]]\nslot = 0\ndbtype = \"sqlite\"\ndbargs = {:?}\n",
                tokens.join("kryoptic.sql").to_string_lossy()
            ),
        };
        std::fs::write(made.configuration(), text)?;
        Ok(made)
    }

    /// Another folder with a copy of the tokens in this one.
    ///
    /// # Errors
    /// When the copy fails.
    pub fn copy(&self) -> Result<Self> {
        let made = Self::empty(self.kind)?;
        copy_all(&self.tokens(), &made.tokens())?;
        Ok(made)
    }

    /// Path of the module.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Where the token's files lie; for hsm-sim also its fault plan.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// The configuration file of a module that has one.
    fn configuration(&self) -> PathBuf {
        self.folder.path().join("module.conf")
    }

    /// What the process that loads the module must have in its environment.
    #[must_use]
    pub fn environment(&self) -> (&'static str, PathBuf) {
        let value = match self.kind {
            Module::HsmSim => self.tokens(),
            Module::SoftHsm | Module::Kryoptic => self.configuration(),
        };
        (self.kind.variable(), value)
    }
}

/// How often the simulated token in this folder finished each function, by its own log: (function, code) to count.
///
/// # Errors
/// Where there is no log, or it cannot be read.
pub fn calls(tokens: &Path) -> Result<BTreeMap<(String, String), usize>> {
    let log = std::fs::read_to_string(tokens.join("calls.log")).context("the token's log")?;
    let mut all = BTreeMap::new();
    for (function, code) in log.lines().filter_map(|line| line.split_once(' ')) {
        *all.entry((function.to_owned(), code.to_owned())).or_default() += 1;
    }
    Ok(all)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
