//! For tests only: a clock that moves by hand, a certificate authority, fixture institutions, throw-away tokens and a throw-away PostgreSQL. Never shipped.

pub mod ca;
pub mod clock;
pub mod hsm;
pub mod institutions;
pub mod logins;
pub mod postgres;
pub mod stores;
