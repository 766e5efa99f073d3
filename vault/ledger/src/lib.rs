//! The register, pure: entry encoding, RFC 6962 tree, signed notes, checkpoints, proofs and offline verification.
