//! What a command says, once for people and once for programs. Text that came from elsewhere is stripped of control
//! characters before it meets a terminal.

use std::io::{self, Write};

use cofre_model::permit::EntryRef;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Answer {
    text: String,
    json: Value,
    exit: u8,
}

impl Answer {
    /// Success.
    pub(crate) fn new(text: String, json: Value) -> Self {
        Self { text, json, exit: 0 }
    }

    /// A result that is not success although everything could be said, with exit code 1.
    pub(crate) fn negative(text: String, json: Value) -> Self {
        Self { text, json, exit: 1 }
    }

    /// A change that is in the ledger.
    pub(crate) fn recorded(what: &str, entry: &EntryRef) -> Self {
        let text = format!("{what}: ledger entry {} at {}", entry.index, entry.time);
        Self::new(text, json!({ "done": what, "entry": entry_json(entry) }))
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }

    /// Writes it with one newline at its end.
    pub(crate) fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json {
            writeln!(out, "{}", self.json)?
        } else {
            writeln!(out, "{}", self.text.trim_end())?
        }
        out.flush()
    }
}

/// Where an entry stands, for programs.
pub(crate) fn entry_json(entry: &EntryRef) -> Value {
    json!({ "index": entry.index, "time": entry.time.to_string(), "leaf_hash": hex::encode(entry.leaf_hash) })
}

/// A table with a header.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = bare();
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    table.to_string()
}

/// Names and values, one pair a line.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = bare();
    for (name, value) in rows {
        table.add_row([name.to_owned(), printable(&value)]);
    }
    table.to_string()
}

/// Nothing is wrapped: an id or a hash broken over two lines can be neither copied nor searched for.
fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The text without anything a terminal would act on; newlines stay.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|each| if each.is_control() && each != '\n' { '\u{fffd}' } else { each }).collect()
}
