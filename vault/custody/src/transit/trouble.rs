//! What the engine answers, read into causes: a status, and a list of sentences in which only the engine's own wording
//! tells some cases apart.

use serde::Deserialize;

use crate::fault::{Cause, Operation};
use crate::remote::Trouble;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Reads a refusal.
pub(super) fn read(status: u16, body: &[u8], about: Operation) -> Trouble {
    let said: Option<Errors> = serde_json::from_slice(body).ok();
    let text = said.as_ref().map(|said| said.errors.join(" ").to_ascii_lowercase());
    let (cause, word) = match (status, text.as_deref()) {
        (300..400, _) => (Cause::EndpointWrong, "a redirect: name the active node, or what stands before it"),
        (500.., None) => (Cause::Transient, "no error named"),
        (_, None) => (Cause::EndpointWrong, "no error named"),
        (403, _) => (Cause::Denied, "permission denied"),
        (429, _) => (Cause::Throttled, "rate limit quota exceeded"),
        (503, Some(text)) if text.contains("sealed") => (Cause::Transient, "sealed"),
        (404, Some("")) => (Cause::KeyMissing, "no such key"),
        (404, _) => (Cause::EndpointWrong, "no such mount or path"),
        (_, Some(text)) => sentence(text, status, about),
    };
    Trouble::of(cause).said(format!("status {status}: {word}"))
}

fn sentence(text: &str, status: u16, about: Operation) -> (Cause, &'static str) {
    let unwrapping = about == Operation::Unwrap;
    if text.contains("soft-deleted") || text.contains("soft deleted") {
        (Cause::KeyPendingDeletion, "soft-deleted")
    } else if text.contains("disallowed by policy (too old)") {
        (Cause::KeyDisabled, "version disallowed by policy")
    } else if text.contains("key not found") {
        (Cause::KeyMissing, "key not found")
    } else if unwrapping && (text.contains("message authentication failed") || text.contains("invalid ciphertext")) {
        (Cause::Integrity, "invalid ciphertext")
    } else if status >= 500 || status == 412 {
        (Cause::Transient, "a failure inside")
    } else {
        (Cause::Unsupported, "a request that the engine does not take")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_context_is_no_failure_inside_though_the_engine_says_500() {
        let body = br#"{"errors":["1 error occurred:\n\t* cipher: message authentication failed\n\n"]}"#;
        assert_eq!(read(500, body, Operation::Unwrap).cause, Cause::Integrity);
        assert_eq!(read(500, br#"{"errors":["internal error"]}"#, Operation::Unwrap).cause, Cause::Transient);
    }

    #[test]
    fn a_missing_key_a_missing_mount_and_another_server_differ() {
        assert_eq!(read(404, br#"{"errors":[]}"#, Operation::Check).cause, Cause::KeyMissing);
        let route = br#"{"errors":["no handler for route \"trans/keys/a\". route entry not found."]}"#;
        assert_eq!(read(404, route, Operation::Check).cause, Cause::EndpointWrong);
        assert_eq!(read(404, b"<html>", Operation::Check).cause, Cause::EndpointWrong);
        assert_eq!(read(307, b"", Operation::Check).cause, Cause::EndpointWrong);
        assert_eq!(read(502, b"<html>", Operation::Check).cause, Cause::Transient);
    }
}
