//! Jobs over the key tree, for operators: moving tenant keys from custodian to custodian, and retiring what was left.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, Subcommand};
use cofre_client::people::{Operator, OrderedJob};
use cofre_model::id::{KeyJobId, Slug, TenantId};
use cofre_model::request::{KeyName, RetireKeys, RewrapKeys, RotateKeys};
use cofre_proto::v1::{KeyJob, KeyStatusResponse};
use serde_json::{Value, json};

use crate::answer::{Answer, entry_json, table};
use crate::connection::Connection;
use crate::failure::Failure;

mod ceremony;
mod told;

use ceremony::{Approve, Countersign, Elsewhere, VerifyCeremony};
use told::{Waiting, bar_text, job_json, job_text, retired_answer};

/// How often a job is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Keys of the tree.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Which custodian wraps what, and how far jobs have come.
    Status,
    /// Wrap every tenant's key by another custody set, while everything is served.
    Rewrap {
        /// The custody set, such as `any_of(hsm-2)`.
        #[arg(long, value_name = "SET")]
        to: String,
        /// Also move what this key of a custodian wrapped, though its custodian stays in the set.
        #[arg(long, value_name = "KEY", value_parser = key_name)]
        from_key: Option<KeyName>,
        /// Keys a second that each node may move at most.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(cofre_model::keys::KeyJob::FASTEST)))]
        rate: Option<u32>,
        /// Only count what would be moved.
        #[arg(long)]
        dry_run: bool,
        /// Wait until nothing is left, or nothing but what failed.
        #[arg(long, conflicts_with = "dry_run")]
        wait: bool,
    },
    /// Give one tenant, or each, a new key, and wrap what lies under older ones under it, while everything is served.
    Rotate {
        /// The tenant, ten_….
        #[arg(long, value_name = "TENANT", required_unless_present = "every_tenant")]
        tenant: Option<TenantId>,
        /// Each tenant.
        #[arg(long, conflicts_with = "tenant")]
        every_tenant: bool,
        /// Keys under tenant keys a second that each node may move at most.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(cofre_model::keys::KeyJob::FASTEST)))]
        rate: Option<u32>,
        /// Only count the tenants.
        #[arg(long)]
        dry_run: bool,
        /// Wait until nothing is left, or nothing but what failed.
        #[arg(long, conflicts_with = "dry_run")]
        wait: bool,
    },
    /// Stop a job. What it moved stays moved.
    Stop {
        /// The job, kjb_…
        #[arg(value_name = "JOB")]
        job: KeyJobId,
    },
    /// Use no more what a custodian wrapped, or older versions of tenant keys, under a signed count of zero.
    Retire {
        /// The custodian.
        #[arg(value_name = "CUSTODIAN", required_unless_present = "tenant_keys", conflicts_with = "tenant_keys", value_parser = |text: &str| Slug::try_from(text).map_err(|why| why.to_string()))]
        custodian: Option<Slug>,
        /// One of its keys; without it all of them.
        #[arg(long, value_name = "KEY", value_parser = key_name, requires = "custodian")]
        custodian_key: Option<KeyName>,
        /// The versions of tenant keys that a rotation has left behind.
        #[arg(long)]
        tenant_keys: bool,
    },
    Approve(Approve),
    Countersign(Countersign),
    VerifyCeremony(VerifyCeremony),
    /// Plan a custodian's keys: `cofred keys plan` does.
    #[command(hide = true)]
    Plan(Elsewhere),
    /// Make a custodian's keys: `cofred keys init` does.
    #[command(hide = true)]
    Init(Elsewhere),
}

fn key_name(text: &str) -> Result<KeyName, String> {
    KeyName::try_from(text).map_err(|why| why.to_string())
}

impl Keys {
    pub(crate) async fn run(self) -> Result<Answer, Failure> {
        match &self.what {
            What::Approve(part) => return part.run(&self.connection),
            What::Countersign(part) => return part.run(&self.connection),
            What::VerifyCeremony(part) => return part.run(&self.connection),
            What::Plan(part) => return part.run("plan"),
            What::Init(part) => return part.run("init"),
            What::Status | What::Rewrap { .. } | What::Rotate { .. } | What::Stop { .. } | What::Retire { .. } => {}
        }
        let session = self.connection.session()?;
        let operator = Operator::connect(&session.deployment, &session.identity, session.clock).await?;
        match self.what {
            What::Status => {
                let status = operator.key_status().await?;
                Ok(Answer::new(status_text(&status), status_json(&status)))
            }
            What::Rewrap { to, from_key, rate, dry_run, wait } => {
                let order = RewrapKeys { custody_set: to, from_key, rate, dry_run };
                let ordered = operator.rewrap_keys(&order).await?;
                let what = Ordered {
                    done: "ordered rewrap",
                    would: format!("tenant keys would be moved to {}", order.custody_set),
                    does: "tenant keys",
                };
                ordered_job(&operator, ordered, what, wait).await
            }
            What::Rotate { tenant, rate, dry_run, wait, .. } => {
                let ordered = operator.rotate_keys(&RotateKeys { tenant, rate, dry_run }).await?;
                let what = Ordered {
                    done: "ordered rotation",
                    would: "tenants would get a new key".to_owned(),
                    does: "tenants to a new key",
                };
                ordered_job(&operator, ordered, what, wait).await
            }
            What::Stop { job } => {
                let entry = operator.stop_key_job(&job).await?;
                Ok(Answer::recorded(&format!("stopped {job}"), &entry))
            }
            What::Retire { custodian: Some(custodian), custodian_key, .. } => {
                let retired =
                    operator.retire_keys(&RetireKeys { custodian: custodian.clone(), key: custodian_key }).await?;
                Ok(retired_answer(&retired, custodian.as_str()))
            }
            What::Retire { custodian: None, .. } => {
                Ok(retired_answer(&operator.retire_tenant_keys().await?, "older tenant keys"))
            }
            // Answered above, without a vault.
            What::Approve(part) => part.run(&self.connection),
            What::Countersign(part) => part.run(&self.connection),
            What::VerifyCeremony(part) => part.run(&self.connection),
            What::Plan(part) => part.run("plan"),
            What::Init(part) => part.run("init"),
        }
    }
}

/// How an order is told.
struct Ordered {
    done: &'static str,
    would: String,
    does: &'static str,
}

async fn ordered_job(operator: &Operator, ordered: OrderedJob, what: Ordered, wait: bool) -> Result<Answer, Failure> {
    let due = ordered.due;
    let Some((job, entry)) = ordered.job else {
        return Ok(Answer::new(format!("{due} {}", what.would), json!({ "dry_run": true, "due": due })));
    };
    let mut text = format!("{job} moves {due} {}: ledger entry {} at {}", what.does, entry.index, entry.time);
    let mut json = json!({ "done": what.done, "job_id": job.to_string(), "due": due, "entry": entry_json(&entry) });
    if !wait {
        return Ok(Answer::new(text, json));
    }
    let ended = watch(operator, &job).await?;
    text.push('\n');
    text.push_str(&job_text(&ended));
    if let Value::Object(fields) = &mut json {
        fields.insert("job".to_owned(), job_json(&ended));
    }
    if ended.state == "DONE" { Ok(Answer::new(text, json)) } else { Ok(Answer::negative(text, json)) }
}

/// Looks at a job until it has ended, or until all that is left has failed for a while.
async fn watch(operator: &Operator, job: &KeyJobId) -> Result<KeyJob, Failure> {
    let id = job.to_string();
    let mut waiting = Waiting::default();
    let mut bar = std::io::stderr().is_terminal().then(std::io::stderr);
    loop {
        let status = operator.key_status().await?;
        let seen = status.jobs.into_iter().find(|seen| seen.job_id == id);
        let seen = seen.ok_or_else(|| Failure::Failed(format!("{job} is not among the newest jobs any more")))?;
        if let Some(out) = &mut bar {
            // A terminal that is gone does not keep the job from being waited for.
            let _ = write!(out, "\r\u{1b}[K{}", bar_text(&seen)).and_then(|()| out.flush());
        }
        if waiting.is_over(&seen) {
            if let Some(out) = &mut bar {
                let _ = writeln!(out);
            }
            return Ok(seen);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn status_text(status: &KeyStatusResponse) -> String {
    let custodians = status.custodians.iter().map(|row| {
        let count = |count: u64| count.to_string();
        [row.custodian.clone(), row.key.clone(), count(row.current), count(row.closed), count(row.retired)]
    });
    let mut text = table(["custodian", "key", "in force", "closed", "retired"], custodians);
    for job in &status.jobs {
        text.push_str("\n\n");
        text.push_str(&job_text(job));
    }
    text
}

fn status_json(status: &KeyStatusResponse) -> Value {
    json!({
        "custodians": status.custodians.iter()
            .map(|row| json!({
                "custodian": row.custodian, "key": row.key,
                "current": row.current, "closed": row.closed, "retired": row.retired,
            }))
            .collect::<Vec<_>>(),
        "jobs": status.jobs.iter().map(job_json).collect::<Vec<_>>(),
    })
}
