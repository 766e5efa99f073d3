//! `cofre.v1.AuditService`: the register, for those who verify it.

use std::sync::Arc;

use cofre_audit::{EntryView, Register};
use cofre_model::caller::SpiffeId;
use cofre_proto::convert::{self, Malformed};
use cofre_proto::v1;
use tonic::Request;

use super::desk::{Answer, Desk, No, Outlet};

impl From<cofre_audit::Error> for No {
    fn from(error: cofre_audit::Error) -> Self {
        tracing::debug!(cause = %error, "audit");
        let field = error.advice().map(|(field, advice)| (field.to_owned(), advice.to_owned()));
        Self::field(error.reason(), field)
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) desk: Desk,
    pub(super) register: Arc<Register>,
    pub(super) trust_domain: Arc<str>,
}

#[tonic::async_trait]
impl v1::audit_service_server::AuditService for Service {
    type ExportStream = Outlet<v1::ExportResponse>;

    async fn checkpoint(&self, request: Request<v1::CheckpointRequest>) -> Answer<v1::CheckpointResponse> {
        let register = Arc::clone(&self.register);
        self.desk
            .answer(request, |_, _| async move {
                let newest = register.checkpoint().await?;
                Ok(v1::CheckpointResponse { note: newest.note, verifier_key: newest.verifier_key })
            })
            .await
    }

    async fn tile(&self, request: Request<v1::TileRequest>) -> Answer<v1::TileResponse> {
        let register = Arc::clone(&self.register);
        self.desk
            .answer(request, |caller, wire| async move {
                Ok(v1::TileResponse { tile: register.tile(&caller, &wire.path).await? })
            })
            .await
    }

    async fn prove(&self, request: Request<v1::ProveRequest>) -> Answer<v1::ProveResponse> {
        let register = Arc::clone(&self.register);
        self.desk
            .answer(request, |caller, wire| async move {
                Ok(v1::ProveResponse { proof: register.prove(&caller, wire.index).await? })
            })
            .await
    }

    async fn entry(&self, request: Request<v1::EntryRequest>) -> Answer<v1::EntryResponse> {
        let register = Arc::clone(&self.register);
        self.desk
            .answer(
                request,
                |caller, wire| async move { Ok(entry_to_wire(register.entry(&caller, wire.index).await?)) },
            )
            .await
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Answer<v1::SearchResponse> {
        let (register, trust_domain) = (Arc::clone(&self.register), Arc::clone(&self.trust_domain));
        self.desk
            .answer(request, |caller, wire| async move {
                let query = convert::search(wire)?;
                // Entries hold identities in their one spelling: another one would find nothing and say so of nobody.
                if let Some(Err(problem)) = query.caller.as_ref().map(|text| SpiffeId::parse(text, &trust_domain)) {
                    return Err(Malformed::new("caller", problem.to_string()).into());
                }
                let found = register.search(&caller, &query).await?;
                Ok(v1::SearchResponse {
                    entries: found.entries.into_iter().map(entry_to_wire).collect(),
                    next_index: found.next.unwrap_or_default(),
                })
            })
            .await
    }

    /// Chunks in their order. An export that breaks off lacks its trailer, and its reader notices.
    async fn export(&self, request: Request<v1::ExportRequest>) -> Answer<Self::ExportStream> {
        let call = self.desk.call(&request)?;
        let (register, caller) = (Arc::clone(&self.register), call.caller().clone());
        let mut export =
            call.run(async move { Ok(register.export(&caller, request.get_ref().from_index).await?) }).await?;
        call.stream(move |call, inlet| async move {
            loop {
                let piece = match export.chunk().await {
                    Ok(Some(chunk)) => Ok(v1::ExportResponse { chunk }),
                    Ok(None) => return,
                    Err(error) => Err(call.refuse(error.into()).await),
                };
                let broken = piece.is_err();
                if inlet.send(piece).await.is_err() || broken {
                    return;
                }
            }
        })
        .await
    }
}

fn entry_to_wire(view: EntryView) -> v1::EntryResponse {
    v1::EntryResponse { entry: Some(convert::entry_ref(&view.at)), leaf: view.leaf, json: view.json }
}
