//! From wire answers to the model. Strict: an answer that does not parse is no answer.

use std::time::Duration;

use cofre_model::id::IdError;
use cofre_model::job::SignedStatement;
use cofre_model::permit::EntryRef;
use cofre_model::time::Timestamp;
use cofre_proto::v1;
use tonic::Request;

use crate::error::Error;

/// Time for one unary call, its answer included.
const CALL: Duration = Duration::from_secs(30);

/// A request with its deadline.
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

pub(crate) fn id<'a, T: TryFrom<&'a str, Error = IdError>>(field: &'static str, text: &'a str) -> Result<T, Error> {
    T::try_from(text).map_err(|_| Error::Answer(field))
}

pub(crate) fn bytes<const N: usize>(field: &'static str, value: &[u8]) -> Result<[u8; N], Error> {
    value.try_into().map_err(|_| Error::Answer(field))
}

pub(crate) fn entry(wire: Option<v1::EntryRef>) -> Result<EntryRef, Error> {
    let wire = wire.ok_or(Error::Answer("entry"))?;
    Ok(EntryRef {
        index: wire.index,
        leaf_hash: bytes("entry.leaf_hash", &wire.leaf_hash)?,
        time: Timestamp::from_micros(wire.time_us),
    })
}

pub(crate) fn statement(signed: &SignedStatement) -> v1::SignedStatement {
    v1::SignedStatement {
        key_id: signed.key_id.to_string(),
        statement: signed.statement.clone(),
        signature: signed.signature.to_vec(),
    }
}
