//! What crosses between the front end's server and the investor's page: the key and the form one way, the sealed
//! login the other. Both as JSON; neither holds a secret that the other side could read.

use cofre_model::credential::FieldKey;
use cofre_model::registry::TemplateField;
use cofre_model::request::{SealKey, SealSuite};
use cofre_model::time::Timestamp;
use cofre_model::wording::Form;
use serde::{Deserialize, Serialize};

use super::{Enrolment, SealedLogin, SignedDepositKey};

/// A text is not a page or a sealed login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct NotAPage(&'static str);

/// What a page needs to seal: the key, still to be verified there, and the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The deposit key.
    pub key: SignedDepositKey,
    /// The session and its form.
    pub enrolment: Enrolment,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageText {
    key_id: String,
    tenant_id: String,
    suite: String,
    public_key: String,
    not_before_us: u64,
    not_after_us: u64,
    signature: String,
    enrolment_id: String,
    credential_id: String,
    owner_id: String,
    template_version: u32,
    fields: Vec<FieldText>,
    expires_us: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    key: String,
    pattern: String,
    required: bool,
    secret: bool,
    signing_factor: bool,
    identifies: bool,
    release_form: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedText {
    enrolment_id: String,
    deposit_key_id: String,
    encapsulated_key: String,
    fields: Vec<SealedFieldText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedFieldText {
    key: String,
    sealed: String,
}

impl Page {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fields = self.enrolment.fields.iter().map(|field| FieldText {
            key: field.key.to_string(),
            pattern: field.pattern.clone(),
            required: field.required,
            secret: field.secret,
            signing_factor: field.signing_factor,
            identifies: field.identifies,
            release_form: field.release_form.to_string(),
        });
        json(&PageText {
            key_id: self.key.id.to_string(),
            tenant_id: self.key.tenant.to_string(),
            suite: self.key.key.suite.to_string(),
            public_key: hex::encode(&self.key.key.bytes),
            not_before_us: self.key.not_before.micros(),
            not_after_us: self.key.not_after.micros(),
            signature: hex::encode(&self.key.signature),
            enrolment_id: self.enrolment.id.to_string(),
            credential_id: self.enrolment.credential.to_string(),
            owner_id: self.enrolment.owner.to_string(),
            template_version: self.enrolment.template_version,
            fields: fields.collect(),
            expires_us: self.enrolment.expires.micros(),
        })
    }

    /// From its JSON.
    ///
    /// # Errors
    /// [`NotAPage`] names the field.
    pub fn from_json(text: &str) -> Result<Self, NotAPage> {
        let page: PageText = serde_json::from_str(text).map_err(|_| NotAPage("page"))?;
        let key = SignedDepositKey {
            id: id("key_id", &page.key_id)?,
            tenant: id("tenant_id", &page.tenant_id)?,
            key: SealKey {
                suite: SealSuite::from_text(&page.suite).ok_or(NotAPage("suite"))?,
                bytes: bytes("public_key", &page.public_key)?,
            },
            not_before: Timestamp::from_micros(page.not_before_us),
            not_after: Timestamp::from_micros(page.not_after_us),
            signature: bytes("signature", &page.signature)?,
        };
        let enrolment = Enrolment {
            id: id("enrolment_id", &page.enrolment_id)?,
            credential: id("credential_id", &page.credential_id)?,
            owner: id("owner_id", &page.owner_id)?,
            template_version: page.template_version,
            fields: page.fields.into_iter().map(field).collect::<Result<_, _>>()?,
            expires: Timestamp::from_micros(page.expires_us),
        };
        Ok(Self { key, enrolment })
    }
}

fn field(text: FieldText) -> Result<TemplateField, NotAPage> {
    Ok(TemplateField {
        key: id::<FieldKey>("fields.key", &text.key)?,
        pattern: text.pattern,
        required: text.required,
        secret: text.secret,
        signing_factor: text.signing_factor,
        identifies: text.identifies,
        release_form: Form::from_text(&text.release_form).ok_or(NotAPage("fields.release_form"))?,
    })
}

impl SealedLogin {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fields = self.fields.iter();
        json(&SealedText {
            enrolment_id: self.enrolment.to_string(),
            deposit_key_id: self.deposit_key.to_string(),
            encapsulated_key: hex::encode(&self.encapsulated_key),
            fields: fields
                .map(|(key, sealed)| SealedFieldText { key: key.to_string(), sealed: hex::encode(sealed) })
                .collect(),
        })
    }

    /// From its JSON.
    ///
    /// # Errors
    /// [`NotAPage`] names the field.
    pub fn from_json(text: &str) -> Result<Self, NotAPage> {
        let sealed: SealedText = serde_json::from_str(text).map_err(|_| NotAPage("sealed login"))?;
        let fields = sealed.fields.iter();
        Ok(Self {
            enrolment: id("enrolment_id", &sealed.enrolment_id)?,
            deposit_key: id("deposit_key_id", &sealed.deposit_key_id)?,
            encapsulated_key: bytes("encapsulated_key", &sealed.encapsulated_key)?,
            fields: fields
                .map(|field| Ok((id("fields.key", &field.key)?, bytes("fields.sealed", &field.sealed)?)))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn json(value: &impl Serialize) -> String {
    // INVARIANT: structs of strings, numbers and lists always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

fn id<'a, T: TryFrom<&'a str>>(field: &'static str, text: &'a str) -> Result<T, NotAPage> {
    T::try_from(text).map_err(|_| NotAPage(field))
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, NotAPage> {
    hex::decode(text).map_err(|_| NotAPage(field))
}
