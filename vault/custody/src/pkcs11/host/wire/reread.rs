//! For the fuzz target of this wire (feature `fuzz`): what either side understands of any bytes, written anew. Nothing that
//! ships calls it.

use std::io;

use super::samples::{orders, words};
use super::{Order, Word, frame, order, word};
use crate::pkcs11::message::Note;
use crate::pkcs11::trouble::Trouble;

/// Whose ears hear a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The vault's, to which a host speaks.
    Vault,
    /// The host's, to which a vault speaks.
    Host,
}

/// A frame that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reread {
    /// What was understood, as this side would write it: the length first.
    pub frame: Vec<u8>,
    /// What of it is for people's eyes: in logs, errors and the status.
    pub texts: Vec<String>,
}

/// Reads the next frame of a stream.
///
/// # Errors
/// Where the stream ends within it, or it cannot be read to its last byte.
pub fn reread(reader: Reader, stream: &mut &[u8]) -> io::Result<Reread> {
    Ok(match reader {
        Reader::Vault => {
            let word = word(stream)?;
            Reread { frame: frame(&word.write()), texts: texts(&word) }
        }
        Reader::Host => {
            let order = order(stream)?;
            let why = match &order {
                Order::Open(opening) => opening.known.as_ref().map(|known| known.why.clone()),
                Order::Ask { .. } | Order::Close => None,
            };
            Reread { frame: frame(&order.write()), texts: why.into_iter().collect() }
        }
    })
}

/// One frame of each kind that this side may hear.
#[must_use]
pub fn samples(reader: Reader) -> Vec<Vec<u8>> {
    match reader {
        Reader::Vault => words().iter().map(|word| frame(&word.write())).collect(),
        Reader::Host => orders().iter().map(|order| frame(&order.write())).collect(),
    }
}

fn texts(word: &Word) -> Vec<String> {
    let detail = |trouble: &Trouble| trouble.detail().map(str::to_owned).into_iter().collect();
    match word {
        Word::Walls(text) | Word::Noted(Note::SessionOpened(text) | Note::SessionKept(text)) => vec![text.clone()],
        Word::Noted(Note::SessionGivenUp(_, text)) => vec![text.clone()],
        Word::Noted(Note::Key(begun)) => vec![begun.key.label.clone(), begun.key.kind.clone()],
        Word::Attached(Ok(of)) => {
            let facts = &of.facts;
            [&facts.manufacturer, &facts.model, &facts.serial, &facts.label, &of.known.why].map(Clone::clone).to_vec()
        }
        Word::Performed(Ok(of)) => {
            [&of.label, &of.serial, &of.manufacturer, &of.model, &of.why].map(Clone::clone).to_vec()
        }
        Word::Attached(Err(trouble))
        | Word::Answered { said: Err(trouble), .. }
        | Word::Made(Err(trouble))
        | Word::Performed(Err(trouble)) => detail(trouble),
        Word::Answered { said: Ok(_), .. } | Word::Noted(Note::Pin(_)) | Word::Made(Ok(_)) => Vec::new(),
    }
}
