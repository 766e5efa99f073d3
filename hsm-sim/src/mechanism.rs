//! The mechanisms of this token: their parameters as owned values, and what `C_GetMechanismInfo` says of them.

use cryptoki_sys::*;

use crate::crypto::NONCE_LEN;
use crate::rv::{Answer, Rv};
use crate::session::Kind;

/// A mechanism with its parameters, copied from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    AesKeyGen,
    EcKeyPairGen,
    EdwardsKeyPairGen,
    /// AES-GCM with a 96-bit nonce of the caller and a 128-bit tag.
    AesGcm {
        nonce: [u8; NONCE_LEN],
        aad: Vec<u8>,
    },
    /// RFC 5649, under the number 0x210B.
    AesKwp,
    /// ECDSA over a digest of the caller.
    Ecdsa,
    EcdsaSha256,
    /// Pure Ed25519.
    Eddsa,
}

impl Mechanism {
    /// Class, key type and usage flag that a key must have for this operation; `None` when the mechanism cannot do it.
    pub(crate) fn demands(&self, kind: Kind) -> Option<(CK_OBJECT_CLASS, CK_KEY_TYPE, CK_ATTRIBUTE_TYPE)> {
        let curve = match self {
            Self::Ecdsa | Self::EcdsaSha256 => Some(CKK_EC),
            Self::Eddsa => Some(CKK_EC_EDWARDS),
            _ => None,
        };
        match (self, kind, curve) {
            (Self::AesGcm { .. }, Kind::Encrypt, _) => Some((CKO_SECRET_KEY, CKK_AES, CKA_ENCRYPT)),
            (Self::AesGcm { .. }, Kind::Decrypt, _) => Some((CKO_SECRET_KEY, CKK_AES, CKA_DECRYPT)),
            (_, Kind::Sign, Some(key_type)) => Some((CKO_PRIVATE_KEY, key_type, CKA_SIGN)),
            (_, Kind::Verify, Some(key_type)) => Some((CKO_PUBLIC_KEY, key_type, CKA_VERIFY)),
            _ => None,
        }
    }
}

const CURVE: CK_FLAGS = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;

/// Number, smallest and largest key (bytes for AES, bits for curves), abilities.
const TABLE: &[(CK_MECHANISM_TYPE, CK_ULONG, CK_ULONG, CK_FLAGS)] = &[
    (CKM_AES_KEY_GEN, 32, 32, CKF_GENERATE),
    (CKM_AES_GCM, 32, 32, CKF_ENCRYPT | CKF_DECRYPT),
    (CKM_AES_KEY_WRAP_KWP, 32, 32, CKF_WRAP | CKF_UNWRAP),
    (CKM_EC_KEY_PAIR_GEN, 256, 256, CKF_GENERATE_KEY_PAIR | CURVE),
    (CKM_ECDSA, 256, 256, CKF_SIGN | CKF_VERIFY | CURVE),
    (CKM_ECDSA_SHA256, 256, 256, CKF_SIGN | CKF_VERIFY | CURVE),
    (CKM_EC_EDWARDS_KEY_PAIR_GEN, 255, 255, CKF_GENERATE_KEY_PAIR | CKF_EC_NAMEDCURVE),
    (CKM_EDDSA, 255, 255, CKF_SIGN | CKF_VERIFY | CKF_EC_NAMEDCURVE),
];

/// Numbers of all mechanisms.
pub(crate) fn all() -> Vec<CK_MECHANISM_TYPE> {
    TABLE.iter().map(|(number, ..)| *number).collect()
}

/// # Errors
/// `CKR_MECHANISM_INVALID` for one that this token does not have.
pub(crate) fn info(wanted: CK_MECHANISM_TYPE) -> Answer<CK_MECHANISM_INFO> {
    let found = TABLE.iter().find(|(number, ..)| *number == wanted);
    let (_, min, max, flags) = found.ok_or(Rv(CKR_MECHANISM_INVALID))?;
    Ok(CK_MECHANISM_INFO { ulMinKeySize: *min, ulMaxKeySize: *max, flags: *flags })
}
