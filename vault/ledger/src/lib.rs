//! The register, pure: entry encoding, RFC 6962 tree, signed notes, checkpoints, proofs and offline verification.
//!
//! Every format here is a public standard as it stands, or is written byte by byte in `docs/formats.md`. Nothing in
//! this room reads a clock, draws randomness, opens a file or a socket, or meets a secret: what is to be signed is
//! handed to a closure, and what is to be read comes from a reader the caller brings.

pub mod ceremony;
pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod jws;
pub mod note;
pub mod promise;
pub mod proof;
pub mod signed;
pub mod tile;
pub mod tree;

#[cfg(test)]
mod samples;
mod text;
#[cfg(test)]
mod vectors;
mod wire;

/// A SHA-256 hash: of a leaf, a node or a root.
pub type Hash = [u8; 32];
