//! One call as gRPC has it: a frame to send, an answer to read.

use bytes::Bytes;
use cofre_edge::status::ENTRY;
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

use crate::input::Input;

/// What came of a call.
pub(super) enum Answer {
    /// The first message.
    Message(Vec<u8>),
    /// A status.
    Refused {
        /// Its code.
        code: Code,
        /// The entry it says it stands in.
        entry: Option<u64>,
    },
    /// Neither.
    Broken(String),
}

/// The message in its frame, mostly a good one, and the path, mostly the method's own.
pub(super) fn framed(input: &mut Input<'_>, message: &[u8], method: &str) -> (Vec<u8>, String) {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let (flag, length, path) = match input.byte() {
        255 => (1, length, method.to_owned()),
        254 => (0, length.wrapping_add(1), method.to_owned()),
        253 => (0, u32::from(input.short()) << 8, method.to_owned()),
        252 => (0, length, format!("{method}{}", input.byte())),
        251 => (0, length, format!("/cofre.v1.{}", input.byte())),
        _ => (0, length, method.to_owned()),
    };
    let mut frame = vec![flag];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    (frame, path)
}

/// Asks and reads the head, the first message and the end; of a stream, only its head.
pub(super) async fn ask(channel: Channel, path: &str, frame: Vec<u8>) -> Answer {
    let request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(Body::new(Full::new(Bytes::from(frame)))).expect("a path of ASCII");
    let mut channel = channel;
    let ready = match channel.ready().await {
        Ok(ready) => ready,
        Err(problem) => return Answer::Broken(problem.to_string()),
    };
    let response = match ready.call(request).await {
        Ok(response) => response,
        Err(problem) => return Answer::Broken(problem.to_string()),
    };
    if let Some(status) = Status::from_header_map(response.headers()) {
        return told(&status);
    }
    if !response.status().is_success() {
        return Answer::Broken(format!("HTTP {}", response.status()));
    }
    if super::known::is_stream(path) {
        return Answer::Message(Vec::new());
    }
    match response.into_body().collect().await {
        Ok(body) => {
            let status = body.trailers().and_then(Status::from_header_map);
            match status {
                Some(status) if status.code() == Code::Ok => {
                    Answer::Message(body.to_bytes().get(5..).unwrap_or_default().to_vec())
                }
                Some(status) => told(&status),
                None => Answer::Broken("no status".to_owned()),
            }
        }
        Err(status) => told(&status),
    }
}

fn told(status: &Status) -> Answer {
    let entry = status.get_details_error_info().and_then(|info| info.metadata.get(ENTRY)?.parse().ok());
    Answer::Refused { code: status.code(), entry }
}
