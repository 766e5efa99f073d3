//! Hostile identifiers in every text of every request message, taken from the wire's own description: a text that is
//! added to a message has no row here, and this test says so. Each is refused by the name of its field; none is folded,
//! trimmed, decoded or cut into something that exists.

use cofre_edge::gate::{self, Listener};
use cofre_edge::services::Services;
use cofre_model::caller::Role;
use cofre_model::id::{
    ChallengeId, ConsentId, CredentialId, DepositKeyId, EnrolmentId, ErasureId, JobId, KeyJobId, RecipientId,
    RequestId, SigningKeyId, SubjectId, TenantId,
};
use cofre_model::reason::Reason;
use cofre_model::time::Clock;
use http_body_util::BodyExt;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

use crate::identities::ONE_OF_EACH;
use crate::support::{Plan, Register, TRUST_DOMAIN, WORKER};
use crate::vault::Vault;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Names one thing in one spelling.
    Id,
    /// A name of its own alphabet, which "root" is a good one of.
    Word,
    /// The tenant's own pseudonym or a session's: visible ASCII of a certain length, compared to the byte.
    Token,
    /// For people to read, a pattern, or what a custodian calls its key, which is compared to the byte.
    Free,
}

use Kind::{Free, Id, Token, Word};

/// Every text of a request: message, field, what it is, a good one. `*` stands for any message.
fn rows() -> Vec<(&'static str, &'static str, Kind, String)> {
    let of = |text: &dyn ToString| text.to_string();
    let ten = [7; 10];
    vec![
        ("*", "credential_id", Id, of(&CredentialId::from_parts(1, ten))),
        ("*", "tenant_id", Id, of(&TenantId::from_parts(1, ten))),
        ("*", "institution_id", Id, "ins_caja-prueba".to_owned()),
        ("*", "recipient_id", Id, of(&RecipientId::from_parts(1, ten))),
        ("*", "consent_id", Id, of(&ConsentId::from_parts(1, ten))),
        ("*", "enrolment_id", Id, of(&EnrolmentId::from_parts(1, ten))),
        ("*", "deposit_key_id", Id, of(&DepositKeyId::from_parts(1, ten))),
        ("*", "request_id", Id, of(&RequestId::from_parts(1, ten))),
        ("StopKeyJobRequest", "job_id", Id, of(&KeyJobId::from_parts(1, ten))),
        ("*", "job_id", Id, of(&JobId::from_parts(1, ten))),
        ("*", "challenge_id", Id, of(&ChallengeId::from_parts(1, ten))),
        ("*", "subject_id", Id, of(&SubjectId::from_parts(1, ten))),
        ("*", "erasure_id", Id, of(&ErasureId::from_parts(1, ten))),
        ("*", "spiffe_id", Id, WORKER.to_owned()),
        ("SignedStatement", "key_id", Id, of(&SigningKeyId::from_parts(1, ten))),
        ("NewSigningKey", "kind", Id, "job".to_owned()),
        ("OpenRequest", "intent", Id, "LOGIN".to_owned()),
        ("TileRequest", "path", Id, "tile/0/000.p/1".to_owned()),
        ("SearchRequest", "kind", Id, "DENIED".to_owned()),
        ("SearchRequest", "reason", Id, "BAD_REQUEST".to_owned()),
        ("SearchRequest", "caller", Id, WORKER.to_owned()),
        ("PutTenantRequest", "slug", Word, "acme".to_owned()),
        ("PutTenantRequest", "home_region", Word, "eu-nl".to_owned()),
        ("FieldRequest", "key", Word, "user".to_owned()),
        ("SealedField", "key", Word, "user".to_owned()),
        ("TemplateField", "key", Word, "user".to_owned()),
        ("*", "subject_ref", Token, "inv-1".to_owned()),
        ("GrantRequest", "authn_method", Token, "passkey".to_owned()),
        ("GrantRequest", "session_id", Token, "session-1".to_owned()),
        ("PutInstitutionRequest", "country", Id, "ES".to_owned()),
        ("PutTenantRequest", "custody_set", Id, "any_of(hsm-1)".to_owned()),
        ("RewrapKeysRequest", "custody_set", Id, "any_of(hsm-1)".to_owned()),
        ("RetireKeysRequest", "custodian", Word, "hsm-1".to_owned()),
        ("RewrapKeysRequest", "from_key", Free, "root 1".to_owned()),
        ("RetireKeysRequest", "key", Free, "root 1".to_owned()),
        ("PutTenantRequest", "legal_name", Free, "Gestora SL".to_owned()),
        ("PutTenantRequest", "recipients", Free, "Gestora".to_owned()),
        ("PutInstitutionRequest", "name", Free, "Caja".to_owned()),
        ("TemplateField", "pattern", Free, "[0-9]{8}".to_owned()),
        ("OpenRequest", "text", Free, "Type the code we sent you".to_owned()),
    ]
}

/// Spellings that fold, trim, decode, cut or unfold to something else somewhere.
fn hostile(good: &str, kind: Kind) -> Vec<String> {
    // U+FF41 and on fold to ASCII under NFKC.
    let wide = |c: char| char::from_u32(u32::from(c) + 0xfee0).expect("fullwidth");
    let first = good.chars().next().expect("not empty");
    let rest: String = good.chars().skip(1).collect();
    let mut texts = vec![
        format!("{}{rest}", wide(first)),
        format!("{good}\u{200b}"),
        format!("\u{feff}{good}"),
        format!("{good}\u{301}"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\t"),
        format!("{good}\n"),
        format!("{good}\r\n"),
        format!("{good}\0"),
        format!("{good}\0{good}"),
        format!("{good}\u{7f}"),
        format!("{good}%2e"),
        format!("{good}%00"),
        format!("{good}/.."),
        format!("../{good}"),
        format!("{good}//"),
        "//".to_owned(),
        format!("{good}\\"),
        format!("{good}\"}} || true || {{\""),
        format!("{good}\", \"admin\": \"true"),
        format!("{good}' OR '1'='1"),
        format!("{good};--"),
        format!("{good}\u{1b}[31m"),
        format!("{good}\u{202e}"),
        good.repeat(60 * 1024 / good.len()),
    ];
    if matches!(kind, Id | Word) {
        let swapped: String = good
            .chars()
            .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
        texts.extend([swapped, format!("{good}."), "..".to_owned(), ".".to_owned(), "*".to_owned(), "+".to_owned()]);
        texts.extend([format!("{good}*"), format!("{good}+"), format!("{good},{good}"), format!("{good}@v1")]);
    }
    if kind == Id {
        texts.extend(["root".to_owned(), format!("{good}!"), format!("!{good}"), rest]);
    }
    texts
}

/// Where the hostile text goes, and what it is.
#[derive(Clone, Copy)]
struct Planted<'a> {
    path: &'a str,
    text: &'a str,
}

struct Wire {
    messages: Vec<DescriptorProto>,
    rows: Vec<(&'static str, &'static str, Kind, String)>,
    now_us: u64,
}

impl Wire {
    fn message(&self, type_name: &str) -> &DescriptorProto {
        let name = type_name.rsplit('.').next().expect("a name");
        self.messages.iter().find(|each| each.name() == name).expect(name)
    }

    fn row(&self, message: &DescriptorProto, field: &FieldDescriptorProto) -> (Kind, &str) {
        let row =
            self.rows.iter().find(|(of, name, _, _)| (*of == "*" || *of == message.name()) && *name == field.name());
        let row = row.unwrap_or_else(|| panic!("{}.{} has no row in this test", message.name(), field.name()));
        (row.2, &row.3)
    }

    /// Every text of a message, by its path as errors write it.
    fn texts(&self, message: &DescriptorProto, prefix: &str) -> Vec<(String, Kind, String)> {
        let mut texts = Vec::new();
        for field in &message.field {
            let path = path(prefix, field);
            match field.r#type() {
                Type::String => {
                    let (kind, good) = self.row(message, field);
                    texts.push((path, kind, good.to_owned()));
                }
                Type::Message => texts.extend(self.texts(self.message(field.type_name()), &path)),
                _ => {}
            }
        }
        texts
    }

    /// A message that is good but for what is planted.
    fn encode(&self, message: &DescriptorProto, prefix: &str, planted: Planted<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in &message.field {
            let path = path(prefix, field);
            let planted_here = planted.path == path || planted.path.starts_with(&format!("{path}."));
            if let Some(choice) = field.oneof_index {
                // Of a choice the planted one, or else the first.
                let of_choice = |each: &&FieldDescriptorProto| each.oneof_index == Some(choice);
                let elsewhere = message.field.iter().filter(of_choice).any(|each| {
                    let other = self::path(prefix, each);
                    planted.path == other || planted.path.starts_with(&format!("{other}."))
                });
                let first = message.field.iter().find(of_choice).expect("one").number() == field.number();
                if !planted_here && (elsewhere || !first) {
                    continue;
                }
            }
            self.encode_field(message, field, &path, planted, &mut bytes);
        }
        bytes
    }

    fn encode_field(
        &self,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
        path: &str,
        planted: Planted<'_>,
        bytes: &mut Vec<u8>,
    ) {
        let number = u64::try_from(field.number()).expect("a number");
        let mut put = |content: &[u8]| {
            varint(number << 3 | 2, bytes);
            varint(content.len() as u64, bytes);
            bytes.extend_from_slice(content);
        };
        match field.r#type() {
            Type::String if planted.path == path => put(planted.text.as_bytes()),
            Type::String => put(self.row(message, field).1.as_bytes()),
            Type::Message => put(&self.encode(self.message(field.type_name()), path, planted)),
            Type::Bytes => put(&vec![1; if field.name() == "signature" { 64 } else { 32 }]),
            _ => {
                let value = match field.name() {
                    "valid_until_us" | "expires_us" => self.now_us + 60_000_000,
                    "not_after_us" => self.now_us + 3_600_000_000,
                    "history_from_us" => self.now_us,
                    "code_length" => 6,
                    "unattended_per_day" | "locked_until_us" | "unattended_from" | "to_index" | "signing_factor" => 0,
                    "positions" | "suspended" => return,
                    "unattended_to" => 1_440,
                    _ => 1,
                };
                varint(number << 3, bytes);
                varint(value, bytes);
            }
        }
    }
}

fn path(prefix: &str, field: &FieldDescriptorProto) -> String {
    let index = if field.label() == Label::Repeated { "[0]" } else { "" };
    if prefix.is_empty() { format!("{}{index}", field.name()) } else { format!("{prefix}.{}{index}", field.name()) }
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
}

async fn send(channel: &Channel, method: &str, message: &[u8]) -> Status {
    let len = u32::try_from(message.len()).expect("short").to_be_bytes();
    let body = [&[0], len.as_slice(), message].concat();
    let request = http::Request::post(method).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(Body::new(http_body_util::Full::new(body.into()))).expect("a request");
    let response = channel.clone().ready_oneshot().await.expect("a channel").call(request).await.expect("an answer");
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    // Of a stream its beginning is enough: it was taken.
    if let Some(frame) = body.frame().await {
        let trailers = frame.expect("a frame").into_trailers();
        return trailers.map_or_else(|_| Status::ok(""), |it| Status::from_header_map(&it).expect("a status"));
    }
    Status::unknown("no status")
}

fn field_of(status: &Status) -> Option<String> {
    status.get_details_bad_request().and_then(|bad| bad.field_violations.first().map(|each| each.field.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_of_every_request_is_itself_or_is_refused_by_name() {
    let plan = Plan::new();
    let vault = Vault::open(plan.clock.clone()).await;
    let (use_cases, node) = (vault.use_cases(), vault.node());
    let services = move |refusals: std::sync::Arc<Register>, stop| Services::new(use_cases, node, refusals, stop);
    let rates = Some((1_000_000, 1_000_000));
    let house = Plan { services: Some(Box::new(services)), rates, ..plan }.open().await;
    vault.put_tenant(1, "acme").await;

    let described = FileDescriptorSet::decode(cofre_proto::DESCRIPTORS).expect("descriptors");
    let messages = described.file.iter().flat_map(|file| file.message_type.clone()).collect();
    let wire = Wire { messages, rows: rows(), now_us: house.clock.now().micros() };
    let (mut sent, mut free) = (0, 0);
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                let name = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let role = gate::allowed(&name).expect(&name)[0];
                let channel = house.enter_by(Listener::of(role), &house.issue(of_role(role))).await.expect("let in");
                let message = wire.message(method.input_type());
                for (path, kind, good) in wire.texts(message, "") {
                    if kind == Free {
                        free += 1;
                        continue;
                    }
                    // The control: the good one is not what is wrong with the message.
                    let planted = Planted { path: &path, text: &good };
                    let status = send(&channel, &name, &wire.encode(message, "", planted)).await;
                    let blamed = status.code() == Code::InvalidArgument && field_of(&status).as_ref() == Some(&path);
                    assert!(!blamed, "{name} {path}: {good:?} is a good one: {status:?}");
                    for text in hostile(&good, kind) {
                        let before = house.register.all().len();
                        let planted = Planted { path: &path, text: &text };
                        let status = send(&channel, &name, &wire.encode(message, "", planted)).await;
                        let shown: String = text.chars().take(60).collect();
                        assert_eq!(status.code(), Code::InvalidArgument, "{name} {path} {shown:?}: {status:?}");
                        assert_eq!(field_of(&status).as_ref(), Some(&path), "{name} {path} {shown:?}: {status:?}");
                        // What was sent does not come back, and one refusal is on record.
                        assert!(status.message().len() < 300, "{name} {path} {shown:?}: {status:?}");
                        assert!(text.len() < 8 || !status.message().contains(&text), "{name} {path}: {status:?}");
                        let recorded = house.register.all();
                        assert_eq!(recorded.len(), before + 1, "{name} {path} {shown:?}");
                        assert_eq!(recorded.last().map(|each| each.reason), Some(Reason::BadRequest), "{name} {path}");
                        sent += 1;
                    }
                }
            }
        }
    }
    assert!(sent > 1_500 && free < 8, "{sent} sent, {free} left alone");
}

/// Somebody of a role.
fn of_role(role: Role) -> &'static str {
    let is = |uri: &str| cofre_model::caller::SpiffeId::parse(uri, TRUST_DOMAIN).is_ok_and(|id| id.role() == role);
    ONE_OF_EACH.iter().map(|(uri, _)| *uri).find(|uri| is(uri)).expect("one of each")
}
