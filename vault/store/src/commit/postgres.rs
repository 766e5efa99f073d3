//! A group on PostgreSQL: one call of one function, `cofre_commit`, in autocommit. The function is in
//! `migrations/postgres/commit`; here is what goes in and what comes out. Any number of nodes may call it at once: the
//! function takes the lock of the cell, and all questions of order are answered by the ledger index, as ever.
//!
//! The serving role may call that function and read. It cannot write a table.

mod call;
mod decode;
mod encode;
mod listen;
#[cfg(test)]
mod tests;

pub(crate) use call::Carrier;
pub(crate) use listen::Listener;
