//! Tries, from inside the sandbox, what must not work. The walls are believed when every attempt is refused and the one
//! connection that must work does.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;

/// One attempt and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// What was tried.
    pub what: &'static str,
    /// Whether it has to work.
    pub allowed: bool,
    /// Whether it worked.
    pub worked: bool,
    /// What the system said.
    pub said: Option<String>,
}

impl Attempt {
    fn new<T>(what: &'static str, allowed: bool, result: io::Result<T>) -> Self {
        let said = result.as_ref().err().map(|error| error.kind().to_string());
        Self { what, allowed, worked: result.is_ok(), said }
    }

    /// Whether it ended as it has to. A refusal counts only where the system says that it was not permitted: a file
    /// that is missing or a port where nobody listens proves no wall.
    #[must_use]
    pub fn as_it_should(&self) -> bool {
        let denied = io::ErrorKind::PermissionDenied.to_string();
        if self.allowed { self.worked } else { !self.worked && self.said == Some(denied) }
    }
}

/// Tries everything. At `allowed` and `other` somebody listens; only the first one's port was left open.
#[must_use]
pub fn attempt_all(allowed: SocketAddr, other: SocketAddr) -> Vec<Attempt> {
    vec![
        Attempt::new("connect to the allowed port", true, TcpStream::connect(allowed)),
        Attempt::new("connect to another port", false, TcpStream::connect(other)),
        Attempt::new("read a file", false, File::open("/proc/self/status")),
        Attempt::new("read the process's own memory", false, File::open("/proc/self/mem")),
        Attempt::new("list a folder", false, fs::read_dir("/")),
        Attempt::new("make a file", false, File::create(std::env::temp_dir().join("cofre-worker-self-test"))),
        Attempt::new("run a program", false, Command::new("/bin/true").spawn()),
        Attempt::new("become another program", false, Err::<(), _>(Command::new("/bin/true").exec())),
        Attempt::new("start a thread", false, thread::Builder::new().spawn(|| ())),
        Attempt::new("listen", false, TcpListener::bind("127.0.0.1:0")),
        Attempt::new("open a UDP socket", false, UdpSocket::bind("127.0.0.1:0")),
        Attempt::new("open a unix socket", false, UnixDatagram::unbound()),
        Attempt::new("make a socket pair", false, UnixStream::pair()),
        Attempt::new(
            "make a file in memory",
            false,
            rustix::fs::memfd_create("t", MemfdFlags::CLOEXEC).map_err(Into::into),
        ),
        Attempt::new("take hold of a process", false, parent()),
    ]
}

fn parent() -> io::Result<()> {
    let parent = rustix::process::getppid().or(Pid::from_raw(1)).ok_or(io::ErrorKind::NotFound)?;
    rustix::process::pidfd_open(parent, PidfdFlags::empty())?;
    Ok(())
}
