//! Files that change are taken, files that do not work are not, and the end of the lists is warned of in time.

use cofre_testkit::ca::{Options, TestCa};
use cofre_testkit::clock::TestClock;
use tempfile::TempDir;

use super::*;
use crate::config::SecretRef;

const DOMAIN: &str = "cofre.test";
const NODE: &str = "spiffe://cofre.test/node/eu-nl/n1";

struct House {
    folder: TempDir,
    ca: TestCa,
    clock: Arc<TestClock>,
}

impl House {
    fn new() -> Self {
        let clock = Arc::new(TestClock::default());
        let house = Self {
            folder: TempDir::new().expect("a folder"),
            ca: TestCa::new(DOMAIN, clock.now()).expect("a root"),
            clock,
        };
        let node = house.ca.issue(NODE, &Options::default()).expect("a certificate");
        house.write("node.pem", node.chain_pem());
        house.write("node.key", &node.key_pem());
        house.write("bundle.pem", &house.ca.bundle_pem());
        house.revoke(&[], Span::days(8));
        house
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn revoke(&self, serials: &[&[u8]], lives: Span) {
        let now = self.clock.now();
        self.write("crl.pem", &self.ca.revocations(serials, now, now.plus(lives)).expect("lists"));
    }

    fn files(&self) -> config::Identity {
        let at = |name: &str| self.folder.path().join(name);
        config::Identity {
            trust_domain: DOMAIN.to_owned(),
            certificate: at("node.pem"),
            key: SecretRef::File(at("node.key")),
            bundle: at("bundle.pem"),
            revocations: at("crl.pem"),
        }
    }

    fn watch(&self) -> Watch {
        let identity = Identity::read(&self.files()).expect("readable");
        let clock: Arc<dyn Clock> = self.clock.clone();
        let standing = Standing::new(&identity.material(), DOMAIN, Arc::clone(&clock)).expect("good material");
        Watch::new(self.files(), identity.spiffe_id, standing, clock)
    }
}

#[test]
fn a_new_list_is_taken_and_an_unchanged_one_is_left_alone() {
    let house = House::new();
    let mut watch = house.watch();
    watch.look(false);
    let first = watch.standing.revocations_until();
    house.clock.advance(Span::hours(1));
    watch.look(false);
    assert_eq!(watch.standing.revocations_until(), first);
    house.revoke(&[&[1, 2, 3]], Span::days(9));
    watch.look(false);
    assert_eq!(watch.standing.revocations_until(), house.clock.now().plus(Span::days(9)));
}

#[test]
fn files_that_do_not_work_change_nothing_until_they_do() {
    let house = House::new();
    let mut watch = house.watch();
    watch.look(false);
    let first = watch.standing.revocations_until();
    house.write("crl.pem", "half a li");
    watch.look(false);
    assert!(watch.failing.is_some());
    std::fs::remove_file(house.folder.path().join("crl.pem")).expect("removed");
    watch.look(true);
    assert_eq!((watch.standing.revocations_until(), watch.failing.is_some()), (first, true));
    house.revoke(&[], Span::days(20));
    watch.look(false);
    assert_eq!(watch.standing.revocations_until(), house.clock.now().plus(Span::days(20)));
    assert!(watch.failing.is_none());
}

#[test]
fn another_nodes_certificate_is_not_taken_while_running() {
    let house = House::new();
    let mut watch = house.watch();
    let other = house.ca.issue("spiffe://cofre.test/node/eu-nl/n2", &Options::default()).expect("a certificate");
    house.write("node.pem", other.chain_pem());
    house.write("node.key", &other.key_pem());
    assert!(watch.reload_all().expect_err("refused").to_string().contains("another node's"));
    assert!(!watch.reload().expect("the lists"), "not everything is taken");
}

#[test]
fn a_pair_that_does_not_fit_does_not_keep_revocations_from_counting() {
    let house = House::new();
    let mut watch = house.watch();
    watch.look(false);
    // Renewed with another key, which a credential of the start does not follow.
    let renewed = house.ca.issue(NODE, &Options::default()).expect("a certificate");
    house.write("node.pem", renewed.chain_pem());
    house.revoke(&[&[1, 2, 3]], Span::days(9));
    watch.look(false);
    assert_eq!(watch.standing.revocations_until(), house.clock.now().plus(Span::days(9)), "the lists count");
    assert!(watch.failing.is_some(), "the pair is tried again");
    house.write("node.key", &renewed.key_pem());
    watch.look(false);
    assert!(watch.failing.is_none(), "a pair that fits is taken");
}

#[test]
fn the_end_of_the_lists_is_warned_of_in_the_last_quarter_and_then_daily() {
    let start = Timestamp::from_secs(1_790_000_000);
    let mut renewal = Renewal::of(start, start.plus(Span::days(8)));
    let mut warned = Vec::new();
    for hour in 0..8 * 24 {
        if renewal.is_due(start.plus(Span::hours(hour))) {
            warned.push(hour);
        }
    }
    assert_eq!(warned, [6 * 24, 7 * 24]);
}
