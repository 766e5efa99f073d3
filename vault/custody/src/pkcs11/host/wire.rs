//! What the vault and a custody host say to each other, byte by byte: frames of a length and a body, numbers big-endian,
//! texts and bytes behind their length. No key and no PIN is in any of them: those lie in the shared area, and a frame
//! names the cell. Whatever does not read to its last byte ends the connection.

use std::io::{self, Read, Write};

use cofre_envelope::Backing;

use super::Sandbox;
use super::area::Cell;
use crate::custodian::Mechanism;
use crate::pkcs11::Settings;
use crate::pkcs11::ceremony::{Ensured, Performance, Performed};
use crate::pkcs11::login::Standing;
use crate::pkcs11::message::{Facts, Known, Note};
use crate::pkcs11::trouble::Trouble;

mod read;
#[cfg(feature = "fuzz")]
mod reread;
#[cfg(any(test, feature = "fuzz"))]
mod samples;
#[cfg(test)]
mod tests;
mod write;

#[cfg(feature = "fuzz")]
pub use reread::{Reader, Reread, reread, samples};

use write::Body;

/// The longest body of a frame, in bytes.
const MOST: usize = 1 << 20;

/// Why a custody host is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To serve calls until it is told to close.
    Serve,
    /// To make the keys that are missing, once.
    MakeKeys,
    /// To perform a ceremony, once.
    Perform(Performance),
}

/// The first frame: all a host needs to know. The PIN lies in the shared area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) purpose: Purpose,
    pub(super) settings: Settings,
    pub(super) sandbox: Sandbox,
    pub(super) backing: Backing,
    pub(super) cells: Cell,
    pub(super) pin_len: u16,
    /// What is known of the PIN.
    pub(super) standing: Standing,
    pub(super) known: Option<Known>,
}

/// From the vault to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Open(Box<Opening>),
    Ask {
        id: u64,
        cell: Cell,
        ask: Ask,
    },
    /// Finish what is under way, end the sessions, leave.
    Close,
}

/// A command, its key bytes in the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Check,
    Census,
    Wrap { context: Vec<u8> },
    Unwrap { mechanism: Mechanism, context: Vec<u8>, wrapped: Vec<u8> },
    Sign { message: Vec<u8> },
}

/// From a host to the vault.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// What holds the host in, said before the module is loaded.
    Walls(String),
    Attached(Result<Box<Attached>, Trouble>),
    Answered {
        id: u64,
        said: Result<Said, Trouble>,
    },
    Noted(Note),
    Made(Result<Ensured, Trouble>),
    Performed(Result<Box<Performed>, Trouble>),
}

/// An open token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) facts: Facts,
    pub(super) sessions: u16,
    pub(super) known: Known,
}

/// A reply, its key bytes in the cell of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Ready,
    Sessions(Option<u64>),
    Wrapped(Vec<u8>),
    Share,
    Signature([u8; 64]),
}

/// A frame as it goes over the socket, the length first.
pub(super) fn frame(body: &Body) -> Vec<u8> {
    let len = u32::try_from(body.0.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], &body.0].concat()
}

/// Sends a word.
pub(super) fn say(to: &mut impl Write, word: &Word) -> io::Result<()> {
    to.write_all(&frame(&word.write()))
}

/// The body behind a frame's length.
pub(super) fn body(from: &mut impl Read, len: [u8; 4]) -> io::Result<Vec<u8>> {
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > MOST {
        return Err(garbled());
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn next(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    body(from, len)
}

/// The next order.
pub(super) fn order(from: &mut impl Read) -> io::Result<Order> {
    Order::read(&next(from)?).ok_or_else(garbled)
}

/// The next word.
pub(super) fn word(from: &mut impl Read) -> io::Result<Word> {
    Word::read(&next(from)?).ok_or_else(garbled)
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame that cannot be read")
}
