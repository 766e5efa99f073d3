//! Plays the pages that a reader types along: each command in order, what it prints held against what the page shows.
//! In what is shown, `…` stands for anything: alone on a line for any lines, within a line for any characters.

use std::sync::{Mutex, PoisonError};

use super::blocks::blocks;
use super::shell::{Terminal, Up};

/// The pages that are played.
pub(super) const PLAYED: [&str; 5] = [
    "docs/tutorials/worker.md",
    "docs/tutorials/security.md",
    "docs/tutorials/auditor.md",
    "docs/tutorials/operator.md",
    "docs/operations/backup.md",
];

/// A command and what the page shows of its answer.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(lines: &[String]) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    let mut open = false;
    for line in lines {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), found.last_mut()) {
            (Some(command), _, _) => found.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(more), Some(step)) if open => {
                step.command.push('\n');
                step.command.push_str(more);
            }
            (None, _, Some(step)) => step.shown.push(line.clone()),
            (None, _, None) => panic!("a block begins with what no command printed: {line}"),
        }
        open = line.ends_with('\\') || (open && line.starts_with("> "));
    }
    found
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_fits(shown: &str, said: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn fits(shown: &[String], said: &[String]) -> bool {
    match (shown, said) {
        ([], []) => true,
        ([first, more @ ..], _) if first == "…" => (0..=said.len()).any(|skipped| fits(more, &said[skipped..])),
        ([first, more @ ..], [line, rest @ ..]) => line_fits(first, line) && fits(more, rest),
        _ => false,
    }
}

fn compare(at: &str, command: &str, shown: &[String], said: &[String]) {
    let even =
        |lines: &[String]| lines.iter().map(|line| words(line)).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let (shown, said) = (even(shown), even(said));
    assert!(fits(&shown, &said), "{at}: {command}\n--- shown\n{}\n--- said\n{}\n", shown.join("\n"), said.join("\n"));
}

/// One reader at a time: a machine with few cores has to answer within what a release allows.
static READING: Mutex<()> = Mutex::new(());

fn play(page: &str) {
    assert!(PLAYED.contains(&page));
    let _one = READING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::open(folder.path());
    let mut up: Option<Up> = None;
    let mut typed = 0;
    for block in blocks(page) {
        let at = format!("{page}:{}", block.line);
        match (block.word(0), block.word(1)) {
            ("console", "up") => {
                // The reader interrupts what stands there before typing the next.
                drop(up.take());
                let [step] = &steps(&block.lines)[..] else { panic!("{at}: one command stays up") };
                let (started, said) = Up::start(&step.command, folder.path());
                compare(&at, &step.command, &step.shown, &said);
                up = Some(started);
            }
            // What a reader does with Ctrl-C in the first terminal.
            ("console", "interrupt") => drop(up.take().unwrap_or_else(|| panic!("{at}: nothing is up"))),
            ("console", "") => {
                for step in steps(&block.lines) {
                    let (code, said) = terminal.run(&step.command);
                    compare(&at, &step.command, &step.shown, &said);
                    assert_eq!(code, 0, "{at}: {}: ended with {code}\n{}", step.command, said.join("\n"));
                    typed += 1;
                }
            }
            ("toml" | "cedar", file) if file.contains('.') => {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
                std::fs::write(path, block.text()).expect("the file");
            }
            _ => {}
        }
    }
    drop(terminal);
    drop(up);
    assert!(typed >= 4, "{page}: only {typed} commands");
}

#[test]
fn a_worker_s_first_hour() {
    play("docs/tutorials/worker.md");
}

#[test]
fn the_security_team_s_first_hour() {
    play("docs/tutorials/security.md");
}

#[test]
fn an_auditor_s_first_hour() {
    play("docs/tutorials/auditor.md");
}

#[test]
fn an_operator_s_first_hour() {
    play("docs/tutorials/operator.md");
}

#[test]
fn a_backup_comes_back() {
    play("docs/operations/backup.md");
}

#[test]
fn what_is_not_shown_so_does_not_fit() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(fits(&lines("a\n…\nz"), &lines("a\nb\nc\nz")) && fits(&lines("a\n…"), &lines("a")));
    assert!(fits(&lines("entry … at …Z"), &lines("entry 12 at 2026Z")));
    for (shown, said) in [("a", "b"), ("a", "a\nb"), ("a\n…\nz", "a\nb"), ("entry … at", "entry 12 on"), ("", "a")]
    {
        assert!(!fits(&lines(shown), &lines(said)), "{shown:?} {said:?}");
    }
    let typed = steps(&lines("$ one \\\n> two\nshown\n$ three"));
    assert_eq!(typed.len(), 2);
    assert_eq!(typed[0], Step { command: "one \\\ntwo".to_owned(), shown: vec!["shown".to_owned()] });
}
