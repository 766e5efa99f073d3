//! Messages the transport could not read: cut short, no protobuf of the method, too large. The transport says so in its
//! own words and leaves no trace; here it becomes a refusal like any other, on record and with the way out.

use tonic::Code;
use tonic::body::Body;

/// Longest name of a field that is passed on.
const LONGEST: usize = 96;

/// Which field of the request could not be read, and what it has to be; nothing where the response is a service's own.
/// A service's refusals carry details, the transport's do not.
pub(crate) fn problem(response: &http::Response<Body>) -> Option<(String, &'static str)> {
    let headers = response.headers();
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().map(Code::from_i32).ok()?;
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let text = headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
    match code {
        Code::OutOfRange => Some(("message".to_owned(), "is too large; see the limits of the method")),
        Code::Internal => Some((field(text), "is not what this method takes; encode the message by its .proto file")),
        _ => None,
    }
}

/// The decoder names message and field of its own schema, as `CredentialStateRequest.credential_id`; of a message that
/// could not be read at all there is nothing to name.
fn field(text: &str) -> String {
    let words = text.split([' ', ':', '%']);
    let path = words.filter_map(|word| word.split_once('.')).find(|(message, field)| {
        let name = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        message.ends_with("Request") && name(message) && name(field) && !field.is_empty() && field.len() <= LONGEST
    });
    path.map_or_else(|| "message".to_owned(), |(_, field)| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&str, &str)]) -> http::Response<Body> {
        let mut builder = http::Response::builder();
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).expect("a response")
    }

    #[test]
    fn the_transports_words_become_a_field_and_a_way_out() {
        let text =
            "failed%20to%20decode%20Protobuf%20message:%20CredentialStateRequest.credential_id:%20buffer%20underflow";
        let found = problem(&response(&[("grpc-status", "13"), ("grpc-message", text)]));
        assert_eq!(found.map(|(field, _)| field), Some("credential_id".to_owned()));
        let found = problem(&response(&[("grpc-status", "13"), ("grpc-message", "Unexpected%20EOF")]));
        assert_eq!(found.map(|(field, _)| field), Some("message".to_owned()));
        assert!(problem(&response(&[("grpc-status", "11")])).is_some_and(|(_, advice)| advice.contains("too large")));
    }

    #[test]
    fn what_a_service_says_stays() {
        for headers in [
            &[("grpc-status", "13"), ("grpc-status-details-bin", "AA")][..],
            &[("grpc-status", "0")],
            &[("grpc-status", "5")],
            &[("content-type", "application/grpc")],
        ] {
            assert_eq!(problem(&response(headers)), None);
        }
    }
}
