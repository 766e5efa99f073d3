//! What a safe wrapper hides: the function list, NULL and short buffers, RFC 5649 wrapping under its own number.
#![expect(unsafe_code, reason = "speaks to the module as a C program does")]

use std::path::Path;
use std::ptr::null_mut;

use cofre_hsm_sim::DIR_ENV;
use cryptoki_sys::*;

use crate::harness::{SO_PIN, USER_PIN, alone, init, load, module_path};

/// The module's function list, by the one symbol it exports.
struct Raw {
    list: CK_FUNCTION_LIST,
    _library: Pkcs11,
}

macro_rules! call {
    ($raw:expr, $function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: every test passes pointers to live values of the types the function demands.
        unsafe { $raw.list.$function.unwrap()($($argument),*) }
    };
}

impl Raw {
    fn load() -> Self {
        let mut list = null_mut();
        // SAFETY: the module under test; its list is a constant that lives as long as the library.
        unsafe {
            let library = Pkcs11::new(module_path()).unwrap();
            assert_eq!(library.C_GetFunctionList(null_mut()), CKR_ARGUMENTS_BAD);
            assert_eq!(library.C_GetFunctionList(&mut list), CKR_OK);
            Self { list: *list, _library: library }
        }
    }

    /// A session of the logged-in user on a token that `init` has made.
    fn session(&self) -> CK_SESSION_HANDLE {
        let mut session = 0;
        assert_eq!(call!(self, C_Initialize(null_mut())), CKR_OK);
        assert_eq!(
            call!(self, C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, null_mut(), None, &mut session)),
            CKR_OK
        );
        let mut pin = USER_PIN.as_bytes().to_vec();
        assert_eq!(call!(self, C_Login(session, CKU_USER, pin.as_mut_ptr(), pin.len() as CK_ULONG)), CKR_OK);
        session
    }
}

fn prepared() -> (Raw, CK_SESSION_HANDLE) {
    let module = load();
    init(&module);
    module.finalize().unwrap();
    let raw = Raw::load();
    let session = raw.session();
    (raw, session)
}

fn attribute<T>(type_: CK_ATTRIBUTE_TYPE, value: &T) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_, pValue: std::ptr::from_ref(value).cast_mut().cast(), ulValueLen: size_of::<T>() as CK_ULONG }
}

fn bare(mechanism: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 }
}

fn aes(raw: &Raw, session: CK_SESSION_HANDLE, usages: &[CK_ATTRIBUTE_TYPE]) -> CK_OBJECT_HANDLE {
    let (len, yes): (CK_ULONG, _) = (32, CK_TRUE);
    let mut template = vec![attribute(CKA_VALUE_LEN, &len)];
    template.extend(usages.iter().map(|usage| attribute(*usage, &yes)));
    let mut key = 0;
    let count = template.len() as CK_ULONG;
    let rv = call!(raw, C_GenerateKey(session, &mut bare(CKM_AES_KEY_GEN), template.as_mut_ptr(), count, &mut key));
    assert_eq!(rv, CKR_OK);
    key
}

#[test]
fn every_function_of_the_list_is_filled_and_answers() {
    alone(|_| {
        let raw = Raw::load();
        let version = raw.list.version;
        assert_eq!((version.major, version.minor), (2, 40));
        // After the version the list is nothing but 68 function pointers; none may be NULL.
        // SAFETY: reads the list as the words it consists of.
        let words = unsafe {
            let start = std::ptr::from_ref(&raw.list).cast::<usize>();
            std::slice::from_raw_parts(start, size_of::<CK_FUNCTION_LIST>() / size_of::<usize>())
        };
        assert_eq!(words.len(), 69);
        assert!(words[1..].iter().all(|word| *word != 0));
        assert_eq!(call!(raw, C_GetSlotList(CK_FALSE, null_mut(), null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
        assert_eq!(call!(raw, C_Initialize(null_mut())), CKR_OK);
        assert_eq!(call!(raw, C_Initialize(null_mut())), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_eq!(call!(raw, C_DigestInit(0, null_mut())), CKR_FUNCTION_NOT_SUPPORTED);
        assert_eq!(call!(raw, C_WaitForSlotEvent(0, null_mut(), null_mut())), CKR_FUNCTION_NOT_SUPPORTED);
        assert_eq!(call!(raw, C_GetFunctionStatus(0)), CKR_FUNCTION_NOT_PARALLEL);
        assert_eq!(call!(raw, C_GetInfo(null_mut())), CKR_ARGUMENTS_BAD);
        assert_eq!(call!(raw, C_GetSlotInfo(1, null_mut())), CKR_ARGUMENTS_BAD);
        assert_eq!(call!(raw, C_CloseSession(77)), CKR_SESSION_HANDLE_INVALID);
        assert_eq!(call!(raw, C_Finalize(null_mut())), CKR_OK);
        assert_eq!(call!(raw, C_Finalize(null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
    });
}

#[test]
fn missing_folder_is_refused_and_named() {
    if std::env::var_os("COFRE_HSM_SIM_TEST_NO_FOLDER").is_some() {
        let raw = Raw::load();
        assert_ne!(call!(raw, C_Initialize(null_mut())), CKR_OK);
        return;
    }
    for folder in [None, Some("/nowhere/at-all")] {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([std::thread::current().name().unwrap(), "--exact", "--nocapture"]);
        command.env("COFRE_HSM_SIM_TEST_NO_FOLDER", "1").env_remove(DIR_ENV);
        command.envs(folder.map(|folder| (DIR_ENV, folder)));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains(DIR_ENV) && text.contains(folder.unwrap_or("not set")), "{text}");
    }
}

#[test]
fn operation_lives_through_length_queries_and_short_buffers_and_ends_otherwise() {
    alone(|_| {
        let (raw, session) = prepared();
        let key = aes(&raw, session, &[CKA_ENCRYPT]);
        let mut iv = [7_u8; 12];
        let mut params = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: std::ptr::from_mut(&mut params).cast(),
            ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
        };
        let (mut text, mut out, mut len) = ([1_u8; 8], [0_u8; 24], 0);
        assert_eq!(call!(raw, C_EncryptInit(session, &mut mechanism, key)), CKR_OK);
        assert_eq!(call!(raw, C_EncryptInit(session, &mut mechanism, key)), CKR_OPERATION_ACTIVE);
        assert_eq!(call!(raw, C_Encrypt(session, text.as_mut_ptr(), 8, null_mut(), &mut len)), CKR_OK);
        assert_eq!(len, 24);
        len = 23;
        assert_eq!(
            call!(raw, C_Encrypt(session, text.as_mut_ptr(), 8, out.as_mut_ptr(), &mut len)),
            CKR_BUFFER_TOO_SMALL
        );
        assert_eq!((len, out), (24, [0; 24]));
        assert_eq!(call!(raw, C_Encrypt(session, text.as_mut_ptr(), 8, out.as_mut_ptr(), &mut len)), CKR_OK);
        assert_ne!(out, [0; 24]);
        let again = call!(raw, C_Encrypt(session, text.as_mut_ptr(), 8, out.as_mut_ptr(), &mut len));
        assert_eq!(again, CKR_OPERATION_NOT_INITIALIZED);
        // In place: input and output are the same buffer.
        let mut place = [1_u8; 24];
        assert_eq!(call!(raw, C_EncryptInit(session, &mut mechanism, key)), CKR_OK);
        assert_eq!(call!(raw, C_Encrypt(session, place.as_mut_ptr(), 8, place.as_mut_ptr(), &mut len)), CKR_OK);
        assert_eq!(place, out);
        // A bad argument is another outcome: it ends the operation.
        assert_eq!(call!(raw, C_EncryptInit(session, &mut mechanism, key)), CKR_OK);
        assert_eq!(call!(raw, C_Encrypt(session, null_mut(), 8, out.as_mut_ptr(), &mut len)), CKR_ARGUMENTS_BAD);
        assert_eq!(
            call!(raw, C_Encrypt(session, text.as_mut_ptr(), 8, out.as_mut_ptr(), &mut len)),
            CKR_OPERATION_NOT_INITIALIZED
        );
    });
}

/// Brings a known key in as a session object that may be wrapped.
fn import(raw: &Raw, session: CK_SESSION_HANDLE, value: &[u8; 32]) -> CK_OBJECT_HANDLE {
    let (class, key_type, yes, no) = (CKO_SECRET_KEY, CKK_AES, CK_TRUE, CK_FALSE);
    let mut template = [
        attribute(CKA_CLASS, &class),
        attribute(CKA_KEY_TYPE, &key_type),
        attribute(CKA_VALUE, value),
        attribute(CKA_EXTRACTABLE, &yes),
        attribute(CKA_SENSITIVE, &no),
    ];
    let mut key = 0;
    assert_eq!(call!(raw, C_CreateObject(session, template.as_mut_ptr(), 5, &mut key)), CKR_OK);
    key
}

fn wrap(raw: &Raw, session: CK_SESSION_HANDLE, kek: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, CK_RV> {
    let (mut out, mut len) = (vec![0; 64], 64);
    match call!(raw, C_WrapKey(session, &mut bare(CKM_AES_KEY_WRAP_KWP), kek, key, out.as_mut_ptr(), &mut len)) {
        CKR_OK => {
            out.truncate(usize::try_from(len).unwrap());
            Ok(out)
        }
        refused => Err(refused),
    }
}

fn unwrap_to_token(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    kek: CK_OBJECT_HANDLE,
    wrapped: &[u8],
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let (class, key_type, yes) = (CKO_SECRET_KEY, CKK_AES, CK_TRUE);
    let mut template = [
        attribute(CKA_CLASS, &class),
        attribute(CKA_KEY_TYPE, &key_type),
        attribute(CKA_TOKEN, &yes),
        attribute(CKA_EXTRACTABLE, &yes),
    ];
    let (mut wrapped, mut key) = (wrapped.to_vec(), 0);
    let (data, len) = (wrapped.as_mut_ptr(), wrapped.len() as CK_ULONG);
    let mut mechanism = bare(CKM_AES_KEY_WRAP_KWP);
    match call!(raw, C_UnwrapKey(session, &mut mechanism, kek, data, len, template.as_mut_ptr(), 4, &mut key)) {
        CKR_OK => Ok(key),
        refused => Err(refused),
    }
}

#[test]
fn keys_travel_wrapped_and_lie_on_disk_sealed() {
    alone(|folder| {
        let (raw, session) = prepared();
        let kek = aes(&raw, session, &[CKA_WRAP, CKA_UNWRAP]);
        let value: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 11).unwrap());
        let wrapped = wrap(&raw, session, kek, import(&raw, session, &value)).unwrap();
        assert_eq!(wrapped.len(), 40);
        let key = unwrap_to_token(&raw, session, kek, &wrapped).unwrap();
        assert_eq!(wrap(&raw, session, kek, key), Ok(wrapped.clone()), "KWP is deterministic: the same key came back");
        let mut value_attribute = [CK_ATTRIBUTE { type_: CKA_VALUE, pValue: null_mut(), ulValueLen: 0 }];
        assert_eq!(
            call!(raw, C_GetAttributeValue(session, key, value_attribute.as_mut_ptr(), 1)),
            CKR_ATTRIBUTE_SENSITIVE
        );
        assert_eq!(value_attribute[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
        let mut tampered = wrapped;
        tampered[9] ^= 1;
        assert_eq!(unwrap_to_token(&raw, session, kek, &tampered), Err(CKR_WRAPPED_KEY_INVALID));
        let fixed = aes(&raw, session, &[]);
        assert_eq!(wrap(&raw, session, kek, fixed), Err(CKR_KEY_UNEXTRACTABLE));
        assert_eq!(wrap(&raw, session, fixed, key), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
        let files = scan(folder, &value);
        assert!(files >= 3, "token file, object and log were looked at, not {files}");
    });
}

/// Looks for a key and the PINs, raw and in hexadecimal, in every file of the folder; answers how many files there were.
fn scan(folder: &Path, key: &[u8]) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += scan(&path, key);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in [key, USER_PIN.as_bytes(), SO_PIN.as_bytes()] {
            for form in [secret.to_vec(), hex::encode(secret).into_bytes()] {
                assert!(!bytes.windows(form.len()).any(|window| window == form), "secret in {}", path.display());
            }
        }
        files += 1;
    }
    files
}
