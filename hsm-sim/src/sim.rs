//! The state of the initialised module: one token in one slot, its sessions, its login, the objects now visible.
//! It keeps these in step with one another and with the disk; what a PKCS#11 function does with them is in `fns`.

use std::path::PathBuf;

use cryptoki_sys::*;

use crate::calls::CallLog;
use crate::crypto::Secret;
use crate::faults::Faults;
use crate::object::{Attributes, Home, Object, Objects};
use crate::rv::{Answer, Rv, fail};
use crate::session::Sessions;
use crate::token::{Folder, ObjectId, Role, Token};

/// The only slot.
pub(crate) const SLOT: CK_SLOT_ID = 0;

/// Somebody is logged in.
pub(crate) struct Login {
    pub(crate) role: Role,
    pub(crate) token_key: Secret,
}

/// The initialised module.
pub(crate) struct Sim {
    pub(crate) folder: Folder,
    pub(crate) faults: Faults,
    pub(crate) calls: CallLog,
    /// `None` in a slot whose token was never initialised.
    pub(crate) token: Option<Token>,
    /// False while the fault plan has the token out of its slot.
    pub(crate) present: bool,
    pub(crate) sessions: Sessions,
    pub(crate) login: Option<Login>,
    pub(crate) objects: Objects,
}

impl Sim {
    /// Opens the token folder.
    ///
    /// # Errors
    /// `CKR_DEVICE_ERROR` when it is no folder or its token file is damaged.
    pub(crate) fn open(path: PathBuf) -> Answer<Self> {
        let folder = Folder::at(path)?;
        let token = Token::load(&folder)?;
        // Another process that is writing now sweeps at its own start; waiting for it would buy nothing.
        if let (Some(token), Some(held)) = (&token, folder.try_hold()?) {
            token.sweep(&held)?;
        }
        Ok(Self {
            faults: Faults::of(folder.path()),
            calls: CallLog::open(folder.path()),
            folder,
            token,
            present: true,
            sessions: Sessions::default(),
            login: None,
            objects: Objects::default(),
        })
    }

    /// The token leaves its slot or comes back. Leaving ends every session and the login.
    pub(crate) fn set_present(&mut self, present: bool) {
        if self.present && !present {
            self.close_everything();
        }
        self.present = present;
    }

    pub(crate) fn close_everything(&mut self) {
        self.sessions.close_all();
        self.login = None;
        self.objects.retain(|_| false);
    }

    pub(crate) fn close_session(&mut self, handle: CK_SESSION_HANDLE) -> Answer {
        self.sessions.close(handle)?;
        if self.sessions.count() == (0, 0) {
            // The last session takes the login with it (2.40, C_CloseSession).
            self.close_everything();
        } else {
            self.objects.retain(|object| object.home != Home::Session(handle));
        }
        Ok(())
    }

    /// The initialised token.
    pub(crate) fn token(&self) -> Answer<&Token> {
        self.token.as_ref().ok_or(Rv(CKR_TOKEN_NOT_RECOGNIZED))
    }

    pub(crate) fn token_mut(&mut self) -> Answer<&mut Token> {
        self.token.as_mut().ok_or(Rv(CKR_TOKEN_NOT_RECOGNIZED))
    }

    /// Takes over what another process did to PINs, or that it initialised the token anew.
    pub(crate) fn reload_token(&mut self) -> Answer {
        let fresh = Token::load(&self.folder)?;
        let same = match (&fresh, &self.token) {
            (Some(fresh), Some(old)) => fresh.same_as(old),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.close_everything();
        }
        self.token = fresh;
        Ok(())
    }

    pub(crate) fn role(&self) -> Option<Role> {
        self.login.as_ref().map(|login| login.role)
    }

    /// # Errors
    /// `CKR_USER_NOT_LOGGED_IN`.
    pub(crate) fn token_key(&self) -> Answer<&Secret> {
        self.login.as_ref().map(|login| &login.token_key).ok_or(Rv(CKR_USER_NOT_LOGGED_IN))
    }

    /// Starts a login: every token object is read again and, with the key at hand, proven.
    ///
    /// # Errors
    /// `CKR_DEVICE_ERROR` when an object on disk was damaged; nobody is logged in then.
    pub(crate) fn log_in(&mut self, login: Login) -> Answer {
        self.login = Some(login);
        self.objects.retain(|object| matches!(object.home, Home::Session(_)));
        self.refresh_objects().inspect_err(|_| self.log_out())
    }

    /// Ends the login: private objects vanish and with them what was begun.
    pub(crate) fn log_out(&mut self) {
        self.login = None;
        self.objects.retain(|object| !object.private());
        self.sessions.each().for_each(crate::session::Session::end_all);
    }

    /// Brings the visible token objects in step with the disk, which other processes change too.
    pub(crate) fn refresh_objects(&mut self) -> Answer {
        let Some(token) = &self.token else { return Ok(()) };
        let ids = token.object_ids(&self.folder)?;
        self.objects.retain(|object| match object.home {
            Home::Token(id) => ids.contains(&id),
            Home::Session(_) => true,
        });
        for id in ids {
            if self.objects.has(id) {
                continue;
            }
            let Some(stored) = token.read_object(&self.folder, id)? else { continue };
            let private = stored.attributes.flag(CKA_PRIVATE);
            let secret = match &self.login {
                Some(login) if login.role == Role::User || !private => token.open_object(&stored, &login.token_key)?,
                // Nothing proves a public object before somebody logs in; it is shown as it lies there.
                None if !private => Secret::default(),
                _ => continue,
            };
            self.objects.add(Object { attributes: stored.attributes, secret, home: Home::Token(id) });
        }
        Ok(())
    }

    /// Whether this session may see and make private objects, and write to the token.
    ///
    /// # Errors
    /// `CKR_SESSION_READ_ONLY`, `CKR_USER_NOT_LOGGED_IN`.
    pub(crate) fn may_change(&self, session: CK_SESSION_HANDLE, attributes: &Attributes) -> Answer {
        let session = self.sessions.at(session)?;
        if attributes.flag(CKA_TOKEN) && !session.read_write {
            return fail(CKR_SESSION_READ_ONLY);
        }
        if attributes.flag(CKA_PRIVATE) && self.role() != Some(Role::User) {
            return fail(CKR_USER_NOT_LOGGED_IN);
        }
        Ok(())
    }

    /// Adds a new object, to the disk first if it is a token object.
    pub(crate) fn keep(
        &mut self,
        session: CK_SESSION_HANDLE,
        attributes: Attributes,
        secret: Secret,
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.may_change(session, &attributes)?;
        let home = if attributes.flag(CKA_TOKEN) {
            let id = ObjectId::fresh()?;
            let held = self.folder.hold()?;
            self.token()?.write_object(&held, self.token_key()?, id, (&attributes, &secret))?;
            Home::Token(id)
        } else {
            Home::Session(session)
        };
        Ok(self.objects.add(Object { attributes, secret, home }))
    }
}
