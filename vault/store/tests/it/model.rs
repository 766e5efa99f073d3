//! Random lists of operations against a model small enough to be believed. What must always hold:
//! a grant needs a consent in force, an active login and a free lease; nothing is granted after the consent ended
//! or while locked down; every attempt has exactly one entry; the ledger is sound at the end.

use cofre_model::consent::Consent;
use cofre_model::credential::Credential;
use cofre_model::entry::EntryKind;
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::Outcome;
use cofre_store::{Lockdown, Operation};
use proptest::prelude::*;

use crate::ledger::sound;
use crate::world::{Ask, World, told};

#[derive(Debug, Clone, Copy)]
enum Step {
    Ask(usize),
    Further(usize),
    Report(usize, bool),
    Consent(usize),
    Revoke(usize),
    Reenter(usize),
    Lock(usize),
    Advance(u64),
}

const LOGINS: usize = 2;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let login = || 0..LOGINS;
    let step = prop_oneof![
        6 => login().prop_map(Step::Ask),
        2 => login().prop_map(Step::Further),
        4 => (login(), any::<bool>()).prop_map(|(login, wrong)| Step::Report(login, wrong)),
        4 => login().prop_map(Step::Consent),
        2 => login().prop_map(Step::Revoke),
        2 => login().prop_map(Step::Reenter),
        1 => login().prop_map(Step::Lock),
        3 => (1_u64..200).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..25)
}

/// What the model knows of one login.
#[derive(Debug, Default)]
struct Known {
    consent: Option<Consent>,
    rejected: bool,
    locked: bool,
    lease: Option<(Ask, Timestamp)>,
    /// The session not reported yet, the secret version it got, and until when its report is taken.
    open: Option<(Ask, u32, Timestamp)>,
}

impl Known {
    /// Whether `ask` must be granted at `now`.
    fn grants(&self, ask: &Ask, now: Timestamp) -> bool {
        let free = self.lease.as_ref().is_none_or(|(holder, until)| *until <= now || holder.job == ask.job);
        self.consent.is_some() && !self.rejected && !self.locked && free
    }
}

async fn play(steps: Vec<Step>) {
    let world = World::new().await;
    let mut logins: Vec<(Credential, Known)> = Vec::new();
    for _ in 0..LOGINS {
        logins.push((world.login().await, Known::default()));
    }
    let mut expected = world.records().head().await.expect("head").size;
    for step in steps {
        // Entries made a microsecond apart may run ahead of a clock that stands still.
        world.clock.advance(Span::millis(1));
        match step {
            Step::Ask(place) | Step::Further(place) => {
                let (credential, known) = &mut logins[place];
                let fresh = world.attended(credential);
                let ask = match (&step, &known.lease) {
                    (Step::Further(_), Some((holder, _))) => {
                        Ask { job: holder.job, seal_key_digest: holder.seal_key_digest, ..fresh }
                    }
                    _ => fresh,
                };
                let granted = told(&world.once(&ask).await) == "GRANTED";
                assert_eq!(granted, known.grants(&ask, world.clock.now()), "{step:?} {known:?}");
                expected += 1;
                if granted {
                    let grant = world.records().grant(&credential.id, &ask.job).await.expect("read").expect("there");
                    known.lease = grant.lease_until.map(|until| (ask.clone(), until));
                    // Without a lease of its own any more, the longest there is counts from the grant.
                    let until = grant.at.plus(Span::secs(120)).plus(Span::minutes(10));
                    known.open = Some((ask, credential.secret_version, until));
                }
            }
            Step::Report(place, wrong) => {
                let (credential, known) = &mut logins[place];
                let Some((ask, version, until)) = known.open.take() else { continue };
                let outcome = if wrong { Outcome::WrongSecret } else { Outcome::Ok };
                let taken = world.report(&ask, outcome).await;
                assert_eq!(taken.is_ok(), world.clock.now() <= until, "{taken:?}");
                if taken.is_err() {
                    continue;
                }
                known.rejected |= wrong && version == credential.secret_version;
                known.lease = known.lease.take().filter(|(holder, _)| holder.job != ask.job);
                expected += 1;
            }
            Step::Consent(place) => {
                let (credential, known) = &mut logins[place];
                let awaited = world.request_consent(credential, 4).await.expect("request");
                let granted = world.grant_consent(&awaited).await;
                assert_eq!(granted.is_ok(), known.consent.is_none(), "{known:?}");
                expected += 1 + u64::from(granted.is_ok());
                known.consent = granted.ok().or(known.consent.take());
            }
            Step::Revoke(place) => {
                let known = &mut logins[place].1;
                let Some(consent) = known.consent.take() else { continue };
                world.revoke(&consent).await.expect("revoke");
                known.lease = None;
                expected += 1;
            }
            Step::Reenter(place) => {
                let (credential, known) = &mut logins[place];
                let enrolment = world.enrol(None, credential).await.expect("enrolment");
                expected += 1;
                match world.intend(enrolment).await {
                    Ok(version) => {
                        let tag = credential.dedupe_tag.clone();
                        *credential = world.complete(enrolment, credential, version, tag).await.expect("deposit");
                        known.rejected = false;
                        expected += 2;
                    }
                    Err(_) => assert!(known.locked, "{known:?}"),
                }
            }
            Step::Lock(place) => {
                let (credential, known) = &mut logins[place];
                let lockdown = Operation::Lockdown(Lockdown::Credential(credential.id));
                world.apply(EntryKind::Lockdown, lockdown).await.expect("lockdown");
                known.locked = true;
                known.lease = None;
                expected += 1;
            }
            Step::Advance(seconds) => world.clock.advance(Span::secs(seconds)),
        }
        assert_eq!(world.records().head().await.expect("head").size, expected, "one entry each: {step:?}");
    }
    sound(&world).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_lists_follow_the_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(play(steps));
    }
}
