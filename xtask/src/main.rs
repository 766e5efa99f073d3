//! The project's own commands: demo, test, check.

fn main() {}
