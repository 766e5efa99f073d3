//! Finding objects by attributes.

use cryptoki_sys::*;

use crate::object::template::Template;
use crate::rv::{Answer, Rv, fail};
use crate::sim::Sim;

pub(crate) fn begin(sim: &mut Sim, session: CK_SESSION_HANDLE, wanted: &Template) -> Answer {
    if sim.sessions.at(session)?.search.is_some() {
        return fail(CKR_OPERATION_ACTIVE);
    }
    sim.refresh_objects()?;
    let found = sim.objects.matching(wanted);
    sim.sessions.at_mut(session)?.search = Some(found.into());
    Ok(())
}

/// Up to `most` further handles; an empty answer is the end.
pub(crate) fn next(sim: &mut Sim, session: CK_SESSION_HANDLE, most: usize) -> Answer<Vec<CK_OBJECT_HANDLE>> {
    let search = sim.sessions.at_mut(session)?.search.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
    let count = most.min(search.len());
    Ok(search.drain(..count).collect())
}

pub(crate) fn end(sim: &mut Sim, session: CK_SESSION_HANDLE) -> Answer {
    let search = sim.sessions.at_mut(session)?.search.take();
    search.map(drop).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
}
