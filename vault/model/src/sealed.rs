//! Opaque bytes that may leave the strongroom: sealed secrets, wrapped keys and, once, a released login.
//! This room cannot look inside any of them.

/// A secret field sealed for rest (envelope v1). Safe to store with ciphertexts, useless without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret(Vec<u8>);

/// A key wrapped by its parent in the key tree. Safe to store with the keyring, useless without the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

macro_rules! opaque {
    ($name:ident) => {
        impl $name {
            /// Takes bytes as they came from the envelope or a store.
            #[must_use]
            pub fn from_bytes(bytes: Vec<u8>) -> Self {
                Self(bytes)
            }

            /// The bytes, to be stored or opened.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }
    };
}
opaque!(SealedSecret);
opaque!(WrappedKey);

/// What leaves to a worker: an HPKE encapsulation and a ciphertext only that worker's key opens (RFC 9180).
#[must_use = "a release that is not sent is an outcome to record"]
#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    /// The encapsulated key of the HPKE context.
    pub encapsulated_key: Vec<u8>,
    /// The sealed answer.
    pub ciphertext: Vec<u8>,
}
