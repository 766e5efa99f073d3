//! Vaults that are set up wrongly: they do not start, say why and what to do, and leave token and stores as they were.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cofre_demo::world::token::{SIM_FOLDER, binary, dev_binary};
use cofre_demo::world::vault::Vault;
use cofre_demo::world::{Wishes, World};
use cofre_testkit::hsm::{Module, TokenFolder};
use serde_json::Value;

use crate::crowd;

/// Exit code of a configuration that is refused.
const REFUSED: i32 = 64;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for each in std::fs::read_dir(from).expect("a folder") {
        let each = each.expect("an entry");
        let target = to.join(each.file_name());
        if each.path().is_dir() {
            copy(&each.path(), &target);
        } else {
            std::fs::copy(each.path(), target).expect("a copy");
        }
    }
}

/// Runs `cofred` until it ends.
fn cofred(command: &str, config: &Path, environment: &[(&str, PathBuf)]) -> Output {
    let mut cofred = Command::new(binary("cofred").expect("cofred is built"));
    cofred.args([command, "--config"]).arg(config);
    cofred.envs(environment.iter().map(|(name, value)| (name, value)));
    cofred.output().expect("it ends by itself")
}

/// The last line of what it said, which is why it did not start. Secrets are never said.
fn why(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("ready"), "it said that it was ready");
    let why = said.lines().skip_while(|line| !line.starts_with("cofred: ")).collect::<Vec<_>>().join("\n");
    assert!(!why.is_empty(), "{said}");
    why
}

fn says(why: &str, words: &[&str]) {
    assert!(words.iter().all(|word| why.contains(word)), "{words:?} are not all in: {why}");
}

/// Wrong PINs in a row, as the token has them on disk.
fn failures(token: &Path) -> u64 {
    let file = std::fs::read_dir(token)
        .expect("the token's folder")
        .filter_map(|each| std::fs::read(each.expect("an entry").path()).ok())
        .find_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok().filter(|file| file["user"].is_object()));
    file.expect("the token's file")["user"]["failures"].as_u64().expect("a count")
}

/// Log-ins the token has seen, and those it refused for their PIN.
fn logins(token: &Path) -> (usize, usize) {
    let calls = cofre_testkit::hsm::calls(token).expect("the token's log");
    let logins = || calls.iter().filter(|((function, _), _)| function == "C_Login");
    let wrong = logins().filter(|((_, code), _)| code == "CKR_PIN_INCORRECT");
    (logins().map(|(_, count)| count).sum(), wrong.map(|(_, count)| count).sum())
}

pub(super) async fn refused(folder: &Path) {
    let wishes = Wishes { workers: 2, ..crate::usual(&folder.join("world")) };
    let world = World::start(&wishes).await.expect("a world");
    let crowd = crowd::deposit(&world, 2).await.expect("deposits");
    crowd::consent(&world, &crowd).await.expect("consents");
    let made = world.folder.clone();
    world.stop().expect("it stops in order");
    let config = std::fs::read_to_string(made.join("cofre.toml")).expect("its configuration");
    let before = (failures(&made.join("token")), logins(&made.join("token")));

    unknown_keys(folder, &config);
    wrong_pin(folder, &made, &config).await;
    dev_in_production(folder, &made, (&config, &wishes.module));

    assert_eq!((failures(&made.join("token")), logins(&made.join("token"))).0, before.0);
    // Its own vault starts again, and what rested is released.
    let world = World::start(&wishes).await.expect("the same world");
    assert_eq!(crowd::release(&world, &crowd).await.expect("releases"), crowd.len());
    world.stop().expect("it stops in order");
}

fn unknown_keys(folder: &Path, config: &str) {
    let file = folder.join("mistaken.toml");
    for (from, to, words) in [
        ("mode = \"dev\"", "mode = \"dev\"\nregoin = \"x\"", ["unknown field `regoin`", "region"].as_slice()),
        ("sessions = 4", "sessions = 4, slot = 3", &["unknown field `slot`"]),
        ("[stores]", "[stores]\nbackups = { sqlite = \"x\" }", &["unknown field `backups`"]),
        ("[identity]", "[identity]\npassword = \"x\"", &["unknown field `password`"]),
        ("mode = \"dev\"", "mode = \"prod\"", &["prod", "production"]),
        ("mode = \"dev\"", "", &["missing field `mode`"]),
        ("sessions = 4", "sessions = 0", &["sessions", "1 to 64"]),
    ] {
        assert!(config.contains(from), "{from}");
        std::fs::write(&file, config.replacen(from, to, 1)).expect("written");
        for command in ["run", "check", "init"] {
            says(&why(&cofred(command, &file, &[]), REFUSED), words);
        }
    }
    says(&why(&cofred("run", &folder.join("nowhere.toml"), &[]), REFUSED), &["nowhere.toml"]);
}

/// What a refused PIN ends a start with, so that no service manager tries it again.
const WRONG_PIN: i32 = 77;

/// A wrong PIN costs one try, is never tried again, and stops the start before any store is touched.
async fn wrong_pin(folder: &Path, made: &Path, config: &str) {
    let other = folder.join("other");
    let (token, pin, stores) = (other.join("token"), other.join("pin"), other.join("stores"));
    copy(&made.join("token"), &token);
    std::fs::create_dir_all(&stores).expect("a folder");
    let text = |path: &Path| path.display().to_string();
    let config = config
        .replace(&text(&made.join("stores")), &text(&stores))
        .replace(&text(&made.join("token")), &text(&token))
        .replace(&format!("\"{}\"", text(&made.join("pin"))), &format!("\"{}\"", text(&pin)));
    let file = other.join("cofre.toml");
    std::fs::write(&file, config).expect("written");
    let environment = [(SIM_FOLDER, token.clone())];

    let (tries, wrong) = logins(&token);
    says(&why(&cofred("run", &file, &environment), 1), &["pkcs11.pin", "cannot be read"]);
    assert_eq!((failures(&token), logins(&token)), (0, (tries, wrong)), "no PIN, no try");

    std::fs::write(&pin, "not-the-pin\n").expect("written");
    let why_not = why(&cofred("run", &file, &environment), WRONG_PIN);
    says(&why_not, &["hsm-1", "PIN_INCORRECT", "not tried again", "`pin`"]);
    assert!(!why_not.contains("not-the-pin"), "{why_not}");
    assert_eq!((failures(&token), logins(&token)), (1, (tries + 1, wrong + 1)), "one start, one try");
    assert_eq!(std::fs::read_dir(&stores).expect("the folder").count(), 0, "nothing was made");
    let why_not = why(&cofred("run", &file, &environment), WRONG_PIN);
    says(&why_not, &["PIN_INCORRECT"]);
    assert_eq!((failures(&token), logins(&token)), (2, (tries + 2, wrong + 2)), "each start counts once");

    std::fs::write(&pin, std::fs::read(made.join("pin")).expect("the right one")).expect("written");
    let vault = Vault::start(&other, &file).expect("the way out is the right PIN");
    tokio::net::TcpStream::connect(&vault.people).await.expect("it listens");
    vault.stop().expect("it stops in order");
    assert_eq!(failures(&token), 0);
}

/// Production refuses the simulator; with a real module it refuses a store that was made for development.
fn dev_in_production(folder: &Path, made: &Path, (config, module): (&str, &Path)) {
    let production = config.replacen("mode = \"dev\"", "mode = \"production\"", 1);
    let file = folder.join("production.toml");
    std::fs::write(&file, &production).expect("written");
    let sim = why(&cofred("run", &file, &[(SIM_FOLDER, made.join("token"))]), 1);
    says(&sim, &["hsm-1", "simulated token", "production refuses it"]);

    let soft = TokenFolder::empty(Module::SoftHsm).expect("SoftHSM2 is installed");
    let mut ceremony = Command::new(dev_binary().expect("cofre-dev is built"));
    ceremony.args(["token", "--module"]).arg(soft.module()).envs([soft.environment()]);
    let done = ceremony.output().expect("it ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (simulated, real) = (module.display().to_string(), soft.module().display().to_string());
    assert!(production.contains(&simulated), "{simulated}");
    let (variable, tokens) = (soft.environment().0, soft.tokens().display().to_string());
    let simulator = made.join("token").display().to_string();
    let real = production.replace(&simulated, &real).replace(SIM_FOLDER, variable).replace(&simulator, &tokens);
    std::fs::write(&file, real).expect("written");
    let refused = why(&cofred("run", &file, &[soft.environment()]), 1);
    says(&refused, &["stores", "made in mode dev", "production", "name another store or change `mode`"]);
}
