//! For tests only: a clock that moves by hand, a certificate authority, fixture institutions, throw-away tokens and a
//! throw-away PostgreSQL, custodians in memory, a key management service on loopback and two of other makes, stores filled in
//! bulk. Never shipped.

pub mod administrator;
pub mod ca;
pub mod clock;
pub mod custody;
pub mod disks;
pub mod hsm;
pub mod institutions;
pub mod kms;
pub mod logins;
pub mod peers;
pub mod postgres;
pub mod seed;
pub mod stores;
