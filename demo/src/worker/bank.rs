//! The worker's way into a bank: log in, pass a second factor, read, log out. Nothing else can be asked for.
//!
//! The pages a client may request are the variants of one private type: a transfer page cannot be named, links and redirects
//! are never followed. Only the authority given for this bank is trusted. Field values and codes go from the caller's buffer into
//! one request body that is wiped once it is written; they never become a `String`. A login that fails is never sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

mod cookies;
mod form;
mod outcome;
mod page;
mod portfolio;
#[cfg(test)]
mod tests;

pub use outcome::{BankError, CodeOutcome, LoginOutcome, SecondFactor};
pub use portfolio::{Isin, NotAnIsin, Position, Positions, Transaction};

use cookies::Cookies;
use outcome::Said;
use page::Page;

/// A page that has not come whole by then counts as a closed site.
const EXCHANGE: Duration = Duration::from_secs(10);
/// Largest page read.
const LARGEST: usize = 512 * 1024;

/// Where a bank is and whom to trust for it.
#[derive(Debug, Clone)]
pub struct BankAddress {
    /// The server's address; names are not looked up, a sandboxed worker has no resolver.
    pub addr: SocketAddr,
    /// The name its certificate must carry.
    pub server_name: String,
    /// The only authority whose certificates are accepted, as PEM.
    pub ca_pem: String,
}

/// One customer's visit to one institution's site.
pub struct BankClient {
    connector: TlsConnector,
    addr: SocketAddr,
    server_name: ServerName<'static>,
    host: HeaderValue,
    slug: String,
    cookies: Cookies,
    connection: Option<Connection>,
}

impl std::fmt::Debug for BankClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BankClient").field("addr", &self.addr).field("slug", &self.slug).finish_non_exhaustive()
    }
}

/// An open connection; dropping it closes it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came back: a status and a whole body.
struct Received {
    status: StatusCode,
    body: Bytes,
}

impl BankClient {
    /// A client for one institution. Connects on first use.
    ///
    /// # Errors
    /// [`BankError::Slug`], [`BankError::Name`] or [`BankError::Root`] name what in the address cannot be used.
    pub fn new(bank: &BankAddress, slug: &str) -> Result<Self, BankError> {
        if !page::is_slug(slug) {
            return Err(BankError::Slug);
        }
        let server_name = ServerName::try_from(bank.server_name.clone()).map_err(|_| BankError::Name)?;
        let host = HeaderValue::from_str(&format!("{}:{}", bank.server_name, bank.addr.port()))
            .map_err(|_| BankError::Name)?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(trust(&bank.ca_pem)?)),
            addr: bank.addr,
            server_name,
            host,
            slug: slug.to_owned(),
            cookies: Cookies::default(),
            connection: None,
        })
    }

    /// Fills in and sends the login form, once. First reads the form and stops if a field is not on it: a changed site must
    /// not be sent a password.
    ///
    /// # Errors
    /// [`BankError::FormChanged`] names the field; other errors say what the site did that no bank should.
    pub async fn login(&mut self, fields: &[(&str, &[u8])]) -> Result<LoginOutcome, BankError> {
        match self.try_login(fields).await {
            Err(BankError::SiteUnavailable) => Ok(LoginOutcome::SiteUnavailable),
            other => other,
        }
    }

    async fn try_login(&mut self, fields: &[(&str, &[u8])]) -> Result<LoginOutcome, BankError> {
        self.cookies.clear();
        let blank = self.exchange(Page::LoginForm, Bytes::new()).await?;
        if blank.status != StatusCode::OK {
            return Err(BankError::Unexpected { page: Page::LoginForm.name(), status: blank.status });
        }
        for (key, _) in fields {
            if !page::has_field(&blank.body, key) {
                return Err(BankError::FormChanged { field: (*key).to_owned() });
            }
        }
        let received = self.exchange(Page::Login, form::encode(fields)).await?;
        read::<Said>(Page::Login, &received)?.after_login(received.status)
    }

    /// Sends the second-factor code, once.
    ///
    /// # Errors
    /// As [`BankClient::login`].
    pub async fn submit_code(&mut self, code: &[u8]) -> Result<CodeOutcome, BankError> {
        let body = form::encode(&[("code", code)]);
        match self.exchange(Page::SecondFactor, body).await {
            Ok(received) => read::<Said>(Page::SecondFactor, &received)?.after_code(received.status),
            Err(BankError::SiteUnavailable) => Ok(CodeOutcome::SiteUnavailable),
            Err(error) => Err(error),
        }
    }

    /// Reads the positions.
    ///
    /// # Errors
    /// [`BankError::NotSignedIn`] when there is no session or it has ended.
    pub async fn positions(&mut self) -> Result<Positions, BankError> {
        self.read_page(Page::Positions).await
    }

    /// Reads the transactions.
    ///
    /// # Errors
    /// As [`BankClient::positions`].
    pub async fn transactions(&mut self) -> Result<Vec<Transaction>, BankError> {
        self.read_page(Page::Transactions).await
    }

    /// Ends the session at the bank, forgets its cookies and closes the connection, whatever the site answers.
    ///
    /// # Errors
    /// Says that the site did not confirm; the session then ends by itself after the bank's idle time.
    pub async fn logout(&mut self) -> Result<(), BankError> {
        let received = self.exchange(Page::Logout, Bytes::new()).await;
        self.cookies.clear();
        self.connection = None;
        match received?.status {
            status if status.is_success() => Ok(()),
            status => Err(BankError::Unexpected { page: Page::Logout.name(), status }),
        }
    }

    async fn read_page<T: DeserializeOwned>(&mut self, page: Page) -> Result<T, BankError> {
        let received = self.exchange(page, Bytes::new()).await?;
        match received.status {
            StatusCode::OK => read(page, &received),
            StatusCode::UNAUTHORIZED => Err(BankError::NotSignedIn),
            status => Err(BankError::Unexpected { page: page.name(), status }),
        }
    }

    /// One request and its whole answer, within the time limit. Never repeats a request.
    async fn exchange(&mut self, page: Page, body: Bytes) -> Result<Received, BankError> {
        let exchange = self.exchange_untimed(page, body);
        match tokio::time::timeout(EXCHANGE, exchange).await {
            Ok(received) => received,
            Err(_) => {
                self.connection = None;
                Err(BankError::SiteUnavailable)
            }
        }
    }

    async fn exchange_untimed(&mut self, page: Page, body: Bytes) -> Result<Received, BankError> {
        let request = self.request(page, body)?;
        let sender = self.sender().await?;
        let response = sender.send_request(request).await;
        let Ok(response) = response else {
            self.connection = None;
            return Err(BankError::SiteUnavailable);
        };
        self.cookies.keep(response.headers());
        if response.status().is_server_error() {
            return Err(BankError::SiteUnavailable);
        }
        whole(page, response).await
    }

    fn request(&self, page: Page, body: Bytes) -> Result<Request<Full<Bytes>>, BankError> {
        let mut request = Request::builder()
            .method(page.method())
            .uri(page.path(&self.slug))
            .header(HOST, &self.host)
            .header(ACCEPT, page.accept());
        if page.method() == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(cookies) = self.cookies.header() {
            request = request.header(COOKIE, cookies);
        }
        request.body(Full::new(body)).map_err(|_| BankError::Slug)
    }

    /// An open connection: the last one if it still stands, else a new one.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, BankError> {
        let usable = match &mut self.connection {
            Some(open) => open.sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.connection = None;
            let fresh = self.connect().await?;
            return Ok(&mut self.connection.insert(fresh).sender);
        }
        self.connection.as_mut().map(|open| &mut open.sender).ok_or(BankError::SiteUnavailable)
    }

    async fn connect(&self) -> Result<Connection, BankError> {
        let tcp = TcpStream::connect(self.addr).await.map_err(|_| BankError::SiteUnavailable)?;
        let tls = self.connector.connect(self.server_name.clone(), tcp).await.map_err(|error| {
            let refused = error.get_ref().is_some_and(|e| e.is::<rustls::Error>());
            if refused { BankError::NotTrusted } else { BankError::SiteUnavailable }
        })?;
        // Vectored writes hand the body's own buffer to TLS; the other strategy would leave a copy in a buffer nobody wipes.
        let (sender, connection) = http1::Builder::new()
            .writev(true)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| BankError::SiteUnavailable)?;
        // How a connection ends shows in the request that needed it.
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection { sender, task })
    }
}

/// TLS 1.3 with one authority.
fn trust(ca_pem: &str) -> Result<ClientConfig, BankError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|_| BankError::Root)?;
        roots.add(certificate).map_err(|_| BankError::Root)?;
    }
    if roots.is_empty() {
        return Err(BankError::Root);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| BankError::Root)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The whole body, up to the largest page.
async fn whole(page: Page, response: Response<Incoming>) -> Result<Received, BankError> {
    let status = response.status();
    match Limited::new(response.into_body(), LARGEST).collect().await {
        Ok(body) => Ok(Received { status, body: body.to_bytes() }),
        Err(error) if error.is::<hyper::Error>() => Err(BankError::SiteUnavailable),
        Err(_) => Err(BankError::Unreadable { page: page.name() }),
    }
}

fn read<T: DeserializeOwned>(page: Page, received: &Received) -> Result<T, BankError> {
    serde_json::from_slice(&received.body).map_err(|_| match received.status {
        StatusCode::OK => BankError::Unreadable { page: page.name() },
        status => BankError::Unexpected { page: page.name(), status },
    })
}
