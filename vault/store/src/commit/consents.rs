//! Operations on consents. Whatever changes one moves the epoch of the login it covers; ending one ends the leases
//! of that login too, and needs no MAC.

use cofre_model::consent::{Consent, ConsentState};
use cofre_model::credential::CredentialState;
use cofre_model::entry::EntryId;
use cofre_model::id::{ConsentId, ReceiptId, TenantId};
use cofre_model::reason::Reason;
use cofre_model::time::Timestamp;
use cofre_model::wording::Locale;

use crate::commit::apply::{ABSENT, WRONG_STATE};
use crate::commit::change::Change;
use crate::commit::ending::{self, Leases, Tagged};
use crate::commit::group::Group;
use crate::commit::registry::Follows;
use crate::error::CommitError;
use crate::records::{consents, credentials, tenants};
use crate::row::{Cells, column, instant};
use crate::statement::statement;

/// The id of the entry that writes a row, and the row's MAC.
type Sealing<'a> = (&'a EntryId, &'a [u8; 32]);

pub(crate) async fn request(
    group: &mut Group<'_>,
    consent: &Consent,
    (entry, tag): Sealing<'_>,
    lapses_at: Timestamp,
    notice_digest: &[u8; 32],
    locale: Locale,
) -> Follows {
    let login =
        credentials::credential(group.rows(), &consent.tenant, &consent.credential).await?.ok_or(ABSENT)?.claimed;
    if !matches!(login.state, CredentialState::Enrolling | CredentialState::Active | CredentialState::SecretRejected) {
        return Err(WRONG_STATE);
    }
    let recipient = tenants::recipient(group.rows(), &consent.recipient).await?.ok_or(ABSENT)?;
    if recipient.tenant != consent.tenant || login.owner != consent.subject {
        return Err(ABSENT);
    }
    if consent.state != ConsentState::AwaitingAuthorisation || lapses_at <= group.at() {
        return Err(WRONG_STATE);
    }
    let stored = statement(
        "INSERT INTO consents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, x'', ?18, ?12, x'') ON CONFLICT DO NOTHING",
    )
    .bind(consent.id.to_string())
    .bind(consent.tenant.to_string())
    .bind(consent.subject.to_string())
    .bind(consent.credential.to_string())
    .bind(consent.recipient.to_string())
    .bind(consent.purpose.as_str())
    .bind(consent.scopes.to_text())
    .bind(instant(consent.valid_from))
    .bind(instant(consent.valid_until))
    .bind(instant(consent.history_from))
    .bind(i64::from(consent.unattended_per_day))
    .bind(consent.state.as_str())
    .bind(entry.to_vec())
    .bind(tag.to_vec())
    .bind(instant(lapses_at))
    .bind(notice_digest.to_vec())
    .bind(locale.as_str())
    .bind(instant(group.at()))
    .execute(group.rows())
    .await?;
    if stored == 0 {
        return Err(WRONG_STATE);
    }
    ending::move_credential(group, &consent.credential).await?;
    Ok(None)
}

pub(crate) async fn grant(
    group: &mut Group<'_>,
    consent: &Consent,
    (entry, tag): Sealing<'_>,
    evidence: &[u8],
    (id, jws): (ReceiptId, String),
) -> Follows {
    if !group.clock_trusted() {
        return Err(CommitError::Refused(Reason::ClockUntrusted));
    }
    let known = consents::consent(group.rows(), &consent.tenant, &consent.id).await?.ok_or(ABSENT)?;
    let awaited = known.claimed;
    // What was shown is what is granted: only the instants may be narrowed.
    let shown = Consent {
        state: ConsentState::Active,
        valid_from: consent.valid_from,
        valid_until: consent.valid_until,
        ..awaited.clone()
    };
    let narrowed = consent.valid_from >= awaited.valid_from && consent.valid_until <= awaited.valid_until;
    let at = group.at();
    let in_time =
        awaited.state == ConsentState::AwaitingAuthorisation && at < known.lapses_at && at < consent.valid_until;
    if *consent != shown || !narrowed || !in_time {
        return Err(WRONG_STATE);
    }
    let login =
        credentials::credential(group.rows(), &consent.tenant, &consent.credential).await?.ok_or(ABSENT)?.claimed;
    let other = statement(
        "SELECT 1 FROM consents WHERE credential_id = ? AND state = 'ACTIVE' AND valid_until > ? AND id <> ?",
    )
    .bind(consent.credential.to_string())
    .bind(instant(at))
    .bind(consent.id.to_string())
    .fetch_optional(group.rows())
    .await?;
    let ended =
        !matches!(login.state, CredentialState::Enrolling | CredentialState::Active | CredentialState::SecretRejected);
    if ended || other.is_some() {
        return Err(WRONG_STATE);
    }
    statement(
        "UPDATE consents SET state = 'ACTIVE', valid_from = ?, valid_until = ?, entry_id = ?, tag = ?, evidence = ?,
           tagged_state = 'ACTIVE', last_tag = x'' WHERE id = ?",
    )
    .bind(instant(consent.valid_from))
    .bind(instant(consent.valid_until))
    .bind(entry.to_vec())
    .bind(tag.to_vec())
    .bind(evidence.to_vec())
    .bind(consent.id.to_string())
    .execute(group.rows())
    .await?;
    let seq = newest_receipt(group, &consent.id).await?.ok_or(ABSENT)?.checked_add(1).ok_or(WRONG_STATE)?;
    receipt(group, &consent.id, &id, seq, ConsentState::Active, &jws).await?;
    ending::move_credential(group, &consent.credential).await?;
    Ok(None)
}

/// The place of the newest receipt of a consent, 0 where there is none; nothing where there is no such consent.
async fn newest_receipt(group: &mut Group<'_>, consent: &ConsentId) -> Result<Option<u32>, CommitError> {
    let row = statement(
        "SELECT (SELECT COUNT(*) FROM consents WHERE id = ?1) AS there,
           (SELECT COALESCE(MAX(seq), 0) FROM consent_events WHERE consent_id = ?1) AS newest",
    )
    .bind(consent.to_string())
    .fetch_one(group.rows())
    .await?;
    let cells = Cells::of("consent_events", &row);
    Ok(if cells.flag("there")? { Some(cells.int("newest")?) } else { None })
}

pub(crate) async fn end(group: &mut Group<'_>, tenant: &TenantId, consent: &ConsentId, to: ConsentState) -> Follows {
    let known = consents::consent(group.rows(), tenant, consent).await?.ok_or(ABSENT)?;
    let due = match known.claimed.state {
        ConsentState::Active => known.claimed.valid_until <= group.at(),
        ConsentState::AwaitingAuthorisation => known.lapses_at <= group.at(),
        ConsentState::Revoked | ConsentState::Expired => return Err(WRONG_STATE),
    };
    // Only time expires a consent; before that, only a withdrawal ends it.
    if to == ConsentState::Expired && !due {
        return Err(WRONG_STATE);
    }
    statement("UPDATE consents SET state = ? WHERE id = ?")
        .bind(to.as_str())
        .bind(consent.to_string())
        .execute(group.rows())
        .await?;
    ending::set_tag_aside(group, Tagged::Consent(consent)).await?;
    let credential = known.claimed.credential;
    ending::move_credential(group, &credential).await?;
    group.changes.push(Change::ConsentEnded { consent: *consent, credential, state: to });
    ending::end_leases(group, Leases::Credential(&credential)).await?;
    Ok(None)
}

pub(crate) async fn receipt(
    group: &mut Group<'_>,
    consent: &ConsentId,
    receipt: &ReceiptId,
    seq: u32,
    state: ConsentState,
    jws: &str,
) -> Follows {
    if newest_receipt(group, consent).await?.ok_or(ABSENT)?.checked_add(1) != Some(seq) {
        return Err(WRONG_STATE);
    }
    let stored = statement("INSERT INTO consent_events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(consent.to_string())
        .bind(i64::from(seq))
        .bind(receipt.to_string())
        .bind(state.as_str())
        .bind(instant(group.at()))
        .bind(jws)
        .bind(column(group.head.size))
        .execute(group.rows())
        .await?;
    if stored == 1 { Ok(None) } else { Err(WRONG_STATE) }
}
