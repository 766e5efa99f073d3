//! `cofre-worker`.

fn main() {}
