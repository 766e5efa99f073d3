//! Logs: JSON lines on standard error. Spans and fields carry ids, counts and reasons; no type that holds a secret can
//! be printed, so none can be logged.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Starts logging with a filter such as `info` or `cofre_release=debug`.
///
/// # Errors
/// A filter that does not parse.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)?;
    let lines = tracing_subscriber::fmt::layer().json().with_target(true).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(())
}
