//! What the book names exists: tests, files, and the places its links lead to.

use super::{pages, root, text};

/// What stands between backticks in a page, outside of fenced blocks.
fn quoted(page: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut fenced = false;
    for line in text(page).lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether `text` has a test of this name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let wanted = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| {
        line.contains(&wanted) && lines[at.saturating_sub(6)..at].iter().any(|above| above.contains("test"))
    })
}

#[test]
fn every_named_test_and_file_exists() {
    let folders = ["vault/", "demo/", "proto/", "policies/", "hsm-sim/", "docs/", "xtask/"];
    let (mut tests, mut files) = (0, 0);
    for page in pages() {
        for name in quoted(&page) {
            let path = name.split("::").next().unwrap_or_default();
            if !folders.iter().any(|folder| path.starts_with(folder)) || path.contains([' ', '*', '<', '…']) {
                continue;
            }
            assert!(root().join(path).exists(), "{page}: {path} is not there");
            files += 1;
            if let Some((file, test)) = name.split_once("::") {
                assert!(has_test(&text(file), test), "{page}: {file} has no test {test}");
                tests += 1;
            }
        }
    }
    assert!(tests >= 60 && files >= 100, "{tests} tests, {files} files");
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    let source = "#[test]\nfn here() {}\n\n\n\n\n\n\nfn helper() {}\n";
    assert!(has_test(source, "here") && !has_test(source, "helper") && !has_test(source, "there"));
}

/// A heading as a forge links to it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.chars().filter(kept).flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(page: &str, wanted: &str) -> bool {
    let text = text(page);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(anchor).any(|each| each == wanted)
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        let text = text(&page);
        for after in text.split("](").skip(1) {
            let target = after.split(')').next().unwrap_or_default();
            if target.contains("://") || target.contains(['\n', ' ']) {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(&page) } else { root().join(folder).join(file) };
            let path = path.canonicalize().unwrap_or_else(|error| panic!("{page}: {target}: {error}"));
            let led = path.strip_prefix(root().canonicalize().expect("root")).expect("inside").display().to_string();
            assert!(place.is_empty() || has_anchor(&led, place), "{page}: {target}: no such heading");
            links += 1;
        }
    }
    assert!(links >= 60, "{links}");
}

/// The code of everything that ships, with string literals that go over several lines joined.
fn shipped() -> String {
    let mut all = String::new();
    let mut folders = vec![root().join("vault")];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).expect("folder") {
            let path = item.expect("item").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                for line in std::fs::read_to_string(&path).expect("text").lines() {
                    match line.trim_start().strip_suffix('\\') {
                        Some(open) => all.push_str(open),
                        None => {
                            all.push_str(line.trim_start());
                            all.push('\n');
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn messages_to_look_up_are_those_of_the_code() {
    let code = shipped();
    let mut looked = 0;
    for row in text("docs/operations/troubleshooting.md").lines().filter(|line| line.starts_with("| `")) {
        let message = row.split('`').nth(1).expect("a message");
        for part in message.split('…').map(str::trim).filter(|part| !part.is_empty()) {
            assert!(code.contains(part), "no code says {part:?}");
        }
        looked += 1;
    }
    assert!(looked >= 20, "{looked}");
}
