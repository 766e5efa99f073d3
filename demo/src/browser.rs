//! Stands for an investor's browser: a process of its own that gets the page and what the investor types, and gives
//! back bytes that only the vault opens. Nobody between sees more.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofre_client::ClientSecret;
use cofre_client::sealing::{Page, SealedLogin, seal};
use cofre_ledger::note::NoteKey;
use cofre_model::id::TenantId;
use cofre_model::time::Clock;
use cofre_server::clock::SystemClock;
use serde::{Deserialize, Serialize};
use std::io::Write as _;

use crate::world::token::dev_binary;

/// What a browser is given.
#[derive(Serialize, Deserialize)]
struct Visit {
    /// The page, as [`Page::to_json`] writes it.
    page: String,
    /// The verifier key that the page's origin pins.
    pinned: String,
    /// The tenant that the page's origin pins.
    tenant: String,
    /// Field key and value, base64.
    typed: Vec<(String, String)>,
}

/// Seals one login in a browser process.
///
/// # Errors
/// What the browser process refused, by field.
pub fn seal_in_a_browser(
    page: &Page,
    pinned: &NoteKey,
    tenant: TenantId,
    typed: &[(&str, &[u8])],
) -> Result<SealedLogin> {
    let visit = Visit {
        page: page.to_json(),
        pinned: pinned.to_string(),
        tenant: tenant.to_string(),
        typed: typed.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value))).collect(),
    };
    let mut browser = Command::new(dev_binary()?)
        .arg("browser")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("browser")?;
    browser.stdin.take().context("browser")?.write_all(&serde_json::to_vec(&visit)?)?;
    let said = browser.wait_with_output()?;
    if !said.status.success() {
        bail!("{}", String::from_utf8_lossy(&said.stderr).trim());
    }
    Ok(SealedLogin::from_json(&String::from_utf8(said.stdout)?)?)
}

/// In the browser process: verifies the deposit key against the pinned key, then seals what was typed.
///
/// # Errors
/// A key that is not the deployment's, or a field the form does not have.
pub fn seal_standard_input() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let visit: Visit = serde_json::from_str(&text)?;
    let page = Page::from_json(&visit.page)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let key =
        page.key.verify(&NoteKey::parse(&visit.pinned)?, &TenantId::try_from(visit.tenant.as_str())?, clock.now())?;
    let mut fields = Vec::new();
    for (name, value) in visit.typed {
        fields.push((name.as_str().try_into()?, ClientSecret::copy_of(&STANDARD.decode(value)?)));
    }
    let sealed = seal(&page.enrolment, &key, fields)?;
    println!("{}", sealed.to_json());
    Ok(())
}
