//! Copies of a database as somebody takes them away: a dump by PostgreSQL's own program, put back elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sqlx::{Connection as _, Executor as _, Row as _};

use super::databases::{make, name};
use super::{ADMINISTRATOR, Cluster};
use crate::stores::Store;

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

    /// Makes a database of a dump, to be dropped once `folder` is gone.
    ///
    /// # Errors
    /// Where the database is there already; what `psql` said.
    pub async fn restore(&self, from: &Path, database: &str, folder: &Path) -> Result<()> {
        let mut connection = self.administrator("postgres").await?;
        make(&mut connection, database, "template0", folder).await?;
        connection.close().await?;
        let mut program = self.program("psql");
        program.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", database]).stdout(Stdio::null());
        program.stdin(File::open(from).with_context(|| format!("{}", from.display()))?);
        done(&mut program)
    }

    /// The folders where the server keeps the databases of `folder`, as they lie on the disk, and its log of writes.
    ///
    /// # Errors
    /// Where there are no such databases.
    pub async fn lies_in(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut connection = self.administrator("postgres").await?;
        connection.execute("CHECKPOINT").await?;
        let mut folders = vec![self.folder.join("data/pg_wal")];
        for store in Store::ALL {
            let question =
                sqlx::query("SELECT oid::text FROM pg_database WHERE datname = $1").bind(name(folder, store));
            let oid: String = question.fetch_one(&mut connection).await.context(store.name())?.get(0);
            folders.push(self.folder.join("data/base").join(oid));
        }
        Ok(folders)
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
