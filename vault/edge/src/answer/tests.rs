use std::future::poll_fn;

use cofre_model::caller::{Caller, SpiffeId};
use cofre_model::permit::{SEND_WITHIN, SendBy};
use cofre_model::time::{Clock as _, Span};
use cofre_testkit::clock::TestClock;
use futures_util::FutureExt as _;

use super::*;
use crate::departure::{Fate, HAND_OVER_WITHIN};
use crate::load::Loads;

/// A message of one hundred bytes and its announcement.
fn message() -> Bytes {
    [&[0, 0, 0, 0, 100][..], &[7; 100]].concat().into()
}

#[expect(clippy::disallowed_methods, reason = "a test of the counter")]
fn caller() -> Caller {
    let identity = SpiffeId::parse("spiffe://cofre.test/worker/pool-a/w1", "cofre.test").expect("an identity");
    Caller::from_verified_chain(identity, [7; 32])
}

struct Scene {
    clock: Arc<TestClock>,
    fates: Arc<Mutex<Vec<Fate>>>,
    loads: Arc<Loads>,
    peer: Arc<Peer>,
    body: Body,
}

impl Scene {
    /// The answer of a grant, of which the transport has nothing yet.
    fn new(bytes: usize) -> Self {
        let (clock, fates) = (Arc::new(TestClock::default()), Arc::<Mutex<Vec<Fate>>>::default());
        let told = Arc::clone(&fates);
        let departure = Departure::new(SendBy::from_submission(clock.monotonic()), clock.clone(), move |fate| {
            told.lock().expect("whole").push(fate);
        });
        let (peer, loads) = (Arc::new(Peer::for_test(caller())), Loads::new(bytes));
        let load = loads.call(peer.caller().identity(), peer.places(), 1).expect("a place");
        let mut response = http::Response::new(Body::new(http_body_util::Full::new(message())));
        response.extensions_mut().insert(departure);
        let body = watched(response, load, &peer, Duration::from_secs(3_600)).into_body();
        Self { clock, fates, loads, peer, body }
    }

    async fn frame(&mut self) -> Option<Result<Bytes, Status>> {
        let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut self.body), cx)).await?;
        Some(frame.map(|frame| frame.into_data().expect("data")))
    }

    fn fates(&self) -> Vec<Fate> {
        self.fates.lock().expect("whole").clone()
    }

    fn cut(&self) -> bool {
        self.peer.cut().is_cancelled()
    }
}

#[tokio::test]
async fn an_answer_in_time_leaves_whole_in_two_frames() {
    let mut scene = Scene::new(1_000);
    scene.clock.advance(Span::micros(SEND_WITHIN.as_micros() - HAND_OVER_WITHIN.as_micros()));
    let announced = scene.frame().await.expect("a frame").expect("in time");
    let told = scene.frame().await.expect("a frame").expect("in time");
    assert_eq!([&announced[..], &told[..]].concat(), message());
    assert!(!http_body::Body::is_end_stream(&scene.body), "its end has to be asked for");
    assert!(scene.frame().now_or_never().is_none(), "its end waits for the transport");
    drop((announced, told));
    assert!(scene.frame().await.is_none());
    scene.peer.departures().flushed();
    scene.body = Body::empty();
    scene.clock.advance(Span::secs(1));
    assert!(!scene.peer.departures().any_overdue());
    assert_eq!((scene.fates(), scene.cut()), (vec![], false));
}

#[tokio::test]
async fn an_answer_let_go_by_a_reset_is_of_unknown_delivery() {
    let mut scene = Scene::new(1_000);
    let announced = scene.frame().await.expect("a frame").expect("in time");
    let told = scene.frame().await.expect("a frame").expect("in time");
    assert!(scene.frame().now_or_never().is_none());
    // The transport drops what it has, flushes what else there is, and then the stream.
    drop((announced, told));
    scene.peer.departures().flushed();
    assert_eq!(scene.fates(), []);
    scene.body = Body::empty();
    assert_eq!((scene.fates(), scene.cut()), (vec![Fate::Unknown], false));
}

#[tokio::test]
async fn an_answer_asked_for_too_late_resets_its_stream_alone() {
    let mut scene = Scene::new(1_000);
    let announced = scene.frame().await.expect("a frame").expect("in time");
    assert_eq!(&announced[..], &message()[..PREFIX]);
    // The peer holds up the announcement, and lets it through a little too late.
    scene.clock.advance(Span::millis(81));
    assert!(scene.frame().await.expect("an end").is_err());
    assert!(scene.frame().await.expect("an end").is_err(), "nothing comes after it");
    assert_eq!((scene.fates(), scene.cut()), (vec![Fate::Undelivered], false));
}

#[tokio::test]
async fn an_answer_of_which_nothing_has_left_ends_with_a_status() {
    let mut scene = Scene::new(1_000);
    scene.clock.advance(Span::millis(81));
    let end = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut scene.body), cx)).await.expect("an end");
    let trailers = end.expect("no reset").into_trailers().expect("trailers");
    assert_eq!(Status::from_header_map(&trailers).map(|status| status.code()), Some(tonic::Code::Aborted));
    assert!(scene.frame().await.is_none() && http_body::Body::is_end_stream(&scene.body));
    assert_eq!((scene.fates(), scene.cut()), (vec![Fate::Undelivered], false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_asks_for_is_dropped_and_recorded_when_its_time_is_over() {
    let mut scene = Scene::new(1_000);
    scene.frame().await.expect("a frame").expect("in time");
    scene.clock.advance(Span::millis(81));
    while scene.fates().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(scene.frame().await.expect("an end").is_err());
    assert_eq!((scene.fates(), scene.cut()), (vec![Fate::Undelivered], false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_the_transport_keeps_costs_its_connection() {
    let mut scene = Scene::new(1_000);
    scene.frame().await.expect("a frame").expect("in time");
    let _kept = scene.frame().await.expect("a frame").expect("in time");
    scene.clock.advance(Span::millis(81));
    scene.peer.cut().cancelled().await;
    assert_eq!(scene.fates(), [Fate::Unknown]);
}

#[tokio::test]
async fn a_stream_reset_before_its_answer_is_recorded_at_once() {
    let mut scene = Scene::new(1_000);
    scene.frame().await.expect("a frame").expect("in time");
    scene.body = Body::empty();
    assert_eq!((scene.fates(), scene.cut()), (vec![Fate::Undelivered], false));
}

#[tokio::test]
async fn the_answer_is_counted_until_the_transport_lets_go() {
    let mut scene = Scene::new(150);
    let announced = scene.frame().await.expect("a frame").expect("in time");
    let told = scene.frame().await.expect("a frame").expect("in time");
    scene.body = Body::empty();
    let identity = scene.peer.caller().identity().clone();
    let another = |most| scene.loads.call(&identity, &Arc::default(), 1).expect("a place").add(most);
    assert!(!another(46) && another(45));
    drop((announced, told));
    assert!(another(150));
}

#[tokio::test]
async fn an_answer_beyond_the_bytes_of_its_identity_resets_its_stream() {
    let mut scene = Scene::new(100);
    let _announced = scene.frame().await.expect("a frame").expect("within");
    assert!(scene.frame().await.expect("an end").is_err());
    scene.body = Body::empty();
    assert_eq!((scene.fates(), scene.cut()), (vec![Fate::Undelivered], false));
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_take_an_answer_loses_the_connection() {
    let (peer, loads) = (Arc::new(Peer::for_test(caller())), Loads::new(1_000));
    let load = || loads.call(peer.caller().identity(), peer.places(), 2).expect("a place");
    let response = || http::Response::new(Body::new(http_body_util::Full::new(message())));
    let within = Duration::from_secs(10);
    let taken = watched(response(), load(), &peer, within);
    drop(taken);
    tokio::time::sleep(within * 2).await;
    assert!(!peer.cut().is_cancelled());

    let mut stream = response();
    stream.extensions_mut().insert(Streamed);
    let _open = watched(stream, load(), &peer, within);
    tokio::time::sleep(within * 2).await;
    assert!(!peer.cut().is_cancelled(), "a stream has its own limits");

    let _waiting = watched(response(), load(), &peer, within);
    peer.cut().cancelled().await;
}
