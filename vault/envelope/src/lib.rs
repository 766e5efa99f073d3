//! Secret types in locked memory, the envelope format, key derivation and HPKE sealing. The only crate that holds a cipher.
