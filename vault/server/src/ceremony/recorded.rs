//! The record at a start: a node that is configured with one serves on the keys in it and on no others.

use anyhow::{Context, Result, bail, ensure};
use cofre_custody::{CustodianId, Mechanism, VerifyingKey, pkcs11, recorded};
use cofre_edge::tls::Authorities;
use cofre_ledger::ceremony::{Plan, Record};
use cofre_ledger::signed;

use super::{difference, identified};
use crate::config::Config;

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
/// keys that were to go with other mechanisms than the configured ones.
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
    let planned = &body.plan;
    // How many people were asked is judged above. A module may be updated after it made the keys; what a start loads is
    // pinned by the configuration.
    let now = Plan { people: planned.people, module_sha256: planned.module_sha256.clone(), ..super::plan(config, id)? };
    if let Some((then, now)) = difference(planned, &now) {
        bail!(
            "custodians.{id}.ceremony.record: {path} was made by a plan that says `{then}`, and the configuration says \
             `{now}`; {advice}"
        );
    }
    Ok(Some(Kept {
        signer: body.verifier_key.as_ref().map(|key| public(key.key())).transpose()?,
        mechanism: Mechanism::from_text(&body.mechanism).context("a mechanism that this release does not know")?,
        witness: body.witness.clone(),
        sha256: body.witness_sha256(),
    }))
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

fn public(key: &signed::VerifyingKey) -> Result<VerifyingKey> {
    let bytes = key.to_bytes();
    let other = "a signing key of another length";
    match key {
        signed::VerifyingKey::Ed25519(_) => Ok(VerifyingKey::Ed25519(bytes.try_into().ok().context(other)?)),
        signed::VerifyingKey::P256(_) => Ok(VerifyingKey::P256(bytes.try_into().ok().context(other)?)),
    }
}
