//! The cases are complete: a shipped policy with any one condition left out decides some case differently, asked
//! without the invariants that would otherwise hide the hole.

use cofre_policy::{PolicyError, Rules};

use crate::cases::{self, Says};
use crate::facts::shipped_files;

/// A condition of a policy and where it stands in the text.
struct Condition {
    text: String,
    start: usize,
    end: usize,
}

/// Pieces of `text[start..end]` between `operator`s that stand outside brackets.
fn split(text: &str, start: usize, end: usize, operator: &str) -> Vec<Condition> {
    let mut pieces = Vec::new();
    let (mut depth, mut from) = (0_i32, start);
    for (offset, character) in text[start..end].char_indices() {
        let place = start + offset;
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ if depth == 0 && place >= from && text[place..end].starts_with(operator) => {
                pieces.push((from, place));
                from = place + operator.len();
            }
            _ => {}
        }
    }
    pieces.push((from, end));
    let condition = |(start, end): (usize, usize)| Condition { text: text[start..end].trim().to_owned(), start, end };
    pieces.into_iter().map(condition).collect()
}

/// Every condition of every `when`: the conjuncts, and inside a bracketed one the alternatives.
fn conditions(text: &str) -> Vec<(Condition, &'static str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("when {") {
        let start = at + "when {".len();
        let end = start + text[start..].find('}').expect("a closing brace");
        for conjunct in split(text, start, end, "&&") {
            if conjunct.text.starts_with('(') {
                let open = conjunct.start + text[conjunct.start..].find('(').expect("a bracket") + 1;
                let close = conjunct.start + text[conjunct.start..conjunct.end].rfind(')').expect("a bracket");
                found.extend(split(text, open, close, "||").into_iter().map(|alternative| (alternative, "false")));
            }
            found.push((conjunct, "true"));
        }
    }
    found
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn leaving_out_any_condition_changes_a_case() {
    let questions: Vec<_> =
        cases::all().into_iter().filter_map(|case| Some((case.policies?, case.facts(), case.name))).collect();
    assert!(questions.iter().any(|(says, ..)| *says == Says::Permit), "no case is permitted");
    let (mut tried, mut refused_at_load) = (0, Vec::new());
    for (place, (name, text)) in shipped_files().iter().enumerate().filter(|(_, (name, _))| name.ends_with(".cedar")) {
        let text = without_comments(text);
        for (condition, neutral) in conditions(&text) {
            tried += 1;
            let mut files = shipped_files();
            files[place].1 = format!("{} {neutral} {}", &text[..condition.start], &text[condition.end..]);
            let rules = match Rules::from_files(&files) {
                Ok(rules) => rules,
                Err(PolicyError::Invalid { .. }) => {
                    refused_at_load.push(condition.text);
                    continue;
                }
                Err(error) => panic!("{name} without `{}`: {error}", condition.text),
            };
            let flipped = questions
                .iter()
                .filter(|(says, facts, _)| rules.policies_alone(facts).permitted != (*says == Says::Permit))
                .count();
            assert!(flipped > 0, "{name}: no case notices that `{}` is gone", condition.text);
        }
    }
    // Ten about consent, three about the worker, one about the class; of the forbid two and its two alternatives.
    assert_eq!(tried, 10 + 3 + 1 + 4);
    // Without it every later condition reads an attribute that may be absent: the validator does not let that in.
    assert_eq!(refused_at_load, ["context has consent"]);
}
