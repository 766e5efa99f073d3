//! Secrets that are not sealed, sealed to somebody else, for something else, or that the vault never takes.

use cofre_client::sealing::{Enrolment, SealedLogin, VerifiedDepositKey, seal};
use cofre_client::{ClientSecret, FrontEnd};
use cofre_envelope::context::DepositContext;
use cofre_envelope::{PublicKey, Suite, WorkerKeyPair, seal_deposit};
use cofre_model::credential::FieldKey;
use cofre_model::request::{Login, SubjectRef};
use cofre_testkit::institutions;
use cofre_testkit::logins;
use tonic::Code;

use super::{ABSENT, BAD, No, STATE, Yard};

const MALFORMED: No = No(Code::InvalidArgument, "DEPOSIT_REFUSED", "DEPOSIT_MALFORMED");
const SIGNS: No = No(Code::InvalidArgument, "DEPOSIT_REFUSED", "SIGNING_FACTOR_REFUSED");
const TWIN: No = No(Code::InvalidArgument, "DEPOSIT_REFUSED", "DUPLICATE_LOGIN");

type Typed = Vec<(String, Vec<u8>)>;

/// A front end whose page seals wrongly.
struct Page<'a> {
    yard: &'a Yard,
    front_end: &'a FrontEnd,
    enrolment: Enrolment,
    key: VerifiedDepositKey,
    typed: Typed,
}

fn key(text: &str) -> FieldKey {
    text.try_into().expect("a key")
}

fn secrets(typed: &Typed) -> Vec<(FieldKey, ClientSecret)> {
    typed.iter().map(|(name, value)| (key(name), ClientSecret::copy_of(value))).collect()
}

fn new_login(institution: &str, subject: &str) -> Login {
    Login::New {
        institution: format!("ins_{institution}").as_str().try_into().expect("an id"),
        subject: SubjectRef::try_from(subject).expect("a token"),
    }
}

impl Page<'_> {
    /// Sealed as it has to be.
    fn right(&self) -> SealedLogin {
        seal(&self.enrolment, &self.key, secrets(&self.typed)).expect("sealed")
    }

    /// Sealed to any key, with any fields: what the client library refuses to do.
    fn sealed(&self, to: &PublicKey, typed: &Typed) -> SealedLogin {
        let context = DepositContext {
            tenant: self.key.signed().tenant,
            key: self.key.signed().id,
            enrolment: self.enrolment.id,
            owner: self.enrolment.owner,
            credential: self.enrolment.credential,
            template_version: self.enrolment.template_version,
        };
        let sealed = seal_deposit(to, &context, secrets(typed)).expect("sealed");
        SealedLogin {
            enrolment: self.enrolment.id,
            deposit_key: self.key.signed().id,
            encapsulated_key: sealed.encapsulated_key,
            fields: sealed.fields.into_iter().map(|field| (field.key, field.sealed)).collect(),
        }
    }

    /// Sealed to the tenant's key with other fields than the form has.
    fn with(&self, change: impl FnOnce(&mut Typed)) -> SealedLogin {
        let to = PublicKey::try_from(&self.key.signed().key).expect("a key");
        let mut typed = self.typed.clone();
        change(&mut typed);
        self.sealed(&to, &typed)
    }

    async fn refused(&self, what: &str, sealed: SealedLogin, no: No, field: Option<&str>) {
        let answer = self.front_end.deposit(sealed).await;
        self.yard.refused_at(what, Some("DepositService/Deposit"), answer, no, field);
    }

    async fn changed(&self, what: &str, change: impl FnOnce(&mut SealedLogin), no: No, field: &str) {
        let mut sealed = self.right();
        change(&mut sealed);
        self.refused(what, sealed, no, Some(field)).await;
    }
}

/// A new secret for a login that rests, in every way but the right one.
pub(super) async fn wrongly(yard: &Yard) {
    let victim = yard.login_at("caja-colegiados");
    let front_end = yard.world.north.front_end().expect("connected");
    let typed = victim.login.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let page = Page {
        yard,
        front_end,
        enrolment: front_end.open_enrolment(&Login::Existing(victim.credential)).await.expect("a session"),
        key: front_end.deposit_key().await.expect("a key"),
        typed,
    };
    not_ciphertext(&page).await;
    sealed_for_another(&page).await;
    rearranged(&page).await;
    not_the_form(&page).await;
    front_end.cancel_enrolment(&page.enrolment.id).await.expect("still open");
    page.refused("a session that ended", page.right(), STATE, None).await;
    used_twice(yard, front_end).await;
    assert_eq!(yard.settle().await, 28);
}

async fn not_ciphertext(page: &Page<'_>) {
    let plain: Vec<_> = page.typed.iter().map(|(name, value)| (key(name), value.clone())).collect();
    page.changed("plain values", |it| it.fields = plain.clone(), MALFORMED, "fields").await;
    let plainer = |it: &mut SealedLogin| (it.fields, it.encapsulated_key) = (plain, Vec::new());
    page.changed("plain values and no key", plainer, BAD, "encapsulated_key").await;
    page.changed("an empty field", |it| it.fields[0].1.clear(), BAD, "fields[0].sealed").await;
    page.changed("a field beyond 4 KiB", |it| it.fields[1].1 = vec![7; 4_097], BAD, "fields[1].sealed").await;
    page.changed("a key beyond 2 KiB", |it| it.encapsulated_key = vec![7; 2_049], BAD, "encapsulated_key").await;
    page.changed("a key cut short", |it| it.encapsulated_key.truncate(1_119), MALFORMED, "fields").await;
    page.changed("a ciphertext cut short", |it| _ = it.fields[2].1.pop(), MALFORMED, "fields").await;
    page.changed("a tag alone", |it| it.fields[2].1.truncate(16), MALFORMED, "fields").await;
    page.changed("one bit flipped", |it| it.fields[2].1[3] ^= 1, MALFORMED, "fields").await;
    page.changed("one bit of the key flipped", |it| it.encapsulated_key[9] ^= 1, MALFORMED, "fields").await;
}

async fn sealed_for_another(page: &Page<'_>) {
    let other = page.front_end.open_enrolment(&new_login("caja-colegiados", "hostile-other")).await.expect("a session");
    let elsewhere = seal(&other, &page.key, secrets(&page.typed)).expect("sealed");
    let elsewhere = SealedLogin { enrolment: page.enrolment.id, ..elsewhere };
    page.refused("sealed for another session", elsewhere, MALFORMED, Some("fields")).await;
    page.front_end.cancel_enrolment(&other.id).await.expect("still open");

    for (what, suite) in [("an X25519 key", Suite::X25519), ("a stranger's key", Suite::MlKem768X25519)] {
        let pair = WorkerKeyPair::generate(suite).expect("a pair");
        page.refused(what, page.sealed(pair.public(), &page.typed), MALFORMED, Some("fields")).await;
    }
    let south = page.yard.world.south.front_end().expect("connected").deposit_key().await.expect("a key");
    let theirs = PublicKey::try_from(&south.signed().key).expect("a key");
    let sealed = page.sealed(&theirs, &page.typed);
    page.refused("another tenant's key", sealed.clone(), MALFORMED, Some("fields")).await;
    let named = SealedLogin { deposit_key: south.signed().id, ..sealed };
    page.refused("another tenant's key, named", named, ABSENT, Some("deposit_key_id")).await;
}

async fn rearranged(page: &Page<'_>) {
    page.changed("two fields in the other order", |it| it.fields.swap(0, 1), MALFORMED, "fields").await;
    let exchange = |it: &mut SealedLogin| {
        let first = it.fields[0].1.clone();
        it.fields[0].1 = std::mem::replace(&mut it.fields[1].1, first);
    };
    page.changed("two values exchanged", exchange, MALFORMED, "fields").await;
    page.changed("a field dropped", |it| drop(it.fields.pop()), MALFORMED, "fields.password").await;
    page.changed("no field", |it| it.fields.clear(), BAD, "fields").await;
    let twice = |it: &mut SealedLogin| it.fields.push(it.fields[0].clone());
    page.changed("a field twice", twice, BAD, "fields[3].key").await;
    let many = |it: &mut SealedLogin| it.fields = (0..17).map(|n| (key(&format!("f{n}")), vec![1; 80])).collect();
    page.changed("seventeen fields", many, BAD, "fields").await;
}

async fn not_the_form(page: &Page<'_>) {
    let signs = || ("signature_key".to_owned(), b"ABCDEFGH12345678".to_vec());
    let sealed = page.with(|typed| typed.push(signs()));
    page.refused("a signing factor", sealed, SIGNS, Some("fields[3].key")).await;
    let sealed = page.with(|typed| *typed = vec![signs()]);
    page.refused("a signing factor alone", sealed, SIGNS, Some("fields[0].key")).await;
    let sealed = page.with(|typed| typed.push(("iban".to_owned(), b"ES00".to_vec())));
    page.refused("a field of no form", sealed, MALFORMED, Some("fields[3].key")).await;
    let sealed = page.with(|typed| typed[0].1 = b"Not A User".to_vec());
    page.refused("a value against the pattern", sealed, MALFORMED, Some("fields.user")).await;
}

async fn used_twice(yard: &Yard, front_end: &FrontEnd) {
    let form = institutions::find("banque-jeune").expect("a fixture");
    let typed: Typed = logins::login(&form, 71_000)
        .expect("a login")
        .fields()
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect();
    let mut page = Page {
        yard,
        front_end,
        enrolment: front_end.open_enrolment(&new_login("banque-jeune", "hostile-once")).await.expect("a session"),
        key: front_end.deposit_key().await.expect("a key"),
        typed,
    };
    let sealed = page.right();
    let rests = front_end.deposit(sealed.clone()).await.expect("taken once");
    page.refused("a session used twice", sealed, STATE, None).await;
    assert_eq!(front_end.credential_state(&rests.credential).await.expect("a login").secret_version, 1);
    page.enrolment = front_end.open_enrolment(&new_login("banque-jeune", "hostile-twin")).await.expect("a session");
    page.refused("a login that rests already", page.right(), TWIN, None).await;
    let state = front_end.credential_state(&page.enrolment.credential).await.expect("a login");
    assert_eq!((state.state.as_str(), state.secret_version), ("ENROLLING", 0));
}
