//! How lists come about: single steps, and fragments of a few that together reach what single ones seldom would.

use proptest::prelude::*;

use super::steps::{Call, LOGINS, Relation, Step};

/// A few steps that belong together.
type Fragment = BoxedStrategy<Vec<Step>>;

fn login() -> impl Strategy<Value = usize> {
    0..LOGINS
}

fn relation() -> impl Strategy<Value = Relation> {
    prop_oneof![
        5 => Just(Relation::New),
        4 => Just(Relation::Further),
        3 => Just(Relation::Repeat),
        1 => Just(Relation::Resealed),
        1 => Just(Relation::Changed),
        1 => Just(Relation::Stolen),
        1 => Just(Relation::Borrowed),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let back = prop_oneof![4 => Just(0_usize), 1 => 1..3_usize];
    (relation(), back, prop::bool::weighted(0.6), 0..2_usize).prop_map(|(relation, back, alone, worker)| Call {
        relation,
        back,
        alone,
        worker,
    })
}

const fn new(alone: bool, worker: usize) -> Call {
    Call { relation: Relation::New, back: 0, alone, worker }
}

const fn further(alone: bool) -> Call {
    Call { relation: Relation::Further, back: 0, alone, worker: 0 }
}

const REPEAT: Call = Call { relation: Relation::Repeat, back: 0, alone: true, worker: 0 };

fn lasts() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(200_u64), 1 => Just(4_000_u64), 4 => Just(30 * 86_400_u64)]
}

fn building() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => login().prop_map(Step::Enrol),
        1 => login().prop_map(Step::EndEnrolment),
        3 => login().prop_map(Step::Intend),
        3 => (login(), prop::bool::weighted(0.2)).prop_map(|(login, twin)| Step::Complete(login, twin)),
        4 => (login(), 0..4_u8, lasts()).prop_map(|(login, per_day, lasts)| Step::Request(login, per_day, lasts)),
        4 => login().prop_map(Step::Grant),
        2 => (login(), any::<bool>()).prop_map(|(login, expires)| Step::End(login, expires)),
        1 => login().prop_map(Step::Receipt),
        1 => (login(), 0..4_u8).prop_map(|(login, what)| Step::Foreign(login, what)),
    ]
}

fn releasing() -> impl Strategy<Value = Step> {
    let report = (login(), 0..2_usize, 0..3_u8, 0..180_u64);
    prop_oneof![
        6 => (login(), call()).prop_map(|(login, call)| Step::Ask(login, call)),
        4 => (login(), call()).prop_map(|(login, call)| Step::Decide(login, call)),
        4 => Just(Step::Commit),
        3 => report.prop_map(|(login, back, what, hours)| Step::Report(login, back, what, hours)),
        2 => (login(), 0..3_usize).prop_map(|(login, back)| Step::Withdraw(login, back)),
        1 => (login(), any::<bool>()).prop_map(|(login, right)| Step::Warm(login, right)),
    ]
}

fn stopping() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => login().prop_map(Step::LockLogin),
        2 => Just(Step::LockInstitution),
        2 => login().prop_map(Step::LockTenant),
        2 => Just(Step::LockPlatform),
        3 => (0..2_usize).prop_map(Step::Quarantine),
    ]
}

fn registering() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_u8).prop_map(Step::Policy),
        1 => Just(Step::PutInstitution),
        1 => (0..2_usize).prop_map(Step::PutWorker),
        2 => login().prop_map(Step::Erase),
        1 => login().prop_map(Step::KeysDestroyed),
        1 => login().prop_map(Step::Certify),
    ]
}

fn time() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u64..400).prop_map(Step::Advance),
        3 => (1_500_u64..6_000).prop_map(Step::Advance),
        2 => (40_000_u64..90_000).prop_map(Step::Advance),
        1 => (1_u64..60).prop_map(|days| Step::Advance(days * 86_400)),
        2 => (1_u64..4_000).prop_map(Step::Back),
    ]
}

fn reach(login: usize) -> impl Strategy<Value = Step> {
    let which = prop_oneof![5 => Just(0_usize), 3 => Just(1_usize), 2 => Just(2_usize), 1 => 3..8_usize];
    (which, -1..2_i64).prop_map(move |(which, off)| Step::Reach(login, which, off))
}

/// Ways to be rid of a lease.
fn freeing(login: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Report(login, 0, 0, 0)),
        4 => Just(Step::Report(login, 1, 0, 0)),
        2 => Just(Step::Withdraw(login, 0)),
        2 => (118_u64..122).prop_map(Step::Advance),
        1 => Just(Step::Advance(1)),
        1 => (1_998_u64..2_006).prop_map(Step::Back),
    ]
}

/// Two decisions that both held when they were made.
fn race() -> Fragment {
    let relation = prop_oneof![
        4 => Just(Relation::New),
        2 => Just(Relation::Further),
        2 => Just(Relation::Resealed),
        3 => Just(Relation::Changed),
        2 => Just(Relation::Repeat),
        2 => Just(Relation::Stolen),
        2 => Just(Relation::Borrowed),
    ];
    (login(), call(), call(), relation, any::<bool>())
        .prop_flat_map(|(login, one, other, relation, far)| {
            (Just((login, one, Call { relation, back: 0, ..other }, far)), freeing(login), reach(login))
        })
        .prop_map(|((login, one, other, far), freed, reach)| {
            let between = if far { reach } else { freed };
            let fresh = Call { relation: Relation::New, ..one };
            let decided = [Step::Decide(login, fresh), Step::Decide(login, other), Step::Commit, between];
            decided.into_iter().chain([Step::Commit, Step::Commit]).collect()
        })
        .boxed()
}

/// A visit without the investor, and another one about when it may come.
fn visits() -> Fragment {
    (login(), 0..2_usize, 0..2_usize)
        .prop_flat_map(|(login, one, other)| (Just((login, one, other)), freeing(login), reach(login)))
        .prop_map(|((login, one, other), freed, reach)| {
            let decided = [Step::Decide(login, new(true, one)), Step::Decide(login, new(true, other)), Step::Commit];
            let then = [freed, Step::Commit, Step::Commit, reach, Step::Ask(login, new(true, other))];
            decided.into_iter().chain(then).collect()
        })
        .boxed()
}

/// A day's visits, as near to one another as they may be, or a little nearer.
fn day() -> Fragment {
    (login(), 1_u8..3, 1_795_u64..1_802)
        .prop_flat_map(|(login, per_day, apart)| (Just((login, per_day, apart)), reach(login)))
        .prop_map(|((login, per_day, apart), reach)| {
            let consent = [Step::End(login, false), Step::Request(login, per_day, 30 * 86_400), Step::Grant(login)];
            let visit = || [Step::Ask(login, new(true, 0)), Step::Report(login, 0, 0, 0), Step::Advance(apart)];
            let race =
                [Step::Decide(login, new(true, 1)), Step::Ask(login, new(true, 0)), Step::Report(login, 0, 0, 0)];
            let visits = visit().into_iter().chain(visit()).chain(race);
            consent.into_iter().chain(visits).chain([reach, Step::Commit, Step::Ask(login, new(true, 1))]).collect()
        })
        .boxed()
}

/// A session that begins with the investor and goes on without, once more and once again.
fn session() -> Fragment {
    (login(), call(), 1_u64..110)
        .prop_flat_map(|(login, last, later)| (Just((login, last, later)), reach(login)))
        .prop_map(|((login, last, later), reach)| {
            let ask = |call| Step::Ask(login, call);
            let steps = [ask(new(false, 0)), ask(further(true)), ask(further(true)), Step::Advance(later), ask(REPEAT)];
            steps.into_iter().chain([ask(further(false)), reach, ask(last)]).collect()
        })
        .boxed()
}

/// One request asked for again and again, for as long as that works.
fn repeats() -> Fragment {
    (login(), any::<bool>())
        .prop_flat_map(|(login, alone)| (Just((login, alone)), reach(login)))
        .prop_map(|((login, alone), reach)| {
            let (ask, repeat) = (Step::Ask(login, new(alone, 0)), Step::Ask(login, REPEAT));
            let again = [repeat, Step::Advance(100), Step::Decide(login, REPEAT)].into_iter();
            [ask, Step::Advance(90)].into_iter().chain(again).chain([repeat, reach, Step::Commit, repeat]).collect()
        })
        .boxed()
}

/// Answers that did not leave: the lease goes with the last of them.
fn undelivered() -> Fragment {
    (login(), any::<bool>(), 0..3_usize, 0..3_usize)
        .prop_map(|(login, alone, one, other)| {
            let ask = |call| Step::Ask(login, call);
            let granted = [ask(new(alone, 0)), ask(REPEAT), ask(further(alone))];
            let back = [Step::Withdraw(login, one), Step::Withdraw(login, other), ask(new(alone, 1))];
            granted.into_iter().chain(back).collect()
        })
        .boxed()
}

/// A secret the institution refuses, or a login it locks; then it is entered anew, or it is not.
fn refused() -> Fragment {
    (login(), 1..3_u8, prop_oneof![1 => Just(1_u64), 2 => 0..180_u64], any::<bool>())
        .prop_flat_map(|(login, what, hours, anew)| (Just((login, what, hours, anew)), reach(login)))
        .prop_map(|((login, what, hours, anew), reach)| {
            let ask = Step::Ask(login, new(false, 0));
            let enter = [Step::Enrol(login), Step::Intend(login), Step::Complete(login, false)];
            let told = [ask, Step::Report(login, 0, what, hours), ask];
            let enter = enter.into_iter().take(if anew { 3 } else { 0 });
            told.into_iter().chain(enter).chain([reach, ask]).collect()
        })
        .boxed()
}

/// A report that comes just before its end, or just after.
fn reports() -> Fragment {
    (login(), 0..3_u8, any::<bool>())
        .prop_flat_map(|(login, what, alone)| (Just((login, what, alone)), reach(login)))
        .prop_map(|((login, what, alone), reach)| {
            let report = Step::Report(login, 0, what, 1);
            vec![Step::Ask(login, new(alone, 0)), reach, report, Step::Ask(login, new(alone, 1))]
        })
        .boxed()
}

/// Something that ends at an instant, asked for about then.
fn bounds() -> Fragment {
    (login(), lasts(), 0..5_u8)
        .prop_flat_map(|(login, lasts, what)| (Just((login, lasts, what)), reach(login)))
        .prop_map(|((login, lasts, what), reach)| match what {
            0 => vec![Step::End(login, false), Step::Request(login, 2, lasts), reach, Step::Grant(login)],
            1 => vec![reach, Step::End(login, true), Step::Request(login, 2, lasts), Step::Grant(login)],
            2 => vec![Step::Enrol(login), reach, Step::Intend(login), Step::Complete(login, false)],
            3 => vec![Step::Enrol(login), Step::Intend(login), reach, Step::Complete(login, false)],
            _ => vec![Step::Enrol(login), Step::EndEnrolment(login), reach, Step::Intend(login)],
        })
        .boxed()
}

/// A person goes.
fn erasure() -> Fragment {
    (login(), call(), 0..4_usize)
        .prop_map(|(login, call, far)| {
            let steps = [Step::Erase(login), Step::KeysDestroyed(login), Step::Certify(login)];
            steps.into_iter().take(far).chain([Step::Ask(login, call)]).collect()
        })
        .boxed()
}

/// A stop button, pressed while a decision waits and a lease is held.
fn stop() -> Fragment {
    (login(), stopping(), call())
        .prop_map(|(login, stop, call)| {
            let held = [Step::Ask(login, new(false, 0)), Step::Decide(login, further(true)), stop];
            held.into_iter().chain([Step::Commit, Step::Ask(login, call), Step::Report(login, 0, 0, 0)]).collect()
        })
        .boxed()
}

/// A node ends between a grant and its report.
fn restart() -> Fragment {
    (login(), prop::bool::weighted(0.3), 0..3_usize)
        .prop_map(|(login, other, withdrawn)| {
            let ask = |call| Step::Ask(login, call);
            let granted = [ask(new(false, 0)), ask(REPEAT), Step::Withdraw(login, withdrawn), ask(further(true))];
            granted
                .into_iter()
                .chain([Step::Restart(other), ask(new(false, 1)), Step::Report(login, 1, 0, 0)])
                .collect()
        })
        .boxed()
}

/// A consent that ends while a lease is held, another one right after, and a visit under it.
fn renewed() -> Fragment {
    (login(), call(), any::<bool>(), any::<bool>())
        .prop_flat_map(|(login, last, alone, expires)| (Just((login, last, alone, expires)), reach(login)))
        .prop_map(|((login, last, alone, expires), reach)| {
            let held =
                [Step::Ask(login, new(alone, 0)), Step::Decide(login, further(alone)), Step::End(login, expires)];
            let anew = [Step::Request(login, 2, 30 * 86_400), Step::Grant(login)];
            let asked = [Step::Ask(login, new(alone, 1)), Step::Commit, reach, Step::Ask(login, last)];
            held.into_iter().chain(anew).chain(asked).collect()
        })
        .boxed()
}

/// A login that is there already, deposited once more by its owner.
fn twins() -> Fragment {
    (login(), any::<bool>())
        .prop_map(|(login, used)| {
            let twin = [Step::Enrol(login), Step::Intend(login), Step::Complete(login, true)];
            let then = [Step::Ask(login, new(false, 0)), Step::Complete(login, false)];
            twin.into_iter().chain(then.into_iter().take(if used { 2 } else { 0 })).collect()
        })
        .boxed()
}

fn fragment() -> Fragment {
    fn one(step: impl Strategy<Value = Step> + 'static) -> Fragment {
        step.prop_map(|step| vec![step]).boxed()
    }
    prop_oneof![
        120 => one(building()),
        180 => one(releasing()),
        30 => one(registering()),
        45 => one(time()),
        60 => race(),
        50 => visits(),
        30 => day(),
        50 => session(),
        40 => repeats(),
        30 => undelivered(),
        40 => refused(),
        30 => reports(),
        40 => bounds(),
        12 => erasure(),
        18 => stop(),
        8 => restart(),
        25 => renewed(),
        15 => twins(),
    ]
    .boxed()
}

/// Most lists start with logins that can be released, so that there is something to lose.
pub(super) fn list() -> impl Strategy<Value = Vec<Step>> {
    let ready = (0..LOGINS).flat_map(|login| {
        [
            Step::Enrol(login),
            Step::Intend(login),
            Step::Complete(login, false),
            Step::Request(login, 3, 30 * 86_400),
            Step::Grant(login),
        ]
    });
    let ready: Vec<Step> = ready.collect();
    (prop::bool::weighted(0.94), prop::collection::vec(fragment(), 1..24)).prop_map(move |(is_ready, fragments)| {
        let ready = ready.iter().copied().take(if is_ready { ready.len() } else { 0 });
        ready.chain(fragments.into_iter().flatten()).collect()
    })
}
