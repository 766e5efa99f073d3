//! Why a command did not do what was asked, what to do about it, and the exit code that says so.

use std::fmt::Display;
use std::io;
use std::path::Path;

use cofre_client::connect::ConnectError;
use cofre_client::{Error, Refused};
use serde_json::{Value, json};

use crate::answer::printable;

/// A command's failure.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Arguments, profile or an input file have to be mended. Nothing was done.
    Usage(String),
    /// It was tried and failed.
    Failed(String),
    /// The vault refused.
    Refused(Box<Refused>),
}

impl Failure {
    /// A file that was named and cannot be read.
    pub(crate) fn unreadable(path: &Path, why: &io::Error) -> Self {
        Self::Usage(format!("{}: cannot be read: {why}", path.display()))
    }

    /// A file that cannot be written.
    pub(crate) fn unwritable(path: &Path, why: &io::Error) -> Self {
        if why.kind() == io::ErrorKind::AlreadyExists {
            return Self::Usage(format!("{}: exists already and is not overwritten; name another", path.display()));
        }
        Self::Failed(format!("{}: cannot be written: {why}", path.display()))
    }

    /// Standard output.
    #[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
    pub(crate) fn output(why: io::Error) -> Self {
        Self::Failed(format!("standard output: {why}"))
    }

    /// A field of an input file.
    pub(crate) fn field(path: &Path, field: &str, why: impl Display) -> Self {
        Self::Usage(format!("{}: {field}: {why}", path.display()))
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
        }
    }

    /// The text for standard error.
    pub(crate) fn render(&self, json: bool) -> String {
        if json { self.json().to_string() } else { printable(&self.text()) }
    }

    fn text(&self) -> String {
        match self {
            Self::Usage(why) | Self::Failed(why) => format!("error: {why}"),
            Self::Refused(refused) => {
                let mut text = format!("refused: {}\n  way out: {}", refused.public_reason(), refused.message);
                for field in &refused.fields {
                    text += &format!("\n  field {}: {}", field.field, field.way_out);
                }
                if let Some(wait) = refused.retry_after {
                    text += &format!("\n  try again in {} ms", wait.as_millis());
                }
                match refused.entry {
                    Some(index) => text + &format!("\n  ledger entry: {index}"),
                    None => text + "\n  ledger entry: none of its own",
                }
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Usage(why) => json!({ "error": "usage", "message": why }),
            Self::Failed(why) => json!({ "error": "failed", "message": why }),
            Self::Refused(refused) => json!({
                "error": "refused",
                "reason": refused.public_reason(),
                "message": refused.message,
                "entry": refused.entry,
                "retry_after_ms": refused.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                "fields": refused.fields.iter()
                    .map(|field| json!({ "field": field.field, "way_out": field.way_out }))
                    .collect::<Vec<_>>(),
            }),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refused) => Self::Refused(refused),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Material(why) => Self::Usage(why.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cofre_client::error::FieldProblem;
    use cofre_model::reason::PublicReason;

    use super::*;

    #[test]
    fn a_refusal_says_reason_way_out_field_and_entry() {
        let refused = Refused {
            code: tonic::Code::InvalidArgument,
            reason: Some(PublicReason::BadRequest),
            message: "mend the\u{1b}[2J field".into(),
            entry: Some(41),
            retry_after: Some(Duration::from_millis(250)),
            fields: vec![FieldProblem { field: "slug".into(), way_out: "must be a name".into() }],
        };
        let failure = Failure::from(Error::Refused(Box::new(refused)));
        assert_eq!(failure.exit(), 3);
        assert_eq!(
            failure.render(false),
            "refused: BAD_REQUEST\n  way out: mend the\u{fffd}[2J field\n  field slug: must be a name\n  \
             try again in 250 ms\n  ledger entry: 41"
        );
        let json = failure.json();
        assert_eq!((&json["reason"], &json["entry"]), (&json!("BAD_REQUEST"), &json!(41)));
        assert_eq!(json["fields"][0]["way_out"], "must be a name");
    }

    #[test]
    fn what_is_no_refusal_fails_with_one() {
        assert_eq!(Failure::from(Error::BrokenOff).exit(), 1);
    }
}
