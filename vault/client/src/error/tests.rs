//! What a caller learns of a refusal, and what is not taken for one.

use std::collections::HashMap;

use super::*;
use tonic_types::ErrorDetails;

fn refusal(domain: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("TRY_AGAIN", domain, HashMap::from([("entry".to_owned(), "41".to_owned())]));
    details.set_retry_info(Some(Duration::from_millis(50)));
    details.add_bad_request_violation("fields[0].key", "must be known");
    Status::with_error_details(Code::Aborted, "something changed meanwhile", details)
}

#[test]
fn every_part_of_a_refusal_arrives() {
    let error = Error::from(refusal("cofre"));
    let refused = error.refused().expect("a refusal");
    assert_eq!(refused.code, Code::Aborted);
    assert_eq!(refused.reason, Some(PublicReason::TryAgain));
    assert_eq!(refused.public_reason(), "TRY_AGAIN");
    assert_eq!(refused.entry, Some(41));
    assert_eq!(refused.retry_after, Some(Duration::from_millis(50)));
    assert_eq!(refused.fields[0].field, "fields[0].key");
    assert_eq!(error.to_string(), "refused (TRY_AGAIN): something changed meanwhile");
}

#[test]
fn somebody_elses_words_are_no_reason_of_the_vaults() {
    assert_eq!(Error::from(refusal("proxy.example")).refused().and_then(|refused| refused.reason), None);
    assert!(matches!(Error::from(Status::unavailable("tcp")), Error::BrokenOff));
    let lost = Error::from(Status::from_error(Box::new(Cause::NotAdmitted)));
    assert!(matches!(lost, Error::NoAnswer(Cause::NotAdmitted)), "{lost:?}");
}
