//! Second opinions: services of other makes that the contract runs against as well. What they do not do is asserted here, of
//! them and of our own peer, which does it: none of them can stand alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cofre_custody::aws::{self, AwsKms};
use cofre_custody::transit::{self, TransitKey};
use cofre_custody::{Cause, Fault};
use cofre_testkit::kms::{CALLER, Kind, REGION, SECRET, State};
use cofre_testkit::peers::{Moto, OpenBao};
use serde_json::json;

use crate::bench::{context, custodian, share, slab};
use crate::contract::{KEY, SIGNER, keep_on, runtime, unwrapped, wrapped};
use crate::services::CALM;
use crate::site::{Form, Held, Served, Site, Wanted};

mod engine;

/// A service of another make.
#[derive(Clone)]
pub(crate) enum Make {
    Moto(Arc<Moto>),
    OpenBao(Arc<OpenBao>),
}

/// One with keys that no other case uses.
pub(crate) struct Second {
    make: Make,
    pub(crate) form: Form,
    pub(crate) signer: Kind,
    /// The ARNs of keys, where a service names them itself.
    arns: Mutex<BTreeMap<&'static str, String>>,
    /// The mount of an engine of its own, elsewhere.
    mount: String,
    /// Holds the token's file.
    folder: tempfile::TempDir,
}

/// What the book lets a node do, below the mount.
fn policy(mount: &str) -> String {
    format!(
        r#"path "{mount}/keys/*" {{ capabilities = ["read"] }}
           path "{mount}/encrypt/*" {{ capabilities = ["update"] }}
           path "{mount}/decrypt/*" {{ capabilities = ["update"] }}
           path "{mount}/sign/*" {{ capabilities = ["update"] }}"#
    )
}

impl Second {
    /// With a key that wraps and one that signs; `number` tells it from the others of one service.
    pub(crate) async fn start(make: Make, form: Form, signer: Kind, number: usize) -> Self {
        let mount = format!("transit-{number}");
        let folder = tempfile::tempdir().expect("a folder");
        let second = Self { make, form, signer, arns: Mutex::default(), mount, folder };
        if let Make::OpenBao(bao) = &second.make {
            bao.mount(&second.mount).await.unwrap_or_else(|error| panic!("{error:#}"));
            let token = bao.token(&second.mount, &policy(&second.mount)).await.expect("a token");
            std::fs::write(second.token(), token).expect("written");
        }
        second.make(KEY, second.wraps_with()).await;
        second.make(SIGNER, signer).await;
        second
    }

    pub(crate) const fn wraps_with(&self) -> Kind {
        match self.form {
            Form::Derived => Kind::Derived,
            _ => Kind::Aes,
        }
    }

    fn token(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    pub(crate) async fn make(&self, label: &'static str, kind: Kind) {
        match &self.make {
            Make::Moto(moto) => {
                let arn = moto.make(kind).await.unwrap_or_else(|error| panic!("{error:#}"));
                self.arns.lock().unwrap_or_else(PoisonError::into_inner).insert(label, arn);
            }
            Make::OpenBao(bao) => {
                bao.make(&self.mount, label, kind).await.unwrap_or_else(|error| panic!("{error:#}"));
            }
        }
    }

    /// The full name of a key; of one that was not made, a name that could be one.
    pub(crate) fn name(&self, label: &str) -> String {
        match &self.make {
            Make::Moto(_) => {
                let arns = self.arns.lock().unwrap_or_else(PoisonError::into_inner);
                arns.get(label).cloned().unwrap_or_else(|| Moto::arn(label))
            }
            Make::OpenBao(_) => format!("{}/{label}", self.mount),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        match &self.make {
            Make::Moto(moto) => moto.endpoint(),
            Make::OpenBao(bao) => bao.endpoint(),
        }
    }

    pub(crate) async fn open(&self, wanted: Wanted) -> Result<Held, Fault> {
        let (id, patience) = (custodian("hsm-1"), CALM);
        match &self.make {
            Make::Moto(_) => {
                let (key, signer_key) = (self.name(wanted.key), wanted.signer.map(|label| self.name(label)));
                let (region, endpoint) = (REGION.to_owned(), self.endpoint());
                let settings = aws::Settings { id, key, region, endpoint, signer_key, patience };
                let credentials = aws::Credentials::Fixed { id: CALLER.into(), secret: SECRET.to_owned().into() };
                AwsKms::connect(settings, credentials, &slab()).await.map(Held::Aws)
            }
            Make::OpenBao(_) => {
                let settings = transit::Settings {
                    id,
                    address: self.endpoint().parse().expect("an address of this machine"),
                    ca: None,
                    mount: self.mount.clone(),
                    key: wanted.key.into(),
                    signer_key: wanted.signer.map(|label| (label.to_owned(), 1)),
                    token: self.token(),
                    patience,
                };
                TransitKey::connect(settings, &slab()).await.map(Held::Transit)
            }
        }
    }
}

pub(crate) async fn moto() -> Arc<Moto> {
    Arc::new(Moto::start().await.unwrap_or_else(|error| panic!("{error:#}")))
}

/// Not skipped where moto is missing: it fails with the line to type. It has no Ed25519.
#[test]
fn aws_kms_keeps_the_contract_on_moto() {
    let runtime = runtime();
    let make = Make::Moto(runtime.block_on(moto()));
    keep_on(&runtime, &[Kind::P256], async |signer, number| {
        Site::Second(Second::start(make.clone(), Form::Aws, signer, number).await)
    });
}

/// What stands between moto and the service: each is asserted of moto, so that a version that learns it is noticed, and of
/// our own peer, which does it.
#[test]
fn what_moto_does_not_do_our_own_peer_does() {
    const WANTED: Wanted = Wanted { key: KEY, signer: Some(SIGNER) };
    runtime().block_on(async {
        let moto = moto().await;
        let error = moto.make(Kind::Ed25519).await.map(drop).expect_err("learnt Ed25519: run the contract with it");
        assert!(error.to_string().contains("ECC_NIST_EDWARDS25519"), "{error}");
        let theirs = Second::start(Make::Moto(moto.clone()), Form::Aws, Kind::P256, 0).await;
        let ours = Served::start(Form::Aws, Kind::P256).await;
        let (at_theirs, at_ours) = (theirs.open(WANTED).await.expect("opens"), ours.open(WANTED).await.expect("opens"));
        let (their_bytes, our_bytes) = (wrapped(&at_theirs).await, wrapped(&at_ours).await);
        for (state, cause) in
            [(State::Disabled, Cause::KeyDisabled), (State::PendingDeletion, Cause::KeyPendingDeletion)]
        {
            for label in [KEY, SIGNER] {
                moto.set(&theirs.name(label), state).await.expect("set");
                ours.kms.set(label, None, state).expect("set");
            }
            // Both say what state a key is in; only one acts on it.
            assert_eq!(
                asked(&at_theirs, &their_bytes).await,
                [Some(cause), None, None, None],
                "{state:?}: moto acts on it"
            );
            assert_eq!(asked(&at_ours, &our_bytes).await, [Some(cause); 4], "{state:?}");
        }
        // Nor does it look at who asks: whoever signs with another secret is served.
        let theirs = Second::start(Make::Moto(moto), Form::Aws, Kind::P256, 1).await;
        let wrong = || aws::Credentials::Fixed { id: CALLER.into(), secret: "not the secret".to_owned().into() };
        let mut settings = ours.aws(Wanted::default());
        let ours = Served::start(Form::Aws, Kind::P256).await;
        let refused = AwsKms::connect(ours.aws(Wanted::default()), wrong(), &slab()).await.map(drop);
        assert_eq!(refused.expect_err("not the secret").cause, Cause::Denied);
        (settings.endpoint, settings.key) = (theirs.endpoint(), theirs.name(KEY));
        AwsKms::connect(settings, wrong(), &slab()).await.map(drop).expect("moto looks at signatures now");
    });
}

/// What it answers now to check, unwrap, wrap and sign.
async fn asked(held: &Held, bytes: &[u8]) -> [Option<Cause>; 4] {
    let checking = held.check().await;
    let unwrapping = unwrapped(held, bytes.to_vec()).await.map(|share| assert_eq!(share, 7, "a share nobody wrapped"));
    let context = context("hsm-1");
    let bound = share(&slab(), 7).bind(&context).expect("bound");
    let wrapping = held.wrap(context.encode(), bound).await.map(drop);
    let signing = held.signer().expect("a signer").sign(b"a message").await.map(drop);
    [checking, unwrapping, wrapping, signing].map(|answer| answer.err().map(|fault| fault.cause))
}
