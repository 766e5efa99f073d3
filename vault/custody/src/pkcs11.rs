//! The PKCS#11 driver: one token of one vendor module as a [`Custodian`] and a [`Signer`].
//!
//! ```text
//! async callers ── Command ──▶ bounded queue ──▶ owner threads, one session each ──▶ the module's C functions
//!               ◀── Reply ───  oneshot, deadline
//! ```
//! No PKCS#11 type crosses the queue: the right-hand side is in a process of its own ([`host`]) that is ended and
//! started again when it crashes or hangs, or, for development, in this one ([`Place`]). The driver makes and deletes nothing on a token; making is in [`ceremony`], for a person who asks for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofre_envelope::{BoundShare, Slab, random};
use cofre_model::permit::{Permit, Warm};
use cofre_model::sealed::WrappedKey;
use secrecy::SecretString;

use crate::custodian::{
    Custodian, CustodianId, Description, Mechanism, Pending, RequestId, Signer, Unwrapped, VerifyingKey, Wrapped,
};
use crate::fault::{Cause, Fault, Operation};
use crate::set::WrappedShare;

pub mod ceremony;
pub mod host;
mod keys;
mod login;
mod message;
mod module;
mod owner;
mod pool;
mod trouble;
mod wrapping;

use host::{Host, Hosting};
use message::{Answer, Command, Facts, Known, Reply};
use pool::{Past, Pool};
use trouble::Trouble;

/// A token's PIN. It has no `Debug`, no `Clone` and is wiped on drop.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Pin(SecretString);

impl Pin {
    /// Takes the PIN as it was read from its reference.
    #[must_use]
    pub fn new(pin: SecretString) -> Self {
        Self(pin)
    }
}

/// How a token is found. Never by slot number: numbers change when a slot is added or a machine restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenName {
    /// By its label; exactly one token must carry it.
    Label(String),
    /// By its serial number.
    Serial(String),
}

/// No mechanism makes more of a share: an RSA modulus of 16,384 bits. A longer row is not a token's work, and is not put
/// before one.
const LONGEST_WRAPPED: usize = 2048;

/// Where the vendor's module runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this process: for development and for tests of one module at a time.
    Inside,
    /// In a process of its own.
    Child(Hosting),
}

/// One custodian of kind `pkcs11`, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its configured name.
    pub id: CustodianId,
    /// Path of the vendor module.
    pub module: PathBuf,
    /// SHA-256 the module file must have.
    pub module_sha256: Option<[u8; 32]>,
    /// The token.
    pub token: TokenName,
    /// Label of the key, or key pair, that wraps shares.
    pub key_label: String,
    /// Label of the key pair that signs, where this custodian is the signer.
    pub signer_label: Option<String>,
    /// The mechanism the wrapping key must go with; any that its kind and usages allow, without one.
    pub mechanism: Option<Mechanism>,
    /// Sessions to hold at most; fewer where the token allows fewer.
    pub sessions: usize,
    /// Sessions of the token's limit that are left to others: a ceremony, a person with a tool.
    pub reserve: usize,
    /// Calls that may wait for a session.
    pub queue: usize,
    /// How long a caller waits for an answer, queueing included.
    pub deadline: Duration,
    /// Where the module runs.
    pub place: Place,
}

impl Settings {
    /// With no pinned hash, no signer, 8 sessions, 1 left to others, 64 waiting calls and 5 seconds, in this process.
    #[must_use]
    pub fn new(id: CustodianId, module: PathBuf, token: TokenName, key_label: impl Into<String>) -> Self {
        Self {
            id,
            module,
            module_sha256: None,
            token,
            key_label: key_label.into(),
            signer_label: None,
            mechanism: None,
            sessions: 8,
            reserve: 1,
            queue: 64,
            deadline: Duration::from_secs(5),
            place: Place::Inside,
        }
    }
}

/// What the record of a ceremony says of a token's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// A throw-away value that the wrapping key wrapped then.
    pub witness: Vec<u8>,
    /// The public half of the signing key, where one was made.
    pub signer: Option<VerifyingKey>,
    /// How the wrapping key wraps.
    pub mechanism: Mechanism,
}

/// Whoever does what a token is asked, near or far.
#[derive(Debug)]
enum Far {
    Inside(Pool),
    Child(Host),
}

impl Far {
    async fn open(
        settings: Settings,
        pin: Pin,
        slab: Arc<Slab>,
        known: Option<Known>,
    ) -> Result<(Self, Facts, Known), Trouble> {
        if let Place::Child(hosting) = &settings.place {
            let hosting = hosting.clone();
            let (host, facts, known) = Host::open(settings, hosting, pin, slab, known).await?;
            return Ok((Self::Child(host), facts, known));
        }
        let id = settings.id.clone();
        let notes = Box::new(move |note: message::Note| note.log(id.as_str()));
        let pool = Pool::start(settings, pin, Past { known, ..Past::NONE }, slab, notes)?;
        let facts = pool::facts(pool.ask(Operation::Connect, Command::Facts).await)?;
        pool.fill(&facts)?;
        let known = pool.known().ok_or(Trouble::of(Operation::Probe, Cause::Transient))?;
        Ok((Self::Inside(pool), facts, known))
    }

    async fn ask(&self, operation: Operation, command: Command) -> Answer {
        match self {
            Self::Inside(pool) => pool.ask(operation, command).await,
            Self::Child(host) => host.ask(operation, command).await,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Inside(pool) => pool.size(),
            Self::Child(host) => host.size(),
        }
    }

    async fn close(&self) -> Result<(), Trouble> {
        match self {
            Self::Inside(pool) => pool.close().await,
            Self::Child(host) => host.close().await,
        }
    }
}

/// A module's process, as operators and tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLife {
    /// How often it was started, the first time included.
    pub starts: u64,
    /// The one that serves now; none while it is being started again.
    pub pid: Option<u32>,
    /// What holds it in, in words.
    pub walls: String,
}

/// An open token: logged in, its keys checked, its mechanism proven.
#[derive(Debug)]
pub struct Token {
    id: CustodianId,
    key_label: String,
    facts: Facts,
    mechanism: Mechanism,
    /// What showed that the key goes with it.
    why: String,
    far: Far,
    /// Names this process run in request ids, so that they never repeat.
    run: String,
    calls: AtomicU64,
}

impl Token {
    /// Loads the module, finds the token, logs in once, checks the keys' attributes and proves the mechanism by
    /// wrapping and unwrapping a throw-away value.
    ///
    /// # Errors
    /// The [`Fault`] of the first step that failed. After [`Cause::PinIncorrect`] nothing tries that PIN again; open
    /// a new driver with the right one.
    pub async fn open(settings: Settings, pin: Pin, slab: &Arc<Slab>) -> Result<Arc<Self>, Fault> {
        Self::open_known(settings, pin, slab, None).await
    }

    /// The same, of a token whose keys have to be the ones that a ceremony recorded.
    ///
    /// # Errors
    /// As [`Token::open`]; [`Cause::KeyMissing`] where the keys of these labels are others.
    pub async fn open_recorded(
        settings: Settings,
        pin: Pin,
        slab: &Arc<Slab>,
        recorded: Recorded,
    ) -> Result<Arc<Self>, Fault> {
        let Recorded { witness, signer, mechanism } = recorded;
        let why = "what the ceremony wrapped opens".to_owned();
        Self::open_known(settings, pin, slab, Some(Known { sealed: witness, signer, mechanism, why })).await
    }

    async fn open_known(
        settings: Settings,
        pin: Pin,
        slab: &Arc<Slab>,
        known: Option<Known>,
    ) -> Result<Arc<Self>, Fault> {
        let id = settings.id.clone();
        let fault = |trouble: Trouble| trouble.into_fault(id.clone(), None);
        let run = random::array::<6>().map_err(|_| fault(Trouble::of(Operation::Connect, Cause::LockedMemory)))?;
        let key_label = settings.key_label.clone();
        let (far, facts, known) = Far::open(settings, pin, slab.clone(), known).await.map_err(fault)?;
        let calls = AtomicU64::new(0);
        let (mechanism, why) = (known.mechanism, known.why);
        Ok(Arc::new(Self { id: id.clone(), key_label, facts, mechanism, why, far, run: hex::encode(run), calls }))
    }

    /// Sessions that are open by the token's own count, of the process that holds the module; none where the token
    /// does not say.
    ///
    /// # Errors
    /// The [`Fault`] that any call would meet.
    pub async fn open_sessions(&self) -> Result<Option<u64>, Fault> {
        match self.ask(Operation::Check, Command::Census).await? {
            (Reply::Sessions(count), _) => Ok(count),
            _ => Err(self.out_of_step(Operation::Check)),
        }
    }

    /// Why the wrapping key goes with its mechanism: what it is, what it may do, and what came back.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The process that holds the module; none where this one does.
    #[must_use]
    pub fn host(&self) -> Option<HostLife> {
        match &self.far {
            Far::Inside(_) => None,
            Far::Child(host) => {
                let (starts, pid) = host.life();
                Some(HostLife { starts, pid, walls: host.walls() })
            }
        }
    }

    /// The signing key of this token.
    ///
    /// # Errors
    /// [`Cause::KeyMissing`] when the settings name none.
    pub fn signer(self: &Arc<Self>) -> Result<Arc<TokenSigner>, Fault> {
        match self.facts.signer {
            Some(public) => Ok(Arc::new(TokenSigner { token: self.clone(), public })),
            None => Err(Trouble::of(Operation::FindKey, Cause::KeyMissing).into_fault(self.id.clone(), None)),
        }
    }

    /// Takes no more calls, ends every session and with them the login. Calls under way are finished first.
    ///
    /// # Errors
    /// [`Cause::Timeout`] when a session does not come back in time; the process may end all the same.
    pub async fn close(&self) -> Result<(), Fault> {
        self.far.close().await.map_err(|trouble| trouble.into_fault(self.id.clone(), None))
    }

    #[tracing::instrument(name = "custodian", skip_all, fields(custodian = %self.id, operation = operation.as_str(), outcome))]
    async fn ask(&self, operation: Operation, command: Command) -> Result<(Reply, RequestId), Fault> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let request = RequestId::new(format!("{}/{}/{number}", self.id, self.run));
        match self.far.ask(operation, command).await {
            Ok(reply) => {
                tracing::Span::current().record("outcome", "ok");
                Ok((reply, request))
            }
            Err(trouble) => {
                tracing::Span::current().record("outcome", trouble.cause.as_str());
                Err(trouble.into_fault(self.id.clone(), Some(request)))
            }
        }
    }

    /// A reply of another kind than the command's: the far side is not what it should be.
    fn out_of_step(&self, operation: Operation) -> Fault {
        Trouble::of(operation, Cause::Transient).into_fault(self.id.clone(), None)
    }
}

impl Custodian for Token {
    fn id(&self) -> &CustodianId {
        &self.id
    }

    fn describe(&self) -> Description {
        Description {
            custodian: self.id.clone(),
            manufacturer: self.facts.manufacturer.clone(),
            model: self.facts.model.clone(),
            serial: self.facts.serial.clone(),
            token_label: self.facts.label.clone(),
            key_label: self.key_label.clone(),
            mechanism: self.mechanism,
            sessions: self.far.size(),
            signer: self.facts.signer.as_ref().map(VerifyingKey::algorithm),
        }
    }

    fn check(&self) -> Pending<'_, (), Fault> {
        Box::pin(async {
            match self.ask(Operation::Check, Command::Check).await? {
                (Reply::Ready, _) => Ok(()),
                _ => Err(self.out_of_step(Operation::Check)),
            }
        })
    }

    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async {
            match self.ask(Operation::Wrap, Command::Wrap { context, share }).await? {
                (Reply::Wrapped(bytes), request) => Ok(Wrapped {
                    bytes: WrappedKey::from_bytes(bytes),
                    mechanism: self.mechanism,
                    custodian_key: self.key_label.clone(),
                    request,
                }),
                _ => Err(self.out_of_step(Operation::Wrap)),
            }
        })
    }

    fn unwrap<'a>(
        &'a self,
        _permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        Box::pin(async move {
            if wrapped.custodian_key != self.key_label {
                let trouble = Trouble::of(Operation::Unwrap, Cause::KeyMissing);
                return Err(trouble.into_fault(self.id.clone(), None));
            }
            let bytes = wrapped.wrapped.as_bytes().to_vec();
            if bytes.len() > LONGEST_WRAPPED {
                let trouble = Trouble::of(Operation::Unwrap, Cause::Integrity);
                return Err(trouble.into_fault(self.id.clone(), None));
            }
            let command = Command::Unwrap { mechanism: wrapped.mechanism, context, wrapped: bytes };
            match self.ask(Operation::Unwrap, command).await? {
                (Reply::Share(share), request) => Ok(Unwrapped { share, request }),
                _ => Err(self.out_of_step(Operation::Unwrap)),
            }
        })
    }
}

/// The signing key of a token.
#[derive(Debug)]
pub struct TokenSigner {
    token: Arc<Token>,
    public: VerifyingKey,
}

impl Signer for TokenSigner {
    fn public_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        Box::pin(async {
            match self.token.ask(Operation::Sign, Command::Sign { message: message.to_vec() }).await? {
                (Reply::Signature(signature), _) => Ok(signature),
                _ => Err(self.token.out_of_step(Operation::Sign)),
            }
        })
    }
}
