//! Plans, approvals and records: what is taken, and each way in which they are not.

use cofre_model::time::{Span, Timestamp};
use ed25519_dalek::Signer as _;

use super::*;
use crate::note::NoteKey;
use crate::samples::{ed25519, note_key, p256, public};

pub(crate) fn plan_time() -> Timestamp {
    Timestamp::from_secs(1_790_000_000)
}

pub(crate) fn plan() -> Plan {
    let key = |used_to, label: &str, mechanism: &str| PlannedKey {
        used_to,
        label: label.to_owned(),
        mechanism: mechanism.to_owned(),
    };
    Plan {
        deployment: "cofre.test".into(),
        custodian: "hsm-1".into(),
        place: "token label cofre".into(),
        module_sha256: "07".repeat(32),
        people: 2,
        keys: vec![key(Use::Wrap, "root-1", "aes-gcm"), key(Use::Sign, "ledger-1", "ed25519 or ecdsa-p256-sha256")],
    }
}

fn name(seed: u8) -> String {
    format!("spiffe://cofre.test/person/custodian/c{seed}")
}

fn person(seed: u8) -> Person {
    Person { name: name(seed), key: public(&ed25519(seed)) }
}

fn key_of(person: &Person) -> NoteKey {
    NoteKey::new(&person.name, person.key.clone()).expect("a name")
}

/// A chain of one certificate, which is only the seed.
fn chain(seed: u8) -> Vec<Vec<u8>> {
    vec![vec![seed]]
}

/// The approval of the person whose key is of this seed.
pub(crate) fn approval(seed: u8, at: Timestamp) -> Approval {
    over(&plan(), seed, at)
}

fn over(plan: &Plan, seed: u8, at: Timestamp) -> Approval {
    let key = key_of(&person(seed));
    let mut approval = Approval::of(plan, &key, at, &chain(seed)).expect("an approval");
    let signature = ed25519(seed).sign(approval.text().as_bytes()).to_bytes().to_vec();
    approval.sign(&key, signature).expect("it holds");
    approval
}

/// Believes every chain: it is the seed of the key.
fn identify(approval: &Approval) -> Result<Person, CeremonyError> {
    Ok(person(approval.chain()[0][0]))
}

fn try_with(approvals: &[Approval]) -> Result<Vec<Person>, CeremonyError> {
    approvers(&plan(), approvals, plan_time(), identify)
}

fn body(approvals: Vec<Approval>) -> Body {
    let attribute = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let stays = [("CKA_SENSITIVE", "true"), ("CKA_EXTRACTABLE", "false"), ("CKA_LOCAL", "true")];
    let object = |class: &str| Object { class: class.into(), attributes: stays.map(attribute).to_vec() };
    Body {
        at: plan_time().plus(Span::hours(1)),
        tool: "cofred 0.1.0".into(),
        plan: plan(),
        token: ["cofre", "0f3a91c2", "Maker", "Model"].map(str::to_owned),
        mechanism: "aes-gcm".into(),
        why: "the key is AES-256 that encrypts and decrypts".into(),
        witness: Some(vec![7; 92]),
        verifier_key: Some(note_key(1)),
        keys: vec![
            Key {
                used_to: Use::Wrap,
                label: "root-1".into(),
                kind: "AES-256".into(),
                public: None,
                check_value: Some(vec![0xa1, 0xb2, 0xc3]),
                objects: vec![object("secret")],
            },
            Key {
                used_to: Use::Sign,
                label: "ledger-1".into(),
                kind: "ed25519".into(),
                public: Some(public(&ed25519(1)).to_bytes()),
                check_value: None,
                objects: vec![object("private"), Object { class: "public".into(), attributes: Vec::new() }],
            },
        ],
        approvals,
    }
}

fn both() -> Vec<Approval> {
    vec![approval(2, plan_time()), approval(3, plan_time())]
}

fn signed() -> Record {
    let mut record = Record::of(body(both())).expect("follows its plan");
    let signature = ed25519(1).sign(record.text().as_bytes()).to_bytes();
    record.sign(signature).expect("the token's key");
    record
}

fn countersigned(record: &mut Record, seed: u8) -> Result<(), CeremonyError> {
    let signature = ed25519(seed).sign(record.text().as_bytes()).to_bytes().to_vec();
    record.countersign(&key_of(&person(seed)), signature)
}

/// Signed by the token and by both people.
pub(crate) fn finished() -> Record {
    let mut record = signed();
    countersigned(&mut record, 2).expect("approved");
    countersigned(&mut record, 3).expect("approved");
    record
}

#[test]
fn a_plan_has_one_spelling() {
    let text = plan().to_text();
    assert_eq!(Plan::parse(&text), Ok(plan()));
    let one = text.replace("people 2", "people 02");
    for changed in [
        text.trim_start_matches('c'),
        text.trim_end(),
        &format!("{text}\n"),
        &text.replace("key wrap", "key hold"),
        &one,
    ] {
        assert!(matches!(Plan::parse(changed), Err(CeremonyError::Malformed { text: "plan", .. })), "{changed}");
    }
    assert_ne!(Plan { people: 1, ..plan() }.digest(), plan().digest());
}

#[test]
fn two_people_approve_and_one_does_not() {
    assert_eq!(try_with(&both()), Ok(vec![person(2), person(3)]));
    assert_eq!(try_with(&both()[..1]), Err(CeremonyError::TooFew { wanted: 2, given: 1 }));
    assert_eq!(try_with(&[]), Err(CeremonyError::TooFew { wanted: 2, given: 0 }));
}

#[test]
fn nobody_counts_twice() {
    let twice = [approval(2, plan_time()), approval(2, plan_time().minus(Span::hours(1)))];
    assert_eq!(try_with(&twice), Err(CeremonyError::Twice(name(2))));
    // One key under two names is one person as well.
    let one_key = |approval: &Approval| Ok(Person { name: approval.person().to_owned(), key: person(2).key });
    let key = NoteKey::new(&name(3), person(2).key).expect("a name");
    let mut other = Approval::of(&plan(), &key, plan_time(), &chain(3)).expect("an approval");
    let signature = ed25519(2).sign(other.text().as_bytes()).to_bytes().to_vec();
    other.sign(&key, signature).expect("it holds");
    let both = [approval(2, plan_time()), other];
    assert_eq!(approvers(&plan(), &both, plan_time(), one_key), Err(CeremonyError::Twice(name(3))));
}

#[test]
fn an_approval_is_of_one_plan_and_one_day() {
    let other = over(&Plan { people: 1, ..plan() }, 3, plan_time());
    assert_eq!(try_with(&[approval(2, plan_time()), other]), Err(CeremonyError::OtherPlan(name(3))));
    let old = approval(2, plan_time().minus(APPROVED_FOR));
    assert_eq!(try_with(&[old]), Err(CeremonyError::Expired(name(2))));
    let just = approval(2, plan_time().minus(APPROVED_FOR).plus(Span::secs(1)));
    assert_eq!(try_with(&[just, approval(3, plan_time())]).map(|people| people.len()), Ok(2));
    let early = approval(2, plan_time().plus(Span::minutes(6)));
    assert_eq!(try_with(&[early]), Err(CeremonyError::NotYet(name(2))));
}

#[test]
fn an_approval_is_of_the_person_whose_certificate_it_carries() {
    let somebody = |_: &Approval| Ok(person(4));
    let refused = approvers(&plan(), &both(), plan_time(), somebody);
    assert!(matches!(refused, Err(CeremonyError::Person { .. })), "{refused:?}");
    let text = both()[0].to_string().replace("cofre.test\n", "cofre.evil\n");
    let changed = Approval::parse(&text).expect("reads");
    assert_eq!(try_with(&[changed]), Err(CeremonyError::Signature(name(2))));
    let key = key_of(&person(2));
    let mut by_another = Approval::of(&plan(), &key, plan_time(), &chain(2)).expect("an approval");
    let signature = ed25519(3).sign(by_another.text().as_bytes()).to_bytes().to_vec();
    assert_eq!(by_another.sign(&key, signature), Err(CeremonyError::Signature(name(2))));
}

#[test]
fn a_record_is_finished_when_everybody_signed_who_approved() {
    let mut record = signed();
    let verified = record.verify(Some(&note_key(1)), identify).expect("holds");
    assert!(!verified.is_finished() && verified.signed.is_empty());
    countersigned(&mut record, 2).expect("approved");
    assert!(!record.verify(None, identify).expect("holds").is_finished());
    assert_eq!(countersigned(&mut record, 2), Err(CeremonyError::SignedBefore(name(2))));
    assert_eq!(countersigned(&mut record, 9), Err(CeremonyError::Stranger(name(9))));
    countersigned(&mut record, 3).expect("approved");
    let read = Record::parse(&record.to_string()).expect("reads");
    assert_eq!(read, record);
    let verified = read.verify(Some(&note_key(1)), identify).expect("holds");
    assert!(verified.is_finished());
    assert_eq!((verified.approved, verified.signed), (vec![name(2), name(3)], vec![name(2), name(3)]));
    assert_eq!(read.verify(Some(&note_key(9)), identify), Err(CeremonyError::OtherKey));
}

#[test]
fn no_byte_of_a_record_changes_unseen() {
    let text = finished().to_string();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let verified = Record::parse(&changed).and_then(|record| record.verify(None, identify));
        let finished = verified.as_ref().is_ok_and(Verified::is_finished);
        assert!(!finished, "byte {at} of {changed}");
    }
}

#[test]
fn a_record_off_its_plan_is_not_written() {
    let refused = |change: &dyn Fn(&mut Body)| {
        let mut body = body(both());
        change(&mut body);
        Record::of(body).expect_err("refused")
    };
    assert_eq!(refused(&|body| drop(body.keys.pop())), CeremonyError::OffPlan("keys"));
    assert_eq!(refused(&|body| body.keys[0].label = "root-2".into()), CeremonyError::OffPlan("keys"));
    assert_eq!(refused(&|body| body.verifier_key = Some(note_key(9))), CeremonyError::OffPlan("verifier-key"));
    assert_eq!(refused(&|body| body.verifier_key = None), CeremonyError::OffPlan("verifier-key"));
    let loose = |name: &'static str, value: &'static str| {
        refused(&move |body: &mut Body| {
            let attributes = &mut body.keys[1].objects[0].attributes;
            attributes.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = value.to_owned());
        })
    };
    for (name, value) in [("CKA_EXTRACTABLE", "true"), ("CKA_SENSITIVE", "false"), ("CKA_LOCAL", "false")] {
        assert_eq!(loose(name, value), CeremonyError::Loose("ledger-1".into()), "{name}");
    }
}

/// Of a custodian that only wraps, people alone sign.
#[test]
fn a_record_without_a_signing_key_is_signed_by_people() {
    let wraps = |people: u8| {
        let mut plan = Plan { people, ..plan() };
        plan.keys.pop();
        let approvals: Vec<_> = (2..2 + people).map(|seed| over(&plan, seed, plan_time())).collect();
        let mut body = Body { plan, verifier_key: None, ..body(approvals) };
        body.keys.pop();
        Record::of(body).expect("follows its plan")
    };
    let text = wraps(2).to_string();
    let mut record = Record::parse(&text).expect("one without a signature reads");
    assert_eq!(record.to_string(), text);
    assert!(!record.verify(None, identify).expect("holds").is_finished());
    countersigned(&mut record, 2).expect("approved");
    countersigned(&mut record, 3).expect("approved");
    assert!(Record::parse(&record.to_string()).and_then(|r| r.verify(None, identify)).expect("holds").is_finished());
    assert_eq!(record.verify(Some(&note_key(1)), identify), Err(CeremonyError::OtherKey));
    assert_eq!(wraps(0).verify(None, identify), Err(CeremonyError::Unsigned), "nobody signed");
}

#[test]
fn keys_of_certificates_are_read_in_their_one_encoding() {
    use crate::signed::VerifyingKey;
    let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    spki.extend(public(&ed25519(2)).to_bytes());
    assert_eq!(VerifyingKey::from_spki(&spki), Ok(public(&ed25519(2))));
    assert!(VerifyingKey::from_spki(&spki[..43]).is_err());
    let point = p256(3).verifying_key().to_sec1_point(false).as_bytes().to_vec();
    let spki = [&crate::note::P256_SPKI[..], &point].concat();
    assert_eq!(VerifyingKey::from_spki(&spki).map(|key| key.to_bytes()), Ok(point));
}
