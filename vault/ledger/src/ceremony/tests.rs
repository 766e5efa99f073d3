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
fn identify(approval: &Approval, _: Timestamp) -> Result<Person, CeremonyError> {
    Ok(person(approval.chain()[0][0]))
}

fn try_with(approvals: &[Approval]) -> Result<Vec<Person>, CeremonyError> {
    approvers(&plan(), approvals, plan_time(), identify)
}

/// An object of a token as its maker reads it back, `usages` in words of `name value`.
fn object(class: &str, label: &str, usages: &[&str]) -> Object {
    let named = [format!("CKA_LABEL {}", hex::encode(label)), format!("CKA_ID {}", hex::encode(label))];
    let private = class != "public";
    let mut lines = named.to_vec();
    lines.extend(["CKA_TOKEN true".into(), format!("CKA_PRIVATE {private}"), "CKA_MODIFIABLE false".into()]);
    lines.push("CKA_DERIVE false".into());
    if private {
        lines.extend(["CKA_SENSITIVE true", "CKA_EXTRACTABLE false"].map(str::to_owned));
    }
    lines.extend(usages.iter().map(|usage| (*usage).to_owned()));
    lines.push("CKA_LOCAL true".into());
    if private {
        lines.extend(["CKA_ALWAYS_SENSITIVE true", "CKA_NEVER_EXTRACTABLE true"].map(str::to_owned));
    }
    let pair = |line: String| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Object { class: class.into(), attributes: lines.into_iter().filter_map(pair).collect() }
}

pub(super) fn wraps(objects: Vec<Object>) -> Key {
    Key {
        used_to: Use::Wrap,
        label: "root-1".into(),
        kind: "AES-256".into(),
        public: None,
        check_value: Some(vec![0xa1, 0xb2, 0xc3]),
        objects,
    }
}

pub(super) fn secret(usages: &[&str]) -> Object {
    object("secret", "root-1", usages)
}

/// A pair of halves with these usages.
pub(super) fn pair(label: &str, private: [&str; 3], public: [&str; 3]) -> Vec<Object> {
    vec![object("private", label, &private), object("public", label, &public)]
}

pub(super) fn body(approvals: Vec<Approval>) -> Body {
    let usages = ["CKA_ENCRYPT true", "CKA_DECRYPT true", "CKA_WRAP false", "CKA_UNWRAP false"];
    let none = ["CKA_SIGN false", "CKA_VERIFY unknown", "CKA_VALUE_LEN 32"];
    let sign = ["CKA_SIGN true", "CKA_DECRYPT false", "CKA_UNWRAP false"];
    let verify = ["CKA_VERIFY true", "CKA_ENCRYPT false", "CKA_WRAP false"];
    Body {
        at: plan_time().plus(Span::hours(1)),
        tool: "cofred 0.1.0".into(),
        plan: plan(),
        token: ["cofre", "0f3a91c2", "Maker", "Model"].map(str::to_owned),
        mechanism: "aes-gcm".into(),
        why: "the key is AES-256 that encrypts and decrypts".into(),
        witness: vec![7; 92],
        verifier_key: Some(note_key(1)),
        keys: vec![
            wraps(vec![secret(&[&usages[..], &none].concat())]),
            Key {
                used_to: Use::Sign,
                label: "ledger-1".into(),
                kind: "ed25519".into(),
                public: Some(public(&ed25519(1)).to_bytes()),
                check_value: None,
                objects: pair("ledger-1", sign, verify),
            },
        ],
        approvals,
    }
}

pub(super) fn both() -> Vec<Approval> {
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
    let one_key =
        |approval: &Approval, _: Timestamp| Ok(Person { name: approval.person().to_owned(), key: person(2).key });
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
    let somebody = |_: &Approval, _: Timestamp| Ok(person(4));
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

/// Approved in time by one whose certificate had ended before the keys were made.
#[test]
fn certificates_are_judged_when_the_keys_were_made_and_not_when_an_approver_says() {
    let made = plan_time().plus(Span::hours(1));
    let ends = |end: Timestamp| {
        move |approval: &Approval, at: Timestamp| match at < end {
            true => identify(approval, at),
            false => Err(CeremonyError::Person { person: approval.person().to_owned(), why: "ended".to_owned() }),
        }
    };
    let record = finished();
    assert!(record.body().approvals.iter().all(|approval| approval.at() < made));
    let refused = record.verify(None, ends(made));
    assert!(matches!(refused, Err(CeremonyError::Person { .. })), "{refused:?}");
    assert!(record.verify(None, ends(made.plus(Span::secs(1)))).is_ok_and(|verified| verified.is_finished()));
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

/// What was written down of a ceremony that failed says how far each key came, and is never a record.
#[test]
fn what_is_left_of_a_ceremony_is_no_record() {
    let Body { at, tool, plan, token, keys, .. } = body(Vec::new());
    let mut keys = keys.into_iter();
    let mut keys = vec![(Reached::ReadBack, keys.next().expect("one")), (Reached::Asked, keys.next().expect("two"))];
    keys[1].1.objects.clear();
    let why = "the device\nfailed".to_owned();
    let left = Unfinished { at, tool, plan, why, token: Some(token), witness: Some(vec![7; 92]), keys };
    let text = left.to_string();
    for line in ["why the devicefailed\n", "reached read-back\nkey wrap\nlabel root-1\n", "token-serial 0f3a91c2\n"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(text.contains("reached asked\nkey sign\n") && text.contains("witness BwcH"), "{text}");
    assert_eq!(Record::parse(&text), Err(CeremonyError::NoRecord));
}
