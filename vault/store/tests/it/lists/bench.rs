//! One engine with the reference beside it: each step goes to both, and both have to say the same.

mod asks;
mod building;
mod governing;
mod setting;

use std::collections::BTreeMap;
use std::sync::Arc;

use cofre_ledger::entry::Leaf;
use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::{Entry, EntryKind, NodeRef, Verdict};
use cofre_model::id::*;
use cofre_model::registry::*;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::{Class, Locale, Outcome, Purpose, Scope};
use cofre_policy::decision::Decision;
use cofre_store::*;
use cofre_testkit::clock::TestClock;
use proptest::prop_assert_eq;
use proptest::test_runner::TestCaseError;
use tempfile::TempDir;

use super::reference::{DRAWN, Reference};
use super::release::Decided;
use super::steps::{Call, LOGINS, Relation, Step};
use crate::world::{Ask, World, commit_config, consent_tag, credential_tag};

type Checked<T = ()> = Result<T, TestCaseError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// An engine that did not answer in time is busy: that says nothing about the list, which is played again elsewhere.
/// Whatever else a store says is a failure.
fn unanswered(asked: &str, cause: &Error) -> TestCaseError {
    match cause {
        Error::Unavailable(_) | Error::Unanswered => TestCaseError::reject(format!("{asked}: {cause}")),
        _ => TestCaseError::fail(format!("{asked}: {cause}")),
    }
}

/// What a list knows of one tenant.
#[derive(Clone)]
struct Client {
    tenant: Tenant,
    recipient: RecipientId,
    job_key: SigningKeyId,
}

/// What a list knows of one login.
struct Login {
    client: usize,
    /// The row as the last deposit wrote it.
    credential: Credential,
    subject: Subject,
    /// Whether the owner is there already.
    known: bool,
    enrolment: Option<EnrolmentId>,
    version: u32,
    consents: Vec<Consent>,
    asks: Vec<Ask>,
    grants: Vec<u64>,
    erasure: Option<ErasureId>,
    receipts: u32,
}

pub(super) struct Bench {
    config: StoreConfig,
    world: World,
    reference: Reference,
    clients: Vec<Client>,
    workers: Vec<String>,
    logins: Vec<Login>,
    decided: Vec<(usize, Decision)>,
    /// Entries compared so far.
    compared: u64,
    told: Vec<String>,
    lives: u8,
    stopped: bool,
    _folder: TempDir,
}

/// What a list came to.
pub(super) struct Played {
    /// All that was told, in order.
    pub(super) told: Vec<String>,
    /// What was met, and how often.
    pub(super) met: BTreeMap<String, u64>,
    /// The stores, where more can be played on them.
    pub(super) bench: Option<Bench>,
}

impl Bench {
    /// Plays a list with tenants, workers and an institution of its own. Stores on which something failed, or was
    /// stopped for good, are not given back.
    pub(super) async fn play(mut self, steps: &[Step]) -> Checked<Played> {
        self.begin().await?;
        for step in steps {
            // Entries made a microsecond apart may run ahead of a clock that stands still.
            self.world.clock.advance(Span::millis(1));
            self.told.push(format!("{step:?}"));
            match step {
                Step::Restart(other) => self = self.restart(*other).await?,
                step => self.step(*step).await?,
            }
        }
        self.compare().await?;
        let (told, met) = (std::mem::take(&mut self.told), std::mem::take(&mut self.reference.met));
        Ok(Played { told, met, bench: (!self.stopped).then_some(self) })
    }

    /// The entries of this list, on the engine and in the reference.
    async fn compare(&mut self) -> Checked {
        let rows = self.world.records().entries(self.compared, u64::MAX).await.expect("entries");
        let from = usize::try_from(self.compared).expect("small");
        let expected = &self.reference.ledger[from..];
        prop_assert_eq!(rows.len(), expected.len());
        for (row, (time, entry)) in rows.iter().zip(expected) {
            let leaf = Leaf::parse(&row.bytes).expect("a leaf");
            prop_assert_eq!(row.index, leaf.index);
            let mut there = leaf.entry().expect("an entry");
            if entry.id == DRAWN {
                prop_assert_eq!(there.id == DRAWN, false, "an id was drawn");
                there.id = DRAWN;
            }
            prop_assert_eq!((leaf.time, &there), (*time, entry));
        }
        self.compared = self.reference.size();
        Ok(())
    }

    async fn apply(&mut self, kind: EntryKind, operation: Operation) -> Checked<Option<u64>> {
        let entry = self.world.entry(kind);
        self.record(entry, operation).await
    }

    /// One operation on both; gives the index of its entry where it was carried out.
    async fn record(&mut self, entry: Entry, operation: Operation) -> Checked<Option<u64>> {
        let expected = self.reference.apply(self.world.clock.now(), &entry, &operation);
        let named = format!("{operation:?}");
        let done = match self.world.records().apply(entry, operation).await {
            Ok(at) => Ok(at.index),
            Err(CommitError::Refused(reason)) => Err(reason),
            Err(CommitError::Store(cause)) => return Err(unanswered(&named, &cause)),
        };
        prop_assert_eq!(done, expected, "{}", named);
        self.told.push(format!("{done:?}"));
        Ok(done.ok())
    }

    /// From here on all is said and done for the tenant of this login, or for the other one.
    fn stand_for(&mut self, place: usize, foreign: bool) {
        let client = self.logins[place].client;
        let client = self.clients[if foreign { 1 - client } else { client }].clone();
        self.world.tenant = client.tenant;
        self.world.recipient = client.recipient;
        self.world.job_key = client.job_key;
    }

    async fn step(&mut self, step: Step) -> Checked {
        if let Some(place) = step.place() {
            self.stand_for(place, matches!(step, Step::Foreign(..)));
        }
        match step {
            Step::Enrol(login) => self.enrol(login).await,
            Step::EndEnrolment(login) => self.end_enrolment(login).await,
            Step::Intend(login) => self.intend(login).await,
            Step::Complete(login, twin) => self.complete(login, twin).await,
            Step::Request(login, per_day, lasts) => self.request(login, per_day, lasts).await,
            Step::Grant(login) => self.grant(login).await,
            Step::End(login, expires) => self.end(login, expires).await,
            Step::Receipt(login) => self.receipt(login).await,
            Step::Ask(login, call) => {
                let decision = self.decide(login, call).await;
                self.commit(login, decision).await
            }
            Step::Decide(login, call) => {
                let decision = self.decide(login, call).await;
                self.decided.push((login, decision));
                Ok(())
            }
            Step::Commit if self.decided.is_empty() => Ok(()),
            Step::Commit => {
                let (login, decision) = self.decided.remove(0);
                self.commit(login, decision).await
            }
            Step::Report(login, back, what, hours) => self.report(login, back, what, hours).await,
            Step::Withdraw(login, back) => self.withdraw(login, back).await,
            Step::Warm(_, right) => self.warm(right).await,
            Step::Foreign(login, what) => match what {
                0 => self.end(login, false).await,
                1 => self.end_enrolment(login).await,
                2 => self.intend(login).await,
                _ => self.erase(login).await,
            },
            other => self.govern(other).await,
        }
    }
}
