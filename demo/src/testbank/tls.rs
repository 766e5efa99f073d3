//! The bank's front door: TLS 1.3 with a certificate given or made for the occasion.
//! Handshakes run apart from the accept loop, so one slow client holds up nobody. Never asks clients for a certificate: banks
//! know their customers by what they type.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A client that has not finished its handshake by then is cut.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at a time; further clients wait in the system's queue.
const HANDSHAKES: usize = 64;

/// Where the server's certificate comes from.
#[derive(Debug)]
pub enum Certificate {
    /// A fresh authority and a certificate of it for `localhost`, `testbank.localhost` and the loopback addresses.
    Generated,
    /// PEM files.
    Files {
        /// The server's chain, its own certificate first.
        chain: PathBuf,
        /// The server's private key.
        key: PathBuf,
        /// The authority that clients trust.
        ca: PathBuf,
    },
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no PEM of the expected kind.
    #[error("the {0} file holds no usable PEM: {1}")]
    Pem(&'static str, rustls_pki_types::pem::Error),
    /// A fresh certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The chain and the key do not go together.
    #[error("the TLS library refuses the chain or key: {0}")]
    Refused(#[from] rustls::Error),
}

/// What the server shows and what clients must trust.
pub(super) struct Identity {
    pub(super) server: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

/// Loads or makes the server's identity.
pub(super) fn identity(certificate: Certificate) -> Result<Identity, CertificateError> {
    let (chain_pem, key_pem, ca_pem) = match certificate {
        Certificate::Generated => generate()?,
        Certificate::Files { chain, key, ca } => (read(chain)?, read(key)?, read(ca)?),
    };
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| CertificateError::Pem("chain", e))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|e| CertificateError::Pem("key", e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    Ok(Identity { server: Arc::new(server), ca_pem })
}

fn read(path: PathBuf) -> Result<String, CertificateError> {
    std::fs::read_to_string(&path).map_err(|source| CertificateError::Read { path, source })
}

/// A fresh authority and server certificate: chain, key and authority as PEM.
fn generate() -> Result<(String, String, String), CertificateError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "TestBank development authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "testbank.localhost", "127.0.0.1", "::1"];
    let mut server = CertificateParams::new(names.map(str::to_owned).to_vec())?;
    server.distinguished_name.push(DnType::CommonName, "TestBank");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate()?;
    let chain_pem = server.signed_by(&server_key, &issuer)?.pem();
    Ok((chain_pem, server_key.serialize_pem(), ca_pem))
}

/// Hands finished TLS connections to the HTTP server.
pub(super) struct Listener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub(super) fn new(tcp: TcpListener, server: Arc<ServerConfig>) -> Self {
        let local = tcp.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (send, ready) = mpsc::channel(HANDSHAKES);
        let accepting = tokio::spawn(accept_all(tcp, TlsAcceptor::from(server), send));
        Self { ready, local, accepting }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts for ever; each handshake in a task of its own.
async fn accept_all(tcp: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await {
        let Ok((stream, peer)) = tcp.accept().await else {
            // Out of descriptors, most likely: give connections a moment to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let _turn = turn;
            if let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Refused only when the server is gone; the connection then closes with it.
                let _ = ready.send((tls, peer)).await;
            }
        });
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_serve_as_well_as_fresh_certificates_and_a_missing_one_is_named() {
        let folder = std::env::temp_dir().join(format!("testbank-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let paths = ["chain.pem", "key.pem", "ca.pem"].map(|name| folder.join(name));
        let (chain_pem, key_pem, ca_pem) = generate().unwrap();
        for (path, text) in paths.iter().zip([&chain_pem, &key_pem, &ca_pem]) {
            std::fs::write(path, text).unwrap();
        }
        let [chain, key, ca] = paths;
        let files = || Certificate::Files { chain: chain.clone(), key: key.clone(), ca: ca.clone() };
        assert_eq!(identity(files()).unwrap().ca_pem, ca_pem);

        let (_, another_key, _) = generate().unwrap();
        std::fs::write(&key, another_key).unwrap();
        assert!(matches!(identity(files()), Err(CertificateError::Refused(_))), "a key of another chain");
        std::fs::write(&key, "no key").unwrap();
        assert!(matches!(identity(files()), Err(CertificateError::Pem("key", _))));
        std::fs::remove_file(&chain).unwrap();
        assert!(matches!(identity(files()), Err(CertificateError::Read { path, .. }) if path == chain));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
