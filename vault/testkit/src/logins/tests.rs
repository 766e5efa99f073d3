use super::*;
use crate::institutions;
use std::collections::HashSet;

fn rule(field: &LoginField) -> regex::bytes::Regex {
    regex::bytes::Regex::new(&field.regexp).unwrap()
}

#[test]
fn every_value_matches_its_pattern_and_identifiers_never_repeat() {
    for institution in institutions::all().unwrap() {
        let mut seen = HashSet::new();
        let rules: Vec<_> = institution.login_fields().map(rule).collect();
        for seed in 0..1_000 {
            for made in [login, canary_login, wrong_login] {
                let login = made(&institution, seed).unwrap();
                assert_eq!(login.fields().count(), institution.login_fields().count());
                for ((field, rule), (key, value)) in institution.login_fields().zip(&rules).zip(login.fields()) {
                    assert_eq!(field.key, key);
                    assert!(rule.is_match(value), "{} {key} of {seed}", institution.slug);
                }
            }
            let login = login(&institution, seed).unwrap();
            let who: Vec<Vec<u8>> = login.identifiers().map(|(_, v)| v.to_vec()).collect();
            assert!(seen.insert(who), "{}: seed {seed} repeats a person", institution.slug);
        }
        assert_eq!(seen.len(), 1_000);
    }
}

#[test]
fn a_seed_fixes_the_login_and_the_variants_differ_only_in_secrets() {
    for institution in institutions::all().unwrap() {
        let one: Vec<_> = all_of(&login(&institution, 7).unwrap());
        assert_eq!(one, all_of(&login(&institution, 7).unwrap()));
        let wrong = wrong_login(&institution, 7).unwrap();
        let canary = canary_login(&institution, 7).unwrap();
        let usual = login(&institution, 7).unwrap();
        assert!(usual.identifiers().eq(wrong.identifiers()));
        assert!(usual.identifiers().eq(canary.identifiers()));
        let long = |f: &&LoginField| f.secret && f.field_type != FieldType::Date;
        for field in institution.login_fields().filter(long) {
            let values = [&usual, &wrong, &canary].map(|l| l.value(&field.key).unwrap().to_vec());
            assert_eq!(values.iter().collect::<HashSet<_>>().len(), 3, "{}", field.key);
        }
    }
}

fn all_of(login: &Login) -> Vec<(String, Vec<u8>)> {
    login.fields().map(|(k, v)| (k.to_owned(), v.to_vec())).collect()
}

#[test]
fn every_institution_has_a_canary_and_random_ones_differ() {
    for institution in institutions::all().unwrap() {
        let one = random_login(&institution).unwrap();
        let two = random_login(&institution).unwrap();
        assert!(one.canaries().count() >= 1, "{}", institution.slug);
        assert!(one.canaries().all(|c| c.len() >= CANARY_LEN));
        assert!(one.canaries().next() != two.canaries().next());
    }
}

#[test]
fn identity_numbers_carry_the_right_letter() {
    assert_eq!(check_letter(0), b'T');
    assert_eq!(check_letter(12_345_678), b'Z');
    assert_eq!(check_letter(1_234_567), b'L'); // X1234567L: the prefix X counts as 0
    assert_eq!(identity_number(0, false).len(), 9);
    assert!(identity_number(5, true).starts_with(b"Z9"));
}

#[test]
fn the_document_goes_with_its_type() {
    let bank = institutions::find("banco-abierto").unwrap();
    let mut seen = HashSet::new();
    for seed in 0..50 {
        let login = login(&bank, seed).unwrap();
        let foreigner = login.value("document_type").unwrap() == b"NIE";
        assert_eq!(login.value("document_number").unwrap().starts_with(b"Z"), foreigner);
        seen.insert(foreigner);
    }
    assert_eq!(seen.len(), 2, "both kinds of document occur");
}

#[test]
fn signing_factors_match_and_stay_out_of_logins() {
    let caja = institutions::find("caja-colegiados").unwrap();
    let factors = signing_factors(&caja, 1).unwrap();
    assert_eq!(factors.len(), 1);
    let field = caja.fields.iter().find(|f| f.key == factors[0].0).unwrap();
    assert!(rule(field).is_match(&factors[0].1));
    assert!(login(&caja, 1).unwrap().value(&field.key).is_none());
}

#[test]
fn a_pattern_beyond_the_generator_is_named() {
    for (text, error) in [
        ("[a-z]", PatternError::NotAnchored),
        ("^a+$", PatternError::Unsupported('+')),
        ("^[^a]$", PatternError::Unsupported('^')),
        ("^(a|b$", PatternError::Unfinished),
        ("^a{2$", PatternError::Unfinished),
    ] {
        assert_eq!(Pattern::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn printing_a_login_shows_no_value() {
    let bank = institutions::find("courtier-bourse").unwrap();
    let login = canary_login(&bank, 3).unwrap();
    let printed = format!("{login:?}");
    assert!(printed.contains("password"));
    let secret = String::from_utf8(login.value("password").unwrap().to_vec()).unwrap();
    assert!(!printed.contains(&secret));
}
