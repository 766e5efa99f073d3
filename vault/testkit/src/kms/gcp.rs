//! Google Cloud KMS: JSON over HTTP as the official Rust client speaks it, with CRC32C beside every value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::keys::Signed;
use super::{Answer, Call, House, Kind, RING, Refusal, SKEW_SECS, Spoilt, State, admitted, held};

pub(super) fn answer(house: &House, call: &Call) -> Answer {
    let given = authenticated(call).and_then(|()| served(house, call));
    let (status, body) = given.unwrap_or_else(said);
    Answer { status, kind: "application/json; charset=UTF-8", headers: Vec::new(), body }
}

fn said(refusal: Refusal) -> (u16, Value) {
    let error = |code: u16, status: &str, message: &str| {
        (code, json!({ "error": { "code": code, "status": status, "message": message } }))
    };
    match refusal {
        Refusal::Throttled => error(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric"),
        Refusal::Broken => error(503, "UNAVAILABLE", "The service is currently unavailable."),
        Refusal::Unknown | Refusal::BadSignature | Refusal::Elsewhere | Refusal::Skewed => {
            error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        }
        Refusal::Denied => error(403, "PERMISSION_DENIED", "Permission denied on resource (or it may not exist)."),
        Refusal::NoSuchKey | Refusal::NoSuchVersion => error(404, "NOT_FOUND", "CryptoKey not found."),
        Refusal::NoSuchOperation => error(501, "UNIMPLEMENTED", "Method not found."),
        Refusal::State(state) => {
            let word = word(state);
            let description = format!("the version is not enabled, current state is: {word}.");
            let violation = json!({ "type": format!("KEY_{word}"), "subject": "version", "description": description });
            let detail =
                json!({ "@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation] });
            let body = json!({ "error": {
                "code": 400, "status": "FAILED_PRECONDITION", "message": description, "details": [detail],
            } });
            (400, body)
        }
        Refusal::Unopened | Refusal::Foreign => {
            error(400, "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
        }
        Refusal::Usage => error(400, "INVALID_ARGUMENT", "The key's purpose or algorithm does not allow this."),
        Refusal::Malformed(what) => error(400, "INVALID_ARGUMENT", &format!("Invalid value at '{what}'.")),
        Refusal::Checksum(field) => error(
            400,
            "INVALID_ARGUMENT",
            &format!("The checksum in field {field}_crc32c did not match the data in field {field}."),
        ),
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Enabled => "ENABLED",
        State::Disabled => "DISABLED",
        State::PendingDeletion => "DESTROY_SCHEDULED",
        State::Destroyed => "DESTROYED",
    }
}

fn authenticated(call: &Call) -> Result<(), Refusal> {
    // What the caller signed to get its token would be too old, or not yet valid.
    if call.weather.ahead.abs() > SKEW_SECS {
        return Err(Refusal::Skewed);
    }
    let token = call.header("authorization").strip_prefix("Bearer ").ok_or(Refusal::Unknown)?;
    admitted(call, token)
}

fn served(house: &House, call: &Call) -> Result<(u16, Value), Refusal> {
    let path = call.uri.path().strip_prefix("/v1/").ok_or(Refusal::NoSuchOperation)?;
    let rest = path.strip_prefix(RING).and_then(|rest| rest.strip_prefix("/cryptoKeys/")).ok_or(Refusal::NoSuchKey)?;
    let (rest, verb) = rest.split_once(':').unwrap_or((rest, ""));
    let mut parts = rest.split('/');
    let name = parts.next().unwrap_or_default();
    let version = match (parts.next(), parts.next()) {
        (None, _) => None,
        (Some("cryptoKeyVersions"), Some(number)) => Some(number.parse::<u32>().map_err(|_| Refusal::NoSuchVersion)?),
        _ => return Err(Refusal::NoSuchOperation),
    };
    let wire = Wire { house, name, call };
    let body = match (call.method.as_str(), verb, version, parts.next()) {
        ("POST", "encrypt", None, None) => wire.encrypt(),
        ("POST", "decrypt", None, None) => wire.decrypt(),
        ("POST", "asymmetricSign", Some(version), None) => wire.sign(version),
        ("GET", "", None, None) => wire.key(),
        ("GET", "", Some(version), None) => wire.version(version),
        ("GET", "", Some(version), Some("publicKey")) => wire.public_key(version),
        _ => Err(Refusal::NoSuchOperation),
    };
    body.map(|body| (200, body))
}

struct Wire<'a> {
    house: &'a House,
    name: &'a str,
    call: &'a Call,
}

impl Wire<'_> {
    fn spoils(&self, what: Spoilt) -> bool {
        self.call.weather.spoilt == Some(what)
    }

    /// A field of the request as it arrives, checked against the checksum beside it where there is one.
    fn field(&self, asked: &Value, name: &'static str, sum: &str) -> Result<(Vec<u8>, bool), Refusal> {
        let text = asked[name].as_str().unwrap_or_default();
        let mut bytes = STANDARD.decode(text).map_err(|_| Refusal::Malformed(name))?;
        if self.spoils(Spoilt::Request)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
        let checked = self.checked(asked, sum, &bytes).ok_or(Refusal::Checksum(name))?;
        Ok((bytes, checked))
    }

    /// Whether there was a checksum; none where it does not match.
    fn checked(&self, asked: &Value, sum: &str, bytes: &[u8]) -> Option<bool> {
        // A 64-bit integer is a text in JSON; a lenient reader takes a number too.
        let said = match &asked[sum] {
            Value::Null => return Some(false),
            Value::String(text) => text.parse::<u64>().ok()?,
            other => other.as_u64()?,
        };
        (said == u64::from(crc32c(bytes))).then_some(!self.spoils(Spoilt::Unverified))
    }

    /// A value of the answer with its checksum.
    fn value(&self, body: &mut Value, name: &str, bytes: &[u8]) {
        body[format!("{name}Crc32c")] = crc32c(bytes).to_string().into();
        let mut bytes = bytes.to_vec();
        if self.spoils(Spoilt::Answer)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
        body[name] = STANDARD.encode(bytes).into();
    }

    fn resource(&self, version: u32) -> String {
        format!("{RING}/cryptoKeys/{}/cryptoKeyVersions/{version}", self.name)
    }

    fn encrypt(&self) -> Result<Value, Refusal> {
        self.house.count(self.name, "encrypt");
        let asked = self.call.json()?;
        let (plain, plain_checked) = self.field(&asked, "plaintext", "plaintextCrc32c")?;
        let aad = STANDARD.decode(asked["additionalAuthenticatedData"].as_str().unwrap_or_default());
        let aad = aad.map_err(|_| Refusal::Malformed("additionalAuthenticatedData"))?;
        let aad_checked = self.checked(&asked, "additionalAuthenticatedDataCrc32c", &aad);
        let aad_checked = aad_checked.ok_or(Refusal::Checksum("additional_authenticated_data"))?;
        let (version, sealed) = held(&self.house.keys).seal(self.name, &[], &aad, &plain)?;
        let mut body = json!({
            "name": self.resource(version), "protectionLevel": "SOFTWARE",
            "verifiedPlaintextCrc32c": plain_checked, "verifiedAdditionalAuthenticatedDataCrc32c": aad_checked,
        });
        self.value(&mut body, "ciphertext", &[&version.to_be_bytes(), &sealed[..]].concat());
        Ok(body)
    }

    fn decrypt(&self) -> Result<Value, Refusal> {
        self.house.count(self.name, "decrypt");
        let asked = self.call.json()?;
        let keys = held(&self.house.keys);
        let latest = keys.get(self.name)?.latest();
        let (blob, _) = self.field(&asked, "ciphertext", "ciphertextCrc32c")?;
        let aad = STANDARD.decode(asked["additionalAuthenticatedData"].as_str().unwrap_or_default());
        let aad = aad.map_err(|_| Refusal::Malformed("additionalAuthenticatedData"))?;
        self.checked(&asked, "additionalAuthenticatedDataCrc32c", &aad)
            .ok_or(Refusal::Checksum("additional_authenticated_data"))?;
        let (version, sealed) = blob.split_first_chunk::<4>().ok_or(Refusal::Unopened)?;
        let version = u32::from_be_bytes(*version);
        let plain = match keys.open(self.name, version, &[], &aad, sealed) {
            // Bytes that name no version were not made by this key.
            Err(Refusal::NoSuchVersion) => return Err(Refusal::Unopened),
            opened => opened?,
        };
        let mut body = json!({ "usedPrimary": version == latest, "protectionLevel": "SOFTWARE" });
        self.value(&mut body, "plaintext", &plain);
        Ok(body)
    }

    fn sign(&self, version: u32) -> Result<Value, Refusal> {
        self.house.count(self.name, "asymmetricSign");
        let asked = self.call.json()?;
        let keys = held(&self.house.keys);
        let kind = keys.get(self.name)?.kind;
        let mut body = json!({ "name": self.resource(version), "protectionLevel": "SOFTWARE" });
        let signature = match kind {
            Kind::P256 => {
                let mut with_sum = asked["digest"].clone();
                with_sum["sum"] = asked["digestCrc32c"].clone();
                let (digest, checked) = self.field(&with_sum, "sha256", "sum")?;
                body["verifiedDigestCrc32c"] = checked.into();
                keys.sign(self.name, version, &Signed::Digest(&digest))?
            }
            _ => {
                let (data, checked) = self.field(&asked, "data", "dataCrc32c")?;
                body["verifiedDataCrc32c"] = checked.into();
                keys.sign(self.name, version, &Signed::Message(&data))?
            }
        };
        self.value(&mut body, "signature", &signature);
        Ok(body)
    }

    fn key(&self) -> Result<Value, Refusal> {
        self.house.count(self.name, "getCryptoKey");
        let latest = held(&self.house.keys).get(self.name)?.latest();
        let version = self.state_of(latest)?;
        let signs = version["algorithm"] != "GOOGLE_SYMMETRIC_ENCRYPTION";
        let purpose = if signs { "ASYMMETRIC_SIGN" } else { "ENCRYPT_DECRYPT" };
        let mut body = json!({
            "name": format!("{RING}/cryptoKeys/{}", self.name), "purpose": purpose,
            "createTime": "2026-11-22T21:54:01.000000000Z", "destroyScheduledDuration": "2592000s",
            "versionTemplate": { "protectionLevel": "SOFTWARE", "algorithm": version["algorithm"] },
        });
        if !signs {
            body["primary"] = version;
        }
        Ok(body)
    }

    fn version(&self, version: u32) -> Result<Value, Refusal> {
        self.house.count(self.name, "getCryptoKeyVersion");
        self.state_of(version)
    }

    fn state_of(&self, version: u32) -> Result<Value, Refusal> {
        let keys = held(&self.house.keys);
        let key = keys.get(self.name)?;
        let state = key.state(version)?;
        Ok(json!({
            "name": self.resource(version), "state": word(state), "protectionLevel": "SOFTWARE",
            "algorithm": algorithm(key.kind), "createTime": "2026-11-22T21:54:01.000000000Z",
        }))
    }

    fn public_key(&self, version: u32) -> Result<Value, Refusal> {
        self.house.count(self.name, "getPublicKey");
        let keys = held(&self.house.keys);
        let kind = keys.get(self.name)?.kind;
        let (_, der) = keys.public(self.name, version)?;
        let mut pem = super::pem(&der);
        let sum = crc32c(pem.as_bytes()).to_string();
        if self.spoils(Spoilt::Answer) {
            pem.push('\n');
        }
        Ok(json!({
            "name": self.resource(version), "pem": pem, "pemCrc32c": sum, "algorithm": algorithm(kind),
            "protectionLevel": "SOFTWARE",
        }))
    }
}

const fn algorithm(kind: Kind) -> &'static str {
    match kind {
        Kind::Aes | Kind::Derived => "GOOGLE_SYMMETRIC_ENCRYPTION",
        Kind::Ed25519 => "EC_SIGN_ED25519",
        Kind::P256 => "EC_SIGN_P256_SHA256",
    }
}

/// CRC-32C (Castagnoli, RFC 3720), bit by bit: of another make than the driver's.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
