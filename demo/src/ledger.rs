//! What an auditor does with a ledger: waits until what was written is committed to, exports it, and has it verified
//! offline by somebody who does not trust the vault.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use cofre_model::time::Span;

use crate::world::World;
use crate::world::token::binary;

/// Waits until the integrator has caught up with what was written, ten seconds at most, and says how much that is.
pub(crate) async fn newest_checkpoint(world: &World) -> Result<u64> {
    let until = world.clock.now().plus(Span::secs(10));
    let mut size = 0;
    loop {
        let (checkpoint, _) = world.auditor.checkpoint().await?;
        if checkpoint.size == size && size > 0 || until < world.clock.now() {
            return Ok(checkpoint.size);
        }
        size = checkpoint.size;
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    }
}

/// Exports the ledger into a file and says how many bytes it has.
pub(crate) async fn export(world: &World, to: &Path) -> Result<u64> {
    let mut file = std::fs::File::create(to)?;
    world.auditor.export(0, &mut file).await.map_err(Into::into)
}

/// Whether an export verifies offline with `cofre verify`.
pub(crate) fn verifies(world: &World, export: &Path) -> Result<bool> {
    let done = Command::new(binary("cofre")?)
        .arg("verify")
        .arg(export)
        .arg("--key")
        .arg(world.door.signer.to_string())
        .output()?;
    Ok(done.status.success())
}

/// The exact reason that stands in the register at an index, as an auditor reads it.
pub(crate) async fn exact_reason(world: &World, index: u64) -> Result<String> {
    let read = world.auditor.entry(index).await?;
    let json: serde_json::Value = serde_json::from_str(&read.json)?;
    Ok(json.get("reason").and_then(|reason| reason.as_str()).unwrap_or_default().to_owned())
}
