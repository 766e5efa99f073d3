//! The board alone: places, limits, and what counts as a wrong answer.

use cofre_model::request::{SealKey, SealSuite};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn credential() -> CredentialId {
    CredentialId::from_parts(1, [1; 10])
}

fn job(number: u8) -> JobId {
    JobId::from_parts(1, [number; 10])
}

fn challenge(number: u16, kind: ScaKind, at: Timestamp) -> Challenge {
    let [high, low] = number.to_be_bytes();
    let shown = Shown {
        id: ChallengeId::from_parts(1, [0, 0, 0, 0, 0, 0, 0, 0, high, low]),
        tenant: TenantId::from_parts(1, [1; 10]),
        credential: credential(),
        owner: SubjectId::from_parts(1, [1; 10]),
        kind,
        code_length: 6,
        attempt: 1,
        expires: at.plus(Span::minutes(5)),
        key: ChallengeKey {
            key: SealKey { suite: SealSuite::X25519, bytes: vec![1; 32] },
            chain: Vec::new(),
            signature: Vec::new(),
        },
    };
    Challenge {
        job: job(1),
        worker: "w1".to_owned(),
        expires: at.plus(Span::minutes(5)),
        granted_at: 10,
        secret_version: 1,
        opened_at: 0,
        stage: Stage::Opening,
        handed_over: false,
        counted: false,
        shown,
        changed: Arc::new(Notify::new()),
    }
}

fn limits(at: Timestamp) -> Limits {
    Limits { lockout_threshold: 3, secret_version: 1, lease_until: at.plus(Span::minutes(20)) }
}

impl Board {
    fn take(&mut self, number: u16, kind: ScaKind, at: Timestamp) -> Result<ChallengeId, Reason> {
        let challenge = challenge(number, kind, at);
        let id = challenge.shown.id;
        self.reserve(challenge, limits(at), at).map(|()| id)
    }

    /// Opened, answered and handed to its worker.
    fn deliver(&mut self, number: u16, at: Timestamp) -> ChallengeId {
        let id = self.take(number, ScaKind::AppCode, at).expect("a place");
        self.present(&id, u64::from(number) + 20).expect("shown");
        let challenge = self.challenges.get_mut(&id).expect("there");
        challenge.stage = Stage::Answered(SealedAnswer { encapsulated_key: vec![1], ciphertext: vec![2] });
        assert!(challenge.hand_over().is_some() && challenge.hand_over().is_none(), "handed over once");
        id
    }

    fn wrong(&self) -> u8 {
        self.wrong.get(&credential()).map_or(0, |wrong| wrong.count)
    }
}

#[test]
fn a_place_is_taken_before_its_challenge_is_shown() {
    let mut board = Board::default();
    let id = board.take(1, ScaKind::AppCode, NOW).expect("a place");
    assert_eq!(board.take(2, ScaKind::AppCode, NOW), Err(Reason::WrongState), "the login has one");
    let mut other = challenge(1, ScaKind::AppCode, NOW);
    other.shown.credential = CredentialId::from_parts(1, [9; 10]);
    other.worker = "w2".to_owned();
    assert_eq!(board.reserve(other, limits(NOW), NOW), Err(Reason::WrongState), "the id is taken");
    assert_eq!(board.challenges[&id].worker, "w1");
    board.release(&id);
    assert!(board.take(2, ScaKind::AppCode, NOW).is_ok(), "given back");
}

#[test]
fn what_ends_while_opening_is_never_shown() {
    let mut board = Board::default();
    let id = board.take(1, ScaKind::AppCode, NOW).expect("a place");
    board.end_where(Ended::Cancelled, NOW, |_| true);
    assert!(board.present(&id, 20).is_none());
}

#[test]
fn a_code_whose_fate_is_not_told_counts_as_wrong() {
    // Expired.
    let mut board = Board::default();
    board.deliver(1, NOW);
    board.tidy(NOW.plus(Span::minutes(5)));
    assert_eq!(board.wrong(), 0, "the worker may still be typing");
    board.tidy(NOW.plus(Span::minutes(6)));
    assert_eq!(board.wrong(), 1);
    // Cancelled, by whomever.
    board.deliver(2, NOW.plus(Span::minutes(7)));
    board.end_where(Ended::Cancelled, NOW.plus(Span::minutes(7)), |_| true);
    assert_eq!(board.wrong(), 2);
    // The third would lock the login.
    assert_eq!(board.take(3, ScaKind::AppCode, NOW.plus(Span::minutes(8))), Err(Reason::WrongState));

    // Superseded.
    let mut board = Board::default();
    board.deliver(1, NOW);
    board.deliver(2, NOW);
    assert_eq!(board.take(3, ScaKind::AppCode, NOW), Err(Reason::WrongState));
    assert_eq!(board.wrong(), 2);
}

#[test]
fn a_code_is_counted_once_and_a_late_success_forgives() {
    let mut board = Board::default();
    let first = board.deliver(1, NOW);
    board.conclude(&first, false);
    let second = board.deliver(2, NOW);
    board.end_where(Ended::Cancelled, NOW, |_| true);
    board.conclude(&second, false);
    assert_eq!(board.wrong(), 2);

    let mut board = Board::default();
    let id = board.deliver(1, NOW);
    board.end_where(Ended::Cancelled, NOW, |_| true);
    board.conclude(&id, true);
    assert_eq!(board.wrong(), 0);
}

#[test]
fn success_cannot_be_claimed_for_a_code_that_was_never_had() {
    let mut board = Board::default();
    let first = board.deliver(1, NOW);
    board.conclude(&first, false);
    let second = board.take(2, ScaKind::AppCode, NOW).expect("a place");
    board.present(&second, 30).expect("shown");
    board.conclude(&second, true);
    assert_eq!(board.wrong(), 1);
}

#[test]
fn the_limit_is_lifted_by_a_login_that_got_in_and_by_a_new_secret() {
    let mut board = Board::default();
    for number in [1, 2] {
        let id = board.deliver(number, NOW);
        board.conclude(&id, false);
    }
    assert_eq!(board.take(3, ScaKind::AppCode, NOW), Err(Reason::WrongState));
    board.reported(&credential(), 50, false, NOW);
    assert_eq!(board.take(3, ScaKind::AppCode, NOW), Err(Reason::WrongState), "it did not get in");
    board.reported(&credential(), 51, true, NOW);
    let third = board.deliver(3, NOW);
    board.conclude(&third, false);
    let fourth = board.deliver(4, NOW);
    board.conclude(&fourth, false);
    let renewed = Limits { secret_version: 2, ..limits(NOW) };
    assert!(board.reserve(challenge(5, ScaKind::AppCode, NOW), renewed, NOW).is_ok(), "the secret was entered anew");
}

#[test]
fn a_report_ends_what_its_own_grant_opened_and_nothing_later() {
    let mut board = Board::default();
    let id = board.deliver(1, NOW);
    board.reported(&credential(), 9, true, NOW);
    assert!(matches!(board.challenges[&id].stage, Stage::Delivered), "granted after that report");
    board.reported(&credential(), 11, true, NOW);
    assert!(matches!(board.challenges[&id].stage, Stage::Over(Ended::Cancelled, _)));
    assert_eq!(board.wrong(), 0, "the code worked");
}

#[test]
fn a_lease_opens_five_and_a_login_is_sent_three_sms_an_hour() {
    let mut board = Board::default();
    let cancel = |board: &mut Board, at| board.end_where(Ended::Cancelled, at, |_| true);
    for number in 1..=5 {
        board.take(number, ScaKind::AppCode, NOW).expect("a place");
        cancel(&mut board, NOW);
    }
    assert_eq!(board.take(6, ScaKind::AppCode, NOW), Err(Reason::RateLimited));

    let mut board = Board::default();
    for number in 1..=3_u8 {
        let mut sms = challenge(number.into(), ScaKind::SmsOtp, NOW);
        sms.job = job(number); // each under a lease of its own
        board.reserve(sms, limits(NOW), NOW).expect("a place");
        cancel(&mut board, NOW);
    }
    assert_eq!(board.take(4, ScaKind::SmsOtp, NOW), Err(Reason::RateLimited));
    board.take(5, ScaKind::TotpApp, NOW).expect("nothing is sent for it");
    cancel(&mut board, NOW);
    let later = NOW.plus(Span::hours(1));
    board.take(6, ScaKind::SmsOtp, later).expect("an hour later");
}

#[test]
fn a_failed_opening_counts_towards_no_limit() {
    let mut board = Board::default();
    for number in 1..=20 {
        let id = board.take(number, ScaKind::SmsOtp, NOW).expect("a place");
        board.release(&id);
    }
}

#[test]
fn what_is_over_is_forgotten_after_a_minute() {
    let mut board = Board::default();
    board.take(1, ScaKind::AppCode, NOW).expect("a place");
    board.end_where(Ended::Cancelled, NOW, |_| true);
    board.tidy(NOW.plus(Span::secs(59)));
    assert_eq!(board.challenges.len(), 1);
    board.tidy(NOW.plus(Span::secs(60)));
    assert!(board.challenges.is_empty());
    board.tidy(NOW.plus(Span::hours(1)));
    assert!(board.opened.is_empty());
}

#[test]
fn a_full_board_refuses() {
    let mut board = Board::default();
    for number in 0..u16::try_from(MOST).expect("small") {
        let mut each = challenge(number, ScaKind::AppCode, NOW);
        let [high, low] = number.to_be_bytes();
        each.shown.credential = CredentialId::from_parts(2, [0, 0, 0, 0, 0, 0, 0, 0, high, low]);
        board.challenges.insert(each.shown.id, each);
    }
    assert_eq!(board.take(u16::MAX, ScaKind::AppCode, NOW), Err(Reason::RateLimited));
}
