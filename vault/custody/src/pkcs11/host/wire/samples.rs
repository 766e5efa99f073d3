//! One of everything that is said, for tests and for the fuzz target.
#![allow(clippy::expect_used, reason = "what is written here is not read from anybody")]

use std::time::Duration;

use super::super::Profile;
use super::*;
use crate::custodian::{CustodianId, VerifyingKey};
use crate::fault::{Cause, Operation};
use crate::pkcs11::TokenName;
use crate::pkcs11::ceremony::{Begun, Found, MadeKey, MadeObject, Reached, Use};
use crate::pkcs11::trouble::Session;

fn settings() -> Settings {
    let id = CustodianId::try_from("hsm-1").expect("a slug");
    Settings {
        module_sha256: Some([9; 32]),
        signer_label: Some("ledger-1".into()),
        mechanism: Some(Mechanism::AesKwp),
        deadline: Duration::from_millis(1234),
        ..Settings::new(id, "/usr/lib/m.so".into(), TokenName::Serial("00ff".into()), "root-1")
    }
}

/// What a vault may say, each kind once.
pub(super) fn orders() -> Vec<Order> {
    let known = Known {
        sealed: vec![1, 2, 3],
        signer: Some(VerifyingKey::P256([4; 65])),
        mechanism: Mechanism::AesKwp,
        why: "so".into(),
    };
    let opening = Opening {
        purpose: Purpose::Serve,
        settings: settings(),
        sandbox: Sandbox { profile: Profile::Network, readable: vec!["/a".into()], writable: vec!["/b".into()] },
        backing: Backing::Mlock,
        cells: 9,
        pin_len: 4,
        standing: Standing::Doubted,
        known: Some(known),
    };
    let bare = Opening {
        purpose: Purpose::MakeKeys,
        settings: Settings { module_sha256: None, signer_label: None, ..settings() },
        sandbox: Sandbox::default(),
        backing: Backing::MemfdSecret,
        known: None,
        standing: Standing::Untried,
        ..opening.clone()
    };
    let ask = |ask| Order::Ask { id: u64::MAX, cell: 7, ask };
    vec![
        Order::Open(Box::new(opening)),
        Order::Open(Box::new(bare.clone())),
        Order::Open(Box::new(Opening { purpose: Purpose::Perform(Performance::Keys), ..bare.clone() })),
        Order::Open(Box::new(Opening { purpose: Purpose::Perform(Performance::Rehearsal), ..bare })),
        ask(Ask::Check),
        ask(Ask::Census),
        ask(Ask::Wrap { context: vec![1; 300] }),
        ask(Ask::Unwrap { mechanism: Mechanism::RsaOaepSha256, context: vec![], wrapped: vec![2; 92] }),
        ask(Ask::Sign { message: vec![3; 10_000] }),
        Order::Close,
    ]
}

fn performed() -> Performed {
    let attribute = ("CKA_TOKEN".to_owned(), "true".to_owned());
    let object = MadeObject { class: "secret".into(), attributes: vec![attribute] };
    let key = MadeKey {
        used_to: Use::Wrap,
        label: "root-1".into(),
        kind: "AES-256".into(),
        public: None,
        check_value: Some(vec![1, 2, 3]),
        objects: vec![object],
    };
    let signs = MadeKey { used_to: Use::Sign, public: Some(vec![5; 32]), check_value: None, ..key.clone() };
    Performed {
        label: "cofre".into(),
        serial: "1".into(),
        manufacturer: "Maker".into(),
        model: String::new(),
        mechanism: Mechanism::AesKwp,
        why: "so".into(),
        witness: vec![9; 72],
        signer: Some(VerifyingKey::Ed25519([5; 32])),
        keys: vec![key, signs],
    }
}

/// What a host may say, each kind once.
pub(super) fn words() -> Vec<Word> {
    let facts = Facts {
        manufacturer: "Maker".into(),
        model: String::new(),
        serial: "1".into(),
        label: "cofre".into(),
        max_sessions: Some(3),
        signer: Some(VerifyingKey::Ed25519([5; 32])),
    };
    let known = Known { sealed: vec![], signer: None, mechanism: Mechanism::AesGcm, why: String::new() };
    let trouble = Trouble::told(Operation::LogIn, Cause::PinLocked, Session::Unclear, Some("C_Login".into()));
    let answered = |said| Word::Answered { id: 1, said };
    vec![
        Word::Walls("profile files".into()),
        Word::Attached(Ok(Box::new(Attached { facts, sessions: 2, known }))),
        Word::Attached(Err(trouble.clone())),
        answered(Ok(Said::Ready)),
        answered(Ok(Said::Sessions(None))),
        answered(Ok(Said::Sessions(Some(4)))),
        answered(Ok(Said::Wrapped(vec![1; 92]))),
        answered(Ok(Said::Share)),
        answered(Ok(Said::Signature([7; 64]))),
        answered(Err(trouble.clone())),
        Word::Noted(Note::SessionOpened("1".into())),
        Word::Noted(Note::SessionGivenUp(Cause::Transient, "why".into())),
        Word::Noted(Note::SessionKept("close: TRANSIENT".into())),
        Word::Noted(Note::Pin(Standing::Untried)),
        Word::Noted(Note::Pin(Standing::Trying)),
        Word::Noted(Note::Pin(Standing::Accepted)),
        Word::Noted(Note::Pin(Standing::Doubted)),
        Word::Noted(Note::Pin(Standing::Refused(Cause::PinIncorrect))),
        Word::Noted(Note::Key(Box::new(Begun { reached: Reached::ReadBack, key: performed().keys.remove(0) }))),
        Word::Made(Ok(Ensured { root: Found::Made, signer: Some((Found::There, "ed25519")) })),
        Word::Made(Ok(Ensured { root: Found::There, signer: None })),
        Word::Made(Err(trouble.clone())),
        Word::Performed(Ok(Box::new(performed()))),
        Word::Performed(Ok(Box::new(Performed { keys: Vec::new(), signer: None, ..performed() }))),
        Word::Performed(Err(trouble)),
    ]
}
