//! A worker's request for a login, and the digest input that binds the answer to it.

use crate::credential::FieldRequest;
use crate::id::{CredentialId, RequestId};
use crate::job::SignedStatement;
use crate::wording::{Class, words};

words! {
    /// KEM of an HPKE suite; KDF and AEAD are HKDF-SHA256 and AES-256-GCM in both (RFC 9180).
    SealSuite {
        /// MLKEM768-X25519, KEM id 0x647A.
        MlKem768X25519 = 1 "MLKEM768_X25519",
        /// DHKEM(X25519, HKDF-SHA256), KEM id 0x0020.
        X25519 = 2 "X25519",
    }
}

/// A public key to seal to. Its bytes are judged by the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealKey {
    /// The suite.
    pub suite: SealSuite,
    /// The encoded public key.
    pub bytes: Vec<u8>,
}

/// A worker asks for one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// Its id; a repeat carries the same.
    pub id: RequestId,
    /// The login the worker believes it is about; must be the job's.
    pub credential: CredentialId,
    /// The scheduler's job.
    pub job: SignedStatement,
    /// The investor's presence, if any.
    pub attendance: Option<SignedStatement>,
    /// The class of secret.
    pub class: Class,
    /// The fields, each in its narrowest form.
    pub fields: Vec<FieldRequest>,
    /// The key the answer is sealed to.
    pub worker_key: SealKey,
}

impl ReleaseRequest {
    /// The canonical bytes whose SHA-256 is the request digest: a label, then every part as u32 big-endian length ‖
    /// bytes. Worker and vault compute it apart; the sealed answer opens only if both agree.
    #[must_use]
    pub fn digest_input(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024);
        let mut part = |bytes: &[u8]| {
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        part(b"cofre/v1/release-request");
        part(&self.id.to_bytes());
        part(&self.credential.to_bytes());
        part(&self.job.key_id.to_bytes());
        part(&self.job.statement);
        part(&self.job.signature);
        match &self.attendance {
            Some(statement) => {
                part(&statement.key_id.to_bytes());
                part(&statement.statement);
                part(&statement.signature);
            }
            None => part(b""),
        }
        part(self.class.as_str().as_bytes());
        part(&u32::try_from(self.fields.len()).unwrap_or(u32::MAX).to_be_bytes());
        for field in &self.fields {
            part(field.key.as_str().as_bytes());
            part(field.form.as_str().as_bytes());
            part(&field.positions.iter().flat_map(|position| position.to_be_bytes()).collect::<Vec<_>>());
        }
        part(self.worker_key.suite.as_str().as_bytes());
        part(&self.worker_key.bytes);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::FieldKey;
    use crate::id::SigningKeyId;
    use crate::wording::Form;

    fn request() -> ReleaseRequest {
        ReleaseRequest {
            id: RequestId::from_parts(1, [1; 10]),
            credential: CredentialId::from_parts(1, [2; 10]),
            job: SignedStatement {
                key_id: SigningKeyId::from_parts(1, [3; 10]),
                statement: vec![1, 2],
                signature: [4; 64],
            },
            attendance: None,
            class: Class::Login,
            fields: vec![FieldRequest {
                key: FieldKey::try_from("user").expect("valid"),
                form: Form::Full,
                positions: vec![],
            }],
            worker_key: SealKey { suite: SealSuite::X25519, bytes: vec![5; 32] },
        }
    }

    #[test]
    fn every_part_is_in_the_digest() {
        let plain = request().digest_input();
        let changes: [fn(&mut ReleaseRequest); 6] = [
            |r| r.id = RequestId::from_parts(2, [1; 10]),
            |r| r.job.statement.push(0),
            |r| r.attendance = Some(r.job.clone()),
            |r| r.fields.push(r.fields[0].clone()),
            |r| r.worker_key.bytes[0] = 0,
            |r| r.worker_key.suite = SealSuite::MlKem768X25519,
        ];
        for change in changes {
            let mut other = request();
            change(&mut other);
            assert_ne!(plain, other.digest_input());
        }
    }
}
