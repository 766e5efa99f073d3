//! The demo worker: what runs in the sandbox, once for each login.

pub mod bank;
