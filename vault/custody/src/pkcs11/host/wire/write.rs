//! Writing frames.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cofre_envelope::Backing;

use super::super::Profile;
use super::read::DETAIL;
use super::{Ask, Order, Purpose, Said, Word};
use crate::custodian::{Mechanism, VerifyingKey};
use crate::pkcs11::ceremony::{Found, MadeKey, Performance, Performed, Reached, Use};
use crate::pkcs11::login::Standing;
use crate::pkcs11::message::{Known, Note};
use crate::pkcs11::trouble::{Session, Trouble};
use crate::pkcs11::{Settings, TokenName};

/// A body under way.
#[derive(Default)]
pub(in super::super) struct Body(pub(super) Vec<u8>);

impl Body {
    fn of(tag: u8) -> Self {
        Self(vec![tag])
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend(value);
        self
    }

    fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    fn path(self, value: &Path) -> Self {
        self.bytes(value.as_os_str().as_bytes())
    }

    fn size(self, value: usize) -> Self {
        self.u64(value as u64)
    }

    fn maybe<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => self.u8(0),
            Some(value) => write(self.u8(1), value),
        }
    }

    fn each<'a, T: 'a>(self, list: &'a [T], write: impl Fn(Self, &'a T) -> Self) -> Self {
        list.iter().fold(self.size(list.len()), write)
    }

    fn trouble(self, trouble: &Trouble) -> Self {
        let session = match trouble.session {
            Session::Sound => 0,
            Session::Replace => 1,
            Session::Dead => 2,
            Session::Unclear => 3,
        };
        let detail = trouble.detail().map(|detail| detail.chars().take(DETAIL).collect::<String>());
        self.text(trouble.operation.as_str())
            .text(trouble.cause.as_str())
            .u8(session)
            .maybe(detail, |body, detail| body.text(&detail))
    }

    fn key(self, key: &VerifyingKey) -> Self {
        self.bytes(key.as_bytes())
    }

    fn known(self, known: &Known) -> Self {
        self.bytes(&known.sealed)
            .maybe(known.signer.as_ref(), Self::key)
            .text(known.mechanism.as_str())
            .text(&known.why)
    }

    fn settings(self, of: &Settings) -> Self {
        let (kind, token) = match &of.token {
            TokenName::Label(label) => (0, label),
            TokenName::Serial(serial) => (1, serial),
        };
        self.text(of.id.as_str())
            .path(&of.module)
            .maybe(of.module_sha256.as_ref(), |body, digest| body.bytes(digest))
            .u8(kind)
            .text(token)
            .text(&of.key_label)
            .maybe(of.signer_label.as_deref(), Self::text)
            .maybe(of.mechanism.map(Mechanism::as_str), Self::text)
            .size(of.sessions)
            .size(of.reserve)
            .size(of.queue)
            .u64(u64::try_from(of.deadline.as_millis()).unwrap_or(u64::MAX))
    }

    fn performed(self, of: &Performed) -> Self {
        self.text(&of.label)
            .text(&of.serial)
            .text(&of.manufacturer)
            .text(&of.model)
            .text(of.mechanism.as_str())
            .text(&of.why)
            .bytes(&of.witness)
            .maybe(of.signer.as_ref(), Self::key)
            .each(&of.keys, Self::made_key)
    }

    fn made_key(self, of: &MadeKey) -> Self {
        let attribute = |body: Self, (name, value): &(String, String)| body.text(name).text(value);
        self.u8(u8::from(of.used_to == Use::Sign))
            .text(&of.label)
            .text(&of.kind)
            .maybe(of.public.as_deref(), Self::bytes)
            .maybe(of.check_value.as_deref(), Self::bytes)
            .each(&of.objects, |body, object| body.text(&object.class).each(&object.attributes, attribute))
    }

    fn reached(self, of: Reached) -> Self {
        self.u8(match of {
            Reached::Asked => 0,
            Reached::Made => 1,
            Reached::ReadBack => 2,
        })
    }

    fn standing(self, of: Standing) -> Self {
        match of {
            Standing::Untried => self.u8(0),
            Standing::Trying => self.u8(1),
            Standing::Accepted => self.u8(2),
            Standing::Doubted => self.u8(3),
            Standing::Refused(cause) => self.u8(4).text(cause.as_str()),
        }
    }
}

impl Order {
    pub(in super::super) fn write(&self) -> Body {
        match self {
            Self::Open(of) => {
                let backing = u8::from(of.backing == Backing::Mlock);
                let profile = match of.sandbox.profile {
                    Profile::Files => 0,
                    Profile::Network => 1,
                    Profile::Off => 2,
                };
                Body::of(1)
                    .u8(match of.purpose {
                        Purpose::Serve => 0,
                        Purpose::MakeKeys => 1,
                        Purpose::Perform(Performance::Keys) => 2,
                        Purpose::Perform(Performance::Rehearsal) => 3,
                    })
                    .settings(&of.settings)
                    .u8(profile)
                    .each(&of.sandbox.readable, |body, path| body.path(path))
                    .each(&of.sandbox.writable, |body, path| body.path(path))
                    .u8(backing)
                    .u16(of.cells)
                    .u16(of.pin_len)
                    .standing(of.standing)
                    .maybe(of.known.as_ref(), Body::known)
            }
            Self::Ask { id, cell, ask } => {
                let body = Body::of(2).u64(*id).u16(*cell);
                match ask {
                    Ask::Check => body.u8(1),
                    Ask::Census => body.u8(2),
                    Ask::Wrap { context } => body.u8(3).bytes(context),
                    Ask::Unwrap { mechanism, context, wrapped } => {
                        body.u8(4).text(mechanism.as_str()).bytes(context).bytes(wrapped)
                    }
                    Ask::Sign { message } => body.u8(5).bytes(message),
                }
            }
            Self::Close => Body::of(3),
        }
    }
}

impl Word {
    pub(in super::super) fn write(&self) -> Body {
        match self {
            Self::Walls(text) => Body::of(1).text(text),
            Self::Attached(Ok(of)) => {
                let facts = &of.facts;
                Body::of(2)
                    .u8(0)
                    .text(&facts.manufacturer)
                    .text(&facts.model)
                    .text(&facts.serial)
                    .text(&facts.label)
                    .maybe(facts.max_sessions, Body::size)
                    .maybe(facts.signer.as_ref(), Body::key)
                    .u16(of.sessions)
                    .known(&of.known)
            }
            Self::Attached(Err(trouble)) => Body::of(2).u8(1).trouble(trouble),
            Self::Answered { id, said } => {
                let body = Body::of(3).u64(*id);
                match said {
                    Err(trouble) => body.u8(0).trouble(trouble),
                    Ok(Said::Ready) => body.u8(1),
                    Ok(Said::Sessions(count)) => body.u8(2).maybe(*count, Body::u64),
                    Ok(Said::Wrapped(bytes)) => body.u8(3).bytes(bytes),
                    Ok(Said::Share) => body.u8(4),
                    Ok(Said::Signature(bytes)) => body.u8(5).bytes(bytes),
                }
            }
            Self::Noted(note) => {
                let body = Body::of(4);
                match note {
                    Note::SessionOpened(serial) => body.u8(0).text(serial),
                    Note::SessionGivenUp(cause, said) => body.u8(1).text(cause.as_str()).text(said),
                    Note::Pin(standing) => body.u8(2).standing(*standing),
                    Note::SessionKept(said) => body.u8(3).text(said),
                    Note::Key(begun) => body.u8(4).reached(begun.reached).made_key(&begun.key),
                }
            }
            Self::Made(Ok(ensured)) => {
                let body = Body::of(5).u8(0).u8(u8::from(ensured.root == Found::Made));
                body.maybe(ensured.signer, |body, (found, algorithm)| {
                    body.u8(u8::from(found == Found::Made)).text(algorithm)
                })
            }
            Self::Made(Err(trouble)) => Body::of(5).u8(1).trouble(trouble),
            Self::Performed(Ok(performed)) => Body::of(6).u8(0).performed(performed),
            Self::Performed(Err(trouble)) => Body::of(6).u8(1).trouble(trouble),
        }
    }
}
