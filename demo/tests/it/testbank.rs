//! TestBank and the worker's bank client over real HTTPS, with a clock moved by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofre_demo::testbank::{
    AccountStats, Behaviour, Certificate, Config, Enrolled, Enrolment, RunningBank, StartError, TestBank, Visitor,
};
use cofre_demo::worker::bank::{BankAddress, BankClient, BankError, CodeOutcome, LoginOutcome, SecondFactor};
use cofre_testkit::institutions::{self, Institution};
use cofre_testkit::logins::{self, Login};
use http::{Method, StatusCode};
use hyper::body::Bytes;

const START: u64 = 1_800_000_000;
const ADMIN: &str = "a token only this test knows";
const PHONE: &str = "+34600000007";

/// A running bank and a hand on its clock.
struct Town {
    bank: RunningBank,
    now: Arc<AtomicU64>,
    visitor: Visitor,
}

/// A customer of the town's bank.
struct Customer {
    institution: Institution,
    login: Login,
    enrolled: Enrolled,
}

impl Town {
    async fn open() -> Self {
        let now = Arc::new(AtomicU64::new(START));
        let clock = Arc::clone(&now);
        let bank = TestBank::start(Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate: Certificate::Generated,
            admin_token: ADMIN.to_owned(),
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            institutions: institutions::all().unwrap(),
        })
        .await
        .unwrap();
        let visitor = Visitor::new(bank.addr, &bank.ca_pem).unwrap();
        Self { bank, now, visitor }
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A new customer, enrolled over HTTPS.
    async fn customer(&self, slug: &str, behaviour: Option<Behaviour>) -> Customer {
        let institution = institutions::find(slug).unwrap();
        let login = logins::canary_login(&institution, 1).unwrap();
        let fields: Vec<_> = login.fields().collect();
        let wish = Enrolment { institution: slug, phone: PHONE, fields: &fields, behaviour };
        let enrolled = self.visitor.enrol(ADMIN, &wish).await.unwrap();
        Customer { institution, login, enrolled }
    }

    fn client(&self, slug: &str) -> BankClient {
        let address =
            BankAddress { addr: self.bank.addr, server_name: "localhost".to_owned(), ca_pem: self.bank.ca_pem.clone() };
        BankClient::new(&address, slug).unwrap()
    }

    async fn sms(&self, customer: &Customer) -> Vec<u8> {
        let inbox = self.visitor.inbox(PHONE, &customer.enrolled.phone_token).await.unwrap();
        assert_eq!(inbox.len(), 1);
        assert_eq!(inbox[0].from, customer.institution.slug);
        inbox[0].code.as_bytes().to_vec()
    }

    async fn shown(&self, customer: &Customer) -> Vec<u8> {
        let codes = self.visitor.shown_codes(PHONE, &customer.enrolled.phone_token).await.unwrap();
        let mine = codes.iter().find(|c| c.account == customer.enrolled.account).unwrap();
        assert!(mine.valid_until > self.now.load(Ordering::SeqCst));
        mine.code.as_bytes().to_vec()
    }

    async fn counts(&self, customer: &Customer) -> AccountStats {
        let stats = self.visitor.stats(ADMIN).await.unwrap();
        assert_eq!(stats, self.bank.stats(), "the page and the handle agree");
        assert_eq!(stats.transfer_hits, 0);
        stats.accounts.into_iter().find(|a| a.account == customer.enrolled.account).unwrap()
    }
}

impl Customer {
    async fn log_in(&self, client: &mut BankClient) -> LoginOutcome {
        client.login(&self.login.fields().collect::<Vec<_>>()).await.unwrap()
    }

    async fn log_in_wrongly(&self, client: &mut BankClient) -> LoginOutcome {
        let wrong = logins::wrong_login(&self.institution, 1).unwrap();
        client.login(&wrong.fields().collect::<Vec<_>>()).await.unwrap()
    }
}

fn factor(outcome: &LoginOutcome) -> Option<(SecondFactor, u32)> {
    match outcome {
        LoginOutcome::ScaRequired { kind, length, .. } => Some((*kind, *length)),
        _ => None,
    }
}

/// A code that is not this one.
fn other(code: &[u8]) -> Vec<u8> {
    code.iter().map(|digit| if *digit == b'0' { b'1' } else { b'0' }).collect()
}

/// The whole visit to one institution; `expected` is the second factor it must ask.
async fn whole_visit(slug: &str, expected: Option<SecondFactor>) {
    let town = Town::open().await;
    let customer = town.customer(slug, None).await;
    let mut client = town.client(slug);
    let outcome = customer.log_in(&mut client).await;
    assert_eq!(factor(&outcome), expected.map(|kind| (kind, 6)), "{outcome:?}");
    if let Some(kind) = expected {
        assert_eq!(client.positions().await, Err(BankError::NotSignedIn), "not before the second factor");
        let code = match kind {
            SecondFactor::SmsOtp => town.sms(&customer).await,
            SecondFactor::TotpApp | SecondFactor::HardwareToken => town.shown(&customer).await,
        };
        assert_eq!(client.submit_code(&code).await, Ok(CodeOutcome::Ok));
    } else {
        assert_eq!(outcome, LoginOutcome::Ok);
    }
    let held = client.positions().await.unwrap();
    assert!(held.positions.len() >= 3);
    assert_eq!((held.currency.as_str(), held.as_of.as_str()), ("EUR", "2027-01-15"));
    assert!(held.positions.iter().all(|p| p.value_minor == p.quantity_milli * p.price_minor / 1_000));
    let booked = client.transactions().await.unwrap();
    assert!(booked.iter().all(|t| held.positions.iter().any(|p| p.isin == t.isin)));
    assert_eq!(town.counts(&customer).await.sessions_open, 1);
    client.logout().await.unwrap();
    assert_eq!(client.positions().await, Err(BankError::NotSignedIn));
    let counts = town.counts(&customer).await;
    assert_eq!((counts.sign_ins, counts.positions_read, counts.sessions_open), (1, 1, 0));
    assert_eq!(counts.codes_sent, u64::from(expected == Some(SecondFactor::SmsOtp)));
    assert_eq!((counts.wrong_logins, counts.wrong_codes, counts.signing_factors), (0, 0, 0));
    town.bank.stop().await;
}

#[tokio::test]
async fn banco_abierto_asks_a_code_by_sms() {
    whole_visit("banco-abierto", Some(SecondFactor::SmsOtp)).await;
}

#[tokio::test]
async fn caja_colegiados_asks_a_code_by_sms() {
    whole_visit("caja-colegiados", Some(SecondFactor::SmsOtp)).await;
}

#[tokio::test]
async fn banc_valles_asks_no_second_factor() {
    whole_visit("banc-valles", None).await;
}

#[tokio::test]
async fn banque_jeune_asks_a_code_by_sms() {
    whole_visit("banque-jeune", Some(SecondFactor::SmsOtp)).await;
}

#[tokio::test]
async fn courtier_bourse_asks_an_authenticator_code() {
    whole_visit("courtier-bourse", Some(SecondFactor::TotpApp)).await;
}

#[tokio::test]
async fn harbour_private_asks_a_device_code() {
    whole_visit("harbour-private", Some(SecondFactor::HardwareToken)).await;
}

#[tokio::test]
async fn wrong_passwords_lock_each_institution_after_its_own_number_and_time_unlocks() {
    for institution in institutions::all().unwrap() {
        let town = Town::open().await;
        let customer = town.customer(&institution.slug, None).await;
        let mut client = town.client(&institution.slug);
        for _ in 1..institution.lockout_threshold {
            assert_eq!(customer.log_in_wrongly(&mut client).await, LoginOutcome::WrongSecret);
        }
        let until = START + institution.lockout_seconds();
        assert_eq!(customer.log_in_wrongly(&mut client).await, LoginOutcome::Locked { until });
        assert_eq!(customer.log_in(&mut client).await, LoginOutcome::Locked { until }, "right but locked");
        let counts = town.counts(&customer).await;
        assert_eq!(counts.wrong_logins, u64::from(institution.lockout_threshold));
        assert_eq!((counts.lockouts, counts.locked_until), (1, Some(until)));
        assert_eq!(counts.codes_sent, 0, "a wrong password sends no SMS");
        town.pass(institution.lockout_seconds());
        let outcome = customer.log_in(&mut client).await;
        assert!(outcome == LoginOutcome::Ok || factor(&outcome).is_some(), "{outcome:?}");
        town.bank.stop().await;
    }
}

#[tokio::test]
async fn wrong_codes_are_counted_and_lock() {
    let town = Town::open().await;
    let customer = town.customer("banque-jeune", None).await;
    let mut client = town.client("banque-jeune");
    customer.log_in(&mut client).await;
    let wrong = other(&town.sms(&customer).await);
    assert_eq!(client.submit_code(&wrong).await, Ok(CodeOutcome::WrongCode { attempts_left: 2 }));
    assert_eq!(client.submit_code(&wrong).await, Ok(CodeOutcome::WrongCode { attempts_left: 1 }));
    let until = START + 24 * 3600;
    assert_eq!(client.submit_code(&wrong).await, Ok(CodeOutcome::Locked { until }));
    assert_eq!(client.submit_code(&wrong).await, Ok(CodeOutcome::SessionEnded));
    let counts = town.counts(&customer).await;
    assert_eq!((counts.wrong_codes, counts.lockouts, counts.sign_ins), (3, 1, 0));
}

#[tokio::test]
async fn a_code_is_read_once_and_dies_after_its_time() {
    let town = Town::open().await;
    let customer = town.customer("banco-abierto", None).await;
    let mut client = town.client("banco-abierto");
    customer.log_in(&mut client).await;
    let code = town.sms(&customer).await;
    assert_eq!(town.visitor.inbox(PHONE, &customer.enrolled.phone_token).await.unwrap().len(), 0);
    // Just under the idle limit of the session, at the end of the code's life.
    town.pass(200);
    assert_eq!(client.submit_code(&other(&code)).await, Ok(CodeOutcome::WrongCode { attempts_left: 2 }));
    town.pass(100);
    assert_eq!(client.submit_code(&code).await, Ok(CodeOutcome::CodeExpired));
    assert_eq!(client.submit_code(&code).await, Ok(CodeOutcome::SessionEnded));
    customer.log_in(&mut client).await;
    let fresh = town.sms(&customer).await;
    assert_eq!(client.submit_code(&fresh).await, Ok(CodeOutcome::Ok));
}

#[tokio::test]
async fn an_authenticator_code_of_an_earlier_minute_is_wrong() {
    let town = Town::open().await;
    let customer = town.customer("courtier-bourse", None).await;
    let mut client = town.client("courtier-bourse");
    customer.log_in(&mut client).await;
    let old = town.shown(&customer).await;
    town.pass(90);
    assert_eq!(client.submit_code(&old).await, Ok(CodeOutcome::WrongCode { attempts_left: 4 }));
    let fresh = town.shown(&customer).await;
    assert_eq!(client.submit_code(&fresh).await, Ok(CodeOutcome::Ok));
}

#[tokio::test]
async fn a_session_ends_after_five_idle_minutes() {
    let town = Town::open().await;
    let customer = town.customer("banc-valles", None).await;
    let mut client = town.client("banc-valles");
    assert_eq!(customer.log_in(&mut client).await, LoginOutcome::Ok);
    town.pass(299);
    assert!(client.positions().await.is_ok(), "use starts the idle time anew");
    town.pass(299);
    assert!(client.positions().await.is_ok());
    town.pass(300);
    assert_eq!(client.positions().await, Err(BankError::NotSignedIn));
    assert_eq!(town.counts(&customer).await.sessions_open, 0);
}

#[tokio::test]
async fn behaviours_come_on_demand() {
    let cases = [
        (Behaviour::Locked, LoginOutcome::Locked { until: START + 24 * 3600 }),
        (Behaviour::ExpiredPassword, LoginOutcome::PasswordExpired),
        (Behaviour::SiteDown, LoginOutcome::SiteUnavailable),
    ];
    for (behaviour, outcome) in cases {
        let town = Town::open().await;
        let enrolled_so = town.customer("banque-jeune", Some(behaviour)).await;
        assert_eq!(enrolled_so.log_in(&mut town.client("banque-jeune")).await, outcome);
        let typed = format!("{}-padding", behaviour.word());
        let fields = [("login_type", b"business".as_slice()), ("user", b"ana12345"), ("password", typed.as_bytes())];
        assert_eq!(town.client("banc-valles").login(&fields).await.unwrap(), outcome);
    }
}

#[tokio::test]
async fn a_stopped_bank_is_unavailable_and_a_strange_authority_is_not_trusted() {
    let town = Town::open().await;
    let elsewhere = Town::open().await;
    let customer = town.customer("banc-valles", None).await;
    let address = BankAddress {
        addr: town.bank.addr,
        server_name: "localhost".to_owned(),
        ca_pem: elsewhere.bank.ca_pem.clone(),
    };
    let mut fooled = BankClient::new(&address, "banc-valles").unwrap();
    let fields: Vec<_> = customer.login.fields().collect();
    assert_eq!(fooled.login(&fields).await, Err(BankError::NotTrusted));
    let mut client = town.client("banc-valles");
    assert_eq!(customer.log_in(&mut client).await, LoginOutcome::Ok);
    town.bank.stop().await;
    assert_eq!(client.positions().await, Err(BankError::SiteUnavailable));
    assert_eq!(customer.log_in(&mut client).await, LoginOutcome::SiteUnavailable);
}

#[tokio::test]
async fn a_changed_form_gets_no_password() {
    let town = Town::open().await;
    let customer = town.customer("harbour-private", None).await;
    let mut client = town.client("banque-jeune");
    let fields: Vec<_> = customer.login.fields().collect();
    assert_eq!(client.login(&fields).await, Err(BankError::FormChanged { field: "user_id".to_owned() }));
    assert_eq!(town.bank.stats().strangers, 0, "nothing was sent");
    let few = town.client("harbour-private").login(&fields[..1]).await;
    assert_eq!(few, Err(BankError::FormChanged { field: "memorable_answer".to_owned() }));
}

#[tokio::test]
async fn the_transfer_page_counts_every_visit() {
    let town = Town::open().await;
    for path in ["/banc-valles/transfer", "/banc-valles/transfer/new", "/banque-jeune/transfer"] {
        let (status, _) = town.visitor.send(Method::POST, path, None, Bytes::new()).await.unwrap();
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    assert_eq!(town.bank.stats().transfer_hits, 3);
    let address =
        BankAddress { addr: town.bank.addr, server_name: "localhost".to_owned(), ca_pem: town.bank.ca_pem.clone() };
    for slug in ["banc-valles/transfer", "../banc-valles/transfer", "banc-valles/transfer?"] {
        assert_eq!(BankClient::new(&address, slug).err(), Some(BankError::Slug), "{slug}");
    }
}

#[tokio::test]
async fn phones_and_counts_need_their_tokens() {
    let town = Town::open().await;
    let customer = town.customer("banco-abierto", None).await;
    customer.log_in(&mut town.client("banco-abierto")).await;
    let get = async |path: &str, token| town.visitor.send(Method::GET, path, token, Bytes::new()).await.unwrap().0;
    let inbox = format!("/phone/{PHONE}/inbox");
    assert_eq!(get(&inbox, None).await, StatusCode::NOT_FOUND);
    assert_eq!(get(&inbox, Some(ADMIN)).await, StatusCode::NOT_FOUND);
    assert_eq!(get("/_admin/stats", None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/_admin/stats", Some("a wrong token of some length")).await, StatusCode::UNAUTHORIZED);
    let (status, _) = town.visitor.send(Method::POST, "/_admin/accounts", None, Bytes::new()).await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(town.sms(&customer).await.len(), 6, "refused readers took nothing");
}

#[tokio::test]
async fn people_see_forms_with_the_real_field_names() {
    let town = Town::open().await;
    for institution in institutions::all().unwrap() {
        let path = format!("/{}/", institution.slug);
        let (status, page) = town.visitor.send(Method::GET, &path, None, Bytes::new()).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        let page = String::from_utf8(page.to_vec()).unwrap();
        for field in &institution.fields {
            assert!(page.contains(&format!("name=\"{}\"", field.key)), "{} {}", institution.slug, field.key);
        }
    }
    let (status, _) = town.visitor.send(Method::GET, "/banco-real/", None, Bytes::new()).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_customers_at_once() {
    let town = Arc::new(Town::open().await);
    let all = institutions::all().unwrap();
    let mut visits = tokio::task::JoinSet::new();
    for (seed, institution) in (0..25).zip(all.into_iter().cycle()) {
        let town = Arc::clone(&town);
        visits.spawn(async move {
            let login = logins::login(&institution, seed).unwrap();
            let fields: Vec<_> = login.fields().collect();
            let phone = format!("+346000001{seed:02}");
            let wish = Enrolment { institution: &institution.slug, phone: &phone, fields: &fields, behaviour: None };
            let enrolled = town.bank.enrol(&wish).unwrap();
            let mut client = town.client(&institution.slug);
            let code = match factor(&client.login(&fields).await.unwrap()) {
                None => None,
                Some((SecondFactor::SmsOtp, _)) => {
                    let mut inbox = town.visitor.inbox(&phone, &enrolled.phone_token).await.unwrap();
                    inbox.pop().map(|sms| sms.code)
                }
                Some(_) => {
                    let mut shown = town.visitor.shown_codes(&phone, &enrolled.phone_token).await.unwrap();
                    shown.pop().map(|shown| shown.code)
                }
            };
            if let Some(code) = code {
                assert_eq!(client.submit_code(code.as_bytes()).await, Ok(CodeOutcome::Ok));
            }
            assert!(!client.positions().await.unwrap().positions.is_empty());
            client.logout().await.unwrap();
        });
    }
    let mut visited = 0;
    while let Some(visit) = visits.join_next().await {
        visit.unwrap();
        visited += 1;
    }
    let stats = town.bank.stats();
    assert_eq!((visited, stats.sign_ins), (25, 25));
    assert_eq!((stats.wrong_logins, stats.sessions_open, stats.transfer_hits), (0, 0, 0));
}

#[tokio::test]
async fn a_guessable_admin_token_is_refused() {
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        certificate: Certificate::Generated,
        admin_token: "short".to_owned(),
        clock: Arc::new(|| START),
        institutions: Vec::new(),
    };
    assert!(matches!(TestBank::start(config).await, Err(StartError::AdminToken)));
}
