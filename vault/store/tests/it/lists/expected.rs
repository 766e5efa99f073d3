//! What every run of lists has to meet.

pub(super) const MET: &[&str] = &[];
