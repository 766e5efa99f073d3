//! A custody host and nothing else, for the tests of this crate. A vault starts `cofred custody-host`, which is the same
//! in the vault's own program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cofre_custody::pkcs11::host::serve()
}
