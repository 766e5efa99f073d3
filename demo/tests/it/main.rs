//! The demonstration's parts against one another, over real connections.

#[cfg(test)]
mod testbank;
