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
        ("any_of(d,all_of(e,f))", "any_of(a,all_of(b,c))"),
        ("any_of(d,all_of(b,c))", "any_of(a,all_of(b,c))"),
        ("any_of(a,all_of(d,c))", "any_of(a,all_of(b,c))"),
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
        // Nobody left, or one that stayed changed places: it stands for nobody else, and the older shares open as they did.
        ("any_of(b,all_of(a,c))", "any_of(a,all_of(b,c))"),
        ("any_of(b,all_of(a,d))", "any_of(a,all_of(b,c))"),
        ("any_of(c,all_of(d,e))", "any_of(a,all_of(b,c))"),
        ("all_of(b,any_of(a,c))", "all_of(a,any_of(b,c))"),
        ("any_of(all_of(a,c),all_of(b,d))", "any_of(all_of(a,b),all_of(c,d))"),
        ("any_of(a)", "any_of(c,all_of(a,b))"),
    ] {
        assert!(set(this).stricter_than(&set(other)), "{this} after {other}");
        assert!(set(other).stricter_than(&set(this)), "{other} after {this}");
    }
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

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Where custodians stand for the model: whom each one of the new set is taken for, by its number in [`NAMES`].
type Stands = Vec<Option<usize>>;

/// Which subsets of these custodians open a key of this set, as a bit each.
fn opening(set: &CustodySet) -> u128 {
    let number = |id: &CustodianId| NAMES.iter().position(|name| *name == id.as_str()).expect("one of them");
    let opens = |subset: &usize| set.opens_with(|id| subset >> number(id) & 1 == 1);
    (0..1_usize << NAMES.len()).filter(opens).fold(0, |opening, subset| opening | 1 << subset)
}

/// The same where everybody is taken for whom `stands` says.
fn replaced(opening: u128, stands: &[Option<usize>]) -> u128 {
    let taken = |subset: usize| {
        let there = |who: &Option<usize>| who.is_some_and(|who| subset >> who & 1 == 1);
        stands.iter().enumerate().filter(|(_, who)| there(who)).fold(0, |taken, (nth, _)| taken | 1_usize << nth)
    };
    (0..1_usize << NAMES.len()).filter(|subset| opening >> taken(*subset) & 1 == 1).fold(0, |all, one| all | 1 << one)
}

/// Every way to take those that came for some of those that left, one for one; whoever stayed is itself.
fn replacements(this: &CustodySet, other: &CustodySet) -> Vec<Stands> {
    let is_in = |set: &CustodySet, nth: usize| set.custodians().any(|id| id.as_str() == NAMES[nth]);
    let left: Vec<_> = (0..NAMES.len()).filter(|nth| is_in(other, *nth) && !is_in(this, *nth)).collect();
    let mut all: Vec<Stands> = vec![Vec::new()];
    for nth in 0..NAMES.len() {
        let mut longer = Vec::new();
        for stands in all {
            let choices: Vec<_> = match (is_in(this, nth), is_in(other, nth)) {
                (true, true) => vec![Some(nth)],
                (true, false) => {
                    left.iter().map(|one| Some(*one)).filter(|one| !stands.contains(one)).chain([None]).collect()
                }
                (false, _) => vec![None],
            };
            longer.extend(choices.into_iter().map(|one| stands.iter().copied().chain([one]).collect::<Stands>()));
        }
        all = longer;
    }
    all
}

/// What is stricter, by trying every replacement and every subset of custodians.
fn stricter_by_model(this: &CustodySet, other: &CustodySet) -> bool {
    let (here, there) = (opening(this), opening(other));
    !replacements(this, other).iter().any(|stands| there & !replaced(here, stands) == 0)
}

fn is_as_in_the_model(this: &CustodySet, other: &CustodySet) -> bool {
    let stricter = stricter_by_model(this, other);
    assert_eq!(this.stricter_than(other), stricter, "{this} after {other}");
    assert_eq!(turned(this).stricter_than(&turned(other)), stricter, "{this} after {other}, turned");
    assert_eq!(this.stricter_than(&turned(other)), stricter, "{this} after {other}, one turned");
    stricter
}

#[test]
fn of_all_sets_of_up_to_four_custodians_the_stricter_ones_are_those_of_the_model() {
    let all = sets(&NAMES[..4]);
    assert_eq!(all.len(), 102);
    let mut pairs = [0, 0];
    for this in &all {
        for other in &all {
            pairs[usize::from(is_as_in_the_model(this, other))] += 1;
        }
    }
    assert!(pairs.iter().all(|count| *count > 1_000), "{pairs:?}");
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(z >> 33).expect("small") % bound
    }

    /// Some set of up to six of the custodians.
    fn set(&mut self) -> CustodySet {
        let mut names: Vec<_> = NAMES.iter().map(|name| custodian(name).expect("a name")).collect();
        let mut members: Vec<Vec<CustodianId>> = Vec::new();
        for _ in 0..=self.below(6) {
            let one = names.swap_remove(self.below(names.len()));
            match self.below(members.len() + 1) {
                place if place < members.len() => members[place].push(one),
                _ => members.push(vec![one]),
            }
        }
        let rule = [Rule::Any, Rule::All][self.below(2)];
        let member = |mut several: Vec<CustodianId>| match several.len() {
            1 => Member::One(several.swap_remove(0)),
            _ => Member::Inner(several),
        };
        CustodySet::of(rule, members.into_iter().map(member).collect()).expect("a set")
    }

    /// The same set with one change that is hard to judge: two custodians change places, or one is replaced.
    fn near(&mut self, set: &CustodySet) -> CustodySet {
        let there: Vec<_> = set.custodians().cloned().collect();
        let (one, two) = (there[self.below(there.len())].clone(), NAMES[self.below(NAMES.len())]);
        let two = custodian(two).expect("a name");
        let exchanged = |id: &CustodianId| match id {
            id if *id == one => two.clone(),
            id if *id == two => one.clone(),
            id => id.clone(),
        };
        let members = set.members.iter().map(|member| match member {
            Member::One(id) => Member::One(exchanged(id)),
            Member::Inner(several) => Member::Inner(several.iter().map(exchanged).collect()),
        });
        CustodySet::of(set.rule, members.collect()).expect("a set")
    }
}

#[test]
fn of_random_sets_the_stricter_ones_are_those_of_the_model() {
    let mut draw = Draw(11);
    let tries = if std::env::var_os("COFRE_NIGHT").is_some() { 20_000 } else { 500 };
    let mut pairs = [0, 0];
    for nth in 0..tries {
        let other = draw.set();
        let this = if nth % 2 == 0 { draw.set() } else { draw.near(&other) };
        pairs[usize::from(is_as_in_the_model(&this, &other))] += 1;
    }
    assert!(pairs.iter().all(|count| *count > tries / 20), "{pairs:?}");
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
