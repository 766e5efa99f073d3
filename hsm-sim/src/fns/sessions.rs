//! Opening, closing and describing sessions, and the random generator, which needs nothing but a session.

use cryptoki_sys::*;

use super::slots;
use crate::crypto;
use crate::rv::{Answer, fail};
use crate::sim::{SLOT, Sim};
use crate::token::Role;

pub(crate) fn open(sim: &mut Sim, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Answer<CK_SESSION_HANDLE> {
    slots::check(slot)?;
    if flags & CKF_SERIAL_SESSION == 0 {
        return fail(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
    }
    sim.reload_token()?;
    sim.token()?;
    let read_write = flags & CKF_RW_SESSION != 0;
    if !read_write && sim.role() == Some(Role::So) {
        return fail(CKR_SESSION_READ_WRITE_SO_EXISTS);
    }
    let (ro, rw) = sim.sessions.count();
    if sim.faults.quirks().max_sessions.is_some_and(|max| ro + rw >= max) {
        return fail(CKR_SESSION_COUNT);
    }
    Ok(sim.sessions.open(read_write))
}

pub(crate) fn close_all(sim: &mut Sim, slot: CK_SLOT_ID) -> Answer {
    slots::check(slot)?;
    sim.close_everything();
    Ok(())
}

pub(crate) fn info(sim: &Sim, session: CK_SESSION_HANDLE) -> Answer<CK_SESSION_INFO> {
    let read_write = sim.sessions.at(session)?.read_write;
    let state = match (sim.role(), read_write) {
        (None, false) => CKS_RO_PUBLIC_SESSION,
        (None, true) => CKS_RW_PUBLIC_SESSION,
        (Some(Role::User), false) => CKS_RO_USER_FUNCTIONS,
        (Some(Role::User), true) => CKS_RW_USER_FUNCTIONS,
        (Some(Role::So), _) => CKS_RW_SO_FUNCTIONS,
    };
    let flags = CKF_SERIAL_SESSION | if read_write { CKF_RW_SESSION } else { 0 };
    Ok(CK_SESSION_INFO { slotID: SLOT, state, flags, ulDeviceError: 0 })
}

pub(crate) fn random(sim: &Sim, session: CK_SESSION_HANDLE, len: usize) -> Answer<Vec<u8>> {
    /// More than anybody needs in one call, less than harms the process.
    const MOST: usize = 1 << 20;
    sim.sessions.at(session)?;
    if len > MOST {
        return fail(CKR_ARGUMENTS_BAD);
    }
    let mut bytes = vec![0; len];
    crypto::random(&mut bytes)?;
    Ok(bytes)
}

/// The generator takes no seed from outside.
pub(crate) fn seed_random(sim: &Sim, session: CK_SESSION_HANDLE) -> Answer {
    sim.sessions.at(session)?;
    fail(CKR_RANDOM_SEED_NOT_SUPPORTED)
}
