//! Custody hosts: the vendor's module in a process of its own, which may crash or hang without the vault.
//!
//! ```text
//! vault                                                            custody host (`cofred custody-host`)
//! callers ─▶ places ─▶ seats ── orders ──▶ socket pair ──▶ one reader ─▶ queue ─▶ owner threads ─▶ module
//!         ◀─ deadline ◀──────── words ◀── (its stdin)  ◀── owner threads
//!                      keys and PIN ◀───▶ shared locked memory, a cell a call
//! ```
//! A host that ended is started again, at once and then ever more slowly; a call that was under way on it is done once
//! more, because every command can be repeated, and then fails as [`Cause::Crashed`]. A host that leaves a call
//! unanswered for the whole deadline hangs: it is ended, and its caller has its time-out. The PIN is handed over once to
//! each host, in the shared memory, and never again once the token refused it or may have.

mod area;
mod child;
mod keeping;
mod line;
mod making;
mod walls;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use cofre_envelope::Slab;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::login::Standing;
use super::message::{Answer, Command, Facts, Known};
use super::trouble::Trouble;
use super::{Pin, Settings};
use crate::fault::{Cause, Operation};
use line::{Line, Outcome};

pub use child::serve;
pub(super) use making::{make_keys, perform};
#[cfg(feature = "fuzz")]
pub use wire::{Reader, Reread, reread, samples};

/// How a module's process is started, and what holds it in.
#[derive(Clone, PartialEq, Eq)]
pub struct Hosting {
    /// The program that serves on its standard input by [`serve`].
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment: what the module's own configuration needs and nothing else.
    pub environment: Vec<(OsString, OsString)>,
    /// The walls around it.
    pub sandbox: Sandbox,
}

impl std::fmt::Debug for Hosting {
    /// Without the values of the environment: a vendor's may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Hosting").field("program", &self.program).field("environment", &names).finish_non_exhaustive()
    }
}

/// The walls around a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Which walls.
    pub profile: Profile,
    /// Files and folders the module may read, besides what every library needs, itself, and files that its environment
    /// names.
    pub readable: Vec<PathBuf>,
    /// Files and folders it may change.
    pub writable: Vec<PathBuf>,
}

/// What a module may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Files that are named, no socket, no other process: for tokens in files.
    #[default]
    Files,
    /// As `Files`, and connections to a network and to services of this machine: for HSMs on a network.
    Network,
    /// Whatever the vault's user may: for modules that no profile fits.
    Off,
}

impl Profile {
    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Network => "network",
            Self::Off => "off",
        }
    }
}

/// How often a call is done on a host that may end under it.
const ATTEMPTS: usize = 2;

/// The handle of one token behind a host.
pub(super) struct Host {
    watch: Arc<Watch>,
    /// Taken away to close.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    /// Gives nothing and ends when the last call under way has.
    done: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

/// What the thread that watches over the host shares with callers.
struct Watch {
    settings: Settings,
    hosting: Hosting,
    pin: Pin,
    slab: Arc<Slab>,
    state: watch::Sender<State>,
    /// One for each session and each caller that may wait for one.
    places: Arc<Semaphore>,
    past: Mutex<Remembered>,
    closing: (Mutex<bool>, Condvar),
    starts: AtomicU64,
}

/// What outlives a host.
struct Remembered {
    /// What is known of the PIN, tries under way aside.
    standing: Standing,
    /// Whether a host is trying it.
    trying: bool,
    facts: Option<Facts>,
    known: Option<Known>,
    walls: String,
}

impl Remembered {
    /// Hears about the PIN. A refusal stands, whatever another host says.
    fn learn(&mut self, standing: Standing) {
        self.trying = standing == Standing::Trying;
        if !self.trying && !matches!(self.standing, Standing::Refused(_)) {
            self.standing = standing;
        }
    }

    /// The host is gone; a try that it did not tell the end of stays without one.
    fn settle(&mut self) {
        if std::mem::take(&mut self.trying) {
            self.standing = self.standing.unresolved();
        }
    }
}

#[derive(Clone)]
enum State {
    /// No host serves yet, or again; one is being started.
    Starting,
    Up(Arc<Line>),
    /// The last start failed, for this reason.
    Down(Trouble),
    Closed,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded here is changed by single assignments.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Starts a host and waits until it has opened the token.
    pub(super) async fn open(
        settings: Settings,
        hosting: Hosting,
        pin: Pin,
        slab: Arc<Slab>,
        known: Option<Known>,
    ) -> Result<(Self, Facts, Known), Trouble> {
        let places = Arc::new(Semaphore::new(settings.sessions.max(1).saturating_add(settings.queue.max(1))));
        let (state, mut seen) = watch::channel(State::Starting);
        let past = Remembered { standing: Standing::Untried, trying: false, facts: None, known, walls: String::new() };
        let watch = Arc::new(Watch {
            settings,
            hosting,
            pin,
            slab,
            state,
            places,
            past: Mutex::new(past),
            closing: (Mutex::new(false), Condvar::new()),
            starts: AtomicU64::new(0),
        });
        let (alive, done) = mpsc::channel(1);
        let host = Self { watch: watch.clone(), alive: Mutex::new(Some(alive)), done: tokio::sync::Mutex::new(done) };
        // A thread of its own: the kernel ends the host when the *thread* that started it ends.
        std::thread::Builder::new()
            .name(format!("{} host", watch.settings.id))
            .spawn(move || watch.over())
            .map_err(|_| Trouble::of(Operation::Load, Cause::Busy))?;
        let stopped = || Trouble::of(Operation::Connect, Cause::Stopped);
        let state = seen.wait_for(|state| !matches!(state, State::Starting)).await.map_err(|_| stopped())?.clone();
        match state {
            State::Up(_) => {
                let past = locked(&host.watch.past);
                let both = past.facts.clone().zip(past.known.clone()).ok_or_else(stopped)?;
                drop(past);
                Ok((host, both.0, both.1))
            }
            State::Down(trouble) => Err(trouble),
            State::Starting | State::Closed => Err(stopped()),
        }
    }

    /// Has a command done, within the deadline.
    pub(super) async fn ask(&self, operation: Operation, command: Command) -> Answer {
        let until = Instant::now() + self.watch.settings.deadline;
        let stopped = || Trouble::of(operation, Cause::Stopped);
        let place = match timeout_at(until, self.watch.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(stopped()),
            Err(_) => return Err(Trouble::of(operation, Cause::Busy)),
        };
        let alive = locked(&self.alive).clone().ok_or_else(stopped)?;
        let (reply, answer) = oneshot::channel();
        let queued = Arc::new(AtomicBool::new(true));
        let call = Call { operation, command, reply, queued: queued.clone(), _place: place, _alive: alive };
        // A task of its own: what was sent to a host is seen through to the end, also when its caller leaves.
        tokio::spawn(self.watch.clone().carry(call));
        match timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Trouble::of(operation, Cause::Transient)),
            // What never reached the token did not find it slow.
            Err(_) if queued.load(Ordering::Relaxed) => Err(Trouble::of(operation, Cause::Busy)),
            Err(_) => Err(Trouble::of(operation, Cause::Timeout)),
        }
    }

    /// Sessions the host holds; none while it is being started again.
    pub(super) fn size(&self) -> usize {
        match &*self.watch.state.borrow() {
            State::Up(line) => line.sessions(),
            State::Starting | State::Down(_) | State::Closed => 0,
        }
    }

    /// What holds the host in, in words.
    pub(super) fn walls(&self) -> String {
        locked(&self.watch.past).walls.clone()
    }

    /// How often a host was started, and the process id of the one that serves.
    pub(super) fn life(&self) -> (u64, Option<u32>) {
        let pid = match &*self.watch.state.borrow() {
            State::Up(line) => Some(line.pid()),
            State::Starting | State::Down(_) | State::Closed => None,
        };
        (self.watch.starts.load(Ordering::Relaxed), pid)
    }

    /// Takes no more calls, finishes those under way, and has the host end its sessions and leave.
    pub(super) async fn close(&self) -> Result<(), Trouble> {
        let watch = &self.watch;
        watch.places.close();
        locked(&self.alive).take();
        let late = || Trouble::of(Operation::Close, Cause::Timeout);
        let drained = timeout(watch.settings.deadline, async { self.done.lock().await.recv().await }).await;
        watch.close();
        let mut seen = watch.state.subscribe();
        let ended = seen.wait_for(|state| matches!(state, State::Closed | State::Down(_)));
        match timeout(watch.settings.deadline, ended).await {
            Ok(_) => drained.map(drop).map_err(|_| late()),
            Err(_) => {
                watch.kill();
                Err(late())
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.watch.places.close();
        self.watch.close();
        // Who wants sessions to end in order calls `close`; nobody watches here whether the host leaves.
        self.watch.kill();
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("life", &self.life()).finish_non_exhaustive()
    }
}

// === callers ===

/// One command under way.
struct Call {
    operation: Operation,
    command: Command,
    reply: oneshot::Sender<Answer>,
    /// Whether it waits for a session of a host that serves.
    queued: Arc<AtomicBool>,
    _place: OwnedSemaphorePermit,
    /// Ends with the call: who closes waits for the last one.
    _alive: mpsc::Sender<()>,
}

impl Watch {
    /// Sees one command through.
    async fn carry(self: Arc<Self>, call: Call) {
        let Call { operation, command, mut reply, queued, _place, _alive } = call;
        let mut attempts = 0;
        // One that is known to have ended is not taken again, though nobody has buried it yet.
        let mut ended: Option<Arc<Line>> = None;
        let answer = loop {
            queued.store(matches!(*self.state.borrow(), State::Up(_)), Ordering::Relaxed);
            let line = tokio::select! {
                biased;
                // Nobody waits any more: do not touch a key for nobody.
                () = reply.closed() => return,
                line = self.line(ended.as_ref()) => line,
            };
            let line = match line {
                Ok(line) => line,
                Err(cause) => break Err(Trouble::told(operation, cause.cause, cause.session, detail(&cause))),
            };
            queued.store(true, Ordering::Relaxed);
            let seat = tokio::select! {
                biased;
                () = reply.closed() => return,
                seat = line.seats.acquire() => seat,
            };
            // The line ended while this waited; the next one is as good.
            let Ok(_seat) = seat else {
                ended = Some(line.clone());
                continue;
            };
            queued.store(false, Ordering::Relaxed);
            attempts += 1;
            match line.exchange(&command, self.settings.deadline, &self.slab).await {
                Outcome::Answered(answer) => {
                    // Only a new process can load the module anew.
                    if matches!(&answer, Err(trouble) if trouble.cause == Cause::ModuleUnusable) {
                        line.kill();
                    }
                    break answer;
                }
                Outcome::Lost if attempts < ATTEMPTS => ended = Some(line.clone()),
                Outcome::Lost => break Err(Trouble::of(operation, Cause::Crashed)),
                Outcome::Hung => {
                    let custodian = self.settings.id.as_str();
                    tracing::warn!(custodian, operation = operation.as_str(), "the custody host hangs; it is ended");
                    line.kill();
                    break Err(Trouble::of(operation, Cause::Timeout));
                }
            }
        };
        // A caller who left meanwhile drops the reply; a share in it wipes itself.
        let _ = reply.send(answer);
    }

    /// The line that serves, once there is one; another than the one that ended.
    async fn line(&self, ended: Option<&Arc<Line>>) -> Result<Arc<Line>, Trouble> {
        let mut seen = self.state.subscribe();
        let settled = |state: &State| match state {
            State::Starting => false,
            State::Up(line) => ended.is_none_or(|ended| !Arc::ptr_eq(line, ended)),
            State::Down(_) | State::Closed => true,
        };
        let state = seen.wait_for(settled).await;
        match state.as_deref() {
            Ok(State::Up(line)) => Ok(line.clone()),
            Ok(State::Down(trouble)) => Err(trouble.clone()),
            Ok(State::Starting | State::Closed) | Err(_) => Err(Trouble::of(Operation::Connect, Cause::Stopped)),
        }
    }
}

fn detail(trouble: &Trouble) -> Option<String> {
    trouble.detail().map(str::to_owned)
}
