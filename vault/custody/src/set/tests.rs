//! What is a custody set, where shares belong, and which set is stricter.

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
fn a_set_is_stricter_where_more_must_agree_or_fewer_are_to_choose_from() {
    let stricter = |this: &str, other: &str| {
        let (this, other): (CustodySet, CustodySet) = (this.parse().expect("valid"), other.parse().expect("valid"));
        this.stricter_than(&other)
    };
    for (this, other) in [
        ("all_of(a,b)", "any_of(a)"),
        ("all_of(a,b)", "any_of(a,b)"),
        ("all_of(a,b,c)", "all_of(a,b)"),
        ("any_of(a)", "any_of(a,b)"),
        ("all_of(a)", "any_of(a,b)"),
        ("all_of(a,any_of(b,c))", "any_of(a)"),
        ("all_of(a,b)", "all_of(a,any_of(b,c))"),
        ("any_of(a,all_of(b,c))", "any_of(a,b)"),
        ("any_of(all_of(a,b))", "any_of(a,all_of(b,c))"),
    ] {
        assert!(stricter(this, other), "{this} after {other}");
        assert!(!stricter(other, this), "{other} after {this}");
    }
    for (this, other) in [
        ("any_of(b)", "any_of(a)"),
        ("all_of(a)", "any_of(a)"),
        ("all_of(a,c)", "all_of(a,b)"),
        ("any_of(c,all_of(d,e))", "any_of(a,all_of(b,c))"),
    ] {
        assert!(!stricter(this, other), "{this} after {other}");
        assert!(!stricter(other, this), "{other} after {this}");
    }
}

#[test]
fn of_sets_that_open_otherwise_each_is_stricter_than_the_other() {
    let set = |text: &str| text.parse::<CustodySet>().expect("valid");
    for (this, other) in [
        // The first had a say in all of it, and has none left.
        ("all_of(a,any_of(b,c))", "any_of(all_of(b,c),all_of(d,e))"),
        ("all_of(a,any_of(b,c,d))", "any_of(all_of(e,f),all_of(g,h),all_of(b,c))"),
    ] {
        assert!(set(this).stricter_than(&set(other)), "{this} after {other}");
        assert!(set(other).stricter_than(&set(this)), "{other} after {this}");
    }
    assert!(set("any_of(a)").stricter_than(&set("any_of(c,all_of(a,b))")), "one alone, and not one or two others");
    // As in two steps: the other one in its place, then a way more.
    assert!(!set("any_of(c,all_of(a,b))").stricter_than(&set("any_of(a)")));
}

/// Every set of these custodians and of some of them, its members in their order: by rule and by who stands with whom.
fn sets(names: &[&str]) -> Vec<CustodySet> {
    let Some((first, rest)) = names.split_first() else { return Vec::new() };
    let first = custodian(first).expect("a name");
    let mut all = Vec::new();
    for rule in [Rule::Any, Rule::All] {
        all.push(CustodySet::of(rule, vec![Member::One(first.clone())]).expect("a set"));
    }
    for set in sets(rest) {
        let with = |members: Vec<Member>| CustodySet::of(set.rule, members).expect("a set");
        all.push(with(set.members.iter().cloned().chain([Member::One(first.clone())]).collect()));
        for place in 0..set.members.len() {
            let mut members = set.members.clone();
            let joined = members[place].custodians().iter().cloned().chain([first.clone()]).collect();
            members[place] = Member::Inner(joined);
            all.push(with(members));
        }
        all.push(set);
    }
    all
}

/// The same set, written from its end to its beginning.
fn turned(set: &CustodySet) -> CustodySet {
    let members = set.members.iter().rev().map(|member| match member {
        Member::One(one) => Member::One(one.clone()),
        Member::Inner(several) => Member::Inner(several.iter().rev().cloned().collect()),
    });
    CustodySet::of(set.rule, members.collect()).expect("a set")
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Which of the sixteen subsets of four custodians open, where `place` says who stands in whose place, if anybody does.
fn opening(set: &CustodySet, place: &[Option<usize>; 4]) -> u16 {
    let there = |subset: usize, id: &CustodianId| {
        let nth = NAMES.iter().position(|name| *name == id.as_str()).expect("one of four");
        place[nth].is_some_and(|place| subset >> place & 1 == 1)
    };
    let opens = |subset: &usize| set.opens_with(|id| there(*subset, id));
    (0..16_usize).filter(opens).fold(0, |opening, subset| opening | 1 << subset)
}

/// Every way to put some of four custodians in the places of others, each in a place of its own; the rest are replaced by
/// custodians that neither set knows.
fn replacements() -> Vec<[Option<usize>; 4]> {
    let mut all = Vec::new();
    for number in 0..5_usize.pow(4) {
        let place = [0, 1, 2, 3].map(|nth| number / 5_usize.pow(nth) % 5).map(|place| (place < 4).then_some(place));
        let named: Vec<_> = place.iter().flatten().collect();
        if named.iter().collect::<BTreeSet<_>>().len() == named.len() {
            all.push(place);
        }
    }
    all
}

#[test]
fn of_all_sets_of_up_to_four_custodians_the_stricter_ones_are_those_of_the_model() {
    let all = sets(&NAMES);
    assert_eq!((all.len(), replacements().len()), (102, 209));
    let as_they_are = [Some(0), Some(1), Some(2), Some(3)];
    let mut pairs = [0, 0];
    for this in &all {
        // What this set opens with, after each replacement; the same one need not be asked twice.
        let openings: BTreeSet<u16> = replacements().iter().map(|place| opening(this, place)).collect();
        for other in &all {
            let open = opening(other, &as_they_are);
            let stricter = !openings.iter().any(|opening| open & !opening == 0);
            assert_eq!(this.stricter_than(other), stricter, "{this} after {other}");
            assert_eq!(turned(this).stricter_than(&turned(other)), stricter, "{this} after {other}, turned");
            assert_eq!(this.stricter_than(&turned(other)), stricter, "{this} after {other}, one turned");
            pairs[usize::from(stricter)] += 1;
        }
    }
    assert!(pairs.iter().all(|count| *count > 1_000), "{pairs:?}");
}

#[test]
fn the_largest_sets_are_compared_in_no_time_worth_mentioning() {
    let largest = [
        "any_of(a,b,c,d,e,f,g,h)",
        "all_of(a,b,c,d,e,f,g,h)",
        "all_of(any_of(a,b),any_of(c,d),any_of(e,f),any_of(g,h))",
        "any_of(all_of(a,b),all_of(c,d),all_of(e,f),all_of(g,h))",
        "all_of(any_of(a,b,c),any_of(d,e,f),any_of(g,h))",
        "all_of(any_of(a,b,c,d),any_of(e,f,g,h))",
        "any_of(all_of(a,b,c),all_of(d,e,f),all_of(g,h))",
        "all_of(a,any_of(b,c,d,e,f,g,h))",
        "any_of(a,all_of(b,c,d,e,f,g,h))",
    ];
    for (nth, this) in largest.iter().enumerate() {
        for (mth, other) in largest.iter().enumerate() {
            let (this, other): (CustodySet, CustodySet) = (this.parse().expect("valid"), other.parse().expect("valid"));
            let stricter = this.stricter_than(&other);
            assert!(nth != mth || !stricter, "{this} after itself");
        }
    }
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
