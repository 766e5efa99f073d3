use super::*;
use cofre_testkit::institutions;
use cofre_testkit::logins::{self, Login};

const NOW: u64 = 1_800_000_000;

fn books() -> Books {
    Books::new(institutions::all().unwrap())
}

fn login(slug: &str) -> Login {
    logins::login(&institutions::find(slug).unwrap(), 1).unwrap()
}

fn form(login: &Login) -> Form {
    Form::of(&login.fields().collect::<Vec<_>>())
}

fn enrol(books: &mut Books, login: &Login) -> Result<Enrolled, EnrolError> {
    books.enrol(&Enrolment {
        institution: login.institution(),
        phone: "+34600000001",
        fields: &login.fields().collect::<Vec<_>>(),
        behaviour: None,
    })
}

#[test]
fn enrolment_names_what_is_wrong_and_changes_nothing() {
    let mut books = books();
    let caja = login("caja-colegiados");
    let all: Vec<_> = caja.fields().collect();
    let wish = Enrolment { institution: "caja-colegiados", phone: "+34600000001", fields: &all, behaviour: None };
    let unknown = Enrolment { institution: "banco-real", ..wish };
    assert!(matches!(books.enrol(&unknown), Err(EnrolError::Institution(name)) if name == "banco-real"));
    let phone = Enrolment { phone: "600 000 001", ..wish };
    assert!(matches!(books.enrol(&phone), Err(EnrolError::Phone)));
    let short = Enrolment { fields: &all[..2], ..wish };
    assert!(matches!(books.enrol(&short), Err(EnrolError::FieldMissing(field)) if field == "password"));
    let mut signing = all.clone();
    signing.push(("signature_key", b"ABCDEFGH"));
    let signing = Enrolment { fields: &signing, ..wish };
    assert!(matches!(books.enrol(&signing), Err(EnrolError::FieldUnknown(field)) if field == "signature_key"));
    assert_eq!(books.stats(NOW).accounts.len(), 0);
    books.enrol(&wish).unwrap();
    assert!(matches!(books.enrol(&wish), Err(EnrolError::Taken)));
    assert_eq!(books.stats(NOW).accounts.len(), 1);
}

#[test]
fn a_lock_ends_to_the_second() {
    let mut books = books();
    let right = login("banc-valles");
    enrol(&mut books, &right).unwrap();
    let wrong = logins::wrong_login(&institutions::find("banc-valles").unwrap(), 1).unwrap();
    let mut answer = |login: &Login, now| books.sign_in("banc-valles", &form(login), now).unwrap().answer;
    assert_eq!(answer(&wrong, NOW), Answer::WrongLogin { attempts_left: 2 });
    assert_eq!(answer(&wrong, NOW), Answer::WrongLogin { attempts_left: 1 });
    let until = NOW + 24 * 3600;
    assert_eq!(answer(&wrong, NOW), Answer::Locked { until });
    assert_eq!(answer(&right, until - 1), Answer::Locked { until });
    assert_eq!(answer(&right, until), Answer::SignedIn);
    assert_eq!(answer(&wrong, until), Answer::WrongLogin { attempts_left: 2 }, "a success forgives");
}

#[test]
fn a_shown_code_is_taken_once_and_only_near_its_step() {
    let institution = institutions::find("courtier-bourse").unwrap();
    let mut books = books();
    let phone = enrol(&mut books, &login("courtier-bourse")).unwrap();
    let shown = books.shown_codes("+34600000001", &phone.phone_token, NOW).unwrap();
    let code = shown[0].code.clone().into_bytes();
    assert!(books.shown_codes("+34600000001", "another token", NOW).is_none());
    let account = &mut books.accounts[0];
    assert!(!account.accept_shown_code(&institution, &code, NOW + 61), "two steps late");
    assert!(account.accept_shown_code(&institution, &code, NOW + 30), "one step late");
    assert!(!account.accept_shown_code(&institution, &code, NOW), "a second time");
}

#[test]
fn a_signing_factor_at_login_is_counted() {
    let mut books = books();
    let caja = login("caja-colegiados");
    enrol(&mut books, &caja).unwrap();
    let mut fields: Vec<_> = caja.fields().collect();
    fields.push(("signature_key", b"ABCDEFGH"));
    books.sign_in("caja-colegiados", &Form::of(&fields), NOW).unwrap();
    assert_eq!(books.stats(NOW).signing_factors, 1);
}
