//! The book, held to the code: tutorials are played from their own text, snippets are parsed by what reads them in
//! earnest, named tests and files exist, links lead somewhere, and the reference is what the code says.

mod blocks;
mod configuration;
mod names;
mod shell;
mod tutorials;

use std::path::{Path, PathBuf};

use cofre_demo::reference;

/// The repository's root.
fn root() -> PathBuf {
    reference::root().expect("the workspace")
}

/// Every Markdown file of the book and of the top folder, by path from the root.
fn pages() -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let top = std::fs::read_dir(root()).expect("root");
    for path in top.map(|item| item.expect("item").path()).filter(|path| is_page(path)) {
        found.push(path.file_name().expect("name").to_string_lossy().into_owned());
    }
    below("docs", &mut found);
    found.sort();
    assert!(found.len() > 20 && found.contains(&"docs/README.md".to_owned()), "{found:?}");
    found
}

fn below(folder: &str, found: &mut Vec<String>) {
    for item in std::fs::read_dir(root().join(folder)).expect("folder") {
        let path = item.expect("item").path();
        let name = format!("{folder}/{}", path.file_name().expect("name").to_string_lossy());
        if path.is_dir() {
            below(&name, found);
        } else if is_page(&path) {
            found.push(name);
        }
    }
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "md")
}

fn text(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

#[test]
fn the_reference_is_what_the_code_says() {
    for (file, expected) in reference::chapters().expect("chapters") {
        let page = format!("docs/reference/{file}");
        let is = text(&page);
        let differs = is.lines().zip(expected.lines()).find(|(is, should)| is != should);
        assert!(is == expected, "{page} is behind the code: run `cargo xtask docs`; first difference: {differs:?}");
    }
}
