//! Makes a server die with its owner. A small shell stands between them: it starts the server and then waits for the
//! end of its standard input, which comes when the owner ends in whatever way, by a signal it cannot catch as well.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::installed::Installed;
use super::{ADMINISTRATOR, Wanted};

/// How often, and how long each time, the server is waited for.
const PATIENCE: (u32, Duration) = (6_000, Duration::from_millis(10));

/// `$1` the programs, `$2` the folder, `$3` whether it is kept, `$4` where the log of writes lies if apart, then the
/// settings.
const SCRIPT: &str = r#"
programs=$1 folder=$2 kept=$3 apart=$4
shift 4
cd "$folder" || exit 1
# A signal for everybody of the terminal is no reason to die before the server has: it ends the wait, as the owner's
# end does.
trap : HUP INT TERM
if [ ! -f data/PG_VERSION ]; then
    "$programs/initdb" --pgdata=data --username="$0" --auth=trust --encoding=UTF8 --locale=C --no-sync \
        ${apart:+"--waldir=$apart"} >log 2>&1 || exit 1
fi
"$programs/postgres" -D data "$@" </dev/null >>log 2>&1 &
server=$!
read -r _
how=QUIT
[ "$kept" = yes ] && how=INT
# Again until it has ended: a background process ignores both signals until it has put its own handlers in place.
while kill -$how $server 2>/dev/null && ! grep -q ') Z ' /proc/$server/stat 2>/dev/null; do sleep 0.05; done
wait $server
[ "$kept" = yes ] || rm -rf "$folder"
"#;

/// Holds the shell's standard input open.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Keeper {
    /// Makes the cluster where it is missing, starts the server and waits until it takes connections.
    pub(super) fn start(installed: &Installed, folder: &Path, wanted: &Wanted, settings: &[String]) -> Result<Self> {
        // What an earlier start said must not be taken for what this one says.
        let log = folder.join("log");
        if log.exists() {
            std::fs::remove_file(log)?;
        }
        let mut shell: Command = installed.command("/bin/sh");
        shell.args(["-c", SCRIPT, ADMINISTRATOR]).arg(installed.binaries()).arg(folder);
        shell.arg(if wanted.kept_in.is_some() { "yes" } else { "no" });
        shell.arg(wanted.log_in.as_deref().unwrap_or(Path::new("")));
        shell.args(settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
        // A group of its own: whoever kills the owner's group leaves the keeper to do its work.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn().context("/bin/sh")?;
        let input = shell.stdin.take();
        let mut keeper = Self { shell, input };
        keeper.wait(folder)?;
        Ok(keeper)
    }

    fn wait(&mut self, folder: &Path) -> Result<()> {
        let said = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let (times, pause) = PATIENCE;
        for _ in 0..times {
            // The last line of this file is the server's state.
            let state = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
            if state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let ended = self.shell.try_wait()?.is_some();
            // Who asks before it is ready is told so as a fatal error of their own.
            let fatal = |line: &str| line.contains("FATAL:") && !line.contains("FATAL:  the database system is");
            let said_no = |said: &str| said.contains("database system is shut down") || said.lines().any(fatal);
            if ended || said_no(&said()) {
                bail!("PostgreSQL did not start in {}:\n{}", folder.display(), said());
            }
            std::thread::sleep(pause);
        }
        bail!("PostgreSQL was not ready in time in {}:\n{}", folder.display(), said())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.shell.wait();
    }
}
