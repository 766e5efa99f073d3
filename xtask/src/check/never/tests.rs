//! Each rule, shown to fail on one planted violation and to pass beside it.

use super::*;

fn file(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn one(path: &str, text: &str) {
    assert_eq!(check(&[file(path, text)]).len(), 1, "{path}: {text:?} was not noticed");
}

fn none(path: &str, text: &str) {
    assert_eq!(check(&[file(path, text)]), [], "{path}: {text:?}");
}

#[test]
fn every_kept_word_is_noticed_away_from_home() {
    for kept in KEPT {
        one("vault/relay/src/lib.rs", &format!("let x = {};\n", kept.word));
        for home in kept.homes {
            let path = if home.ends_with(".rs") { (*home).to_owned() } else { format!("{home}src/x.rs") };
            none(&path, &format!("let x = {};\n", kept.word));
        }
    }
    none("vault/relay/src/lib.rs", "// an Opened login\nlet ReOpened = 1;\n#[cfg(test)]\nmod tests {\n    Opened\n}\n");
}

#[test]
fn secret_types_that_copy_or_print_are_noticed() {
    one("vault/envelope/src/x.rs", "#[derive(Clone)]\npub struct Dek {\n}\n");
    one("vault/envelope/src/x.rs", "impl fmt::Debug for Plain {\n}\n");
    none("vault/envelope/src/x.rs", "#[must_use]\npub struct Dek {\n}\n#[derive(Clone)]\npub struct Deka;\n");
}

#[test]
fn unsafe_needs_a_home_and_a_reason() {
    one("vault/release/src/x.rs", "// SAFETY: no.\nunsafe { f() }\n");
    one("vault/envelope/src/slab/map.rs", "fn f() {\n    unsafe { g() }\n}\n");
    none("vault/envelope/src/slab/map.rs", "// SAFETY: the page is ours.\nunsafe { g() }\n");
}

#[test]
fn long_files_bare_markers_and_switched_off_tests_are_noticed() {
    one("vault/store/src/x.rs", &"//\n".repeat(801));
    none("vault/store/src/x.rs", &format!("// SIZE: one table\n{}", "//\n".repeat(801)));
    one("demo/src/x.rs", "// TODO: later\n");
    none("demo/src/x.rs", "// TODO(#4): later\n");
    one("vault/store/tests/it/x.rs", "#[ignore]\n");
}
