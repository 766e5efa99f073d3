//! Copies of a database as somebody takes them away: a dump by PostgreSQL's own program, put back elsewhere.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{ADMINISTRATOR, Cluster};

impl Cluster {
    /// Writes a database, whole, as SQL text.
    ///
    /// # Errors
    /// What `pg_dump` said.
    pub fn dump(&self, database: &str, to: &Path) -> Result<()> {
        let mut program = self.program("pg_dump");
        program.arg("--dbname").arg(database).stdout(File::create(to).with_context(|| format!("{}", to.display()))?);
        done(&mut program)
    }

    /// Makes a database of a dump.
    ///
    /// # Errors
    /// Where the database is there already; what `psql` said.
    pub async fn restore(&self, from: &Path, database: &str) -> Result<()> {
        self.run("postgres", &[&format!("CREATE DATABASE {database} TEMPLATE template0")]).await?;
        let mut program = self.program("psql");
        program.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", database]).stdout(Stdio::null());
        program.stdin(File::open(from).with_context(|| format!("{}", from.display()))?);
        done(&mut program)
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.installed.binaries().join(name));
        program.arg("--host").arg(&self.folder).args(["--port", &self.port.to_string(), "--username", ADMINISTRATOR]);
        program
    }
}

fn done(program: &mut Command) -> Result<()> {
    let done = program.stderr(Stdio::piped()).spawn().context("PostgreSQL's program")?.wait_with_output()?;
    if !done.status.success() {
        bail!("{program:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
