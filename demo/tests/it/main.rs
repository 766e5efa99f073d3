//! The demonstration's parts against one another, and the whole chain through its real processes.

#[cfg(test)]
mod at_rest;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod story;
#[cfg(test)]
mod testbank;
#[cfg(test)]
mod unit;
