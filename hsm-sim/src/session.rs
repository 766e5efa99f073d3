//! Sessions: read-only or read-write, and the operations each has begun. Login is not here: it belongs to the
//! application as a whole (PKCS#11 2.40, 2.4).

use std::collections::{BTreeMap, VecDeque};

use cryptoki_sys::*;

use crate::mechanism::Mechanism;
use crate::rv::{Answer, Rv, fail};

/// The operations of which a session may have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
}

/// A begun operation.
pub(crate) struct Operation {
    pub(crate) mechanism: Mechanism,
    pub(crate) key: CK_OBJECT_HANDLE,
}

/// One session.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) read_write: bool,
    operations: BTreeMap<Kind, Operation>,
    /// Handles a search has still to answer; `None` when no search is on.
    pub(crate) search: Option<VecDeque<CK_OBJECT_HANDLE>>,
}

impl Session {
    /// # Errors
    /// `CKR_OPERATION_ACTIVE` when one of this kind is on.
    pub(crate) fn begin(&mut self, kind: Kind, operation: Operation) -> Answer {
        if self.operations.contains_key(&kind) {
            return fail(CKR_OPERATION_ACTIVE);
        }
        self.operations.insert(kind, operation);
        Ok(())
    }

    /// # Errors
    /// `CKR_OPERATION_NOT_INITIALIZED` when none of this kind is on.
    pub(crate) fn active(&self, kind: Kind) -> Answer<&Operation> {
        self.operations.get(&kind).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
    }

    pub(crate) fn end(&mut self, kind: Kind) {
        self.operations.remove(&kind);
    }

    /// Ends everything that a login had made possible.
    pub(crate) fn end_all(&mut self) {
        self.operations.clear();
        self.search = None;
    }
}

/// All open sessions. Handles are never reused while the module stays initialised.
#[derive(Default)]
pub(crate) struct Sessions {
    open: BTreeMap<CK_SESSION_HANDLE, Session>,
    last: CK_SESSION_HANDLE,
}

impl Sessions {
    pub(crate) fn open(&mut self, read_write: bool) -> CK_SESSION_HANDLE {
        self.last += 1;
        self.open.insert(self.last, Session { read_write, ..Session::default() });
        self.last
    }

    pub(crate) fn at(&self, handle: CK_SESSION_HANDLE) -> Answer<&Session> {
        self.open.get(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))
    }

    pub(crate) fn at_mut(&mut self, handle: CK_SESSION_HANDLE) -> Answer<&mut Session> {
        self.open.get_mut(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))
    }

    pub(crate) fn close(&mut self, handle: CK_SESSION_HANDLE) -> Answer {
        self.open.remove(&handle).map(drop).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))
    }

    pub(crate) fn close_all(&mut self) {
        self.open.clear();
    }

    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut Session> {
        self.open.values_mut()
    }

    /// Number of read-only and of read-write sessions.
    pub(crate) fn count(&self) -> (usize, usize) {
        let read_write = self.open.values().filter(|session| session.read_write).count();
        (self.open.len() - read_write, read_write)
    }
}
