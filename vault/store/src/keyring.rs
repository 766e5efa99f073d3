//! The keyring: wrapped keys by level of the key tree, tombstones of what was destroyed, and the integrator's
//! compare-and-swap row. Nothing here opens without a custodian; nothing destroyed here is ever put again.

pub(crate) mod carried;
pub(crate) mod claims;
pub(crate) mod closing;
pub(crate) mod deposit_keys;
pub(crate) mod integrator;
pub(crate) mod moves;
pub(crate) mod outlived;
pub(crate) mod retiring;
pub(crate) mod subject_keys;
pub(crate) mod tenant_keys;
pub(crate) mod wrappings;

use crate::engine::Engine;

/// The keyring store. Clones share it.
#[derive(Debug, Clone)]
pub struct Keyring {
    engine: Engine,
}

impl Keyring {
    pub(crate) const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }
}
