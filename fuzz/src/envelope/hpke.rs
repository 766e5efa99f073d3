//! HPKE in and out: deposits, answers, released logins. The sender of a released payload is told again with the library
//! itself, so that a vault gone bad can be played: any padding and any payload under a true seal.

use std::sync::LazyLock;

use cofre_envelope::context::{AnswerContext, DepositContext, ReleaseContext};
use cofre_envelope::{
    ClientSecret, Dek, DepositKeyPair, Error, Plain, PublicKey, SealedAnswer, SealedDeposit, Suite, WorkerKeyPair,
    open, open_answer, open_deposit, open_released, seal_answer, seal_deposit, seal_to,
};
use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::id::{ChallengeId, CredentialId, DepositKeyId, EnrolmentId, SubjectId, TenantId};
use cofre_model::sealed::Released;
use cofre_model::wording::Form;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeS, Serializable};

use super::{AT, SLAB, key, value};
use crate::input::Input;

static DEPOSIT: LazyLock<DepositKeyPair> =
    LazyLock::new(|| DepositKeyPair::generate(Suite::X25519, &SLAB).expect("a pair"));
static WIDE: LazyLock<DepositKeyPair> =
    LazyLock::new(|| DepositKeyPair::generate(Suite::MlKem768X25519, &SLAB).expect("a pair"));
static WORKER: LazyLock<WorkerKeyPair> = LazyLock::new(|| WorkerKeyPair::generate(Suite::X25519).expect("a pair"));

/// Makes the keys that live as long as the process.
pub(super) fn prepare() {
    LazyLock::force(&DEPOSIT);
    LazyLock::force(&WIDE);
    LazyLock::force(&WORKER);
}

fn deposit_context(input: &mut Input<'_>) -> DepositContext {
    let mut id = || [input.byte() & 1; 10];
    DepositContext {
        tenant: TenantId::from_parts(AT, id()),
        key: DepositKeyId::from_parts(AT, id()),
        enrolment: EnrolmentId::from_parts(AT, id()),
        owner: SubjectId::from_parts(AT, [2; 10]),
        credential: CredentialId::from_parts(AT, id()),
        template_version: 1,
    }
}

/// A whole login, then bent in one of its parts, or with fields moved about. Now and then in the wide suite.
pub(super) fn deposit(input: &mut Input<'_>) {
    let pair: &DepositKeyPair = if input.byte() % 16 == 15 { &WIDE } else { &DEPOSIT };
    let (here, there) = (deposit_context(input), deposit_context(input));
    let fields: Vec<(FieldKey, Vec<u8>)> = (0..1 + (input.byte() & 1)).map(|_| (key(input), value(input))).collect();
    let secrets = fields.iter().map(|(key, value)| (key.clone(), ClientSecret::copy_of(value))).collect();
    let good = match seal_deposit(pair.public(), &here, secrets) {
        Ok(sealed) => sealed,
        Err(problem) => {
            assert!(matches!(problem, Error::FieldRepeated | Error::TooLong), "{problem}");
            return;
        }
    };
    let mut bent: SealedDeposit = good.clone();
    match input.byte() % 6 {
        0 => bent.encapsulated_key = input.bend(&bent.encapsulated_key),
        1 => bent.fields[0].sealed = input.bend(&bent.fields[0].sealed),
        2 => bent.fields.reverse(),
        3 => bent.fields[0].key = key(input),
        4 => bent.fields[0].position = input.short(),
        _ => {}
    }
    let same = bent == good && here == there;
    match open_deposit(pair, &there, &bent) {
        Ok(opened) => {
            assert!(same, "bent or moved, it opened");
            assert_eq!(opened.len(), fields.len());
            for ((name, plain), (key, value)) in opened.iter().zip(&fields) {
                assert!(name == key && plain.with_bytes(|bytes| bytes == value), "another value was opened");
            }
        }
        Err(problem) => assert!(!same, "untouched, it did not open: {problem}"),
    }
}

/// An answer to a challenge.
pub(super) fn answer(input: &mut Input<'_>) {
    let mut place = || AnswerContext {
        tenant: TenantId::from_parts(AT, [input.byte() & 1; 10]),
        credential: CredentialId::from_parts(AT, [1; 10]),
        challenge: ChallengeId::from_parts(AT, [input.byte() & 1; 10]),
        attempt: u32::from(input.byte() & 1),
    };
    let (here, there) = (place(), place());
    let value = value(input);
    let Ok(good) = seal_answer(WORKER.public(), &here, ClientSecret::copy_of(&value)) else {
        assert!(value.len() > Plain::MAX);
        return;
    };
    let bent = SealedAnswer {
        encapsulated_key: if input.flag() { input.bend(&good.encapsulated_key) } else { good.encapsulated_key.clone() },
        ciphertext: input.bend(&good.ciphertext),
    };
    let same = bent == good && here == there;
    match open_answer(&WORKER, &there, &bent) {
        Ok(opened) => assert!(same && opened.with_bytes(|bytes| bytes == value), "bent or moved, it opened"),
        Err(problem) => assert!(!same, "untouched, it did not open: {problem}"),
    }
    let rest = input.rest();
    for suite in [Suite::X25519, Suite::MlKem768X25519] {
        if let Ok(key) = PublicKey::new(suite, rest) {
            assert!(key.as_bytes() == rest && rest.len() == suite.public_len());
        }
    }
}

const RELEASE: ReleaseContext<'static> = ReleaseContext {
    origin: "cofre.test/ledger",
    index: 7,
    entry_hash: [3; 32],
    request_digest: [4; 32],
    worker: "spiffe://cofre.test/worker/pool-a/w1",
};

/// A login opened, narrowed as asked, sealed to the worker; or a payload of anybody's making under a true seal.
pub(super) fn released(input: &mut Input<'_>) {
    if input.flag() {
        return forged_payload(input);
    }
    let values = [("user", value(input)), ("password", value(input)), ("pin", b"01\xff".to_vec())];
    let ctx = super::context(input);
    let dek = Dek::generate(&SLAB).expect("a key");
    let mut sealed = Vec::new();
    for (name, value) in &values {
        let name = FieldKey::try_from(*name).expect("a key");
        let Some(plain) = super::plain(value) else { return };
        sealed.push((name.clone(), dek.seal_field(&ctx, &name, plain).expect("sealed")));
    }
    let requests: Vec<FieldRequest> = (0..1 + (input.byte() & 1))
        .map(|_| FieldRequest {
            key: key(input),
            form: *input.pick(&[Form::Full, Form::Full, Form::Positions, Form::Code]),
            positions: (0..input.byte() & 3).map(|_| u16::from(input.byte() & 15)).collect(),
        })
        .collect();
    let opened = open(dek, &sealed, &ctx).expect("what was sealed opens");
    let Ok(narrowed) = opened.narrow(&requests) else { return };
    let released = match seal_to(WORKER.public(), narrowed, &RELEASE) {
        Ok(released) => released,
        Err(problem) => {
            assert_eq!(problem, Error::TooLong);
            return;
        }
    };
    let fields = open_released(&WORKER, &RELEASE, &released).expect("what was sealed opens");
    assert_eq!(fields.len(), requests.len(), "more or fewer fields than asked for");
    for (field, asked) in fields.iter().zip(&requests) {
        assert!(field.key == asked.key && field.form == asked.form);
        let whole =
            values.iter().find(|(name, _)| *name == asked.key.as_str()).map(|(_, value)| value).expect("asked of it");
        field.value.with_bytes(|got| assert_eq!(got, expected(whole, asked), "another value left"));
    }
    let other = ReleaseContext { index: 8, ..RELEASE };
    assert!(open_released(&WORKER, &other, &released).is_err(), "it opened under another grant");
    let bent =
        Released { ciphertext: input.bend(&released.ciphertext), encapsulated_key: released.encapsulated_key.clone() };
    assert!(bent == released || open_released(&WORKER, &RELEASE, &bent).is_err(), "bent, it opened");
}

/// The characters asked for, told again.
fn expected(whole: &[u8], asked: &FieldRequest) -> Vec<u8> {
    if asked.form == Form::Full {
        return whole.to_vec();
    }
    let text: Vec<char> = std::str::from_utf8(whole).expect("positions of text only").chars().collect();
    asked.positions.iter().map(|at| text[usize::from(*at) - 1]).collect::<String>().into_bytes()
}

/// Padding and payload of anybody's making: the worker reads the one form, or refuses.
fn forged_payload(input: &mut Input<'_>) {
    let good = {
        let mut payload = vec![0, 1, 0, 4];
        payload.extend_from_slice(b"user\x01\x00\x03abc");
        payload
    };
    let payload = if input.flag() { input.bend(&good) } else { input.chunk().to_vec() };
    let mut padded = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    padded.extend_from_slice(&payload);
    padded.resize(padded.len().next_multiple_of(64), 0);
    let told = input.bend(&padded);
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(WORKER.public().as_bytes()).expect("a key");
    let (encapsulated, mut sender) =
        hpke::setup_sender::<AesGcm256, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &public, &RELEASE.encode())
            .expect("set up");
    let ciphertext = sender.seal(&told, &[]).expect("sealed");
    let released = Released { encapsulated_key: encapsulated.to_bytes().to_vec(), ciphertext };
    let Ok(fields) = open_released(&WORKER, &RELEASE, &released) else { return };
    // Read, so it is the one form: told again from what was read, it is what was sent.
    let mut again = u16::try_from(fields.len()).expect("few").to_be_bytes().to_vec();
    for field in &fields {
        again.extend(u16::try_from(field.key.as_str().len()).expect("short").to_be_bytes());
        again.extend(field.key.as_str().bytes());
        again.push(u8::try_from(field.form.number()).expect("small"));
        field.value.with_bytes(|value| {
            again.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
            again.extend_from_slice(value);
        });
    }
    let mut whole = u16::try_from(again.len()).expect("short").to_be_bytes().to_vec();
    whole.extend_from_slice(&again);
    whole.resize(whole.len().next_multiple_of(64), 0);
    assert_eq!(whole, told, "a payload with two spellings was read");
    assert!(!fields.is_empty());
}
