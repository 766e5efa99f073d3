//! Chains that a right root stands behind and that hold nothing: each is refused before any handler runs. The authority
//! here issues whatever it is told, which the test kit's own does not.

use cofre_model::reason::Reason;
use cofre_model::time::{Clock, Span, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose as Usage,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, RevokedCertParams, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{House, Plan, WORKER, presents, revocations, with_material};

/// keyUsage (RFC 5280, 4.2.1.3).
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
/// A bit string whose first bit is set: digitalSignature.
const DIGITAL_SIGNATURE: &[u8] = &[3, 2, 7, 0x80];

fn calendar(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(i64::try_from(at.secs()).expect("a time")).expect("a time")
}

struct Authority {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    revokes: Vec<SerialNumber>,
}

/// A leaf with what stands above it, the leaf first, and its key.
struct Chain(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// All authorities of this file at one instant.
struct Bench {
    now: Timestamp,
}

impl Bench {
    fn params(&self, name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = calendar(self.now.minus(Span::days(1)));
        params.not_after = calendar(self.now.plus(Span::days(30)));
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn authority(
        &self,
        name: &str,
        above: Option<&Authority>,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Authority {
        let mut params = self.params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        adjust(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = match above {
            Some(above) => params.signed_by(&key, &above.issuer),
            None => params.self_signed(&key),
        };
        let der = certificate.expect("signed").der().clone();
        Authority { der, issuer: Issuer::new(params, key), revokes: Vec::new() }
    }

    fn leaf(&self, issuer: &Authority, above: &[&Authority], adjust: impl FnOnce(&mut CertificateParams)) -> Chain {
        self.leaf_of(&PKCS_ECDSA_P256_SHA256, issuer, above, adjust)
    }

    fn leaf_of(
        &self,
        kind: &'static SignatureAlgorithm,
        issuer: &Authority,
        above: &[&Authority],
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Chain {
        let mut params = self.params("leaf");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![Usage::DigitalSignature];
        params.extended_key_usages = vec![Purpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(WORKER.try_into().expect("ASCII"))];
        adjust(&mut params);
        let key = KeyPair::generate_for(kind).expect("a key");
        let certificate = params.signed_by(&key, &issuer.issuer).expect("signed");
        let chain = std::iter::once(certificate.der().clone()).chain(above.iter().map(|each| each.der.clone()));
        Chain(chain.collect(), PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8"))
    }

    fn list(&self, of: &Authority) -> String {
        let revoked = |serial: &SerialNumber| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: calendar(self.now),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: calendar(self.now.minus(Span::hours(1))),
            next_update: calendar(self.now.plus(Span::days(7))),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: of.revokes.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&of.issuer).expect("signed").pem().expect("PEM")
    }
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// The house trusts `root` as well, by the lists of `listed`.
fn trust(house: &House, bench: &Bench, root: &Authority, listed: &[&Authority]) {
    let bundle = house.ca.bundle_pem() + &pem(&root.der);
    let lists: String = listed.iter().map(|each| bench.list(each)).collect();
    let lists = revocations(&house.ca, &[], house.clock.now()) + &lists;
    let reloaded = with_material(&house.node, &bundle, &lists, |material| house.standing.reload(material));
    reloaded.expect("good material");
}

async fn refused(house: &House, cases: Vec<(&str, Chain)>) {
    let before = house.register.all().len();
    for (count, (name, Chain(chain, key))) in cases.into_iter().enumerate() {
        assert!(!presents(house, chain, &key).await, "{name} was let in");
        house.register.has(before + count + 1).await;
        let refusal = house.register.last();
        assert_eq!((refusal.reason, refusal.caller), (Reason::PeerUntrusted, None), "{name}");
        assert_eq!((house.reached(), house.standing.connections()), (0, 0), "{name}");
    }
}

async fn accepted(house: &House, name: &str, Chain(chain, key): Chain) {
    assert!(presents(house, chain, &key).await, "{name} was refused");
    while house.standing.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn chains_that_hold_nothing_reach_nobody() {
    let house = Plan::new().open().await;
    let bench = Bench { now: house.clock.now() };
    let plain = |_: &mut CertificateParams| {};
    let root = bench.authority("root", None, plain);
    let good = bench.authority("good", Some(&root), plain);
    let inner = bench.authority("inner", Some(&good), plain);
    let short = bench.authority("short", Some(&root), |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = bench.authority("below short", Some(&short), plain);
    let no_bit = bench.authority("no authority", Some(&root), |it| it.is_ca = IsCa::ExplicitNoCa);
    let silent = bench.authority("says nothing", Some(&root), |it| it.is_ca = IsCa::NoCa);
    let no_sign = bench
        .authority("may not sign", Some(&root), |it| it.key_usages = vec![Usage::DigitalSignature, Usage::CrlSign]);
    let servers = bench.authority("for servers", Some(&root), |it| {
        it.extended_key_usages = vec![Purpose::ServerAuth];
    });
    let old = bench.authority("old", Some(&root), |it| it.not_after = calendar(bench.now.minus(Span::secs(1))));
    let unlisted = bench.authority("unlisted", Some(&root), plain);
    let other_root = bench.authority("root", None, plain);
    let forged = bench.authority("good", Some(&other_root), plain);
    let lists = [&root, &good, &inner, &short, &below, &no_bit, &silent, &no_sign, &servers, &old];
    trust(&house, &bench, &root, &lists);

    let mut long = vec![bench.authority("0", Some(&root), plain)];
    for number in 1..20 {
        let next = bench.authority(&number.to_string(), long.last(), plain);
        long.push(next);
    }
    let above: Vec<&Authority> = long.iter().rev().collect();
    let Chain(mut swapped, _) = bench.leaf(&good, &[&good], plain);
    swapped.truncate(1);
    let Chain(_, other_key) = bench.leaf(&good, &[&good], plain);
    let authority_key = PrivateKeyDer::try_from(good.issuer.key().serialize_der()).expect("PKCS#8");
    let dated = |from, until| {
        bench.leaf(&good, &[&good], |it: &mut CertificateParams| {
            (it.not_before, it.not_after) = (calendar(from), calendar(until));
        })
    };
    let (hour, now) = (Span::hours(1), bench.now);
    let named = |uri: &str| {
        let uri = SanType::URI(uri.try_into().expect("ASCII"));
        bench.leaf(&good, &[&good], |it| it.subject_alt_names = vec![uri])
    };
    refused(
        &house,
        vec![
            ("an intermediate that is no authority", bench.leaf(&no_bit, &[&no_bit], plain)),
            ("an intermediate without basic constraints", bench.leaf(&silent, &[&silent], plain)),
            ("an intermediate whose key may not sign", bench.leaf(&no_sign, &[&no_sign], plain)),
            ("an intermediate for servers only", bench.leaf(&servers, &[&servers], plain)),
            ("a path longer than allowed", bench.leaf(&below, &[&below, &short], plain)),
            ("an expired intermediate", bench.leaf(&old, &[&old], plain)),
            ("an intermediate without a revocation list", bench.leaf(&unlisted, &[&unlisted], plain)),
            ("the right names under another key", bench.leaf(&forged, &[&forged], plain)),
            ("the same, with the true intermediate beside", bench.leaf(&forged, &[&good], plain)),
            ("a missing intermediate", bench.leaf(&good, &[], plain)),
            ("a chain of twenty-one", bench.leaf(&long[19], &above, plain)),
            ("a chain of five", bench.leaf(&good, &[&good, &root, &inner, &short], plain)),
            ("another leaf's key", Chain([swapped, vec![good.der.clone()]].concat(), other_key)),
            ("an authority itself", Chain(vec![good.der.clone()], authority_key)),
            ("an hour after its end", dated(now.minus(Span::days(1)), now.minus(hour))),
            ("an hour before its start", dated(now.plus(hour), now.plus(Span::days(1)))),
            ("valid until before it was valid from", dated(now.plus(hour), now.minus(hour))),
            (
                "a key usage that need not be understood",
                bench.leaf(&good, &[&good], |it| {
                    it.key_usages.clear();
                    it.custom_extensions =
                        vec![CustomExtension::from_oid_content(KEY_USAGE, DIGITAL_SIGNATURE.to_vec())];
                }),
            ),
            (
                "the name in the subject alone",
                bench.leaf(&good, &[&good], |it| {
                    it.subject_alt_names.clear();
                    it.distinguished_name.push(DnType::CommonName, WORKER);
                }),
            ),
            (
                "the name as a DNS name",
                bench.leaf(&good, &[&good], |it| {
                    it.subject_alt_names = vec![SanType::DnsName("cofre.test".try_into().expect("ASCII"))];
                }),
            ),
            (
                "no basic constraints and a key that signs",
                bench.leaf(&good, &[&good], |it| {
                    it.is_ca = IsCa::NoCa;
                    it.key_usages.push(Usage::KeyCertSign);
                }),
            ),
            ("code signing", bench.leaf(&good, &[&good], |it| it.extended_key_usages = vec![Purpose::CodeSigning])),
            ("the same name in another trust domain", named("spiffe://other.test/worker/pool-a/w1")),
            ("a trust domain with a dot at its end", named("spiffe://cofre.test./worker/pool-a/w1")),
            ("a path that only begins like one", named("spiffe://cofre.test/worker/pool-a")),
            ("a fragment", named("spiffe://cofre.test/worker/pool-a/w1#x")),
        ],
    )
    .await;
    // The controls: what differs from each of these in the one thing that is named is let in.
    accepted(&house, "one intermediate", bench.leaf(&good, &[&good], plain)).await;
    accepted(&house, "two intermediates", bench.leaf(&inner, &[&inner, &good], plain)).await;
    accepted(&house, "the shortest path", bench.leaf(&short, &[&short], plain)).await;
    accepted(&house, "Ed25519", bench.leaf_of(&PKCS_ED25519, &good, &[&good], plain)).await;
    accepted(&house, "P-384", bench.leaf_of(&PKCS_ECDSA_P384_SHA384, &good, &[&good], plain)).await;
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    let house = Plan::new().open().await;
    let bench = Bench { now: house.clock.now() };
    let mut root = bench.authority("root", None, |_| {});
    root.revokes = (1_u64..=20_000).map(SerialNumber::from).collect();
    trust(&house, &bench, &root, &[&root]);
    let numbered = |number: u64| bench.leaf(&root, &[], |it| it.serial_number = Some(SerialNumber::from(number)));
    refused(&house, vec![("the first", numbered(1)), ("the last", numbered(20_000))]).await;
    accepted(&house, "one that is not on it", numbered(20_001)).await;
}

#[tokio::test]
async fn a_new_certificate_does_not_clear_a_revoked_one() {
    let house = Plan::new().open().await;
    let (old, new) = (house.issue(WORKER), house.issue(WORKER));
    house.revoke(&[&old.serial()]);
    let chain = |issued: &cofre_testkit::ca::Issued| {
        let ders = CertificateDer::pem_slice_iter(issued.chain_pem().as_bytes()).map(|each| each.expect("PEM"));
        Chain(ders.collect(), PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).expect("PEM"))
    };
    refused(&house, vec![("the old one", chain(&old))]).await;
    accepted(&house, "the new one", chain(&new)).await;
    refused(&house, vec![("the old one again", chain(&old))]).await;
}
