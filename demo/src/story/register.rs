//! Chapter 4, second half: checkpoints, proofs, and an export that somebody who does not trust us verifies offline.

use anyhow::{Context, Result};

use super::Story;
use crate::ledger;

impl Story {
    pub(super) async fn register(&mut self) -> Result<()> {
        let checkpoint = ledger::newest_checkpoint(&self.world).await?;
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
        let bytes = ledger::export(&self.world, &export).await?;
        let verified = ledger::verifies(&self.world, &export)?;
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
        let found = !ledger::verifies(&self.world, &flipped)?;
        self.table.row(8, "one flipped byte in a copy is found", None, found && verified);
        Ok(())
    }
}
