//! Custodians behind a breaker, on a clock that moves by hand: when one is left alone and for how long, who is let through
//! to try, what the others are told, and how seldom it is asked whether it serves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cofre_custody::{
    AGAIN, Cause, Custodian, CustodianId, CustodySet, Description, FRESH, Fault, Guarded, IN_A_ROW, LONGEST, Operation,
    Pending, RequestId, Signer, Unwrapped, Warmed, Wrapped, WrappedShare,
};
use cofre_envelope::BoundShare;
use cofre_model::permit::{Permit, Warm};
use cofre_model::time::{Clock, Span};
use cofre_testkit::custody::{Memory, Signs};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use crate::bench::{HandClock, any_warm_permit, context, custodian, row_of, share, slab};
use crate::warm::House;

/// A custodian that fails as it is told, and counts what reaches it.
#[derive(Debug)]
struct Faulty {
    inner: Arc<Memory>,
    fails: Mutex<Option<Cause>>,
    /// Each call takes one; who takes it away holds calls up.
    gate: Semaphore,
    calls: AtomicU64,
    checks: AtomicU64,
}

impl Faulty {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(custodian(name), slab()),
            fails: Mutex::default(),
            gate: Semaphore::new(100),
            calls: AtomicU64::new(0),
            checks: AtomicU64::new(0),
        })
    }

    fn fail(&self, with: impl Into<Option<Cause>>) {
        *self.fails.lock().expect("whole") = with.into();
    }

    async fn asked(&self, operation: Operation) -> Result<(), Fault> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let _place = self.gate.acquire().await;
        self.state(operation, number)
    }

    fn state(&self, operation: Operation, number: u64) -> Result<(), Fault> {
        let Some(cause) = *self.fails.lock().expect("whole") else { return Ok(()) };
        let request = Some(RequestId::new(format!("call-{number}")));
        Err(Fault { custodian: self.id().clone(), operation, cause, detail: None, request })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn checks(&self) -> u64 {
        self.checks.load(Ordering::SeqCst)
    }
}

impl Custodian for Faulty {
    fn id(&self) -> &CustodianId {
        self.inner.id()
    }
    fn describe(&self) -> Description {
        self.inner.describe()
    }
    fn check(&self) -> Pending<'_, (), Fault> {
        let number = self.checks.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { self.state(Operation::Check, number) })
    }
    fn wrap(&self, context: Vec<u8>, share: BoundShare) -> Pending<'_, Wrapped, Fault> {
        Box::pin(async move {
            self.asked(Operation::Wrap).await?;
            self.inner.wrap(context, share).await
        })
    }
    fn unwrap<'a>(
        &'a self,
        permit: &'a Permit<Warm>,
        context: Vec<u8>,
        wrapped: &'a WrappedShare,
    ) -> Pending<'a, Unwrapped, Fault> {
        Box::pin(async move {
            self.asked(Operation::Unwrap).await?;
            self.inner.unwrap(permit, context, wrapped).await
        })
    }
}

/// One behind a breaker, with a row that it wrapped.
struct Bench {
    clock: Arc<HandClock>,
    faulty: Arc<Faulty>,
    guarded: Arc<Guarded>,
    row: WrappedShare,
}

impl Bench {
    async fn new() -> Self {
        let (clock, faulty) = (Arc::new(HandClock::default()), Faulty::new("hsm-1"));
        let guarded = Arc::new(Guarded::new(faulty.clone(), clock.clone() as Arc<dyn Clock>));
        let context = context("hsm-1");
        let bound = share(&slab(), 7).bind(&context).expect("bound");
        let bytes = guarded.wrap(context.encode(), bound).await.expect("wraps").bytes.as_bytes().to_vec();
        let row = row_of(&*guarded, bytes);
        Self { clock, faulty, guarded, row }
    }

    /// Unwraps: the share's first byte, or why not.
    async fn ask(&self) -> Result<u8, Fault> {
        let context = context("hsm-1");
        let answer = self.guarded.unwrap(&any_warm_permit(), context.encode(), &self.row).await?;
        Ok(answer.share.unbind(&context).expect("bound to this context").with_bytes(|share| share[0]))
    }

    async fn cause(&self) -> Option<Cause> {
        self.ask().await.err().map(|fault| fault.cause)
    }

    /// A call that has reached the custodian, one and no more, and is held up there until the gate is let go.
    async fn trial_under_way(self: &Arc<Self>) -> (JoinHandle<Result<u8, Fault>>, SemaphorePermit<'_>) {
        let held = self.faulty.gate.acquire_many(100).await.expect("open");
        let before = self.faulty.calls();
        let bench = self.clone();
        let trial = tokio::spawn(async move { bench.ask().await });
        while self.faulty.calls() == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.faulty.calls(), before + 1);
        (trial, held)
    }

    /// Trouble, until it is left alone.
    async fn trouble(&self, cause: Cause) {
        self.faulty.fail(cause);
        for _ in 0..IN_A_ROW {
            assert_eq!(self.cause().await, Some(cause));
        }
        assert_eq!(self.cause().await, Some(Cause::Resting));
    }
}

#[tokio::test]
async fn after_some_failures_in_a_row_it_is_left_alone_and_says_why() {
    for cause in [Cause::Transient, Cause::Timeout, Cause::Crashed, Cause::Throttled] {
        let bench = Bench::new().await;
        bench.trouble(cause).await;
        let before = bench.faulty.calls();
        for _ in 0..1000 {
            let fault = bench.ask().await.expect_err("left alone");
            assert_eq!((fault.operation, fault.cause, fault.request), (Operation::Unwrap, Cause::Resting, None));
            assert_eq!(fault.detail.expect("why").to_string(), format!("after {cause}"));
        }
        assert_eq!(bench.faulty.calls(), before, "a call reached it");
        assert!(Cause::Resting.retryable());
    }
}

#[tokio::test]
async fn one_that_serves_in_between_is_not_left_alone() {
    let bench = Bench::new().await;
    for _ in 0..10 {
        bench.faulty.fail(Cause::Timeout);
        for _ in 1..IN_A_ROW {
            assert_eq!(bench.cause().await, Some(Cause::Timeout));
        }
        bench.faulty.fail(None);
        assert_eq!(bench.ask().await, Ok(7));
    }
}

/// What is refused for its own sake, or kept from the custodian, says nothing against it: one tenant's broken row must not
/// keep the others from their keys.
#[tokio::test]
async fn refusals_and_broken_rows_leave_it_in_service() {
    let bench = Bench::new().await;
    for cause in Cause::ALL {
        if matches!(cause, Cause::Transient | Cause::Timeout | Cause::Crashed | Cause::Throttled) {
            continue;
        }
        bench.faulty.fail(*cause);
        for _ in 0..3 * IN_A_ROW {
            assert_eq!(bench.cause().await, Some(*cause));
        }
        bench.faulty.fail(None);
        assert_eq!(bench.ask().await, Ok(7), "after {cause}");
    }
}

#[tokio::test]
async fn one_call_tries_at_a_time_and_a_trial_that_serves_ends_the_rest() {
    let bench = Arc::new(Bench::new().await);
    bench.trouble(Cause::Timeout).await;
    bench.faulty.fail(None);
    bench.clock.forward(LONGEST);
    let (trial, held) = bench.trial_under_way().await;
    let before = bench.faulty.calls();
    for _ in 0..100 {
        assert_eq!(bench.cause().await, Some(Cause::Resting), "a second trial");
    }
    assert_eq!(bench.faulty.calls(), before);
    drop(held);
    assert_eq!(trial.await.expect("no panic"), Ok(7));
    for _ in 0..100 {
        assert_eq!(bench.ask().await, Ok(7));
    }
}

/// Whenever the cause ends, the first call after the longest rest is served; and while it lasts, trials are few.
#[tokio::test]
async fn trials_become_rarer_but_service_is_back_within_the_longest_rest() {
    for ends_after in [0, 3, 7, 20, 61, 600, 3_333] {
        let bench = Bench::new().await;
        bench.trouble(Cause::Transient).await;
        let step = Span::millis(100);
        let before = bench.faulty.calls();
        for _ in 0..ends_after {
            bench.clock.forward(step);
            bench.cause().await.expect("nobody is served while it lasts");
        }
        let trials = bench.faulty.calls() - before;
        assert!(trials <= 4 + ends_after / 40, "{trials} trials in {ends_after} tenths of a second");
        bench.faulty.fail(None);
        let waited = (0..).find(|_| {
            bench.clock.forward(step);
            at_once(bench.ask()).is_ok()
        });
        assert!(waited < Some(LONGEST.as_micros() / step.as_micros()), "{waited:?} tenths of a second");
    }
}

/// Runs a future that never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut nobody) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn a_trial_that_nobody_waits_for_leaves_the_way_to_the_next() {
    let bench = Arc::new(Bench::new().await);
    bench.trouble(Cause::Timeout).await;
    bench.faulty.fail(None);
    bench.clock.forward(LONGEST);
    let (trial, held) = bench.trial_under_way().await;
    trial.abort();
    assert!(trial.await.expect_err("aborted").is_cancelled());
    drop(held);
    assert_eq!(bench.cause().await, Some(Cause::Resting), "whoever hangs up in a row does not storm it");
    bench.clock.forward(LONGEST);
    assert_eq!(bench.ask().await, Ok(7));
}

#[tokio::test]
async fn a_trial_that_is_kept_from_it_is_made_by_the_next() {
    let bench = Bench::new().await;
    bench.trouble(Cause::Timeout).await;
    bench.clock.forward(LONGEST);
    bench.faulty.fail(Cause::Busy);
    assert_eq!(bench.cause().await, Some(Cause::Busy));
    bench.faulty.fail(None);
    assert_eq!(bench.ask().await, Ok(7));
}

#[tokio::test]
async fn a_check_that_goes_well_lets_the_next_call_try() {
    let bench = Bench::new().await;
    bench.trouble(Cause::Transient).await;
    assert_eq!(bench.guarded.check().await.expect_err("in trouble").cause, Cause::Transient);
    bench.faulty.fail(None);
    assert_eq!(bench.guarded.check().await.expect_err("asked a moment ago").cause, Cause::Transient);
    bench.clock.forward(AGAIN);
    bench.faulty.fail(Cause::Transient);
    assert_eq!(bench.cause().await, Some(Cause::Transient), "a trial");
    bench.faulty.fail(None);
    assert_eq!(bench.cause().await, Some(Cause::Resting));
    bench.guarded.check().await.expect("well again");
    assert_eq!(bench.ask().await, Ok(7));
}

#[tokio::test]
async fn what_was_asked_in_the_last_hour_is_told() {
    let bench = Bench::new().await;
    let before = bench.guarded.usage();
    assert!(!before.rests);
    bench.ask().await.expect("serves");
    let served = bench.guarded.usage();
    assert_eq!((served.calls, served.failed), (before.calls + 1, before.failed));
    assert_eq!(served.last_served, Some(bench.clock.now()));
    bench.trouble(Cause::Timeout).await;
    let rests = bench.guarded.usage();
    let failed = u64::from(IN_A_ROW);
    assert_eq!((rests.calls, rests.failed, rests.rests), (served.calls + failed, served.failed + failed, true));
    assert_eq!(bench.cause().await, Some(Cause::Resting));
    assert_eq!(bench.guarded.usage(), rests, "who is left alone was not asked");
    let signer = bench.guarded.signer(Signs::new(custodian("hsm-1"), &[7; 32]));
    signer.sign(b"a message").await.expect("signs");
    assert_eq!(bench.guarded.usage().calls, rests.calls + 1, "signing counts as well");
    bench.clock.forward(Span::minutes(60));
    assert_eq!((bench.guarded.usage().calls, bench.guarded.usage().failed), (0, 0));
}

/// A signer that is always too slow.
#[derive(Debug)]
struct SlowSigner(Arc<Signs>);

impl Signer for SlowSigner {
    fn public_key(&self) -> &cofre_custody::VerifyingKey {
        self.0.public_key()
    }

    fn sign<'a>(&'a self, _message: &'a [u8]) -> Pending<'a, [u8; 64], Fault> {
        let (custodian, operation) = (custodian("hsm-1"), Operation::Sign);
        Box::pin(async move { Err(Fault { custodian, operation, cause: Cause::Timeout, detail: None, request: None }) })
    }
}

#[tokio::test]
async fn the_signer_stands_behind_a_breaker_of_its_own() {
    let bench = Bench::new().await;
    let signs = Signs::new(custodian("hsm-1"), &[7; 32]);
    let (signer, slow) =
        (bench.guarded.signer(signs.clone()), bench.guarded.signer(Arc::new(SlowSigner(signs.clone()))));
    assert_eq!(signer.public_key(), signs.public_key());
    bench.trouble(Cause::Timeout).await;
    signer.sign(b"a message").await.expect("unwrapping is in trouble, signing is not");
    bench.faulty.fail(None);
    bench.clock.forward(LONGEST);
    for _ in 0..IN_A_ROW {
        assert_eq!(slow.sign(b"a message").await.expect_err("too slow").cause, Cause::Timeout);
    }
    assert_eq!(slow.sign(b"a message").await.expect_err("left alone").cause, Cause::Resting);
    assert_eq!(bench.ask().await, Ok(7), "and releases go on");
}

/// `any_of` goes on without waiting for the one in trouble, and `all_of` opens nothing.
#[tokio::test]
async fn a_set_goes_by_one_that_is_left_alone() {
    let clock: Arc<dyn Clock> = Arc::new(HandClock::default());
    let both = [Faulty::new("a"), Faulty::new("b")];
    let guarded = both.clone().map(|one| Arc::new(Guarded::new(one, clock.clone())) as Arc<dyn Custodian>);
    let house = House::over(guarded.to_vec());
    let names = || vec![custodian("a"), custodian("b")];
    let any = house.tenant(1, &CustodySet::any_of(names()).expect("a set")).await;
    let all = house.tenant(2, &CustodySet::all_of(names()).expect("a set")).await;
    both[0].fail(Cause::Timeout);
    for _ in 0..20 {
        house.keys.wipe_all();
        house.keys.for_release().warm(&any, Warmed::default()).await.map(drop).expect("b serves");
        house.keys.for_release().warm(&all, Warmed::default()).await.map(drop).expect_err("a does not");
    }
    let reached = both[0].calls() - 2;
    assert_eq!(reached, u64::from(IN_A_ROW), "it was asked until it was left alone");
    let said = house.register.calls().into_iter().filter(|call| call.result == Err(Cause::Resting));
    assert!(said.clone().count() == 40 - reached as usize && said.clone().all(|call| call.request.is_none()));
}

/// Readiness asks each second: while nobody uses it, once in five minutes; in trouble, once in five seconds.
#[tokio::test]
async fn an_idle_month_costs_fewer_than_nine_thousand_probes() {
    let bench = Bench::new().await;
    let month = 30 * 24 * 3600;
    for _ in 0..month {
        bench.clock.forward(Span::secs(1));
        bench.guarded.check().await.expect("ready");
    }
    let probes = bench.faulty.checks();
    assert!((8_000..9_000).contains(&probes), "{probes} probes");
    assert_eq!(probes, month / (FRESH.as_micros() / 1_000_000));
    assert_eq!(bench.faulty.calls(), 1, "a probe uses no key");
}

#[tokio::test]
async fn who_is_used_is_not_probed_and_who_fails_is_asked_every_five_seconds() {
    let bench = Bench::new().await;
    for _ in 0..1000 {
        bench.clock.forward(Span::minutes(4));
        assert_eq!(bench.ask().await, Ok(7));
        bench.guarded.check().await.expect("ready");
    }
    assert_eq!(bench.faulty.checks(), 0);
    // A row that does not open says nothing of the custodian.
    bench.faulty.fail(Cause::Integrity);
    assert_eq!(bench.cause().await, Some(Cause::Integrity));
    bench.guarded.check().await.expect("ready");
    assert_eq!(bench.faulty.checks(), 0);
    // One call that fails is known at once to whoever asks.
    bench.faulty.fail(Cause::Denied);
    assert_eq!(bench.cause().await, Some(Cause::Denied));
    for second in 0..100 {
        assert_eq!(bench.guarded.check().await.expect_err("not ready").cause, Cause::Denied);
        assert_eq!(bench.faulty.checks(), 1 + second / 5);
        bench.clock.forward(Span::secs(1));
    }
    bench.faulty.fail(None);
    assert_eq!(bench.ask().await, Ok(7));
    bench.guarded.check().await.expect("a call came through: ready at once");
    assert_eq!(bench.faulty.checks(), 20);
    bench.guarded.doubt();
    bench.guarded.check().await.expect("asked anew");
    assert_eq!(bench.faulty.checks(), 21);
}
