//! From a certificate to a caller: raw DER, bent certificates, certificates built to order, and names as text.
//!
//! What must hold: a certificate built to order is taken exactly where every rule of X509-SVID and of this deployment
//! is kept; who is taken bears the very URI of the certificate, in the trust domain, and the digest of its bytes; no
//! name has two spellings.

mod order;

use cofre_edge::limits::CERTIFICATE_BYTES;
use cofre_edge::peer::{PeerError, caller_from_certificate};
use cofre_envelope::sha256;
use cofre_model::caller::SpiffeId;

use crate::input::Input;
use order::Order;

const TRUST_DOMAIN: &str = "cofre.test";

/// The first byte says whether what follows is DER, bends a good certificate, orders one, or is a name.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => read(input.rest()),
        1 => read(&input.bend(&Order::good().der())),
        2 => ordered(&Order::from(&mut input)),
        _ => named(&String::from_utf8_lossy(input.rest())),
    }
}

/// A certificate nobody vouches for.
fn read(der: &[u8]) {
    let read = caller_from_certificate(der, TRUST_DOMAIN);
    assert_eq!(read, caller_from_certificate(der, TRUST_DOMAIN), "the same bytes gave two answers");
    let caller = match read {
        Ok(caller) => caller,
        Err(problem) => {
            assert!(der.len() <= CERTIFICATE_BYTES || problem == PeerError::TooLarge, "{problem}");
            return;
        }
    };
    let name = caller.identity().to_string();
    assert_eq!(caller.fingerprint(), &sha256(der));
    assert!(der.len() <= CERTIFICATE_BYTES && name.starts_with("spiffe://cofre.test/"));
    assert!(
        der.windows(name.len()).any(|window| window == name.as_bytes()),
        "{name} stands nowhere in the certificate"
    );
    named(&name);
    let mut longer = der.to_vec();
    longer.push(0);
    assert!(caller_from_certificate(&longer, TRUST_DOMAIN).is_err(), "bytes behind the certificate were let pass");
    assert!(caller_from_certificate(der, "cofre.tes").is_err() && caller_from_certificate(der, "other.test").is_err());
}

/// A certificate whose every property is known.
fn ordered(order: &Order) {
    let der = order.der();
    read(&der);
    let read = caller_from_certificate(&der, TRUST_DOMAIN);
    let expected = order.identity().filter(|_| der.len() <= CERTIFICATE_BYTES);
    assert_eq!(read.as_ref().ok().map(|caller| caller.identity().to_string()), expected, "{order:?}: {read:?}");
}

/// A text as a name: its rules told again, segment by segment.
fn named(text: &str) {
    let parsed = SpiffeId::parse(text, TRUST_DOMAIN);
    let expected = order::is_identity(text.as_bytes());
    assert_eq!(parsed.is_ok(), expected, "{text:?}: {parsed:?}");
    if let Ok(id) = parsed {
        assert_eq!(id.to_string(), text);
        assert_eq!(id.tenant().is_some(), text.contains("/tenant/"));
    }
}

/// Good and bad certificates of each kind, and names.
#[must_use]
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let with = |first: u8, rest: &[u8]| [&[first], rest].concat();
    let mut seeds = vec![
        ("der-good".to_owned(), with(0, &Order::good().der())),
        ("bent-good".to_owned(), vec![1, 0]),
        ("bent-once".to_owned(), vec![1, 1, 1, 0, 140, 9]),
        ("ordered-plain".to_owned(), with(2, &Order::GOOD)),
    ];
    for place in 0..Order::GOOD.len() {
        let mut choices = Order::GOOD;
        choices[place] ^= 3;
        seeds.push((format!("ordered-{place:02}"), with(2, &choices)));
    }
    for (place, name) in order::NAMES.iter().enumerate() {
        seeds.push((format!("name-{place:02}"), with(3, name)));
    }
    seeds
}
