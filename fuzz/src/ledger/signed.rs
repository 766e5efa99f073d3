//! Tokens, statements and promises: bytes that somebody signed, bent before or after.

use cofre_ledger::jws;
use cofre_ledger::promise::{NodeCertificate, NodeStatement, promise_group};
use cofre_ledger::signed::{VerifyingKey, encode_attendance, encode_job, signing_input, verify_attendance, verify_job};
use cofre_model::id::{AttendanceId, CredentialId, JobId, RecipientId, SigningKeyId, SubjectId, TenantId};
use cofre_model::job::{AttendanceStatement, Job, SignedStatement, SigningKey as Registered, StatementKind};
use cofre_model::permit::{EntryRef, GroupSigner};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Purpose, Scope};
use ed25519_dalek::Signer as _;

use super::{ORIGIN, note_key, signing_key};
use crate::input::Input;

const AT: u64 = 1_790_000_000_000;

fn public() -> VerifyingKey {
    VerifyingKey::ed25519(signing_key(1).verifying_key().as_bytes()).expect("a key of full order")
}

/// A receipt whose parts, header included, are bent before or after it is signed.
pub(super) fn token(input: &mut Input<'_>) {
    let key = public();
    let payload = input.chunk().to_vec();
    let honest = jws::signing_input(&key, "k1", "cofre-receipt+jws", &payload).expect("short");
    let signed = input.bend_text(&honest);
    let token = jws::assemble(&signed, &signing_key(1).sign(signed.as_bytes()).to_bytes());
    let bent = input.bend_text(&token);
    if let Ok(read) = jws::verify(&bent, &key) {
        let again = jws::signing_input(&key, &read.kid, &read.typ, &read.payload).expect("short");
        assert_eq!(again, signed, "a token with two spellings was taken");
        assert_eq!(bent, token, "a token nobody signed was taken");
    } else if signed == honest {
        assert_ne!(bent, token, "an honest token was refused");
    }
}

fn tenant() -> TenantId {
    TenantId::from_parts(AT, [1; 10])
}

fn job() -> Vec<u8> {
    encode_job(&Job {
        id: JobId::from_parts(AT, [2; 10]),
        tenant: tenant(),
        credential: CredentialId::from_parts(AT, [3; 10]),
        worker: "spiffe://cofre.test/worker/pool/w1".to_owned(),
        purpose: Purpose::WealthAggregation,
        scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
        recipient: RecipientId::from_parts(AT, [4; 10]),
        history_from: Timestamp::from_millis(1),
        deadline: Timestamp::from_millis(AT),
    })
}

fn attendance() -> Vec<u8> {
    encode_attendance(&AttendanceStatement {
        id: AttendanceId::from_parts(AT, [5; 10]),
        tenant: tenant(),
        owner: SubjectId::from_parts(AT, [6; 10]),
        credential: CredentialId::from_parts(AT, [3; 10]),
        issued_at: Timestamp::from_millis(AT),
    })
}

/// Statements bent before they are signed, and promises bent after.
pub(super) fn statements(input: &mut Input<'_>) {
    if input.byte() % 3 == 0 {
        return promise(input);
    }
    let (now, kind) =
        (Timestamp::from_millis(AT), if input.flag() { StatementKind::Job } else { StatementKind::Attendance });
    let key = Registered {
        id: SigningKeyId::from_parts(AT, [7; 10]),
        tenant: tenant(),
        kind,
        public_key: signing_key(1).verifying_key().to_bytes(),
        not_after: Timestamp::from_millis(AT + 1),
    };
    let good = if input.flag() { job() } else { attendance() };
    let statement = if input.flag() { input.bend(&good) } else { input.chunk().to_vec() };
    let label = if input.byte() % 8 == 0 { StatementKind::Attendance } else { kind };
    let signature = signing_key(1).sign(&signing_input(label, &statement)).to_bytes();
    let signed = SignedStatement { key_id: key.id, statement: statement.clone(), signature };
    if let Ok(job) = verify_job(&signed, &key, now) {
        assert!(kind == StatementKind::Job && label == kind && job.tenant == key.tenant);
        assert_eq!(encode_job(&job), statement, "a job with two spellings was taken");
    }
    if let Ok(presence) = verify_attendance(&signed, &key, now) {
        assert!(kind == StatementKind::Attendance && label == kind && presence.tenant == key.tenant);
        assert_eq!(encode_attendance(&presence), statement, "a presence with two spellings was taken");
    }
    let unsigned = SignedStatement { signature: [input.byte(); 64], ..signed };
    assert!(verify_job(&unsigned, &key, now).is_err() && verify_attendance(&unsigned, &key, now).is_err());
}

#[derive(Debug)]
struct Node;

impl GroupSigner for Node {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        signing_key(5).sign(message).to_bytes()
    }
    fn public_key(&self) -> [u8; 32] {
        signing_key(5).verifying_key().to_bytes()
    }
}

fn promise(input: &mut Input<'_>) {
    let (first, count) = (u64::from(input.short()), 1 + usize::from(input.byte() & 15));
    let time = Timestamp::from_millis(AT);
    let hashes: Vec<[u8; 32]> = (0..count).map(|place| [u8::try_from(place).unwrap_or(0); 32]).collect();
    let promises = promise_group(ORIGIN, first, &hashes, time, time, &Node).expect("a group");
    let place = input.below(count);
    let entry = EntryRef { index: first + place as u64, leaf_hash: hashes[place], time };
    let statement = NodeStatement {
        origin: ORIGIN.to_owned(),
        node: "spiffe://cofre.test/node/eu-nl/n1".to_owned(),
        incarnation: [3; 16],
        public_key: Node.public_key(),
        time,
    };
    let good = statement.to_bytes().expect("short");
    let bytes = input.bend(&good);
    let signature = signing_key(1).sign(&bytes).to_bytes().to_vec();
    let certificate = NodeCertificate { statement: bytes.clone(), signature };
    if let Ok(read) = NodeStatement::parse(&bytes) {
        assert_eq!(read.to_bytes().as_ref(), Ok(&bytes), "a node statement with two spellings was read");
    }
    let mut told = promises[place].clone();
    let mut at = entry;
    match input.byte() % 8 {
        0 => told.signature[usize::from(input.byte() & 63)] ^= 1,
        1 => told.path.push([input.byte(); 32]),
        2 => told.head.count = told.head.count.wrapping_add(u32::from(input.byte())),
        3 => told.head.first_index = input.long(),
        4 => at.index = input.long(),
        5 => at.leaf_hash[0] ^= 1 + (input.byte() & 1),
        6 => told.head.origin.push('x'),
        _ => {}
    }
    let taken = told.verify_chain(&at, &certificate, &note_key(1));
    let honest = told == promises[place] && at == entry && bytes == good;
    assert!(!honest || taken.is_ok(), "an honest promise was refused: {taken:?}");
    if let Ok(node) = taken {
        assert!(
            told.head == promises[place].head && told.signature == promises[place].signature,
            "a promise nobody gave was taken"
        );
        let known = (at.index, at.leaf_hash) == (entry.index, entry.leaf_hash);
        assert!(known && node.public_key == Node.public_key(), "a promise for another entry was taken");
    }
}
