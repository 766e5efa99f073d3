//! The wire: messages and services of package `cofre.v1`, and [`convert`], the only way from a wire message into the
//! model. Nothing behind the counter ever sees a wire type.

/// Generated messages, clients and servers.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from the .proto files, where the documentation stands"
)]
pub mod v1 {
    tonic::include_proto!("cofre.v1");
}

/// The encoded `FileDescriptorSet` of the package, for tests by enumeration.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cofre_descriptors.bin"));

pub mod convert;
