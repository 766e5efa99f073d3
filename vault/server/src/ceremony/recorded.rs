//! The record at a start: a node that is configured with one serves on the keys in it and on no others.

use anyhow::{Context, Result, bail, ensure};
use cofre_custody::recorded::PROBE;
use cofre_custody::{Cause, CustodianId, Fault, Mechanism, Operation, Signer, VerifyingKey, pkcs11, recorded};
use cofre_edge::tls::Authorities;
use cofre_ledger::ceremony::{Body, Plan, Record, Use};
use cofre_ledger::signed;

use super::identified;
use crate::config::Config;

#[cfg(test)]
mod tests;

/// What the finished record of a custodian says of its keys.
#[derive(Debug)]
pub(crate) struct Kept {
    signer: Option<VerifyingKey>,
    mechanism: Mechanism,
    witness: Vec<u8>,
    /// Of the value behind the witness, where the keys are a service's.
    sha256: Option<[u8; 32]>,
}

/// Reads the record that the configuration names for a custodian; none where it names none.
///
/// # Errors
/// A record that is missing, does not hold, is not finished, or is of another deployment, custodian, place or key, or of
/// keys that go with other mechanisms than the configuration allows now.
pub(crate) fn kept(config: &Config, id: &CustodianId) -> Result<Option<Kept>> {
    let Some(ceremony) = config.ceremonies.get(id) else { return Ok(None) };
    let path = ceremony.record.display();
    let advice = "make the keys by `cofred keys init`, and have everybody sign the record by `cofre keys countersign`";
    let text = std::fs::read_to_string(&ceremony.record)
        .with_context(|| format!("custodians.{id}.ceremony.record: {path} cannot be read; {advice}"))?;
    let record = Record::parse(&text).with_context(|| format!("custodians.{id}.ceremony.record: {path}"))?;
    let bundle = ceremony.bundle.as_ref().unwrap_or(&config.identity.bundle);
    let bundle = std::fs::read(bundle).with_context(|| format!("{} cannot be read", bundle.display()))?;
    // SECURITY: lists say who was revoked since, and this was signed before; a chain has to have held when the keys were made.
    let by = Authorities { bundle: &bundle, revocations: None, trust_domain: &config.identity.trust_domain };
    let verified = record.verify(None, |approval, at| identified(approval, by, at));
    let verified = verified.with_context(|| format!("custodians.{id}.ceremony.record: {path}"))?;
    let (signed, wanted) = (verified.signed.len(), ceremony.people.max(verified.wanted));
    if signed < usize::from(wanted) {
        bail!("custodians.{id}.ceremony.record: {path} is UNFINISHED: {signed} of {wanted} people signed it; {advice}");
    }
    let body = record.body();
    let ours = body.plan.deployment == config.deployment && body.plan.custodian == id.as_str();
    ensure!(
        ours,
        "custodians.{id}.ceremony.record: {path} is of custodian {} of {}",
        body.plan.custodian,
        body.plan.deployment
    );
    // How many people were asked is judged above. A module may be updated after it made the keys; what a start loads is
    // pinned by the configuration.
    let now = super::plan(config, id)?;
    if let Some((then, now)) = unlike(body, &now) {
        bail!(
            "custodians.{id}.ceremony.record: {path} says `{then}`, and the configuration says `{now}`; mend the \
             configuration, or name the record of the keys that are meant"
        );
    }
    Ok(Some(Kept {
        signer: body.verifier_key.as_ref().map(|key| public(key.key())).transpose()?,
        mechanism: Mechanism::from_text(&body.mechanism).context("a mechanism that this release does not know")?,
        witness: body.witness.clone(),
        sha256: body.witness_sha256(),
    }))
}

/// The first thing in which the keys of a record are not those of the configuration, as each says it. What the keys are
/// counts, and not what they might have become: another release may allow more, and a configuration less.
fn unlike(body: &Body, now: &Plan) -> Option<(String, String)> {
    let place = |place: &str| format!("place {place}");
    let [label, serial, ..] = &body.token;
    // A token may be named by the other of its names.
    let also = [format!("token label {label}"), format!("token serial {serial}")];
    let is_token = body.plan.place.starts_with("token ");
    if body.plan.place != now.place && !(is_token && also.contains(&now.place)) {
        return Some((place(&body.plan.place), place(&now.place)));
    }
    let none = "no more keys";
    let named = |used_to: Use, label: &str| format!("key {} {label}", used_to.as_str());
    let mut made = body.keys.iter();
    let mut planned = now.keys.iter();
    loop {
        let (made, planned) = match (made.next(), planned.next()) {
            (None, None) => return None,
            (Some(made), Some(planned)) => (made, planned),
            (made, planned) => {
                let made = made.map(|made| named(made.used_to, &made.label));
                let planned = planned.map(|planned| named(planned.used_to, &planned.label));
                return Some([made, planned].map(|side| side.unwrap_or_else(|| none.to_owned())).into());
            }
        };
        let (then, now) = (named(made.used_to, &made.label), named(planned.used_to, &planned.label));
        if then != now {
            return Some((then, now));
        }
        // A signing key's kind is its mechanism.
        let goes = if made.used_to == Use::Wrap { &body.mechanism } else { &made.kind };
        if !planned.may_become(goes) {
            return Some((format!("{then} mechanism {goes}"), format!("{now} mechanism {}", planned.mechanism)));
        }
    }
}

impl Kept {
    /// What a token is held to.
    pub(crate) fn of_token(self) -> pkcs11::Recorded {
        pkcs11::Recorded { witness: self.witness, signer: self.signer, mechanism: self.mechanism }
    }

    /// What the keys of a service are held to.
    pub(crate) fn of_service(self, id: &CustodianId) -> Result<recorded::Recorded> {
        let sha256 = self.sha256.with_context(|| format!("custodians.{id}.ceremony.record: is not of a service"))?;
        Ok(recorded::Recorded { witness: self.witness, sha256, signer: self.signer, mechanism: self.mechanism })
    }
}

/// Sees a recorded key sign. Until it does, its public half is all that was compared, and a token shows what was put there.
///
/// # Errors
/// [`Cause::KeyMissing`] where another key signed; the [`Fault`] of the call.
pub(crate) async fn seen_to_sign(id: &CustodianId, signer: &dyn Signer) -> Result<()> {
    let signature = signer.sign(PROBE).await?;
    let key = cofre_audit::note_key(id.as_str(), signer)?;
    if key.key().verify(PROBE, &signature).is_err() {
        let (custodian, operation, cause) = (id.clone(), Operation::Sign, Cause::KeyMissing);
        let fault = Fault { custodian, operation, cause, detail: None, request: None };
        return Err(anyhow::Error::new(fault).context("what signs is not the recorded key"));
    }
    Ok(())
}

fn public(key: &signed::VerifyingKey) -> Result<VerifyingKey> {
    let bytes = key.to_bytes();
    let other = "a signing key of another length";
    match key {
        signed::VerifyingKey::Ed25519(_) => Ok(VerifyingKey::Ed25519(bytes.try_into().ok().context(other)?)),
        signed::VerifyingKey::P256(_) => Ok(VerifyingKey::P256(bytes.try_into().ok().context(other)?)),
    }
}
