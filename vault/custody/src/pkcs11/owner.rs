//! An owner thread: the only place that holds a session. It replaces a session that died, logs in again when the
//! token was away, and tells bytes that do not open from a device that fails.

use std::sync::{Arc, OnceLock};

use cofre_envelope::{BoundShare, Slab};
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::session::Session;

use super::Settings;
use super::keys::{self, SigningKey};
use super::login::Login;
use super::message::{Answer, Command, Facts, Known, Note, Notes, Reply};
use super::module;
use super::trouble::{self, Trouble};
use super::wrapping::{Proven, Root};
use crate::custodian::{self, VerifyingKey};
use crate::fault::{Cause, Operation};

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
    /// What the token said when it did not take a session back.
    kept: Option<String>,
}

struct Open {
    session: Session,
    root: Root,
    signer: Option<SigningKey>,
    facts: Facts,
}

impl Owner {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, open: None, kept: None }
    }

    /// Serves one command. A session found dead is replaced and the command done once more, which is safe: every
    /// command can be repeated. Any other failure is the caller's to weigh.
    pub(super) fn serve(&mut self, command: &Command) -> Answer {
        match self.attempt(command) {
            Err(trouble) if trouble.session == trouble::Session::Dead => self.attempt(command),
            answer => answer,
        }
    }

    /// To be called when the answer was handed on: whoever hears that a session stayed behind ends this process, and the
    /// answer is not to be lost with it.
    pub(super) fn answered(&mut self) {
        if let Some(said) = self.kept.take() {
            (self.plan.notes)(Note::SessionKept(said));
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
        // Only a session that is known to be sound goes back.
        match &answer {
            Err(trouble) if trouble.session != trouble::Session::Sound => {
                (self.plan.notes)(Note::SessionGivenUp(trouble.cause, trouble.to_string()));
                self.kept = open.close().or(self.kept.take());
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
        plan.login.ensure(
            &session,
            || module::find(&plan.module, &plan.settings.token).map(|(_, info)| info),
            &plan.notes,
        )?;
        let key = keys::root(&session, &plan.settings.key_label)?;
        let signer = plan.settings.signer_label.as_deref().map(|label| keys::signer(&session, label)).transpose()?;
        let facts = Facts {
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            serial: info.serial_number().to_owned(),
            label: info.label().to_owned(),
            max_sessions: Option::<u64>::from(info.max_session_count()).and_then(|max| usize::try_from(max).ok()),
            signer: signer.map(|signer| signer.public),
        };
        let root = match plan.known() {
            Some(known) => the_same(&session, key, known, facts.signer, plan.settings.mechanism)?,
            None => {
                let Proven { root, sealed, why } = Root::prove(&session, key, plan.settings.mechanism)?;
                let known = Known { sealed, signer: facts.signer, mechanism: root.mechanism(), why };
                // Two threads may prove at once; either value serves.
                let _ = plan.known.set(known);
                root
            }
        };
        let open = Self { session, root, signer, facts };
        (plan.notes)(Note::SessionOpened(open.facts.serial.clone()));
        Ok(open)
    }

    /// Closes a session that is of no more use. One that the token keeps counts against its limit until the process
    /// ends: then this is what the token said.
    fn close(self) -> Option<String> {
        match self.session.close() {
            Ok(()) => None,
            Err(error) if trouble::is_over(&error) => None,
            Err(error) => Some(Trouble::answered(Operation::Close, &error).to_string()),
        }
    }

    fn serve(&self, command: &Command, plan: &Plan) -> Answer {
        self.answer(command, plan).map_err(|trouble| match trouble.session {
            trouble::Session::Unclear => self.clear_up(trouble, command, plan),
            _ => trouble,
        })
    }

    /// Tells, by a value known to be good, what a vague answer was about: where that opens, login and session are sound
    /// and it was about this call; where it does not, nothing came of the call and a new session may serve it. Bytes are
    /// called bad only where they fail twice and the good ones open each time: that is an incident, and one hiccup of a
    /// device is none.
    fn clear_up(&self, trouble: Trouble, command: &Command, plan: &Plan) -> Trouble {
        let cause = trouble.cause;
        let opens = || plan.known().is_some_and(|known| self.root.opens(&self.session, &known.sealed));
        if !opens() {
            return trouble.but(Cause::Transient, trouble::Session::Dead);
        }
        if trouble.operation == Operation::Unwrap && self.answer(command, plan).is_err() && opens() {
            return trouble.but(Cause::Integrity, trouble::Session::Sound);
        }
        trouble.but(cause, REPLACE)
    }

    fn answer(&self, command: &Command, plan: &Plan) -> Answer {
        match command {
            Command::Facts => Ok(Reply::Facts(Box::new(self.facts.clone()))),
            Command::Check => self.check(),
            Command::Census => self.census(plan),
            Command::Wrap { context, share } => {
                let sealed = share.with_bytes(|bytes| self.root.seal(&self.session, Operation::Wrap, context, bytes));
                sealed.map(Reply::Wrapped)
            }
            Command::Unwrap { mechanism, context, wrapped } => self.unwrap(*mechanism, context, wrapped, plan),
            Command::Sign { message } => self.sign(message),
        }
    }

    fn check(&self) -> Answer {
        let answered = |error: Error| Trouble::answered(Operation::Check, &error);
        self.session.get_session_info().map_err(answered)?;
        // The session may outlive the login on some modules: a private object proves both.
        let found = self.session.get_attributes(self.root.key(), &[cryptoki::object::AttributeType::Label]);
        found.map(|_| Reply::Ready).map_err(answered)
    }

    /// Sessions of this process by the token's own count.
    fn census(&self, plan: &Plan) -> Answer {
        let (_, info) = module::find(&plan.module, &plan.settings.token)?;
        Ok(Reply::Sessions(info.session_count()))
    }

    fn unwrap(&self, mechanism: custodian::Mechanism, context: &[u8], wrapped: &[u8], plan: &Plan) -> Answer {
        // The row names how it was wrapped; a key goes one way only.
        if mechanism != self.root.mechanism() {
            let said = format!(
                "the row names {}, and this key goes with {}",
                mechanism.as_str(),
                self.root.mechanism().as_str()
            );
            return Err(Trouble::told(Operation::Unwrap, Cause::KeyMissing, trouble::Session::Sound, Some(said)));
        }
        let opened = self.root.open(&self.session, Operation::Unwrap, context, wrapped)?;
        let share = BoundShare::fill(&plan.slab, |slot| {
            if opened.len() != slot.len() {
                return Err(Trouble::of(Operation::Unwrap, Cause::Integrity));
            }
            slot.copy_from_slice(&opened);
            Ok(())
        })?;
        Ok(Reply::Share(share))
    }

    fn sign(&self, message: &[u8]) -> Answer {
        let Some(key) = &self.signer else { return Err(Trouble::of(Operation::Sign, Cause::KeyMissing)) };
        key.sign(&self.session, message).map(Reply::Signature)
    }
}

/// The value wrapped at first sight must open, and the signing key be the one seen then: a token with the same labels
/// and other keys is not the one.
fn the_same(
    session: &Session,
    key: keys::WrappingKey,
    known: &Known,
    signer: Option<VerifyingKey>,
    wanted: Option<custodian::Mechanism>,
) -> Result<Root, Trouble> {
    // What was recorded is no way around what is configured.
    if wanted.is_some_and(|wanted| wanted != known.mechanism) {
        let said = format!("the key was recorded to go with {}", known.mechanism.as_str());
        return Err(Trouble::told(Operation::Probe, Cause::Unsupported, trouble::Session::Sound, Some(said)));
    }
    if known.signer != signer {
        return Err(Trouble::of(Operation::FindKey, Cause::KeyMissing).but(Cause::KeyMissing, REPLACE));
    }
    match Root::that_opens(session, key, &known.sealed) {
        Ok(root) if root.mechanism() == known.mechanism => Ok(root),
        Ok(_) => Err(Trouble::of(Operation::Probe, Cause::KeyMissing).but(Cause::KeyMissing, REPLACE)),
        Err(trouble) if trouble.cause == Cause::Integrity => Err(trouble.but(Cause::KeyMissing, REPLACE)),
        // Of bytes under another key some modules say only that something failed. A key that wraps and opens a new value
        // here, and still does not open that one, is another.
        Err(trouble) if trouble.cause == Cause::Transient => match Root::prove(session, key, Some(known.mechanism)) {
            Ok(Proven { root, .. }) if root.opens(session, &known.sealed) => Ok(root),
            Ok(_) => Err(trouble.but(Cause::KeyMissing, REPLACE)),
            Err(_) => Err(trouble),
        },
        Err(trouble) => Err(trouble),
    }
}
