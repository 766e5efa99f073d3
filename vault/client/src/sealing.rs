//! Sealing a login on the investor's side. Pure: no connection, no clock of its own, so that it runs where the fields
//! are typed and nothing but sealed bytes leaves. A key that the pinned deployment did not sign cannot be sealed to.

use cofre_envelope::context::DepositContext;
use cofre_envelope::{ClientSecret, PublicKey, seal_deposit};
use cofre_ledger::note::NoteKey;
use cofre_model::credential::FieldKey;
use cofre_model::id::{CredentialId, DepositKeyId, EnrolmentId, SubjectId, TenantId};
use cofre_model::registry::TemplateField;
use cofre_model::request::SealKey;
use cofre_model::statement;
use cofre_model::time::Timestamp;

use crate::error::NotVerified;

mod page;
#[cfg(test)]
mod tests;

pub use page::{NotAPage, Page};

/// Why a login is not sealed. Nothing of it left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealingError {
    /// A field that the form does not have.
    #[error("{0}: the form has no such field; leave it out")]
    UnknownField(FieldKey),
    /// A field that signs orders. The vault never takes one.
    #[error("{0}: signs orders and is never deposited; leave it out")]
    SigningFactor(FieldKey),
    /// A required field that is missing.
    #[error("{0}: is required by the form")]
    Missing(FieldKey),
    /// The envelope refused.
    #[error("sealing: {0}")]
    Envelope(#[from] cofre_envelope::Error),
}

/// A deposit key as served. Nothing may be sealed to it before [`SignedDepositKey::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDepositKey {
    /// Its id.
    pub id: DepositKeyId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The public key.
    pub key: SealKey,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid before.
    pub not_after: Timestamp,
    /// By the deployment's signer over [`statement::deposit_key`].
    pub signature: Vec<u8>,
}

impl SignedDepositKey {
    /// Verifies the signature under the pinned signer, the pinned tenant and the validity at `now`. The tenant is pinned
    /// with the signer: another tenant's key is as genuine, and what is sealed to it that tenant could release.
    ///
    /// # Errors
    /// [`NotVerified::DepositKey`], [`NotVerified::DepositKeyTime`].
    pub fn verify(
        self,
        signer: &NoteKey,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<VerifiedDepositKey, NotVerified> {
        if self.tenant != *tenant {
            return Err(NotVerified::DepositKey);
        }
        let signed = statement::deposit_key(self.tenant, self.id, &self.key, self.not_before, self.not_after);
        signer.key().verify(&signed, &self.signature).map_err(|_| NotVerified::DepositKey)?;
        let public = PublicKey::try_from(&self.key).map_err(|_| NotVerified::DepositKey)?;
        if now < self.not_before || self.not_after <= now {
            return Err(NotVerified::DepositKeyTime);
        }
        Ok(VerifiedDepositKey { signed: self, public })
    }
}

/// A deposit key that the pinned deployment signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDepositKey {
    signed: SignedDepositKey,
    public: PublicKey,
}

impl VerifiedDepositKey {
    /// The key with its signature, to hand to another process, which verifies anew.
    #[must_use]
    pub fn signed(&self) -> &SignedDepositKey {
        &self.signed
    }
}

/// An open enrolment session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its id; used once.
    pub id: EnrolmentId,
    /// The login it is about.
    pub credential: CredentialId,
    /// Whose login it is.
    pub owner: SubjectId,
    /// The version of the form.
    pub template_version: u32,
    /// The fields of the form, in its order.
    pub fields: Vec<TemplateField>,
    /// Void from this instant on.
    pub expires: Timestamp,
}

/// A sealed login on its way to the vault. Only the vault can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedLogin {
    /// The session it was sealed for.
    pub enrolment: EnrolmentId,
    /// The key it was sealed to.
    pub deposit_key: DepositKeyId,
    /// HPKE encapsulated key.
    pub encapsulated_key: Vec<u8>,
    /// HPKE ciphertexts by field, in the order they were sealed.
    pub fields: Vec<(FieldKey, Vec<u8>)>,
}

/// Seals a login for one enrolment. Values are wiped. Patterns are not checked here: the vault checks them in locked
/// memory.
///
/// # Errors
/// [`SealingError`] names the field.
pub fn seal(
    enrolment: &Enrolment,
    to: &VerifiedDepositKey,
    fields: Vec<(FieldKey, ClientSecret)>,
) -> Result<SealedLogin, SealingError> {
    for (key, _) in &fields {
        let known = enrolment.fields.iter().find(|field| field.key == *key);
        let known = known.ok_or_else(|| SealingError::UnknownField(key.clone()))?;
        if known.signing_factor {
            return Err(SealingError::SigningFactor(key.clone()));
        }
    }
    let needed = enrolment.fields.iter().filter(|field| field.required && !field.signing_factor);
    for field in needed {
        if !fields.iter().any(|(key, _)| *key == field.key) {
            return Err(SealingError::Missing(field.key.clone()));
        }
    }
    let context = DepositContext {
        tenant: to.signed.tenant,
        key: to.signed.id,
        enrolment: enrolment.id,
        owner: enrolment.owner,
        credential: enrolment.credential,
        template_version: enrolment.template_version,
    };
    let sealed = seal_deposit(&to.public, &context, fields)?;
    Ok(SealedLogin {
        enrolment: enrolment.id,
        deposit_key: to.signed.id,
        encapsulated_key: sealed.encapsulated_key,
        fields: sealed.fields.into_iter().map(|field| (field.key, field.sealed)).collect(),
    })
}
