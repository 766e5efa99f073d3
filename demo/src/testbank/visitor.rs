//! The other people who visit TestBank: the investor looking at a phone, and whoever set the bank up.
//! Never part of a worker: a worker gets its codes through the relay or not at all.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::books::{Behaviour, Enrolled, Enrolment, Stats};
use super::form;

/// Why a visit failed.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The authority cannot be used.
    #[error("ca_pem holds no usable certificate")]
    Root,
    /// No connection, or none that is trusted.
    #[error("cannot reach testbank: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke.
    #[error("the exchange with testbank broke off: {0}")]
    Exchange(#[from] hyper::Error),
    /// The bank refused.
    #[error("testbank answered {status}: {text}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its reason.
        text: String,
    },
    /// The answer has another shape.
    #[error("testbank's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A path or token holds characters no request can carry.
    #[error("number or token cannot stand in a request")]
    Request,
}

/// A code as the investor reads it; wiped when dropped.
pub struct ReadCode(Zeroizing<Vec<u8>>);

impl ReadCode {
    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ReadCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text.into_bytes())))
    }
}

/// An SMS in the inbox.
#[derive(Deserialize)]
pub struct Sms {
    /// Slug of the institution that sent it.
    pub from: String,
    /// The code in it.
    pub code: ReadCode,
    /// When the code dies, in seconds since 1970.
    pub expires_at: u64,
}

impl std::fmt::Debug for Sms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sms").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What an authenticator app or a device shows.
#[derive(Deserialize)]
pub struct ShownCode {
    /// The account it is for, as [`Enrolled`] names it.
    pub account: String,
    /// Slug of its institution.
    pub institution: String,
    /// The code.
    pub code: ReadCode,
    /// When the next one replaces it, in seconds since 1970.
    pub valid_until: u64,
}

impl std::fmt::Debug for ShownCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownCode").field("account", &self.account).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ReadCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadCode").finish_non_exhaustive()
    }
}

/// Somebody with a connection to a running TestBank.
pub struct Visitor {
    addr: SocketAddr,
    connector: TlsConnector,
}

impl std::fmt::Debug for Visitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visitor").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Visitor {
    /// A visitor who trusts only this authority.
    ///
    /// # Errors
    /// [`VisitError::Root`] when it cannot be used.
    pub fn new(addr: SocketAddr, ca_pem: &str) -> Result<Self, VisitError> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|_| VisitError::Root)?;
        roots.add(authority).map_err(|_| VisitError::Root)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| VisitError::Root)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { addr, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Takes the unread messages of a phone; the bank hands each out once.
    ///
    /// # Errors
    /// [`VisitError::Refused`] for a wrong number or token.
    pub async fn inbox(&self, number: &str, phone_token: &str) -> Result<Vec<Sms>, VisitError> {
        self.read(&format!("/phone/{number}/inbox"), phone_token).await
    }

    /// Reads what the authenticator and devices of a phone's owner show.
    ///
    /// # Errors
    /// As [`Visitor::inbox`].
    pub async fn shown_codes(&self, number: &str, phone_token: &str) -> Result<Vec<ShownCode>, VisitError> {
        self.read(&format!("/phone/{number}/authenticator"), phone_token).await
    }

    /// Reads the counts.
    ///
    /// # Errors
    /// [`VisitError::Refused`] for a wrong token.
    pub async fn stats(&self, admin_token: &str) -> Result<Stats, VisitError> {
        self.read("/_admin/stats", admin_token).await
    }

    /// Opens an account.
    ///
    /// # Errors
    /// [`VisitError::Refused`] with the field and the way out.
    pub async fn enrol(&self, admin_token: &str, wish: &Enrolment<'_>) -> Result<Enrolled, VisitError> {
        let names: Vec<String> = wish.fields.iter().map(|(key, _)| format!("field.{key}")).collect();
        let values = wish.fields.iter().map(|(_, value)| *value);
        let mut fields: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(values).collect();
        fields.push(("institution", wish.institution.as_bytes()));
        fields.push(("phone", wish.phone.as_bytes()));
        if let Some(behaviour) = wish.behaviour {
            fields.push(("behaviour", Behaviour::word(behaviour).as_bytes()));
        }
        let body = Bytes::from_owner(form::encode(&fields));
        let (status, answer) = self.send(Method::POST, "/_admin/accounts", Some(admin_token), body).await?;
        parse(status, &answer)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, token: &str) -> Result<T, VisitError> {
        let (status, answer) = self.send(Method::GET, path, Some(token), Bytes::new()).await?;
        parse(status, &answer)
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// [`VisitError::Connect`], [`VisitError::Exchange`] or [`VisitError::Request`]; a refusal is a status here.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), VisitError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|_| VisitError::Request)?;
        let name = ServerName::try_from("localhost").map_err(|_| VisitError::Request)?;
        let tcp = TcpStream::connect(self.addr).await?;
        let tls = self.connector.connect(name, tcp).await?;
        let (mut sender, connection) = http1::Builder::new().writev(true).handshake(TokioIo::new(tls)).await?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok((status, body))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection may end right after the whole answer has arrived.
            _ = connection => exchange.await,
        }
    }
}

fn parse<T: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<T, VisitError> {
    if !status.is_success() {
        return Err(VisitError::Refused { status, text: String::from_utf8_lossy(answer).into_owned() });
    }
    Ok(serde_json::from_slice(answer)?)
}
