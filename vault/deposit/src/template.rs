//! A deposit held against its login template. Keys are looked at before anything is opened, values in locked memory
//! afterwards.

use cofre_envelope::Plain;
use cofre_model::credential::FieldKey;
use cofre_model::reason::Reason;
use cofre_model::registry::{Template, TemplateField};

use crate::Error;

/// Refuses signing factors, unknown fields and missing ones, by key alone.
///
/// # Errors
/// SIGNING_FACTOR_REFUSED or DEPOSIT_MALFORMED, naming the field.
pub(crate) fn check_keys<'a>(
    template: &Template,
    keys: impl Iterator<Item = &'a FieldKey> + Clone,
) -> Result<(), Error> {
    for (place, key) in keys.clone().enumerate() {
        let path = || format!("fields[{place}].key");
        match template.fields.iter().find(|field| field.key == *key) {
            None => return Err(Error::field(Reason::DepositMalformed, path(), "is not a field of this template")),
            Some(field) if field.signing_factor => {
                let advice = "signs orders; the vault takes no signing factor, leave it out";
                return Err(Error::field(Reason::SigningFactorRefused, path(), advice));
            }
            Some(_) => {}
        }
    }
    for field in template.fields.iter().filter(|field| field.required && !field.signing_factor) {
        if !keys.clone().any(|key| *key == field.key) {
            let path = format!("fields.{}", field.key);
            return Err(Error::field(Reason::DepositMalformed, path, "is required by this template"));
        }
    }
    Ok(())
}

/// Holds opened values against the template's patterns, without a copy leaving locked memory.
///
/// # Errors
/// DEPOSIT_MALFORMED naming the field; never what it holds.
pub(crate) fn check_values(template: &Template, values: &[(FieldKey, Plain)]) -> Result<(), Error> {
    for (key, value) in values {
        let Some(field) = template.fields.iter().find(|field| field.key == *key) else { continue };
        let pattern = compiled(field)?;
        if !value.with_bytes(|bytes| pattern.is_match(bytes)) {
            let path = format!("fields.{key}");
            return Err(Error::field(Reason::DepositMalformed, path, "does not follow the template's pattern"));
        }
    }
    Ok(())
}

/// The whole value must match: the pattern is anchored here, whatever it says itself.
fn compiled(field: &TemplateField) -> Result<regex::bytes::Regex, Error> {
    let compile = |text: &str| regex::bytes::RegexBuilder::new(text).size_limit(1 << 20).build();
    // By itself first: `a)|(?:b` compiles only inside the anchors, and breaks out of them.
    compile(&field.pattern)
        .and_then(|_| compile(&format!("^(?:{})$", field.pattern)))
        // Templates are compiled when they are registered; one that no longer does is a fault of the records.
        .map_err(|_| Error::refused(Reason::IntegrityFailure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofre_envelope::{Backing, Slab};
    use cofre_model::id::InstitutionId;
    use cofre_model::wording::Form;

    fn field(key: &str, pattern: &str, required: bool, signing_factor: bool) -> TemplateField {
        TemplateField {
            key: key.try_into().expect("key"),
            pattern: pattern.into(),
            required,
            secret: true,
            signing_factor,
            identifies: false,
            release_form: Form::Full,
        }
    }

    fn template() -> Template {
        Template {
            institution: InstitutionId::try_from("ins_banco-abierto").expect("id"),
            version: 1,
            fields: vec![
                field("user", "[a-z]{3,8}", true, false),
                field("pin", "[0-9]{6}", false, false),
                field("signing_key", ".*", false, true),
            ],
        }
    }

    fn keys(names: &[&str]) -> Result<(), Reason> {
        let keys: Vec<FieldKey> = names.iter().map(|name| (*name).try_into().expect("key")).collect();
        check_keys(&template(), keys.iter()).map_err(|error| error.reason())
    }

    #[test]
    fn keys_are_judged_before_anything_opens() {
        assert_eq!(keys(&["user", "pin"]), Ok(()));
        assert_eq!(keys(&["user", "signing_key"]), Err(Reason::SigningFactorRefused));
        assert_eq!(keys(&["user", "iban"]), Err(Reason::DepositMalformed));
        assert_eq!(keys(&["pin"]), Err(Reason::DepositMalformed));
    }

    #[test]
    fn a_pattern_that_breaks_out_of_its_anchors_matches_nothing() {
        let refused = compiled(&field("user", "a)|(?:.*", true, false)).map_err(|error| error.reason());
        assert_eq!(refused.err(), Some(Reason::IntegrityFailure));
    }

    #[test]
    fn the_whole_value_must_match() {
        let slab = Slab::new(Backing::Mlock).expect("locked memory");
        let judge = |text: &str| {
            let values = vec![("user".try_into().expect("key"), Plain::copy_of(&slab, text.as_bytes()).expect("room"))];
            check_values(&template(), &values).is_ok()
        };
        assert!(judge("abcd"));
        for bad in ["ab", "abcd\n", "xx abcd", "ABCD", "abcdefghij"] {
            assert!(!judge(bad), "{bad:?} was taken");
        }
    }
}
