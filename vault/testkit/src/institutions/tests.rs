use super::*;

#[test]
fn six_institutions_load_and_their_names_agree() {
    let all = all().unwrap();
    let slugs: Vec<&str> = all.iter().map(|i| i.slug.as_str()).collect();
    let files: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(slugs, files);
    assert_eq!(find("banc-valles").unwrap().id(), "ins_banc-valles");
    assert!(find("banco-real").is_err());
}

#[test]
fn every_form_is_sound() {
    for institution in all().unwrap() {
        assert!(institution.lockout_threshold >= 3, "{}", institution.slug);
        assert_eq!(institution.sca.kind == ScaKind::None, institution.sca.code_length == 0);
        let mut keys: Vec<&str> = institution.fields.iter().map(|f| f.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), institution.fields.len(), "{}: a key twice", institution.slug);
        assert!(institution.login_fields().any(|f| !f.secret), "nothing says whose login it is");
        assert!(institution.login_fields().any(|f| f.secret), "nothing to keep secret");
        for field in &institution.fields {
            assert!(regex::Regex::new(&field.regexp).is_ok(), "{}", field.key);
            assert!(field.regexp.starts_with('^') && field.regexp.ends_with('$'), "{}", field.key);
            assert_eq!(field.field_type == FieldType::Choice, !field.choices.is_empty());
            let Label { es, en, fr, pt } = &field.label;
            assert!([es, en, fr, pt].iter().all(|text| !text.is_empty()), "{}", field.key);
        }
    }
}

#[test]
fn second_factors_cover_every_kind() {
    let kinds: Vec<ScaKind> = all().unwrap().iter().map(|i| i.sca.kind).collect();
    for kind in [ScaKind::None, ScaKind::SmsOtp, ScaKind::TotpApp, ScaKind::HardwareToken] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[test]
fn one_real_form_has_a_signing_factor_and_no_login_needs_it() {
    let caja = find("caja-colegiados").unwrap();
    let signing: Vec<_> = caja.fields.iter().filter(|f| f.signing_factor).collect();
    assert_eq!(signing.len(), 1);
    assert_eq!(signing[0].key, "signature_key");
    assert!(caja.login_fields().all(|f| f.key != "signature_key"));
}

#[test]
fn an_unknown_key_is_refused() {
    let text = format!("surprise = 1\n{}", FILES[0].1);
    let error = toml::from_str::<Institution>(&text).unwrap_err().to_string();
    assert!(error.contains("surprise"), "{error}");
}
