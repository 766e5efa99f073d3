//! A reader at two terminals: one where `cofre-dev up` stays, one where commands are typed, one after another.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cofre_demo::world::token::dev_binary;
use rustix::process::{Pid, Signal, kill_process};

/// A command that says nothing for so long will not come back.
const PATIENCE: Duration = Duration::from_secs(180);
/// Ends what a command prints; no program here prints it.
const MARK: char = '\u{1e}';

fn command(program: &str, folder: &Path) -> Command {
    let bin = dev_binary().expect("cofre-dev is built");
    let bin = bin.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("PATH", format!("{bin}:{path}"))
        .env_remove("COFRE_PROFILE")
        .env("COFRE_POLICIES", super::root().join("policies"))
        .env("LC_ALL", "C.UTF-8");
    command
}

/// The terminal where commands are typed.
pub(super) struct Terminal {
    shell: Child,
    typed: ChildStdin,
    said: Receiver<char>,
}

impl Terminal {
    pub(super) fn open(folder: &Path) -> Self {
        let mut shell = command("sh", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let typed = shell.stdin.take().expect("input");
        let output = shell.stdout.take().expect("output");
        let (hear, said) = channel();
        std::thread::spawn(move || {
            let mut text = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(text.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                for c in String::from_utf8_lossy(&line).chars() {
                    let _ = hear.send(c);
                }
                line.clear();
            }
        });
        Self { shell, typed, said }
    }

    /// Types a command; its exit code and everything it printed.
    pub(super) fn run(&mut self, line: &str) -> (i32, Vec<String>) {
        writeln!(self.typed, "{{ {line}\n}} </dev/null 2>&1\nprintf '{MARK}%d{MARK}\\n' $?")
            .expect("the shell listens");
        let before = || {
            let mut text = String::new();
            loop {
                match self.said.recv_timeout(PATIENCE) {
                    Ok(MARK) => return text,
                    Ok(c) => text.push(c),
                    Err(error) => panic!("{line}: {error}; so far: {text}"),
                }
            }
        };
        let output = before();
        let code = before().parse().expect("an exit code");
        let lines = output.trim_start_matches('\n').lines().map(str::to_owned).collect();
        (code, lines)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = writeln!(self.typed, "exit");
        let _ = self.shell.wait();
    }
}

/// The terminal where the deployment stays.
pub(super) struct Up(Child);

impl Up {
    /// Starts it and waits for the last line of what it says.
    pub(super) fn start(line: &str, folder: &Path) -> (Self, Vec<String>) {
        let mut child = command("sh", folder)
            .args(["-c", &format!("exec {line}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let output = BufReader::new(child.stdout.take().expect("output"));
        let mut said = Vec::new();
        for line in output.lines() {
            let line = line.expect("text");
            let last = line.starts_with("Interrupt to stop");
            said.push(line);
            if last {
                return (Self(child), said);
            }
        }
        let mut why = String::new();
        let _ = child.stderr.take().expect("errors").read_to_string(&mut why);
        let _ = child.wait();
        panic!("{line} did not come up: {said:?} {why}");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
        let _ = self.0.wait();
    }
}
