//! Enrolment, deposit and erasure requests.

use cofre_model::credential::FieldKey;
use cofre_model::request::{Login, OpenEnrolment, Person, SealedDeposit, SubjectRef};

use super::Malformed;
use super::common::{bounded, id, institution, present};
use crate::v1;

const MOST_FIELDS: usize = 16;
const MOST_SEALED: usize = 4_096;
const MOST_ENCAPSULATED: usize = 2_048;

/// Parses an enrolment request.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn open_enrolment(wire: v1::OpenEnrolmentRequest) -> Result<OpenEnrolment, Malformed> {
    use v1::open_enrolment_request::Login as Wire;
    let login = match present("login", wire.login)? {
        Wire::NewLogin(new) => Login::New {
            institution: institution("new_login.institution_id", &new.institution_id)?,
            subject: subject_ref("new_login.subject_ref", &new.subject_ref)?,
        },
        Wire::CredentialId(text) => Login::Existing(id("credential_id", &text)?),
    };
    Ok(OpenEnrolment { login })
}

fn subject_ref(field: &str, text: &str) -> Result<SubjectRef, Malformed> {
    SubjectRef::try_from(text).map_err(|problem| Malformed::new(field, problem.to_string()))
}

/// Parses a deposit. Whether its ciphertexts open is judged in the strongroom.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn sealed_deposit(wire: v1::DepositRequest) -> Result<SealedDeposit, Malformed> {
    if wire.fields.is_empty() || wire.fields.len() > MOST_FIELDS {
        return Err(Malformed::new("fields", format!("must hold 1 to {MOST_FIELDS} sealed fields")));
    }
    let mut fields = Vec::with_capacity(wire.fields.len());
    for (place, field) in wire.fields.into_iter().enumerate() {
        let key = FieldKey::try_from(field.key.as_str())
            .map_err(|problem| Malformed::new(format!("fields[{place}].key"), problem.to_string()))?;
        if fields.iter().any(|(known, _)| *known == key) {
            return Err(Malformed::new(format!("fields[{place}].key"), "must not repeat an earlier field"));
        }
        fields.push((key, bounded(&format!("fields[{place}].sealed"), field.sealed, MOST_SEALED)?));
    }
    Ok(SealedDeposit {
        enrolment: id("enrolment_id", &wire.enrolment_id)?,
        deposit_key: id("deposit_key_id", &wire.deposit_key_id)?,
        encapsulated_key: bounded("encapsulated_key", wire.encapsulated_key, MOST_ENCAPSULATED)?,
        fields,
    })
}

/// Parses whose logins to erase.
///
/// # Errors
/// [`Malformed`] naming the field.
pub fn person(wire: v1::EraseRequest) -> Result<Person, Malformed> {
    use v1::erase_request::Person as Wire;
    match present("person", wire.person)? {
        Wire::SubjectId(text) => Ok(Person::Id(id("subject_id", &text)?)),
        Wire::SubjectRef(text) => Ok(Person::Ref(subject_ref("subject_ref", &text)?)),
    }
}
