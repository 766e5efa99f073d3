//! Objects in memory: attributes, the secret part, and the table of handles. Rules on what a template may say are in
//! `template`; who may see an object is decided in `sim`.

pub(crate) mod template;

use std::collections::BTreeMap;

use cryptoki_sys::*;

use crate::crypto::Secret;
use crate::rv::{Answer, Rv, fail};
use crate::token::ObjectId;

/// Attributes by type, in ascending order. Never holds `CKA_VALUE`: that is the secret part.
#[derive(Clone, Default)]
pub(crate) struct Attributes(BTreeMap<CK_ATTRIBUTE_TYPE, Vec<u8>>);

impl Attributes {
    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (CK_ATTRIBUTE_TYPE, Vec<u8>)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &[u8])> {
        self.0.iter().map(|(cka, value)| (*cka, value.as_slice()))
    }

    pub(crate) fn value(&self, cka: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.get(&cka).map(Vec::as_slice)
    }

    /// A missing flag is false.
    pub(crate) fn flag(&self, cka: CK_ATTRIBUTE_TYPE) -> bool {
        self.value(cka).is_some_and(|value| value == [CK_TRUE])
    }

    pub(crate) fn number(&self, cka: CK_ATTRIBUTE_TYPE) -> Option<CK_ULONG> {
        Some(CK_ULONG::from_ne_bytes(self.value(cka)?.try_into().ok()?))
    }

    pub(crate) fn set(&mut self, cka: CK_ATTRIBUTE_TYPE, value: &[u8]) {
        self.0.insert(cka, value.to_vec());
    }

    pub(crate) fn set_flag(&mut self, cka: CK_ATTRIBUTE_TYPE, value: bool) {
        self.set(cka, &[if value { CK_TRUE } else { CK_FALSE }]);
    }

    pub(crate) fn set_number(&mut self, cka: CK_ATTRIBUTE_TYPE, value: CK_ULONG) {
        self.set(cka, &value.to_ne_bytes());
    }

    /// Sets an attribute that the template left out.
    pub(crate) fn or_set(&mut self, cka: CK_ATTRIBUTE_TYPE, value: &[u8]) {
        self.0.entry(cka).or_insert_with(|| value.to_vec());
    }

    /// Whether every pair of a search template is here with just this value.
    pub(crate) fn include(&self, wanted: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> bool {
        wanted.iter().all(|(cka, value)| self.value(*cka) == Some(value))
    }
}

/// Where an object lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// On disk, under this id.
    Token(ObjectId),
    /// In memory, until this session closes.
    Session(CK_SESSION_HANDLE),
}

/// An object with its secret part opened (empty for a public object).
pub(crate) struct Object {
    pub(crate) attributes: Attributes,
    pub(crate) secret: Secret,
    pub(crate) home: Home,
}

impl Object {
    pub(crate) fn class(&self) -> Option<CK_OBJECT_CLASS> {
        self.attributes.number(CKA_CLASS)
    }

    pub(crate) fn key_type(&self) -> Option<CK_KEY_TYPE> {
        self.attributes.number(CKA_KEY_TYPE)
    }

    pub(crate) fn private(&self) -> bool {
        self.attributes.flag(CKA_PRIVATE)
    }

    /// Whether `CKA_VALUE` may leave the token in clear.
    pub(crate) fn readable(&self) -> bool {
        !self.attributes.flag(CKA_SENSITIVE) && self.attributes.flag(CKA_EXTRACTABLE)
    }

    /// The public point without its DER OCTET STRING header.
    pub(crate) fn point(&self) -> Answer<&[u8]> {
        self.attributes.value(CKA_EC_POINT).and_then(octet_string_body).ok_or(Rv(CKR_KEY_TYPE_INCONSISTENT))
    }
}

/// DER OCTET STRING around fewer than 128 bytes.
pub(crate) fn octet_string(body: &[u8]) -> Vec<u8> {
    // INVARIANT: bodies are public points of 32 or 65 bytes, so the short form of a length suffices.
    let mut der = vec![0x04, u8::try_from(body.len()).unwrap_or(u8::MAX)];
    der.extend_from_slice(body);
    der
}

/// The reverse of [`octet_string`].
pub(crate) fn octet_string_body(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x04, len, body @ ..] if usize::from(*len) == body.len() => Some(body),
        _ => None,
    }
}

/// All objects the application may see now, by handle.
#[derive(Default)]
pub(crate) struct Objects {
    by_handle: BTreeMap<CK_OBJECT_HANDLE, Object>,
    /// A token object keeps its handle while the module stays initialised, also across logins.
    handles: BTreeMap<ObjectId, CK_OBJECT_HANDLE>,
    last: CK_OBJECT_HANDLE,
}

impl Objects {
    pub(crate) fn add(&mut self, object: Object) -> CK_OBJECT_HANDLE {
        let known = match object.home {
            Home::Token(id) => self.handles.get(&id).copied(),
            Home::Session(_) => None,
        };
        let handle = known.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        if let Home::Token(id) = object.home {
            self.handles.insert(id, handle);
        }
        self.by_handle.insert(handle, object);
        handle
    }

    pub(crate) fn at(&self, handle: CK_OBJECT_HANDLE) -> Answer<&Object> {
        self.by_handle.get(&handle).ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))
    }

    pub(crate) fn has(&self, id: ObjectId) -> bool {
        self.handles.get(&id).is_some_and(|handle| self.by_handle.contains_key(handle))
    }

    pub(crate) fn replace(&mut self, handle: CK_OBJECT_HANDLE, attributes: Attributes) -> Answer {
        match self.by_handle.get_mut(&handle) {
            Some(object) => {
                object.attributes = attributes;
                Ok(())
            }
            None => fail(CKR_OBJECT_HANDLE_INVALID),
        }
    }

    pub(crate) fn remove(&mut self, handle: CK_OBJECT_HANDLE) {
        self.by_handle.remove(&handle);
    }

    /// Keeps the objects that `keep` wants; the secrets of the others are wiped by their drop.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Object) -> bool) {
        self.by_handle.retain(|_, object| keep(object));
    }

    pub(crate) fn matching(&self, wanted: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> Vec<CK_OBJECT_HANDLE> {
        let found = self.by_handle.iter().filter(|(_, object)| object.attributes.include(wanted));
        found.map(|(handle, _)| *handle).collect()
    }
}
