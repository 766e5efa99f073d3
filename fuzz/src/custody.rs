//! The wire between the vault and a custody host, from both ends: a host whose module was taken over speaks to the vault, and
//! whoever is at the other end of its standard input to a host.
//!
//! What must hold: nothing panics; a frame is understood to its last byte or not at all; what is understood is held in no
//! more bytes than it came in, and written anew it is the frame that came, but for what was taken out of a host's texts;
//! those are short and hold nothing that moves a terminal.

use cofre_custody::pkcs11::host::{Reader, Reread, reread, samples};

use crate::input::Input;

/// The longest text for people, in characters.
const TEXT: usize = 500;

/// The first byte says who listens, the second what is heard: a stream, the body of one frame, or bent frames that were good.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let reader = if input.flag() { Reader::Vault } else { Reader::Host };
    let stream = match input.byte() % 3 {
        0 => input.rest().to_vec(),
        1 => framed(input.rest()),
        _ => bent(reader, &mut input),
    };
    listen(reader, &stream);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("an input is short");
    [&len.to_be_bytes()[..], body].concat()
}

/// Up to four frames; of each the body is bent and its length put right, or all of it is bent.
fn bent(reader: Reader, input: &mut Input<'_>) -> Vec<u8> {
    let good = samples(reader);
    let mut stream = Vec::new();
    for _ in 0..=input.byte() & 3 {
        let frame = input.pick(&good);
        let one = if input.flag() { framed(&input.bend(&frame[4..])) } else { input.bend(frame) };
        stream.extend(one);
    }
    stream
}

/// Listens until something is not understood, as both sides do.
fn listen(reader: Reader, stream: &[u8]) {
    let mut rest = stream;
    loop {
        let before = rest;
        let Ok(read) = reread(reader, &mut rest) else { return };
        let came = &before[..before.len() - rest.len()];
        assert!(came.len() > 4, "a frame without a body was understood");
        understood(reader, came, &read);
    }
}

fn understood(reader: Reader, came: &[u8], read: &Reread) {
    assert!(read.frame.len() <= came.len(), "{} bytes came, {} are held", came.len(), read.frame.len());
    for text in &read.texts {
        assert!(text.chars().count() <= TEXT && !text.chars().any(char::is_control), "{text:?}");
    }
    // What is taken out of texts is missing: of the same length it is the same frame.
    if read.frame.len() == came.len() {
        assert!(read.frame == came, "a frame changed by being understood");
    } else {
        assert!(!read.texts.is_empty(), "{} bytes that are no text were taken out", came.len() - read.frame.len());
    }
    let mut again = &read.frame[..];
    assert_eq!(reread(reader, &mut again).ok().as_ref(), Some(read), "what was written is read otherwise");
    assert!(again.is_empty());
}

/// Every frame as a stream and as a body, two of them bent, and lengths that lie.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (who, reader) in [(0, Reader::Host), (1, Reader::Vault)] {
        let good = samples(reader);
        for (number, frame) in good.iter().enumerate() {
            let which = u8::try_from(number).expect("few frames");
            seeds.push((format!("{reader:?}-stream-{number:02}"), [&[who, 0], &frame[..]].concat()));
            seeds.push((format!("{reader:?}-body-{number:02}"), [&[who, 1], &frame[4..]].concat()));
            seeds.push((format!("{reader:?}-bent-{number:02}"), vec![who, 2, 1, which, 1, 1, 1, 5, 7, which, 0, 0]));
        }
        seeds.push((format!("{reader:?}-all"), [&[who, 0][..], &good.concat()].concat()));
        for len in [0, 1 << 20, (1 << 20) + 1, u32::MAX] {
            let lie = [&[who, 0][..], &len.to_be_bytes(), &good[0][4..]].concat();
            seeds.push((format!("{reader:?}-length-{len}"), lie));
        }
    }
    seeds
}
