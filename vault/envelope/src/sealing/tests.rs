//! Use of HPKE on the way in, out and past us; the published vectors are in `vectors`.

mod vectors;

use std::sync::Arc;

use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::id::{EnrolmentId, SubjectId};
use cofre_model::wording::Form;

use super::*;
use crate::context::{AnswerContext, DepositContext, ReleaseContext};
use crate::samples::{self, field};
use crate::slab::Slab;
use crate::{ClientSecret, Dek, Plain};

const SUITES: [Suite; 2] = [Suite::MlKem768X25519, Suite::X25519];

fn login() -> Vec<(FieldKey, ClientSecret)> {
    [("username", "user-1"), ("password", "contraseña"), ("pin", "")]
        .into_iter()
        .map(|(key, value)| (field(key), ClientSecret::copy_of(value.as_bytes())))
        .collect()
}

fn texts(fields: &[(FieldKey, Plain)]) -> Vec<(String, String)> {
    let text = |plain: &Plain| plain.with_bytes(|bytes| String::from_utf8(bytes.to_vec()).expect("text"));
    fields.iter().map(|(key, plain)| (key.to_string(), text(plain))).collect()
}

#[test]
fn suites_have_their_registry_numbers_and_lengths() {
    let slab = samples::slab();
    for suite in SUITES {
        assert_eq!(Suite::from_id(suite.id()), Ok(suite));
        let pair = DepositKeyPair::generate(suite, &slab).expect("pair");
        assert_eq!(pair.public().as_bytes().len(), suite.public_len());
        let sealed = seal_deposit(pair.public(), &samples::deposit(), login()).expect("sealed");
        assert_eq!(sealed.encapsulated_key.len(), suite.encapsulated_len());
        assert_eq!(PublicKey::new(suite, pair.public().as_bytes()).as_ref(), Ok(pair.public()));
    }
    assert_eq!(Suite::from_id(0x0010), Err(Error::UnknownSuite));
    for (suite, len) in [(Suite::X25519, 31), (Suite::X25519, 1216), (Suite::MlKem768X25519, 32)] {
        assert_eq!(PublicKey::new(suite, &vec![1; len]), Err(Error::PublicKey));
    }
}

#[test]
fn a_point_of_low_order_seals_nothing() {
    assert_eq!(PublicKey::new(Suite::X25519, &[0; 32]).err(), Some(Error::PublicKey));
    let slab = samples::slab();
    let pair = DepositKeyPair::generate(Suite::X25519, &slab).expect("pair");
    let mut sealed = seal_deposit(pair.public(), &samples::deposit(), login()).expect("sealed");
    sealed.encapsulated_key = vec![0; 32];
    assert_eq!(open_deposit(&pair, &samples::deposit(), &sealed).err(), Some(Error::Encapsulation));
}

#[test]
fn a_deposit_opens_for_its_key_and_context_only() {
    for suite in SUITES {
        let slab = samples::slab();
        let pair = DepositKeyPair::generate(suite, &slab).expect("pair");
        let right = samples::deposit();
        let sealed = seal_deposit(pair.public(), &right, login()).expect("sealed");
        assert!(sealed.fields.iter().all(|field| field.sealed.len() == 64 + 16), "lengths say nothing");
        let opened = open_deposit(&pair, &right, &sealed).expect("opened");
        let expected = [("username", "user-1"), ("password", "contraseña"), ("pin", "")];
        assert_eq!(texts(&opened), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        drop(opened);

        let other = DepositKeyPair::generate(suite, &slab).expect("pair");
        assert!(open_deposit(&other, &right, &sealed).is_err());
        for ctx in [
            DepositContext { enrolment: EnrolmentId::from_parts(1, [9; 10]), ..right },
            DepositContext { owner: SubjectId::from_parts(1, [9; 10]), ..right },
            DepositContext { template_version: 2, ..right },
        ] {
            assert_eq!(open_deposit(&pair, &ctx, &sealed).err(), Some(Error::Tag), "{ctx:?}");
        }
        assert_eq!(slab.counters().in_use, 2, "the two private keys");
    }
}

#[test]
fn fields_cannot_be_moved_mixed_or_left_out_in_front() {
    let slab = samples::slab();
    let pair = DepositKeyPair::generate(Suite::X25519, &slab).expect("pair");
    let ctx = samples::deposit();
    let one = seal_deposit(pair.public(), &ctx, login()).expect("sealed");
    let two = seal_deposit(pair.public(), &ctx, login()).expect("sealed");
    let refusal = |change: &dyn Fn(&mut SealedDeposit)| {
        let mut changed = one.clone();
        change(&mut changed);
        open_deposit(&pair, &ctx, &changed).err()
    };
    assert_eq!(refusal(&|_| ()), None);
    assert_eq!(refusal(&|d| d.fields.swap(0, 1)), Some(Error::Order));
    assert_eq!(refusal(&|d| drop(d.fields.remove(0))), Some(Error::Order));
    assert_eq!(refusal(&|d| d.fields[1].position = 0), Some(Error::Order));
    assert_eq!(refusal(&|d| d.fields[1].key = field("pin")), Some(Error::FieldRepeated));
    assert_eq!(refusal(&|d| d.fields[1].key = field("other")), Some(Error::Tag));
    assert_eq!(refusal(&|d| d.fields[1].sealed = two.fields[1].sealed.clone()), Some(Error::Tag));
    assert_eq!(refusal(&|d| d.fields[1].sealed.truncate(15)), Some(Error::Truncated));
    assert_eq!(refusal(&|d| d.fields[1].sealed = vec![0; 5000]), Some(Error::TooLong));
    assert_eq!(refusal(&|d| d.encapsulated_key.truncate(31)), Some(Error::Encapsulation));
    assert_eq!(refusal(&|d| d.encapsulated_key = two.encapsulated_key.clone()), Some(Error::Tag));
    // A renumbered rest is still not what was sealed at that place.
    let renumbered = refusal(&|d| {
        d.fields.remove(0);
        for (position, field) in (0..).zip(&mut d.fields) {
            field.position = position;
        }
    });
    assert_eq!(renumbered, Some(Error::Tag));
    assert_eq!(slab.counters().in_use, 1);
}

#[test]
fn every_bit_of_a_sealed_field_counts() {
    let slab = samples::slab();
    let pair = DepositKeyPair::generate(Suite::X25519, &slab).expect("pair");
    let ctx = samples::deposit();
    let sealed = seal_deposit(pair.public(), &ctx, login()).expect("sealed");
    for bit in 0..sealed.fields[0].sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed.fields[0].sealed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open_deposit(&pair, &ctx, &changed).err(), Some(Error::Tag), "bit {bit}");
    }
}

#[test]
fn a_repeated_or_overlong_field_is_not_sealed() {
    let slab = samples::slab();
    let pair = DepositKeyPair::generate(Suite::X25519, &slab).expect("pair");
    let twice = [login(), login()].into_iter().flatten().collect();
    assert_eq!(seal_deposit(pair.public(), &samples::deposit(), twice), Err(Error::FieldRepeated));
    let long = vec![(field("pin"), ClientSecret::copy_of(&[1; Plain::MAX + 1]))];
    assert_eq!(seal_deposit(pair.public(), &samples::deposit(), long), Err(Error::TooLong));
}

fn released(slab: &Arc<Slab>, to: &PublicKey, ctx: &ReleaseContext<'_>) -> cofre_model::sealed::Released {
    let dek = Dek::generate(slab).expect("key");
    let sealed: Vec<_> = [("username", "user-1"), ("pin", "493817"), ("password", "not asked for")]
        .into_iter()
        .map(|(key, value)| {
            let plain = Plain::copy_of(slab, value.as_bytes()).expect("room");
            (field(key), dek.seal_field(&samples::secret(), &field(key), plain).expect("sealed"))
        })
        .collect();
    let requests = [
        FieldRequest { key: field("username"), form: Form::Full, positions: vec![] },
        FieldRequest { key: field("pin"), form: Form::Positions, positions: vec![2, 5] },
    ];
    let opened = crate::open(dek, &sealed, &samples::secret()).expect("opened");
    seal_to(to, opened.narrow(&requests).expect("narrowed"), ctx).expect("sealed")
}

#[test]
fn a_release_opens_for_its_worker_and_its_grant_only() {
    for suite in SUITES {
        let slab = samples::slab();
        let worker = WorkerKeyPair::generate(suite).expect("pair");
        let right = samples::release();
        let answer = released(&slab, worker.public(), &right);
        assert_eq!(slab.counters().in_use, 0, "nothing of the login is left in the vault");
        let fields = open_released(&worker, &right, &answer).expect("opened");
        let read = |value: &ClientSecret| value.with_bytes(<[u8]>::to_vec);
        let seen: Vec<_> = fields.iter().map(|f| (f.key.to_string(), f.form, read(&f.value))).collect();
        let expected = [
            ("username".to_owned(), Form::Full, b"user-1".to_vec()),
            ("pin".to_owned(), Form::Positions, b"91".to_vec()),
        ];
        assert_eq!(seen, expected);

        let other = WorkerKeyPair::generate(suite).expect("pair");
        assert_eq!(open_released(&other, &right, &answer).err(), Some(Error::Tag));
        for ctx in [
            ReleaseContext { origin: "other.example/ledger", ..right },
            ReleaseContext { index: 70_001, ..right },
            ReleaseContext { entry_hash: [0; 32], ..right },
            ReleaseContext { request_digest: [0; 32], ..right },
            ReleaseContext { worker: "spiffe://cofre.example/worker/pool-a/w-2", ..right },
        ] {
            assert_eq!(open_released(&worker, &ctx, &answer).err(), Some(Error::Tag), "{ctx:?}");
        }
    }
}

#[test]
fn an_answer_with_no_field_is_not_sealed() {
    let worker = WorkerKeyPair::generate(Suite::X25519).expect("pair");
    let nothing = crate::Narrowed(Vec::new());
    assert_eq!(seal_to(worker.public(), nothing, &samples::release()), Err(Error::FieldAbsent));
}

#[test]
fn an_answer_to_a_challenge_opens_for_its_attempt_only() {
    for suite in SUITES {
        let worker = WorkerKeyPair::generate(suite).expect("pair");
        let right = samples::answer();
        let sealed = seal_answer(worker.public(), &right, ClientSecret::copy_of(b"493817")).expect("sealed");
        assert_eq!(sealed.ciphertext.len(), 64 + 16, "the length of a code is not seen");
        let opened = open_answer(&worker, &right, &sealed).expect("opened");
        opened.with_bytes(|bytes| assert_eq!(bytes, b"493817"));
        let later = AnswerContext { attempt: 2, ..right };
        assert_eq!(open_answer(&worker, &later, &sealed).err(), Some(Error::Tag));
        let moved = AnswerContext { credential: cofre_model::id::CredentialId::from_parts(1, [9; 10]), ..right };
        assert_eq!(open_answer(&worker, &moved, &sealed).err(), Some(Error::Tag));
    }
}

#[test]
fn the_payload_has_one_pinned_encoding() {
    let slab = samples::slab();
    let narrowed = |key: &str, form, value: &str| crate::opened::NarrowedField {
        key: field(key),
        form,
        value: Plain::copy_of(&slab, value.as_bytes()).expect("room"),
    };
    let fields = [narrowed("username", Form::Full, "user-1"), narrowed("pin", Form::Positions, "ñ4")];
    let encoded = payload::encode(&fields).expect("encoded");
    let vectors = samples::vectors();
    let pinned = samples::bytes(&vectors["payload"]["plain"]);
    encoded.with_bytes(|bytes| assert_eq!(bytes, pinned));
    assert_eq!(encoded.into_padded().bytes(), samples::bytes(&vectors["payload"]["padded"]));
    assert_eq!(payload::decode(&pinned).expect("decoded").len(), 2);

    let refused = |bytes: &[u8]| assert_eq!(payload::decode(bytes).err(), Some(Error::Payload), "{bytes:02x?}");
    for len in 0..pinned.len() {
        refused(&pinned[..len]);
    }
    refused(&[&pinned[..], &[0]].concat());
    refused(&[0, 0]);
    refused(b"\x00\x01\x00\x01a\x00\x00\x01x"); // form 0
    refused(b"\x00\x01\x00\x01a\x09\x00\x01x"); // form 9
    refused(b"\x00\x01\x00\x01A\x01\x00\x01x"); // not a field key
    refused(b"\x00\x02\x00\x01a\x01\x00\x01x\x00\x01a\x01\x00\x01y"); // a key twice
}

#[test]
fn keys_of_small_order_are_refused_before_anything_is_sealed_to_them() {
    for point in kem::SMALL_ORDER {
        for high in [0x00, 0x80] {
            let mut key = point;
            key[31] |= high;
            assert_eq!(PublicKey::new(Suite::X25519, &key).err(), Some(Error::PublicKey), "{}", hex::encode(key));
            // The list is right: encapsulation itself refuses each of them.
            let drawn = kem::Drawn::fresh().expect("randomness");
            assert!(kem::Sender::new(Suite::X25519, &key, b"info", drawn).is_err(), "{}", hex::encode(key));
        }
    }
}
