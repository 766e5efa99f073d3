//! Registry files: good ones, unknown keys, missing keys and malformed values, each named.

use super::*;

const TENANT: &str = r#"
slug = "acme"
legal_name = "Acme Wealth SL"
home_region = "eu-nl"
recipients = ["Acme advisers"]
[[signing_keys]]
kind = "job"
public_key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
not_after = "2027-01-31T00:00:00Z"
"#;

const TEMPLATE: &str = r#"
institution = "ins_banco-abierto"
version = 2
[[fields]]
key = "user"
pattern = "^[0-9]{8}$"
required = true
secret = false
signing_factor = false
identifies = true
release_form = "FULL"
"#;

fn file() -> &'static Path {
    Path::new("x.toml")
}

fn tenant(text: &str) -> Result<PutTenant, String> {
    let raw = toml::from_str::<Tenant>(text).map_err(|why| why.to_string())?;
    raw.parse(file()).map_err(|why| why.render(false))
}

fn template(text: &str) -> Result<registry::Template, String> {
    let raw = toml::from_str::<Template>(text).map_err(|why| why.to_string())?;
    raw.parse(file()).map_err(|why| why.render(false))
}

#[test]
fn a_tenant_is_read_whole() {
    let put = tenant(TENANT).expect("good");
    assert_eq!((put.slug.as_str(), put.home_region.as_str()), ("acme", "eu-nl"));
    let (kind, key, not_after) = put.signing_keys[0];
    assert_eq!((kind, key[0], key[31]), (StatementKind::Job, 0xd7, 0x1a));
    assert_eq!(not_after.to_string(), "2027-01-31T00:00:00Z");
    assert_eq!(put.recipients, ["Acme advisers"]);
    assert_eq!((put.custody_set, put.warm_for), (None, None));
    let own = tenant(&TENANT.replace("[[", "custody_set = \"any_of(hsm-2)\"\nwarm_for_seconds = 0\n[[")).expect("good");
    assert_eq!((own.custody_set.as_deref(), own.warm_for), (Some("any_of(hsm-2)"), Some(Span::default())));
}

#[test]
fn what_is_wrong_with_a_tenant_is_named() {
    for (from, to, named) in [
        ("slug = \"acme\"", "slug = \"Acme\"", "slug: name must match"),
        ("\"job\"", "\"JOB\"", "signing_keys[0].kind: must be one of job, attendance"),
        ("d75a", "d7", "signing_keys[0].public_key: must be an Ed25519 public key"),
        ("2027-01-31T00:00:00Z", "tomorrow", "signing_keys[0].not_after"),
        ("recipients", "recipient", "unknown field `recipient`"),
        ("legal_name = \"Acme Wealth SL\"", "", "missing field `legal_name`"),
    ] {
        let why = tenant(&TENANT.replace(from, to)).expect_err("refused");
        assert!(why.contains(named), "{why}");
    }
}

#[test]
fn a_template_is_read_whole_and_has_no_defaults() {
    let put = template(TEMPLATE).expect("good");
    assert_eq!((put.institution.to_string().as_str(), put.version), ("ins_banco-abierto", 2));
    assert!(put.fields[0].identifies && !put.fields[0].signing_factor && put.fields[0].release_form == Form::Full);
    for (from, to, named) in [
        ("signing_factor = false", "", "missing field `signing_factor`"),
        ("\"FULL\"", "\"ALL\"", "fields[0].release_form: must be one of "),
        ("\"user\"", "\"User\"", "fields[0].key"),
        ("ins_", "", "institution: identifier must start with `ins_`"),
    ] {
        let why = template(&TEMPLATE.replace(from, to)).expect_err("refused");
        assert!(why.contains(named), "{why}");
    }
}

#[test]
fn an_institution_says_whether_it_is_suspended() {
    let text = "id = \"ins_a\"\nname = \"A\"\ncountry = \"ES\"\nlockout_threshold = 3\nunattended_from = 0\n\
                unattended_to = 1440\nsuspended = true\n";
    let read = |text: &str| toml::from_str::<Institution>(text);
    let put = read(text).expect("good").parse(file()).expect("good");
    assert_eq!((put.state, put.unattended_to), (InstitutionState::Suspended, 1440));
    assert!(read(&text.replace("suspended = true\n", "")).is_err());
    assert!(read(&text.replace("= 3", "= 300")).is_err());
}

#[test]
fn a_worker_must_be_a_worker_of_the_trust_domain() {
    let tenant = TenantId::from_parts(1, [1; 10]);
    let text = format!(
        "spiffe_id = \"spiffe://cofre.test/worker/pool/w1\"\n[[scopes]]\ntenant = \"{tenant}\"\ninstitution = \"ins_a\"\n"
    );
    let parse = |text: &str, domain: &str| {
        let raw: Worker = toml::from_str(text).expect("of the shape");
        raw.parse(file(), domain).map_err(|why| why.render(false))
    };
    assert_eq!(parse(&text, "cofre.test").expect("good").scopes[0].0, tenant);
    assert!(parse(&text, "other.test").expect_err("foreign").contains("spiffe_id"));
    let person = text.replace("worker/pool/w1", "person/auditor/ana");
    assert!(parse(&person, "cofre.test").expect_err("a person").contains("must be a worker's"));
    assert!(parse(&text.replace("ten_", "tan_"), "cofre.test").expect_err("no id").contains("scopes[0].tenant"));
}
