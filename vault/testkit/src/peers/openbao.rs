//! OpenBao itself: its own program, unsealed and in memory, with transit engines under mounts of the test's choosing.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::{Peer, ask, free_port, installed};
use crate::kms::Kind;

/// The token of whoever set it up.
const ROOT: &str = "of-the-test-and-of-nobody-else";
/// How often another port is tried: between asking for one and listening somebody else may take it.
const TRIES: usize = 5;

/// A running OpenBao. It ends when it is dropped, or with this process.
#[derive(Debug)]
pub struct OpenBao {
    address: SocketAddr,
    _peer: Peer,
}

impl OpenBao {
    /// Starts one without engines.
    ///
    /// # Errors
    /// Where it is missing, with what to type; what it said when it did not start.
    pub async fn start() -> Result<Self> {
        let program = installed("bao")?;
        let token = format!("-dev-root-token-id={ROOT}");
        let mut said = String::new();
        for _ in 0..TRIES {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            let listen = format!("-dev-listen-address={address}");
            let mut peer = Peer::start(&program, &["server", "-dev", "-dev-no-store-token", &token, &listen])?;
            if peer.says(|said| said.contains("==> OpenBao server started!").then_some(())).await?.is_some() {
                return Ok(Self { address, _peer: peer });
            }
            said = peer.said();
            if !said.contains("address already in use") {
                break;
            }
        }
        bail!("OpenBao did not start:\n{said}")
    }

    /// Where it is reached.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a transit engine under a mount.
    ///
    /// # Errors
    /// Where something is there already.
    pub async fn mount(&self, mount: &str) -> Result<()> {
        self.call("POST", &format!("sys/mounts/{mount}"), &json!({ "type": "transit" })).await.map(drop)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// Where there is no such engine.
    pub async fn make(&self, mount: &str, key: &str, kind: Kind) -> Result<()> {
        let asked = match kind {
            Kind::Aes => json!({ "type": "aes256-gcm96" }),
            Kind::Derived => json!({ "type": "aes256-gcm96", "derived": true }),
            Kind::Ed25519 => json!({ "type": "ed25519" }),
            Kind::P256 => json!({ "type": "ecdsa-p256" }),
        };
        self.call("POST", &format!("{mount}/keys/{key}"), &asked).await.map(drop)
    }

    /// A token that may do what a policy in the server's own language says, and nothing else.
    ///
    /// # Errors
    /// Where the policy cannot be read.
    pub async fn token(&self, name: &str, policy: &str) -> Result<String> {
        self.call("PUT", &format!("sys/policies/acl/{name}"), &json!({ "policy": policy })).await?;
        let asked = json!({ "policies": [name], "no_default_policy": true });
        let made = self.call("POST", "auth/token/create", &asked).await?;
        made.pointer("/auth/client_token").and_then(Value::as_str).map(str::to_owned).context("no token")
    }

    /// Anything else an operator may do, by the path below `/v1/`; answers what came back.
    ///
    /// # Errors
    /// What it refused, in its own words.
    pub async fn call(&self, method: &str, path: &str, asked: &Value) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("host", self.address.to_string())
            .header("x-vault-token", ROOT)
            .body(Body::from(asked.to_string()))?;
        match ask(self.address, request).await? {
            (200..300, answer) => Ok(answer),
            (status, answer) => bail!("OpenBao answers {method} {path} with {status}: {answer}"),
        }
    }
}
