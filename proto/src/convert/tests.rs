//! The wire's closed lists are the model's: same numbers, same names, nothing more and nothing less.

use cofre_model::consent::ConsentState;
use cofre_model::credential::CredentialState;
use cofre_model::entry::{EntryKind, Verdict};
use cofre_model::reason::Reason;
use cofre_model::request::SealSuite;
use cofre_model::wording::{Attendance, Class, Form, Locale, Outcome, Purpose, ScaKind, Scope};

use crate::v1;

macro_rules! same {
    ($($model:ident as $wire:ident under $prefix:literal;)*) => {$(
        for value in $model::ALL {
            let wire = v1::$wire::try_from(value.number()).expect("on the wire");
            let expected = format!("{}_{}", $prefix, value.as_str().to_uppercase());
            assert_eq!(wire.as_str_name(), expected);
        }
        let highest = $model::ALL.iter().map(|value| value.number()).max().unwrap_or_default();
        assert!(v1::$wire::try_from(highest + 1).is_err(), "{} has more values on the wire", $prefix);
        assert_eq!($model::ALL.len(), usize::try_from(highest).expect("small"), "{} has gaps", $prefix);
    )*};
}

#[test]
fn closed_lists_are_the_same_on_both_sides() {
    same! {
        Purpose as Purpose under "PURPOSE";
        Scope as Scope under "SCOPE";
        Class as Class under "CLASS";
        Form as Form under "FORM";
        Locale as Locale under "LOCALE";
        Outcome as Outcome under "OUTCOME";
        ScaKind as ScaKind under "SCA_KIND";
        SealSuite as SealSuite under "SEAL_SUITE";
        CredentialState as CredentialState under "CREDENTIAL_STATE";
        ConsentState as ConsentState under "CONSENT_STATE";
        EntryKind as EntryKind under "ENTRY_KIND";
        Verdict as Verdict under "VERDICT";
        Attendance as Attendance under "ATTENDANCE";
        Reason as Reason under "REASON";
    }
}

#[test]
fn only_a_workers_name_of_this_trust_domain_is_a_worker() {
    let good = "spiffe://cofre.test/worker/pool-a/w1";
    assert_eq!(super::worker(good, "cofre.test").map(|id| id.to_string()).as_deref(), Ok(good));
    for bad in ["", "spiffe://other.test/worker/pool-a/w1", "spiffe://cofre.test/node/eu/n1", "worker/pool-a/w1"] {
        assert_eq!(super::worker(bad, "cofre.test").expect_err(bad).field, "spiffe_id");
    }
}

#[test]
fn searches_are_bounded() {
    let plain = super::search(v1::SearchRequest::default()).expect("everything");
    assert_eq!((plain.page.from, plain.page.to, plain.page.limit), (0, u64::MAX, 100));
    let field = |wire: v1::SearchRequest| super::search(wire).expect_err("refused").field;
    assert_eq!(field(v1::SearchRequest { limit: 501, ..Default::default() }), "limit");
    assert_eq!(field(v1::SearchRequest { caller: "a\nb".to_owned(), ..Default::default() }), "caller");
    assert_eq!(field(v1::SearchRequest { caller: "a".repeat(2_049), ..Default::default() }), "caller");
    assert_eq!(field(v1::SearchRequest { kind: "granted".to_owned(), ..Default::default() }), "kind");
}

#[test]
fn a_seal_key_has_the_length_of_its_suite() {
    for (suite, len) in [(1, 1_216), (2, 32)] {
        assert!(super::seal_key("seal_key", suite, vec![9; len]).is_ok());
        for other in [0, 31, 33, 1_215, 1_217, 2_048] {
            assert_eq!(super::seal_key("seal_key", suite, vec![9; other]).expect_err("refused").field, "seal_key");
        }
    }
}
