//! C pointers become owned Rust values here, and results become C memory. Everything that comes in is copied, because
//! the standard lets input and output buffers overlap.
#![expect(unsafe_code, reason = "the C side hands over raw pointers; this file turns them into values")]

use cryptoki_sys::*;

use crate::crypto::{NONCE_LEN, Secret, TAG_LEN};
use crate::guard::Ending;
use crate::mechanism::Mechanism;
use crate::object::template::Template;
use crate::rv::{Answer, Rv, fail};

/// More than any sensible request; a length beyond it is a mistake of the caller, not a wish for memory.
const MOST: usize = 64 << 20;

fn length(len: CK_ULONG) -> Answer<usize> {
    usize::try_from(len).ok().filter(|len| *len <= MOST).ok_or(Rv(CKR_ARGUMENTS_BAD))
}

/// A copy of an input buffer, wiped when dropped. NULL is fine for a length of zero.
///
/// # Safety
/// A non-NULL `data` must be readable for `len` bytes.
pub(super) unsafe fn bytes(data: *const u8, len: CK_ULONG) -> Answer<Secret> {
    let len = length(len)?;
    if len == 0 {
        return Ok(Secret::default());
    }
    if data.is_null() {
        return fail(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not NULL, and readable for `len` bytes as the caller of this function promises.
    Ok(Secret::new(unsafe { std::slice::from_raw_parts(data, len) }.to_vec()))
}

/// A copy of a fixed-size structure.
///
/// # Safety
/// A non-NULL `from` must point to a `T`.
unsafe fn copy<T: Copy>(from: *const T) -> Answer<T> {
    if from.is_null() {
        return fail(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not NULL, and a `T` as the caller promises; C callers need not align what they took from a byte buffer.
    Ok(unsafe { from.read_unaligned() })
}

/// A place for one value, found to be there before any work is done.
#[derive(Clone, Copy)]
pub(super) struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    /// # Safety
    /// A non-NULL `to` must be writable for a `T` until [`Self::put`].
    pub(super) unsafe fn at(to: *mut T) -> Answer<Self> {
        if to.is_null() { fail(CKR_ARGUMENTS_BAD) } else { Ok(Self(to)) }
    }

    pub(super) fn put(self, value: T) {
        // SAFETY: not NULL and writable, by the contract of `at`.
        unsafe { self.0.write_unaligned(value) }
    }
}

/// An output buffer of the two-call convention (2.40, 5.2).
pub(crate) struct Output<T> {
    buffer: *mut T,
    len: *mut CK_ULONG,
}

impl<T: Copy> Output<T> {
    /// # Safety
    /// A non-NULL `len` must point to a length, and a non-NULL `buffer` be writable for that many `T`.
    pub(super) unsafe fn over(buffer: *mut T, len: *mut CK_ULONG) -> Answer<Self> {
        if len.is_null() { fail(CKR_ARGUMENTS_BAD) } else { Ok(Self { buffer, len }) }
    }

    /// The one place of the length convention. `needed` is the exact length of what `make` will answer, or a bound;
    /// `make` runs only when the buffer is large enough.
    ///
    /// # Errors
    /// `CKR_BUFFER_TOO_SMALL` with the length needed written; what `make` answers.
    pub(crate) fn emit(self, needed: usize, make: impl FnOnce() -> Answer<zeroize::Zeroizing<Vec<T>>>) -> Answer<Ending>
    where
        T: zeroize::Zeroize,
    {
        // SAFETY: `len` points to a length, by the contract of `over`.
        let room = unsafe { self.len.read_unaligned() };
        if self.buffer.is_null() || room < needed as CK_ULONG {
            // SAFETY: as above.
            unsafe { self.len.write_unaligned(needed as CK_ULONG) };
            return if self.buffer.is_null() { Ok(Ending::Kept) } else { fail(CKR_BUFFER_TOO_SMALL) };
        }
        let made = make()?;
        if made.len() > needed {
            return fail(CKR_GENERAL_ERROR);
        }
        // SAFETY: `buffer` has room for `room >= needed >= made.len()` values, and `made` is memory of our own.
        unsafe {
            std::ptr::copy_nonoverlapping(made.as_ptr(), self.buffer, made.len());
            self.len.write_unaligned(made.len() as CK_ULONG);
        }
        Ok(Ending::Ended)
    }
}

/// Fills a caller's buffer whole, as `C_GenerateRandom` does.
///
/// # Safety
/// A non-NULL `to` must be writable for `values.len()` values.
pub(super) unsafe fn fill<T: Copy>(to: *mut T, values: &[T]) -> Answer {
    if values.is_empty() {
        return Ok(());
    }
    if to.is_null() {
        return fail(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not NULL, writable for that many values by contract, and `values` is memory of our own.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
    Ok(())
}

/// The attributes of a template, with copies of their values.
///
/// # Safety
/// A non-NULL `attributes` must hold `count` attributes, each with a value of its stated length.
pub(super) unsafe fn template(attributes: *const CK_ATTRIBUTE, count: CK_ULONG) -> Answer<Template> {
    let mut template = Template::new();
    for index in 0..length(count)? {
        if attributes.is_null() {
            return fail(CKR_ARGUMENTS_BAD);
        }
        // SAFETY: the index is below `count`, and each attribute vouches for its own value.
        let (kind, value) = unsafe {
            let attribute = attributes.add(index).read_unaligned();
            (attribute.type_, bytes(attribute.pValue.cast(), attribute.ulValueLen)?)
        };
        template.push((kind, value.to_vec()));
    }
    Ok(template)
}

/// A mechanism with its parameters.
///
/// # Safety
/// A non-NULL `mechanism` must point to a mechanism whose parameter is the structure its type demands.
pub(super) unsafe fn mechanism(mechanism: *const CK_MECHANISM) -> Answer<Mechanism> {
    // SAFETY: a mechanism, by contract.
    let given = unsafe { copy(mechanism)? };
    let bare = given.ulParameterLen == 0;
    match given.mechanism {
        // SAFETY: the parameter is as long as it says, by contract.
        CKM_AES_GCM => unsafe { gcm(&given) },
        // SAFETY: as above.
        CKM_EDDSA => unsafe { eddsa(&given) },
        CKM_AES_KEY_GEN if bare => Ok(Mechanism::AesKeyGen),
        CKM_EC_KEY_PAIR_GEN if bare => Ok(Mechanism::EcKeyPairGen),
        CKM_EC_EDWARDS_KEY_PAIR_GEN if bare => Ok(Mechanism::EdwardsKeyPairGen),
        CKM_AES_KEY_WRAP_KWP if bare => Ok(Mechanism::AesKwp),
        CKM_ECDSA if bare => Ok(Mechanism::Ecdsa),
        CKM_ECDSA_SHA256 if bare => Ok(Mechanism::EcdsaSha256),
        known if crate::mechanism::info(known).is_ok() => fail(CKR_MECHANISM_PARAM_INVALID),
        _ => fail(CKR_MECHANISM_INVALID),
    }
}

/// # Safety
/// A non-NULL parameter must be readable for its length.
unsafe fn parameter<T: Copy>(given: &CK_MECHANISM) -> Answer<T> {
    if given.ulParameterLen != size_of::<T>() as CK_ULONG {
        return fail(CKR_MECHANISM_PARAM_INVALID);
    }
    // SAFETY: as long as a `T`, and readable by contract.
    unsafe { copy(given.pParameter.cast_const().cast()) }
}

/// # Safety
/// The parameter must be a `CK_GCM_PARAMS` whose buffers are as long as it says.
unsafe fn gcm(given: &CK_MECHANISM) -> Answer<Mechanism> {
    // SAFETY: by contract.
    let (iv, aad, tag_bits) = unsafe {
        let params: CK_GCM_PARAMS = parameter(given)?;
        (bytes(params.pIv, params.ulIvLen)?, bytes(params.pAAD, params.ulAADLen)?, params.ulTagBits)
    };
    let nonce: [u8; NONCE_LEN] = iv.as_slice().try_into().or(fail(CKR_MECHANISM_PARAM_INVALID))?;
    if tag_bits != (TAG_LEN * 8) as CK_ULONG {
        return fail(CKR_MECHANISM_PARAM_INVALID);
    }
    Ok(Mechanism::AesGcm { nonce, aad: aad.to_vec() })
}

/// # Safety
/// The parameter must be absent or a `CK_EDDSA_PARAMS`.
unsafe fn eddsa(given: &CK_MECHANISM) -> Answer<Mechanism> {
    if given.ulParameterLen == 0 {
        return Ok(Mechanism::Eddsa);
    }
    // SAFETY: by contract.
    let params: CK_EDDSA_PARAMS = unsafe { parameter(given)? };
    // Pure Ed25519 only: no pre-hash, no context.
    if params.phFlag != CK_FALSE || params.ulContextDataLen != 0 {
        return fail(CKR_MECHANISM_PARAM_INVALID);
    }
    Ok(Mechanism::Eddsa)
}

/// Writes one attribute of `C_GetAttributeValue` and answers the code it contributes.
///
/// # Safety
/// `attribute` must point to an attribute whose non-NULL value is writable for its length.
pub(super) unsafe fn put_attribute(attribute: *mut CK_ATTRIBUTE, value: Answer<Secret>) -> Answer {
    // SAFETY: by contract.
    let mut given = unsafe { copy(attribute)? };
    let outcome = match value {
        Ok(value) if given.pValue.is_null() => {
            given.ulValueLen = value.len() as CK_ULONG;
            Ok(())
        }
        Ok(value) if given.ulValueLen >= value.len() as CK_ULONG => {
            given.ulValueLen = value.len() as CK_ULONG;
            // SAFETY: writable for at least `value.len()` bytes.
            unsafe { fill(given.pValue.cast(), &value) }
        }
        refused => {
            given.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            refused.and(fail(CKR_BUFFER_TOO_SMALL))
        }
    };
    // SAFETY: by contract.
    unsafe { attribute.write_unaligned(given) };
    outcome
}

/// What `C_Initialize` may be told: nothing, or that the system's locks are fine.
///
/// # Safety
/// A non-NULL `args` must point to a `CK_C_INITIALIZE_ARGS`.
pub(super) unsafe fn check_initialize_args(args: *const CK_C_INITIALIZE_ARGS) -> Answer {
    if args.is_null() {
        return Ok(());
    }
    // SAFETY: by contract.
    let args = unsafe { copy(args)? };
    let given =
        [args.CreateMutex.is_some(), args.DestroyMutex.is_some(), args.LockMutex.is_some(), args.UnlockMutex.is_some()];
    let (all, any) = (!given.contains(&false), given.contains(&true));
    if !args.pReserved.is_null() || any != all {
        return fail(CKR_ARGUMENTS_BAD);
    }
    // The caller's own locks are never called.
    if all && args.flags & CKF_OS_LOCKING_OK == 0 { fail(CKR_CANT_LOCK) } else { Ok(()) }
}
