//! The transit engine of Vault and OpenBao: a token in a header, keys with versions below a mount, `vault:v1:…` texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::keys::Signed;
use super::{Answer, Call, House, Kind, MOUNT, Refusal, State, admitted, held};

pub(super) fn answer(house: &House, call: &Call) -> Answer {
    let given = admitted(call, call.header("x-vault-token")).and_then(|()| served(house, call));
    let (status, body) = match given {
        Ok(data) => {
            let body = json!({
                "request_id": call.request, "lease_id": "", "renewable": false, "lease_duration": 0, "data": data,
                "wrap_info": null, "warnings": null, "auth": null,
            });
            (200, body)
        }
        Err(refusal) => said(refusal),
    };
    Answer { status, kind: "application/json", headers: vec![("cache-control", "no-store".to_owned())], body }
}

fn said(refusal: Refusal) -> (u16, Value) {
    let errors = |status: u16, message: &str| (status, json!({ "errors": [message] }));
    match refusal {
        Refusal::Throttled => errors(429, "request path \"transit\": rate limit quota exceeded"),
        Refusal::Broken => errors(503, "Vault is sealed"),
        Refusal::Unknown => errors(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"),
        Refusal::Denied | Refusal::BadSignature | Refusal::Elsewhere | Refusal::Skewed => {
            errors(403, "1 error occurred:\n\t* permission denied\n\n")
        }
        // Reading a key that is not there is an empty answer, using it is an error in words.
        Refusal::NoSuchKey => (404, json!({ "errors": [] })),
        Refusal::NoSuchOperation => errors(404, "no handler for route. route entry not found."),
        Refusal::State(State::PendingDeletion) => errors(400, "key is soft-deleted"),
        Refusal::State(State::Destroyed) => errors(400, "encryption key not found"),
        Refusal::State(_) => errors(400, "ciphertext or signature version is disallowed by policy (too old)"),
        Refusal::NoSuchVersion => errors(400, "invalid ciphertext: version is too new"),
        Refusal::Unopened | Refusal::Foreign => {
            errors(500, "1 error occurred:\n\t* cipher: message authentication failed\n\n")
        }
        Refusal::Usage => errors(400, "key type does not support this operation"),
        Refusal::Malformed(what) | Refusal::Checksum(what) => errors(400, what),
    }
}

fn served(house: &House, call: &Call) -> Result<Value, Refusal> {
    let path = call.uri.path().strip_prefix("/v1/").and_then(|path| path.strip_prefix(MOUNT));
    let mut parts = path.and_then(|path| path.strip_prefix('/')).ok_or(Refusal::NoSuchOperation)?.split('/');
    let (Some(operation), Some(name)) = (parts.next(), parts.next()) else { return Err(Refusal::NoSuchOperation) };
    match (call.method.as_str(), operation) {
        ("GET", "keys") => {
            house.count(name, operation);
            key(house, name)
        }
        ("POST" | "PUT", "encrypt" | "decrypt" | "sign") => {
            house.count(name, operation);
            let asked = call.json()?;
            let done = match operation {
                "encrypt" => encrypt(house, name, &asked),
                "decrypt" => decrypt(house, name, &asked),
                _ => sign(house, name, &asked),
            };
            done.map_err(|refusal| match refusal {
                Refusal::NoSuchKey => Refusal::Malformed("encryption key not found"),
                other => other,
            })
        }
        _ => Err(Refusal::NoSuchOperation),
    }
}

fn bytes(asked: &Value, field: &'static str) -> Result<Vec<u8>, Refusal> {
    STANDARD
        .decode(asked[field].as_str().unwrap_or_default())
        .map_err(|_| Refusal::Malformed("failed to base64-decode"))
}

/// Context and associated data; a derived key needs the first.
fn bound(house: &House, name: &str, asked: &Value) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
    let derived = held(&house.keys).get(name)?.kind == Kind::Derived;
    let (context, data) = (bytes(asked, "context")?, bytes(asked, "associated_data")?);
    if derived && context.is_empty() {
        return Err(Refusal::Malformed(
            "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key",
        ));
    }
    Ok((context, data))
}

fn encrypt(house: &House, name: &str, asked: &Value) -> Result<Value, Refusal> {
    // The engine itself makes a missing key here where the token's policy allows; this token's policy does not.
    let (context, data) = bound(house, name, asked)?;
    let (version, sealed) = held(&house.keys).seal(name, &context, &data, &bytes(asked, "plaintext")?)?;
    Ok(json!({ "ciphertext": format!("vault:v{version}:{}", STANDARD.encode(sealed)), "key_version": version }))
}

fn decrypt(house: &House, name: &str, asked: &Value) -> Result<Value, Refusal> {
    let (context, data) = bound(house, name, asked)?;
    let text = asked["ciphertext"].as_str().unwrap_or_default();
    let rest = text.strip_prefix("vault:v").ok_or(Refusal::Malformed("invalid ciphertext: no prefix"))?;
    let (version, body) =
        rest.split_once(':').ok_or(Refusal::Malformed("invalid ciphertext: wrong number of fields"))?;
    let unread = Refusal::Malformed("invalid ciphertext: version number could not be decoded");
    let version = version.parse().map_err(|_| unread)?;
    let sealed =
        STANDARD.decode(body).map_err(|_| Refusal::Malformed("invalid ciphertext: could not decode base64"))?;
    if sealed.len() < 12 + 16 {
        return Err(Refusal::Malformed("invalid ciphertext length"));
    }
    let plain = held(&house.keys).open(name, version, &context, &data, &sealed)?;
    Ok(json!({ "plaintext": STANDARD.encode(plain) }))
}

fn sign(house: &House, name: &str, asked: &Value) -> Result<Value, Refusal> {
    let input = bytes(asked, "input")?;
    let keys = held(&house.keys);
    let key = keys.get(name)?;
    let latest = key.latest();
    let version = match asked["key_version"].as_u64() {
        None | Some(0) => latest,
        Some(number) => u32::try_from(number).map_err(|_| Refusal::NoSuchVersion)?,
    };
    let digest;
    let what = match (key.kind, asked["prehashed"].as_bool().unwrap_or_default()) {
        (Kind::P256, true) => Signed::Digest(&input),
        (Kind::P256, false) => {
            digest = Sha256::digest(&input);
            Signed::Digest(&digest)
        }
        _ => Signed::Message(&input),
    };
    let signature = keys.sign(name, version, &what)?;
    Ok(json!({ "signature": format!("vault:v{version}:{}", STANDARD.encode(signature)), "key_version": version }))
}

/// A version that is disabled, and all before it, are below the least that may be used; one that is destroyed is trimmed.
fn key(house: &House, name: &str) -> Result<Value, Refusal> {
    let keys = held(&house.keys);
    let key = keys.get(name)?;
    let latest = key.latest();
    if key.states().all(|state| state == State::Destroyed) {
        return Err(Refusal::NoSuchKey);
    }
    let least =
        (1..).zip(key.states()).find(|(_, state)| *state == State::Enabled).map_or(latest + 1, |(number, _)| number);
    let mut versions = Map::new();
    for (number, state) in (1..).zip(key.states()) {
        if state == State::Enabled {
            let shown = match keys.public(name, number) {
                Ok((bare, der)) => {
                    let public = if key.kind == Kind::Ed25519 { STANDARD.encode(bare) } else { super::pem(&der) };
                    json!({ "creation_time": "2026-11-22T21:54:01Z", "name": "key", "public_key": public })
                }
                Err(_) => json!(1_763_848_441),
            };
            versions.insert(number.to_string(), shown);
        }
    }
    let ciphers = matches!(key.kind, Kind::Aes | Kind::Derived);
    let kind = match key.kind {
        Kind::Aes | Kind::Derived => "aes256-gcm96",
        Kind::Ed25519 => "ed25519",
        Kind::P256 => "ecdsa-p256",
    };
    Ok(json!({
        "name": name, "type": kind, "derived": key.kind == Kind::Derived, "exportable": key.exportable,
        "allow_plaintext_backup": false, "deletion_allowed": false, "imported_key": false,
        "latest_version": latest, "min_available_version": 0, "min_decryption_version": least,
        "min_encryption_version": 0, "keys": versions, "supports_encryption": ciphers, "supports_decryption": ciphers,
        "supports_derivation": ciphers, "supports_signing": !ciphers,
        "soft_deleted": key.states().any(|state| state == State::PendingDeletion),
    }))
}
