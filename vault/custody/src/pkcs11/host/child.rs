//! The other side: the process that loads the vendor's module and does what the vault asks over its standard input. It
//! reads one order after the other on its only thread; owner threads answer. It ends with the vault, at a word, or when
//! what it hears makes no sense, and it never writes a key or a PIN but into the shared area.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use cofre_envelope::{BoundShare, Room, Slab};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::area::{self, Area, Cell};
use super::walls;
use super::wire::{self, Ask, Attached, Opening, Order, Purpose, Said, Word};
use crate::fault::{Cause, Operation};
use crate::pkcs11::message::{Answer, Command, Note, Reply};
use crate::pkcs11::pool::{Past, Pool, facts};
use crate::pkcs11::trouble::{Session, Trouble};
use crate::pkcs11::{Pin, Settings, ceremony};

/// Serves the vault that started this process, until it is told to stop. What `cofred custody-host` does.
#[must_use]
pub fn serve() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use io::Write;
            let _ = writeln!(io::stderr(), "custody-host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let birth = walls::at_birth();
    let mut vault = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (order, shared) = first(&mut vault)?;
    let Order::Open(opening) = order else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first order is not to open"));
    };
    let out = Out(Arc::new(Mutex::new(vault.try_clone()?)));
    match birth.and_then(|()| walls::close(&opening.sandbox, &opening.settings.module)) {
        Ok(walls) => out.say(&Word::Walls(walls)),
        Err(fallen) => {
            let (cause, detail) = (Cause::Unprotected, Some(fallen.to_string()));
            let trouble = Trouble::told(Operation::Load, cause, Session::Sound, detail);
            out.say(&match opening.purpose {
                Purpose::Serve => Word::Attached(Err(trouble)),
                Purpose::MakeKeys => Word::Made(Err(trouble)),
                Purpose::Perform(_) => Word::Performed(Err(trouble)),
            });
            return Ok(());
        }
    }
    // Only now: no key and no PIN comes to a process that is not walled in.
    let area = Area::of(shared.as_fd(), opening.backing, opening.cells)?;
    drop(shared);
    let pin = pin(&area, opening.pin_len)?;
    match opening.purpose {
        Purpose::MakeKeys => {
            let notes = |note| out.say(&Word::Noted(note));
            out.say(&Word::Made(ceremony::ensure(&opening.settings, pin, &notes)));
        }
        Purpose::Perform(what) => {
            let notes = |note| out.say(&Word::Noted(note));
            let performed = ceremony::perform_here(&opening.settings, pin, what, &notes);
            out.say(&Word::Performed(performed.map(Box::new)));
        }
        Purpose::Serve => {
            let host = match Host::open(*opening, pin, area, out.clone()) {
                Ok(host) => host,
                Err(trouble) => {
                    out.say(&Word::Attached(Err(trouble)));
                    return Ok(());
                }
            };
            host.listen(&mut vault);
        }
    }
    Ok(())
}

/// The first order, and the descriptor of the shared memory that comes with its length.
fn first(vault: &mut UnixStream) -> io::Result<(Order, OwnedFd)> {
    let mut len = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        &*vault,
        &mut [IoSliceMut::new(&mut len)],
        &mut beside,
        RecvFlags::WAITALL | RecvFlags::CMSG_CLOEXEC,
    );
    let nobody = || io::Error::other("this is started by cofred, not by hand");
    if got.map_err(|_| nobody())?.bytes != len.len() {
        return Err(nobody());
    }
    let shared = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let body = wire::body(vault, len)?;
    Ok((Order::of(&body)?, shared.ok_or_else(nobody)?))
}

/// Takes the PIN out of its cell, which is empty from then on.
fn pin(area: &Area, len: u16) -> io::Result<Pin> {
    let mut bytes = Zeroizing::new(vec![0; usize::from(len)]);
    if !area.take(area::PIN, &mut bytes) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the PIN has no place"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Pin::new(SecretString::from(text)))
}

/// The way to the vault, for every thread. Whole frames, in the order they are said.
#[derive(Clone)]
struct Out(Arc<Mutex<UnixStream>>);

impl Out {
    fn say(&self, word: &Word) {
        let mut vault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wire::say(&mut *vault, word).is_err() {
            // Nobody listens any more, and nothing here is of use to anybody else.
            std::process::exit(0);
        }
    }
}

struct Host {
    pool: Pool,
    area: Arc<Area>,
    slab: Arc<Slab>,
    out: Out,
}

impl Host {
    fn open(opening: Opening, pin: Pin, area: Area, out: Out) -> Result<Self, Trouble> {
        let memory = |_| Trouble::of(Operation::Load, Cause::LockedMemory);
        let slab = Slab::with_room(opening.backing, Room { small: 2 * u32::from(opening.cells), large: 0 });
        let slab = slab.map_err(memory)?;
        let past = Past { known: opening.known, standing: opening.standing };
        let notes = {
            let out = out.clone();
            Box::new(move |note: Note| out.say(&Word::Noted(note)))
        };
        // As many as may be asked at once: whoever reads orders never waits for a thread.
        let settings = Settings { queue: usize::from(opening.cells), ..opening.settings };
        let most = settings.sessions;
        let pool = Pool::start(settings, pin, past, slab.clone(), notes)?;
        let (tell, told) = mpsc::channel();
        pool.post(Operation::Connect, Command::Facts, move |answer| drop(tell.send(answer)))?;
        let lost = || Trouble::of(Operation::Connect, Cause::Transient);
        let facts = facts(told.recv().map_err(|_| lost())?)?;
        pool.fill(&facts)?;
        let sessions = u16::try_from(pool.size().min(most.max(1))).unwrap_or(u16::MAX);
        let known = pool.known().ok_or_else(lost)?;
        out.say(&Word::Attached(Ok(Box::new(Attached { facts, sessions, known }))));
        Ok(Self { pool, area: Arc::new(area), slab, out })
    }

    fn listen(&self, vault: &mut UnixStream) {
        loop {
            match wire::order(vault) {
                Ok(Order::Ask { id, cell, ask }) => self.ask(id, cell, ask),
                Ok(Order::Close) => {
                    self.pool.end();
                    return;
                }
                // The vault is gone, or is not what it should be.
                Ok(Order::Open(_)) | Err(_) => std::process::exit(0),
            }
        }
    }

    fn ask(&self, id: u64, cell: Cell, ask: Ask) {
        let (operation, command) = match self.command(cell, ask) {
            Ok(both) => both,
            Err(trouble) => return self.out.say(&Word::Answered { id, said: Err(trouble) }),
        };
        let (area, out) = (self.area.clone(), self.out.clone());
        let tell = move |answer| out.say(&Word::Answered { id, said: said(answer, &area, cell) });
        if let Err(trouble) = self.pool.post(operation, command, tell) {
            self.out.say(&Word::Answered { id, said: Err(trouble) });
        }
    }

    fn command(&self, cell: Cell, ask: Ask) -> Result<(Operation, Command), Trouble> {
        Ok(match ask {
            Ask::Check => (Operation::Check, Command::Check),
            Ask::Census => (Operation::Check, Command::Census),
            Ask::Wrap { context } => {
                let share = BoundShare::fill(&self.slab, |slot| match self.area.take(cell, slot) {
                    true => Ok(()),
                    false => Err(Trouble::of(Operation::Wrap, Cause::LockedMemory)),
                })?;
                (Operation::Wrap, Command::Wrap { context, share })
            }
            Ask::Unwrap { mechanism, context, wrapped } => {
                (Operation::Unwrap, Command::Unwrap { mechanism, context, wrapped })
            }
            Ask::Sign { message } => (Operation::Sign, Command::Sign { message }),
        })
    }
}

/// The answer for the vault; a share goes into the cell of the call.
fn said(answer: Answer, area: &Area, cell: Cell) -> Result<Said, Trouble> {
    Ok(match answer? {
        Reply::Ready => Said::Ready,
        Reply::Sessions(count) => Said::Sessions(count),
        Reply::Wrapped(bytes) => Said::Wrapped(bytes),
        Reply::Signature(bytes) => Said::Signature(bytes),
        Reply::Share(share) => match share.with_bytes(|bytes| area.put(cell, bytes)) {
            true => Said::Share,
            false => return Err(Trouble::of(Operation::Unwrap, Cause::LockedMemory)),
        },
        // Nobody asks for them here.
        Reply::Facts(_) => return Err(Trouble::of(Operation::Connect, Cause::Transient)),
    })
}
