//! Receipts say what was agreed to, or nothing: terms are verified before anything is signed on them.

use cofre_consent::{Consents, Error, Given, Offer};
use cofre_custody::TenantRef;
use cofre_envelope::{random, sha256};
use cofre_ledger::entry::Leaf;
use cofre_model::consent::ConsentState;
use cofre_model::credential::{Credential, CredentialState};
use cofre_model::entry::{Entry, EntryKind};
use cofre_model::id::{ConsentId, CredentialId, EnrolmentId, ErasureId, SubjectId};
use cofre_model::reason::Reason;
use cofre_model::request::{GrantRequest, NoticeRequest};
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_model::wording::{Locale, Purpose, Scope};
use cofre_store::{Operation, Subject, SubjectKind, SubjectState, columns};

use crate::house::House;

fn consents(house: &House) -> Consents {
    Consents {
        records: house.stores.records.clone(),
        keys: house.keys.for_rows(),
        signer: house.token.clone(),
        signer_name: "cofre.test/signer".into(),
        aisp: "Vault Operator SL".into(),
        clock: house.clock.clone(),
    }
}

/// A login whose enrolment is open.
async fn login(house: &House) -> Credential {
    let ms = house.clock.now().millis();
    let owner = SubjectId::from_parts(ms, random::array().expect("random"));
    let subject = Subject {
        id: owner,
        tenant: house.tenant.id,
        kind: SubjectKind::Natural,
        external_ref: Some(format!("client-{owner}")),
        state: SubjectState::Active,
    };
    let credential = Credential {
        id: CredentialId::from_parts(ms, random::array().expect("random")),
        tenant: house.tenant.id,
        institution: house.institution.clone(),
        template_version: 1,
        owner,
        state: CredentialState::Enrolling,
        secret_version: 0,
        not_before: Timestamp::default(),
        dedupe_tag: Vec::new(),
    };
    let entry = Entry::new(EntryKind::EnrolmentOpened, random::array().expect("random"));
    let mac = house.keys.for_rows().integrity(&TenantRef::of(&house.tenant, 1)).await.expect("a key");
    let row = columns::credential(&credential);
    let row: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
    let open = Operation::OpenEnrolment {
        subject: Some(subject),
        credential: credential.clone(),
        tag: Some(mac.tag(columns::CREDENTIALS, &row, &entry.id)),
        enrolment: EnrolmentId::from_parts(ms, random::array().expect("random")),
        expires_at: house.clock.now().plus(Span::minutes(30)),
    };
    house.stores.records.apply(entry, open).await.expect("opened");
    credential
}

async fn offer(house: &House, credential: &Credential) -> Result<Offer, Error> {
    let now = house.clock.now();
    let request = NoticeRequest {
        credential: credential.id,
        recipient: house.recipient,
        purpose: Purpose::WealthAggregation,
        scopes: [Scope::Positions].into_iter().collect(),
        valid_until: now.plus(Span::days(90)),
        history_from: now.minus(Span::days(90)),
        unattended_per_day: 2,
        locale: Locale::Es,
    };
    consents(house).notice(&house.caller(), &request).await
}

async fn grant(house: &House, consent: ConsentId, notice_sha256: [u8; 32]) -> Result<Given, Error> {
    let request = GrantRequest {
        consent,
        notice_sha256,
        authn_method: "app".try_into().expect("a token"),
        session: "s-1".try_into().expect("a token"),
    };
    consents(house).grant(&house.caller(), &request).await
}

/// A consent in force.
async fn granted(house: &House) -> (Credential, ConsentId) {
    let credential = login(house).await;
    let offer = offer(house, &credential).await.expect("offered");
    grant(house, offer.consent, offer.notice.sha256).await.expect("granted");
    (credential, offer.consent)
}

fn reason<T>(result: Result<T, Error>) -> Option<Reason> {
    result.err().map(|error| error.reason())
}

/// Edits of a consent's row that a receipt would have said.
const EDITS: &[&str] = &[
    "unattended_per_day = 4",
    "scopes = 'ACCOUNTS,POSITIONS'",
    "valid_until = valid_until + 1",
    "notice_digest = x'0000000000000000000000000000000000000000000000000000000000000000'",
    "locale = 'en'",
];

#[tokio::test]
async fn the_entry_of_a_grant_binds_its_evidence_and_its_receipt() {
    let house = House::new().await;
    let credential = login(&house).await;
    let offer = offer(&house, &credential).await.expect("offered");
    let given = grant(&house, offer.consent, offer.notice.sha256).await.expect("granted");
    let receipt = given.receipt.expect("a receipt");
    let records = &house.stores.records;
    let kept = records.receipts(&offer.consent).await.expect("read");
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].index, kept[0].jws.as_str(), kept[0].state),
        (given.entry.index, &*receipt, ConsentState::Active)
    );
    let row = records.entry(given.entry.index).await.expect("read").expect("there");
    let entry = Leaf::parse(&row.bytes).expect("a leaf").entry().expect("an entry");
    let record = records.consent(&house.tenant.id, &offer.consent).await.expect("read").expect("there");
    assert_eq!(entry.kind, EntryKind::ConsentGranted);
    assert_eq!(entry.request_digest, Some(sha256(&record.evidence)));
    assert_eq!(entry.digest, Some(offer.notice.sha256));
    let hex = sha256(receipt.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(entry.reference, Some(format!("{} sha256:{hex}", kept[0].id)));
}

#[tokio::test]
async fn an_ending_is_signed_on_true_terms_only_and_needs_none_to_happen() {
    for edit in EDITS.iter().map(Some).chain([None]) {
        let house = House::new().await;
        let (_, consent) = granted(&house).await;
        if let Some(edit) = edit {
            house.edit(&format!("UPDATE consents SET {edit}")).await;
        }
        let given = consents(&house).revoke(&house.caller(), consent).await.expect("ends whatever the row says");
        assert_eq!(given.receipt.is_some(), edit.is_none(), "{edit:?}");
        let receipts = consents(&house).receipts(&house.caller(), &consent).await;
        match edit {
            None => assert_eq!(receipts.expect("both").receipts.len(), 2),
            Some(edit) => assert_eq!(reason(receipts), Some(Reason::ConsentEvidenceInvalid), "{edit}"),
        }
    }
}

#[tokio::test]
async fn a_receipt_that_is_owed_is_made_up_on_true_terms_only() {
    for edit in EDITS.iter().map(Some).chain([None]) {
        let house = House::new().await;
        let (credential, consent) = granted(&house).await;
        // An erasure ends the consent without a signature.
        let erasure = ErasureId::from_parts(house.clock.now().millis(), [8; 10]);
        let accept = Operation::AcceptErasure { erasure, tenant: house.tenant.id, subject: credential.owner };
        house.apply(EntryKind::ErasureAccepted, accept).await;
        if let Some(edit) = edit {
            house.edit(&format!("UPDATE consents SET {edit}")).await;
        }
        let receipts = consents(&house).receipts(&house.caller(), &consent).await;
        match edit {
            None => {
                let receipts = receipts.expect("made up");
                assert_eq!((receipts.state, receipts.receipts.len()), (ConsentState::Revoked, 2));
            }
            Some(edit) => {
                assert_eq!(reason(receipts), Some(Reason::ConsentEvidenceInvalid), "{edit}");
                assert_eq!(house.stores.records.receipts(&consent).await.expect("read").len(), 1, "nothing signed");
            }
        }
    }
}

#[tokio::test]
async fn a_sweep_ends_edited_consents_without_a_receipt() {
    let house = House::new().await;
    let (_, edited) = granted(&house).await;
    house.edit("UPDATE consents SET unattended_per_day = 4").await;
    let (_, whole) = granted(&house).await;
    house.clock.advance(Span::days(91));
    assert_eq!(consents(&house).sweep().await.expect("swept"), 2);
    let records = &house.stores.records;
    assert_eq!(records.receipts(&edited).await.expect("read").len(), 1);
    assert_eq!(records.receipts(&whole).await.expect("read").len(), 2);
}

#[tokio::test]
async fn no_consent_is_offered_or_granted_on_an_edited_row() {
    let house = House::new().await;
    let (other, mine) = (login(&house).await, login(&house).await);
    house.edit(&format!("UPDATE credentials SET owner_id = '{}' WHERE id = '{}'", other.owner, mine.id)).await;
    assert_eq!(reason(offer(&house, &mine).await), Some(Reason::IntegrityFailure));
    let open = offer(&house, &other).await.expect("offered");
    house
        .edit("UPDATE consents SET notice_digest = x'0000000000000000000000000000000000000000000000000000000000000000'")
        .await;
    assert_eq!(reason(grant(&house, open.consent, [0; 32]).await), Some(Reason::ConsentEvidenceInvalid));
}
