//! What a list is made of. Logins are named by their place; whatever a step needs that is not there, it goes without.

use proptest::prelude::*;

/// Logins of a list. The last two have one owner.
pub(super) const LOGINS: usize = 3;

/// How a request relates to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Nothing of it was seen before.
    New,
    /// Another request of the newest job, sealed to the same key.
    Further,
    /// The newest request again.
    Repeat,
    /// Its id again with another content.
    Changed,
    /// Its attendance statement again, with another request.
    Stolen,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Enrol(usize),
    EndEnrolment(usize),
    Intend(usize),
    /// With the dedupe tag of this login, or of the next one.
    Complete(usize, bool),
    Request(usize, u8),
    Grant(usize),
    End(usize, bool),
    Receipt(usize),
    /// Decides and commits.
    Ask(usize, Relation, bool),
    /// Decides; the commit comes later.
    Decide(usize, Relation, bool),
    /// Commits what was decided first.
    Commit,
    /// 0: fine, 1: wrong secret, 2: locked for that many hours.
    Report(usize, u8, u64),
    Withdraw(usize, usize),
    Warm(bool),
    Policy(u8),
    PutInstitution,
    LockLogin(usize),
    LockInstitution,
    LockTenant,
    Quarantine,
    Erase(usize),
    KeysDestroyed(usize),
    Certify(usize),
    /// Seconds.
    Advance(u64),
    /// The world's clock is set back by milliseconds.
    Back(u64),
}

fn relation() -> impl Strategy<Value = Relation> {
    prop_oneof![
        4 => Just(Relation::New),
        3 => Just(Relation::Further),
        2 => Just(Relation::Repeat),
        1 => Just(Relation::Changed),
        1 => Just(Relation::Stolen),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let login = || 0..LOGINS;
    let building = prop_oneof![
        3 => login().prop_map(Step::Enrol),
        1 => login().prop_map(Step::EndEnrolment),
        3 => login().prop_map(Step::Intend),
        3 => (login(), prop::bool::weighted(0.2)).prop_map(|(login, twin)| Step::Complete(login, twin)),
        4 => (login(), 0..4_u8).prop_map(|(login, per_day)| Step::Request(login, per_day)),
        4 => login().prop_map(Step::Grant),
        2 => (login(), any::<bool>()).prop_map(|(login, expires)| Step::End(login, expires)),
        1 => login().prop_map(Step::Receipt),
    ];
    let releasing = prop_oneof![
        6 => (login(), relation(), any::<bool>()).prop_map(|(login, how, alone)| Step::Ask(login, how, alone)),
        4 => (login(), relation(), any::<bool>()).prop_map(|(login, how, alone)| Step::Decide(login, how, alone)),
        4 => Just(Step::Commit),
        3 => (login(), 0..3_u8, 0..180_u64).prop_map(|(login, what, hours)| Step::Report(login, what, hours)),
        2 => (login(), 0..3_usize).prop_map(|(login, back)| Step::Withdraw(login, back)),
        1 => any::<bool>().prop_map(Step::Warm),
    ];
    let stopping = prop_oneof![
        2 => login().prop_map(Step::LockLogin),
        1 => Just(Step::LockInstitution),
        1 => Just(Step::LockTenant),
        1 => Just(Step::Quarantine),
        2 => (0..3_u8).prop_map(Step::Policy),
        2 => Just(Step::PutInstitution),
        2 => login().prop_map(Step::Erase),
        2 => login().prop_map(Step::KeysDestroyed),
        2 => login().prop_map(Step::Certify),
    ];
    let time = prop_oneof![
        5 => (1_u64..400).prop_map(Step::Advance),
        2 => (1_500_u64..6_000).prop_map(Step::Advance),
        1 => (20_u64..200).prop_map(|days| Step::Advance(days * 86_400)),
        1 => (1_u64..4_000).prop_map(Step::Back),
    ];
    prop_oneof![4 => building, 8 => releasing, 1 => stopping, 3 => time]
}

/// Most lists start with logins that can be released, so that there is something to lose.
pub(super) fn list() -> impl Strategy<Value = Vec<Step>> {
    let ready = (0..LOGINS).flat_map(|login| {
        [
            Step::Enrol(login),
            Step::Intend(login),
            Step::Complete(login, false),
            Step::Request(login, 3),
            Step::Grant(login),
        ]
    });
    let ready: Vec<Step> = ready.collect();
    (prop::bool::weighted(0.85), prop::collection::vec(step(), 1..80))
        .prop_map(move |(is_ready, steps)| if is_ready { ready.iter().copied().chain(steps).collect() } else { steps })
}
