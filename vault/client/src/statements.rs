//! Statements a tenant signs: jobs by its scheduler, attendance by its front end. The signing key stays with the
//! caller; here are the bytes to sign and the result put together.

use cofre_ledger::signed::{encode_attendance, encode_job, signing_input};
use cofre_model::id::{CredentialId, JobId, SigningKeyId, TenantId};
use cofre_model::job::{AttendanceStatement, Job, SignedStatement, StatementKind};
use cofre_proto::v1;
use prost::Message as _;

use crate::error::Error;
use crate::worker::Lease;

/// Signs a job as the tenant's scheduler. `sign` gets the exact bytes and returns Ed25519 over them (RFC 8032).
pub fn sign_job(job: &Job, key: SigningKeyId, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> SignedStatement {
    signed(StatementKind::Job, encode_job(job), key, sign)
}

/// Signs that the investor is present, as the tenant's front end. Counts for five minutes, and once.
pub fn sign_attendance(
    present: &AttendanceStatement,
    key: SigningKeyId,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> SignedStatement {
    signed(StatementKind::Attendance, encode_attendance(present), key, sign)
}

fn signed(
    kind: StatementKind,
    statement: Vec<u8>,
    key_id: SigningKeyId,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> SignedStatement {
    let signature = sign(&signing_input(kind, &statement));
    SignedStatement { key_id, statement, signature }
}

/// What a job statement names. The worker verifies no signature of the tenant's: the vault does.
pub(crate) fn lease_of(signed: &SignedStatement) -> Result<Lease, Error> {
    let job = v1::JobStatement::decode(signed.statement.as_slice()).map_err(|_| Error::Statement("job"))?;
    let id = JobId::try_from(job.id.as_str()).map_err(|_| Error::Statement("job"))?;
    let tenant = TenantId::try_from(job.tenant_id.as_str()).map_err(|_| Error::Statement("job"))?;
    let credential = CredentialId::try_from(job.credential_id.as_str()).map_err(|_| Error::Statement("job"))?;
    Ok(Lease { tenant, credential, job: id })
}
