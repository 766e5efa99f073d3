//! `cofre-first-worker`: the smallest worker. It takes a ticket, obtains one login, uses it for nothing, reports, and
//! checks that the grant stands in the ledger. `docs/tutorials/worker.md` walks through it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cofre_client::{Error, Worker};
use cofre_demo::worker::ticket::{Loaded, Ticket};
use cofre_model::wording::Outcome;
use cofre_server::clock::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("usage: cofre-first-worker TICKET")?;
    let ticket: Ticket = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let Loaded { deployment, identity, errand, .. } = ticket.load()?;

    let worker = Worker::connect(&deployment, identity, Arc::new(SystemClock::new())).await?;
    let login = match worker.release(errand).await {
        Ok(login) => login,
        Err(Error::Refused(refused)) => {
            println!("refused: {} (ledger entry {:?})", refused.public_reason(), refused.entry);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    println!("granted at ledger entry {} until {}", login.entry.index, login.lease_until);
    for field in login.fields() {
        println!("  {}", field.key);
    }

    // A real worker types the values into the bank's form here: field.value.with_bytes(|bytes| …).
    let (lease, granted) = (login.lease, login.entry);
    drop(login);

    let reported = worker.report(&lease, Outcome::Cancelled, None).await?;
    println!("reported at ledger entry {}", reported.index);
    let checkpoint = loop {
        // The promise said that the entry will be in the tree; the next checkpoint shows it.
        match worker.prove(&granted).await {
            Ok(checkpoint) => break checkpoint,
            Err(Error::Refused(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(error) => return Err(error.into()),
        }
    };
    println!("entry {} is in the signed tree of {} entries", granted.index, checkpoint.size);
    Ok(())
}
