//! AWS KMS: JSON 1.1, one address, the operation in `x-amz-target`, every request signed (Signature Version 4).

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::keys::Signed;
use super::{
    ACCOUNT, Answer, CALLER, Call, House, Kind, REGION, Refusal, SECRET, SKEW_SECS, State, admitted, held, now,
};

/// Largest plaintext of Encrypt, and largest message of Sign with `MessageType` RAW.
const MOST: usize = 4096;
const BLOB: &[u8] = b"\x01\x02\x02\x00";

/// The ARN of a key: its id has the form of a UUID, as the service's own have.
pub(super) fn arn(name: &str) -> String {
    let id = hex::encode(Sha256::digest(name));
    let part = |from: usize, to: usize| id.get(from..to).unwrap_or_default().to_owned();
    let id = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}")
}

pub(super) fn answer(house: &House, call: &Call) -> Answer {
    let given = authenticated(call).and_then(|()| served(house, call));
    let (status, body) = match given {
        Ok(body) => (200, body),
        Err(refusal) => said(call, refusal),
    };
    let headers = vec![("x-amzn-requestid", call.request.clone())];
    Answer { status, kind: "application/x-amz-json-1.1", headers, body }
}

/// The exception of the service for a refusal.
fn said(call: &Call, refusal: Refusal) -> (u16, Value) {
    let exception = |name: &str, message: &str| json!({ "__type": name, "message": message });
    let (status, body) = match refusal {
        Refusal::Throttled => (400, exception("ThrottlingException", "Rate exceeded")),
        Refusal::Broken => (500, exception("KMSInternalException", "internal failure")),
        Refusal::Unknown => {
            (400, exception("UnrecognizedClientException", "The security token included in the request is invalid."))
        }
        Refusal::BadSignature => {
            let message = "The request signature we calculated does not match the signature you provided. Check your \
                           AWS Secret Access Key and signing method.";
            (400, exception("InvalidSignatureException", message))
        }
        Refusal::Elsewhere => {
            (400, exception("InvalidSignatureException", "Credential should be scoped to a valid region."))
        }
        Refusal::Skewed => {
            let signed = call.header("x-amz-date");
            let message = if call.weather.ahead > 0 {
                format!("Signature expired: {signed} is now earlier than the time of the service less 5 min.")
            } else {
                format!("Signature not yet current: {signed} is still later than the time of the service and 5 min.")
            };
            (400, exception("InvalidSignatureException", &message))
        }
        Refusal::Denied => (
            400,
            json!({ "__type": "AccessDeniedException", "Message": "the caller is not authorized to perform this" }),
        ),
        Refusal::NoSuchKey | Refusal::NoSuchVersion | Refusal::State(State::Destroyed) => {
            (400, exception("NotFoundException", "Key does not exist"))
        }
        Refusal::NoSuchOperation => (400, exception("UnknownOperationException", "")),
        Refusal::State(State::PendingDeletion) => {
            (400, exception("KMSInvalidStateException", "the key is pending deletion."))
        }
        Refusal::State(_) => (400, exception("DisabledException", "the key is disabled.")),
        Refusal::Foreign => (
            400,
            exception(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            ),
        ),
        Refusal::Unopened => (400, json!({ "__type": "InvalidCiphertextException" })),
        Refusal::Usage => (400, exception("InvalidKeyUsageException", "the key usage is another")),
        Refusal::Malformed(what) | Refusal::Checksum(what) => (400, exception("ValidationException", what)),
    };
    (status, body)
}

/// Checks who calls, that the signature is theirs, and that it was made about now.
fn authenticated(call: &Call) -> Result<(), Refusal> {
    let header = call.header("authorization");
    let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(Refusal::Malformed("authorization"))?;
    let field = |name: &str| {
        let parts = fields.split(',').filter_map(|part| part.trim().split_once('='));
        parts
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .ok_or(Refusal::Malformed("authorization"))
    };
    let scope = field("Credential")?;
    let [caller, day, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(Refusal::Malformed("credential"));
    };
    if caller != CALLER && !call.weather.denied.contains(caller) {
        return Err(Refusal::Unknown);
    }
    if service != "kms" || region != REGION {
        return Err(Refusal::Elsewhere);
    }
    let signed = call.header("x-amz-date");
    let at = seconds(signed).ok_or(Refusal::Malformed("x-amz-date"))?;
    if (now(&call.weather) - at).abs() > SKEW_SECS {
        return Err(Refusal::Skewed);
    }
    let names = field("SignedHeaders")?;
    let listed: String = names.split(';').map(|name| format!("{name}:{}\n", call.header(name).trim())).collect();
    let path = call.uri.path();
    let query = call.uri.query().unwrap_or_default();
    let body = hex::encode(Sha256::digest(&call.body));
    let canonical = format!("{}\n{path}\n{query}\n{listed}\n{names}\n{body}", call.method);
    let digest = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{signed}\n{day}/{region}/{service}/aws4_request\n{digest}");
    let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part).as_ref().to_vec());
    if hex::encode(mac(&key, &text).as_ref()) != field("Signature")? {
        return Err(Refusal::BadSignature);
    }
    admitted(call, caller)
}

/// Seconds since 1970 of `20261122T215401Z`.
fn seconds(text: &str) -> Option<i64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<u8>().ok();
    let year = digits.get(0..4)?.parse().ok()?;
    let date = time::Date::from_calendar_date(year, number(4, 6)?.try_into().ok()?, number(6, 8)?).ok()?;
    let at = time::Time::from_hms(number(8, 10)?, number(10, 12)?, number(12, 14)?).ok()?;
    Some(date.with_time(at).assume_utc().unix_timestamp())
}

fn served(house: &House, call: &Call) -> Result<Value, Refusal> {
    let operation = call.header("x-amz-target").strip_prefix("TrentService.").ok_or(Refusal::NoSuchOperation)?;
    let asked = call.json()?;
    let name = match (operation, asked["KeyId"].as_str()) {
        // A symmetric ciphertext names its key.
        ("Decrypt", None) => made_under(house, &bytes(&asked, "CiphertextBlob")?)?.0,
        (_, key) => named(house, key.ok_or(Refusal::Malformed("KeyId"))?)?,
    };
    house.count(&name, operation);
    match operation {
        "Encrypt" => encrypt(house, &name, &asked),
        "Decrypt" => decrypt(house, &name, &asked),
        "DescribeKey" => describe(house, &name),
        "GetPublicKey" => public_key(house, &name),
        "Sign" => sign(house, &name, &asked),
        _ => Err(Refusal::NoSuchOperation),
    }
}

/// The key that an id, or an ARN of this region, names.
fn named(house: &House, id: &str) -> Result<String, Refusal> {
    let keys = held(&house.keys);
    let is = |name: &&String| {
        let arn = arn(name);
        arn == id || arn.rsplit('/').next() == Some(id)
    };
    keys.0.keys().find(is).cloned().ok_or(Refusal::NoSuchKey)
}

fn bytes(asked: &Value, field: &'static str) -> Result<Vec<u8>, Refusal> {
    let text = asked[field].as_str().ok_or(Refusal::Malformed(field))?;
    STANDARD.decode(text).map_err(|_| Refusal::Malformed(field))
}

/// The encryption context in one order, each part with its length.
fn context(asked: &Value) -> Result<Vec<u8>, Refusal> {
    let given = asked["EncryptionContext"].as_object();
    let pairs: BTreeMap<&str, &str> = given
        .into_iter()
        .flatten()
        .map(|(name, value)| value.as_str().map(|value| (name.as_str(), value)))
        .collect::<Option<_>>()
        .ok_or(Refusal::Malformed("EncryptionContext"))?;
    let parts = pairs.into_iter().flat_map(|(name, value)| [name, value]);
    Ok(parts.flat_map(|part| [&part.len().to_be_bytes()[..], part.as_bytes()].concat()).collect())
}

/// Key and version that made a ciphertext, and what is sealed.
fn made_under(house: &House, blob: &[u8]) -> Result<(String, u32, Vec<u8>), Refusal> {
    let rest = blob.strip_prefix(BLOB).ok_or(Refusal::Unopened)?;
    let (id, rest) = rest.split_first_chunk::<36>().ok_or(Refusal::Unopened)?;
    let (version, sealed) = rest.split_first_chunk::<4>().ok_or(Refusal::Unopened)?;
    let id = std::str::from_utf8(id).map_err(|_| Refusal::Unopened)?;
    Ok((named(house, id).map_err(|_| Refusal::Unopened)?, u32::from_be_bytes(*version), sealed.to_vec()))
}

fn encrypt(house: &House, name: &str, asked: &Value) -> Result<Value, Refusal> {
    let plain = bytes(asked, "Plaintext")?;
    if plain.is_empty() || plain.len() > MOST {
        return Err(Refusal::Malformed("Plaintext"));
    }
    let (version, sealed) = held(&house.keys).seal(name, &[], &context(asked)?, &plain)?;
    let arn = arn(name);
    let id = arn.rsplit('/').next().unwrap_or_default();
    let blob = [BLOB, id.as_bytes(), &version.to_be_bytes(), &sealed].concat();
    Ok(json!({ "CiphertextBlob": STANDARD.encode(blob), "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" }))
}

fn decrypt(house: &House, name: &str, asked: &Value) -> Result<Value, Refusal> {
    // The state of the key that is named counts before the bytes do.
    let keys = held(&house.keys);
    if let Some(state) = keys.get(name)?.states().find(|state| *state != State::Enabled) {
        return Err(Refusal::State(state));
    }
    drop(keys);
    let (maker, version, sealed) = made_under(house, &bytes(asked, "CiphertextBlob")?)?;
    if maker != name {
        return Err(Refusal::Foreign);
    }
    let plain = match held(&house.keys).open(name, version, &[], &context(asked)?, &sealed) {
        Err(Refusal::NoSuchVersion) => return Err(Refusal::Unopened),
        opened => opened?,
    };
    Ok(json!({ "Plaintext": STANDARD.encode(plain), "KeyId": arn(name), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" }))
}

fn specs(kind: Kind) -> (&'static str, &'static str, &'static str, Value) {
    match kind {
        Kind::Aes | Kind::Derived => {
            ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "EncryptionAlgorithms", json!(["SYMMETRIC_DEFAULT"]))
        }
        Kind::Ed25519 => (
            "ECC_NIST_EDWARDS25519",
            "SIGN_VERIFY",
            "SigningAlgorithms",
            json!(["ED25519_SHA_512", "ED25519_PH_SHA_512"]),
        ),
        Kind::P256 => ("ECC_NIST_P256", "SIGN_VERIFY", "SigningAlgorithms", json!(["ECDSA_SHA_256"])),
    }
}

fn describe(house: &House, name: &str) -> Result<Value, Refusal> {
    let keys = held(&house.keys);
    let key = keys.get(name)?;
    let state = key.states().find(|state| *state != State::Enabled).unwrap_or(State::Enabled);
    let word = match state {
        State::Enabled => "Enabled",
        State::Disabled => "Disabled",
        State::PendingDeletion => "PendingDeletion",
        State::Destroyed => return Err(Refusal::NoSuchKey),
    };
    let (spec, usage, list, algorithms) = specs(key.kind);
    let arn = arn(name);
    let mut metadata = json!({
        "AWSAccountId": ACCOUNT, "KeyId": arn.rsplit('/').next(), "Arn": arn, "CreationDate": 1_763_848_441.0,
        "Enabled": state == State::Enabled, "Description": "", "KeyUsage": usage, "KeyState": word,
        "Origin": "AWS_KMS", "KeyManager": "CUSTOMER", "KeySpec": spec, "CustomerMasterKeySpec": spec,
        "MultiRegion": false,
    });
    metadata[list] = algorithms;
    Ok(json!({ "KeyMetadata": metadata }))
}

fn public_key(house: &House, name: &str) -> Result<Value, Refusal> {
    let keys = held(&house.keys);
    let key = keys.get(name)?;
    let (_, der) = keys.public(name, key.latest())?;
    let (spec, usage, list, algorithms) = specs(key.kind);
    let mut answer =
        json!({ "KeyId": arn(name), "PublicKey": STANDARD.encode(der), "KeySpec": spec, "KeyUsage": usage });
    answer[list] = algorithms;
    Ok(answer)
}

fn sign(house: &House, name: &str, asked: &Value) -> Result<Value, Refusal> {
    let message = bytes(asked, "Message")?;
    let keys = held(&house.keys);
    let key = keys.get(name)?;
    let algorithm = asked["SigningAlgorithm"].as_str().unwrap_or_default();
    let raw = asked["MessageType"].as_str().unwrap_or("RAW") == "RAW";
    let what = match (key.kind, algorithm, raw) {
        (Kind::Ed25519, "ED25519_SHA_512", true) | (Kind::P256, "ECDSA_SHA_256", true) => {
            // The service takes no empty message either.
            if message.is_empty() || message.len() > MOST {
                return Err(Refusal::Malformed("Message"));
            }
            Signed::Message(&message)
        }
        (Kind::P256, "ECDSA_SHA_256", false) if message.len() == 32 => Signed::Digest(&message),
        (Kind::P256, "ECDSA_SHA_256", false) => return Err(Refusal::Malformed("Message")),
        _ => return Err(Refusal::Usage),
    };
    let signature = keys.sign(name, key.latest(), &what)?;
    Ok(json!({ "KeyId": arn(name), "Signature": STANDARD.encode(signature), "SigningAlgorithm": algorithm }))
}
