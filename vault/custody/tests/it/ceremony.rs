//! Key ceremonies on a token that misbehaves: what only hsm-sim can play.

use cofre_custody::pkcs11::ceremony::{Failed, Reached, Use};
use cofre_custody::pkcs11::{Settings, ceremony};
use cofre_custody::{Cause, Operation};
use cofre_testkit::hsm::Module;
use cryptoki::object::Attribute;

use crate::bench::{Child, Runs, faults, run_each, slab};
use crate::contract::{Case, USER_PIN, by_hand, cases, names, open, pin, prepared_in_silence, settings};

pub(crate) const CASES: &[Case] = cases![
    a_token_that_takes_no_objects_is_read_only,
    a_key_that_may_leave_in_spite_of_its_template_is_not_recorded,
    a_token_that_fails_half_way_keeps_what_was_made,
    a_token_that_does_not_open_on_its_new_keys_leaves_word_of_them,
    a_first_login_without_an_answer_leaves_the_pin_in_doubt,
];

#[test]
fn a_ceremony_on_a_token_that_misbehaves_says_so() {
    for runs in [Runs::Hosted, Runs::Inside] {
        let mut cases = names(CASES);
        // A host that makes keys and one that opens the token count their calls apart: no plan tells them from each other.
        cases.retain(|case| runs == Runs::Inside || !case.ends_with(ONE_PROCESS));
        assert_eq!(cases.len(), CASES.len() - usize::from(runs == Runs::Hosted));
        run_each("contract::child", &cases, &prepared_in_silence(), Module::HsmSim, runs);
    }
}

const ONE_PROCESS: &str = "a_token_that_does_not_open_on_its_new_keys_leaves_word_of_them";

fn wanted(child: &Child) -> Settings {
    Settings { key_label: "root-2".into(), signer_label: Some("ledger-2".into()), ..settings(child) }
}

async fn failed(child: &Child) -> Failed {
    *ceremony::perform(wanted(child), pin(USER_PIN), &slab()).await.map(drop).expect_err("refused")
}

async fn refused(child: &Child) -> cofre_custody::Fault {
    failed(child).await.fault
}

/// What each key is for, and how far it came.
fn reached(failed: &Failed) -> Vec<(Use, &str, Reached)> {
    failed.begun.iter().map(|begun| (begun.key.used_to, begun.key.label.as_str(), begun.reached)).collect()
}

fn labelled(child: &Child, label: &str) -> usize {
    by_hand(child).find_objects(&[Attribute::Token(true), Attribute::Label(label.into())]).expect("a list").len()
}

async fn a_token_that_takes_no_objects_is_read_only(child: &Child) {
    faults(child, "[[rule]]\nfunction = \"C_OpenSession\"\nreturn = \"CKR_TOKEN_WRITE_PROTECTED\"\n");
    let fault = refused(child).await;
    assert_eq!(fault.cause, Cause::TokenReadOnly);
    assert!(fault.to_string().contains("write protection"), "{fault}");
    faults(child, "");
    assert_eq!((labelled(child, "root-2"), labelled(child, "ledger-2")), (0, 0));
}

/// It stays, because nothing is deleted here; and nothing opens on it.
async fn a_key_that_may_leave_in_spite_of_its_template_is_not_recorded(child: &Child) {
    faults(child, "[quirks]\nmakes_extractable = true\n");
    let left = failed(child).await;
    assert_eq!(reached(&left), [(Use::Wrap, "root-2", Reached::Made)], "made, and not as asked");
    let fault = left.fault;
    assert_eq!((fault.operation, fault.cause), (Operation::MakeKey, Cause::KeyUnsafe));
    let said = fault.to_string();
    assert!(
        said.contains("says true of its CKA_EXTRACTABLE, not false") && said.contains("stays on the token"),
        "{said}"
    );
    faults(child, "");
    assert_eq!((labelled(child, "root-2"), labelled(child, "ledger-2")), (1, 0), "the second key was not made");
    let alone = Settings { signer_label: None, ..wanted(child) };
    assert_eq!(open(alone).await.map(drop).expect_err("unsafe").cause, Cause::KeyUnsafe);
    assert_eq!(refused(child).await.cause, Cause::KeyExists, "the label is taken now");
}

async fn a_token_that_fails_half_way_keeps_what_was_made(child: &Child) {
    // The rehearsed pair is the first.
    faults(child, "[[rule]]\nfunction = \"C_GenerateKeyPair\"\nafter = 1\nreturn = \"CKR_DEVICE_ERROR\"\n");
    let left = failed(child).await;
    assert_eq!(left.fault.cause, Cause::Transient);
    assert_eq!(
        reached(&left),
        [(Use::Wrap, "root-2", Reached::ReadBack), (Use::Sign, "ledger-2", Reached::Asked)],
        "the first is on the token, of the second nobody knows"
    );
    let [root, _] = &left.begun[..] else { panic!("two keys") };
    assert!(root.key.kind == "AES-256" && root.key.objects.len() == 1, "{root:?}");
    faults(child, "");
    assert_eq!((labelled(child, "root-2"), labelled(child, "ledger-2")), (1, 0));
    let again = failed(child).await;
    assert_eq!((again.fault.cause, again.begun), (Cause::KeyExists, Vec::new()), "nothing was told to be made");
}

/// Both keys are made and read back, and the token does not open on them a moment later.
async fn a_token_that_does_not_open_on_its_new_keys_leaves_word_of_them(child: &Child) {
    // The session that makes the keys is the first.
    faults(child, "[[rule]]\nfunction = \"C_OpenSession\"\nafter = 1\nreturn = \"CKR_TOKEN_NOT_PRESENT\"\n");
    let left = failed(child).await;
    let both = [(Use::Wrap, "root-2", Reached::ReadBack), (Use::Sign, "ledger-2", Reached::ReadBack)];
    assert_eq!(reached(&left), both, "{}", left.fault);
    let performed = left.performed.expect("it was performed");
    assert_eq!((performed.witness.len(), performed.keys.len()), (92, 2));
    faults(child, "");
    assert_eq!((labelled(child, "root-2"), labelled(child, "ledger-2")), (1, 2));
}

async fn a_first_login_without_an_answer_leaves_the_pin_in_doubt(child: &Child) {
    faults(child, "[[rule]]\nfunction = \"C_Login\"\nreturn = \"CKR_DEVICE_ERROR\"\n");
    assert_eq!(refused(child).await.cause, Cause::PinInDoubt);
    assert_eq!(crate::bench::count(child, "C_Login"), 1, "one try");
}
