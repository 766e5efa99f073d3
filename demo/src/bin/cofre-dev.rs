//! `cofre-dev`.

fn main() {}
