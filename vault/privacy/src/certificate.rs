//! The certificate of an erasure: a compact JWS over canonical JSON (members in alphabetical order, no spaces), signed
//! in the token. It says what was destroyed and when, what remains and until when, and names the ledger entries by
//! their hashes, so that an inclusion proof shows them.

use cofre_ledger::entry::Leaf;
use cofre_ledger::jws;
use cofre_model::caller::{Role, SpiffeId};
use cofre_model::entry::{CallerRef, EntryKind};
use cofre_model::time::Span;
use cofre_store::{Erasure, Search, Tombstone};
use serde::Serialize;

use crate::{Erasures, Error};

/// The `typ` of a certificate's header.
pub const TYPE: &str = "cofre-erasure-certificate+jws";
/// The format of its payload.
pub const SCHEMA: &str = "cofre.erasure-certificate/1";
/// How long a backup may still hold wrapped keys that were destroyed: afterwards nothing that remains opens them.
pub const HORIZON: Span = Span::days(30);
/// Evidence that the law wants kept is blocked for five years (LOPDGDD, Article 32) and then destroyed.
const EVIDENCE_KEPT: Span = Span::days(5 * 365 + 2);

#[derive(Serialize)]
struct Payload {
    accepted: Place,
    backup_horizon: String,
    ciphertexts: &'static str,
    credentials: Vec<Login>,
    deployment: String,
    erasure_id: String,
    issued_at: String,
    keys: Keys,
    keys_destroyed: Place,
    remains: Remains,
    requested_by: &'static str,
    schema: &'static str,
    subject: String,
    tenant: String,
}

/// A ledger entry, and its time.
#[derive(Serialize)]
struct Place {
    index: u64,
    leaf_hash: String,
    time: String,
}

#[derive(Serialize)]
struct Login {
    credential: String,
    institution: String,
    /// The newest version that rested; of the earlier ones none opens either. 0 where none ever did.
    up_to_version: u32,
}

#[derive(Serialize)]
struct Keys {
    count: u64,
    /// AT_DESTRUCTION; AT_ACCEPTANCE where a crash came between the destruction and its entry.
    counted: &'static str,
    destroyed_at: String,
    kinds: [&'static str; 2],
}

#[derive(Serialize)]
struct Remains {
    blocked_until: String,
    consents: Vec<String>,
    /// Signed receipts of those consents.
    receipts: usize,
    register: &'static str,
}

impl Place {
    fn of(leaf: &Leaf) -> Result<Self, Error> {
        let at = leaf.reference()?;
        Ok(Self { index: at.index, leaf_hash: hex::encode(at.leaf_hash), time: at.time.to_string() })
    }
}

impl Erasures {
    /// Writes and signs the certificate of an erasure whose keys and ciphertexts are gone.
    pub(crate) async fn sign_certificate(&self, erasure: &Erasure, tombstone: &Tombstone) -> Result<String, Error> {
        let payload = self.payload(erasure, tombstone).await?;
        let payload = serde_json::to_vec(&payload).map_err(|_| Error::Certificate("cannot be written as JSON"))?;
        let key = self.verifying_key()?;
        let input = jws::signing_input(&key, &self.signer_name, TYPE, &payload)
            .map_err(|_| Error::Certificate("its header cannot be written"))?;
        let signature = self.signer.sign(input.as_bytes()).await?;
        let token = jws::assemble(&input, &signature);
        // A certificate that does not hold must not be kept: it is signed anew later.
        jws::verify(&token, &key).map_err(|_| Error::FaultySignature)?;
        Ok(token)
    }

    async fn payload(&self, erasure: &Erasure, tombstone: &Tombstone) -> Result<Payload, Error> {
        let accepted = self.place(erasure.accepted).await?;
        let destroyed = self.keys_destroyed_entry(erasure).await?;
        let request = accepted.entry()?;
        let (count, counted) = match (destroyed.entry()?.count, request.count) {
            (Some(count), _) => (count, "AT_DESTRUCTION"),
            (None, held) => (held.ok_or(Error::Missing)?, "AT_ACCEPTANCE"),
        };
        Ok(Payload {
            backup_horizon: tombstone.at.plus(HORIZON).date(),
            ciphertexts: "DELETED",
            credentials: self.logins(erasure).await?,
            deployment: self.deployment.clone(),
            erasure_id: erasure.id.to_string(),
            issued_at: self.clock.now().to_string(),
            keys: Keys { count, counted, destroyed_at: tombstone.at.to_string(), kinds: ["SUBJECT_KEY", "DATA_KEY"] },
            keys_destroyed: Place::of(&destroyed)?,
            remains: self.remains(erasure, accepted.time.plus(EVIDENCE_KEPT).date()).await?,
            requested_by: request.caller.as_ref().map_or("UNKNOWN", requester),
            accepted: Place::of(&accepted)?,
            schema: SCHEMA,
            subject: erasure.subject.to_string(),
            tenant: erasure.tenant.to_string(),
        })
    }

    async fn keys_destroyed_entry(&self, erasure: &Erasure) -> Result<Leaf, Error> {
        let search = Search {
            kind: Some(EntryKind::KeysDestroyed),
            follows: Some(erasure.accepted),
            limit: 1,
            ..Search::default()
        };
        let page = self.records.search(&search).await?;
        let found = page.rows.first().ok_or(Error::Missing)?;
        Ok(Leaf::parse(&found.bytes)?)
    }

    async fn logins(&self, erasure: &Erasure) -> Result<Vec<Login>, Error> {
        let records = self.records.credentials_of(&erasure.tenant, &erasure.subject).await?;
        let mut logins: Vec<Login> = records
            .into_iter()
            .map(|record| Login {
                credential: record.claimed.id.to_string(),
                institution: record.claimed.institution.to_string(),
                up_to_version: record.claimed.secret_version,
            })
            .collect();
        logins.sort_by(|one, other| one.credential.cmp(&other.credential));
        Ok(logins)
    }

    async fn remains(&self, erasure: &Erasure, blocked_until: String) -> Result<Remains, Error> {
        let mut consents = Vec::new();
        let mut receipts = 0;
        for record in self.records.consents_of_subject(&erasure.tenant, &erasure.subject).await? {
            receipts += self.records.receipts(&record.claimed.id).await?.len();
            consents.push(record.claimed.id.to_string());
        }
        consents.sort();
        let register = "entries under random ids; only the blocked evidence could tie these ids to the person";
        Ok(Remains { blocked_until, consents, receipts, register })
    }
}

/// The class of whoever asked; who it was stands in the ledger.
fn requester(caller: &CallerRef) -> &'static str {
    let domain = caller.identity.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
    let identity = domain.and_then(|domain| SpiffeId::parse(&caller.identity, domain).ok());
    match identity.map(|identity| identity.role()) {
        Some(Role::FrontEnd) => "FRONT_END",
        Some(Role::TenantAdmin) => "TENANT_ADMIN",
        Some(Role::Privacy) => "PRIVACY_OFFICER",
        _ => "UNKNOWN",
    }
}
