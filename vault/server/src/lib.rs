//! The process `cofred`: configuration, wiring, clocks, telemetry and shutdown. It makes the one mint and the one set
//! of keys of a process and hands each use case only what it may use. Nothing is decided here.

pub mod ceremony;
pub mod clock;
pub mod config;
pub mod exits;
pub mod migrate;
pub mod node;
pub mod telemetry;

mod duties;
mod identity;
mod journal;
mod ready;
mod refusals;
mod wiring;
