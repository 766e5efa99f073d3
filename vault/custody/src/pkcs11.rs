//! The PKCS#11 driver: one token of one vendor module as a [`Custodian`] and a [`Signer`].
//!
//! ```text
//! async callers ── Command ──▶ bounded queue ──▶ owner threads, one session each ──▶ the module's C functions
//!               ◀── Reply ───  oneshot, deadline
//! ```
//! No PKCS#11 type crosses the queue: the right-hand side can move into a child process that is killed and started
//! again. The driver makes and deletes nothing on a token; making is in [`ceremony`], for a person who asks for it.

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
mod keys;
mod login;
mod message;
mod module;
mod owner;
mod pool;
mod trouble;

use message::{Command, Facts, Reply};
use pool::Pool;
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
    /// Label of the AES-256 key that wraps shares.
    pub key_label: String,
    /// Label of the key pair that signs, where this custodian is the signer.
    pub signer_label: Option<String>,
    /// Sessions to hold at most; fewer where the token allows fewer.
    pub sessions: usize,
    /// Calls that may wait for a session.
    pub queue: usize,
    /// How long a caller waits for an answer, queueing included.
    pub deadline: Duration,
}

impl Settings {
    /// With no pinned hash, no signer, 8 sessions, 64 waiting calls and 5 seconds.
    #[must_use]
    pub fn new(id: CustodianId, module: PathBuf, token: TokenName, key_label: impl Into<String>) -> Self {
        Self {
            id,
            module,
            module_sha256: None,
            token,
            key_label: key_label.into(),
            signer_label: None,
            sessions: 8,
            queue: 64,
            deadline: Duration::from_secs(5),
        }
    }
}

/// An open token: logged in, its keys checked, its mechanism proven.
#[derive(Debug)]
pub struct Token {
    id: CustodianId,
    key_label: String,
    facts: Facts,
    pool: Pool,
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
        let id = settings.id.clone();
        let fault = |trouble: Trouble| trouble.into_fault(id.clone(), None);
        let run = random::array::<6>().map_err(|_| fault(Trouble::of(Operation::Connect, Cause::LockedMemory)))?;
        let wanted = settings.sessions.max(1);
        let key_label = settings.key_label.clone();
        let pool = Pool::start(settings, pin, slab.clone()).map_err(fault)?;
        let facts = match pool.ask(Operation::Connect, Command::Facts).await {
            Ok(Reply::Facts(facts)) => facts,
            Ok(_) => return Err(fault(Trouble::of(Operation::Connect, Cause::Transient))),
            Err(trouble) => return Err(fault(trouble)),
        };
        // One session of the token's limit is left to others: a ceremony, a person with a tool.
        let room = facts.max_sessions.map_or(wanted, |max| wanted.min(max.saturating_sub(1)).max(1));
        pool.grow(room).map_err(fault)?;
        let calls = AtomicU64::new(0);
        Ok(Arc::new(Self { id: id.clone(), key_label, facts: *facts, pool, run: hex::encode(run), calls }))
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
        self.pool.close().await.map_err(|trouble| trouble.into_fault(self.id.clone(), None))
    }

    #[tracing::instrument(name = "custodian", skip_all, fields(custodian = %self.id, operation = operation.as_str(), outcome))]
    async fn ask(&self, operation: Operation, command: Command) -> Result<(Reply, RequestId), Fault> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let request = RequestId::new(format!("{}/{}/{number}", self.id, self.run));
        match self.pool.ask(operation, command).await {
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
            mechanism: Mechanism::AesGcm,
            sessions: self.pool.size(),
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
                    mechanism: Mechanism::AesGcm,
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
            let command = Command::Unwrap { context, wrapped: wrapped.wrapped.as_bytes().to_vec() };
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
