//! For tests only: a clock that moves by hand, a certificate authority, fixture institutions and throw-away tokens. Never shipped.

pub mod ca;
pub mod clock;
pub mod hsm;
pub mod institutions;
pub mod logins;
pub mod stores;
