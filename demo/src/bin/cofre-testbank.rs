//! `cofre-testbank`.

fn main() {}
