//! Fenced blocks of a page, and what becomes of each kind.

use cofre_server::config::Config;

use super::{pages, root, text};

/// A fenced block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The words after the fence.
    pub(super) info: Vec<String>,
    /// The lines.
    pub(super) lines: Vec<String>,
    /// Where it begins.
    pub(super) line: usize,
}

impl Block {
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    pub(super) fn word(&self, place: usize) -> &str {
        self.info.get(place).map_or("", String::as_str)
    }
}

/// The fenced blocks of a page.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text(page).lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let info = info.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { info, lines: Vec::new(), line: number + 1 });
            }
            (Some(_), Some("")) => found.extend(open.take()),
            (Some(block), _) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    found
}

/// The sample that parts of a configuration are laid over.
fn sample() -> toml::Table {
    text("docs/reference/cofred.toml").parse().expect("the sample")
}

/// Keys that stand for one another: a table that has one of them replaces the one it is laid over.
const CHOICES: [&str; 6] = ["file", "credential", "any_of", "all_of", "sqlite", "postgres"];

fn lay(over: &mut toml::Table, part: toml::Table) {
    for (key, value) in part {
        match (over.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(part))
                if !part.keys().any(|key| CHOICES.contains(&key.as_str())) =>
            {
                lay(below, part);
            }
            (_, value) => {
                over.insert(key, value);
            }
        }
    }
}

/// Parses a policy beside the shipped ones.
fn policy(at: &str, policy: &str) {
    let mut files = cofre_policy::bundle::read_dir(&root().join("policies")).expect("policies");
    files.push(("snippet.cedar".to_owned(), policy.to_owned()));
    cofre_policy::Rules::from_files(&files).unwrap_or_else(|error| panic!("{at}: {error}"));
}

#[test]
fn every_snippet_is_read_by_what_reads_it_in_earnest() {
    let (mut configurations, mut policies) = (0, 0);
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        for block in blocks(page) {
            let at = format!("{page}:{}", block.line);
            match (block.word(0), block.word(1)) {
                ("toml", "cofred") => {
                    Config::parse(&block.text()).unwrap_or_else(|error| panic!("{at}: {error}"));
                    configurations += 1;
                }
                ("toml", "part") => {
                    let mut whole = sample();
                    lay(&mut whole, block.text().parse().unwrap_or_else(|error| panic!("{at}: {error}")));
                    let whole = toml::to_string(&whole).expect("it was read");
                    Config::parse(&whole).unwrap_or_else(|error| panic!("{at}: {error}"));
                    configurations += 1;
                }
                ("cedar", _) => {
                    policy(&at, &block.text());
                    policies += 1;
                }
                ("rust", file) => {
                    assert_eq!(block.text(), text(file), "{at}: differs from {file}");
                }
                // Played, or written to the folder where they are played.
                ("console", "" | "up" | "interrupt") | ("toml", _) => {
                    assert!(super::tutorials::PLAYED.contains(&page.as_str()), "{at}: is not in a page that is played");
                }
                ("text", "") => {}
                (kind, _) => panic!("{at}: {kind:?} is no kind of block that a test looks at"),
            }
        }
    }
    assert!(configurations >= 3 && policies >= 2, "{configurations} configurations, {policies} policies");
}

#[test]
fn a_snippet_that_is_wrong_is_found() {
    let refused = std::panic::catch_unwind(|| policy("here", "permit (principal, action, resource);"));
    assert!(refused.is_err(), "a blanket permit was taken");
    let mut whole = sample();
    lay(&mut whole, "[listen]\npeeple = \"127.0.0.1:1\"".parse().expect("toml"));
    let refused = Config::parse(&toml::to_string(&whole).expect("text")).expect_err("an unknown key").to_string();
    assert!(refused.contains("peeple"), "{refused}");
}
