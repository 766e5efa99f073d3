//! The Never list, as far as text shows it. What types and lints hold better stands in compile-fail tests and in
//! clippy.toml; here are the rules about where a word may appear at all.

use super::Violation;
use super::sources::Source;

/// A word that only some places may say.
struct Kept {
    word: &'static str,
    /// Paths that may say it, by prefix.
    homes: &'static [&'static str],
    why: &'static str,
}

/// Words of shipped code. `release.rs` is the one file outside their homes that handles permits and plaintext.
const KEPT: &[Kept] = &[
    Kept {
        word: "Permit<Release>",
        homes: &["vault/model/", "vault/store/", "vault/custody/", "vault/release/src/release.rs"],
        why: "a release permit passes from the commit to the keys through one function",
    },
    Kept {
        word: "Opened",
        homes: &["vault/envelope/", "vault/release/src/release.rs"],
        why: "an opened login exists in one function",
    },
    Kept {
        word: "Mint::assemble",
        homes: &["vault/model/", "vault/server/"],
        why: "one mint, made in server's wiring",
    },
    Kept {
        word: "from_verified_chain",
        homes: &["vault/model/", "vault/edge/src/peer.rs"],
        why: "a caller is made from a verified certificate only",
    },
    Kept { word: "AssertSqlSafe", homes: &["vault/store/"], why: "no SQL text is built outside store" },
    Kept {
        word: "destroy_owner",
        homes: &["vault/store/", "vault/privacy/"],
        why: "a person's keys are destroyed by an erasure, and by nothing at start-up",
    },
    Kept {
        word: "destroy_deposit_keys",
        homes: &["vault/store/", "vault/deposit/"],
        why: "deposit keys are destroyed when their time is over, under their entry",
    },
    // The home is for what carries one share through a wrapping call and dies with its session anyway.
    Kept {
        word: "destroy_object",
        homes: &["vault/custody/src/pkcs11/wrapping.rs"],
        why: "no key in a token is ever deleted: report, never delete",
    },
    Kept { word: "ATTACH DATABASE", homes: &[], why: "a commit over two SQLite files is not atomic" },
    Kept { word: "SSLKEYLOGFILE", homes: &[], why: "session keys are never written" },
    Kept { word: "todo!(", homes: &[], why: "nothing unfinished ships" },
    Kept { word: "unimplemented!(", homes: &[], why: "nothing unfinished ships" },
    Kept { word: "dbg!(", homes: &[], why: "nothing prints by accident" },
];

/// Where `unsafe` may stand, always with its reason.
const UNSAFE_HOMES: &[&str] = &[
    "vault/envelope/src/slab",
    "vault/custody/src/pkcs11/wrapping.rs",
    "vault/custody/src/pkcs11/host/area.rs",
    "vault/custody/src/pkcs11/host/walls.rs",
    "vault/custody/tests/it/capability/",
    "hsm-sim/",
];

/// Types that hold secrets: none may derive or implement what copies, prints, compares or serialises.
const SECRET_TYPES: &[&str] = &[
    "TenantKey",
    "SubjectKey",
    "Dek",
    "Share",
    "BoundShare",
    "Opened",
    "Narrowed",
    "Plain",
    "RowMac",
    "DedupeKey",
    "DepositKeyPair",
    "WorkerKeyPair",
    "ClientSecret",
    "EvidenceKey",
    "ServiceKey",
    "Pin",
];

/// Holds every file against the list.
pub(crate) fn check(files: &[Source]) -> Vec<Violation> {
    let mut broken = Vec::new();
    for file in files {
        if file.ships() {
            kept_words(file, &mut broken);
            secret_types(file, &mut broken);
        }
        if file.path.ends_with(".rs") {
            reasons_for_unsafe(file, &mut broken);
            size(file, &mut broken);
            if !file.path.starts_with("xtask/") {
                markers(file, &mut broken);
            }
        }
    }
    broken
}

fn kept_words(file: &Source, broken: &mut Vec<Violation>) {
    for kept in KEPT {
        let at_home = kept.homes.iter().any(|home| file.path.starts_with(home));
        let says = code_lines(file.without_tests()).any(|(_, line)| has_word(line, kept.word));
        if says && !at_home {
            broken.push(Violation(format!("{}: says `{}`: {}", file.path, kept.word, kept.why)));
        }
    }
}

/// Lines of code, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether `word` stands in `line` and is not part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|tail| tail.chars().next());
        let starts = word.starts_with(part_of_name) && before.is_some_and(part_of_name);
        let ends = word.ends_with(part_of_name) && after.is_some_and(part_of_name);
        !starts && !ends
    })
}

fn secret_types(file: &Source, broken: &mut Vec<Violation>) {
    let lines: Vec<&str> = file.text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = SECRET_TYPES
            .iter()
            .find(|name| has_word(line, &format!("struct {name}")) || has_word(line, &format!("enum {name}")))
        else {
            continue;
        };
        let attributes = lines
            .get(..number)
            .unwrap_or_default()
            .iter()
            .rev()
            .take_while(|l| l.trim_start().starts_with('#') || l.trim_start().starts_with("//"));
        for attribute in attributes.filter(|l| l.contains("derive(")) {
            broken.push(Violation(format!(
                "{}:{}: secret type {name} has `{}`",
                file.path,
                number + 1,
                attribute.trim()
            )));
        }
    }
    for name in SECRET_TYPES {
        for forbidden in ["Clone", "Debug", "Display", "Serialize", "PartialEq"] {
            if code_lines(&file.text).any(|(_, line)| line.contains(&format!("{forbidden} for {name} "))) {
                broken.push(Violation(format!("{}: secret type {name} implements {forbidden}", file.path)));
            }
        }
    }
}

fn reasons_for_unsafe(file: &Source, broken: &mut Vec<Violation>) {
    let lines: Vec<&str> = file.text.lines().collect();
    for (number, line) in code_lines(&file.text) {
        let opens = has_word(line, "unsafe {") || has_word(line, "unsafe impl") || has_word(line, "unsafe extern");
        if !opens || line.contains('"') {
            continue;
        }
        if !UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home)) {
            broken.push(Violation(format!("{}:{}: `unsafe` has no home here", file.path, number + 1)));
        }
        let above = lines.get(number.saturating_sub(6)..=number).unwrap_or_default();
        if !above.iter().any(|l| l.contains("SAFETY:")) {
            broken.push(Violation(format!("{}:{}: `unsafe` without a `// SAFETY:` reason", file.path, number + 1)));
        }
    }
}

fn size(file: &Source, broken: &mut Vec<Violation>) {
    let lines = file.text.lines().count();
    if lines > 800 && !file.text.contains("// SIZE:") {
        broken.push(Violation(format!("{}: {lines} lines; above 800 a `// SIZE:` line says why", file.path)));
    }
}

fn markers(file: &Source, broken: &mut Vec<Violation>) {
    for (number, line) in file.text.lines().enumerate() {
        if line.contains("TODO") && !line.contains("TODO(#") {
            broken.push(Violation(format!("{}:{}: a TODO names its issue: `TODO(#n):`", file.path, number + 1)));
        }
        if line.trim_start().starts_with("#[ignore") {
            broken.push(Violation(format!("{}:{}: no test is switched off", file.path, number + 1)));
        }
    }
}

#[cfg(test)]
mod tests;
