//! Ceremonies on tokens: the keys are made by the module that the plan names and by no other, and whatever fails once the
//! token was told to make one leaves word of it.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Error, Result};
use cofre_custody::pkcs11::ceremony::{self as custody, Begun, Failed, MadeKey, Performed};
use cofre_custody::pkcs11::{Pin, Settings, Token as Live};
use cofre_custody::{CustodianId, Signer};
use cofre_envelope::Slab;
use cofre_ledger::ceremony::{Body, Key, Object, Plan, Reached, Record, Unfinished, Use};
use cofre_ledger::note::NoteKey;

use super::{Broken, Ordered, Paper, sign, verifier_key};
use crate::config::Token;
use crate::node;

#[cfg(test)]
mod tests;

/// What the token could do.
pub(super) async fn rehearse(plan: &Plan, (id, token): (&CustodianId, &Token), slab: &Arc<Slab>) -> Result<String> {
    let pin = Pin::new(token.pin.read_pin(id)?);
    let seen = custody::rehearse(settings(plan, id, token)?, pin, slab).await;
    let seen = seen.with_context(|| format!("custodian {id}"))?;
    Ok(format!(
        "{} {}, {} ({}): the labels are free, and keys would wrap by {}: {}",
        seen.manufacturer,
        seen.model,
        seen.label,
        seen.serial,
        seen.mechanism.as_str(),
        seen.why
    ))
}

/// Makes the keys, and the record of them; the token is still open then. What is made stands on paper as it is heard.
pub(super) async fn make(
    ordered: Ordered,
    origin: &str,
    (id, token): (&CustodianId, &Token),
    (slab, paper): (&Arc<Slab>, &Paper),
) -> Result<(Record, Arc<Live>), Broken> {
    let settings = settings(&ordered.plan, id, token)?;
    let pin = Pin::new(token.pin.read_pin(id).map_err(Error::new)?);
    let left = Arc::new(Mutex::new(ordered.unfinished("the ceremony has not come to its end")));
    let performed = custody::perform(settings, pin, slab, heard(paper.clone(), Arc::clone(&left))).await;
    let mut left = Box::new(left.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let (performed, opened) = match performed {
        Ok(made) => made,
        Err(failed) => {
            let Failed { fault, begun: _, performed } = *failed;
            if let Some(performed) = performed {
                known(&mut left, performed);
            }
            let left = (!left.keys.is_empty()).then_some(left);
            return Err(Broken { why: Error::new(fault).context(format!("custodian {id}")), left });
        }
    };
    known(&mut left, performed.clone());
    write(paper, &left);
    match recorded(ordered, performed, origin, &opened).await {
        Ok(record) => Ok((record, opened)),
        Err(why) => {
            let _ = opened.close().await;
            Err(Broken { why, left: Some(left) })
        }
    }
}

/// Writes down what the token was told to make, each time that it is more.
fn heard(paper: Paper, left: Arc<Mutex<Unfinished>>) -> impl Fn(&[Begun]) + Send + 'static {
    move |begun| {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.keys = begun.iter().cloned().map(reached).collect();
        write(&paper, &left);
    }
}

/// What cannot be written now is known here still, and is written, or said, at the end.
fn write(paper: &Paper, left: &Unfinished) {
    if let Err(why) = paper.so_far(left) {
        tracing::warn!(error = %why, "how far the ceremony came could not be written");
    }
}

/// As configured, and held to the module that the plan names: the file may have been changed since it was read for that.
pub(super) fn settings(plan: &Plan, id: &CustodianId, token: &Token) -> Result<Settings> {
    let mut digest = [0; 32];
    hex::decode_to_slice(&plan.module_sha256, &mut digest).context("the plan names no module")?;
    Ok(Settings { module_sha256: Some(digest), ..node::settings(id, token)? })
}

async fn recorded(ordered: Ordered, performed: Performed, origin: &str, opened: &Arc<Live>) -> Result<Record> {
    let signer = performed.signer.map(|_| opened.signer()).transpose()?;
    let signer = signer.as_deref().map(|signer| signer as &dyn Signer);
    let body = body(ordered, performed, verifier_key(origin, signer)?);
    sign(Record::of(body)?, signer).await
}

fn body(ordered: Ordered, performed: Performed, verifier_key: Option<NoteKey>) -> Body {
    let Ordered { plan, approvals, at, tool } = ordered;
    Body {
        at,
        tool,
        plan,
        token: [performed.label, performed.serial, performed.manufacturer, performed.model],
        mechanism: performed.mechanism.as_str().to_owned(),
        why: performed.why,
        witness: performed.witness,
        verifier_key,
        keys: performed.keys.into_iter().map(key).collect(),
        approvals,
    }
}

/// Adds what the one that made the keys says of them. A key that it was told to make and does not name stays as it was heard.
fn known(left: &mut Unfinished, performed: Performed) {
    left.token = Some([performed.label, performed.serial, performed.manufacturer, performed.model]);
    left.witness = Some(performed.witness);
    for made in performed.keys.into_iter().map(key) {
        left.keys.retain(|(_, heard)| heard.used_to != made.used_to || heard.label != made.label);
        left.keys.push((Reached::ReadBack, made));
    }
}

fn reached(begun: Begun) -> (Reached, Key) {
    let reached = match begun.reached {
        custody::Reached::Asked => Reached::Asked,
        custody::Reached::Made => Reached::Made,
        custody::Reached::ReadBack => Reached::ReadBack,
    };
    (reached, key(begun.key))
}

fn key(made: MadeKey) -> Key {
    let object = |object: custody::MadeObject| Object { class: object.class, attributes: object.attributes };
    Key {
        used_to: match made.used_to {
            custody::Use::Wrap => Use::Wrap,
            custody::Use::Sign => Use::Sign,
        },
        label: made.label,
        kind: made.kind,
        public: made.public,
        check_value: made.check_value,
        objects: made.objects.into_iter().map(object).collect(),
    }
}
