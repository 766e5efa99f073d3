//! One entry, one encoding: round trips, pinned bytes, refusals, and agreement with the .proto file.

use std::collections::BTreeMap;

use cofre_model::entry::{Entry, EntryKind, Verdict};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_model::wording::Attendance;
use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::{EntryError, Leaf, MAX_LEAF, MAX_POLICY_INPUT, decode, encode, leaf_hash};
use crate::samples::full_entry;
use crate::wire;

#[test]
fn every_kind_and_every_field_survives() {
    for kind in EntryKind::ALL {
        let bare = Entry::new(*kind, [9; 16]);
        assert_eq!(decode(&encode(&bare).expect("short")), Ok(bare));
    }
    let full = full_entry();
    assert_eq!(decode(&encode(&full).expect("short")), Ok(full));
}

#[test]
fn absent_zero_and_empty_are_three_things() {
    let mut entry = Entry::new(EntryKind::Refusals, [1; 16]);
    let absent = encode(&entry).expect("short");
    entry.count = Some(0);
    entry.region = Some(String::new());
    let zero = encode(&entry).expect("short");
    assert_ne!(absent, zero);
    assert_eq!(decode(&zero), Ok(entry));
}

#[test]
fn the_bytes_are_pinned() {
    let bare = Entry::new(EntryKind::Warm, [0xab; 16]);
    let body = encode(&bare).expect("short");
    assert_eq!(hex::encode(&body), "08171210abababababababababababababababab");
    let leaf = Leaf { index: 258, time: Timestamp::from_micros(0x0102_0304_0506_0708), body };
    let bytes = leaf.to_bytes().expect("short");
    assert_eq!(hex::encode(&bytes), "010000000000000102010203040506070808171210abababababababababababababababab");
    assert_eq!(Leaf::parse(&bytes), Ok(leaf.clone()));
    assert_eq!(leaf.hash(), Ok(leaf_hash(&bytes)));
    assert_eq!(leaf.entry(), Ok(bare));
    let full = leaf_hash(&encode(&full_entry()).expect("short"));
    assert_eq!(hex::encode(full), "d2d9b93321df4b40055fcbf01bdf0e95e13f7b5699013ae70931f11c25436309");
}

#[test]
fn other_spellings_of_an_entry_are_refused() {
    let good = encode(&Entry::new(EntryKind::Warm, [7; 16])).expect("short");
    let (kind, id) = good.split_at(2);
    let cases: [(&str, Vec<u8>); 7] = [
        ("other order", [id, kind].concat()),
        ("field twice", [kind, kind, id].concat()),
        ("unknown field", [good.as_slice(), &[0xf8, 0x07, 0x01]].concat()),
        ("empty policy input spelled out", [good.as_slice(), &[0xb2, 0x01, 0x00]].concat()),
        ("over-long varint", [&[0x08, 0x97, 0x00], id].concat()),
        ("cut", good.get(..good.len() - 1).expect("longer").to_vec()),
        ("not protobuf", vec![0xff; 8]),
    ];
    for (name, bytes) in cases {
        assert_eq!(decode(&bytes), Err(EntryError::NotCanonical), "{name}");
    }
}

#[test]
fn values_the_model_does_not_know_are_named() {
    let refuse = |field: &str, change: &dyn Fn(&mut wire::LedgerEntry)| {
        let mut raw = super::to_wire(&full_entry());
        change(&mut raw);
        match decode(&raw.encode_to_vec()) {
            Err(EntryError::Field(named)) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    };
    refuse("kind", &|raw| raw.kind = 0);
    refuse("kind", &|raw| raw.kind = 99);
    refuse("id", &|raw| raw.id = vec![1; 15]);
    refuse("class", &|raw| raw.class = Some(3));
    refuse("purpose", &|raw| raw.purpose = Some(0));
    refuse("scopes", &|raw| raw.scopes = vec![7, 2]);
    refuse("scopes", &|raw| raw.scopes = vec![2, 2]);
    refuse("scopes", &|raw| raw.scopes = vec![99]);
    refuse("attendance", &|raw| raw.attendance = Some(-1));
    refuse("verdict", &|raw| raw.verdict = Some(3));
    refuse("reason", &|raw| raw.reason = Some(1_000));
    refuse("outcome", &|raw| raw.outcome = Some(12));
    refuse("tenant_id", &|raw| raw.tenant_id = raw.credential_id.clone());
    refuse("credential_id", &|raw| raw.credential_id = Some("crd_".into()));
    refuse("owner_id", &|raw| raw.owner_id = raw.owner_id.as_ref().map(|text| text.to_lowercase()));
    refuse("institution_id", &|raw| raw.institution_id = Some("ins_A".into()));
    refuse("job_id", &|raw| raw.job_id = Some(String::new()));
    refuse("consent_ids", &|raw| raw.consent_ids = vec!["x".into()]);
    refuse("digest", &|raw| raw.digest = Some(vec![0; 31]));
    refuse("request_digest", &|raw| raw.request_digest = Some(vec![]));
    refuse("policy_digest", &|raw| raw.policy_digest = Some(vec![0; 33]));
    refuse("tenant_key.id", &|raw| raw.tenant_key = Some(wire::TenantKeyRef::default()));
    refuse("caller.fingerprint", &|raw| raw.caller = Some(wire::CallerRef::default()));
    refuse("node.incarnation", &|raw| raw.node = Some(wire::NodeRef::default()));
    refuse("fields.form", &|raw| raw.fields = vec![wire::FieldForm::default()]);
}

#[test]
fn limits_hold_at_their_edge() {
    let mut entry = Entry::new(EntryKind::Denied, [1; 16]);
    entry.policy_input = vec![1; MAX_POLICY_INPUT];
    assert!(encode(&entry).is_ok_and(|body| decode(&body).is_ok()));
    entry.policy_input.push(1);
    assert_eq!(encode(&entry), Err(EntryError::PolicyInputTooLong(2_049)));
    assert_eq!(decode(&super::to_wire(&entry).encode_to_vec()), Err(EntryError::PolicyInputTooLong(2_049)));

    let leaf = |body: usize| Leaf { index: 0, time: Timestamp::default(), body: vec![0; body] };
    let longest = leaf(MAX_LEAF - 17).to_bytes().expect("fits");
    assert_eq!(longest.len(), MAX_LEAF);
    assert!(Leaf::parse(&longest).is_ok());
    assert_eq!(leaf(MAX_LEAF - 16).to_bytes(), Err(EntryError::TooLong(MAX_LEAF + 1)));
    assert_eq!(Leaf::parse(&[0; MAX_LEAF + 1]), Err(EntryError::TooLong(MAX_LEAF + 1)));
    assert_eq!(Leaf::parse(&[1; 16]), Err(EntryError::Version));
    assert_eq!(Leaf::parse(&[2; 40]), Err(EntryError::Version));
}

// === the .proto file ===

fn descriptors() -> FileDescriptorSet {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    protox::compile(["cofre/v1/ledger.proto"], [root]).expect("the .proto file compiles")
}

/// Field number and wire type of everything at the top level of a message, with the bytes of what is nested.
fn wire_fields(mut bytes: &[u8]) -> BTreeMap<u32, (u8, Vec<u8>)> {
    use prost::encoding::{decode_key, decode_varint};
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let (tag, kind) = decode_key(&mut bytes).expect("a key");
        let len = decode_varint(&mut bytes).expect("all fields here are varints or lengths");
        let mut nested = Vec::new();
        if kind as u8 == 2 {
            let (value, rest) = bytes.split_at(usize::try_from(len).expect("short"));
            nested = value.to_vec();
            bytes = rest;
        }
        fields.insert(tag, (kind as u8, nested));
    }
    fields
}

/// Every field of the descriptor is in the bytes of a message with all fields set, with its wire type, and no other.
fn agree(set: &FileDescriptorSet, message: &str, bytes: &[u8]) -> usize {
    let find = |name: &str| -> Option<DescriptorProto> {
        set.file.iter().flat_map(|file| &file.message_type).find(|known| known.name() == name).cloned()
    };
    let descriptor = find(message).unwrap_or_else(|| panic!("{message} is in the .proto file"));
    let present = wire_fields(bytes);
    let numbers: Vec<u32> = descriptor.field.iter().map(|field| field.number().cast_unsigned()).collect();
    assert_eq!(present.keys().copied().collect::<Vec<_>>(), numbers, "{message}");
    let mut count = numbers.len();
    for field in &descriptor.field {
        let (kind, nested) = present.get(&field.number().cast_unsigned()).expect("compared above");
        let packed = field.label() == prost_types::field_descriptor_proto::Label::Repeated;
        let expected = match field.r#type() {
            Type::Enum | Type::Uint32 | Type::Uint64 if !packed => 0,
            Type::Enum | Type::Uint32 | Type::Uint64 | Type::String | Type::Bytes | Type::Message => 2,
            other => panic!("{message}.{} has a type this test does not know: {other:?}", field.name()),
        };
        assert_eq!(*kind, expected, "{message}.{}", field.name());
        if field.r#type() == Type::Message {
            count += agree(set, field.type_name().rsplit('.').next().expect("a name"), nested);
        }
    }
    count
}

#[test]
fn the_messages_are_those_of_the_proto_file() {
    let set = descriptors();
    let full = encode(&full_entry()).expect("short");
    assert_eq!(agree(&set, "LedgerEntry", &full), 34 + 2 + 2 + 6 + 2 + 2);
    let job = crate::signed::encode_job(&crate::signed::tests::job());
    assert_eq!(agree(&set, "JobStatement", &job), 9);
    let attendance = crate::signed::encode_attendance(&crate::signed::tests::attendance());
    assert_eq!(agree(&set, "AttendanceStatement", &attendance), 5);
}

#[test]
fn the_enums_are_those_of_the_model() {
    let set = descriptors();
    let values = |name: &str| -> Vec<(i32, String)> {
        let found = set.file.iter().flat_map(|file| &file.enum_type).find(|known| known.name() == name);
        let values = &found.unwrap_or_else(|| panic!("{name} is in the .proto file")).value;
        values.iter().skip(1).map(|value| (value.number(), value.name().to_owned())).collect()
    };
    let expected = |prefix: &str, words: Vec<(i32, &str)>| -> Vec<(i32, String)> {
        words.into_iter().map(|(number, text)| (number, format!("{prefix}_{text}"))).collect()
    };
    let kinds = EntryKind::ALL.iter().map(|word| (word.number(), word.as_str())).collect();
    assert_eq!(values("EntryKind"), expected("ENTRY_KIND", kinds));
    let verdicts = Verdict::ALL.iter().map(|word| (word.number(), word.as_str())).collect();
    assert_eq!(values("Verdict"), expected("VERDICT", verdicts));
    let reasons = Reason::ALL.iter().map(|word| (word.number(), word.as_str())).collect();
    assert_eq!(values("Reason"), expected("REASON", reasons));
    let attendance = Attendance::ALL.iter().map(|word| (word.number(), word.as_str())).collect();
    assert_eq!(values("Attendance"), expected("ATTENDANCE", attendance));
}
