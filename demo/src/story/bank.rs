//! Chapter 3: twenty-five sandboxed worker processes fetch positions; investors answer second factors; one password
//! is wrong and is never tried again.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use cofre_client::ClientSecret;
use cofre_client::answer::Challenge;
use cofre_client::sealing::Page;
use cofre_model::id::CredentialId;
use cofre_model::request::Login as Wanted;
use cofre_model::wording::ScaKind;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Story;
use super::rests::MISTYPES;
use crate::browser::seal_in_a_browser;
use crate::testbank::Visitor;
use crate::worker::ticket::StatementText;
use crate::world::seed;
use crate::world::token::binary;

/// Workers at work at once; the machine has few cores.
const AT_ONCE: usize = 6;

/// A worker process and its lines.
pub(super) struct Running {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// The next event the worker prints; nothing once it ended.
    pub(super) async fn event(&mut self) -> Result<Option<Value>> {
        match self.lines.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => Ok(None),
        }
    }

    /// Reads to the end and gives every event.
    pub(super) async fn finish(mut self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await? {
            events.push(event);
        }
        self.child.wait().await?;
        Ok(events)
    }
}

/// The event of a name.
pub(super) fn event<'a>(events: &'a [Value], name: &str) -> Option<&'a Value> {
    events.iter().find(|event| event.get("event").and_then(Value::as_str) == Some(name))
}

/// Starts a worker process with its ticket.
pub(super) async fn start_worker(ticket: &Value) -> Result<Running> {
    let mut child = Command::new(binary("cofre-worker")?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().context("worker")?.write_all(&serde_json::to_vec(ticket)?).await?;
    let lines = BufReader::new(child.stdout.take().context("worker")?).lines();
    Ok(Running { child, lines })
}

impl Story {
    pub(super) async fn bank(&mut self) -> Result<()> {
        let answering = self.answer_challenges().await?;
        let mut results = self.all_workers().await?;
        let sandboxed = results.values().filter(|events| event(events, "sandbox").is_some()).count();
        let last = self.outcome_rows(&results)?;
        self.table.row(
            11,
            format!("{sandboxed} workers closed their sandbox before they asked for a login"),
            Some(last),
            sandboxed == self.investors.len(),
        );
        answering.abort();
        self.wrong_password(&mut results).await?;
        let stats = self.bank.stats();
        self.table.row(
            4,
            "no worker reached the bank's transfer page",
            None,
            stats.transfer_hits == 0 && stats.sign_ins >= 24,
        );
        Ok(())
    }

    /// A ticket for a worker process.
    pub(super) fn ticket(&self, number: usize, worker: &str, hold: bool) -> Result<Value> {
        let investor = self.investors.get(number).context("investors")?;
        let wanted = seed::Wanted::by(worker);
        let (_, job) = self.world.north.job(&*self.world.clock, investor.credential, &wanted)?;
        let attendance = self.world.north.attendance(&*self.world.clock, investor.credential, investor.owner)?;
        let identity = |kind: &str| {
            let name = if kind == "bundle" { "bundle.pem".to_owned() } else { format!("worker-{worker}.{kind}") };
            self.world.identities.folder.join(name).display().to_string()
        };
        let fields: Vec<Value> = investor
            .login
            .fields()
            .map(|(key, _)| serde_json::json!({ "key": key, "form": "FULL", "positions": [] }))
            .collect();
        Ok(serde_json::json!({
            "vault": self.world.door.address,
            "trust_domain": self.world.door.trust_domain,
            "signer": self.world.door.signer.to_string(),
            "identity": { "certificate": identity("pem"), "key": identity("key"), "bundle": identity("bundle") },
            "bank": {
                "address": self.bank.addr.to_string(),
                "server_name": "localhost",
                "ca": self.world.folder.join("bank-ca.pem").display().to_string(),
            },
            "institution": investor.institution.slug,
            "job": StatementText::from(&job),
            "attendance": StatementText::from(&attendance),
            "fields": fields,
            "hold_until_told": hold,
        }))
    }

    async fn all_workers(&self) -> Result<BTreeMap<usize, Vec<Value>>> {
        let (places, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for number in 0..self.investors.len() {
            let ticket = self.ticket(number, &format!("w{:02}", number + 1), false)?;
            let places = Arc::clone(&places);
            running.spawn(async move {
                let _place = places.acquire_owned().await?;
                let events = start_worker(&ticket).await?.finish().await?;
                anyhow::Ok((number, events))
            });
        }
        let mut results = BTreeMap::new();
        while let Some(done) = running.join_next().await {
            let (number, events) = done??;
            results.insert(number, events);
        }
        Ok(results)
    }

    fn outcome_rows(&mut self, results: &BTreeMap<usize, Vec<Value>>) -> Result<u64> {
        let text = |events: &[Value], key: &str| {
            event(events, "result").and_then(|result| result.get(key)?.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let (mut fetched, mut promised, mut last) = (0, 0, 0);
        let mut factors: BTreeMap<String, usize> = BTreeMap::new();
        for (number, events) in results {
            let result = event(events, "result");
            let positions = result.and_then(|result| result.get("positions")?.as_u64()).unwrap_or(0);
            if text(events, "outcome") == "OK" && positions > 0 {
                fetched += 1;
                *factors.entry(text(events, "sca")).or_default() += 1;
            } else if *number != MISTYPES {
                println!("    worker {number}: {events:?}");
            }
            promised += usize::from(result.is_some_and(|r| r.get("promise_verified") == Some(&Value::Bool(true))));
            last = last.max(result.and_then(|result| result.get("entry")?.as_u64()).unwrap_or(0));
        }
        let expected = self.investors.len() - 1;
        self.table.row(
            8,
            format!("{promised} releases came with a promise that verifies"),
            Some(last),
            promised == results.len(),
        );
        self.table.row(
            5,
            format!("{fetched} workers logged in and fetched positions"),
            Some(last),
            fetched == expected,
        );
        for (name, kind) in [("SMS_OTP", "an SMS"), ("TOTP_APP", "an authenticator"), ("HARDWARE_TOKEN", "a device")] {
            let count = factors.get(name).copied().unwrap_or(0);
            self.table.row(
                6,
                format!("{count} passed {kind} code through the relay, sealed end to end"),
                Some(last),
                count > 0,
            );
        }
        Ok(last)
    }

    /// Investors watch for challenges and type the code their bank gave them.
    async fn answer_challenges(&self) -> Result<tokio::task::JoinHandle<()>> {
        let front_end = self.world.north.front_end()?.clone();
        let mut watch = front_end.challenges().await?;
        let visitor = self.visitor()?;
        let phones: BTreeMap<CredentialId, (String, String)> =
            self.investors.iter().map(|each| (each.credential, each.phone.clone())).collect();
        Ok(tokio::spawn(async move {
            loop {
                match watch.next().await {
                    Ok(Some(challenge)) => {
                        let Some(phone) = phones.get(&challenge.credential) else { continue };
                        match code(&visitor, phone, &challenge).await {
                            Ok(code) => {
                                if let Err(error) = front_end.answer(&challenge, code).await {
                                    println!("    an answer was not taken: {error}");
                                }
                            }
                            Err(error) => println!("    no code for a challenge: {error:#}"),
                        }
                    }
                    Ok(None) => return,
                    Err(error) => println!("    a challenge was not shown: {error}"),
                }
            }
        }))
    }

    /// The wrong password: reported once, no further release, until it is entered anew.
    async fn wrong_password(&mut self, results: &mut BTreeMap<usize, Vec<Value>>) -> Result<()> {
        let events = results.remove(&MISTYPES).unwrap_or_default();
        let outcome = event(&events, "result").and_then(|result| result.get("outcome")?.as_str().map(str::to_owned));
        let entry = event(&events, "result").and_then(|result| result.get("entry")?.as_u64());
        self.table.row(
            14,
            "one password was wrong: the worker reported it and stopped",
            entry,
            outcome.as_deref() == Some("WRONG_SECRET"),
        );
        let investor = self.investors.get(MISTYPES).context("investors")?;
        let errand = self.errand(&self.world.north, investor, &seed::Wanted::by("w01"))?;
        let error = self.worker("w01").await?.release(errand).await.err();
        self.refused("the login with the refused password", error, "SECRET_REJECTED", "USER_ACTION_NEEDED").await?;

        let investor = self.investors.get(MISTYPES).context("investors")?;
        let front_end = self.world.north.front_end()?;
        let enrolment = front_end.open_enrolment(&Wanted::Existing(investor.credential)).await?;
        let key = front_end.deposit_key().await?;
        let page = Page { key: key.signed().clone(), enrolment };
        let fields: Vec<(&str, &[u8])> = investor.login.fields().collect();
        let deposited =
            front_end.deposit(seal_in_a_browser(&page, &self.world.door.signer, self.world.north.id, &fields)?).await?;
        let answering = self.answer_challenges().await?;
        let events = start_worker(&self.ticket(MISTYPES, "w02", false)?).await?.finish().await?;
        answering.abort();
        let outcome = event(&events, "result").and_then(|result| result.get("outcome")?.as_str().map(str::to_owned));
        let good = outcome.as_deref() == Some("OK") && deposited.secret_version > 1;
        if !good {
            println!("    {events:?}");
        }
        self.table.row(14, "entered anew, it is released again", Some(deposited.entry.index), good);
        Ok(())
    }
}

/// The code that the investor's bank sent or shows.
async fn code(visitor: &Visitor, phone: &(String, String), challenge: &Challenge) -> Result<ClientSecret> {
    let (number, token) = phone;
    match challenge.kind {
        ScaKind::SmsOtp => {
            let inbox = visitor.inbox(number, token).await?;
            let sms = inbox.last().context("no SMS came")?;
            Ok(ClientSecret::copy_of(sms.code.as_bytes()))
        }
        ScaKind::TotpApp | ScaKind::HardwareToken | ScaKind::AppCode => {
            let shown = visitor.shown_codes(number, token).await?;
            let code = shown.last().context("no device shows a code")?;
            Ok(ClientSecret::copy_of(code.code.as_bytes()))
        }
    }
}
