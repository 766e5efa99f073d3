//! Services behind TLS: a driver serves through the authority it was given, and says why it does not through another.

use std::sync::Arc;

use cofre_custody::aws::{self, AwsKms};
use cofre_custody::gcp::{self, GcpKms};
use cofre_custody::transit::{Address, TransitKey};
use cofre_custody::{Cause, Fault};
use cofre_model::time::Timestamp;
use cofre_testkit::ca::{Issued, Name, Options, TestCa};
use cofre_testkit::kms::{CALLER, Kind, Kms, SECRET};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::bench::{HandClock, slab};
use crate::contract::{KEY, SIGNER, runtime, unwrapped, wrapped};
use crate::site::{Form, Held, Served, Wanted};

const WITH_SIGNER: Wanted = Wanted { key: KEY, signer: Some(SIGNER) };
const DAY: u64 = 86_400;

#[expect(clippy::disallowed_methods, reason = "certificates are held against the machine's clock")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn authority() -> TestCa {
    TestCa::new("test", Timestamp::from_secs(now())).expect("an authority")
}

fn issued(ca: &TestCa, options: &Options) -> Issued {
    ca.issue_named(&[Name::Dns("localhost".into())], options).expect("a certificate")
}

/// TLS before the peer; answers the port. It ends with the runtime.
async fn front(kms: &Kms, issued: &Issued) -> u16 {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain_pem().as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(chain.expect("a chain"), key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a certificate that fits its key")));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let behind = kms.endpoint().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                // Who does not trust the certificate hangs up: that is what is tested.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut peer = TcpStream::connect(behind).await.expect("the peer listens");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut peer).await;
            });
        }
    });
    port
}

async fn start(form: Form) -> Served {
    Served::start(form, Kind::P256).await
}

/// Opens the transit driver by this host and port, with the authorities of `ca`.
async fn by(served: &Served, ca: &TestCa, host: &str, port: u16) -> Result<Held, Fault> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ca.bundle_pem()).expect("written");
    let mut settings = served.transit(WITH_SIGNER);
    settings.address = format!("https://{host}:{port}").parse::<Address>().expect("an address");
    settings.ca = Some(path);
    TransitKey::connect(settings, &slab()).await.map(Held::Transit)
}

#[test]
fn transit_serves_through_its_authority_and_no_other() {
    runtime().block_on(async {
        let (served, ca) = (start(Form::Transit).await, authority());
        let port = front(&served.kms, &issued(&ca, &Options::default())).await;
        let held = by(&served, &ca, "localhost", port).await.unwrap_or_else(|fault| panic!("{fault}"));
        let bytes = wrapped(&held).await;
        assert_eq!(unwrapped(&held, bytes).await.expect("opens"), 7);
        let refused = |opened: Result<Held, Fault>| opened.map(drop).expect_err("must not open").cause;
        assert_eq!(
            refused(by(&served, &authority(), "localhost", port).await),
            Cause::EndpointWrong,
            "another authority"
        );
        assert_eq!(refused(by(&served, &ca, "127.0.0.1", port).await), Cause::EndpointWrong, "another name");
        let plain = served.kms.endpoint().rsplit(':').next().expect("a port").parse().expect("a number");
        assert_eq!(refused(by(&served, &ca, "localhost", plain).await), Cause::EndpointWrong, "no TLS there");
        for (not_before, not_after) in [(now() - 2 * DAY, now() - DAY), (now() + DAY, now() + 2 * DAY)] {
            let [not_before, not_after] = [not_before, not_after].map(|at| Some(Timestamp::from_secs(at)));
            let wrong = issued(&ca, &Options { not_before, not_after, ..Options::default() });
            let port = front(&served.kms, &wrong).await;
            assert_eq!(refused(by(&served, &ca, "localhost", port).await), Cause::ClockSkew);
        }
    });
}

#[test]
fn an_authority_that_cannot_be_read_is_named() {
    runtime().block_on(async {
        let served = start(Form::Transit).await;
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("absent", None), ("empty", Some("")), ("other", Some("not a certificate"))] {
            let path = folder.path().join(name);
            if let Some(text) = text {
                std::fs::write(&path, text).expect("written");
            }
            let mut settings = served.transit(WITH_SIGNER);
            settings.address = "https://localhost:1".parse().expect("an address");
            settings.ca = Some(path);
            let fault = TransitKey::connect(settings, &slab()).await.map(drop).expect_err(name);
            assert_eq!(fault.cause, Cause::EndpointWrong);
            assert!(fault.to_string().contains("`ca`"), "{fault}");
        }
    });
}

/// The clients trust the machine's authorities, which the test's is none of. What they say of it has no types.
#[test]
fn the_clouds_clients_trust_no_stranger() {
    runtime().block_on(async {
        let ca = authority();
        let served = start(Form::Aws).await;
        let port = front(&served.kms, &issued(&ca, &Options::default())).await;
        let plain = served.kms.endpoint().replace("http://", "https://");
        for endpoint in [format!("https://localhost:{port}"), plain] {
            let mut settings = served.aws(WITH_SIGNER);
            settings.endpoint.clone_from(&endpoint);
            let credentials = aws::Credentials::Fixed { id: CALLER.into(), secret: SECRET.to_owned().into() };
            let fault = AwsKms::connect(settings, credentials, &slab()).await.map(drop).expect_err("a stranger");
            assert_eq!(fault.cause, Cause::EndpointWrong, "{endpoint}: {fault}");
        }
        let served = start(Form::Gcp).await;
        let port = front(&served.kms, &issued(&ca, &Options::default())).await;
        let plain = served.kms.endpoint().replace("http://", "https://");
        for endpoint in [format!("https://localhost:{port}"), plain] {
            let mut settings = served.gcp(WITH_SIGNER);
            settings.endpoint.clone_from(&endpoint);
            let bearer = gcp::Credentials::Bearer(CALLER.to_owned().into());
            let clock = Arc::new(HandClock::default());
            let fault = GcpKms::connect(settings, bearer, clock, &slab()).await.map(drop).expect_err("a stranger");
            assert_eq!(fault.cause, Cause::EndpointWrong, "{endpoint}: {fault}");
        }
        assert_eq!(served.kms.requests(), 0, "something was asked of whom nobody trusts");
    });
}
