//! The release path is one readable function: `release` and `deliver` stand in one file and take their steps in the
//! order the design gives.

use super::Violation;
use super::sources::Source;

const FILE: &str = "vault/release/src/release.rs";

/// The steps, by the call that takes each.
const RELEASE: &[&str] = &["self.facts(", ".decide(", ".warm(", ".commit(", "self.deliver("];
const DELIVER: &[&str] = &[
    ".entry()",
    "ciphertexts",
    "keyring",
    ".open_keys(",
    "envelope::open(",
    ".narrow(",
    "send_by",
    "seal_to(",
    "outcome(",
];

/// Holds the two functions against the order.
pub(crate) fn check(files: &[Source]) -> Vec<Violation> {
    let Some(file) = files.iter().find(|file| file.path == FILE) else {
        return vec![Violation(format!("{FILE}: the release path has no file"))];
    };
    let mut broken = steps(&file.text, "async fn release(", RELEASE);
    broken.extend(steps(&file.text, "async fn deliver(", DELIVER));
    broken
}

fn steps(text: &str, function: &str, steps: &[&str]) -> Vec<Violation> {
    let Some((_, mut rest)) = text.split_once(function) else {
        return vec![Violation(format!("{FILE}: has no `{function}…)`"))];
    };
    if let Some((body, _)) = rest.split_once("\n    }\n") {
        rest = body;
    }
    for step in steps {
        match rest.split_once(step) {
            Some((_, after)) => rest = after,
            None => return vec![Violation(format!("{FILE}: `{function}…)` lacks `{step}` in its place"))],
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(release: &[&str], deliver: &[&str]) -> Vec<Violation> {
        let text = format!(
            "    pub async fn release(&self) {{\n{}\n    }}\n    async fn deliver(&self) {{\n{}\n    }}\n",
            release.join("\n"),
            deliver.join("\n")
        );
        check(&[Source { path: FILE.to_owned(), text }])
    }

    #[test]
    fn the_order_passes_and_every_swap_or_gap_is_noticed() {
        assert_eq!(path(RELEASE, DELIVER), []);
        for (place, _) in RELEASE.iter().enumerate().skip(1) {
            let mut swapped = RELEASE.to_vec();
            swapped.swap(place - 1, place);
            assert_eq!(path(&swapped, DELIVER).len(), 1, "{swapped:?}");
        }
        for place in 0..DELIVER.len() {
            let mut gap = DELIVER.to_vec();
            gap.remove(place);
            assert_eq!(path(RELEASE, &gap).len(), 1, "{gap:?}");
        }
        assert_eq!(check(&[]).len(), 1);
    }
}
