//! The table at the end: what happened, which promise it shows, and where the proof stands in the ledger.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table as Drawn};

/// One thing shown, or not.
struct Row {
    what: String,
    promise: u8,
    proof: Option<u64>,
    shown: bool,
}

/// The rows so far.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a row and says it at once. `shown` is the outcome of a check, never a constant.
    pub(crate) fn row(&mut self, promise: u8, what: impl Into<String>, proof: Option<u64>, shown: bool) {
        let what = what.into();
        println!("  {} {what}", if shown { "✓" } else { "✗" });
        self.rows.push(Row { what, promise, proof, shown });
    }

    /// Prints the table; whether every row was shown.
    pub(crate) fn print(&self) -> bool {
        let mut drawn = Drawn::new();
        drawn.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_width(118);
        drawn.set_header(["what happened", "promise", "ledger index", "shown"]);
        for row in &self.rows {
            drawn.add_row([
                row.what.clone(),
                row.promise.to_string(),
                row.proof.map_or_else(|| "–".to_owned(), |index| index.to_string()),
                if row.shown { "yes" } else { "NO" }.to_owned(),
            ]);
        }
        println!("{drawn}");
        let missing = self.rows.iter().filter(|row| !row.shown).count();
        println!("{} rows, {missing} not shown", self.rows.len());
        missing == 0 && !self.rows.is_empty()
    }
}

/// Says that another chapter begins.
pub(crate) fn chapter(title: &str) {
    println!("\n── {title} ──");
}
