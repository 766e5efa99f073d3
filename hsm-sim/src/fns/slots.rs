//! Library, slot, token and mechanism information, and `C_InitToken`.

use cryptoki_sys::*;

use crate::rv::{Answer, fail};
use crate::sim::{SLOT, Sim};
use crate::token::{Role, Token};
use crate::{MANUFACTURER, MODEL};

const LIBRARY_VERSION: CK_VERSION = CK_VERSION { major: 0, minor: 1 };
const CRYPTOKI_VERSION: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
/// Bounds of a PIN in bytes.
pub(crate) const PIN_LEN: std::ops::RangeInclusive<usize> = 4..=64;

/// Text in a fixed field, padded with blanks and never ended by a zero (2.40, 3.1). Cut at a character.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, from) in field.iter_mut().zip(text.as_bytes().iter().take(end)) {
        *to = *from;
    }
    field
}

/// # Errors
/// `CKR_SLOT_ID_INVALID`.
pub(crate) fn check(slot: CK_SLOT_ID) -> Answer {
    if slot == SLOT { Ok(()) } else { fail(CKR_SLOT_ID_INVALID) }
}

pub(crate) fn library() -> CK_INFO {
    CK_INFO {
        cryptokiVersion: CRYPTOKI_VERSION,
        manufacturerID: padded(MANUFACTURER),
        flags: 0,
        libraryDescription: padded("for development only"),
        libraryVersion: LIBRARY_VERSION,
    }
}

pub(crate) fn list(sim: &Sim, with_token: bool) -> Vec<CK_SLOT_ID> {
    if with_token && !sim.present { Vec::new() } else { vec![SLOT] }
}

pub(crate) fn slot(sim: &Sim, slot: CK_SLOT_ID) -> Answer<CK_SLOT_INFO> {
    check(slot)?;
    Ok(CK_SLOT_INFO {
        slotDescription: padded("Cofre hsm-sim slot, for development only"),
        manufacturerID: padded(MANUFACTURER),
        flags: CKF_REMOVABLE_DEVICE | if sim.present { CKF_TOKEN_PRESENT } else { 0 },
        hardwareVersion: LIBRARY_VERSION,
        firmwareVersion: LIBRARY_VERSION,
    })
}

pub(crate) fn token(sim: &mut Sim, slot: CK_SLOT_ID) -> Answer<CK_TOKEN_INFO> {
    check(slot)?;
    sim.reload_token()?;
    let mut flags = CKF_RNG | CKF_LOGIN_REQUIRED;
    let (mut label, mut serial) = ("", "");
    if let Some(token) = &sim.token {
        flags |= CKF_TOKEN_INITIALIZED | token.pin_flags();
        (label, serial) = (token.label(), token.serial());
    }
    let (read_only, read_write) = sim.sessions.count();
    let max_sessions = sim.faults.quirks().max_sessions.map_or(CK_EFFECTIVELY_INFINITE, |max| max as CK_ULONG);
    Ok(CK_TOKEN_INFO {
        label: padded(label),
        manufacturerID: padded(MANUFACTURER),
        model: padded(MODEL),
        serialNumber: padded(serial),
        flags,
        ulMaxSessionCount: max_sessions,
        ulSessionCount: (read_only + read_write) as CK_ULONG,
        ulMaxRwSessionCount: max_sessions,
        ulRwSessionCount: read_write as CK_ULONG,
        ulMaxPinLen: *PIN_LEN.end() as CK_ULONG,
        ulMinPinLen: *PIN_LEN.start() as CK_ULONG,
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: LIBRARY_VERSION,
        firmwareVersion: LIBRARY_VERSION,
        utcTime: padded(""),
    })
}

/// Makes the token anew and destroys what was on it. A token that exists asks for its SO PIN, and counts wrong ones.
pub(crate) fn init_token(sim: &mut Sim, slot: CK_SLOT_ID, so_pin: &[u8], label: &[u8; 32]) -> Answer {
    check(slot)?;
    if sim.sessions.count() != (0, 0) {
        return fail(CKR_SESSION_EXISTS);
    }
    if !PIN_LEN.contains(&so_pin.len()) {
        return fail(CKR_PIN_LEN_RANGE);
    }
    let Ok(label) = std::str::from_utf8(label) else { return fail(CKR_ARGUMENTS_BAD) };
    let held = sim.folder.hold()?;
    if let Some(mut old) = Token::load(&sim.folder)? {
        old.try_pin(&held, Role::So, so_pin)?;
    }
    let token = Token::create(&held, label.trim_end(), so_pin)?;
    token.sweep(&held)?;
    drop(held);
    sim.close_everything();
    sim.token = Some(token);
    Ok(())
}
