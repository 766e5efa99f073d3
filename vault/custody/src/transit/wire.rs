//! The HTTP connection to the engine: one address, settled when it is made; TLS 1.3 against the configured authorities, or
//! plain text to this machine. Connections are kept and used again. No redirect is followed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::trouble;
use crate::fault::{Cause, Operation};
use crate::remote::Trouble;

/// No answer of an engine is longer.
const LONGEST: usize = 64 * 1024;
/// Connections that are kept while nobody needs them.
const KEPT: usize = 8;

/// Where an engine is reached: a host and a port, with TLS or on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
}

/// Why an address is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text has another form.
    #[error("must be https://<host>[:<port>], or http://<address of this machine>:<port>, without a path")]
    Form,
    /// Plain text to another machine.
    #[error("must be https: plain http is for an address of this machine, such as an agent at 127.0.0.1")]
    PlainText,
}

impl Address {
    /// Whether the connection is by TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: hyper::Uri = text.parse().map_err(|_| AddressError::Form)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(AddressError::Form),
        };
        let authority = uri.authority().ok_or(AddressError::Form)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(AddressError::Form);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let here = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !tls && !here {
            return Err(AddressError::PlainText);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 8200 });
        if host.is_empty() { Err(AddressError::Form) } else { Ok(Self { tls, host, port }) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// The way to one engine.
pub(super) struct Wire {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: PathBuf,
    kept: Mutex<Vec<Sender>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(address: Address, ca: Option<&Path>, token: PathBuf) -> Result<Self, Trouble> {
        let tls = if address.tls { Some(connector(&address, ca)?) } else { None };
        Ok(Self { address, tls, token, kept: Mutex::default() })
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) async fn get(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        self.ask(Method::GET, path, Zeroizing::default(), Operation::FindKey).await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        about: Operation,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        self.ask(Method::POST, path, body, about).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        about: Operation,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let broke = |_| Trouble::of(Cause::Transient).said("the connection broke");
        let request = self.request(method, path, body).await?;
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status().as_u16();
        let mut incoming = Limited::new(response.into_body(), LONGEST);
        // Larger than any answer that holds a share: growing would leave a copy behind.
        let mut answer = Zeroizing::new(Vec::with_capacity(8192));
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => answer.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default()),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    return Err(Trouble::of(Cause::EndpointWrong).said("an answer longer than any of an engine's"));
                }
                Err(_) => return Err(Trouble::of(Cause::Transient).said("the answer was cut")),
            }
        }
        self.keep(sender);
        if status == 200 { Ok(answer) } else { Err(trouble::read(status, &answer, about)) }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, Trouble> {
        let unread = || Trouble::of(Cause::Denied).said("the token's file cannot be read, or holds no token");
        let token = Zeroizing::new(tokio::fs::read(&self.token).await.map_err(|_| unread())?);
        let mut token = hyper::header::HeaderValue::from_bytes(token.trim_ascii()).map_err(|_| unread())?;
        if token.is_empty() {
            return Err(unread());
        }
        token.set_sensitive(true);
        let host = self.address.to_string();
        let (_, host) = host.split_once("://").unwrap_or_default();
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("content-type", "application/json")
            .header("x-vault-request", "true")
            .header("x-vault-token", token)
            .body(Full::new(Bytes::from_owner(body)))
            .map_err(|_| Trouble::of(Cause::EndpointWrong).said("mount or key make no path"))
    }

    /// A connection that is kept and still open, or a new one.
    async fn sender(&self) -> Result<Sender, Trouble> {
        loop {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                // Whether the other side has hung up is known once the connection says that it is ready.
                Some(mut kept) => {
                    if kept.ready().await.is_ok() {
                        return Ok(kept);
                    }
                }
                None => return self.connect().await,
            }
        }
    }

    fn keep(&self, sender: Sender) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && !sender.is_closed() {
            kept.push(sender);
        }
    }

    async fn connect(&self) -> Result<Sender, Trouble> {
        let Address { host, port, .. } = &self.address;
        let mut found = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|_| Trouble::of(Cause::EndpointWrong).said("the name of the service is not known"))?
            .peekable();
        if found.peek().is_none() {
            return Err(Trouble::of(Cause::EndpointWrong).said("the name of the service is not known"));
        }
        let mut tcp = Err(Trouble::of(Cause::Transient).said("no connection"));
        for address in found {
            if let Ok(stream) = TcpStream::connect(address).await {
                tcp = Ok(stream);
                break;
            }
        }
        let tcp = tcp?;
        let _ = tcp.set_nodelay(true);
        match &self.tls {
            None => spoken(tcp).await,
            Some((tls, name)) => match tls.connect(name.clone(), tcp).await {
                Ok(stream) => spoken(stream).await,
                Err(error) => Err(of_handshake(&error)),
            },
        }
    }
}

async fn spoken(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender, Trouble> {
    let broke = |_| Trouble::of(Cause::Transient).said("the connection broke");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broke)?;
    // Ends with the connection; what it meets is met by the request under way too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn of_handshake(error: &std::io::Error) -> Trouble {
    use rustls::CertificateError as C;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(
            C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. },
        )) => Trouble::of(Cause::ClockSkew).said("the server's certificate is not valid now"),
        Some(_) => Trouble::of(Cause::EndpointWrong).said("no trusted TLS at the address"),
        None => Trouble::of(Cause::Transient).said("the connection broke"),
    }
}

fn connector(address: &Address, ca: Option<&Path>) -> Result<(TlsConnector, ServerName<'static>), Trouble> {
    let wrong = |what: &'static str| move || Trouble::of(Cause::EndpointWrong).said(what);
    let mut roots = RootCertStore::empty();
    let pem = ca.and_then(|path| std::fs::read(path).ok()).ok_or_else(wrong("`ca` cannot be read"))?;
    for each in CertificateDer::pem_slice_iter(&pem) {
        let added = each.ok().and_then(|certificate| roots.add(certificate).ok());
        added.ok_or_else(wrong("`ca` must be PEM certificates"))?;
    }
    if roots.is_empty() {
        return Err(wrong("`ca` must be PEM certificates")());
    }
    let name = ServerName::try_from(address.host.clone()).map_err(|_| wrong("`address` must name a host")())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| wrong("no TLS 1.3 in this build")())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_by_tls_or_of_this_machine() {
        for (text, shown) in [
            ("https://bao.example", "https://bao.example:443"),
            ("https://bao.example:8200/", "https://bao.example:8200"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("http://[::1]:8200", "http://[::1]:8200"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(shown));
        }
        for (text, wrong) in [
            ("http://bao.example:8200", AddressError::PlainText),
            ("http://localhost:8200", AddressError::PlainText),
            ("http://10.0.0.7:8200", AddressError::PlainText),
            ("bao.example", AddressError::Form),
            ("ftp://bao.example", AddressError::Form),
            ("https://bao.example/v1", AddressError::Form),
            ("https://user:word@bao.example", AddressError::Form),
            ("", AddressError::Form),
        ] {
            assert_eq!(text.parse::<Address>(), Err(wrong), "{text}");
        }
    }
}
