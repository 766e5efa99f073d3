//! The bounded queue in front of the owner threads, and the deadline behind it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofre_envelope::Slab;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::login::Login;
use super::message::{Command, Reply};
use super::owner::{Owner, Plan};
use super::trouble::Trouble;
use super::{Pin, Settings, module};
use crate::fault::{Cause, Operation};

struct Job {
    command: Command,
    reply: oneshot::Sender<Result<Reply, Trouble>>,
}

type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;

/// The threads of one token.
pub(super) struct Pool {
    plan: Arc<Plan>,
    deadline: Duration,
    jobs: Jobs,
    staff: Mutex<Staff>,
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

impl Pool {
    /// Loads the module and starts the first thread. Nothing is asked of the token yet.
    pub(super) fn start(settings: Settings, pin: Pin, slab: Arc<Slab>) -> Result<Self, Trouble> {
        let module = module::load(&settings.module, settings.module_sha256.as_ref())?;
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let (alive, gone) = mpsc::channel(1);
        let deadline = settings.deadline;
        let pool = Self {
            plan: Arc::new(Plan::new(settings, module, Login::new(pin), slab)),
            deadline,
            jobs: Arc::new(Mutex::new(jobs)),
            staff: Mutex::new(Staff { queue: Some(queue), alive: Some(alive), size: 0 }),
            gone: tokio::sync::Mutex::new(gone),
        };
        pool.grow(1)?;
        Ok(pool)
    }

    /// Starts threads until there are `size`; each connects when it gets its first job.
    pub(super) fn grow(&self, size: usize) -> Result<(), Trouble> {
        let mut staff = self.staff.lock().unwrap_or_else(PoisonError::into_inner);
        while staff.size < size {
            let owner = Owner::new(self.plan.clone());
            let jobs = self.jobs.clone();
            let alive = staff.alive.clone();
            std::thread::Builder::new()
                .name(format!("{} {}", self.plan.settings.id, staff.size))
                .spawn(move || {
                    work(owner, &jobs);
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

    /// Queues a command and waits for its reply; both together no longer than the deadline.
    pub(super) async fn ask(&self, operation: Operation, command: Command) -> Result<Reply, Trouble> {
        let queue = self.staff.lock().unwrap_or_else(PoisonError::into_inner).queue.clone();
        let queue = queue.ok_or(Trouble::of(operation, Cause::Stopped))?;
        let (reply, answer) = oneshot::channel();
        let begun = tokio::time::Instant::now();
        match timeout(self.deadline, queue.send(Job { command, reply })).await {
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

    /// Ends the threads. Jobs already queued are served first; the last session that closes ends the login.
    pub(super) async fn close(&self) -> Result<(), Trouble> {
        {
            let mut staff = self.staff.lock().unwrap_or_else(PoisonError::into_inner);
            staff.queue = None;
            staff.alive = None;
        }
        let mut gone = self.gone.lock().await;
        timeout(self.deadline, gone.recv()).await.map(drop).map_err(|_| Trouble::of(Operation::Close, Cause::Timeout))
    }
}

fn work(mut owner: Owner, jobs: &Jobs) {
    loop {
        // Idle threads wait for the lock, one of them for a job.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job { command, reply }) = job else { return };
        // Nobody waits any more: do not touch a key for nobody.
        if reply.is_closed() {
            continue;
        }
        // A caller who left meanwhile drops the reply; a share in it wipes itself.
        let _ = reply.send(owner.serve(&command));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.size()).finish_non_exhaustive()
    }
}
