//! Entries, keys and ledgers that the tests of several modules share.

use cofre_model::entry::{CallerRef, Entry, EntryKind, Epochs, NodeRef, Verdict};
use cofre_model::id::{ConsentId, CredentialId, JobId, SubjectId, TenantId};
use cofre_model::permit::GroupSigner;
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_model::wording::{Attendance, Class, Form, Outcome, Purpose, Scope};
use ed25519_dalek::Signer as _;

use crate::checkpoint::Checkpoint;
use crate::entry::{Leaf, encode};
use crate::note::NoteKey;
use crate::signed::VerifyingKey;
use crate::tree::Frontier;

pub(crate) const ORIGIN: &str = "cofre.test/ledger";

pub(crate) fn ed25519(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn p256(seed: u8) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a scalar below the order")
}

pub(crate) fn public(key: &ed25519_dalek::SigningKey) -> VerifyingKey {
    VerifyingKey::ed25519(key.verifying_key().as_bytes()).expect("a key of full order")
}

pub(crate) fn note_key(seed: u8) -> NoteKey {
    NoteKey::new(ORIGIN, public(&ed25519(seed))).expect("a valid name")
}

/// The closure a token would be.
pub(crate) fn signer(seed: u8) -> impl FnMut(&[u8]) -> Result<Vec<u8>, std::convert::Infallible> {
    move |message| Ok(ed25519(seed).sign(message).to_bytes().to_vec())
}

#[derive(Debug)]
pub(crate) struct NodeKey(pub(crate) u8);

impl GroupSigner for NodeKey {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        ed25519(self.0).sign(message).to_bytes()
    }
    fn public_key(&self) -> [u8; 32] {
        ed25519(self.0).verifying_key().to_bytes()
    }
}

/// An entry in which every field is set.
pub(crate) fn full_entry() -> Entry {
    let at = 1_790_000_000_000;
    Entry {
        kind: EntryKind::Granted,
        id: [1; 16],
        caller: Some(CallerRef { identity: "spiffe://cofre.test/worker/pool/w1".into(), fingerprint: [2; 32] }),
        node: Some(NodeRef { identity: "spiffe://cofre.test/node/eu-nl/n1".into(), incarnation: [3; 16] }),
        method: Some("cofre.v1.ReleaseService/Release".into()),
        tenant: Some(TenantId::from_parts(at, [4; 10])),
        region: Some("eu-nl".into()),
        credential: Some(CredentialId::from_parts(at, [5; 10])),
        class: Some(Class::Login),
        secret_version: Some(6),
        owner: Some(SubjectId::from_parts(at, [7; 10])),
        institution: Some("ins_banco-abierto".try_into().expect("valid")),
        consents: vec![ConsentId::from_parts(at, [9; 10]), ConsentId::from_parts(at, [8; 10])],
        epochs: Some(Epochs { cell: 1, policy: 2, tenant: 3, institution: 4, worker: 5, credential: 6 }),
        purpose: Some(Purpose::WealthAggregation),
        scopes: [Scope::Positions, Scope::Accounts].into_iter().collect(),
        attendance: Some(Attendance::Unattended),
        job: Some(JobId::from_parts(at, [10; 10])),
        request_digest: Some([11; 32]),
        policy_digest: Some([12; 32]),
        rules: vec!["release-login-with-consent".into()],
        policy_input: br#"{"now":1}"#.to_vec(),
        verdict: Some(Verdict::Granted),
        reason: Some(Reason::NotDelivered),
        fields: vec![("user".into(), Form::Full), ("pin".into(), Form::Positions)],
        tenant_key: Some(([13; 16], 2)),
        lease_until: Some(Timestamp::from_millis(at)),
        follows: Some(0),
        outcome: Some(Outcome::Ok),
        custodian_request: Some("call-1".into()),
        custodian_us: Some(1_500),
        count: Some(0),
        digest: Some([14; 32]),
        reference: Some("enr".into()),
    }
}

/// The bytes of leaves, as storage would hold them.
pub(crate) fn leaves(entries: &[Entry]) -> Vec<Vec<u8>> {
    (0u64..)
        .zip(entries)
        .map(|(index, entry)| {
            let time = Timestamp::from_micros(1_790_000_000_000_000 + index);
            Leaf { index, time, body: encode(entry).expect("short") }.to_bytes().expect("short")
        })
        .collect()
}

pub(crate) fn checkpoint(leaves: &[Vec<u8>]) -> Checkpoint {
    let mut frontier = Frontier::empty();
    for leaf in leaves {
        frontier.append(crate::entry::leaf_hash(leaf));
    }
    Checkpoint { origin: ORIGIN.into(), size: frontier.size(), root: frontier.root() }
}
