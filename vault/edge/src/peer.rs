//! From a certificate to a [`Caller`], or a reason why not: the one place where an identity is made.
//!
//! The signature chain, validity and revocation are checked by [`crate::tls`] and [`crate::revocation`]; here the
//! leaf itself is read, by the rules of X509-SVID and this deployment's own, which are narrower.

use std::collections::BTreeSet;

use cofre_model::caller::{Caller, IdentityError, SpiffeId};
use cofre_model::time::Timestamp;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use crate::limits;

/// Why a peer is not a caller. Goes to the log; the peer itself learns nothing but that it is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The peer presented no certificate.
    #[error("no certificate was presented")]
    NoCertificate,
    /// The certificate is above [`limits::CERTIFICATE_BYTES`].
    #[error("certificate is larger than allowed")]
    TooLarge,
    /// More certificates than [`limits::CHAIN_CERTIFICATES`].
    #[error("certificate chain is longer than allowed")]
    ChainTooLong,
    /// Not one DER certificate, whole and alone.
    #[error("certificate is malformed")]
    Malformed,
    /// Not an X.509 version 3 certificate.
    #[error("certificate is not of version 3")]
    Version,
    /// An extension appears twice (RFC 5280, 4.2).
    #[error("certificate repeats an extension")]
    RepeatedExtension,
    /// An extension that must be understood is not (RFC 5280, 4.2).
    #[error("certificate has a critical extension of unknown meaning")]
    UnknownCritical,
    /// The leaf may issue certificates (X509-SVID, 4.1).
    #[error("leaf certificate is an authority")]
    Authority,
    /// Key usage is absent, not critical, or lacks digitalSignature (X509-SVID, 4.3).
    #[error("key usage must be present, critical and contain digitalSignature")]
    KeyUsage,
    /// The leaf's key may sign certificates or revocation lists (X509-SVID, 4.3).
    #[error("leaf key may sign certificates or revocation lists")]
    SigningKey,
    /// A certificate above the leaf may not sign certificates (RFC 5280, 4.2.1.3; X509-SVID, 4.3).
    #[error("certificate above the leaf may not sign certificates")]
    NotAnIssuer,
    /// Extended key usage does not name clientAuth. X509-SVID 4.4 lets it be absent, and anyExtendedKeyUsage stand
    /// for it; this deployment accepts neither.
    #[error("extended key usage must name clientAuth")]
    ExtendedKeyUsage,
    /// No URI among the alternative names (X509-SVID, 2).
    #[error("certificate has no URI name")]
    NoUri,
    /// More than one URI among the alternative names (X509-SVID, 2).
    #[error("certificate has more than one URI name")]
    SeveralUris,
    /// The URI is no identity of this deployment.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The chain does not verify any more: revoked, or its authority is gone.
    #[error("certificate is no longer trusted")]
    Untrusted,
    /// A certificate of the chain is past its end.
    #[error("certificate has expired")]
    Expired,
    /// The revocation list is past its next update, so that nobody's standing is known.
    #[error("revocation list is stale")]
    RevocationsStale,
    /// The identity holds as many connections already as its listener allows to one.
    #[error("identity has too many connections")]
    TooManyConnections,
}

/// Reads the caller out of a leaf certificate whose chain is verified elsewhere. Pure: the same bytes give the same
/// answer.
///
/// # Errors
/// [`PeerError`] names the first rule the certificate breaks.
pub fn caller_from_certificate(der: &[u8], trust_domain: &str) -> Result<Caller, PeerError> {
    let certificate = parse(der)?;
    let uri = identity_uri(&certificate)?;
    let identity = SpiffeId::parse(uri, trust_domain)?;
    #[expect(clippy::disallowed_methods, reason = "the counter is where a verified certificate becomes a caller")]
    let caller = Caller::from_verified_chain(identity, Sha256::digest(der).into());
    Ok(caller)
}

/// The last instant at which a certificate holds.
///
/// # Errors
/// [`PeerError::Malformed`] where it is not a certificate, [`PeerError::TooLarge`] where it is too large to look at.
pub(crate) fn not_after(der: &[u8]) -> Result<Timestamp, PeerError> {
    let secs = parse(der)?.validity().not_after.timestamp();
    u64::try_from(secs).map(Timestamp::from_secs).map_err(|_| PeerError::Malformed)
}

/// The `SubjectPublicKeyInfo` of a certificate, DER.
///
/// # Errors
/// As [`not_after`].
pub(crate) fn public_key(der: &[u8]) -> Result<Vec<u8>, PeerError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PeerError> {
    if der.len() > limits::CERTIFICATE_BYTES {
        return Err(PeerError::TooLarge);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(PeerError::Malformed),
    }
}

/// Walks the extensions once, refuses what must not be there, and returns the one URI.
fn identity_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, PeerError> {
    if certificate.version() != X509Version::V3 {
        return Err(PeerError::Version);
    }
    let mut seen = BTreeSet::new();
    let (mut usage, mut client, mut uris) = (None, false, Vec::new());
    for extension in certificate.extensions() {
        if !seen.insert(extension.oid.as_bytes()) {
            return Err(PeerError::RepeatedExtension);
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => return Err(PeerError::Authority),
            ParsedExtension::BasicConstraints(_) => {}
            ParsedExtension::KeyUsage(bits) => usage = Some((bits, extension.critical)),
            ParsedExtension::ExtendedKeyUsage(purposes) => client = purposes.client_auth,
            ParsedExtension::SubjectAlternativeName(names) => uris = uris_of(&names.general_names)?,
            ParsedExtension::ParseError { .. } => return Err(PeerError::Malformed),
            // SECURITY: every other extension is read by nobody here, so a critical one cannot be obeyed.
            _ if extension.critical => return Err(PeerError::UnknownCritical),
            _ => {}
        }
    }
    let (usage, critical) = usage.ok_or(PeerError::KeyUsage)?;
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(PeerError::SigningKey);
    }
    if !critical || !usage.digital_signature() {
        return Err(PeerError::KeyUsage);
    }
    if !client {
        return Err(PeerError::ExtendedKeyUsage);
    }
    match uris.as_slice() {
        [] => Err(PeerError::NoUri),
        [uri] => Ok(uri),
        [..] => Err(PeerError::SeveralUris),
    }
}

/// Whether a certificate above the leaf says that its key may sign certificates. The library looks at its basic
/// constraints and not at its key usage.
///
/// # Errors
/// [`PeerError::NotAnIssuer`], or what is malformed.
pub(crate) fn check_issuer(der: &[u8]) -> Result<(), PeerError> {
    let certificate = parse(der)?;
    let usage = certificate.key_usage().map_err(|_| PeerError::RepeatedExtension)?;
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign());
    if signs { Ok(()) } else { Err(PeerError::NotAnIssuer) }
}

/// The URI names; DNS and other kinds may stand beside them and mean nothing, malformed ones may not.
fn uris_of<'a>(names: &[GeneralName<'a>]) -> Result<Vec<&'a str>, PeerError> {
    let mut uris = Vec::new();
    for name in names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return Err(PeerError::Malformed),
            // IA5String (RFC 5280, 4.2.1.6), which the parser takes for UTF-8.
            GeneralName::DNSName(text) | GeneralName::RFC822Name(text) if !text.is_ascii() => {
                return Err(PeerError::Malformed);
            }
            _ => {}
        }
    }
    Ok(uris)
}
