//! Reading frames: to the last byte, or not at all.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use cofre_envelope::Backing;

use super::super::{Profile, Sandbox};
use super::{Ask, Attached, Opening, Order, Purpose, Said, Word, garbled};
use crate::custodian::{CustodianId, Mechanism, VerifyingKey};
use crate::fault::{Cause, Operation};
use crate::pkcs11::ceremony::{Begun, Ensured, Found, MadeKey, MadeObject, Performance, Performed, Reached, Use};
use crate::pkcs11::login::Standing;
use crate::pkcs11::message::{Facts, Known, Note};
use crate::pkcs11::trouble::{Session, Trouble};
use crate::pkcs11::{Place, Settings, TokenName};

/// The longest detail of a failure, in characters.
pub(super) const DETAIL: usize = 300;
/// The longest reason for a mechanism, in characters.
const WHY: usize = 500;
/// The longest name that a token or its maker has here, in characters; the standard gives them 32.
const NAME: usize = 64;

/// What a signing key may be, by the name that [`VerifyingKey::algorithm`] gives it.
const ALGORITHMS: [&str; 2] = ["ed25519", "ecdsa-p256-sha256"];

/// A host is not trusted to keep its texts short or clean.
fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn yes(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A text for people that a host made.
    fn said(&mut self, most: usize) -> Option<String> {
        self.text().map(|text| clean(text, most))
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(OsStr::from_bytes(self.bytes()?)))
    }

    fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.yes()? { read(self).map(Some) } else { Some(None) }
    }

    fn each<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.size()?;
        // Each takes a byte at least, so a count beyond the rest is a lie.
        (count <= self.0.len()).then_some(())?;
        (0..count).map(|_| read(self)).collect()
    }

    fn cause(&mut self) -> Option<Cause> {
        let text = self.text()?;
        Cause::ALL.iter().copied().find(|cause| cause.as_str() == text)
    }

    fn operation(&mut self) -> Option<Operation> {
        let text = self.text()?;
        Operation::ALL.iter().copied().find(|operation| operation.as_str() == text)
    }

    fn trouble(&mut self) -> Option<Trouble> {
        let (operation, cause) = (self.operation()?, self.cause()?);
        let session = match self.u8()? {
            0 => Session::Sound,
            1 => Session::Replace,
            2 => Session::Dead,
            3 => Session::Unclear,
            _ => return None,
        };
        let detail = self.maybe(|bytes| bytes.said(DETAIL))?;
        Some(Trouble::told(operation, cause, session, detail))
    }

    fn mechanism(&mut self) -> Option<Mechanism> {
        Mechanism::from_text(self.text()?)
    }

    fn key(&mut self) -> Option<VerifyingKey> {
        let bytes = self.bytes()?;
        match bytes.len() {
            32 => bytes.try_into().ok().map(VerifyingKey::Ed25519),
            _ => bytes.try_into().ok().map(VerifyingKey::P256),
        }
    }

    fn known(&mut self) -> Option<Known> {
        Some(Known {
            sealed: self.bytes()?.to_vec(),
            signer: self.maybe(Self::key)?,
            mechanism: self.mechanism()?,
            why: self.said(WHY)?,
        })
    }

    fn settings(&mut self) -> Option<Settings> {
        Some(Settings {
            id: CustodianId::try_from(self.text()?).ok()?,
            module: self.path()?,
            module_sha256: self.maybe(|bytes| bytes.bytes()?.try_into().ok())?,
            token: match (self.yes()?, self.text()?.to_owned()) {
                (false, label) => TokenName::Label(label),
                (true, serial) => TokenName::Serial(serial),
            },
            key_label: self.text()?.to_owned(),
            signer_label: self.maybe(Self::text)?.map(str::to_owned),
            mechanism: self.maybe(Self::mechanism)?,
            sessions: self.size()?,
            reserve: self.size()?,
            queue: self.size()?,
            deadline: Duration::from_millis(self.u64()?),
            // A host loads the module itself, that is its purpose.
            place: Place::Inside,
        })
    }

    fn opening(&mut self) -> Option<Opening> {
        let purpose = match self.u8()? {
            0 => Purpose::Serve,
            1 => Purpose::MakeKeys,
            2 => Purpose::Perform(Performance::Keys),
            3 => Purpose::Perform(Performance::Rehearsal),
            _ => return None,
        };
        Some(Opening {
            purpose,
            settings: self.settings()?,
            sandbox: Sandbox {
                profile: match self.u8()? {
                    0 => Profile::Files,
                    1 => Profile::Network,
                    2 => Profile::Off,
                    _ => return None,
                },
                readable: self.each(Self::path)?,
                writable: self.each(Self::path)?,
            },
            backing: if self.yes()? { Backing::Mlock } else { Backing::MemfdSecret },
            cells: self.u16()?,
            pin_len: self.u16()?,
            standing: self.standing()?,
            known: self.maybe(Self::known)?,
        })
    }

    fn ask(&mut self) -> Option<Ask> {
        Some(match self.u8()? {
            1 => Ask::Check,
            2 => Ask::Census,
            3 => Ask::Wrap { context: self.bytes()?.to_vec() },
            4 => Ask::Unwrap {
                mechanism: self.mechanism()?,
                context: self.bytes()?.to_vec(),
                wrapped: self.bytes()?.to_vec(),
            },
            5 => Ask::Sign { message: self.bytes()?.to_vec() },
            _ => return None,
        })
    }

    fn opened(&mut self) -> Option<Attached> {
        Some(Attached {
            facts: Facts {
                manufacturer: self.said(NAME)?,
                model: self.said(NAME)?,
                serial: self.said(NAME)?,
                label: self.said(NAME)?,
                max_sessions: self.maybe(Self::size)?,
                signer: self.maybe(Self::key)?,
            },
            sessions: self.u16()?,
            known: self.known()?,
        })
    }

    fn answer(&mut self) -> Option<Result<Said, Trouble>> {
        Some(Ok(match self.u8()? {
            0 => return self.trouble().map(Err),
            1 => Said::Ready,
            2 => Said::Sessions(self.maybe(Self::u64)?),
            3 => Said::Wrapped(self.bytes()?.to_vec()),
            4 => Said::Share,
            5 => Said::Signature(self.bytes()?.try_into().ok()?),
            _ => return None,
        }))
    }

    fn note(&mut self) -> Option<Note> {
        Some(match self.u8()? {
            0 => Note::SessionOpened(self.said(NAME)?),
            1 => Note::SessionGivenUp(self.cause()?, self.said(WHY)?),
            2 => Note::Pin(self.standing()?),
            3 => Note::SessionKept(self.said(WHY)?),
            4 => Note::Key(Box::new(Begun { reached: self.reached()?, key: self.made_key()? })),
            _ => return None,
        })
    }

    fn reached(&mut self) -> Option<Reached> {
        Some(match self.u8()? {
            0 => Reached::Asked,
            1 => Reached::Made,
            2 => Reached::ReadBack,
            _ => return None,
        })
    }

    fn standing(&mut self) -> Option<Standing> {
        Some(match self.u8()? {
            0 => Standing::Untried,
            1 => Standing::Trying,
            2 => Standing::Accepted,
            3 => Standing::Doubted,
            4 => Standing::Refused(self.cause()?),
            _ => return None,
        })
    }

    fn performed(&mut self) -> Option<Performed> {
        Some(Performed {
            label: self.said(NAME)?,
            serial: self.said(NAME)?,
            manufacturer: self.said(NAME)?,
            model: self.said(NAME)?,
            mechanism: self.mechanism()?,
            why: self.said(WHY)?,
            witness: self.bytes()?.to_vec(),
            signer: self.maybe(Self::key)?,
            keys: self.each(Self::made_key)?,
        })
    }

    fn made_key(&mut self) -> Option<MadeKey> {
        Some(MadeKey {
            used_to: if self.yes()? { Use::Sign } else { Use::Wrap },
            label: self.said(WHY)?,
            kind: self.said(NAME)?,
            public: self.maybe(|bytes| bytes.bytes().map(<[u8]>::to_vec))?,
            check_value: self.maybe(|bytes| bytes.bytes().map(<[u8]>::to_vec))?,
            objects: self.each(|bytes| {
                let class = bytes.said(NAME)?;
                let attributes = bytes.each(|bytes| Some((bytes.said(NAME)?, bytes.said(WHY)?)))?;
                Some(MadeObject { class, attributes })
            })?,
        })
    }

    fn ensured(&mut self) -> Option<Ensured> {
        let found = |made| if made { Found::Made } else { Found::There };
        let root = found(self.yes()?);
        let signer = self.maybe(|bytes| {
            let made = found(bytes.yes()?);
            let text = bytes.text()?;
            let algorithm = ALGORITHMS.into_iter().find(|known| *known == text)?;
            Some((made, algorithm))
        })?;
        Some(Ensured { root, signer })
    }
}

impl Order {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(body);
        let order = match bytes.u8()? {
            1 => Self::Open(Box::new(bytes.opening()?)),
            2 => Self::Ask { id: bytes.u64()?, cell: bytes.u16()?, ask: bytes.ask()? },
            3 => Self::Close,
            _ => return None,
        };
        bytes.0.is_empty().then_some(order)
    }

    /// The order in a body that was received with a descriptor beside it.
    pub(in super::super) fn of(body: &[u8]) -> io::Result<Self> {
        Self::read(body).ok_or_else(garbled)
    }
}

impl Word {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(body);
        let word = match bytes.u8()? {
            1 => Self::Walls(bytes.said(WHY)?),
            2 if bytes.yes()? => Self::Attached(Err(bytes.trouble()?)),
            2 => Self::Attached(Ok(Box::new(bytes.opened()?))),
            3 => Self::Answered { id: bytes.u64()?, said: bytes.answer()? },
            4 => Self::Noted(bytes.note()?),
            5 if bytes.yes()? => Self::Made(Err(bytes.trouble()?)),
            5 => Self::Made(Ok(bytes.ensured()?)),
            6 if bytes.yes()? => Self::Performed(Err(bytes.trouble()?)),
            6 => Self::Performed(Ok(Box::new(bytes.performed()?))),
            _ => return None,
        };
        bytes.0.is_empty().then_some(word)
    }
}
