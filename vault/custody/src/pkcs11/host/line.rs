//! One custody host from its start to its end: the process, the socket, the shared area, and the calls under way on
//! them. A line that ended is never used again; whoever waits on it hears that its call was lost.

use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofre_envelope::{Backing, BoundShare, Slab};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use secrecy::ExposeSecret as _;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::area::{self, Area, CELL, Cell};
use super::wire::{self, Ask, Opening, Order, Said};
use super::{Hosting, locked};
use crate::fault::{Cause, Operation};
use crate::pkcs11::Pin;
use crate::pkcs11::message::{Answer, Command, Reply};
use crate::pkcs11::trouble::{Session, Trouble};

/// How often a killed process is asked whether it ended, every 5 ms.
const BURIAL: usize = 400;

/// How a call on a line ended.
pub(super) enum Outcome {
    /// With an answer.
    Answered(Answer),
    /// The host ended before it answered. Whether the token did the work nobody knows.
    Lost,
    /// The host did not answer in time.
    Hung,
}

/// By their running numbers, whoever waits for an answer.
type UnderWay = HashMap<u64, oneshot::Sender<Result<Said, Trouble>>>;

/// A host that serves, or did.
pub(super) struct Line {
    pid: u32,
    child: Mutex<Child>,
    /// The way to the host. Whole frames.
    out: Mutex<UnixStream>,
    /// The same socket, for cutting it without waiting for whoever writes.
    cut: UnixStream,
    area: Area,
    /// One for each session of the host: a call beyond that would only wait in the host, where nobody could tell
    /// waiting from hanging.
    pub(super) seats: Semaphore,
    /// Cells that no call has.
    cells: Mutex<Vec<Cell>>,
    /// Calls under way; none once the host is known to have ended.
    under_way: Mutex<Option<UnderWay>>,
    sessions: AtomicUsize,
    next: AtomicU64,
    /// Calls answered.
    pub(super) served: AtomicU64,
}

/// Why a host could not be started.
fn unstarted(error: &io::Error) -> Trouble {
    let detail = format!("the custody host could not be started: {error}");
    Trouble::told(Operation::Load, Cause::Unprotected, Session::Sound, Some(detail))
}

/// Starts the process and hands it the shared memory, the PIN in it, and the first order. Answers the line's end for
/// reading as well.
pub(super) fn launch(
    hosting: &Hosting,
    pin: &Pin,
    opening: impl FnOnce(Cell, u16) -> Opening,
    (backing, sessions): (Backing, usize),
) -> Result<(Line, UnixStream), Trouble> {
    let pin = pin.0.expose_secret().as_bytes();
    let len = u16::try_from(pin.len()).ok().filter(|len| usize::from(*len) <= CELL);
    let len = len.ok_or(Trouble::of(Operation::LogIn, Cause::PinUnusable))?;
    let cells = Cell::try_from(sessions).unwrap_or(Cell::MAX).saturating_add(1);
    let memory = |error: io::Error| {
        let detail = format!("shared memory: {error}");
        Trouble::told(Operation::Load, Cause::LockedMemory, Session::Sound, Some(detail))
    };
    let (area, shared) = Area::new(backing, cells).map_err(memory)?;
    if !area.put(area::PIN, pin) {
        return Err(Trouble::of(Operation::LogIn, Cause::PinUnusable));
    }
    let order = Order::Open(Box::new(opening(cells, len)));
    let start = || {
        let (ours, theirs) = UnixStream::pair()?;
        let cut = ours.try_clone()?;
        let child = spawn(hosting, theirs)?;
        Ok((child, ours, cut))
    };
    let (child, ours, cut) = start().map_err(|error| unstarted(&error))?;
    let line = Line {
        pid: child.id(),
        child: Mutex::new(child),
        out: Mutex::new(ours),
        cut,
        area,
        seats: Semaphore::new(0),
        cells: Mutex::new((1..cells).rev().collect()),
        under_way: Mutex::new(Some(HashMap::new())),
        sessions: AtomicUsize::new(0),
        next: AtomicU64::new(0),
        served: AtomicU64::new(0),
    };
    // From here on the process is the line's, and ends with it.
    match line.greet(&wire::frame(&order.write()), &shared) {
        Ok(incoming) => Ok((line, incoming)),
        Err(error) => {
            let how = line.end();
            Err(match error.kind() {
                // It did not stay to listen.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    Trouble::told(Operation::Connect, Cause::Crashed, Session::Sound, Some(how))
                }
                _ => unstarted(&error),
            })
        }
    }
}

fn spawn(hosting: &Hosting, socket: UnixStream) -> io::Result<Child> {
    Process::new(&hosting.program)
        .arg0("cofred")
        .args(&hosting.arguments)
        .env_clear()
        .envs(hosting.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        // A Ctrl-C is for the vault, which takes leave of its hosts in order.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::null())
        // SECURITY: what a module prints may hold a PIN or a key, or be made to look like the vault's own log.
        .stderr(Stdio::null())
        .spawn()
}

impl Line {
    fn greet(&self, frame: &[u8], shared: &OwnedFd) -> io::Result<UnixStream> {
        let mut out = locked(&self.out);
        let (len, body) = frame.split_at_checked(4).ok_or(io::ErrorKind::InvalidData)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let fds = [shared.as_fd()];
        if !beside.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        rustix::net::sendmsg(&*out, &[IoSlice::new(len)], &mut beside, SendFlags::NOSIGNAL)?;
        // A host that does not read is a host that hangs: its calls run into their deadline, not into this lock.
        out.set_write_timeout(Some(Duration::from_secs(1)))?;
        out.write_all(body)?;
        out.try_clone()
    }

    /// Lets calls in: as many at once as the host has sessions.
    pub(super) fn serve(&self, sessions: usize) {
        self.sessions.store(sessions, Ordering::Relaxed);
        self.seats.add_permits(sessions.min(locked(&self.cells).len()));
    }

    /// Sessions of the host.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Sends an order; a host that cannot be told has ended, or shall.
    fn tell(&self, order: &Order) {
        let frame = wire::frame(&order.write());
        let mut out = locked(&self.out);
        if out.write_all(&frame).is_err() {
            drop(out);
            self.kill();
        }
    }

    /// Tells the host to finish what is under way and to leave.
    pub(super) fn take_leave(&self) {
        self.tell(&Order::Close);
    }

    /// Ends the process now, and lets no more calls in. The reader of the line hears what was said before, and then the
    /// end: also where the process is stuck in a driver and the kernel does not let it go.
    pub(super) fn kill(&self) {
        self.seats.close();
        // One that is cut already is as good.
        let _ = self.cut.shutdown(Shutdown::Both);
        let mut child = locked(&self.child);
        // One that has ended already is as good.
        let _ = child.kill();
    }

    /// The process id, for tests and the log.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the process, lets go of every call, and buries it.
    pub(super) fn end(&self) -> String {
        self.kill();
        locked(&self.under_way).take();
        for _ in 0..BURIAL {
            match locked(&self.child).try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => {}
                Err(error) => return error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Stuck in a driver: it ends when the kernel lets it, and the next one need not wait for that.
        "killed, and the kernel does not let go of it".to_owned()
    }

    /// Whether the process has ended and was taken note of.
    pub(super) fn is_buried(&self) -> bool {
        !matches!(locked(&self.child).try_wait(), Ok(None))
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answered(&self, id: u64, said: Result<Said, Trouble>) {
        let mut under_way = locked(&self.under_way);
        if let Some(waiting) = under_way.as_mut().and_then(|calls| calls.remove(&id)) {
            self.served.fetch_add(1, Ordering::Relaxed);
            // Every call waits to the end: see `exchange`.
            let _ = waiting.send(said);
        }
    }

    /// Does one call. The caller holds a seat, and waits to the end even if nobody waits for it any more: until the
    /// host has answered or ended, the cell belongs to the call.
    pub(super) async fn exchange(&self, command: &Command, within: Duration, slab: &Arc<Slab>) -> Outcome {
        let cell = locked(&self.cells).pop();
        // INVARIANT: there are as many cells as seats.
        let Some(cell) = cell else { return Outcome::Lost };
        let Some(ask) = self.ask(cell, command) else { return Outcome::Lost };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        match locked(&self.under_way).as_mut() {
            Some(calls) => calls.insert(id, reply),
            None => return Outcome::Lost,
        };
        self.tell(&Order::Ask { id, cell, ask });
        match timeout(within, answer).await {
            Ok(Ok(said)) => {
                let answer = said.and_then(|said| self.reply(said, cell, slab));
                self.area.wipe(cell);
                locked(&self.cells).push(cell);
                Outcome::Answered(answer)
            }
            Ok(Err(_)) => Outcome::Lost,
            Err(_) => Outcome::Hung,
        }
    }

    /// None where a share has no place, which no cell that was given out is too small for.
    fn ask(&self, cell: Cell, command: &Command) -> Option<Ask> {
        Some(match command {
            Command::Check | Command::Facts => Ask::Check,
            Command::Census => Ask::Census,
            Command::Wrap { context, share } => {
                if !share.with_bytes(|bytes| self.area.put(cell, bytes)) {
                    return None;
                }
                Ask::Wrap { context: context.clone() }
            }
            Command::Unwrap { mechanism, context, wrapped } => {
                Ask::Unwrap { mechanism: *mechanism, context: context.clone(), wrapped: wrapped.clone() }
            }
            Command::Sign { message } => Ask::Sign { message: message.clone() },
        })
    }

    fn reply(&self, said: Said, cell: Cell, slab: &Arc<Slab>) -> Answer {
        Ok(match said {
            Said::Ready => Reply::Ready,
            Said::Sessions(count) => Reply::Sessions(count),
            Said::Wrapped(bytes) => Reply::Wrapped(bytes),
            Said::Signature(bytes) => Reply::Signature(bytes),
            Said::Share => Reply::Share(BoundShare::fill(slab, |slot| match self.area.take(cell, slot) {
                true => Ok(()),
                false => Err(Trouble::of(Operation::Unwrap, Cause::LockedMemory)),
            })?),
        })
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Most were ended and buried before. Here nobody can be kept waiting.
        self.kill();
        let _ = locked(&self.child).try_wait();
    }
}
