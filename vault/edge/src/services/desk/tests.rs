use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tonic::Code;
use tonic_types::StatusExt;

use super::*;
use crate::status::ENTRY;

/// Remembers refusals and gives each the next index.
#[derive(Debug, Default)]
struct Register {
    refusals: Mutex<Vec<Refusal>>,
    added: Notify,
}

impl Register {
    fn reasons(&self) -> Vec<Reason> {
        self.refusals.lock().expect("whole").iter().map(|refusal| refusal.reason).collect()
    }
}

impl Refusals for Register {
    fn refused(&self, refusal: Refusal) -> BoxFuture<'static, Option<u64>> {
        let mut refusals = self.refusals.lock().expect("whole");
        let index = (!refusal.is_aggregated()).then_some(refusals.len() as u64 + 40);
        refusals.push(refusal);
        self.added.notify_one();
        async move { index }.boxed()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of the counter")]
fn caller() -> Caller {
    let identity = SpiffeId::parse("spiffe://cofre.test/worker/pool-a/w1", "cofre.test").expect("an identity");
    Caller::from_verified_chain(identity, [7; 32])
}

fn open() -> (Desk, Arc<Register>, CancellationToken) {
    let (register, stop) = (Arc::new(Register::default()), CancellationToken::new());
    (Desk::new(register.clone(), stop.clone()), register, stop)
}

fn call(desk: &Desk) -> Call {
    Call { desk: desk.clone(), caller: caller(), method: Some("/cofre.v1.ReleaseService/Release") }
}

fn entry_of(status: &Status) -> Option<String> {
    status.get_details_error_info().expect("ErrorInfo").metadata.get(ENTRY).cloned()
}

#[tokio::test]
async fn a_refusal_is_recorded_with_its_exact_reason_and_told_in_public() {
    let (desk, register, _) = open();
    let no = No::field(Reason::ConsentRevoked, None);
    let status = call(&desk).run::<()>(async { Err(no) }).await.expect_err("refused");
    assert_eq!((status.code(), entry_of(&status).as_deref()), (Code::PermissionDenied, Some("40")));
    assert!(!status.message().contains("revoked"));
    let recorded = register.refusals.lock().expect("whole").clone();
    assert_eq!(recorded.len(), 1);
    let expected = Refusal {
        listener: Listener::TenantsAndWorkers,
        caller: Some(caller()),
        method: Some("/cofre.v1.ReleaseService/Release"),
        reason: Reason::ConsentRevoked,
    };
    assert_eq!(recorded.first(), Some(&expected));
}

#[tokio::test]
async fn what_stands_in_the_ledger_is_not_recorded_again() {
    let (desk, register, _) = open();
    let no = No::from(Reason::LeaseHeld).recorded(Some(7)).retry_after(Some(Span::secs(9)));
    let status = call(&desk).run::<()>(async { Err(no) }).await.expect_err("refused");
    assert_eq!(entry_of(&status).as_deref(), Some("7"));
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(retry, Some(Span::secs(9).to_std()));
    assert_eq!(register.reasons(), []);
}

#[tokio::test]
async fn a_malformed_field_is_named_with_its_way_out() {
    let (desk, register, _) = open();
    let malformed = Malformed::new("fields[2].key", "must not repeat an earlier field");
    let status = call(&desk).run::<()>(async { Err(malformed.into()) }).await.expect_err("refused");
    let violation = status.get_details_bad_request().expect("a violation").field_violations.remove(0);
    assert_eq!(
        (violation.field.as_str(), violation.description.as_str()),
        ("fields[2].key", "must not repeat an earlier field")
    );
    assert_eq!((status.code(), register.reasons()), (Code::InvalidArgument, vec![Reason::BadRequest]));
}

#[tokio::test]
async fn a_hang_up_does_not_cut_off_the_work_nor_its_record() {
    let (desk, register, _) = open();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let work = {
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        async move {
            begun.notify_one();
            go.notified().await;
            Err::<(), _>(No::from(Reason::WrongState))
        }
    };
    let calls = call(&desk);
    let hung_up = tokio::spawn(async move { calls.run(work).await });
    begun.notified().await;
    hung_up.abort();
    assert!(hung_up.await.expect_err("aborted").is_cancelled());
    assert_eq!(register.reasons(), []);
    go.notify_one();
    register.added.notified().await;
    assert_eq!(register.reasons(), [Reason::WrongState]);
    desk.idle().await;
}

#[tokio::test]
async fn a_panic_is_an_internal_fault_on_record_and_tells_nothing() {
    let (desk, register, _) = open();
    let status = call(&desk).run::<()>(async { panic!("inner words") }).await.expect_err("refused");
    assert_eq!((status.code(), register.reasons()), (Code::Internal, vec![Reason::Internal]));
    assert!(!status.message().contains("inner words"));
    // The place of the call that died is free again.
    assert!(desk.0.calls.busy.lock().expect("whole").is_empty());
}

#[tokio::test]
async fn one_identity_keeps_no_more_than_its_places_busy() {
    let (desk, register, _) = open();
    let mut streams = Vec::new();
    for _ in 0..STREAMS_PER_IDENTITY {
        streams.push(call(&desk).stream::<(), _>(|_, _| std::future::pending()).await.expect("a place"));
    }
    let status = call(&desk).stream::<(), _>(|_, _| std::future::pending()).await.expect_err("none left");
    assert_eq!((status.code(), register.reasons()), (Code::ResourceExhausted, vec![Reason::RateLimited]));
    // Its readers gone, its places are free.
    drop(streams);
    desk.idle().await;
    assert!(call(&desk).stream::<(), _>(|_, _| std::future::pending()).await.is_ok());
}

#[tokio::test]
async fn calls_at_work_are_bounded() {
    let (desk, register, _) = open();
    let held: Vec<_> = (0..CALLS_AT_WORK).map(|_| desk.0.calls.take(caller().identity())).collect();
    assert!(held.iter().all(Option::is_some));
    let reached = Arc::new(AtomicBool::new(false));
    let work = {
        let reached = Arc::clone(&reached);
        async move {
            reached.store(true, Ordering::SeqCst);
            Ok(())
        }
    };
    let status = call(&desk).run(work).await.expect_err("no place");
    assert_eq!((status.code(), register.reasons()), (Code::ResourceExhausted, vec![Reason::RateLimited]));
    assert!(!reached.load(Ordering::SeqCst));
    drop(held);
    assert!(call(&desk).run(async { Ok(()) }).await.is_ok());
}

#[tokio::test]
async fn a_stream_ends_when_the_node_stops_and_holds_back_its_source() {
    let (desk, _, stop) = open();
    let sent = Arc::new(Mutex::new(0_usize));
    let count = Arc::clone(&sent);
    let calling = call(&desk);
    let response = calling.stream(|_, inlet| async move {
        while inlet.send(Ok(())).await.is_ok() {
            *count.lock().expect("whole") += 1;
        }
    });
    let mut stream = response.await.expect("a place").into_inner();
    while *sent.lock().expect("whole") < STREAM_BUFFER {
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*sent.lock().expect("whole"), STREAM_BUFFER);
    stop.cancel();
    desk.idle().await;
    let mut left = 0;
    while let Some(message) = stream.next().await {
        assert!(message.is_ok());
        left += 1;
    }
    assert_eq!(left, STREAM_BUFFER);
}

#[tokio::test]
async fn absent_and_foreign_are_the_same_bytes() {
    let (desk, _, _) = open();
    let told = |no: No| {
        let call = call(&desk);
        async move {
            let status = call.run::<()>(async { Err(no.recorded(Some(1))) }).await.expect_err("refused");
            (status.code(), status.message().to_owned(), status.details().to_vec())
        }
    };
    let absent = told(Reason::NotFound.into()).await;
    assert_eq!(absent, told(Reason::CredentialNotFound.into()).await);
    assert_eq!(absent.0, Code::NotFound);
}
