//! `cofre.v1.ReleaseService`: a worker obtains one login, once, and is told when its lease has to stop.
//!
//! A grant leaves before its `send_by`, or is recorded as not delivered, also where the worker hung up meanwhile; where
//! part of it may have left, as of unknown delivery.

use std::sync::Arc;

use cofre_model::id::{CredentialId, JobId};
use cofre_model::permit::{Evidence, ReleaseWarrant};
use cofre_model::reason::{PublicReason, Reason};
use cofre_model::sealed::Released;
use cofre_model::time::Clock;
use cofre_proto::convert;
use cofre_proto::v1;
use cofre_proto::v1::watch_lease_response::Event;
use cofre_release::{LeaseEnd, Promise, Releases};
use tonic::{Request, Response};

use crate::departure::{Departure, Fate};

use super::desk::{Answer, Call, Desk, No, Outlet};

impl From<cofre_release::Error> for No {
    fn from(error: cofre_release::Error) -> Self {
        tracing::debug!(cause = %error, "release");
        Self::from(error.reason()).recorded(error.granted())
    }
}

/// The node's own key, which signs promises, and the statement by which the deployment's signer vouches for it.
#[derive(Debug, Clone)]
pub struct NodeProof {
    /// Ed25519 public key.
    pub key: [u8; 32],
    /// The node statement, the exact bytes that were signed.
    pub statement: Vec<u8>,
    /// The signature of the deployment's signer over them.
    pub signature: Vec<u8>,
}

impl NodeProof {
    fn beside(&self, promise: &Promise) -> v1::Promise {
        v1::Promise {
            origin: promise.head.origin.clone(),
            first_index: promise.head.first_index,
            count: promise.head.count,
            group_root: promise.head.group_root.to_vec(),
            path: promise.path.iter().map(|hash| hash.to_vec()).collect(),
            time_us: promise.head.time.micros(),
            integrate_by_us: promise.head.integrate_by.micros(),
            signature: promise.signature.to_vec(),
            node_key: self.key.to_vec(),
            node_statement: self.statement.clone(),
            node_signature: self.signature.clone(),
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) releases: Arc<Releases>,
    pub(super) node: Arc<NodeProof>,
    pub(super) clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl v1::release_service_server::ReleaseService for Service {
    type WatchLeaseStream = Outlet<v1::WatchLeaseResponse>;

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        let call = self.desk.call(&request)?;
        let (service, by) = (self.clone(), call.clone());
        let outgoing = call.run(async move { service.decide(by, request.into_inner()).await }).await?;
        let Outgoing { granted, response, departure } = outgoing;
        // The last look in the handler; the counter looks again at each step of the answer's way to the socket.
        if departure.in_time() || !departure.disarm() {
            let mut response = Response::new(response);
            response.extensions_mut().insert(departure);
            return Ok(response);
        }
        drop(response);
        let releases = Arc::clone(&self.releases);
        call.run(async move {
            releases.abandoned(&granted).await;
            Err(No::from(Reason::NotDelivered).recorded(Some(granted.at.index)))
        })
        .await
    }

    async fn report_outcome(&self, request: Request<v1::ReportOutcomeRequest>) -> Answer<v1::ReportOutcomeResponse> {
        let releases = Arc::clone(&self.releases);
        self.desk
            .answer(request, |caller, wire| async move {
                let entry = releases.report(&caller, &convert::outcome_report(&wire)?).await?;
                Ok(v1::ReportOutcomeResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    /// First LIVE, then how the lease ended. A stream that ends without saying so, since the connection or the node
    /// did, is opened anew by the worker.
    async fn watch_lease(&self, request: Request<v1::WatchLeaseRequest>) -> Answer<Self::WatchLeaseStream> {
        let call = self.desk.call(&request)?;
        let (releases, caller) = (Arc::clone(&self.releases), call.caller().clone());
        let watch = call
            .run(async move {
                let wire = request.into_inner();
                let credential: CredentialId = convert::id("credential_id", &wire.credential_id)?;
                let job: JobId = convert::id("job_id", &wire.job_id)?;
                Ok(releases.watch(&caller, credential, job).await?)
            })
            .await?;
        let event = |event: Event| v1::WatchLeaseResponse { event: event.into() };
        call.stream(move |_, inlet| async move {
            if inlet.send(Ok(event(Event::Live))).await.is_ok() {
                let end = match watch.end().await {
                    LeaseEnd::Revoked => Event::Revoked,
                    LeaseEnd::Lockdown => Event::Lockdown,
                    LeaseEnd::Expired => Event::Expired,
                };
                // A reader that is gone needs no telling.
                let _ = inlet.send(Ok(event(end))).await;
            }
        })
        .await
    }
}

impl Service {
    async fn decide(&self, call: Call, wire: v1::ReleaseRequest) -> Result<Outgoing, No> {
        let request = convert::release_request(wire)?;
        match self.releases.release(call.caller(), &request).await? {
            cofre_release::Answer::Released { released, entry, promise } => {
                let response = to_wire(released, &entry, self.node.beside(&promise));
                Ok(Outgoing { departure: self.departure(call, &entry), granted: *entry, response })
            }
            cofre_release::Answer::Denied { at, reason, retry_at } => {
                let retry = retry_at.filter(|_| tells_when(reason)).map(|at| at.since(self.clock.now()));
                let mend = (reason == Reason::BadRequest).then(|| cofre_release::to_mend(&request));
                let field = mend.map(|(field, advice)| (field.to_owned(), advice.to_owned()));
                Err(No::field(reason, field).recorded(at.map(|at| at.index)).retry_after(retry))
            }
        }
    }

    /// Watches over the answer of a grant until it left, and records where it did not, or where nobody knows.
    fn departure(&self, call: Call, granted: &Evidence<ReleaseWarrant>) -> Arc<Departure> {
        let (releases, evidence) = (Arc::clone(&self.releases), granted.clone());
        Departure::new(granted.send_by, Arc::clone(&self.clock), move |fate| {
            call.finish(async move {
                match fate {
                    Fate::Undelivered => releases.abandoned(&evidence).await,
                    Fate::Unknown => releases.unknown(&evidence).await,
                }
            });
        })
    }
}

/// Whether a refusal says when to come back. SECURITY: the end of an institution's lock would tell a locked login from
/// one whose secret was refused, which are one public reason.
fn tells_when(reason: Reason) -> bool {
    matches!(reason.public(), PublicReason::LeaseHeld | PublicReason::AttendanceRequired)
}

fn to_wire(released: Released, entry: &Evidence<ReleaseWarrant>, promise: v1::Promise) -> v1::ReleaseResponse {
    v1::ReleaseResponse {
        entry: Some(convert::entry_ref(&entry.at)),
        encapsulated_key: released.encapsulated_key,
        ciphertext: released.ciphertext,
        lease_until_us: entry.warrant.lease_until.micros(),
        promise: Some(promise),
        request_digest: entry.warrant.request_digest.to_vec(),
    }
}

/// An answer on its way out. Its departure, dropped before it left, records that.
struct Outgoing {
    granted: Evidence<ReleaseWarrant>,
    response: v1::ReleaseResponse,
    departure: Arc<Departure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_that_stand_alone_say_when_to_come_back() {
        let told: Vec<Reason> = Reason::ALL.iter().copied().filter(|reason| tells_when(*reason)).collect();
        assert_eq!(told, [Reason::AttendanceInvalid, Reason::FrequencyExceeded, Reason::LeaseHeld]);
    }
}
