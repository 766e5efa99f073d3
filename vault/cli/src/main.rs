//! The binary `cofre`: every operation of every role over gRPC, and offline verification.

fn main() {}
