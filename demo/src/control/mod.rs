//! What somebody could open who holds copies of the stores and a token: the positive and the negative control of
//! promise 2. It walks the key tree by hand, with no permit of the vault's and no help from its envelope.

pub mod by_hand;
mod copies;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofre_custody::pkcs11::Token;
use cofre_custody::{Custodian, CustodianId, CustodySet, Mechanism, WrappedShare};
use cofre_envelope::context::{FieldContext, SecretContext, WrapData, WrapSubject, WrapTenant};
use cofre_envelope::{Backing, NodeKey, Slab, sha256};
use cofre_model::id::CredentialId;
use cofre_model::permit::{EntryRef, Mint, Permit, SendBy, Warm, WarmWarrant};
use cofre_model::time::{Monotonic, Timestamp};
use cofre_model::wording::Class;
use cofre_server::clock::SystemClock;
use cofre_store::{CommitConfig, Stores, TenantRecord};
use cofre_testkit::postgres::{CLUSTER, Cluster};
use cofre_testkit::stores::{self, ENGINE, Engine};
use zeroize::Zeroizing;

pub use copies::{copy_stores, empty, occurrences};

use crate::needles::{Needles, Seen};
use crate::world::token::{CUSTODIAN, SIM_FOLDER, dev_binary, settings, user_pin};

/// What a control found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// For every login that opened completely: SHA-256 over its values in the order of the form.
    pub digests: BTreeMap<CredentialId, String>,
    /// Logins that the records name.
    pub known: usize,
    /// Runs of unwrapped keys that were looked for in the stores themselves.
    pub key_runs: usize,
    /// What looking for them saw.
    pub keys_seen: Seen,
}

/// Tries to open every login of the copied stores with the token in `token`, in a child process.
///
/// # Errors
/// Where the trial could not be made at all; logins that do not open are no error.
pub fn open_all(
    cluster: Option<&Cluster>,
    stores: &Path,
    (token, module): (&Path, &Path),
    logins: &[CredentialId],
) -> Result<Opened> {
    let mut child = Command::new(dev_binary()?);
    match cluster {
        None => child.env(ENGINE, "sqlite"),
        Some(cluster) => child.env(ENGINE, "postgres").env(CLUSTER, cluster.folder()),
    };
    let mut child = child
        .args(["control", "--stores"])
        .arg(stores)
        .arg("--module")
        .arg(module)
        .env(SIM_FOLDER, token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let list: String = logins.iter().map(|id| format!("{id}\n")).collect();
    child.stdin.take().context("control")?.write_all(list.as_bytes())?;
    let child = child.wait_with_output()?;
    if !child.status.success() {
        bail!("the control ended with {}: {}", child.status, String::from_utf8_lossy(&child.stderr));
    }
    let mut opened = Opened::default();
    for line in String::from_utf8(child.stdout)?.lines() {
        match line.split_once(' ') {
            Some(("known", count)) => opened.known = count.parse()?,
            Some(("keys", counts)) => {
                let mut counts = counts.split(' ');
                let mut next = || counts.next().context("the control counts its keys");
                opened.key_runs = next()?.parse()?;
                opened.keys_seen = Seen { bytes: next()?.parse()?, found: next()?.parse()? };
            }
            Some((credential, digest)) => {
                opened.digests.insert(CredentialId::try_from(credential)?, digest.to_owned());
            }
            None => bail!("the control said {line:?}"),
        }
    }
    Ok(opened)
}

/// The digest that [`open_all`] gives for a login of these values.
#[must_use]
pub fn digest_of<'a>(values: impl Iterator<Item = &'a [u8]>) -> String {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(&sha256(value));
    }
    hex::encode(sha256(&bytes))
}

/// In the child: walks the key tree of every login, prints a digest of those that open, and says how often a run of
/// an unwrapped key occurs in the stores themselves.
///
/// # Errors
/// Where stores or token cannot be opened at all.
pub async fn child(folder: &Path, module: &Path) -> Result<()> {
    let slab = Slab::new(Backing::Mlock)?;
    let token = Token::open(settings(module)?, user_pin(), &slab).await?;
    let stores = open_copy(folder, &slab).await?;
    let asked = asked()?;
    let (mut known, mut keys) = (0, Needles::default());
    for tenant in stores.records.tenants().await? {
        let key = tenant_key(&stores, &token, &tenant).await;
        match &key {
            Ok(key) => keys.add(key)?,
            Err(error) => eprintln!("control: tenant key: {error:#}"),
        }
        for credential in asked.iter().copied() {
            if stores.records.tenant_of_credential(&credential).await? != Some(tenant.tenant.id) {
                continue;
            }
            known += 1;
            let Ok(key) = &key else { continue };
            match open_login(&stores, key, &tenant, credential, &mut keys).await {
                Ok(digest) => println!("{credential} {digest}"),
                Err(error) => eprintln!("control: {credential}: {error:#}"),
            }
        }
    }
    let seen = keys.in_folder(folder, &[])?;
    println!("known {known}");
    println!("keys {} {} {}", keys.len(), seen.bytes, seen.found);
    token.close().await?;
    Ok(())
}

async fn open_copy(folder: &Path, slab: &Arc<Slab>) -> Result<Stores> {
    #[expect(clippy::disallowed_methods, reason = "a control outside the vault; never shipped")]
    let mint = Mint::assemble();
    if Engine::of_this_run()? == Engine::Postgres {
        Cluster::here()?.adopt(folder).await?;
    }
    let config = stores::config(folder).await?;
    let commit = CommitConfig {
        origin: "control".to_owned(),
        node: "control".to_owned(),
        incarnation: [0; 16],
        mint,
        clock: Arc::new(SystemClock::new()),
        signer: Arc::new(NodeKey::generate(slab)?),
    };
    Ok(Stores::open(config, commit).await?)
}

/// The logins to try, one id a line, from standard input.
fn asked() -> Result<Vec<CredentialId>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    text.lines().map(|line| Ok(CredentialId::try_from(line)?)).collect()
}

/// A key of the tree, outside every slot: this process belongs to the thief.
type Key = Zeroizing<Vec<u8>>;

async fn tenant_key(stores: &Stores, token: &Arc<Token>, tenant: &TenantRecord) -> Result<Key> {
    #[expect(clippy::disallowed_methods, reason = "a control outside the vault; never shipped")]
    let mint = Mint::assemble();
    let warrant = WarmWarrant {
        tenant: tenant.tenant.id,
        tenant_key_version: tenant.key_version,
        tenant_key_id: tenant.tenant.tenant_key_id,
    };
    let at = EntryRef { index: 0, leaf_hash: [0; 32], time: Timestamp::default() };
    let permit: Permit<Warm> = mint.permit(at, SendBy::from_submission(Monotonic::default()), warrant);
    let set = CustodySet::any_of(vec![CustodianId::try_from(CUSTODIAN)?])?;
    let rows = stores.keyring.tenant_key(&tenant.tenant.id, tenant.key_version).await?;
    let row = rows.into_iter().next().context("the keyring has no tenant key")?;
    let context = WrapTenant {
        region: tenant.tenant.home_region.as_str(),
        tenant: tenant.tenant.id,
        tenant_key_version: tenant.key_version,
        custody_set: set.digest(),
        custodian: CUSTODIAN,
        share_index: row.share,
        share_count: row.share_count,
    };
    let share = WrappedShare {
        custodian: CustodianId::try_from(CUSTODIAN)?,
        share: row.share,
        wrapped: row.wrapped,
        mechanism: Mechanism::from_text(&row.mechanism).context("mechanism")?,
        custodian_key: row.custodian_key,
    };
    let unwrapped = token.unwrap(&permit, context.encode(), &share).await?;
    Ok(unwrapped.share.unbind(&context)?.with_bytes(|bytes| Zeroizing::new(bytes.to_vec())))
}

async fn open_login(
    stores: &Stores,
    tenant_key: &Key,
    tenant: &TenantRecord,
    credential: CredentialId,
    keys: &mut Needles,
) -> Result<String> {
    let record = stores.records.credential(&tenant.tenant.id, &credential).await?.context("no record")?;
    let version = record.claimed.secret_version;
    let data = stores.keyring.data_key(&credential, Class::Login, version).await?.context("no data key")?;
    let subject = stores.keyring.subject_key_version(&data.owner, data.subject_key_version).await?;
    let subject = subject.context("no subject key")?;
    let sealed = stores.ciphertexts.of(&credential, Class::Login, version).await?;
    if sealed.is_empty() {
        bail!("no ciphertext");
    }
    let secret =
        SecretContext { tenant: tenant.tenant.id, owner: data.owner, credential, class: Class::Login, version };
    let wrap_subject = WrapSubject {
        tenant: tenant.tenant.id,
        owner: data.owner,
        subject_key_version: subject.version,
        tenant_key_id: tenant.tenant.tenant_key_id,
        tenant_key_version: subject.tenant_key_version,
    };
    let subject_key = by_hand::open(tenant_key, &wrap_subject.encode(), subject.wrapped.as_bytes())?;
    let wrap_data = WrapData { secret, subject_key_version: data.subject_key_version };
    let dek = by_hand::open(&subject_key, &wrap_data.encode(), data.wrapped.as_bytes())?;
    keys.add(&subject_key)?;
    keys.add(&dek)?;
    let mut hashes = Vec::new();
    for (field, value) in &sealed {
        let padded = by_hand::open(&dek, &FieldContext { secret, field }.encode(), value.as_bytes())?;
        hashes.extend_from_slice(&sha256(by_hand::unpad(&padded)?));
    }
    Ok(hex::encode(sha256(&hashes)))
}
