//! moto, which speaks the wire form of AWS KMS over keys of its own. It looks at no signature, signs the digest of a digest,
//! and does what a key's state forbids all the same: what those cause is asked of [`crate::kms`].

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::{Peer, ask, installed};
use crate::kms::{CALLER, Kind, REGION, State};

/// The account that moto gives to whom it does not know.
const ACCOUNT: &str = "123456789012";

/// A running moto. It ends when it is dropped, or with this process.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    _peer: Peer,
}

impl Moto {
    /// Starts one without keys, on a port that is free.
    ///
    /// # Errors
    /// Where it is missing, with what to type; what it said when it did not start.
    pub async fn start() -> Result<Self> {
        let mut peer = Peer::start(&installed("moto_server")?, &["-H", "127.0.0.1", "-p", "0"])?;
        let port = peer.says(|said| {
            let (_, rest) = said.split_once("Running on http://127.0.0.1:")?;
            let (port, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
            port.parse().ok()
        });
        let port: u16 = port.await?.with_context(|| format!("moto did not start:\n{}", peer.said()))?;
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), _peer: peer })
    }

    /// Where it is reached.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The ARN that a key of this id has, or would have.
    #[must_use]
    pub fn arn(id: &str) -> String {
        format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}")
    }

    /// Makes a key and answers its ARN.
    ///
    /// # Errors
    /// What it says of a kind that it does not have.
    pub async fn make(&self, kind: Kind) -> Result<String> {
        let (spec, usage) = match kind {
            Kind::Aes | Kind::Derived => ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
            Kind::Ed25519 => ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
            Kind::P256 => ("ECC_NIST_P256", "SIGN_VERIFY"),
        };
        let made = self.call("CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage })).await?;
        made.pointer("/KeyMetadata/Arn").and_then(Value::as_str).map(str::to_owned).context("no ARN")
    }

    /// Sets the state of a key. By its id: by its ARN moto finds it for some calls and not for these.
    ///
    /// # Errors
    /// Where there is no such key, or it cannot get there from where it is.
    pub async fn set(&self, arn: &str, state: State) -> Result<()> {
        let id = arn.rsplit('/').next();
        let (operation, asked) = match state {
            State::Enabled => ("EnableKey", json!({ "KeyId": id })),
            State::Disabled => ("DisableKey", json!({ "KeyId": id })),
            State::PendingDeletion => ("ScheduleKeyDeletion", json!({ "KeyId": id, "PendingWindowInDays": 7 })),
            State::Destroyed => bail!("moto keeps every key"),
        };
        self.call(operation, &asked).await.map(drop)
    }

    async fn call(&self, operation: &str, asked: &Value) -> Result<Value> {
        // It reads the region here, and looks at nothing else of it.
        let scope = format!("{CALLER}/20260101/{REGION}/kms/aws4_request");
        let request = Request::post("/")
            .header("host", self.address.to_string())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("TrentService.{operation}"))
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00"))
            .body(Body::from(asked.to_string()))?;
        match ask(self.address, request).await? {
            (200, answer) => Ok(answer),
            (status, answer) => bail!("moto answers {operation} with {status}: {answer}"),
        }
    }
}
