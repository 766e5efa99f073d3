//! What the SDK and the service answer, read into causes. Codes are those of `google.rpc.Code`; of texts only the
//! published words for key states and checksums are looked for.

use cofre_model::time::Clock;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::{Code, Status, StatusDetails};

use crate::fault::{Cause, Operation};
use crate::remote::{Trouble, way::on_the_way};

/// A caller's token is refused when its clock is this far off.
const SKEW_SECS: u64 = 300;

/// Reads a failed call in the light of what it was about.
pub(super) struct Reader<'a> {
    pub(super) about: Operation,
    pub(super) clock: &'a dyn Clock,
}

impl Reader<'_> {
    pub(super) fn read(&self, error: &Error) -> Trouble {
        if let Some(status) = error.status() {
            return self.refusal(status, error);
        }
        if error.is_timeout() {
            return Trouble::of(Cause::Timeout);
        }
        if error.is_authentication() {
            return Trouble::of(Cause::Denied).said("no credentials could be had");
        }
        if error.is_deserialization() {
            return Trouble::of(Cause::EndpointWrong).said("an answer that is not the service's");
        }
        match error.http_status_code() {
            Some(code @ 200..500) => Trouble::of(Cause::EndpointWrong).said(format!("status {code}, no error named")),
            Some(code) => Trouble::of(Cause::Transient).said(format!("status {code}, no error named")),
            None => on_the_way(error),
        }
    }

    fn refusal(&self, status: &Status, error: &Error) -> Trouble {
        let cause = match status.code {
            Code::Unauthenticated if self.hours_differ(error) => Cause::ClockSkew,
            Code::Unauthenticated | Code::PermissionDenied => Cause::Denied,
            Code::ResourceExhausted => Cause::Throttled,
            Code::NotFound => Cause::KeyMissing,
            Code::FailedPrecondition => state(status),
            Code::InvalidArgument if says(status, &["crc32c", "checksum"]) => Cause::BadChecksum,
            Code::InvalidArgument if self.about == Operation::Unwrap => Cause::Integrity,
            Code::InvalidArgument | Code::OutOfRange => Cause::Unsupported,
            Code::Unimplemented => Cause::EndpointWrong,
            Code::DeadlineExceeded => Cause::Timeout,
            _ => Cause::Transient,
        };
        Trouble::of(cause).said(status.code.name())
    }

    /// Whether the service's clock, by the date of its answer, and ours are too far apart for any token to be taken.
    fn hours_differ(&self, error: &Error) -> bool {
        let date = error.http_headers().and_then(|headers| headers.get("date")?.to_str().ok()).and_then(seconds);
        let now = self.clock.now().micros() / 1_000_000;
        date.is_some_and(|date| date.abs_diff(now) > SKEW_SECS)
    }
}

/// Everything the service says in words, in upper case.
fn says(status: &Status, any: &[&str]) -> bool {
    let mut text = status.message.to_ascii_uppercase();
    for detail in &status.details {
        match detail {
            StatusDetails::PreconditionFailure(failure) => {
                for violation in &failure.violations {
                    text.push_str(&violation.r#type.to_ascii_uppercase());
                    text.push_str(&violation.description.to_ascii_uppercase());
                }
            }
            StatusDetails::ErrorInfo(info) => text.push_str(&info.reason.to_ascii_uppercase()),
            _ => {}
        }
    }
    any.iter().any(|word| text.contains(&word.to_ascii_uppercase()))
}

/// Which state keeps a version from its use.
fn state(status: &Status) -> Cause {
    if says(status, &["DESTROY_SCHEDULED"]) {
        Cause::KeyPendingDeletion
    } else if says(status, &["DESTROYED"]) {
        Cause::KeyDestroyed
    } else if says(status, &["API has not been used", "SERVICE_DISABLED", "billing"]) {
        Cause::Denied
    } else {
        Cause::KeyDisabled
    }
}

/// Seconds since 1970 of the one form of date that HTTP servers send (RFC 9110, 5.6.7).
fn seconds(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let day = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = (1u8..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let year = parts.next()?.parse().ok()?;
    let mut hour = parts.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let (hours, minutes, secs) = (hour.next()??, hour.next()??, hour.next()??);
    let date = time::Date::from_calendar_date(year, month.try_into().ok()?, day).ok()?;
    let at = time::Time::from_hms(hours, minutes, secs).ok()?;
    u64::try_from(date.with_time(at).assume_utc().unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_and_what_is_none_is_not() {
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in
            ["", "Sunday", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994", "Sun, 06 Nov 1994 25:00:00 GMT"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn states_are_told_apart_by_their_published_words() {
        for (words, cause) in [
            ("is not enabled, current state is: DISABLED.", Cause::KeyDisabled),
            ("is not enabled, current state is: DESTROY_SCHEDULED.", Cause::KeyPendingDeletion),
            ("is not enabled, current state is: DESTROYED.", Cause::KeyDestroyed),
            ("Google Cloud KMS API has not been used in this project before", Cause::Denied),
        ] {
            let status = Status::default().set_code(Code::FailedPrecondition).set_message(words);
            assert_eq!(state(&status), cause, "{words}");
        }
    }
}
