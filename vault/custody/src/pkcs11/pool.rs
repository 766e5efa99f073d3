//! The bounded queue in front of the owner threads, and the deadline behind it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofre_envelope::Slab;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::login::{Login, Standing};
use super::message::{Answer, Command, Facts, Known, Notes, Reply};
use super::owner::{Owner, Plan};
use super::trouble::Trouble;
use super::{Pin, Settings, module};
use crate::fault::{Cause, Operation};

/// How long a thread that got no session leaves the queue to those that have one.
const STEP_BACK: Duration = Duration::from_millis(250);

struct Job {
    command: Command,
    waiting: Waiting,
}

/// Who waits for an answer.
enum Waiting {
    /// A caller of this process, who may leave.
    Here(oneshot::Sender<Answer>),
    /// One of another process.
    There(Box<dyn FnOnce(Answer) + Send>),
}

impl Waiting {
    fn is_over(&self) -> bool {
        matches!(self, Self::Here(reply) if reply.is_closed())
    }

    fn tell(self, answer: Answer) {
        match self {
            // A caller who left meanwhile drops the reply; a share in it wipes itself.
            Self::Here(reply) => drop(reply.send(answer)),
            Self::There(tell) => tell(answer),
        }
    }
}

type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;

/// The threads of one token.
pub(super) struct Pool {
    plan: Arc<Plan>,
    deadline: Duration,
    jobs: Jobs,
    staff: Mutex<Staff>,
    /// Threads that hold a session now.
    holding: Arc<AtomicUsize>,
    /// Gives nothing and ends when the last thread has ended.
    gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

#[derive(Default)]
struct Staff {
    /// Taken away to close.
    queue: Option<mpsc::Sender<Job>>,
    /// Every thread holds a copy while it lives.
    alive: Option<mpsc::Sender<()>>,
    size: usize,
}

/// What a pool needs to know of the token's past.
pub(super) struct Past {
    /// What the token was, where it was seen before.
    pub(super) known: Option<Known>,
    /// What is known of the PIN.
    pub(super) standing: Standing,
}

impl Past {
    /// There is none.
    pub(super) const NONE: Self = Self { known: None, standing: Standing::Untried };
}

impl Pool {
    /// Loads the module and starts the first thread. Nothing is asked of the token yet.
    pub(super) fn start(
        settings: Settings,
        pin: Pin,
        past: Past,
        slab: Arc<Slab>,
        notes: Notes,
    ) -> Result<Self, Trouble> {
        let module = module::load(&settings.module, settings.module_sha256.as_ref())?;
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let (alive, gone) = mpsc::channel(1);
        let deadline = settings.deadline;
        let login = Login::new(pin, past.standing);
        let pool = Self {
            plan: Arc::new(Plan::new(settings, module, login, slab, past.known, notes)),
            deadline,
            jobs: Arc::new(Mutex::new(jobs)),
            staff: Mutex::new(Staff { queue: Some(queue), alive: Some(alive), size: 0 }),
            holding: Arc::default(),
            gone: tokio::sync::Mutex::new(gone),
        };
        pool.grow(1)?;
        Ok(pool)
    }

    /// As many threads as the settings want and the token has room for, now that it said so.
    pub(super) fn fill(&self, facts: &Facts) -> Result<(), Trouble> {
        self.grow(room(&self.plan.settings, facts.max_sessions))
    }

    /// Starts threads until there are `size`; each connects when it gets its first job.
    fn grow(&self, size: usize) -> Result<(), Trouble> {
        let mut staff = self.staff.lock().unwrap_or_else(PoisonError::into_inner);
        while staff.size < size {
            let owner = Owner::new(self.plan.clone());
            let (jobs, holding) = (self.jobs.clone(), self.holding.clone());
            let (queue, alive) = (staff.queue.as_ref().map(mpsc::Sender::downgrade), staff.alive.clone());
            std::thread::Builder::new()
                .name(format!("{} {}", self.plan.settings.id, staff.size))
                .spawn(move || {
                    work(owner, &jobs, queue.as_ref(), &holding);
                    drop(alive);
                })
                .map_err(|_| Trouble::of(Operation::Connect, Cause::Busy))?;
            staff.size += 1;
        }
        Ok(())
    }

    pub(super) fn size(&self) -> usize {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner).size
    }

    /// What makes the token the one it is, once it was seen.
    pub(super) fn known(&self) -> Option<Known> {
        self.plan.known().cloned()
    }

    fn queue(&self, operation: Operation) -> Result<mpsc::Sender<Job>, Trouble> {
        let queue = self.staff.lock().unwrap_or_else(PoisonError::into_inner).queue.clone();
        queue.ok_or(Trouble::of(operation, Cause::Stopped))
    }

    /// Queues a command and waits for its reply; both together no longer than the deadline.
    pub(super) async fn ask(&self, operation: Operation, command: Command) -> Answer {
        let queue = self.queue(operation)?;
        let (reply, answer) = oneshot::channel();
        let begun = tokio::time::Instant::now();
        match timeout(self.deadline, queue.send(Job { command, waiting: Waiting::Here(reply) })).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Trouble::of(operation, Cause::Stopped)),
            Err(_) => return Err(Trouble::of(operation, Cause::Busy)),
        }
        match timeout(self.deadline.saturating_sub(begun.elapsed()), answer).await {
            Ok(Ok(answer)) => answer,
            // The thread died with the job: nothing came of it.
            Ok(Err(_)) => Err(Trouble::of(operation, Cause::Transient)),
            Err(_) => Err(Trouble::of(operation, Cause::Timeout)),
        }
    }

    /// Queues a command of another process; `tell` is called with the answer, on an owner thread. Blocks while the
    /// queue is full.
    pub(super) fn post(
        &self,
        operation: Operation,
        command: Command,
        tell: impl FnOnce(Answer) + Send + 'static,
    ) -> Result<(), Trouble> {
        let job = Job { command, waiting: Waiting::There(Box::new(tell)) };
        self.queue(operation)?.blocking_send(job).map_err(|_| Trouble::of(operation, Cause::Stopped))
    }

    /// Ends the threads. Jobs already queued are served first; the last session that closes ends the login.
    pub(super) async fn close(&self) -> Result<(), Trouble> {
        self.take_no_more();
        let mut gone = self.gone.lock().await;
        timeout(self.deadline, gone.recv()).await.map(drop).map_err(|_| Trouble::of(Operation::Close, Cause::Timeout))
    }

    /// As [`Pool::close`], where no runtime is and whoever waits has a deadline of its own.
    pub(super) fn end(&self) {
        self.take_no_more();
        self.gone.blocking_lock().blocking_recv();
    }

    fn take_no_more(&self) {
        let mut staff = self.staff.lock().unwrap_or_else(PoisonError::into_inner);
        staff.queue = None;
        staff.alive = None;
    }
}

/// Sessions to hold: what the settings want, or what the token allows without those that are left to others (a
/// ceremony, a person with a tool), whichever is less; never none.
fn room(settings: &Settings, limit: Option<usize>) -> usize {
    let wanted = settings.sessions.max(1);
    limit.map_or(wanted, |limit| wanted.min(limit.saturating_sub(settings.reserve)).max(1))
}

fn work(mut owner: Owner, jobs: &Jobs, queue: Option<&mpsc::WeakSender<Job>>, holding: &AtomicUsize) {
    let mut counted = false;
    loop {
        // Idle threads wait for the lock, one of them for a job.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job { command, waiting }) = job else { break };
        // Nobody waits any more: do not touch a key for nobody.
        if waiting.is_over() {
            continue;
        }
        let answer = owner.serve(&command);
        if counted != owner.holds() {
            counted = owner.holds();
            if counted {
                holding.fetch_add(1, Ordering::Relaxed)
            } else {
                holding.fetch_sub(1, Ordering::Relaxed)
            };
        }
        let none_left = matches!(&answer, Err(trouble) if trouble.is_out_of_sessions());
        if none_left && holding.load(Ordering::Relaxed) > 0 {
            // The token has no session for this thread, but other threads hold some: they shall serve.
            let job = Job { command, waiting };
            let back = match queue.and_then(mpsc::WeakSender::upgrade) {
                Some(queue) => queue.try_send(job).map_err(mpsc::error::TrySendError::into_inner),
                None => Err(job),
            };
            match back {
                Ok(()) => std::thread::sleep(STEP_BACK),
                Err(job) => job.waiting.tell(answer),
            }
        } else {
            waiting.tell(answer);
        }
        owner.answered();
    }
    if counted {
        holding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.size()).finish_non_exhaustive()
    }
}

/// The reply to [`Command::Facts`], or that the far side is out of step.
pub(super) fn facts(answer: Answer) -> Result<Facts, Trouble> {
    match answer? {
        Reply::Facts(facts) => Ok(*facts),
        _ => Err(Trouble::of(Operation::Connect, Cause::Transient)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custodian::CustodianId;
    use crate::pkcs11::TokenName;

    #[test]
    fn sessions_are_what_is_wanted_or_what_the_token_leaves() {
        let id = CustodianId::try_from("hsm-1").expect("a slug");
        let mut settings = Settings::new(id, "/m.so".into(), TokenName::Label("t".into()), "k");
        for (wanted, reserve, limit, held) in [
            (8, 1, None, 8),
            (8, 1, Some(100), 8),
            (8, 1, Some(8), 7),
            (8, 3, Some(8), 5),
            (2, 1, Some(8), 2),
            (8, 1, Some(1), 1),
            (8, 1, Some(0), 1),
            (0, 0, None, 1),
        ] {
            (settings.sessions, settings.reserve) = (wanted, reserve);
            assert_eq!(room(&settings, limit), held, "{wanted} wanted, {reserve} left, {limit:?} allowed");
        }
    }
}
