use std::collections::BTreeMap;

use super::*;

/// Public reasons whose exact reasons have codes of their own, because the caller acts differently.
const TOLD_APART: [PublicReason; 3] =
    [PublicReason::TenantNotServed, PublicReason::AttendanceRequired, PublicReason::Unavailable];

#[test]
fn nothing_but_the_public_reason_leaves() {
    for reason in Reason::ALL {
        let status = Refused::new(*reason).entry(Some(7)).into_status();
        let exact = reason.to_string();
        let public = reason.public().to_string();
        let info = status.get_details_error_info().expect("every refusal carries ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (public.as_str(), DOMAIN), "{exact}");
        assert_eq!(info.metadata, HashMap::from([(ENTRY.to_owned(), "7".to_owned())]), "{exact}");
        assert_eq!(status.code(), row(*reason).code, "{exact}");
        if exact != public {
            let wire = [status.message().as_bytes(), status.details()].concat();
            let found = wire.windows(exact.len()).any(|run| run == exact.as_bytes());
            // A public name may contain another reason's exact name; then the two words are the same public word.
            assert!(!found || public.contains(&exact), "{exact} leaves with {public}");
        }
    }
}

#[test]
fn one_public_reason_has_one_code_and_one_text() {
    let mut codes: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for reason in Reason::ALL {
        let row = row(*reason);
        let status = status(*reason);
        if !TOLD_APART.contains(&row.public) {
            codes.entry(row.public.to_string()).or_default().push(row.code);
        }
        let wire = format!("{} {:?}", status.message(), status.get_details_retry_info());
        texts.entry(row.public.to_string()).or_default().push(wire);
    }
    for (public, codes) in codes {
        assert!(codes.windows(2).all(|pair| pair.first() == pair.last()), "{public}: {codes:?}");
    }
    for (public, texts) in texts {
        assert!(texts.windows(2).all(|pair| pair.first() == pair.last()), "{public}: {texts:?}");
    }
}

#[test]
fn every_reason_is_a_failure() {
    assert!(Reason::ALL.iter().all(|reason| !matches!(row(*reason).code, Code::Ok | Code::Unknown)));
}

#[test]
fn the_codes_of_the_decision_table() {
    for (reason, code) in [
        (Reason::PeerUntrusted, Code::Unauthenticated),
        (Reason::WorkerQuarantined, Code::PermissionDenied),
        (Reason::BadRequest, Code::InvalidArgument),
        (Reason::Replay, Code::AlreadyExists),
        (Reason::Lockdown, Code::Unavailable),
        (Reason::WrongRegion, Code::FailedPrecondition),
        (Reason::CredentialNotFound, Code::NotFound),
        (Reason::Erased, Code::PermissionDenied),
        (Reason::FrequencyExceeded, Code::ResourceExhausted),
        (Reason::LeaseHeld, Code::Aborted),
        (Reason::ConsentChanged, Code::Aborted),
        (Reason::IntegrityFailure, Code::Internal),
        (Reason::NotDelivered, Code::Aborted),
    ] {
        assert_eq!(row(reason).code, code, "{reason}");
    }
}

#[test]
fn a_field_and_its_way_out_are_named() {
    let status = Refused::new(Reason::BadRequest).field("worker_key", "send 1216 bytes").into_status();
    assert_eq!(status.message(), "worker_key: send 1216 bytes");
    let violations = status.get_details_bad_request().expect("a violation").field_violations;
    assert_eq!(violations.first().map(|each| each.field.as_str()), Some("worker_key"));
}

#[test]
fn a_retry_time_is_told_where_a_retry_makes_sense() {
    assert!(status(Reason::LeaseHeld).get_details_retry_info().is_some());
    assert!(status(Reason::ConsentRevoked).get_details_retry_info().is_none());
    let later = Refused::new(Reason::FrequencyExceeded).retry_after(Span::hours(2)).into_status();
    let told = later.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(told, Some(Span::hours(2).to_std()));
}
