//! Use case: erasure of a person with a signed certificate.
