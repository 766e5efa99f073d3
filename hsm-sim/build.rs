//! Links the module so that `dlclose` leaves it in memory.
//!
//! The cipher library registers a destructor per thread (`pthread_key_create`). A program that unloads the module
//! before such a thread ends would run that destructor in unmapped memory and crash.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
