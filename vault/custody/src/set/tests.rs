//! What is a custody set, and where its shares belong.

use super::*;

#[test]
fn a_set_survives_its_text_and_rules_differ_in_digest() {
    for text in [
        "any_of(hsm-1)",
        "all_of(hsm-1,kms-1)",
        "any_of(a,b,c)",
        "all_of(hsm-1,any_of(kms-1,kms-2))",
        "any_of(all_of(a,b),c,all_of(d,e))",
    ] {
        let set: CustodySet = text.parse().expect("valid");
        assert_eq!(set.to_string(), text);
    }
    let any: CustodySet = "any_of(a,b)".parse().expect("valid");
    let all: CustodySet = "all_of(a,b)".parse().expect("valid");
    let turned: CustodySet = "all_of(b,a)".parse().expect("valid");
    assert_ne!(any.digest(), all.digest());
    assert_ne!(all.digest(), turned.digest());
}

/// Every custodian with the index and count of its share.
fn places(text: &str) -> Vec<(String, u16, u16)> {
    let set: CustodySet = text.parse().expect("valid");
    let mut all = Vec::new();
    for (member, place) in set.members() {
        for (custodian, nth) in member.custodians().iter().zip(0u16..) {
            let Place { index, count } = set.place(place, nth);
            all.push((custodian.to_string(), index, count));
        }
    }
    all
}

#[test]
fn a_share_has_its_place_by_the_rule_it_stands_under() {
    let named = |name: &str, index, count| (name.to_owned(), index, count);
    assert_eq!(places("any_of(a,b)"), [named("a", 0, 1), named("b", 0, 1)]);
    assert_eq!(places("all_of(a,b)"), [named("a", 0, 2), named("b", 1, 2)]);
    assert_eq!(places("all_of(a,any_of(b,c))"), [named("a", 0, 2), named("b", 1, 2), named("c", 1, 2)]);
    assert_eq!(places("any_of(a,all_of(b,c))"), [named("a", 0, 1), named("b", 0, 2), named("c", 1, 2)]);
}

#[test]
fn what_is_no_set_is_refused() {
    for (text, wrong) in [
        ("", SetError::Form),
        ("any_of", SetError::Form),
        ("any_of(a", SetError::Form),
        ("some_of(a)", SetError::Form),
        ("any_of(a, b)", SetError::Form),
        ("any_of(A)", SetError::Form),
        ("all_of(a,all_of(b,c))", SetError::Form),
        ("all_of(a,any_of(b,all_of(c,d)))", SetError::Form),
        ("all_of(a,any_of(b,c)", SetError::Form),
        ("all_of(a,any_of(b,c)d)", SetError::Form),
        ("all_of(a,any_of(b,c),)", SetError::Form),
        ("all_of(a,)", SetError::Form),
        ("all_of(,a)", SetError::Form),
        ("all_of(any_of(a)(b))", SetError::Form),
        ("all_of(a))", SetError::Form),
        ("all_of(a,any_of())", SetError::Empty),
        ("any_of(a,b,c,d,all_of(e,f,g,h,i))", SetError::TooMany),
        ("any_of()", SetError::Empty),
        ("any_of(a,b,c,d,e,f,g,h,i)", SetError::TooMany),
    ] {
        assert_eq!(text.parse::<CustodySet>(), Err(wrong), "{text}");
    }
    for twice in ["all_of(a,a)", "all_of(a,any_of(b,a))", "any_of(all_of(a,b),all_of(c,b))"] {
        assert!(matches!(twice.parse::<CustodySet>(), Err(SetError::Twice(_))), "{twice}");
    }
}

#[test]
fn any_opens_with_one_and_all_with_every_one() {
    let opens = |text: &str, there: &[&str]| {
        let set: CustodySet = text.parse().expect("valid");
        set.opens_with(|id| there.contains(&id.as_str()))
    };
    for (there, by_any, by_all) in [(&["a", "b"][..], true, true), (&["b"], true, false), (&["c"], false, false)] {
        assert_eq!((opens("any_of(a,b)", there), opens("all_of(a,b)", there)), (by_any, by_all), "{there:?}");
    }
    for (there, opened) in [(&["a", "c"][..], true), (&["a"], false), (&["b", "c"], false)] {
        assert_eq!(opens("all_of(a,any_of(b,c))", there), opened, "{there:?}");
    }
}
