//! `cofred`, the vault process.

fn main() {}
