//! A secret typed by a person, unseen, at the terminal from which the vault was started. Never from standard input: a
//! pipe there is not a person.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// The longest secret, in bytes. The buffer never grows: a buffer that does leaves copies behind.
const MOST: usize = 256;

/// Shows `question` and reads one line, which is not shown.
pub(super) fn ask(question: &str) -> io::Result<SecretString> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    let unseen = Unseen::on(&terminal)?;
    let mut line = Zeroizing::new([0; MOST]);
    let read = line_of(&mut &terminal, &mut line);
    drop(unseen);
    terminal.write_all(b"\n")?;
    let text = line.get(..read?).map(std::str::from_utf8);
    Ok(SecretString::from(text.transpose().map_err(|_| io::ErrorKind::InvalidData)?.unwrap_or_default()))
}

/// Reads to the end of the line and answers its length.
fn line_of(from: &mut impl Read, into: &mut [u8; MOST]) -> io::Result<usize> {
    for (len, place) in into.iter_mut().enumerate() {
        let got = from.read(std::slice::from_mut(place))?;
        if got == 0 {
            // A terminal that went away in the middle leaves half a secret, and a token would count that as a try.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if *place == b'\n' {
            return Ok(len);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Unseen<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn on(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        unseen.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON);
        tcsetattr(terminal, OptionalActions::Flush, &unseen)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // Nothing to be done where the terminal is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_and_no_more() {
        let read = |text: &[u8]| {
            let (mut text, mut line) = (text, [0; MOST]);
            line_of(&mut text, &mut line).map(|len| (line[..len].to_vec(), text.len())).map_err(|error| error.kind())
        };
        assert_eq!(read(b"4711\nrest"), Ok((b"4711".to_vec(), 4)));
        assert_eq!(read(b"4711"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(b"\n"), Ok((Vec::new(), 0)));
        assert_eq!(read(&[b'7'; MOST + 1]), Err(io::ErrorKind::InvalidData));
    }
}
