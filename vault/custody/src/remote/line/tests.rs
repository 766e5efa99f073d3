//! Tries, limits and what is remembered, on a clock that stands until it is moved.

use std::sync::atomic::AtomicU32;

use super::*;

fn line(patience: Patience) -> Line {
    Line::new(CustodianId::try_from("kms-1").expect("a slug"), patience).expect("random")
}

async fn tries(line: &Line, cause: Cause) -> (u32, Fault) {
    let tried = AtomicU32::new(0);
    let asked = line.ask(Operation::Wrap, || async {
        tried.fetch_add(1, Ordering::SeqCst);
        Err::<Answer<()>, _>(Trouble::of(cause))
    });
    let fault = asked.await.map(drop).expect_err("it always fails");
    (tried.load(Ordering::SeqCst), fault)
}

#[tokio::test(start_paused = true)]
async fn only_what_may_do_better_is_tried_again() {
    let line = line(Patience::default());
    for cause in Cause::ALL {
        let again = matches!(cause, Cause::Transient | Cause::Timeout | Cause::BadChecksum);
        let (tried, fault) = tries(&line, *cause).await;
        assert_eq!((tried, fault.cause), (if again { TRIES } else { 1 }, *cause));
        let request = fault.request.expect("it was asked");
        assert_eq!(request.tries(), tried, "{cause}");
        let ids: std::collections::BTreeSet<&str> = request.as_str().split(',').collect();
        assert!(ids.len() == tried as usize && ids.iter().all(|id| id.starts_with("kms-1/")), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_for_long_is_asked_once_a_call() {
    let line = line(Patience::default());
    let mut asked = 0;
    for _ in 0..100 {
        asked += tries(&line, Cause::Transient).await.0;
    }
    assert_eq!(asked, 110, "a call is one try, and ten more were borne");
    let serve = || line.ask(Operation::Wrap, || async { Ok(Answer { value: (), request: None }) });
    for _ in 0..20 {
        serve().await.expect("serves");
    }
    assert_eq!(tries(&line, Cause::Transient).await.0, 3, "after twenty calls two more are borne");
}

#[tokio::test(start_paused = true)]
async fn a_try_and_all_tries_have_their_limits() {
    let patience = Patience { attempt: Duration::from_secs(2), total: Duration::from_secs(5), at_once: 1 };
    let line = line(patience);
    let begun = Instant::now();
    let never = line.ask(Operation::Unwrap, std::future::pending::<Result<Answer<()>, _>>);
    assert_eq!(never.await.map(drop).expect_err("too long").cause, Cause::Timeout);
    // The paused clock moves by whole milliseconds.
    assert!(begun.elapsed() - patience.total < Duration::from_millis(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_in_time_is_told_so_and_nothing_is_asked_after_the_end() {
    let line = line(Patience { at_once: 1, ..Patience::default() });
    let held = line.places.acquire().await.expect("open");
    // Nobody was asked: there is no request that a service's log could show.
    assert_eq!(tries(&line, Cause::Denied).await, (0, line.fault(Operation::Wrap, Trouble::of(Cause::Busy))));
    drop(held);
    line.close();
    let (tried, fault) = tries(&line, Cause::Denied).await;
    assert_eq!((tried, fault.cause), (0, Cause::Stopped));
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_all_tries_are_kept_in_their_order() {
    let line = line(Patience::default());
    let tried = AtomicU32::new(0);
    let asked = line.ask(Operation::Unwrap, || async {
        match tried.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Trouble { request: Some(RequestId::new("first".to_owned())), ..Trouble::of(Cause::Transient) }),
            1 => Err(Trouble::of(Cause::Timeout)),
            _ => Ok(Answer { value: (), request: Some(RequestId::new("third".to_owned())) }),
        }
    });
    let ((), request) = asked.await.expect("served in the end");
    assert_eq!((request.to_string(), request.tries()), (format!("first,kms-1/{}/1,third", line.run), 3));
}

#[cfg(any(feature = "aws", feature = "transit"))]
#[test]
fn an_id_that_is_none_is_not_written_down() {
    assert!(named(Some("00000000-0000-4000-8000-000000000001")).is_some());
    let long = "a".repeat(65);
    for text in [None, Some(""), Some("a,b"), Some("a b"), Some("a\nb"), Some("é"), Some(long.as_str())] {
        assert_eq!(named(text), None, "{text:?}");
    }
}
