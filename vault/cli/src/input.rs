//! Values from arguments and TOML files, each refused with what it should have been.

use std::fs;
use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::answer::printable;
use crate::failure::Failure;

/// Reads a TOML file of a closed shape.
///
/// # Errors
/// [`Failure::Usage`] with the line and the key.
pub(crate) fn toml<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|why| Failure::unreadable(path, &why))?;
    toml::from_str(&text).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
}

/// A word of a closed list, exactly.
///
/// # Errors
/// The list.
pub(crate) fn word<T: Copy + ToString>(all: &[T], text: &str) -> Result<T, String> {
    all.iter().copied().find(|each| each.to_string() == text).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(ToString::to_string).collect();
        format!("must be one of {}", known.join(", "))
    })
}

/// Writes a file that does not exist yet: what was kept as evidence is never overwritten.
///
/// # Errors
/// [`Failure::Usage`] where it exists, [`Failure::Failed`] where it cannot be written.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = fs::File::create_new(path).map_err(|why| Failure::unwritable(path, &why))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|why| Failure::unwritable(path, &why))
}

/// Shows what is about to be signed, on standard error, and asks for the word `yes` on standard input; with `yes` it is shown
/// and not asked.
///
/// # Errors
/// [`Failure::Failed`] for any other answer, for none, and where it could not be shown.
pub(crate) fn agree(shown: &str, question: &str, yes: bool) -> Result<(), Failure> {
    asked(shown, question, yes, (&mut io::stdin().lock(), &mut io::stderr().lock()))
}

fn asked(
    shown: &str,
    question: &str,
    yes: bool,
    (from, to): (&mut impl BufRead, &mut impl Write),
) -> Result<(), Failure> {
    let unseen = |why: io::Error| Failure::Failed(format!("nothing was signed: it could not be shown: {why}"));
    writeln!(to, "{}", printable(shown.trim_end())).map_err(unseen)?;
    if yes {
        return Ok(());
    }
    write!(to, "{question} Type yes: ").and_then(|()| to.flush()).map_err(unseen)?;
    let mut line = String::new();
    let read = from.take(16).read_line(&mut line);
    if read.is_ok() && line.trim_end() == "yes" {
        return Ok(());
    }
    Err(Failure::Failed("nothing was signed: the answer was not `yes`; a script gives --yes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &str, yes: bool) -> (bool, String) {
        let mut shown = Vec::new();
        let done = asked("people 2\u{1b}[2J\n", "Approve?", yes, (&mut answer.as_bytes(), &mut shown));
        (done.is_ok(), String::from_utf8(shown).expect("UTF-8"))
    }

    #[test]
    fn nothing_is_agreed_to_but_by_the_word_after_it_was_shown() {
        let shown = "people 2\u{fffd}[2J\nApprove? Type yes: ";
        for answer in ["", "\n", "y\n", "no\n", "YES\n", "yes no\n", "yesyesyesyesyesyesyes\n"] {
            assert_eq!(said(answer, false), (false, shown.to_owned()), "{answer:?}");
        }
        assert_eq!(said("yes\n", false), (true, shown.to_owned()));
        assert_eq!(said("", true), (true, "people 2\u{fffd}[2J\n".to_owned()), "shown all the same");
    }

    #[test]
    fn what_could_not_be_shown_is_not_agreed_to() {
        let mut full: &mut [u8] = &mut [];
        assert!(asked("people 2", "Approve?", true, (&mut "yes\n".as_bytes(), &mut full)).is_err());
    }
}
