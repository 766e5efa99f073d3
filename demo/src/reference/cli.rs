//! The chapter of commands: what each program says of itself when asked for help.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::head;
use crate::world::token::binary;

/// The programs, in the order of the chapter.
const PROGRAMS: [&str; 4] = ["cofre", "cofred", "cofre-dev", "cofre-worker"];

pub(super) fn chapter() -> Result<String> {
    let mut out = head("Commands", "the help texts of the programs");
    for program in PROGRAMS {
        let _ = write!(out, "\n## {program}\n");
        commands(program, &[], &mut out)?;
    }
    Ok(out)
}

/// One command's help, then that of the commands below it.
fn commands(program: &str, path: &[String], out: &mut String) -> Result<()> {
    let help = help(program, path)?;
    let name = std::iter::once(program).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    if !path.is_empty() {
        let _ = write!(out, "\n### {name}\n");
    }
    let _ = write!(out, "\n```text\n{}\n```\n", help.trim_end());
    for below in listed(&help) {
        commands(program, &[path, &[below]].concat(), out)?;
    }
    Ok(())
}

fn help(program: &str, path: &[String]) -> Result<String> {
    let said = Command::new(binary(program)?)
        .args(path)
        .arg("--help")
        // The width and the environment of whoever runs this are not part of the text.
        .env_clear()
        .env("COLUMNS", "100")
        .output()
        .with_context(|| program.to_owned())?;
    ensure!(said.status.success(), "{program} {}: --help ended with {}", path.join(" "), said.status);
    let text = String::from_utf8(said.stdout)?;
    Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// The commands that a help text lists, without `help`.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let name = |line: &str| {
        let rest = line.strip_prefix("  ")?;
        let name = rest.split(' ').next()?;
        (!rest.starts_with(' ') && name != "help").then(|| name.to_owned())
    };
    lines.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_commands_are_found_and_their_texts_are_not() {
        let help = "About.\n\nUsage: x\n\nCommands:\n  verify        Verify\n                more words\n  help          Print\n\nOptions:\n  -h";
        assert_eq!(listed(help), ["verify"]);
    }
}
