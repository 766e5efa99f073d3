//! The record at a start: a node that is configured with one serves on the keys in it and on no others.

use anyhow::{Context, Result, bail, ensure};
use cofre_custody::pkcs11::Recorded;
use cofre_custody::{CustodianId, Mechanism, VerifyingKey};
use cofre_edge::tls::Authorities;
use cofre_ledger::ceremony::Record;
use cofre_ledger::signed;

use super::identified;
use crate::config::Config;

/// What the finished record of a custodian says of its keys.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The public half of the key that signs, where there is one.
    pub(crate) signer: Option<VerifyingKey>,
    mechanism: Mechanism,
    witness: Option<Vec<u8>>,
}

/// Reads the record that the configuration names for a custodian; none where it names none.
///
/// # Errors
/// A record that is missing, does not hold, is not finished, or is of another deployment, custodian or key.
pub(crate) fn kept(config: &Config, id: &CustodianId) -> Result<Option<Kept>> {
    let Some(ceremony) = config.ceremonies.get(id) else { return Ok(None) };
    let path = ceremony.record.display();
    let advice = "make the keys by `cofred keys init`, and have everybody sign the record by `cofre keys countersign`";
    let text = std::fs::read_to_string(&ceremony.record)
        .with_context(|| format!("custodians.{id}.ceremony.record: {path} cannot be read; {advice}"))?;
    let record = Record::parse(&text).with_context(|| format!("custodians.{id}.ceremony.record: {path}"))?;
    let bundle = ceremony.bundle.as_ref().unwrap_or(&config.identity.bundle);
    let bundle = std::fs::read(bundle).with_context(|| format!("{} cannot be read", bundle.display()))?;
    // SECURITY: lists say who was revoked since, and this was signed before; a chain has to have held when it was shown.
    let by = Authorities { bundle: &bundle, revocations: None, trust_domain: &config.identity.trust_domain };
    let verified = record.verify(None, |approval| identified(approval, by, approval.at()));
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
    let labels = super::plan(config, id)?.keys.into_iter().map(|key| key.label);
    ensure!(
        labels.eq(body.keys.iter().map(|key| key.label.clone())),
        "custodians.{id}.ceremony.record: {path} is of keys of other labels"
    );
    Ok(Some(Kept {
        signer: body.verifier_key.as_ref().map(|key| public(key.key())).transpose()?,
        mechanism: Mechanism::from_text(&body.mechanism).context("a mechanism that this release does not know")?,
        witness: body.witness.clone(),
    }))
}

impl Kept {
    /// What a token is held to.
    pub(crate) fn of_token(self, id: &CustodianId) -> Result<Recorded> {
        let witness = self.witness.with_context(|| format!("custodians.{id}.ceremony.record: is not of a token"))?;
        Ok(Recorded { witness, signer: self.signer, mechanism: self.mechanism })
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
