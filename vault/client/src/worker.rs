//! What a worker does: ask for one login for one job, open the answer, report, stop when told. Each job has a fresh
//! key pair, so that an answer opens in the process that asked and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use cofre_envelope::context::ReleaseContext;
use cofre_envelope::{ClientSecret, PublicKey, ReleasedField, Suite, WorkerKeyPair, open_released, random, sha256};
use cofre_ledger::checkpoint::Checkpoint;
use cofre_ledger::note::NoteKey;
use cofre_model::caller::SpiffeId;
use cofre_model::credential::FieldRequest;
use cofre_model::id::{CredentialId, JobId, RequestId, TenantId};
use cofre_model::job::SignedStatement;
use cofre_model::permit::EntryRef;
use cofre_model::reason::PublicReason;
use cofre_model::request::{ReleaseRequest, SealKey};
use cofre_model::sealed::Released;
use cofre_model::time::{Clock, Timestamp};
use cofre_model::wording::{Class, Outcome};
use cofre_proto::v1;
use cofre_proto::v1::audit_service_client::AuditServiceClient;
use cofre_proto::v1::relay_service_client::RelayServiceClient;
use cofre_proto::v1::release_service_client::ReleaseServiceClient;
use cofre_proto::v1::watch_lease_response::Event;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::connect::ConnectError;
use crate::deployment::Deployment;
use crate::error::{Error, NotVerified};
use crate::identity::Identity;
use crate::promise::{self, VerifiedPromise};
use crate::statements::lease_of;
use crate::wire::{call, entry, statement};

/// Times the same request is repeated when the vault asks for it.
const REPEATS: usize = 2;
/// Pause before a repeat where the vault names none.
const PAUSE: Duration = Duration::from_millis(50);

/// A worker's connection to the vault. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Worker {
    channel: Channel,
    identity: Arc<Identity>,
    id: SpiffeId,
    signer: NoteKey,
    clock: Arc<dyn Clock>,
}

/// A job and the fields it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The scheduler's job.
    pub job: SignedStatement,
    /// The investor's presence, if any.
    pub attendance: Option<SignedStatement>,
    /// The fields, each in its narrowest form.
    pub fields: Vec<FieldRequest>,
}

/// What a released login is held under: the job that may use it. Opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The tenant.
    pub tenant: TenantId,
    /// The login.
    pub credential: CredentialId,
    /// The job.
    pub job: JobId,
}

/// An opened login. Its values are wiped when it is dropped: drop it as soon as the form is sent.
#[expect(missing_debug_implementations, reason = "secret")]
pub struct Login {
    /// What it is held under.
    pub lease: Lease,
    /// The entry that granted it.
    pub entry: EntryRef,
    /// It has to be gone by this instant.
    pub lease_until: Timestamp,
    /// The vault's word that the entry will be in the ledger.
    pub promise: VerifiedPromise,
    /// The digest of the request, as this side computed it.
    pub request_digest: [u8; 32],
    fields: Vec<ReleasedField>,
}

impl Login {
    /// A field's value, if it was asked for.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&ClientSecret> {
        self.fields.iter().find(|field| field.key.as_str() == key).map(|field| &field.value)
    }

    /// The fields, in the order they were asked for.
    #[must_use]
    pub fn fields(&self) -> &[ReleasedField] {
        &self.fields
    }
}

impl Worker {
    /// Connects with a worker's identity. The identity also signs the keys of second-factor challenges.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        deployment: &Deployment,
        identity: Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        let channel = deployment.channel(&identity, Arc::clone(&clock)).await?;
        let id = identity.spiffe_id(&deployment.trust_domain)?;
        Ok(Self { channel, identity: Arc::new(identity), id, signer: deployment.signer.clone(), clock })
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn relay(&self) -> RelayServiceClient<Channel> {
        RelayServiceClient::new(self.channel.clone())
    }

    fn releases(&self) -> ReleaseServiceClient<Channel> {
        ReleaseServiceClient::new(self.channel.clone())
    }

    /// Asks for the login of a job. A TRY_AGAIN, or a call that broke off, is repeated with the same request id, twice at
    /// most: one request counts once, however often it is answered. Any other refusal is final for this call.
    ///
    /// # Errors
    /// [`Error::Refused`] with the public reason and the ledger entry; [`NotVerified::Promise`] or
    /// [`NotVerified::Answer`] where the answer does not hold: use nothing of it.
    pub async fn release(&self, errand: Errand) -> Result<Login, Error> {
        let lease = lease_of(&errand.job)?;
        let pair = WorkerKeyPair::generate(Suite::MlKem768X25519)?;
        let request = ReleaseRequest {
            id: RequestId::from_parts(self.clock.now().millis(), random::array()?),
            credential: lease.credential,
            job: errand.job,
            attendance: errand.attendance,
            class: Class::Login,
            fields: errand.fields,
            worker_key: seal_key(pair.public()),
        };
        let wire = self.ask(&to_wire(&request)).await?;
        let request_digest = sha256(&request.digest_input());
        let entry = entry(wire.entry)?;
        let promise = promise::verify(wire.promise.ok_or(Error::Answer("promise"))?, entry, &self.signer)?;
        let worker = self.id.to_string();
        let context = ReleaseContext {
            origin: self.signer.name(),
            index: entry.index,
            entry_hash: entry.leaf_hash,
            // SECURITY: computed here. The vault's own copy in the answer says nothing and is not looked at.
            request_digest,
            worker: &worker,
        };
        let released = Released { encapsulated_key: wire.encapsulated_key, ciphertext: wire.ciphertext };
        let fields = open_released(&pair, &context, &released).map_err(|_| NotVerified::Answer)?;
        let lease_until = Timestamp::from_micros(wire.lease_until_us);
        Ok(Login { lease, entry, lease_until, promise, request_digest, fields })
    }

    /// The same request, repeated as often as the vault asks and the limit allows.
    async fn ask(&self, request: &v1::ReleaseRequest) -> Result<v1::ReleaseResponse, Error> {
        let mut repeats = 0;
        loop {
            let error = match self.releases().release(call(request.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => Error::from(status),
            };
            let pause = match &error {
                Error::Refused(refused) if refused.reason == Some(PublicReason::TryAgain) => {
                    refused.retry_after.unwrap_or(PAUSE)
                }
                // The vault resets a call, or cuts its connection, where an answer would leave too late.
                Error::BrokenOff => PAUSE,
                _ => return Err(error),
            };
            if repeats == REPEATS {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            repeats += 1;
        }
    }

    /// Reports how the login went at the institution, which ends the lease. `locked_until` goes with
    /// [`Outcome::Locked`].
    ///
    /// # Errors
    /// NOT_FOUND for a lease this worker does not hold.
    pub async fn report(
        &self,
        lease: &Lease,
        outcome: Outcome,
        locked_until: Option<Timestamp>,
    ) -> Result<EntryRef, Error> {
        let request = v1::ReportOutcomeRequest {
            credential_id: lease.credential.to_string(),
            job_id: lease.job.to_string(),
            outcome: outcome.number(),
            locked_until_us: locked_until.map_or(0, Timestamp::micros),
        };
        entry(self.releases().report_outcome(call(request)).await?.into_inner().entry)
    }

    /// Watches a lease. The first event is [`LeaseEvent::Live`].
    ///
    /// # Errors
    /// NOT_FOUND for a lease this worker does not hold.
    pub async fn watch_lease(&self, lease: &Lease) -> Result<LeaseWatch, Error> {
        let request =
            v1::WatchLeaseRequest { credential_id: lease.credential.to_string(), job_id: lease.job.to_string() };
        Ok(LeaseWatch(self.releases().watch_lease(request).await?.into_inner()))
    }

    /// Fetches and verifies the proof that an entry of this worker's is in the ledger. Entries are in a checkpoint some
    /// seconds after they were promised.
    ///
    /// # Errors
    /// WRONG_STATE while no checkpoint covers it; [`NotVerified::Proof`].
    pub async fn prove(&self, entry: &EntryRef) -> Result<Checkpoint, Error> {
        let request = v1::ProveRequest { index: entry.index };
        let wire = AuditServiceClient::new(self.channel.clone()).prove(call(request)).await?.into_inner();
        promise::verify_proof(&wire.proof, entry, &self.signer)
    }
}

/// Word about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The watch is in place.
    Live,
    /// The consent ended: log out and wipe, now.
    Revoked,
    /// Somebody pressed the stop button: log out and wipe, now.
    Lockdown,
    /// Its time is over.
    Expired,
}

/// A watch over one lease.
#[derive(Debug)]
pub struct LeaseWatch(Streaming<v1::WatchLeaseResponse>);

impl LeaseWatch {
    /// The next word; none once the vault ends the watch. A broken watch is to be treated as [`LeaseEvent::Lockdown`]:
    /// nobody could tell this worker to stop.
    ///
    /// # Errors
    /// Why the watch broke.
    pub async fn next(&mut self) -> Result<Option<LeaseEvent>, Error> {
        let Some(wire) = self.0.message().await? else { return Ok(None) };
        match Event::try_from(wire.event) {
            Ok(Event::Live) => Ok(Some(LeaseEvent::Live)),
            Ok(Event::Revoked) => Ok(Some(LeaseEvent::Revoked)),
            Ok(Event::Lockdown) => Ok(Some(LeaseEvent::Lockdown)),
            Ok(Event::Expired) => Ok(Some(LeaseEvent::Expired)),
            Ok(Event::Unspecified) | Err(_) => Err(Error::Answer("event")),
        }
    }
}

fn seal_key(key: &PublicKey) -> SealKey {
    SealKey { suite: key.suite().into(), bytes: key.as_bytes().to_vec() }
}

fn to_wire(request: &ReleaseRequest) -> v1::ReleaseRequest {
    let fields = request.fields.iter().map(|field| v1::FieldRequest {
        key: field.key.to_string(),
        form: field.form.number(),
        positions: field.positions.iter().copied().map(u32::from).collect(),
    });
    v1::ReleaseRequest {
        request_id: request.id.to_string(),
        credential_id: request.credential.to_string(),
        job: Some(statement(&request.job)),
        attendance: request.attendance.as_ref().map(statement),
        class: request.class.number(),
        fields: fields.collect(),
        suite: request.worker_key.suite.number(),
        seal_key: request.worker_key.bytes.clone(),
    }
}

#[cfg(test)]
mod tests;
