//! Where a case of the contract runs: on a token, against a service that speaks the wire form of its kind, or against one
//! of another make. A case sees
//! a custodian, whichever it is, and asks the site for what only a person could do there.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use cofre_custody::aws::{self, AwsKms};
use cofre_custody::gcp::{self, GcpKms};
use cofre_custody::pkcs11::{Token, ceremony};
use cofre_custody::recorded::{Recorded, Witness};
use cofre_custody::remote::Patience;
use cofre_custody::transit::{self, TransitKey};
use cofre_custody::{Cause, Custodian, Fault, Signer};
use cofre_model::time::{Clock, Monotonic, Timestamp};
use cofre_testkit::kms::{CALLER, Kind, Kms, MOUNT, REGION, SECRET};

use crate::bench::{Child, custodian, slab};
use crate::contract::{self, KEY, SIGNER, USER_PIN, pin};
use crate::second::Second;

/// A form in which the same keys are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Aws,
    Gcp,
    Transit,
    /// Transit, with a key that is derived from the context.
    Derived,
}

impl Form {
    pub(crate) const ALL: [Self; 4] = [Self::Aws, Self::Gcp, Self::Transit, Self::Derived];
}

/// Where a case runs.
pub(crate) enum Site {
    Token(Child),
    Service(Served),
    Second(Second),
}

/// A service with its keys, and who the node is to it.
pub(crate) struct Served {
    pub(crate) kms: Kms,
    pub(crate) form: Form,
    pub(crate) signer: Kind,
    pub(crate) patience: Patience,
    /// Holds the token's file.
    folder: tempfile::TempDir,
}

/// What a case asks to be opened.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) key: &'static str,
    pub(crate) signer: Option<&'static str>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { key: KEY, signer: None }
    }
}

/// An open custodian of any kind.
#[derive(Debug)]
pub(crate) enum Held {
    Token(Arc<Token>),
    Aws(Arc<AwsKms>),
    Gcp(Arc<GcpKms>),
    Transit(Arc<TransitKey>),
}

/// The machine's own clock, for what is compared with a service's.
#[derive(Debug)]
struct Wall;

impl Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "the service it is compared with has the machine's clock too")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Timestamp::from_secs(since.as_secs())
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic::from_micros(0)
    }
}

impl Site {
    pub(crate) async fn open(&self, wanted: Wanted) -> Result<Held, Fault> {
        match self {
            Self::Token(child) => {
                let mut settings = contract::settings(child);
                settings.key_label = wanted.key.into();
                settings.signer_label = wanted.signer.map(str::to_owned);
                contract::open(settings).await.map(Held::Token)
            }
            Self::Service(served) => served.open(wanted).await,
            Self::Second(second) => second.open(wanted).await,
        }
    }

    pub(crate) async fn opened(&self) -> Held {
        self.open(Wanted::default()).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Makes a second key that wraps.
    pub(crate) async fn make_second(&self, label: &'static str) {
        match self {
            Self::Token(child) => {
                let mut second = contract::settings(child);
                second.key_label = label.into();
                ceremony::ensure_keys(&second, pin(USER_PIN), &slab()).map(drop).expect("a second key");
            }
            Self::Service(served) => served.kms.make(label, served.wraps_with()).expect("a second key"),
            Self::Second(second) => second.make(label, second.wraps_with()).await,
        }
    }

    /// What keyring rows say of a key by this name that is not the driver's.
    pub(crate) fn row_key(&self, label: &str) -> String {
        match self {
            Self::Token(_) => label.to_owned(),
            Self::Service(served) => served.name(label),
            Self::Second(second) => second.name(label),
        }
    }
}

impl Served {
    /// With a key that wraps and one that signs.
    pub(crate) async fn start(form: Form, signer: Kind) -> Self {
        let kms = Kms::start().await.expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        // As a person writes it, with a newline after it.
        std::fs::write(folder.path().join("token"), format!("{CALLER}\n")).expect("written");
        let patience =
            Patience { attempt: Duration::from_secs(20), total: Duration::from_secs(60), ..Patience::default() };
        let served = Self { kms, form, signer, patience, folder };
        served.kms.make(KEY, served.wraps_with()).expect("a key");
        served.kms.make(SIGNER, signer).expect("a key");
        served
    }

    const fn wraps_with(&self) -> Kind {
        match self.form {
            Form::Derived => Kind::Derived,
            _ => Kind::Aes,
        }
    }

    /// The token's file, for services that take one.
    pub(crate) fn token(&self) -> std::path::PathBuf {
        self.folder.path().join("token")
    }

    /// The full name of a key.
    pub(crate) fn name(&self, key: &str) -> String {
        match self.form {
            Form::Aws => Kms::arn(key),
            Form::Gcp => Kms::resource(key),
            Form::Transit | Form::Derived => format!("{MOUNT}/{key}"),
        }
    }

    /// The operations of the wire that wrap, unwrap and sign.
    pub(crate) const fn operations(&self) -> [&'static str; 3] {
        match self.form {
            Form::Aws => ["Encrypt", "Decrypt", "Sign"],
            Form::Gcp => ["encrypt", "decrypt", "asymmetricSign"],
            Form::Transit | Form::Derived => ["encrypt", "decrypt", "sign"],
        }
    }

    pub(crate) fn aws(&self, wanted: Wanted) -> aws::Settings {
        aws::Settings {
            id: custodian("hsm-1"),
            key: Kms::arn(wanted.key),
            region: REGION.into(),
            endpoint: self.kms.endpoint(),
            signer_key: wanted.signer.map(Kms::arn),
            patience: self.patience,
        }
    }

    pub(crate) fn gcp(&self, wanted: Wanted) -> gcp::Settings {
        gcp::Settings {
            id: custodian("hsm-1"),
            key: Kms::resource(wanted.key),
            endpoint: self.kms.endpoint(),
            signer_key: wanted.signer.map(|name| format!("{}/cryptoKeyVersions/1", Kms::resource(name))),
            patience: self.patience,
        }
    }

    pub(crate) fn transit(&self, wanted: Wanted) -> transit::Settings {
        transit::Settings {
            id: custodian("hsm-1"),
            address: self.kms.endpoint().parse().expect("an address of this machine"),
            ca: None,
            mount: MOUNT.into(),
            key: wanted.key.into(),
            signer_key: wanted.signer.map(|name| (name.to_owned(), 1)),
            token: self.token(),
            patience: self.patience,
        }
    }

    pub(crate) async fn open(&self, wanted: Wanted) -> Result<Held, Fault> {
        self.open_as(wanted, CALLER).await
    }

    /// Opens with limits so short that a busy machine may be slower: tried as often as it then takes.
    pub(crate) async fn opened_in_the_end(&self, wanted: Wanted) -> Held {
        for _ in 0..100 {
            match self.open(wanted).await {
                Ok(held) => return held,
                Err(slow) if slow.cause == Cause::Timeout => {}
                Err(fault) => panic!("{fault}"),
            }
        }
        panic!("no answer within the limits, a hundred times");
    }

    /// Opens as another caller; of transit the caller is in the token's file.
    pub(crate) async fn open_as(&self, wanted: Wanted, caller: &str) -> Result<Held, Fault> {
        let slab = slab();
        match self.form {
            Form::Aws => {
                let credentials = aws::Credentials::Fixed { id: caller.to_owned(), secret: SECRET.to_owned().into() };
                AwsKms::connect(self.aws(wanted), credentials, &slab).await.map(Held::Aws)
            }
            Form::Gcp => {
                let credentials = gcp::Credentials::Bearer(caller.to_owned().into());
                GcpKms::connect(self.gcp(wanted), credentials, Arc::new(Wall), &slab).await.map(Held::Gcp)
            }
            Form::Transit | Form::Derived => TransitKey::connect(self.transit(wanted), &slab).await.map(Held::Transit),
        }
    }
}

impl Held {
    pub(crate) fn custodian(&self) -> Arc<dyn Custodian> {
        match self {
            Self::Token(held) => held.clone(),
            Self::Aws(held) => held.clone(),
            Self::Gcp(held) => held.clone(),
            Self::Transit(held) => held.clone(),
        }
    }

    pub(crate) fn signer(&self) -> Result<Arc<dyn Signer>, Fault> {
        Ok(match self {
            Self::Token(held) => held.signer()?,
            Self::Aws(held) => held.signer()?,
            Self::Gcp(held) => held.signer()?,
            Self::Transit(held) => held.signer()?,
        })
    }

    /// What a service's key wrapped when it was opened.
    pub(crate) fn witness(&self) -> Witness {
        match self {
            Self::Token(_) => panic!("a token is no service"),
            Self::Aws(held) => held.witness().clone(),
            Self::Gcp(held) => held.witness().clone(),
            Self::Transit(held) => held.witness().clone(),
        }
    }

    pub(crate) async fn is_recorded(&self, recorded: &Recorded) -> Result<(), Fault> {
        match self {
            Self::Token(_) => panic!("a token is no service"),
            Self::Aws(held) => held.is_recorded(recorded).await,
            Self::Gcp(held) => held.is_recorded(recorded).await,
            Self::Transit(held) => held.is_recorded(recorded).await,
        }
    }

    /// The same, from now on.
    pub(crate) async fn hold_to(&self, recorded: &Recorded) -> Result<(), Fault> {
        match self {
            Self::Token(_) => panic!("a token is no service"),
            Self::Aws(held) => held.hold_to(recorded).await,
            Self::Gcp(held) => held.hold_to(recorded).await,
            Self::Transit(held) => held.hold_to(recorded).await,
        }
    }

    pub(crate) async fn close(&self) -> Result<(), Fault> {
        match self {
            Self::Token(held) => held.close().await?,
            Self::Aws(held) => held.close(),
            Self::Gcp(held) => held.close(),
            Self::Transit(held) => held.close(),
        }
        Ok(())
    }
}

impl Deref for Held {
    type Target = dyn Custodian;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Token(held) => &**held,
            Self::Aws(held) => &**held,
            Self::Gcp(held) => &**held,
            Self::Transit(held) => &**held,
        }
    }
}

/// Whatever a case holds as a custodian.
pub(crate) trait AsCustodian {
    fn as_custodian(&self) -> &dyn Custodian;
}

impl AsCustodian for Held {
    fn as_custodian(&self) -> &dyn Custodian {
        &**self
    }
}

impl AsCustodian for Token {
    fn as_custodian(&self) -> &dyn Custodian {
        self
    }
}

impl AsCustodian for Arc<Token> {
    fn as_custodian(&self) -> &dyn Custodian {
        &**self
    }
}

impl AsCustodian for Arc<dyn Custodian> {
    fn as_custodian(&self) -> &dyn Custodian {
        &**self
    }
}
