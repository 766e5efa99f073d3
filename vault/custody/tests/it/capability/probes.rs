//! What the probes share: an open session on the module itself, past our driver, and throw-away keys.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use crate::bench::Child;
use crate::contract::USER_PIN;

/// What a probe found: the words of the table, or the library's refusal.
pub(super) type Found = Result<String, Error>;
pub(super) const YES: &str = "yes";

/// The module with its token, a session open and the user logged in.
pub(super) struct Bench {
    pub(super) module: Pkcs11,
    pub(super) slot: Slot,
    pub(super) session: Session,
}

impl Bench {
    pub(super) fn on(child: &Child) -> Self {
        let module = Pkcs11::new(&child.module).expect("loads");
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialises");
        let slot = module.get_slots_with_initialized_token().expect("slots")[0];
        let session = module.open_rw_session(slot).expect("a session");
        let bench = Self { module, slot, session };
        bench.log_in().expect("logs in");
        bench
    }

    pub(super) fn log_in(&self) -> Result<(), Error> {
        self.session.login(UserType::User, Some(&USER_PIN.to_owned().into()))
    }

    /// A throw-away AES-256 key that stays in the token, with these attributes besides.
    pub(super) fn aes(&self, more: &[Attribute]) -> Result<ObjectHandle, Error> {
        self.aes_that(false, more)
    }

    pub(super) fn aes_that(&self, extractable: bool, more: &[Attribute]) -> Result<ObjectHandle, Error> {
        let mut template = vec![
            Attribute::ValueLen(32.into()),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(extractable),
        ];
        template.extend_from_slice(more);
        self.session.generate_key(&Mechanism::AesKeyGen, &template)
    }

    /// One that encrypts and decrypts.
    pub(super) fn cipher(&self) -> Result<ObjectHandle, Error> {
        self.aes(&[Attribute::Encrypt(true), Attribute::Decrypt(true)])
    }

    /// A pair of a throw-away wrapping key and one that it may wrap out.
    pub(super) fn wrapping(&self) -> Result<(ObjectHandle, ObjectHandle), Error> {
        let by = self.aes(&[Attribute::Wrap(true), Attribute::Unwrap(true)])?;
        Ok((by, self.aes_that(true, &[Attribute::Encrypt(true), Attribute::Decrypt(true)])?))
    }

    pub(super) fn seal(&self, key: ObjectHandle, context: &[u8]) -> Result<Vec<u8>, Error> {
        self.session.encrypt(&gcm(&mut NONCE.to_owned(), context)?, key, PLAIN)
    }

    pub(super) fn open(&self, key: ObjectHandle, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.session.decrypt(&gcm(&mut NONCE.to_owned(), context)?, key, sealed)
    }
}

pub(super) const PLAIN: &[u8] = &[7; 64];
pub(super) const NONCE: [u8; 12] = [9; 12];
pub(super) const CONTEXT: &[u8] = b"a context";

pub(super) fn gcm<'a>(nonce: &'a mut [u8; 12], context: &'a [u8]) -> Result<Mechanism<'a>, Error> {
    Ok(Mechanism::AesGcm(GcmParams::new(nonce, context, 128.into())?))
}

/// `yes` where what came back is what went in.
pub(super) fn same(came: &[u8], went: &[u8]) -> Found {
    Ok(if came == went { YES.to_owned() } else { "gives something else".to_owned() })
}

/// A refusal that is wanted: what was not refused must stand out in the table.
pub(super) fn refused<T>(answer: Result<T, Error>) -> Found {
    match answer {
        Ok(_) => Ok("NOT REFUSED".to_owned()),
        Err(error) => Ok(name(&error)),
    }
}

/// A finding as the table has it.
pub(super) fn words(found: Found) -> String {
    found.unwrap_or_else(|error| format!("no: {}", name(&error)))
}

/// The standard's name of a code.
fn name(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code), _) => format!("vendor code {code:#x}"),
        Error::Pkcs11(RvError::UnknownErrorCode(code), _) => format!("unknown code {code:#x}"),
        Error::Pkcs11(known, _) => {
            let upper = |letter: char| {
                let gap = if letter.is_uppercase() { "_" } else { "" };
                format!("{gap}{}", letter.to_uppercase())
            };
            format!("`CKR{}`", format!("{known:?}").chars().map(upper).collect::<String>())
        }
        Error::NullFunctionPointer | Error::NotSupported => "no such function".to_owned(),
        other => panic!("not an answer of a module: {other}"),
    }
}
