//! Chapter 4, second half: checkpoints, proofs, and an export that somebody who does not trust us verifies offline.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cofre_model::time::Span;

use super::Story;
use crate::world::token::binary;

impl Story {
    pub(super) async fn register(&mut self) -> Result<()> {
        let checkpoint = self.newest_checkpoint().await?;
        self.table.row(
            8,
            format!("a checkpoint over {} entries is signed in the token", checkpoint),
            Some(checkpoint.saturating_sub(1)),
            checkpoint > 0,
        );
        let read = self.world.auditor.entry(checkpoint / 2).await?;
        let proven = self.world.auditor.prove(&read.entry).await?;
        self.table.row(
            8,
            "an inclusion proof holds for an entry in the middle",
            Some(read.entry.index),
            proven.size > read.entry.index,
        );

        std::fs::create_dir_all(&self.scratch)?;
        let export = self.scratch.join("ledger.jsonl");
        let mut file = std::fs::File::create(&export)?;
        let bytes = self.world.auditor.export(0, &mut file).await?;
        drop(file);
        let verified = self.verify(&export)?;
        self.table.row(
            8,
            format!("the exported ledger ({bytes} bytes) verifies offline with `cofre verify`"),
            Some(checkpoint - 1),
            verified,
        );

        let mut copy = std::fs::read(&export)?;
        let middle = copy.len() / 2;
        // Somewhere in the middle, within an entry's own text.
        let place = (middle..copy.len())
            .find(|place| copy.get(*place).is_some_and(u8::is_ascii_alphanumeric))
            .context("the export has no text")?;
        if let Some(byte) = copy.get_mut(place) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        let flipped = self.scratch.join("flipped.jsonl");
        std::fs::write(&flipped, copy)?;
        let found = !self.verify(&flipped)?;
        self.table.row(8, "one flipped byte in a copy is found", None, found && verified);
        Ok(())
    }

    /// Waits until the integrator has caught up with what the story wrote.
    async fn newest_checkpoint(&self) -> Result<u64> {
        let until = self.world.clock.now().plus(Span::secs(10));
        let mut size = 0;
        loop {
            let (checkpoint, _) = self.world.auditor.checkpoint().await?;
            if checkpoint.size == size && size > 0 || until < self.world.clock.now() {
                return Ok(checkpoint.size);
            }
            size = checkpoint.size;
            tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        }
    }

    fn verify(&self, export: &Path) -> Result<bool> {
        let done = Command::new(binary("cofre")?)
            .arg("verify")
            .arg(export)
            .arg("--key")
            .arg(self.world.door.signer.to_string())
            .output()?;
        Ok(done.status.success())
    }
}
