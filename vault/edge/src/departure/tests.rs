use cofre_model::permit::SEND_WITHIN;
use cofre_testkit::clock::TestClock;

use super::*;

type Fates = Arc<Mutex<Vec<Fate>>>;

fn leaving() -> (Arc<TestClock>, Fates, Arc<Departure>) {
    let (clock, fates) = (Arc::new(TestClock::default()), Fates::default());
    let told = Arc::clone(&fates);
    let record = move |fate| told.lock().expect("whole").push(fate);
    let departure = Departure::new(SendBy::from_submission(clock.monotonic()), clock.clone(), record);
    (clock, fates, departure)
}

fn all(fates: &Fates) -> Vec<Fate> {
    fates.lock().expect("whole").clone()
}

/// Asks as often as its stream would; true once it is known to be whole.
fn asked(departure: &Departure, times: usize) -> bool {
    let cx = Context::from_waker(Waker::noop());
    (0..times).any(|_| departure.poll_whole(&cx).is_ready())
}

#[test]
fn what_left_in_time_is_not_recorded() {
    for flushed_first in [true, false] {
        let (clock, fates, departure) = leaving();
        let watched = Departures::default();
        assert!(departure.hand_over());
        watched.watch(&departure);
        clock.advance(SEND_WITHIN);
        assert!(!watched.any_overdue() && !asked(&departure, 3), "the transport has it");
        departure.let_go();
        if flushed_first {
            watched.flushed();
            // What the socket has may be told to be whole at leisure.
            clock.advance(Span::secs(1));
            assert!(!watched.any_overdue() && !departure.is_over());
        }
        assert!(!asked(&departure, 1) && asked(&departure, 1));
        watched.flushed();
        clock.advance(Span::secs(1));
        assert!(!watched.any_overdue() && departure.is_over());
        watched.abandon();
        drop((watched, departure));
        assert_eq!(all(&fates), []);
    }
}

#[test]
fn what_is_still_here_is_undelivered_wherever_it_is_found() {
    let (clock, fates, departure) = leaving();
    clock.advance(Span::millis(81));
    assert!(!departure.hand_over() && !departure.hand_over());
    assert_eq!(departure.overdue(), Overdue::No);
    drop(departure);
    assert_eq!(all(&fates), [Fate::Undelivered]);

    let (_, fates, departure) = leaving();
    drop(departure);
    assert_eq!(all(&fates), [Fate::Undelivered], "dropped on its way to the transport");
}

#[test]
fn what_has_little_time_left_is_not_handed_over() {
    let (clock, fates, departure) = leaving();
    clock.advance(Span::micros(SEND_WITHIN.as_micros() - HAND_OVER_WITHIN.as_micros() + 1));
    assert!(departure.in_time() && !departure.hand_over());
    assert_eq!(all(&fates), [Fate::Undelivered]);

    let (clock, fates, departure) = leaving();
    clock.advance(Span::micros(SEND_WITHIN.as_micros() - HAND_OVER_WITHIN.as_micros()));
    assert!(departure.hand_over());
    assert_eq!(all(&fates), []);
}

#[test]
fn what_the_transport_keeps_too_long_is_unknown_and_forbids_writing_for_good() {
    let (clock, fates, departure) = leaving();
    let watched = Departures::default();
    assert!(departure.hand_over());
    watched.watch(&departure);
    clock.advance(Span::millis(81));
    assert!(watched.any_overdue() && watched.any_overdue());
    departure.let_go();
    assert!(departure.is_over());
    assert_eq!(all(&fates), [Fate::Unknown]);
}

#[test]
fn whoever_finds_it_overdue_first_forbids_writing_to_all() {
    let (clock, fates, departure) = leaving();
    let watched = Departures::default();
    assert!(departure.hand_over());
    watched.watch(&departure);
    clock.advance(Span::millis(81));
    // Found by the watch over its time, before the connection is cut.
    assert_eq!(departure.overdue(), Overdue::Handed);
    drop(departure);
    assert!(watched.any_overdue(), "a write in between would send it");
    assert_eq!(all(&fates), [Fate::Unknown]);
}

#[test]
fn what_waits_in_the_session_has_not_left() {
    let (clock, fates, departure) = leaving();
    let watched = Departures::default();
    assert!(departure.hand_over());
    watched.watch(&departure);
    departure.let_go();
    assert!(asked(&departure, 2) && !departure.is_over());
    clock.advance(Span::millis(81));
    assert!(watched.any_overdue());
    watched.flushed();
    assert!(watched.any_overdue());
    assert_eq!(all(&fates), [Fate::Unknown]);
}

#[test]
fn what_was_let_go_with_its_stream_or_its_connection_is_unknown() {
    // Reset: its body is dropped and not asked again.
    let (_, fates, departure) = leaving();
    let watched = Departures::default();
    assert!(departure.hand_over());
    watched.watch(&departure);
    departure.let_go();
    assert!(!asked(&departure, 1));
    watched.flushed();
    departure.abandon();
    assert_eq!((all(&fates), watched.any_overdue()), (vec![Fate::Unknown], false));

    // Whole, and its connection lost before the socket had it.
    let (_, fates, departure) = leaving();
    assert!(departure.hand_over());
    watched.watch(&departure);
    departure.let_go();
    assert!(asked(&departure, 2));
    watched.abandon();
    assert_eq!(all(&fates), [Fate::Unknown]);
}

#[test]
fn who_takes_the_duty_records_alone() {
    let (clock, fates, departure) = leaving();
    assert!(departure.disarm() && !departure.disarm());
    clock.advance(Span::secs(1));
    assert_eq!(departure.overdue(), Overdue::No);
    drop(departure);
    assert_eq!(all(&fates), []);
}
