//! Services of other makes, as second opinions on the drivers: moto for AWS KMS, OpenBao for the transit engine. They share
//! no code with us and none with [`crate::kms`]. `cargo xtask install` puts them into the target folder, at the versions
//! and hashes of `peers/services/requirements.txt`; here they are started, on loopback only, and given keys.
//!
//! A peer dies with its owner: a small shell between them starts it and waits for the end of its standard input, which
//! comes when the owner ends in whatever way.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::body::Body;
use axum::http::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

mod moto;
mod openbao;

pub use moto::Moto;
pub use openbao::OpenBao;

/// What to type where a peer is missing.
pub const INSTALL: &str = "`cargo xtask install` puts it there (apt-get install --yes python3-venv)";

/// How often, and how long each time, a peer is waited for.
const PATIENCE: (u32, Duration) = (6_000, Duration::from_millis(10));
/// No answer of a peer is longer.
const LONGEST: usize = 1 << 20;

/// `$0` the log, then the program and what it is told.
const SCRIPT: &str = r#"
trap : HUP INT TERM
"$@" </dev/null >"$0" 2>&1 &
peer=$!
read -r _
kill -KILL $peer 2>/dev/null
wait $peer 2>/dev/null
"#;

/// A running program, and the folder that is its home.
#[derive(Debug)]
struct Peer {
    shell: Child,
    input: Option<ChildStdin>,
    folder: tempfile::TempDir,
}

impl Peer {
    /// Starts a program with nothing of this process's environment.
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT]).arg(folder.path().join("log")).arg(program).args(arguments);
        shell.current_dir(folder.path()).env_clear().env("HOME", folder.path()).env("PATH", "/usr/bin:/bin");
        // A group of its own: whoever kills the owner's group leaves the shell to do its work.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn().context("/bin/sh")?;
        let input = shell.stdin.take();
        Ok(Self { shell, input, folder })
    }

    /// What it printed until now.
    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until what it printed has what is looked for; nothing where it ended before.
    async fn says<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let (times, pause) = PATIENCE;
        for _ in 0..times {
            // Before the look: what it said last is seen.
            let ended = self.shell.try_wait()?.is_some() || !self.runs();
            if let Some(found) = found(&self.said()) {
                return Ok(Some(found));
            }
            if ended {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
        }
        bail!("not ready in time:\n{}", self.said())
    }

    /// Whether the shell has a child that is no corpse.
    fn runs(&self) -> bool {
        let children = format!("/proc/{0}/task/{0}/children", self.shell.id());
        let Ok(children) = std::fs::read_to_string(children) else { return false };
        let lives = |child: &str| {
            std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        // None yet: the shell has not come so far.
        children.trim().is_empty() || children.split_whitespace().any(lives)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.shell.wait();
    }
}

/// A program that `cargo xtask install` put there.
fn installed(program: &str) -> Result<PathBuf> {
    let path = crate::hsm::places()?.0.join("services/bin").join(program);
    if path.is_file() { Ok(path) } else { bail!("{} is missing: {INSTALL}", path.display()) }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// One request on a connection of its own; the status and what came with it, as a text where it is no JSON.
async fn ask(address: SocketAddr, request: Request<Body>) -> Result<(u16, Value)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; what it meets is met by the request too.
    tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(Body::new(response.into_body()), LONGEST).await?;
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    Ok((status, serde_json::from_slice(&body).unwrap_or_else(|_| text())))
}
