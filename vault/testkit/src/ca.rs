//! A certificate authority for tests and for the development deployment: issues good identities, and bad ones in
//! every way a counter has to refuse. It asks nobody whether a name is deserved, so nothing shipped may use it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cofre_model::time::{Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SanType, SerialNumber,
};
pub use rcgen::{ExtendedKeyUsagePurpose as Purpose, KeyUsagePurpose as Usage};
use time::OffsetDateTime;

/// Object identifier of subjectAltName.
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
/// An extension nobody knows, under the example arc of the private enterprise numbers.
const UNKNOWN: &[u64] = &[1, 3, 6, 1, 4, 1, 32473, 1];
/// Context tag 6 of GeneralName, a URI.
const URI_TAG: u8 = 0x86;

/// Why the authority could not do as told.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The certificate library refused the parameters.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A time is beyond the calendar.
    #[error("time is beyond the calendar")]
    Time,
    /// No randomness for a serial number.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// A file could not be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// One alternative name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A URI of ASCII characters.
    Uri(String),
    /// A DNS name.
    Dns(String),
    /// A URI of any bytes, which no honest authority would write. Not mixed with other kinds.
    RawUri(Vec<u8>),
}

/// How to issue. The default is a good identity, valid as long as its authority.
#[derive(Debug, Clone)]
pub struct Options {
    /// Start of validity; the authority's own when absent.
    pub not_before: Option<Timestamp>,
    /// End of validity; the authority's own when absent.
    pub not_after: Option<Timestamp>,
    /// Whether the leaf says it is an authority.
    pub authority: bool,
    /// Key usage, written as critical; absent when empty.
    pub usages: Vec<Usage>,
    /// Extended key usage; absent when empty.
    pub purposes: Vec<Purpose>,
    /// Whether the leaf signs itself.
    pub self_signed: bool,
    /// Whether it has a critical extension that nobody knows.
    pub unknown_critical: bool,
    /// Bytes of an extension that is there only to be large.
    pub padding: usize,
    /// Its serial number; a random one when absent.
    pub serial: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            not_before: None,
            not_after: None,
            authority: false,
            usages: vec![Usage::DigitalSignature],
            purposes: vec![Purpose::ClientAuth, Purpose::ServerAuth],
            self_signed: false,
            unknown_critical: false,
            padding: 0,
            serial: None,
        }
    }
}

/// An authority of one trust domain: a root, and an intermediate where asked for.
#[derive(Debug)]
pub struct TestCa {
    trust_domain: String,
    not_before: Timestamp,
    not_after: Timestamp,
    root: Authority,
    intermediate: Option<Authority>,
}

struct Authority {
    pem: String,
    serial: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("serial", &hex::encode(&self.serial)).finish_non_exhaustive()
    }
}

impl TestCa {
    /// A root valid from a day before `now` to a year after.
    ///
    /// # Errors
    /// [`CaError`] where the library refuses, for example an odd trust domain.
    pub fn new(trust_domain: &str, now: Timestamp) -> Result<Self, CaError> {
        let (not_before, not_after) = (now.minus(Span::days(1)), now.plus(Span::days(365)));
        let params = authority_params(trust_domain, "root", not_before, not_after, BasicConstraints::Unconstrained)?;
        let key = new_key()?;
        let pem = params.self_signed(&key)?.pem();
        let root = Authority { pem, serial: serial_of(&params), issuer: Issuer::new(params, key) };
        Ok(Self { trust_domain: trust_domain.to_owned(), not_before, not_after, root, intermediate: None })
    }

    /// The same, issuing leaves through an intermediate.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_intermediate(mut self) -> Result<Self, CaError> {
        let bounds = BasicConstraints::Constrained(0);
        let params = authority_params(&self.trust_domain, "intermediate", self.not_before, self.not_after, bounds)?;
        let key = new_key()?;
        let pem = params.signed_by(&key, &self.root.issuer)?.pem();
        self.intermediate = Some(Authority { pem, serial: serial_of(&params), issuer: Issuer::new(params, key) });
        Ok(self)
    }

    /// The trust domain it was made for. It issues other names as well when told to.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The serial number of the intermediate, for revoking it.
    #[must_use]
    pub fn intermediate_serial(&self) -> Option<&[u8]> {
        self.intermediate.as_ref().map(|each| each.serial.as_slice())
    }

    /// A leaf with `uri` as its one name.
    ///
    /// # Errors
    /// [`CaError::Certificate`] where `uri` is not ASCII.
    pub fn issue(&self, uri: &str, options: &Options) -> Result<Issued, CaError> {
        self.issue_named(&[Name::Uri(uri.to_owned())], options)
    }

    /// A leaf with any names.
    ///
    /// # Errors
    /// [`CaError::Certificate`] where a name cannot be written.
    pub fn issue_named(&self, names: &[Name], options: &Options) -> Result<Issued, CaError> {
        let signer = self.intermediate.as_ref().unwrap_or(&self.root);
        let above = self.intermediate.as_ref().map_or_else(String::new, |each| each.pem.clone());
        let (from, until) =
            (options.not_before.unwrap_or(self.not_before), options.not_after.unwrap_or(self.not_after));
        issue(names, options, from, until, &signer.issuer, above)
    }

    /// A leaf signed by another leaf, which must be nobody's authority.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_under(&self, leaf: &Issued, uri: &str, options: &Options) -> Result<Issued, CaError> {
        let issuer = Issuer::from_params(&leaf.params, &leaf.key);
        let names = [Name::Uri(uri.to_owned())];
        issue(&names, options, self.not_before, self.not_after, &issuer, leaf.chain.clone())
    }

    /// The root as PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.root.pem.clone()
    }

    /// The revocation list of every authority, as PEM; each names all of `revoked`.
    ///
    /// # Errors
    /// [`CaError::Certificate`] where `next_update` is not after `this_update`.
    pub fn revocations(
        &self,
        revoked: &[&[u8]],
        this_update: Timestamp,
        next_update: Timestamp,
    ) -> Result<String, CaError> {
        let mut pem = String::new();
        for authority in std::iter::once(&self.root).chain(&self.intermediate) {
            let mut revoked_certs = Vec::new();
            for serial in revoked {
                revoked_certs.push(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(serial),
                    revocation_time: calendar(this_update)?,
                    reason_code: None,
                    invalidity_date: None,
                });
            }
            let list = CertificateRevocationListParams {
                this_update: calendar(this_update)?,
                next_update: calendar(next_update)?,
                crl_number: SerialNumber::from_slice(&this_update.micros().to_be_bytes()),
                issuing_distribution_point: None,
                revoked_certs,
                key_identifier_method: KeyIdMethod::Sha256,
            };
            pem.push_str(&list.signed_by(&authority.issuer)?.pem()?);
        }
        Ok(pem)
    }

    /// Writes `root.pem` and, readable by the owner only, `root.key`, so that [`Self::open`] can go on issuing.
    ///
    /// # Errors
    /// [`CaError::File`]; files that exist are not overwritten.
    pub fn save(&self, dir: &Path) -> Result<(), CaError> {
        write_new(&dir.join("root.pem"), self.root.pem.as_bytes(), 0o644)?;
        write_new(&dir.join("root.key"), self.root.issuer.key().serialize_pem().as_bytes(), 0o600)
    }

    /// Reads what [`Self::save`] wrote. The root alone: an intermediate is made anew where wanted.
    ///
    /// # Errors
    /// [`CaError::File`] where a file is missing, [`CaError::Certificate`] where it is not what was saved.
    pub fn open(dir: &Path, trust_domain: &str, now: Timestamp) -> Result<Self, CaError> {
        let pem = read(&dir.join("root.pem"))?;
        let key = KeyPair::from_pem(&read(&dir.join("root.key"))?)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
        let root = Authority { pem, serial: Vec::new(), issuer };
        let (not_before, not_after) = (now.minus(Span::days(1)), now.plus(Span::days(365)));
        Ok(Self { trust_domain: trust_domain.to_owned(), not_before, not_after, root, intermediate: None })
    }
}

/// A leaf with its key.
pub struct Issued {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
    chain: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("serial", &hex::encode(self.serial())).finish_non_exhaustive()
    }
}

impl Issued {
    /// The leaf and what stands between it and the root.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }

    /// Its private key, PKCS#8.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The leaf alone.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(&self) -> Vec<u8> {
        serial_of(&self.params)
    }

    /// Writes `<name>.pem` and, readable by the owner only, `<name>.key`.
    ///
    /// # Errors
    /// [`CaError::File`]; files that exist are not overwritten.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(), CaError> {
        write_new(&dir.join(format!("{name}.pem")), self.chain.as_bytes(), 0o644)?;
        write_new(&dir.join(format!("{name}.key")), self.key_pem().as_bytes(), 0o600)
    }
}

fn issue(
    names: &[Name],
    options: &Options,
    from: Timestamp,
    until: Timestamp,
    issuer: &Issuer<'_, impl rcgen::SigningKey>,
    above: String,
) -> Result<Issued, CaError> {
    let params = leaf_params(names, options, from, until)?;
    let key = new_key()?;
    let certificate = if options.self_signed { params.self_signed(&key)? } else { params.signed_by(&key, issuer)? };
    let chain = certificate.pem() + &above;
    Ok(Issued { der: certificate.der().to_vec(), params, key, chain })
}

fn leaf_params(
    names: &[Name],
    options: &Options,
    from: Timestamp,
    until: Timestamp,
) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "cofre identity");
    (params.not_before, params.not_after) = (calendar(from)?, calendar(until)?);
    let serial = match &options.serial {
        Some(serial) => serial.clone(),
        None => random_serial()?,
    };
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = if options.authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params.key_usages.clone_from(&options.usages);
    params.extended_key_usages.clone_from(&options.purposes);
    params.use_authority_key_identifier_extension = true;
    let mut raw = Vec::new();
    for name in names {
        match name {
            Name::Uri(uri) => params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?)),
            Name::Dns(host) => params.subject_alt_names.push(SanType::DnsName(host.as_str().try_into()?)),
            Name::RawUri(bytes) => raw.extend(tlv(URI_TAG, bytes)),
        }
    }
    if !raw.is_empty() {
        params.custom_extensions.push(CustomExtension::from_oid_content(SUBJECT_ALT_NAME, tlv(0x30, &raw)));
    }
    if options.unknown_critical || options.padding > 0 {
        let mut extension = CustomExtension::from_oid_content(UNKNOWN, tlv(0x04, &vec![0; options.padding]));
        extension.set_criticality(options.unknown_critical);
        params.custom_extensions.push(extension);
    }
    Ok(params)
}

fn authority_params(
    trust_domain: &str,
    kind: &str,
    from: Timestamp,
    until: Timestamp,
    bounds: BasicConstraints,
) -> Result<CertificateParams, CaError> {
    let serial = random_serial()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // The serial keeps two authorities of one domain apart: lists are found by the issuer's name.
    let name = format!("{trust_domain} {kind} {}", hex::encode(&serial));
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (calendar(from)?, calendar(until)?);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::Ca(bounds);
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn new_key() -> Result<KeyPair, CaError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// Sixteen random bytes, positive and without a leading zero, as DER wants an integer.
fn random_serial() -> Result<Vec<u8>, CaError> {
    let mut serial = vec![0; 16];
    getrandom::fill(&mut serial)?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(serial)
}

fn serial_of(params: &CertificateParams) -> Vec<u8> {
    params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default()
}

fn calendar(at: Timestamp) -> Result<OffsetDateTime, CaError> {
    let secs = i64::try_from(at.secs()).map_err(|_| CaError::Time)?;
    OffsetDateTime::from_unix_timestamp(secs).map_err(|_| CaError::Time)
}

/// One DER element of up to 65,535 bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut element = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        (_, _) => vec![tag, 0x82, high, low],
    };
    element.extend_from_slice(content);
    element
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|cause| CaError::File { path: path.to_owned(), cause })
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|cause| CaError::File { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_authority_goes_on_issuing_and_keys_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let now = Timestamp::parse_rfc3339("2026-05-04T09:00:00Z").expect("a time");
        let ca = TestCa::new("cofre.test", now).expect("an authority");
        ca.save(dir.path()).expect("saved");
        let again = TestCa::open(dir.path(), "cofre.test", now).expect("opened");
        let leaf = again.issue("spiffe://cofre.test/worker/a/b", &Options::default()).expect("issued");
        leaf.write(dir.path(), "worker").expect("written");
        for name in ["root.key", "worker.key"] {
            let mode = fs::metadata(dir.path().join(name)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(again.bundle_pem(), ca.bundle_pem());
        assert!(ca.save(dir.path()).is_err(), "an authority was overwritten");
    }
}
