//! What was made: facts, attributes as the token told them afterwards, and who was there. Signed by the key that was
//! made with it, then by those who approved the plan.

use std::fmt;

use cofre_model::time::Timestamp;

use super::approval::time;
use super::lines::{Reader, Writer};
use super::{Approval, CeremonyError, Person, Plan, Use, approvers, shape, unfinished};
use crate::Hash;
use crate::note::{Note, NoteError, NoteKey};
use crate::text::{base64, from_base64};

const TEXT: &str = "record";
const LABEL: &str = "cofre/v1/key-ceremony";

/// An object of a key: the secret key, or one half of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// `secret`, `private` or `public`; `service` for a key of a service.
    pub class: String,
    /// Names and values of attributes, as the token gave them.
    pub attributes: Vec<(String, String)>,
}

/// A key that was made, or that was found at a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it is for.
    pub used_to: Use,
    /// Its label, or its name at the service.
    pub label: String,
    /// What it is, such as `AES-256` or `ed25519`.
    pub kind: String,
    /// The public half: 32 bytes of Ed25519, an uncompressed point, or an RSA modulus.
    pub public: Option<Vec<u8>>,
    /// The token's own check value of a secret key (`CKA_CHECK_VALUE`), where it has one.
    pub check_value: Option<Vec<u8>>,
    /// Its objects.
    pub objects: Vec<Object>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// When the keys were made; whole seconds.
    pub at: Timestamp,
    /// Program and version.
    pub tool: String,
    /// What was to be made.
    pub plan: Plan,
    /// Label, serial number, manufacturer and model of the token, as it told them.
    pub token: [String; 4],
    /// How the wrapping key wraps.
    pub mechanism: String,
    /// What showed it.
    pub why: String,
    /// A throw-away value of 64 bytes, wrapped: a token or a service opens it if its wrapping key is this one.
    pub witness: Vec<u8>,
    /// The key that signs, under the ledger's name; none where the custodian does not sign.
    pub verifier_key: Option<NoteKey>,
    /// The keys.
    pub keys: Vec<Key>,
    /// The approvals, whole.
    pub approvals: Vec<Approval>,
}

pub(super) const TOKEN: [&str; 4] = ["token-label", "token-serial", "token-manufacturer", "token-model"];

impl Body {
    fn to_text(&self) -> String {
        let mut text = Writer::new(LABEL);
        text.line("deployment", &self.plan.deployment);
        text.line("custodian", &self.plan.custodian);
        text.line("at", &self.at.to_string());
        text.line("tool", &self.tool);
        text.line("people", &self.plan.people.to_string());
        text.line("plan", &base64(self.plan.to_text().as_bytes()));
        for (name, value) in TOKEN.iter().zip(&self.token) {
            text.line(name, value);
        }
        text.line("module-sha256", &self.plan.module_sha256);
        text.line("mechanism", &self.mechanism);
        text.line("why", &self.why);
        text.line("witness", &base64(&self.witness));
        text.line("verifier-key", &self.verifier_key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
        self.keys.iter().for_each(|key| key.write(&mut text));
        for approval in &self.approvals {
            text.line("approval", &base64(approval.to_string().as_bytes()));
        }
        text.finish()
    }

    fn read(text: &str) -> Result<Self, CeremonyError> {
        let mut lines = Reader::new(TEXT, LABEL, text)?;
        let off = |line: &'static str, same: bool| match same {
            true => Ok(()),
            false => Err(CeremonyError::OffPlan(line)),
        };
        let (deployment, custodian) = (lines.value("deployment")?, lines.value("custodian")?);
        let at = lines.parsed("at", time)?;
        let tool = lines.value("tool")?.to_owned();
        let people = lines.value("people")?;
        let plan = lines.parsed("plan", |text| String::from_utf8(from_base64(text)?).ok())?;
        let plan = Plan::parse(&plan)?;
        let mut token: [String; 4] = Default::default();
        for (name, value) in TOKEN.iter().zip(&mut token) {
            lines.value(name)?.clone_into(value);
        }
        let module_sha256 = lines.value("module-sha256")?;
        off("deployment", plan.deployment == deployment)?;
        off("custodian", plan.custodian == custodian)?;
        off("people", plan.people.to_string() == people)?;
        off("module-sha256", plan.module_sha256 == module_sha256)?;
        let mut body = Self {
            at,
            tool,
            plan,
            token,
            mechanism: lines.value("mechanism")?.to_owned(),
            why: lines.value("why")?.to_owned(),
            witness: lines.parsed("witness", from_base64)?,
            verifier_key: lines.parsed("verifier-key", |text| maybe(text, |key| NoteKey::parse(key).ok()))?,
            keys: Vec::new(),
            approvals: Vec::new(),
        };
        while let Some(used_to) = lines.maybe("key") {
            body.keys.push(read_key(&mut lines, used_to)?);
        }
        while let Some(approval) = lines.maybe("approval") {
            let text = from_base64(approval).and_then(|bytes| String::from_utf8(bytes).ok());
            body.approvals.push(Approval::parse(&text.ok_or_else(|| lines.malformed("approval"))?)?);
        }
        lines.end()?;
        Ok(body)
    }

    /// Of keys of a service: the SHA-256 of the value behind the witness.
    #[must_use]
    pub fn witness_sha256(&self) -> Option<Hash> {
        shape::witness_sha256(self)
    }
}

impl Key {
    /// Its lines, one after the other.
    pub(super) fn write(&self, text: &mut Writer) {
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or_else(|| "-".to_owned(), |bytes| base64(bytes));
        text.line("key", self.used_to.as_str());
        text.line("label", &self.label);
        text.line("kind", &self.kind);
        text.line("public", &bytes(&self.public));
        text.line("check-value", &self.check_value.as_ref().map_or_else(|| "-".to_owned(), hex::encode));
        for object in &self.objects {
            text.line("object", &object.class);
            for (name, value) in &object.attributes {
                text.line("attribute", &format!("{name} {value}"));
            }
        }
    }
}

fn read_key(lines: &mut Reader<'_>, used_to: &str) -> Result<Key, CeremonyError> {
    let mut key = Key {
        used_to: Use::from_text(used_to).ok_or_else(|| lines.malformed("key"))?,
        label: lines.value("label")?.to_owned(),
        kind: lines.value("kind")?.to_owned(),
        public: lines.parsed("public", |text| maybe(text, from_base64))?,
        check_value: lines.parsed("check-value", |text| maybe(text, |hex| hex::decode(hex).ok()))?,
        objects: Vec::new(),
    };
    while let Some(class) = lines.maybe("object") {
        let mut object = Object { class: class.to_owned(), attributes: Vec::new() };
        while let Some(attribute) = lines.maybe("attribute") {
            let (name, value) = attribute.split_once(' ').ok_or_else(|| lines.malformed("attribute"))?;
            object.attributes.push((name.to_owned(), value.to_owned()));
        }
        key.objects.push(object);
    }
    Ok(key)
}

fn maybe<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { read(text).map(Some) }
}

/// A record with whatever signatures it has. Parsing believes nothing; [`Record::verify`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    body: Body,
    note: Note,
}

/// What a record is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who approved the plan.
    pub approved: Vec<String>,
    /// Who signed the record.
    pub signed: Vec<String>,
    /// How many have to.
    pub wanted: u8,
}

impl Verified {
    /// Whether everybody signed who has to.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.signed.len() >= usize::from(self.wanted)
    }
}

impl Record {
    /// A record without a signature yet.
    ///
    /// # Errors
    /// [`CeremonyError::OffPlan`], [`CeremonyError::Unlike`] and [`CeremonyError::Loose`]: such a record is not to be
    /// signed.
    pub fn of(body: Body) -> Result<Self, CeremonyError> {
        shape::held(&body)?;
        let note = Note::new(&body.to_text()).map_err(|cause| CeremonyError::Note { text: TEXT, cause })?;
        Self::read(note)
    }

    /// Reads a record. One that nobody signed yet ends in its empty line.
    ///
    /// # Errors
    /// [`CeremonyError::Note`], [`CeremonyError::Malformed`], [`CeremonyError::OffPlan`], [`CeremonyError::NoRecord`].
    pub fn parse(text: &str) -> Result<Self, CeremonyError> {
        if unfinished::is_one(text) {
            return Err(CeremonyError::NoRecord);
        }
        let unsigned = text.strip_suffix('\n').filter(|text| text.ends_with('\n'));
        let note = unsigned.map_or_else(|| Note::parse(text), Note::new);
        Self::read(note.map_err(|cause| CeremonyError::Note { text: TEXT, cause })?)
    }

    fn read(note: Note) -> Result<Self, CeremonyError> {
        let body = Body::read(note.text())?;
        if body.to_text() != note.text() {
            return Err(CeremonyError::Malformed { text: TEXT, line: "end" });
        }
        Ok(Self { body, note })
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// Adds the signature of the key that was made: 64 bytes, as the token returns them.
    ///
    /// # Errors
    /// [`CeremonyError::Unsigned`] where the record names no such key or it does not hold.
    pub fn sign(&mut self, signature: [u8; 64]) -> Result<(), CeremonyError> {
        let key = self.body.verifier_key.clone().ok_or(CeremonyError::Unsigned)?;
        let made = |_: &[u8]| Ok::<_, std::convert::Infallible>(signature.to_vec());
        self.note.sign(&key, made).map_err(|_| CeremonyError::Unsigned)
    }

    /// Adds the signature of one who approved, as a note carries it.
    ///
    /// # Errors
    /// [`CeremonyError::Stranger`], [`CeremonyError::SignedBefore`] and [`CeremonyError::Signature`].
    pub fn countersign(&mut self, person: &NoteKey, signature: Vec<u8>) -> Result<(), CeremonyError> {
        let name = || person.name().to_owned();
        if !self.body.approvals.iter().any(|approval| approval.person() == person.name()) {
            return Err(CeremonyError::Stranger(name()));
        }
        if self.note.signatures().iter().any(|line| line.name == person.name()) {
            return Err(CeremonyError::SignedBefore(name()));
        }
        self.note.add(person, signature).map_err(|_| CeremonyError::Signature(name()))
    }

    /// Verifies everything: the record follows its plan, the plan was approved by enough people before the keys were
    /// made, the key that was made signed, and so did whoever of the people signed. `pinned` is the key it has to be of,
    /// `identify` says whom the chain of an approval proves at a time, which is when the keys were made: the clock of the
    /// machine that made them, and no approver's own.
    ///
    /// # Errors
    /// [`CeremonyError`] names the first thing that does not hold. Signatures that are still missing are no error.
    pub fn verify(
        &self,
        pinned: Option<&NoteKey>,
        identify: impl FnMut(&Approval, Timestamp) -> Result<Person, CeremonyError>,
    ) -> Result<Verified, CeremonyError> {
        let body = &self.body;
        shape::held(body)?;
        if pinned.is_some() && pinned.map(NoteKey::key) != body.verifier_key.as_ref().map(NoteKey::key) {
            return Err(CeremonyError::OtherKey);
        }
        match &body.verifier_key {
            Some(key) => self.signed_by(key).map_err(|_| CeremonyError::Unsigned)?,
            // Somebody has to have signed: of a custodian that only wraps, the people.
            None if body.plan.people == 0 => return Err(CeremonyError::Unsigned),
            None => {}
        }
        let people = approvers(&body.plan, &body.approvals, body.at, identify)?;
        let mut signed = Vec::new();
        for person in &people {
            if !self.note.signatures().iter().any(|line| line.name == person.name) {
                continue;
            }
            let key = NoteKey::new(&person.name, person.key.clone());
            let holds = key.is_ok_and(|key| self.signed_by(&key).is_ok());
            if !holds {
                return Err(CeremonyError::Signature(person.name.clone()));
            }
            signed.push(person.name.clone());
        }
        let approved = people.into_iter().map(|person| person.name).collect();
        Ok(Verified { approved, signed, wanted: body.plan.people })
    }

    fn signed_by(&self, key: &NoteKey) -> Result<(), NoteError> {
        self.note.verify(std::slice::from_ref(key)).map(drop)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
