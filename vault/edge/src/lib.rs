//! The counter: TLS acceptor, caller identity, per-method gate, limits, tonic services and the one error map.
