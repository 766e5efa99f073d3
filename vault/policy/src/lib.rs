//! The rulebook, pure: decide(&Facts) -> Decision; invariants in code first, Cedar second.
