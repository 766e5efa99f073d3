use super::read::DETAIL;
use super::samples::{orders, words};
use super::*;
use crate::fault::{Cause, Operation};
use crate::pkcs11::trouble::Session;

#[test]
fn what_is_written_is_read() {
    for sent in orders() {
        let mut frame = &frame(&sent.write())[..];
        assert_eq!(order(&mut frame).expect("reads"), sent);
        assert!(frame.is_empty());
    }
    for sent in words() {
        let mut bytes = Vec::new();
        say(&mut bytes, &sent).expect("writes");
        let came = word(&mut &bytes[..]).expect("reads");
        // A failure has no equality; its text says all of it.
        assert_eq!(format!("{came:?}"), format!("{sent:?}"));
    }
}

#[test]
fn what_is_cut_or_lengthened_is_not_read() {
    for body in orders().iter().map(|order| order.write().0) {
        for len in 0..body.len() {
            assert_eq!(Order::read(&body[..len]), None, "{len} of {} bytes", body.len());
        }
        assert_eq!(Order::read(&[&body[..], &[0]].concat()), None);
    }
    for body in words().iter().map(|word| word.write().0) {
        for len in 0..body.len() {
            assert!(Word::read(&body[..len]).is_none(), "{len} of {} bytes", body.len());
        }
        assert!(Word::read(&[&body[..], &[0]].concat()).is_none());
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
    let refused = body(&mut io::empty(), (MOST as u32 + 1).to_be_bytes()).expect_err("too long");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
}

/// The word's texts come from a library that nobody here wrote.
#[test]
fn a_failures_text_is_cut_and_cleaned() {
    let trouble = Trouble::told(Operation::Sign, Cause::Transient, Session::Sound, Some("\u{1b}[2J".repeat(1000)));
    let body = Word::Attached(Err(trouble)).write().0;
    let Some(Word::Attached(Err(read))) = Word::read(&body) else { panic!("reads") };
    let detail = read.detail().expect("a detail");
    assert!(detail.chars().count() <= DETAIL && !detail.contains('\u{1b}'), "{detail:?}");
}
