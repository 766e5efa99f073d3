//! `cofre-test-postgres`: one throw-away PostgreSQL for a whole run of tests. It prints the variable that tells tests
//! where it is, and the cluster lives until standard input ends or this process does.

use std::io::Write as _;

use anyhow::Result;
use cofre_testkit::postgres::{CLUSTER, Cluster, Wanted};

fn main() -> Result<()> {
    let cluster = Cluster::start(&Wanted::default())?;
    println!("{CLUSTER}={}", cluster.folder().display());
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
