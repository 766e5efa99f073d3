//! What a module has no business with, tried from inside a process that holds one, so that walls around it can be tested
//! by what they do and not by what they say. One line per attempt in `attempts.log`: its name, and `ok` or the kernel's
//! error number.
#![expect(unsafe_code, reason = "system calls that no library offers, because nobody else should make them")]

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The descriptor that a test leaves open on purpose.
const LEFT_OPEN: libc::c_int = 300;

/// Tries everything and notes how it went.
pub(crate) fn make(token_folder: &Path, foreign: &Path) {
    let mut log = String::new();
    for (name, outcome) in files(foreign).into_iter().chain(processes()).chain(network()) {
        let said = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.raw_os_error().map_or_else(|| error.kind().to_string(), |number| number.to_string()),
        };
        let _ = writeln!(log, "{name} {said}");
    }
    // A log that cannot be written fails the test that reads it.
    let _ = std::fs::write(token_folder.join("attempts.log"), log);
}

type Attempt = (&'static str, io::Result<()>);

fn files(foreign: &Path) -> Vec<Attempt> {
    let path = CString::new(foreign.as_os_str().as_bytes()).unwrap_or_default();
    let at = path.as_ptr();
    let beside = foreign.with_extension("made");
    let mode = |mode| std::fs::set_permissions(foreign, std::os::unix::fs::PermissionsExt::from_mode(mode));
    vec![
        ("read", std::fs::read(foreign).map(drop)),
        ("append", std::fs::OpenOptions::new().append(true).open(foreign).map(drop)),
        ("make", std::fs::write(beside, "")),
        ("chmod", mode(0o600)),
        // SAFETY: a path that ends with a zero byte and lives to the end of the call, here and below.
        ("chown", answer(unsafe { libc::chown(at, libc::uid_t::MAX, libc::gid_t::MAX) }.into())),
        // SAFETY: as above; no times are given.
        ("utimens", answer(unsafe { libc::utimensat(libc::AT_FDCWD, at, std::ptr::null(), 0) }.into())),
        // SAFETY: as above, and the value is as long as it is said to be.
        ("setxattr", answer(unsafe { libc::setxattr(at, c"user.a".as_ptr(), c"b".as_ptr().cast(), 1, 0) }.into())),
        // SAFETY: as above. Last: whoever gets so far empties it.
        ("truncate", answer(unsafe { libc::truncate(at, 0) }.into())),
        // SAFETY: a question about a number, which need not be open.
        ("left-open", answer(unsafe { libc::fcntl(LEFT_OPEN, libc::F_GETFD) }.into())),
    ]
}

fn processes() -> Vec<Attempt> {
    // SAFETY: answers a number.
    let parent = unsafe { libc::getppid() };
    let nothing = std::ptr::null_mut::<libc::rlimit>();
    vec![
        ("program", std::process::Command::new("/bin/true").status().map(drop)),
        // SAFETY: signal 0 asks whether a signal would be let through, and sends none.
        ("signal", answer(unsafe { libc::kill(parent, 0) }.into())),
        // SAFETY: without asynchronous notice nobody is ever told.
        ("owner", answer(unsafe { libc::fcntl(0, libc::F_SETOWN, parent) }.into())),
        // SAFETY: no limits are given and none taken.
        ("limits", answer(unsafe { libc::prlimit(parent, libc::RLIMIT_CORE, nothing, nothing) }.into())),
        // SAFETY: changes this process's own mark only.
        ("dumpable", answer(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into())),
        ("queue", queue()),
        // SAFETY: asks for nothing: no thread gets a new space by it.
        ("unshare", answer(unsafe { libc::unshare(0) }.into())),
    ]
}

/// A message queue that other processes could read.
fn queue() -> io::Result<()> {
    // SAFETY: makes a queue of its own, or answers an error.
    let queue = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
    answer(queue.into())?;
    // SAFETY: removes the queue just made; no buffer is given.
    answer(unsafe { libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut()) }.into())
}

fn network() -> Vec<Attempt> {
    vec![
        ("listen", std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
        ("send", std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("pair", UnixStream::pair().map(drop)),
    ]
}

fn answer(code: libc::c_long) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
