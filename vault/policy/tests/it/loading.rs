//! Bad policy sets stay out, with an error that names file, policy and the way out; what gets in by mistake denies.

use std::fs;

use cofre_model::wording::Form;
use cofre_policy::bundle::{self, BundleError};
use cofre_policy::decision::Decision;
use cofre_policy::{PolicyError, Rules};
use sha2::{Digest, Sha256};

use crate::facts::{asked, permitting, shipped, shipped_files, with_policies};

const HEAD: &str = r#"(principal is Cofre::Worker, action == Cofre::Action::"release", resource is Cofre::Credential)"#;
const PERMIT_ALL: &str = "context has consent && context.consent.active";

fn refused(policies: &str) -> PolicyError {
    with_policies(policies).expect_err("the set was taken")
}

#[test]
fn the_shipped_set_loads_and_names_its_policies() {
    let ids: Vec<String> = shipped().ids().map(str::to_owned).collect();
    assert_eq!(ids, ["release-login-with-consent", "unattended-only-in-the-institutions-window"]);
}

#[test]
fn one_set_serves_every_thread() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&shipped());
}

#[test]
fn the_digest_is_over_names_and_texts_in_the_order_of_names() {
    let mut files = shipped_files();
    let mut bytes = Vec::new();
    for (name, text) in &files {
        for part in [name, text] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
    }
    let expected: [u8; 32] = Sha256::digest(&bytes).into();
    assert_eq!(shipped().digest(), &expected);
    files.reverse();
    assert_eq!(Rules::from_files(&files).expect("any order loads").digest(), &expected);
    files[0].1.push('\n');
    assert_ne!(Rules::from_files(&files).expect("still loads").digest(), &expected);
}

#[test]
fn a_misspelt_attribute_is_refused() {
    let error = refused(&format!("@id(\"typo\") forbid {HEAD} when {{ context.releases_last_huor > 3 }};"));
    assert!(matches!(&error, PolicyError::Invalid { file, id, .. } if file == "own.cedar" && id == "typo"));
    let text = error.to_string();
    assert!(text.contains("releases_last_huor") && text.contains("own.cedar") && text.contains("typo"), "{text}");
}

#[test]
fn a_forbid_that_could_fail_is_refused() {
    for (condition, operator) in [
        ("context.releases_last_hour * 9223372036854775807 > 3", "*"),
        ("9223372036854775807 + context.releases_last_hour > 3", "+"),
        ("context.minute_of_day - 5 > 3", "-"),
        ("context.now.offset(duration(\"1d\")) > context.now", "offset"),
        ("context has consent && context.consent.unattended_per_day > 3", "has"),
    ] {
        let error = refused(&format!("@id(\"fragile\") forbid {HEAD} when {{ {condition} }};"));
        match error {
            PolicyError::FragileForbid { id, operator: found, .. } => {
                assert_eq!((id.as_str(), found.as_str()), ("fragile", operator));
            }
            other => panic!("{condition}: {other}"),
        }
    }
}

#[test]
fn a_policy_that_fails_while_deciding_refuses_even_beside_a_permit() {
    // The second permit overflows as soon as one release was made: validation cannot see that.
    let rules = with_policies(&format!(
        "@id(\"sound\") permit {HEAD} when {{ {PERMIT_ALL} }};
         @id(\"overflows\") permit {HEAD} when {{ {PERMIT_ALL} && context.releases_last_hour * 9223372036854775807 > 0 }};"
    ))
    .expect("it validates");
    let mut facts = permitting();
    assert!(matches!(rules.decide(&facts), Decision::Permit(_)), "without a release nothing overflows");
    facts.releases_last_hour = 2;
    match rules.decide(&facts) {
        Decision::Deny(denial) => {
            assert_eq!(denial.reason.as_str(), "POLICY_DENIED");
            assert_eq!(denial.entry.rules, ["error:overflows"]);
        }
        Decision::Permit(_) => panic!("an evaluation error was skipped"),
    }
}

#[test]
fn a_blanket_permit_is_refused() {
    let error = refused(&format!("@id(\"blanket\") permit {HEAD};"));
    assert!(matches!(&error, PolicyError::Blanket { id, file } if id == "blanket" && file == "own.cedar"), "{error}");
}

#[test]
fn ids_are_compulsory_unique_and_names() {
    let sound = format!("permit {HEAD} when {{ {PERMIT_ALL} }};");
    let error = refused(&format!("@id(\"a\") {sound} {sound}"));
    assert!(matches!(error, PolicyError::MissingId { number: 2, .. }), "{error}");
    let error = refused(&format!("@id(\"a\") {sound} @id(\"a\") {sound}"));
    assert!(matches!(&error, PolicyError::DuplicateId { id, .. } if id == "a"), "{error}");
    for bad in ["", "A", "a b", "invariant:10", "a\\nb", "policy*", "é"] {
        let error = refused(&format!("@id(\"{bad}\") {sound}"));
        assert!(matches!(error, PolicyError::BadId { .. }), "{bad}: {error}");
    }
    let mut files = shipped_files();
    let twin = files.iter().find(|(name, _)| name.ends_with(".cedar")).expect("a policy file").1.clone();
    files.push(("twin.cedar".into(), twin));
    let error = Rules::from_files(&files).expect_err("duplicate across files");
    assert!(
        matches!(&error, PolicyError::DuplicateId { first, second, .. } if first == "default/release.cedar" && second == "twin.cedar"),
        "{error}"
    );
}

#[test]
fn sets_of_the_wrong_shape_are_refused() {
    let mut files = shipped_files();
    files.retain(|(name, _)| !name.ends_with(".cedarschema"));
    assert!(matches!(Rules::from_files(&files), Err(PolicyError::NoSchema)));
    let mut files = shipped_files();
    files.retain(|(name, _)| name.ends_with(".cedarschema"));
    assert!(matches!(Rules::from_files(&files), Err(PolicyError::NoPolicy)));
    files.push(("z.cedarschema".into(), files[0].1.clone()));
    assert!(matches!(Rules::from_files(&files), Err(PolicyError::TwoSchemas { .. })));
    let empty: [(&str, &str); 0] = [];
    assert!(matches!(Rules::from_files(&empty), Err(PolicyError::NoSchema)));
    for name in ["a.CEDAR", "a.cedar.bak", ".cedar", "a.json", "cedar"] {
        let mut files = shipped_files();
        files.push((name.into(), String::new()));
        assert!(matches!(Rules::from_files(&files), Err(PolicyError::UnknownFile { .. })), "{name} was taken");
    }
    let mut files = shipped_files();
    files.push(files[0].clone());
    assert!(matches!(Rules::from_files(&files), Err(PolicyError::DuplicateFile { .. })));
    assert!(matches!(refused("permit (principal"), PolicyError::Syntax { .. }));
    assert!(matches!(
        refused("@id(\"t\") permit (principal == ?principal, action, resource);"),
        PolicyError::Template { .. }
    ));
    let many: String = (0..513).map(|at| format!("@id(\"p{at}\") permit {HEAD} when {{ {PERMIT_ALL} }};\n")).collect();
    assert!(matches!(refused(&many), PolicyError::TooMany { count: 513, limit: 512 }));
}

#[test]
fn a_schema_the_vault_cannot_ask_with_is_refused() {
    let mut files = shipped_files();
    let schema = files.iter_mut().find(|(name, _)| name.ends_with(".cedarschema")).expect("a schema");
    schema.1 = schema.1.replace("\"releases_last_hour\": Long,", "\"releases_last_hour\": Long, \"weather\": String,");
    assert!(matches!(Rules::from_files(&files), Err(PolicyError::SchemaShape { .. })));
    let schema = files.iter_mut().find(|(name, _)| name.ends_with(".cedarschema")).expect("a schema");
    schema.1 = "namespace Cofre { entity".into();
    let error = Rules::from_files(&files).expect_err("half a schema");
    assert!(matches!(&error, PolicyError::Schema { file, .. } if file == "schema.cedarschema"), "{error}");
}

#[test]
fn a_policy_that_can_never_apply_is_refused() {
    let error = refused(&format!("@id(\"never\") forbid {HEAD} when {{ false }};"));
    assert!(matches!(&error, PolicyError::Invalid { id, .. } if id == "never"), "{error}");
}

#[test]
fn a_set_without_a_fitting_permit_denies() {
    let rules = with_policies(&format!(
        "@id(\"forms\") permit {HEAD} when {{ {PERMIT_ALL} && context.forms == [Cofre::Form::\"POSITIONS\"] }};"
    ))
    .expect("it loads");
    let mut facts = permitting();
    assert!(matches!(rules.decide(&facts), Decision::Deny(denial) if denial.entry.rules == ["default:deny"]));
    facts.request.fields = vec![asked("card", Form::Positions, &[1, 2])];
    assert!(matches!(rules.decide(&facts), Decision::Permit(_)));
}

#[test]
fn no_policy_can_relax_an_invariant() {
    let rules = with_policies(&format!("@id(\"wide\") permit {HEAD} when {{ {PERMIT_ALL} }};")).expect("it loads");
    let mut seed = permitting();
    seed.request.class = cofre_model::wording::Class::TotpSeed;
    assert!(rules.policies_alone(&seed).permitted);
    assert!(matches!(rules.decide(&seed), Decision::Deny(denial) if denial.reason.as_str() == "FIELD_NOT_RELEASABLE"));
}

#[test]
fn a_folder_reads_as_a_set_and_nothing_is_lost_to_a_misspelt_name() {
    let folder = std::env::temp_dir().join(format!("cofre-policy-bundle-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("cases")).expect("a folder");
    fs::create_dir_all(folder.join("own/deeper")).expect("a folder");
    fs::write(folder.join("s.cedarschema"), "schema").expect("a file");
    fs::write(folder.join("own/deeper/b.cedar"), "b").expect("a file");
    fs::write(folder.join("own/a.cedar"), "a").expect("a file");
    fs::write(folder.join(".hidden"), "x").expect("a file");
    fs::write(folder.join("cases/x.toml"), "x").expect("a file");
    let read = bundle::read_dir(&folder).expect("reads");
    let expected = [("own/a.cedar", "a"), ("own/deeper/b.cedar", "b"), ("s.cedarschema", "schema")];
    assert_eq!(read, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));

    fs::write(folder.join("own/c.ceder"), "c").expect("a file");
    assert!(matches!(bundle::read_dir(&folder), Err(BundleError::Unknown { path }) if path.ends_with("own/c.ceder")));
    fs::remove_file(folder.join("own/c.ceder")).expect("removed");
    fs::write(folder.join("big.cedar"), vec![b' '; (1 << 20) + 1]).expect("a file");
    assert!(matches!(bundle::read_dir(&folder), Err(BundleError::Size { .. })));
    fs::remove_file(folder.join("big.cedar")).expect("removed");
    fs::create_dir_all(folder.join("1/2/3/4/5")).expect("a folder");
    assert!(matches!(bundle::read_dir(&folder), Err(BundleError::Depth { .. })));
    fs::remove_dir_all(&folder).expect("removed");
    assert!(matches!(bundle::read_dir(&folder), Err(BundleError::Read { .. })));
}
