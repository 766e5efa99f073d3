//! Objects at rest: attributes readable, the secret part sealed with AES-256-GCM under the token key, and serial
//! number, object id and every attribute bound to it as associated data. A changed attribute therefore does not open.

use std::path::{Path, PathBuf};

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CKR_DEVICE_ERROR};
use serde::{Deserialize, Serialize};

use super::{Folder, Held, Token};
use crate::crypto::{self, Secret};
use crate::object::Attributes;
use crate::rv::{Answer, Rv, fail};

const FORMAT: u32 = 1;

/// Name of an object on disk: random, never reused, unlike its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectId([u8; 16]);

impl ObjectId {
    pub(crate) fn fresh() -> Answer<Self> {
        crypto::random_array().map(Self)
    }

    fn file(self) -> String {
        format!("{}.json", hex::encode(self.0))
    }

    fn of_file(name: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(name.strip_suffix(".json")?, &mut id).ok()?;
        Some(Self(id))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectFile {
    format: u32,
    attributes: Vec<AttributeLine>,
    #[serde(with = "hex::serde")]
    nonce: [u8; crypto::NONCE_LEN],
    #[serde(with = "hex::serde")]
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeLine {
    cka: CK_ATTRIBUTE_TYPE,
    #[serde(with = "hex::serde")]
    value: Vec<u8>,
}

/// An object as read from disk, its secret part still sealed and its attributes not yet proven.
pub(crate) struct Stored {
    pub(crate) attributes: Attributes,
    id: ObjectId,
    file: ObjectFile,
}

/// The folder that holds the objects of the token with this serial number.
pub(super) fn folder(serial: &str) -> PathBuf {
    PathBuf::from(format!("objects-{serial}"))
}

impl Token {
    /// Ids of all objects on disk.
    pub(crate) fn object_ids(&self, folder: &Folder) -> Answer<Vec<ObjectId>> {
        Ok(folder.names(&self.objects_folder())?.iter().filter_map(|name| ObjectId::of_file(name)).collect())
    }

    /// Reads one object; `None` when another process has just destroyed it.
    pub(crate) fn read_object(&self, folder: &Folder, id: ObjectId) -> Answer<Option<Stored>> {
        let Some(bytes) = folder.read(&self.object_path(id))? else { return Ok(None) };
        let file: ObjectFile = serde_json::from_slice(&bytes).or(fail(CKR_DEVICE_ERROR))?;
        if file.format != FORMAT {
            return fail(CKR_DEVICE_ERROR);
        }
        let attributes = Attributes::from_pairs(file.attributes.iter().map(|line| (line.cka, line.value.clone())));
        Ok(Some(Stored { attributes, id, file }))
    }

    /// Opens the secret part (empty for a public object), which also proves the attributes.
    ///
    /// # Errors
    /// `CKR_DEVICE_ERROR` when the file was changed or belongs to another token: damage is reported, never skipped.
    pub(crate) fn open_object(&self, stored: &Stored, token_key: &Secret) -> Answer<Secret> {
        let aad = context(self.serial(), stored.id, &stored.attributes);
        crypto::open(token_key, stored.file.nonce, &aad, &stored.file.sealed, Rv(CKR_DEVICE_ERROR))
    }

    /// Writes an object, new or changed.
    pub(crate) fn write_object(
        &self,
        held: &Held,
        token_key: &Secret,
        id: ObjectId,
        (attributes, secret): (&Attributes, &[u8]),
    ) -> Answer {
        let nonce = crypto::random_array()?;
        let sealed = crypto::seal(token_key, nonce, &context(self.serial(), id, attributes), secret)?;
        let attributes = attributes.iter().map(|(cka, value)| AttributeLine { cka, value: value.to_vec() }).collect();
        let file = ObjectFile { format: FORMAT, attributes, nonce, sealed };
        let bytes = serde_json::to_vec_pretty(&file).or(fail(CKR_DEVICE_ERROR))?;
        held.replace(&self.object_path(id), &bytes)
    }

    /// Removes an object. Answers whether it was there.
    pub(crate) fn remove_object(&self, held: &Held, id: ObjectId) -> Answer<bool> {
        held.remove(&self.object_path(id))
    }

    fn object_path(&self, id: ObjectId) -> PathBuf {
        self.objects_folder().join(Path::new(&id.file()))
    }
}

/// Length-prefixed, in ascending order of attribute type.
fn context(serial: &str, id: ObjectId, attributes: &Attributes) -> Vec<u8> {
    let mut aad = b"cofre-hsm-sim/v1/object/".to_vec();
    let mut put = |part: &[u8]| {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    };
    put(serial.as_bytes());
    put(&id.0);
    for (cka, value) in attributes.iter() {
        put(&cka.to_be_bytes());
        put(value);
    }
    aad
}
