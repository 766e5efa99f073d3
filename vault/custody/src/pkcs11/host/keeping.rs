//! The thread that watches over a host: starts it, hears it, buries it, and starts the next one.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::line::{self, Line};
use super::wire::{self, Attached, Opening, Purpose, Word};
use super::{State, Watch, locked};
use crate::fault::{Cause, Operation};
use crate::pkcs11::login::{REST, Standing};
use crate::pkcs11::message::Note;
use crate::pkcs11::trouble::Trouble;
use tokio::time::Instant;

/// The longest wait before a host is started again.
const SLOWEST: Duration = Duration::from_secs(2);

/// A host that lived as long is no sign of a module that crashes again and again.
const LIVED: Duration = Duration::from_secs(10);

/// Hosts that the kernel does not let end, at most, before no other is started.
const UNBURIED: usize = 3;

/// Words beside answers that a host may say, for each answer and at first. More than that is noise, and fills the log.
const NOTES: u64 = 200;
const NOTES_PER_ANSWER: u64 = 8;

impl Watch {
    pub(super) fn over(&self) {
        let mut failures = 0;
        // The first start is the caller's to judge; once a host served, there is always another.
        let mut served_once = false;
        let mut unburied: Vec<Arc<Line>> = Vec::new();
        while !self.is_closing() {
            unburied.retain(|line| !line.is_buried());
            if unburied.len() >= UNBURIED {
                // Stuck in a driver, each with its threads: another one would end the same way.
                self.state.send_replace(State::Down(Trouble::of(Operation::Connect, Cause::Timeout)));
                self.pause(failures.max(6));
                continue;
            }
            let trouble = match self.start() {
                Ok((line, incoming, opened)) => {
                    served_once = true;
                    let line = Arc::new(line);
                    line.serve(usize::from(opened));
                    let since = Instant::now();
                    self.state.send_replace(State::Up(line.clone()));
                    if self.is_closing() {
                        line.take_leave();
                    }
                    self.listen(&line, incoming);
                    self.state.send_replace(State::Starting);
                    let how = line.end();
                    unburied.push(line);
                    failures = if since.elapsed() >= LIVED { 0 } else { failures + 1 };
                    self.bury(&how);
                    None
                }
                Err(trouble) => {
                    failures += 1;
                    Some(trouble)
                }
            };
            let refused = self.refused();
            let last = refused.is_some() || !served_once;
            // Where both say the same, the start's own failure also says what the library answered.
            let same = |trouble: &Trouble| refused.as_ref().is_none_or(|refused| refused.cause == trouble.cause);
            if let Some(trouble) = trouble.filter(same).or(refused) {
                let custodian = self.settings.id.as_str();
                let (cause, error) = (trouble.cause.as_str(), trouble.to_string());
                tracing::warn!(custodian, cause, error, "no custody host serves");
                self.state.send_replace(State::Down(trouble));
                if last {
                    return;
                }
            }
            self.pause(failures);
        }
        self.state.send_replace(State::Closed);
    }

    /// One host, until it has opened the token or failed to.
    fn start(&self) -> Result<(Line, UnixStream, u16), Trouble> {
        if let Some(trouble) = self.refused() {
            return Err(trouble);
        }
        self.starts.fetch_add(1, Ordering::Relaxed);
        let opening = |cells, pin_len| {
            let past = locked(&self.past);
            Opening {
                purpose: Purpose::Serve,
                settings: self.settings.clone(),
                sandbox: self.hosting.sandbox.clone(),
                backing: self.slab.backing(),
                cells,
                pin_len,
                standing: past.standing,
                known: past.known.clone(),
            }
        };
        let place = (self.slab.backing(), self.settings.sessions.max(1));
        let (line, mut incoming) = line::launch(&self.hosting, &self.pin, opening, place)?;
        let opened = self.opened(&mut incoming);
        if opened.is_err() {
            let how = line.end();
            self.rest(None, &mut incoming);
            self.bury(&how);
        }
        let opened = opened?;
        let mut past = locked(&self.past);
        let sessions = opened.sessions;
        past.facts = Some(opened.facts);
        // What the token was at first sight is not another host's to say.
        past.known.get_or_insert(opened.known);
        drop(past);
        Ok((line, incoming, sessions))
    }

    /// Waits for the token to be open; each word must come within the deadline, and there are few before it.
    fn opened(&self, incoming: &mut UnixStream) -> Result<Box<Attached>, Trouble> {
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Trouble::of(Operation::Connect, Cause::Timeout),
            _ => Trouble::of(Operation::Connect, Cause::Crashed),
        };
        incoming.set_read_timeout(Some(self.settings.deadline)).map_err(broken)?;
        for _ in 0..NOTES {
            match wire::word(incoming).map_err(broken)? {
                Word::Attached(opened) => {
                    incoming.set_read_timeout(None).map_err(broken)?;
                    return opened;
                }
                word => self.hear(word)?,
            }
        }
        Err(Trouble::of(Operation::Connect, Cause::Crashed))
    }

    /// What a host that was ended had said before: above all what became of the PIN, and answers it gave.
    fn rest(&self, line: Option<&Line>, incoming: &mut UnixStream) {
        // The line is cut: what is read was sent before.
        let _ = incoming.set_read_timeout(Some(self.settings.deadline));
        for _ in 0..NOTES {
            match wire::word(incoming) {
                Ok(word @ Word::Noted(_)) => drop(self.hear(word)),
                Ok(Word::Answered { id, said }) => {
                    if let Some(line) = line {
                        line.answered(id, said);
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Hands out answers until the host ends, or says what makes no sense.
    fn listen(&self, line: &Line, mut incoming: UnixStream) {
        let mut notes = 0;
        while let Ok(word) = wire::word(&mut incoming) {
            match word {
                Word::Answered { id, said } => line.answered(id, said),
                word => {
                    notes += 1;
                    // Only its end gives the session back. Calls under way are done once more on the next host.
                    let kept = matches!(word, Word::Noted(Note::SessionKept(_)));
                    let most = NOTES + NOTES_PER_ANSWER * line.served.load(Ordering::Relaxed);
                    if self.hear(word).is_err() || kept || notes > most {
                        line.kill();
                        return self.rest(Some(line), &mut incoming);
                    }
                }
            }
        }
    }

    fn hear(&self, word: Word) -> Result<(), Trouble> {
        let custodian = self.settings.id.as_str();
        match word {
            Word::Walls(walls) => {
                tracing::info!(custodian, walls, "custody host walled in");
                locked(&self.past).walls = walls;
                Ok(())
            }
            Word::Noted(note) => {
                note.log(custodian);
                if let Note::Pin(standing) = note {
                    locked(&self.past).learn(standing);
                }
                Ok(())
            }
            Word::Attached(_) | Word::Answered { .. } | Word::Made(_) | Word::Performed(_) => {
                Err(Trouble::of(Operation::Connect, Cause::Crashed))
            }
        }
    }

    /// A host is gone: what it was trying with the PIN when it ended is settled.
    fn bury(&self, how: &str) {
        let custodian = self.settings.id.as_str();
        if !self.is_closing() {
            tracing::warn!(custodian, outcome = how, "the custody host ended");
        }
        locked(&self.past).settle();
    }

    /// SECURITY: a PIN that was refused, or may have been, is handed to no further host: tokens lock.
    fn refused(&self) -> Option<Trouble> {
        match locked(&self.past).standing {
            Standing::Refused(cause) => Some(Trouble::of(Operation::LogIn, cause)),
            Standing::Untried | Standing::Trying | Standing::Accepted | Standing::Doubted => None,
        }
    }

    fn is_closing(&self) -> bool {
        *locked(&self.closing.0)
    }

    pub(super) fn close(&self) {
        *locked(&self.closing.0) = true;
        self.closing.1.notify_all();
        if let State::Up(line) = &*self.state.borrow() {
            line.take_leave();
        }
    }

    pub(super) fn kill(&self) {
        if let State::Up(line) = &*self.state.borrow() {
            line.kill();
        }
    }

    /// Waits before the next start: not the first time, then 100 ms, doubling; and where the PIN has to rest, so long.
    fn pause(&self, failures: u32) {
        let wait = match failures.saturating_sub(1) {
            _ if locked(&self.past).standing == Standing::Doubted => REST,
            0 => return,
            failures => Duration::from_millis(50).saturating_mul(1 << failures.min(10)).min(SLOWEST),
        };
        let closing = locked(&self.closing.0);
        // A spurious wake-up starts the host a little early.
        drop(self.closing.1.wait_timeout_while(closing, wait, |closing| !*closing));
    }
}
