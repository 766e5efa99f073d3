//! Who this process is, and whom it takes for the vault: its certificate and key, the authorities, and the node
//! identity a server has to prove. Names of hosts mean nothing here, identities do.

use std::fmt;
use std::sync::Arc;

use cofre_model::caller::{IdentityError, Role, SpiffeId};
use cofre_model::time::Clock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why material or an expected identity is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// The certificate chain.
    #[error("certificate: must be PEM with this process's certificate first")]
    Certificate,
    /// The private key.
    #[error("key: must be PEM with one private key (PKCS#8, SEC1 or PKCS#1)")]
    Key,
    /// The authorities.
    #[error("bundle: must be PEM with at least one authority's certificate")]
    Bundle,
    /// The expected server.
    #[error("server: must be spiffe://<trust domain>/node/<region>/<name>")]
    Server,
    /// The library refused the parts, for example a key that does not belong to the certificate.
    #[error("certificate and key do not work together: {0}")]
    Library(#[from] rustls::Error),
}

/// Why a server is not the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Not a certificate, or one with malformed or repeated names.
    #[error("server certificate is malformed")]
    Malformed,
    /// Not exactly one URI among its names.
    #[error("server certificate must have exactly one URI name")]
    NotOneUri,
    /// The URI is no identity of the deployment.
    #[error("server {0}")]
    Identity(#[from] IdentityError),
    /// An identity, but not the expected one.
    #[error("server is another identity than expected")]
    NotExpected,
}

/// The schemes an identity signs statements with: the first that fits its key.
pub(crate) const SIGNATURE_SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
];

/// The certificate and key of this process, and the authorities it believes.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Identity {
    /// From PEM: the certificate with its intermediates, the key, the authorities.
    ///
    /// # Errors
    /// [`MaterialError`] names the part that is not usable.
    pub fn from_pem(certificate: &[u8], key: &[u8], bundle: &[u8]) -> Result<Self, MaterialError> {
        let chain = certificates(certificate).ok_or(MaterialError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| MaterialError::Key)?;
        Ok(Self { chain, key, roots: roots(bundle)? })
    }

    /// The identity its own certificate names in `trust_domain`.
    ///
    /// # Errors
    /// [`MaterialError::Certificate`] where it names none, or several.
    pub fn spiffe_id(&self, trust_domain: &str) -> Result<SpiffeId, MaterialError> {
        let leaf = self.chain.first().ok_or(MaterialError::Certificate)?;
        leaf_identity(leaf, trust_domain).map_err(|_| MaterialError::Certificate)
    }

    /// The certificates, DER, leaf first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The authorities this side believes.
    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// Signs with the key of the certificate, in the scheme its kind of key gives ([`SIGNATURE_SCHEMES`]).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MaterialError> {
        let key = aws_lc_rs::sign::any_supported_type(&self.key)?;
        let signer = key.choose_scheme(&SIGNATURE_SCHEMES).ok_or(MaterialError::Key)?;
        Ok(signer.sign(message)?)
    }

    /// TLS 1.3 with hybrid key exchange first, this identity, and `server` at the other end.
    ///
    /// # Errors
    /// [`MaterialError::Library`] where certificate and key do not belong together.
    pub fn tls(&self, server: ServerIdentity, clock: Arc<dyn Clock>) -> Result<ClientConfig, MaterialError> {
        let provider =
            Arc::new(CryptoProvider { kx_groups: vec![X25519MLKEM768, X25519], ..aws_lc_rs::default_provider() });
        let verifier = NodeVerifier { roots: Arc::clone(&self.roots), server, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(ProcessTime(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }
}

/// The authorities of a bundle.
pub(crate) fn roots(bundle: &[u8]) -> Result<Arc<RootCertStore>, MaterialError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(bundle).ok_or(MaterialError::Bundle)? {
        roots.add(root).map_err(|_| MaterialError::Bundle)?;
    }
    Ok(Arc::new(roots))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
    (!chain.is_empty()).then_some(chain)
}

/// The identity a server must prove: a node of the trust domain, or one node alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    trust_domain: String,
    exactly: Option<SpiffeId>,
}

impl ServerIdentity {
    /// Any node of `trust_domain`.
    #[must_use]
    pub fn any_node(trust_domain: &str) -> Self {
        Self { trust_domain: trust_domain.to_owned(), exactly: None }
    }

    /// The node `uri` of `trust_domain` and no other.
    ///
    /// # Errors
    /// [`MaterialError::Server`] where `uri` is not a node's identity.
    pub fn exactly(uri: &str, trust_domain: &str) -> Result<Self, MaterialError> {
        let identity = SpiffeId::parse(uri, trust_domain).map_err(|_| MaterialError::Server)?;
        if identity.role() != Role::Node {
            return Err(MaterialError::Server);
        }
        Ok(Self { trust_domain: trust_domain.to_owned(), exactly: Some(identity) })
    }

    /// Whether the leaf certificate proves this identity. Its chain is verified elsewhere.
    ///
    /// # Errors
    /// [`ServerError`] says what it proves instead.
    pub fn check(&self, leaf: &[u8]) -> Result<(), ServerError> {
        let identity = leaf_identity(leaf, &self.trust_domain)?;
        let expected = match &self.exactly {
            Some(exactly) => identity == *exactly,
            None => identity.role() == Role::Node,
        };
        if expected { Ok(()) } else { Err(ServerError::NotExpected) }
    }
}

/// The one identity a leaf certificate names. Its chain is verified elsewhere.
pub(crate) fn leaf_identity(leaf: &[u8], trust_domain: &str) -> Result<SpiffeId, ServerError> {
    let Ok(([], certificate)) = X509Certificate::from_der(leaf) else {
        return Err(ServerError::Malformed);
    };
    let mut names = None;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(found) if names.is_none() => names = Some(found),
            ParsedExtension::SubjectAlternativeName(_) | ParsedExtension::ParseError { .. } => {
                return Err(ServerError::Malformed);
            }
            _ => {}
        }
    }
    let mut uris = names.iter().flat_map(|names| &names.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(ServerError::NotOneUri);
    };
    Ok(SpiffeId::parse(uri, trust_domain)?)
}

/// Believes a server by its chain and identity, never by its name. Revocation of a node is *not* checked here: it
/// reaches clients as a new bundle, and nodes' certificates are short-lived.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<RootCertStore>,
    server: ServerIdentity,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        self.server
            .check(end_entity)
            .map_err(|cause| rustls::Error::from(CertificateError::Other(OtherError(Arc::new(cause)))))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only version 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The injected clock in the shape TLS wants.
#[derive(Debug)]
struct ProcessTime(Arc<dyn Clock>);

impl TimeProvider for ProcessTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.now().secs())))
    }
}
