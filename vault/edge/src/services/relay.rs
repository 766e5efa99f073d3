//! `cofre.v1.RelayService`: second-factor challenges. Sealed answers pass through here unread, once.

use std::sync::Arc;

use cofre_model::id::{ChallengeId, TenantId};
use cofre_proto::convert;
use cofre_proto::v1;
use cofre_proto::v1::await_answer_response::End;
use cofre_relay::{Awaited, Ended, Relay, Shown};
use tokio::sync::broadcast::error::RecvError;
use tonic::Request;

use super::desk::{Answer, Call, Desk, Inlet, No, Outlet};

impl From<cofre_relay::Error> for No {
    fn from(error: cofre_relay::Error) -> Self {
        let reason = error.reason();
        match error {
            cofre_relay::Error::Field { field, advice } => {
                Self::field(reason, Some((field.to_owned(), advice.to_owned())))
            }
            other => {
                tracing::debug!(cause = %other, "relay");
                Self::from(reason)
            }
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) relay: Arc<Relay>,
}

#[tonic::async_trait]
impl v1::relay_service_server::RelayService for Service {
    type AwaitAnswerStream = Outlet<v1::AwaitAnswerResponse>;
    type WatchStream = Outlet<v1::WatchResponse>;

    async fn open(&self, request: Request<v1::OpenRequest>) -> Answer<v1::OpenResponse> {
        let relay = Arc::clone(&self.relay);
        self.desk
            .answer(request, |caller, wire| async move {
                let entry = relay.open(&caller, convert::challenge_request(wire)?).await?;
                Ok(v1::OpenResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    /// One message: the answer, or that none will come. The head goes out at once, so a refusal comes as the stream's
    /// end.
    async fn await_answer(&self, request: Request<v1::AwaitAnswerRequest>) -> Answer<Self::AwaitAnswerStream> {
        let call = self.desk.call(&request)?;
        let relay = Arc::clone(&self.relay);
        let id: ChallengeId =
            call.run(async move { Ok(convert::id("challenge_id", &request.get_ref().challenge_id)?) }).await?;
        call.stream(move |call, inlet| async move {
            let outcome = match relay.await_answer(call.caller(), &id).await {
                Ok(awaited) => Ok(awaited_to_wire(awaited)),
                Err(error) => Err(call.refuse(error.into()).await),
            };
            let _ = inlet.send(outcome).await;
        })
        .await
    }

    async fn conclude(&self, request: Request<v1::ConcludeRequest>) -> Answer<v1::ConcludeResponse> {
        let relay = Arc::clone(&self.relay);
        self.desk
            .answer(request, |caller, wire| async move {
                let id: ChallengeId = convert::id("challenge_id", &wire.challenge_id)?;
                let entry = relay.conclude(&caller, &id, wire.succeeded).await?;
                Ok(v1::ConcludeResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    /// What is open, then what is opened. A challenge may be shown twice; its id tells.
    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let call = self.desk.call(&request)?;
        let relay = Arc::clone(&self.relay);
        call.stream(move |call, inlet| async move {
            if let Err(no) = show(&relay, &call, &inlet).await {
                let _ = inlet.send(Err(call.refuse(no).await)).await;
            }
        })
        .await
    }

    async fn answer(&self, request: Request<v1::AnswerRequest>) -> Answer<v1::AnswerResponse> {
        let relay = Arc::clone(&self.relay);
        self.desk
            .answer(request, |caller, wire| async move {
                let id: ChallengeId = convert::id("challenge_id", &wire.challenge_id)?;
                let sealed = convert::sealed_answer(wire.encapsulated_key, wire.ciphertext)?;
                let entry = relay.answer(&caller, &id, sealed).await?;
                Ok(v1::AnswerResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Answer<v1::CancelResponse> {
        let relay = Arc::clone(&self.relay);
        self.desk
            .answer(request, |caller, wire| async move {
                let id: ChallengeId = convert::id("challenge_id", &wire.challenge_id)?;
                let entry = relay.cancel(&caller, &id).await?;
                Ok(v1::CancelResponse { entry: Some(convert::entry_ref(&entry)) })
            })
            .await
    }
}

/// Shows the caller's tenant its challenges until the reader goes away or the relay ends.
async fn show(relay: &Relay, call: &Call, inlet: &Inlet<v1::WatchResponse>) -> Result<(), No> {
    loop {
        let (tenant, open, mut coming) = relay.watch(call.caller()).await?;
        for shown in open.iter().filter_map(|shown| shown_to(&tenant, shown)) {
            if inlet.send(Ok(shown)).await.is_err() {
                return Ok(());
            }
        }
        loop {
            match coming.recv().await {
                Ok(shown) => {
                    if let Some(shown) = shown_to(&tenant, &shown)
                        && inlet.send(Ok(shown)).await.is_err()
                    {
                        return Ok(());
                    }
                }
                // A reader too slow for what comes is shown again what is open.
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// A challenge as the front ends of `tenant` are shown it. SECURITY: the relay's receiver carries every tenant's.
fn shown_to(tenant: &TenantId, shown: &Shown) -> Option<v1::WatchResponse> {
    (shown.tenant == *tenant).then(|| shown_to_wire(shown))
}

fn shown_to_wire(shown: &Shown) -> v1::WatchResponse {
    v1::WatchResponse {
        challenge_id: shown.id.to_string(),
        credential_id: shown.credential.to_string(),
        owner_id: shown.owner.to_string(),
        kind: shown.kind.number(),
        code_length: shown.code_length.into(),
        attempt: shown.attempt.into(),
        expires_us: shown.expires.micros(),
        key: Some(convert::challenge_key_to_wire(&shown.key)),
        tenant_id: shown.tenant.to_string(),
    }
}

fn awaited_to_wire(awaited: Awaited) -> v1::AwaitAnswerResponse {
    let ended = |end: End| v1::AwaitAnswerResponse { end: end.into(), ..Default::default() };
    match awaited {
        Awaited::Answer(answer) => v1::AwaitAnswerResponse {
            end: End::Answered.into(),
            encapsulated_key: answer.encapsulated_key,
            ciphertext: answer.ciphertext,
        },
        Awaited::Ended(Ended::Expired) => ended(End::Expired),
        Awaited::Ended(Ended::Cancelled) => ended(End::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use cofre_model::id::{CredentialId, SubjectId};
    use cofre_model::request::{ChallengeKey, SealKey, SealSuite, SealedAnswer};
    use cofre_model::time::Timestamp;
    use cofre_model::wording::ScaKind;

    use super::*;

    #[test]
    fn a_challenge_is_shown_to_its_own_tenant_whole() {
        let (own, other) = (TenantId::from_parts(1, [1; 10]), TenantId::from_parts(1, [2; 10]));
        let shown = Shown {
            id: ChallengeId::from_parts(1, [3; 10]),
            tenant: own,
            credential: CredentialId::from_parts(1, [4; 10]),
            owner: SubjectId::from_parts(1, [5; 10]),
            kind: ScaKind::SmsOtp,
            code_length: 6,
            attempt: 2,
            expires: Timestamp::from_secs(9),
            key: ChallengeKey {
                key: SealKey { suite: SealSuite::X25519, bytes: vec![6; 32] },
                chain: vec![vec![7], vec![8]],
                signature: vec![9; 64],
            },
        };
        assert_eq!(shown_to(&other, &shown), None);
        let wire = shown_to(&own, &shown).expect("its own");
        assert_eq!((wire.tenant_id.as_str(), wire.expires_us), (own.to_string().as_str(), 9_000_000));
        assert_eq!((wire.kind(), wire.code_length, wire.attempt), (v1::ScaKind::SmsOtp, 6, 2));
        assert_eq!(convert::challenge_key(wire.key.expect("a key")), Ok(shown.key));
    }

    #[test]
    fn an_answer_is_passed_on_unread_and_an_end_is_named() {
        let sealed = SealedAnswer { encapsulated_key: vec![1, 2], ciphertext: vec![3] };
        let wire = awaited_to_wire(Awaited::Answer(sealed.clone()));
        assert_eq!(
            (wire.end(), convert::sealed_answer(wire.encapsulated_key, wire.ciphertext)),
            (End::Answered, Ok(sealed))
        );
        for (how, end) in [(Ended::Expired, End::Expired), (Ended::Cancelled, End::Cancelled)] {
            let wire = awaited_to_wire(Awaited::Ended(how));
            assert_eq!((wire.end(), wire.ciphertext.len()), (end, 0));
        }
    }
}
