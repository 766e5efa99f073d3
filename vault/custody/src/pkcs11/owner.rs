//! An owner thread: the only place that holds a session. It replaces a session that died, logs in again when the
//! token was away, and tells bytes that do not open from a device that fails.

use std::sync::{Arc, OnceLock};

use cofre_envelope::{BoundShare, Slab};
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Settings;
use super::keys::{self, SigningKey};
use super::login::Login;
use super::message::{Answer, Command, Facts, Known, Note, Notes, Reply};
use super::module;
use super::trouble::{self, Trouble};
use crate::custodian::VerifyingKey;
use crate::fault::{Cause, Operation};

const NONCE: usize = 12;
const TAG_BITS: u64 = 128;
/// A bound share: 32 bytes of key, 32 of digest.
const SHARE: usize = 64;
const PROBE: &[u8] = b"cofre/v1/custody-probe";
const OTHER: &[u8] = b"cofre/v1/custody-probe/other";
const REPLACE: trouble::Session = trouble::Session::Replace;

/// What all owner threads of one token share.
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) module: Pkcs11,
    pub(super) login: Login,
    pub(super) slab: Arc<Slab>,
    /// What the token was when it was first seen, by this process or by one before it.
    known: OnceLock<Known>,
    notes: Notes,
}

impl Plan {
    pub(super) fn new(
        settings: Settings,
        module: Pkcs11,
        login: Login,
        slab: Arc<Slab>,
        known: Option<Known>,
        notes: Notes,
    ) -> Self {
        let known = known.map_or_else(OnceLock::new, OnceLock::from);
        Self { settings, module, login, slab, known, notes }
    }

    pub(super) fn known(&self) -> Option<&Known> {
        self.known.get()
    }
}

/// One thread's hold on the token.
pub(super) struct Owner {
    plan: Arc<Plan>,
    open: Option<Open>,
}

struct Open {
    session: Session,
    root: ObjectHandle,
    signer: Option<SigningKey>,
    facts: Facts,
}

impl Owner {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, open: None }
    }

    /// Serves one command. A session found dead is replaced and the command done once more, which is safe: every
    /// command can be repeated. Any other failure is the caller's to weigh.
    pub(super) fn serve(&mut self, command: &Command) -> Answer {
        match self.attempt(command) {
            Err(trouble) if trouble.session == trouble::Session::Dead => self.attempt(command),
            answer => answer,
        }
    }

    /// Whether a session is open.
    pub(super) fn holds(&self) -> bool {
        self.open.is_some()
    }

    fn attempt(&mut self, command: &Command) -> Answer {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::connect(&self.plan)?,
        };
        let answer = open.serve(command, &self.plan);
        // Only a session that is known to be sound goes back; dropping another closes it.
        match &answer {
            Err(trouble) if trouble.session != trouble::Session::Sound => {
                (self.plan.notes)(Note::SessionGivenUp(trouble.cause, trouble.to_string()));
            }
            _ => self.open = Some(open),
        }
        answer
    }
}

impl Open {
    /// Finds the token, logs in, finds and checks the keys, and proves the mechanism or that the key is still the same.
    fn connect(plan: &Plan) -> Result<Self, Trouble> {
        let (slot, info) = module::find(&plan.module, &plan.settings.token)?;
        let session =
            plan.module.open_ro_session(slot).map_err(|error| Trouble::answered(Operation::Connect, &error))?;
        plan.login.ensure(&session, &plan.notes)?;
        let root = keys::root(&session, &plan.settings.key_label)?;
        let signer = plan.settings.signer_label.as_deref().map(|label| keys::signer(&session, label)).transpose()?;
        let facts = Facts {
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            serial: info.serial_number().to_owned(),
            label: info.label().to_owned(),
            max_sessions: Option::<u64>::from(info.max_session_count()).and_then(|max| usize::try_from(max).ok()),
            signer: signer.map(|signer| signer.public),
        };
        let open = Self { session, root, signer, facts };
        match plan.known() {
            Some(known) => open.is_the_same(known)?,
            None => {
                let known = Known { sealed: open.probe()?, signer: open.facts.signer };
                // Two threads may probe at once; either value serves.
                let _ = plan.known.set(known);
            }
        }
        (plan.notes)(Note::SessionOpened(open.facts.serial.clone()));
        Ok(open)
    }

    fn serve(&self, command: &Command, plan: &Plan) -> Answer {
        self.answer(command, plan).map_err(|trouble| match trouble.session {
            trouble::Session::Unclear => self.clear_up(trouble, plan),
            _ => trouble,
        })
    }

    /// Tells, by a value known to be good, what a vague answer was about: where that opens, login and session are sound
    /// and it was about this call; where it does not, nothing came of the call and a new session may serve it.
    fn clear_up(&self, trouble: Trouble, plan: &Plan) -> Trouble {
        let cause = trouble.cause;
        match plan.known().is_some_and(|known| self.opens(&known.sealed)) {
            true if trouble.operation == Operation::Unwrap => trouble.but(Cause::Integrity, trouble::Session::Sound),
            true => trouble.but(cause, trouble::Session::Replace),
            false => trouble.but(Cause::Transient, trouble::Session::Dead),
        }
    }

    fn answer(&self, command: &Command, plan: &Plan) -> Answer {
        match command {
            Command::Facts => Ok(Reply::Facts(Box::new(self.facts.clone()))),
            Command::Check => self.check(),
            Command::Census => self.census(plan),
            Command::Wrap { context, share } => {
                share.with_bytes(|bytes| self.seal(Operation::Wrap, context, bytes)).map(Reply::Wrapped)
            }
            Command::Unwrap { context, wrapped } => self.unwrap(context, wrapped, plan),
            Command::Sign { message } => self.sign(message),
        }
    }

    fn check(&self) -> Answer {
        let answered = |error: Error| Trouble::answered(Operation::Check, &error);
        self.session.get_session_info().map_err(answered)?;
        // The session may outlive the login on some modules: a private object proves both.
        let found = self.session.get_attributes(self.root, &[cryptoki::object::AttributeType::Label]);
        found.map(|_| Reply::Ready).map_err(answered)
    }

    /// Sessions of this process by the token's own count.
    fn census(&self, plan: &Plan) -> Answer {
        let (_, info) = module::find(&plan.module, &plan.settings.token)?;
        Ok(Reply::Sessions(info.session_count()))
    }

    /// Proves that the mechanism wraps, unwraps, and refuses another context.
    fn probe(&self) -> Result<Vec<u8>, Trouble> {
        let mut value = Zeroizing::new([0; SHARE]);
        self.random(Operation::Probe, value.as_mut_slice())?;
        let sealed = self.seal(Operation::Probe, PROBE, value.as_slice())?;
        let opened = self.decrypt(Operation::Probe, PROBE, &sealed)?;
        let bound = self.decrypt(Operation::Probe, OTHER, &sealed).is_err();
        // The failed decryption in between must not have harmed the session.
        if opened.as_slice() == value.as_slice() && bound && self.opens(&sealed) {
            Ok(sealed)
        } else {
            Err(Trouble::of(Operation::Probe, Cause::Unsupported))
        }
    }

    /// The value wrapped at first sight must open, and the signing key be the one seen then: a token with the same
    /// labels and other keys is not the one.
    fn is_the_same(&self, known: &Known) -> Result<(), Trouble> {
        if known.signer != self.facts.signer {
            return Err(Trouble::of(Operation::FindKey, Cause::KeyMissing).but(Cause::KeyMissing, REPLACE));
        }
        match self.decrypt(Operation::Probe, PROBE, &known.sealed) {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.cause == Cause::Integrity => Err(trouble.but(Cause::KeyMissing, REPLACE)),
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the value wrapped at first sight opens now.
    fn opens(&self, known: &[u8]) -> bool {
        self.decrypt(Operation::Probe, PROBE, known).is_ok()
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8], plan: &Plan) -> Answer {
        let opened = self.decrypt(Operation::Unwrap, context, wrapped)?;
        let share = BoundShare::fill(&plan.slab, |slot| {
            if opened.len() != slot.len() {
                return Err(Trouble::of(Operation::Unwrap, Cause::Integrity));
            }
            slot.copy_from_slice(&opened);
            Ok(())
        })?;
        Ok(Reply::Share(share))
    }

    /// nonce ‖ ciphertext ‖ tag. The nonce is the token's own random number: 96 bits for a key that wraps tenant keys
    /// only stay far below the bound of SP 800-38D, 8.3.
    fn seal(&self, operation: Operation, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, Trouble> {
        let mut nonce = [0; NONCE];
        self.random(operation, &mut nonce)?;
        let mut sealed = nonce.to_vec();
        let mechanism = Mechanism::AesGcm(gcm(operation, &mut nonce, context)?);
        let body = self.session.encrypt(&mechanism, self.root, plain);
        let body = body.map_err(|error| Trouble::answered(operation, &error))?;
        if body.len() != plain.len() + 16 {
            return Err(Trouble::of(operation, Cause::Unsupported));
        }
        sealed.extend(body);
        Ok(sealed)
    }

    fn decrypt(&self, operation: Operation, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let Some((nonce, body)) = sealed.split_first_chunk::<NONCE>() else {
            return Err(Trouble::of(operation, Cause::Integrity));
        };
        let mut nonce = *nonce;
        let mechanism = Mechanism::AesGcm(gcm(operation, &mut nonce, context)?);
        let opened = self.session.decrypt(&mechanism, self.root, body);
        opened.map(Zeroizing::new).map_err(|error| Trouble::answered(operation, &error))
    }

    fn random(&self, operation: Operation, into: &mut [u8]) -> Result<(), Trouble> {
        self.session.generate_random_slice(into).map_err(|error| Trouble::answered(operation, &error))
    }

    fn sign(&self, message: &[u8]) -> Answer {
        let Some(key) = &self.signer else { return Err(Trouble::of(Operation::Sign, Cause::KeyMissing)) };
        let signature = match key.public {
            VerifyingKey::Ed25519(_) => {
                let scheme = EddsaParams::new(EddsaSignatureScheme::Pure);
                self.session.sign(&Mechanism::Eddsa(scheme), key.private, message)
            }
            // Not every module has CKM_ECDSA_SHA256: the digest is made here.
            VerifyingKey::P256(_) => self.session.sign(&Mechanism::Ecdsa, key.private, &Sha256::digest(message)),
        };
        let signature = signature.map_err(|error| Trouble::answered(Operation::Sign, &error))?;
        let bytes = signature.try_into().map_err(|_| Trouble::of(Operation::Sign, Cause::Unsupported))?;
        Ok(Reply::Signature(bytes))
    }
}

fn gcm<'a>(operation: Operation, nonce: &'a mut [u8], context: &'a [u8]) -> Result<GcmParams<'a>, Trouble> {
    GcmParams::new(nonce, context, Ulong::from(TAG_BITS)).map_err(|error| Trouble::answered(operation, &error))
}
