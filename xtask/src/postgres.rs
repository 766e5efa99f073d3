//! The PostgreSQL of a run of tests: started before the first, and gone with the last or with this process, however
//! it ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::target;

/// A cluster that lives as long as this value.
pub(crate) struct Postgres {
    owner: Child,
    input: Option<ChildStdin>,
    variable: (String, String),
}

impl Postgres {
    /// Starts the `cofre-test-postgres` that stands in a folder of what was built, and waits until its server takes
    /// connections.
    pub(crate) fn start(folder: &str) -> Result<Self> {
        let program = target().join(folder).join("cofre-test-postgres");
        println!("==> PostgreSQL for this run");
        let mut owner = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let input = owner.stdin.take();
        let mut said = String::new();
        BufReader::new(owner.stdout.take().context("no output")?).read_line(&mut said)?;
        let Some((name, folder)) = said.trim().split_once('=') else {
            bail!("PostgreSQL did not start: {}", owner.wait()?);
        };
        let variable = (name.to_owned(), folder.to_owned());
        Ok(Self { owner, input, variable })
    }

    /// The variable that tells tests where it is.
    pub(crate) fn variable(&self) -> (&str, &str) {
        (&self.variable.0, &self.variable.1)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.owner.wait();
    }
}
