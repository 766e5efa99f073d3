//! TLS as this node offers it: version 1.3 alone, hybrid key exchange first, a client certificate always, its
//! revocation checked or refused, nothing resumed. Loads material, and refuses material that would not work.

use std::fmt;
use std::sync::Arc;

use cofre_model::caller::{Caller, Role};
use cofre_model::time::{Clock, Timestamp};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::limits;
use crate::peer::{self, PeerError};

/// The only application protocol.
pub(crate) const ALPN: &[u8] = b"h2";

/// What a node is configured with, as PEM. Borrowed: this room keeps no copy of the key but the one inside TLS.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// The node's certificate, its intermediates after it.
    pub certificate: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
    /// The authorities whose certificates are accepted.
    pub bundle: &'a [u8],
    /// One revocation list for each authority of the bundle and each intermediate in use.
    pub revocations: &'a [u8],
}

impl fmt::Debug for Material<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material { .. }")
    }
}

/// Why material is refused. The one in use, if any, stays in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// identity.certificate
    #[error("identity.certificate: must be PEM with the node's certificate first")]
    Certificate,
    /// identity.key
    #[error("identity.key: must be PEM with one private key (PKCS#8, SEC1 or PKCS#1)")]
    Key,
    /// identity.bundle
    #[error("identity.bundle: must be PEM with at least one authority's certificate")]
    Bundle,
    /// identity.revocations is unreadable or empty.
    #[error("identity.revocations: must be PEM with at least one revocation list that names its next update")]
    Revocations,
    /// identity.revocations is past its next update.
    #[error("identity.revocations: a list was due for renewal at {0}; fetch a fresh one from the authority")]
    RevocationsStale(Timestamp),
    /// The node's own certificate would not be let in.
    #[error("identity.certificate: does not verify against identity.bundle and identity.revocations: {0}")]
    OwnCertificate(rustls::Error),
    /// The node's own certificate is another kind of identity.
    #[error("identity.certificate: must carry spiffe://<trust domain>/node/<region>/<name>")]
    NotANode,
    /// The library refused the parts, for example a key that does not belong to the certificate.
    #[error("identity: certificate and key do not work together: {0}")]
    Library(#[from] rustls::Error),
    /// A chain that came with a paper proves nobody.
    #[error("the certificate proves nobody: {0}")]
    Chain(rustls::Error),
    /// The verifier could not be made.
    #[error("identity: bundle or revocations are not usable: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// One generation of trust: what handshakes use and what connections are measured against.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ServerConfig>,
    verifier: Arc<CallerVerifier>,
    /// The node's own chain, which `config` shows.
    own: Vec<CertificateDer<'static>>,
    /// The earliest next update of all revocation lists.
    pub(crate) revocations_until: Timestamp,
}

impl Trust {
    /// Loads `material`, and proves it on the node's own certificate, so that a wrong bundle, a stale list or a
    /// strange key is found now and not by the first caller.
    pub(crate) fn load(material: &Material<'_>, trust_domain: &str, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let chain = certificates(material.certificate).ok_or(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(material.key).map_err(|_| TlsError::Key)?;
        let pair = CertifiedKey::from_der(chain.clone(), key, &provider())?;
        let pair = Arc::new(SingleCertAndKey::from(pair));
        let trust = Self::over(pair, chain, material.bundle, material.revocations, trust_domain, clock)?;
        let own = trust.own.first().ok_or(TlsError::Certificate)?;
        match peer::caller_from_certificate(own, trust_domain) {
            Ok(caller) if caller.identity().role() == Role::Node => Ok(trust),
            Ok(_) | Err(_) => Err(TlsError::NotANode),
        }
    }

    /// The same certificate and key over another bundle and other lists.
    pub(crate) fn with_lists(
        &self,
        bundle: &[u8],
        revocations: &[u8],
        trust_domain: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let pair = Arc::clone(&self.config.cert_resolver);
        Self::over(pair, self.own.clone(), bundle, revocations, trust_domain, clock)
    }

    fn over(
        pair: Arc<dyn ResolvesServerCert>,
        own: Vec<CertificateDer<'static>>,
        bundle: &[u8],
        revocations: &[u8],
        trust_domain: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let (verifier, revocations_until) = over_lists(bundle, revocations, trust_domain, clock.now())?;
        let provider = provider();
        let config = Arc::new(server_config(provider, clock, Arc::clone(&verifier), pair)?);
        let trust = Self { config, verifier, own, revocations_until };
        trust.verify(&trust.own, clock.now()).map_err(TlsError::OwnCertificate)?;
        Ok(trust)
    }

    /// Whether `chain` would be let in at `now`: chain, validity, purpose, revocation and identity.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), rustls::Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.secs()));
        self.verifier.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }
}

/// A verifier that looks at revocation, and when its lists go stale.
fn over_lists(
    bundle: &[u8],
    revocations: &[u8],
    trust_domain: &str,
    now: Timestamp,
) -> Result<(Arc<CallerVerifier>, Timestamp), TlsError> {
    let lists = CertificateRevocationListDer::pem_slice_iter(revocations)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError::Revocations)?;
    let revocations_until = next_update(&lists)?;
    if now >= revocations_until {
        return Err(TlsError::RevocationsStale(revocations_until));
    }
    let inner = WebPkiClientVerifier::builder_with_provider(roots(bundle)?, provider())
        .with_crls(lists)
        .enforce_revocation_expiration()
        .clear_root_hint_subjects()
        .build()?;
    Ok((Arc::new(CallerVerifier { inner, trust_domain: trust_domain.to_owned() }), revocations_until))
}

fn roots(bundle: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(bundle).ok_or(TlsError::Bundle)? {
        roots.add(root).map_err(|_| TlsError::Bundle)?;
    }
    Ok(Arc::new(roots))
}

/// What a chain is held against that came with a paper and not over a connection.
#[derive(Debug, Clone, Copy)]
pub struct Authorities<'a> {
    /// The authorities, PEM.
    pub bundle: &'a [u8],
    /// Their revocation lists, PEM. None where the chain only has to have held once: lists say what was revoked since.
    pub revocations: Option<&'a [u8]>,
    /// The trust domain.
    pub trust_domain: &'a str,
}

/// Whom a chain (DER, leaf first) proves at `at`, by the rules of a handshake, and the `SubjectPublicKeyInfo` of their key.
///
/// # Errors
/// [`TlsError`] names the authorities' part that is not usable, or [`TlsError::Chain`].
pub fn prove(chain: &[Vec<u8>], by: Authorities<'_>, at: Timestamp) -> Result<(Caller, Vec<u8>), TlsError> {
    let verifier = match by.revocations {
        Some(lists) => over_lists(by.bundle, lists, by.trust_domain, at)?.0,
        None => {
            let inner = WebPkiClientVerifier::builder_with_provider(roots(by.bundle)?, provider())
                .clear_root_hint_subjects()
                .build()?;
            Arc::new(CallerVerifier { inner, trust_domain: by.trust_domain.to_owned() })
        }
    };
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (leaf, above) = chain.split_first().ok_or(TlsError::Chain(rustls::Error::NoCertificatesPresented))?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.secs()));
    verifier.verify_client_cert(leaf, above, time).map_err(TlsError::Chain)?;
    let read = || Ok((peer::caller_from_certificate(leaf, by.trust_domain)?, peer::public_key(leaf)?));
    read().map_err(|cause| TlsError::Chain(refused(cause)))
}

fn server_config(
    provider: Arc<CryptoProvider>,
    clock: &Arc<dyn Clock>,
    verifier: Arc<CallerVerifier>,
    pair: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(NodeTime(Arc::clone(clock))))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(pair);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // SECURITY: a resumed session skips the certificate and its revocation; early data can be replayed.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// The provider of every TLS connection: the hybrid group is preferred, the classic one tolerated, no other.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![X25519MLKEM768, X25519], ..aws_lc_rs::default_provider() })
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
    (!chain.is_empty()).then_some(chain)
}

/// The earliest next update. A list without one never goes stale and is refused.
fn next_update(lists: &[CertificateRevocationListDer<'_>]) -> Result<Timestamp, TlsError> {
    let mut earliest = None;
    for list in lists {
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|_| TlsError::Revocations)?;
        let at = parsed.next_update().ok_or(TlsError::Revocations)?.timestamp();
        let at = u64::try_from(at).map(Timestamp::from_secs).map_err(|_| TlsError::Revocations)?;
        earliest = Some(earliest.map_or(at, |before: Timestamp| before.min(at)));
    }
    earliest.ok_or(TlsError::Revocations)
}

/// The library's verifier between two rules of ours: sizes before any parsing, identity after the chain held. Thus a
/// certificate that is nobody's never completes a handshake.
#[derive(Debug)]
struct CallerVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    trust_domain: String,
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.len() >= limits::CHAIN_CERTIFICATES {
            return Err(refused(PeerError::ChainTooLong));
        }
        if end_entity.len() > limits::CERTIFICATE_BYTES
            || intermediates.iter().any(|each| each.len() > limits::CERTIFICATE_BYTES)
        {
            return Err(refused(PeerError::TooLarge));
        }
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        intermediates.iter().try_for_each(|each| peer::check_issuer(each)).map_err(refused)?;
        peer::caller_from_certificate(end_entity, &self.trust_domain).map_err(refused)?;
        Ok(verified)
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
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Why a handshake ended, in one of a few words. Texts of peer or library are not ours to label metrics with.
pub(crate) fn cause(error: &std::io::Error) -> &'static str {
    use rustls::CertificateError as C;
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return "hang_up";
    };
    match error {
        rustls::Error::NoCertificatesPresented => "no_certificate",
        rustls::Error::InvalidCertificate(C::Revoked) => "revoked",
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "expired",
        rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => "untrusted",
        rustls::Error::InvalidCertificate(C::UnknownRevocationStatus) => "revocation_unknown",
        rustls::Error::InvalidCertificate(C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. }) => {
            "revocations_stale"
        }
        rustls::Error::InvalidCertificate(_) => "certificate",
        rustls::Error::AlertReceived(_) => "alert",
        _ => "protocol",
    }
}

fn refused(cause: PeerError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(cause))).into()
}

/// The injected clock in the shape TLS wants.
#[derive(Debug)]
struct NodeTime(Arc<dyn Clock>);

impl TimeProvider for NodeTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.now().secs())))
    }
}
