//! Use case: second-factor challenges, relayed sealed and kept in memory only.
