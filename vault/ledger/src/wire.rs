//! The protobuf messages of `proto/cofre/v1/ledger.proto`, derived by hand so that this crate needs no gRPC.
//! A test compares them with the .proto file. Field order is tag order, there is no map: prost's encoding of these
//! is deterministic, and decoding accepts nothing else (see [`canonical`]).

use prost::Message;

/// Decodes and refuses whatever does not encode to the same bytes again: unknown fields, other orders, repeated
/// singular fields, defaults spelled out, over-long varints.
pub(crate) fn canonical<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    (message.encode_to_vec() == bytes).then_some(message)
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CallerRef {
    #[prost(string, tag = "1")]
    pub(crate) identity: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) fingerprint: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeRef {
    #[prost(string, tag = "1")]
    pub(crate) identity: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) incarnation: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Epochs {
    #[prost(uint64, tag = "1")]
    pub(crate) cell: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) policy: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) tenant: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) institution: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) worker: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) credential: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldForm {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(int32, tag = "2")]
    pub(crate) form: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TenantKeyRef {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) version: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LedgerEntry {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) id: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(crate) caller: Option<CallerRef>,
    #[prost(message, optional, tag = "4")]
    pub(crate) node: Option<NodeRef>,
    #[prost(string, optional, tag = "5")]
    pub(crate) method: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) tenant_id: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(crate) region: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub(crate) credential_id: Option<String>,
    #[prost(int32, optional, tag = "9")]
    pub(crate) class: Option<i32>,
    #[prost(uint32, optional, tag = "10")]
    pub(crate) secret_version: Option<u32>,
    #[prost(string, optional, tag = "11")]
    pub(crate) owner_id: Option<String>,
    #[prost(string, optional, tag = "12")]
    pub(crate) institution_id: Option<String>,
    #[prost(string, repeated, tag = "13")]
    pub(crate) consent_ids: Vec<String>,
    #[prost(message, optional, tag = "14")]
    pub(crate) epochs: Option<Epochs>,
    #[prost(int32, optional, tag = "15")]
    pub(crate) purpose: Option<i32>,
    #[prost(int32, repeated, tag = "16")]
    pub(crate) scopes: Vec<i32>,
    #[prost(int32, optional, tag = "17")]
    pub(crate) attendance: Option<i32>,
    #[prost(string, optional, tag = "18")]
    pub(crate) job_id: Option<String>,
    #[prost(bytes = "vec", optional, tag = "19")]
    pub(crate) request_digest: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "20")]
    pub(crate) policy_digest: Option<Vec<u8>>,
    #[prost(string, repeated, tag = "21")]
    pub(crate) rules: Vec<String>,
    #[prost(bytes = "vec", tag = "22")]
    pub(crate) policy_input: Vec<u8>,
    #[prost(int32, optional, tag = "23")]
    pub(crate) verdict: Option<i32>,
    #[prost(int32, optional, tag = "24")]
    pub(crate) reason: Option<i32>,
    #[prost(message, repeated, tag = "25")]
    pub(crate) fields: Vec<FieldForm>,
    #[prost(message, optional, tag = "26")]
    pub(crate) tenant_key: Option<TenantKeyRef>,
    #[prost(uint64, optional, tag = "27")]
    pub(crate) lease_until_us: Option<u64>,
    #[prost(uint64, optional, tag = "28")]
    pub(crate) follows: Option<u64>,
    #[prost(int32, optional, tag = "29")]
    pub(crate) outcome: Option<i32>,
    #[prost(string, optional, tag = "30")]
    pub(crate) custodian_request: Option<String>,
    #[prost(uint64, optional, tag = "31")]
    pub(crate) custodian_us: Option<u64>,
    #[prost(uint64, optional, tag = "32")]
    pub(crate) count: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "33")]
    pub(crate) digest: Option<Vec<u8>>,
    #[prost(string, optional, tag = "34")]
    pub(crate) reference: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct JobStatement {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) tenant_id: String,
    #[prost(string, tag = "3")]
    pub(crate) credential_id: String,
    #[prost(string, tag = "4")]
    pub(crate) worker: String,
    #[prost(int32, tag = "5")]
    pub(crate) purpose: i32,
    #[prost(int32, repeated, tag = "6")]
    pub(crate) scopes: Vec<i32>,
    #[prost(string, tag = "7")]
    pub(crate) recipient_id: String,
    #[prost(uint64, tag = "8")]
    pub(crate) history_from_us: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) deadline_us: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttendanceStatement {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) tenant_id: String,
    #[prost(string, tag = "3")]
    pub(crate) owner_id: String,
    #[prost(string, tag = "4")]
    pub(crate) credential_id: String,
    #[prost(uint64, tag = "5")]
    pub(crate) issued_at_us: u64,
}
