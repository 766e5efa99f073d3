//! Operations on registered parties: tenants, institutions, templates, workers, the policy set; and what the
//! integrator keeps. Registering anew bumps the epoch of what was registered.

use cofre_model::job::SigningKey;
use cofre_model::reason::Reason;
use cofre_model::registry::{Institution, Recipient, Template, Tenant, Worker};
use cofre_model::time::Span;

use crate::commit::apply::{ABSENT, WRONG_STATE};
use crate::commit::carrier::Outcome;
use crate::commit::group::Group;
use crate::commit::versions;
use crate::error::CommitError;
use crate::records::ledger::{Checkpoint, Tile};
use crate::records::{institutions, tenants, workers};
use crate::row::{column, instant};
use crate::statement::statement;

/// What an operation follows up, if anything.
pub(crate) type Follows = Result<Option<u64>, CommitError>;

pub(crate) async fn activate_policy(group: &mut Group<'_>, digest: [u8; 32]) -> Follows {
    // The same set activated again, as at each start, moves nothing.
    if workers::policy(group.rows()).await? != Some(digest) {
        statement(
            "INSERT INTO policy_active VALUES ('platform', ?1, 1) ON CONFLICT (scope) DO UPDATE SET digest = ?1, epoch = epoch + 1",
        )
        .bind(digest.to_vec())
        .execute(group.rows())
        .await?;
    }
    Ok(None)
}

pub(crate) async fn put_tenant(group: &mut Group<'_>, tenant: &Tenant, key_version: u32, warm_for: Span) -> Follows {
    let taken = statement("SELECT 1 FROM tenants WHERE (slug = ?1) <> (id = ?2)")
        .bind(tenant.slug.as_str())
        .bind(tenant.id.to_string())
        .fetch_optional(group.rows())
        .await?;
    if taken.is_some() {
        return Err(WRONG_STATE);
    }
    // SECURITY: only a rotation replaces a key. Whoever read the tenant before one would bring the old key back.
    let known = tenants::tenant(group.rows(), &tenant.id).await?;
    if let Some(known) = &known
        && (known.tenant.tenant_key_id, known.key_version) != (tenant.tenant_key_id, key_version)
    {
        return Err(WRONG_STATE);
    }
    statement(
        "INSERT INTO tenants VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, 1) ON CONFLICT (id) DO UPDATE SET legal_name = ?3,
           state = ?4, home_region = ?5, warm_for_us = ?8, epoch = epoch + 1",
    )
    .bind(tenant.id.to_string())
    .bind(tenant.slug.as_str())
    .bind(&tenant.legal_name)
    .bind(tenant.state.as_str())
    .bind(tenant.home_region.as_str())
    .bind(tenant.tenant_key_id.to_vec())
    .bind(i64::from(key_version))
    .bind(column(warm_for.as_micros()))
    .execute(group.rows())
    .await?;
    if known.is_none() {
        versions::first(group, tenant.id, key_version, tenant.tenant_key_id).await?;
    }
    Ok(None)
}

/// The tenant must exist; what belongs to it moves its epoch.
async fn belongs(group: &mut Group<'_>, tenant: &str) -> Result<(), CommitError> {
    let moved =
        statement("UPDATE tenants SET epoch = epoch + 1 WHERE id = ?").bind(tenant).execute(group.rows()).await?;
    if moved == 1 { Ok(()) } else { Err(ABSENT) }
}

pub(crate) async fn put_signing_key(group: &mut Group<'_>, key: &SigningKey) -> Follows {
    belongs(group, &key.tenant.to_string()).await?;
    if let Some(known) = tenants::signing_key(group.rows(), &key.id).await?
        && (known.tenant != key.tenant || known.kind != key.kind || known.public_key != key.public_key)
    {
        return Err(WRONG_STATE);
    }
    statement("INSERT INTO signing_keys VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET not_after = ?5")
        .bind(key.id.to_string())
        .bind(key.tenant.to_string())
        .bind(key.kind.as_str())
        .bind(key.public_key.to_vec())
        .bind(instant(key.not_after))
        .execute(group.rows())
        .await?;
    Ok(None)
}

pub(crate) async fn put_recipient(group: &mut Group<'_>, recipient: &Recipient) -> Follows {
    belongs(group, &recipient.tenant.to_string()).await?;
    if tenants::recipient(group.rows(), &recipient.id).await?.is_some_and(|known| known.tenant != recipient.tenant) {
        return Err(WRONG_STATE);
    }
    statement("INSERT INTO recipients VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET name = ?3")
        .bind(recipient.id.to_string())
        .bind(recipient.tenant.to_string())
        .bind(&recipient.name)
        .execute(group.rows())
        .await?;
    Ok(None)
}

pub(crate) async fn put_institution(group: &mut Group<'_>, institution: &Institution) -> Follows {
    statement(
        "INSERT INTO institutions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1) ON CONFLICT (id) DO UPDATE SET name = ?2, country = ?3,
           state = ?4, lockout_threshold = ?5, unattended_from = ?6, unattended_to = ?7, epoch = epoch + 1",
    )
    .bind(institution.id.to_string())
    .bind(&institution.name)
    .bind(&institution.country)
    .bind(institution.state.as_str())
    .bind(i64::from(institution.lockout_threshold))
    .bind(i64::from(institution.unattended_from))
    .bind(i64::from(institution.unattended_to))
    .execute(group.rows())
    .await?;
    Ok(None)
}

pub(crate) async fn put_template(group: &mut Group<'_>, template: &Template) -> Follows {
    let id = &template.institution;
    if institutions::institution(group.rows(), id).await?.is_none() {
        return Err(ABSENT);
    }
    if template.fields.is_empty() {
        return Err(CommitError::Refused(Reason::BadRequest));
    }
    if institutions::newest(group.rows(), id).await?.checked_add(1) != Some(template.version) {
        return Err(WRONG_STATE);
    }
    statement("INSERT INTO login_templates VALUES (?, ?)")
        .bind(id.to_string())
        .bind(i64::from(template.version))
        .execute(group.rows())
        .await?;
    for (place, field) in (0_i64..).zip(&template.fields) {
        statement("INSERT INTO template_fields VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(id.to_string())
            .bind(i64::from(template.version))
            .bind(place)
            .bind(field.key.as_str())
            .bind(&field.pattern)
            .bind(field.required)
            .bind(field.secret)
            .bind(field.signing_factor)
            .bind(field.identifies)
            .bind(field.release_form.as_str())
            .execute(group.rows())
            .await?;
    }
    statement("UPDATE institutions SET epoch = epoch + 1 WHERE id = ?")
        .bind(id.to_string())
        .execute(group.rows())
        .await?;
    Ok(None)
}

pub(crate) async fn put_worker(group: &mut Group<'_>, worker: &Worker) -> Follows {
    let id = worker.id.to_string();
    // SECURITY: registering anew never lifts a quarantine, whatever was read before it was committed.
    statement(
        "INSERT INTO workers VALUES (?1, ?2, 1) ON CONFLICT (spiffe_id) DO UPDATE SET
           state = CASE state WHEN 'QUARANTINED' THEN state ELSE ?2 END, epoch = epoch + 1",
    )
    .bind(&id)
    .bind(worker.state.as_str())
    .execute(group.rows())
    .await?;
    statement("DELETE FROM worker_scopes WHERE worker = ?").bind(&id).execute(group.rows()).await?;
    for (tenant, institution) in &worker.scopes {
        statement("INSERT INTO worker_scopes VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(&id)
            .bind(tenant.to_string())
            .bind(institution.to_string())
            .execute(group.rows())
            .await?;
    }
    Ok(None)
}

/// The most tiles of one call.
pub(crate) const TILES: usize = 64;
/// The most bytes of a checkpoint's note: three lines, and a few signatures.
pub(crate) const LONGEST_NOTE: usize = 4_096;

/// Whether these are the hashes of one tile (C2SP tlog-tiles).
fn sound(tile: &Tile) -> bool {
    tile.level <= 7 && (1..=256).contains(&tile.width) && tile.hashes.len() == 32 * usize::from(tile.width)
}

/// Tiles only ever grow, and a checkpoint covers nothing the ledger does not hold.
pub(crate) async fn integrate(
    group: &mut Group<'_>,
    tiles: Vec<Tile>,
    checkpoint: Option<Checkpoint>,
) -> Result<Outcome, CommitError> {
    let covers = checkpoint.as_ref().is_none_or(|checkpoint| {
        checkpoint.size <= group.head.size && (1..=LONGEST_NOTE).contains(&checkpoint.note.len())
    });
    if !covers || tiles.len() > TILES || !tiles.iter().all(sound) {
        return Err(WRONG_STATE);
    }
    for tile in tiles {
        statement(
            "INSERT INTO ledger_tiles VALUES (?1, ?2, ?3, ?4) ON CONFLICT (level, n) DO UPDATE SET width = ?3, hashes = ?4
               WHERE width < ?3",
        )
        .bind(i64::from(tile.level))
        .bind(column(tile.n))
        .bind(i64::from(tile.width))
        .bind(tile.hashes)
        .execute(group.rows())
        .await?;
    }
    let Some(checkpoint) = checkpoint else { return Ok(Outcome::Done) };
    statement("INSERT INTO ledger_checkpoints VALUES (?, ?) ON CONFLICT (size) DO NOTHING")
        .bind(column(checkpoint.size))
        .bind(checkpoint.note)
        .execute(group.rows())
        .await?;
    Ok(Outcome::Done)
}
