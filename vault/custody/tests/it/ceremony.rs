//! Key ceremonies on a token that misbehaves: what only hsm-sim can play.

use std::sync::{Arc, Mutex};

use cofre_custody::pkcs11::ceremony::{Begun, Failed, Reached, Use};
use cofre_custody::pkcs11::{Settings, ceremony};
use cofre_custody::{Cause, Operation};
use cofre_testkit::hsm::Module;
use cryptoki::object::Attribute;

use crate::bench::{Child, Runs, faults, faults_in, run_each, slab};
use crate::contract::{Case, USER_PIN, by_hand, cases, names, open, pin, prepared_in_silence, settings};

pub(crate) const CASES: &[Case] = cases![
    a_token_that_takes_no_objects_is_read_only,
    a_key_that_may_leave_in_spite_of_its_template_is_not_recorded,
    a_token_that_fails_half_way_keeps_what_was_made,
    a_token_that_does_not_open_on_its_new_keys_leaves_word_of_them,
    each_step_is_heard_as_it_is_taken,
    a_first_login_without_an_answer_leaves_the_pin_in_doubt,
];

#[test]
fn a_ceremony_on_a_token_that_misbehaves_says_so() {
    for runs in [Runs::Hosted, Runs::Inside] {
        run_each("contract::child", &names(CASES), &prepared_in_silence(), Module::HsmSim, runs);
    }
}

fn wanted(child: &Child) -> Settings {
    Settings { key_label: "root-2".into(), signer_label: Some("ledger-2".into()), ..settings(child) }
}

async fn failed(child: &Child) -> Failed {
    *ceremony::perform(wanted(child), pin(USER_PIN), &slab(), |_| {}).await.map(drop).expect_err("refused")
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
    let plan = "[[rule]]\nfunction = \"C_OpenSession\"\nreturn = \"CKR_TOKEN_NOT_PRESENT\"\n";
    // By then the keys are made in a session that is open.
    let tokens = child.tokens.clone();
    let heard = move |begun: &[Begun]| {
        if let [_, Begun { reached: Reached::ReadBack, .. }] = begun {
            faults_in(&tokens, plan);
        }
    };
    let left = *ceremony::perform(wanted(child), pin(USER_PIN), &slab(), heard).await.map(drop).expect_err("refused");
    let both = [(Use::Wrap, "root-2", Reached::ReadBack), (Use::Sign, "ledger-2", Reached::ReadBack)];
    assert_eq!(reached(&left), both, "{}", left.fault);
    let performed = left.performed.expect("it was performed");
    assert_eq!((performed.witness.len(), performed.keys.len()), (92, 2));
    faults(child, "");
    assert_eq!((labelled(child, "root-2"), labelled(child, "ledger-2")), (1, 2));
}

/// What the token is told to make is heard as it goes on, each step with those before it.
async fn each_step_is_heard_as_it_is_taken(child: &Child) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (kept, hosted) = (Arc::clone(&steps), child.runs == Runs::Hosted);
    let tokens = child.tokens.clone();
    let heard = move |begun: &[Begun]| {
        let of = |begun: &Begun| (begun.key.used_to, begun.reached);
        kept.lock().expect("whole").push(begun.iter().map(of).collect::<Vec<_>>());
        // In one process the step waits for it: the token that is gone by then makes nothing.
        if let ([Begun { reached: Reached::Asked, .. }], false) = (begun, hosted) {
            faults_in(&tokens, "[[rule]]\nfunction = \"C_GenerateKey\"\nreturn = \"CKR_DEVICE_ERROR\"\n");
        }
    };
    let done = ceremony::perform(wanted(child), pin(USER_PIN), &slab(), heard).await.map(drop);
    let steps = std::mem::take(&mut *steps.lock().expect("whole"));
    let wrap = |reached| (Use::Wrap, reached);
    if hosted {
        done.unwrap_or_else(|failed| panic!("{}", failed.fault));
        let sign = |reached| vec![wrap(Reached::ReadBack), (Use::Sign, reached)];
        let [asked, made, back] = [Reached::Asked, Reached::Made, Reached::ReadBack];
        let first = [vec![wrap(asked)], vec![wrap(made)], vec![wrap(back)]];
        assert_eq!(steps, [&first[..], &[sign(asked), sign(made), sign(back)]].concat());
    } else {
        assert_eq!(done.expect_err("refused").fault.cause, Cause::Transient);
        assert_eq!(steps, [vec![wrap(Reached::Asked)]]);
        faults(child, "");
        assert_eq!(labelled(child, "root-2"), 0, "heard before the token was told");
    }
}

async fn a_first_login_without_an_answer_leaves_the_pin_in_doubt(child: &Child) {
    faults(child, "[[rule]]\nfunction = \"C_Login\"\nreturn = \"CKR_DEVICE_ERROR\"\n");
    assert_eq!(refused(child).await.cause, Cause::PinInDoubt);
    assert_eq!(crate::bench::count(child, "C_Login"), 1, "one try");
}
