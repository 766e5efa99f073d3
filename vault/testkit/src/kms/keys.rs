//! The keys behind the peer: made here, used here, never shown. AES-256-GCM, Ed25519 and ECDSA P-256, each of another
//! make than the vault's own; versions with a state each.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::Refusal;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// AES-256-GCM.
    Aes,
    /// AES-256-GCM under a key derived from a context, which transit alone offers.
    Derived,
    /// Signs, RFC 8032.
    Ed25519,
    /// Signs, ECDSA over SHA-256.
    P256,
}

/// What may be done with a version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Enabled,
    /// It is there and does not serve.
    Disabled,
    /// It will be destroyed; until then it can be had back.
    PendingDeletion,
    /// It is gone.
    Destroyed,
}

enum Secret {
    Aes([u8; 32]),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

struct Version {
    secret: Secret,
    state: State,
}

pub(super) struct Key {
    pub(super) kind: Kind,
    /// Whether the service would hand it out; transit alone can.
    pub(super) exportable: bool,
    versions: Vec<Version>,
}

/// What is signed.
pub(super) enum Signed<'a> {
    Message(&'a [u8]),
    /// A SHA-256 digest.
    Digest(&'a [u8]),
}

#[derive(Default)]
pub(super) struct Keys(pub(super) BTreeMap<String, Key>);

impl Keys {
    /// A key with one version.
    pub(super) fn make(&mut self, name: &str, kind: Kind) -> Result<()> {
        let versions = vec![Version::fresh(kind)?];
        self.0.insert(name.to_owned(), Key { kind, exportable: false, versions });
        Ok(())
    }

    /// One version more, which serves from now on.
    pub(super) fn rotate(&mut self, name: &str) -> Result<u32> {
        let key = self.0.get_mut(name).with_context(|| format!("no key {name}"))?;
        key.versions.push(Version::fresh(key.kind)?);
        Ok(key.latest())
    }

    pub(super) fn set(&mut self, name: &str, version: Option<u32>, state: State) -> Result<()> {
        let key = self.0.get_mut(name).with_context(|| format!("no key {name}"))?;
        for (number, held) in (1..).zip(&mut key.versions) {
            if version.is_none_or(|wanted| wanted == number) {
                held.state = state;
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Result<&Key, Refusal> {
        self.0.get(name).ok_or(Refusal::NoSuchKey)
    }

    /// nonce ‖ ciphertext ‖ tag under the newest version, or the one that is named.
    pub(super) fn seal(&self, name: &str, derive: &[u8], aad: &[u8], plain: &[u8]) -> Result<(u32, Vec<u8>), Refusal> {
        let key = self.get(name)?;
        let version = key.latest();
        let cipher = key.cipher(version, derive)?;
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce).map_err(|_| Refusal::Broken)?;
        let mut body = plain.to_vec();
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
            .map_err(|_| Refusal::Broken)?;
        Ok((version, [&nonce[..], &body].concat()))
    }

    pub(super) fn open(
        &self,
        name: &str,
        version: u32,
        derive: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let cipher = self.get(name)?.cipher(version, derive)?;
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Refusal::Unopened)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = cipher.open_in_place(nonce, Aad::from(aad), &mut body).map_err(|_| Refusal::Unopened)?;
        Ok(plain.to_vec())
    }

    /// A signature: 64 bytes of Ed25519, or DER of r and s.
    pub(super) fn sign(&self, name: &str, version: u32, what: &Signed<'_>) -> Result<Vec<u8>, Refusal> {
        match (self.get(name)?.usable(version)?, what) {
            (Secret::Ed25519(pair), Signed::Message(message)) => Ok(pair.sign(message).as_ref().to_vec()),
            (Secret::P256(pair), Signed::Message(message)) => {
                pair.sign(&SystemRandom::new(), message).map(|made| made.as_ref().to_vec()).map_err(|_| Refusal::Broken)
            }
            (Secret::P256(pair), Signed::Digest(digest)) => {
                let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| Refusal::Malformed("digest"))?;
                pair.sign_digest(&digest).map(|made| made.as_ref().to_vec()).map_err(|_| Refusal::Broken)
            }
            _ => Err(Refusal::Usage),
        }
    }

    /// The public half: as the point or the 32 bytes, and as DER of a SubjectPublicKeyInfo.
    pub(super) fn public(&self, name: &str, version: u32) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
        let der = |key: Result<PublicKeyX509Der<'static>, _>| key.map(|der| der.as_ref().to_vec());
        let (bare, der) = match self.get(name)?.usable(version)? {
            Secret::Ed25519(pair) => (pair.public_key().as_ref().to_vec(), der(pair.public_key().as_der())),
            Secret::P256(pair) => (pair.public_key().as_ref().to_vec(), der(pair.public_key().as_der())),
            Secret::Aes(_) => return Err(Refusal::Usage),
        };
        Ok((bare, der.map_err(|_: aws_lc_rs::error::Unspecified| Refusal::Broken)?))
    }
}

impl Key {
    pub(super) fn latest(&self) -> u32 {
        u32::try_from(self.versions.len()).unwrap_or(u32::MAX)
    }

    fn version(&self, number: u32) -> Result<&Version, Refusal> {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        place.and_then(|place| self.versions.get(place)).ok_or(Refusal::NoSuchVersion)
    }

    pub(super) fn state(&self, number: u32) -> Result<State, Refusal> {
        self.version(number).map(|version| version.state)
    }

    /// The state that all versions share, as a service says it that knows one state only.
    pub(super) fn states(&self) -> impl Iterator<Item = State> {
        self.versions.iter().map(|version| version.state)
    }

    fn usable(&self, number: u32) -> Result<&Secret, Refusal> {
        let version = self.version(number)?;
        if version.state == State::Enabled { Ok(&version.secret) } else { Err(Refusal::State(version.state)) }
    }

    fn cipher(&self, version: u32, derive: &[u8]) -> Result<LessSafeKey, Refusal> {
        let Secret::Aes(key) = self.usable(version)? else { return Err(Refusal::Usage) };
        let key = match self.kind {
            Kind::Derived => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), derive).as_ref().to_vec(),
            _ => key.to_vec(),
        };
        UnboundKey::new(&AES_256_GCM, &key).map(LessSafeKey::new).map_err(|_| Refusal::Broken)
    }
}

impl Version {
    fn fresh(kind: Kind) -> Result<Self> {
        let secret = match kind {
            Kind::Aes | Kind::Derived => {
                let mut key = [0; 32];
                fill(&mut key)?;
                Secret::Aes(key)
            }
            Kind::Ed25519 => Secret::Ed25519(Ed25519KeyPair::generate()?),
            Kind::P256 => Secret::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?),
        };
        Ok(Self { secret, state: State::Enabled })
    }
}
