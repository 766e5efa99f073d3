//! What the SDK and the service answer, read into causes. Names of exceptions are the service's published ones; texts are
//! looked into only where the service tells cases apart in no other way.

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId as _;

use crate::fault::Cause;
use crate::remote::{Trouble, way::on_the_way};

/// Reads a failed call.
pub(super) fn read<E>(error: SdkError<E, HttpResponse>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let request = error.request_id().map(str::to_owned);
    let trouble = match &error {
        SdkError::TimeoutError(_) => Trouble::of(Cause::Timeout),
        SdkError::DispatchFailure(failed) if failed.is_timeout() => Trouble::of(Cause::Timeout),
        SdkError::ServiceError(said) => {
            let (code, message) = (said.err().code(), said.err().message());
            exception(code, message.unwrap_or_default(), said.raw().status().as_u16())
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => on_the_way(&error),
        // The connection ended within the answer.
        _ => Trouble::of(Cause::Transient).said("the answer was cut"),
    };
    trouble.of_request(request.as_deref())
}

fn exception(code: Option<&str>, message: &str, status: u16) -> Trouble {
    let Some(code) = code else {
        // Whoever answers without naming an exception is not the service, or is what stands before it.
        let cause = if status >= 500 { Cause::Transient } else { Cause::EndpointWrong };
        return Trouble::of(cause).said(format!("status {status}, no exception named"));
    };
    let cause = match code {
        "DisabledException" => Cause::KeyDisabled,
        "KMSInvalidStateException" if message.contains("pending deletion") => Cause::KeyPendingDeletion,
        "KMSInvalidStateException" => Cause::KeyDisabled,
        "NotFoundException" | "InvalidArnException" => Cause::KeyMissing,
        "InvalidCiphertextException" | "IncorrectKeyException" => Cause::Integrity,
        "InvalidKeyUsageException" | "UnsupportedOperationException" => Cause::Unsupported,
        "ThrottlingException" | "LimitExceededException" | "RequestLimitExceeded" => Cause::Throttled,
        "InvalidSignatureException" | "SignatureDoesNotMatch" if about_time(message) => Cause::ClockSkew,
        "InvalidSignatureException" if message.contains("Credential should be scoped") => Cause::EndpointWrong,
        // We name our own key: bytes that claim to be of another are not a row of ours.
        "AccessDeniedException" if message.starts_with("The ciphertext refers to") => Cause::Integrity,
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Cause::ClockSkew,
        "AccessDeniedException"
        | "AccessDenied"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "OptInRequired"
        | "NotAuthorized" => Cause::Denied,
        "UnknownOperationException" => Cause::EndpointWrong,
        "DependencyTimeoutException" => Cause::Timeout,
        "ValidationException" | "SerializationException" => Cause::Unsupported,
        // KMSInternalException, KeyUnavailableException, ServiceUnavailable and what is not known.
        _ => Cause::Transient,
    };
    // Whoever answers may be anybody: what has not the form of a name is not repeated.
    let name = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Trouble::of(cause).said(if name { code } else { "an exception without a name" })
}

/// The service's two sentences about a signature made too early or too late.
fn about_time(message: &str) -> bool {
    message.contains("Signature expired") || message.contains("Signature not yet current")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exception_reads_differently_by_what_it_says() {
        let cause = |code, message| exception(Some(code), message, 400).cause;
        assert_eq!(cause("KMSInvalidStateException", "arn is pending deletion."), Cause::KeyPendingDeletion);
        assert_eq!(cause("KMSInvalidStateException", "arn is pending import."), Cause::KeyDisabled);
        let elsewhere = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, \
                         or you are not allowed to access.";
        assert_eq!(cause("AccessDeniedException", elsewhere), Cause::Integrity);
        assert_eq!(cause("AccessDeniedException", "User: a is not authorized to perform: kms:Decrypt"), Cause::Denied);
        let expired = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z";
        for code in ["InvalidSignatureException", "SignatureDoesNotMatch"] {
            assert_eq!(cause(code, expired), Cause::ClockSkew);
            assert_eq!(cause(code, "Signature not yet current: 20260101T001000Z is still later"), Cause::ClockSkew);
            assert_eq!(cause(code, "does not match the signature you provided"), Cause::Denied);
        }
        for code in ["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"] {
            assert_eq!(cause(code, ""), Cause::ClockSkew);
        }
        assert_eq!(
            cause("InvalidSignatureException", "The request signature we calculated does not match"),
            Cause::Denied
        );
    }

    #[test]
    fn an_answer_without_an_exception_is_not_the_services() {
        assert_eq!(exception(None, "", 200).cause, Cause::EndpointWrong);
        assert_eq!(exception(None, "", 404).cause, Cause::EndpointWrong);
        assert_eq!(exception(None, "", 503).cause, Cause::Transient);
        assert_eq!(exception(Some("KMSInternalException"), "", 500).cause, Cause::Transient);
    }
}
