//! What each PKCS#11 module can and cannot do, as a table. Every cell is asserted by asking the module itself, past our
//! driver: a "no" that became a "yes" fails like the opposite. The cases of the contract read from it what they may
//! expect of whom, and `docs/custody/modules.md` shows it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cofre_testkit::hsm::Module;

use crate::bench::{Child, Runs, run_alone};
use crate::contract::{Case, cases, prepared};
use probes::{Bench, Found, words};

mod keys;
mod probes;
mod sessions;
mod signing;

/// One thing a module may be asked to do, and what each of [`Module::ALL`] answers.
struct Row {
    what: &'static str,
    answers: [&'static str; 3],
    probe: fn(&Bench) -> Found,
}

const fn row(what: &'static str, probe: fn(&Bench) -> Found, answers: [&'static str; 3]) -> Row {
    Row { what, answers, probe }
}

pub(crate) const ED25519: &str = "Ed25519 pair made and used";
pub(crate) const KWP_210B: &str = "Keys wrapped by AES-KWP, as 0x210B";
pub(crate) const OAEP: &str = "RSA-OAEP with SHA-256";
pub(crate) const OAEP_SHA1: &str = "RSA-OAEP with SHA-1";
pub(crate) const COUNTS: &str = "Open sessions counted by the token";
pub(crate) const LOCKS: &str = "Locks the PIN after wrong ones";

const YES: [&str; 3] = ["yes"; 3];

const GROUPS: [(&str, &[Row]); 4] = [
    (
        "Keys",
        &[
            row("AES-256 key made inside, sensitive, not extractable", keys::stays, YES),
            row("Such a key made extractable later", keys::extractable_later, ["`CKR_ATTRIBUTE_READ_ONLY`"; 3]),
            row(
                "Such a key wrapped out",
                keys::wrapped_out,
                ["`CKR_KEY_UNEXTRACTABLE`", "`CKR_KEY_UNEXTRACTABLE`", "`CKR_KEY_UNEXTRACTABLE`"],
            ),
            row(
                "Usages of a key whose template names none",
                keys::unsaid_usages,
                ["none", "encrypt, decrypt, sign, verify, wrap, unwrap", "none"],
            ),
        ],
    ),
    (
        "Wrapping",
        &[
            row("AES-GCM with associated data", keys::gcm_with_context, YES),
            row(
                "Opened under other associated data",
                keys::another_context,
                ["`CKR_ENCRYPTED_DATA_INVALID`", "`CKR_GENERAL_ERROR`", "`CKR_ENCRYPTED_DATA_INVALID`"],
            ),
            row(
                "Opened, shorter than a tag",
                keys::shorter_than_a_tag,
                ["`CKR_ENCRYPTED_DATA_LEN_RANGE`", "`CKR_GENERAL_ERROR`", "`CKR_ENCRYPTED_DATA_LEN_RANGE`"],
            ),
            row("Session sound after such a refusal", keys::sound_after_a_refusal, YES),
            row(
                "AES-GCM with a nonce of the token's own",
                keys::nonce_of_the_token,
                ["no: no such function", "no: no such function", "yes"],
            ),
            row(
                "Keys wrapped by AES-GCM",
                keys::wraps_by_gcm,
                ["no: `CKR_MECHANISM_INVALID`", "no: `CKR_MECHANISM_INVALID`", "yes"],
            ),
            row("Keys wrapped by AES-KW, 0x2109", keys::wraps_by_kw, ["no: `CKR_MECHANISM_INVALID`", "yes", "yes"]),
            row(
                "Keys wrapped by AES-KWP, as 0x210A",
                keys::wraps_by_kwp_210a,
                ["no: `CKR_MECHANISM_INVALID`", "yes", "no: `CKR_MECHANISM_INVALID`"],
            ),
            row(KWP_210B, keys::wraps_by_kwp_210b, ["yes", "no: `CKR_MECHANISM_INVALID`", "yes"]),
            row(OAEP, keys::oaep_sha256, ["no: `CKR_MECHANISM_INVALID`", "no: `CKR_ARGUMENTS_BAD`", "yes"]),
            row(OAEP_SHA1, keys::oaep_sha1, ["no: `CKR_MECHANISM_INVALID`", "yes", "yes"]),
            row("HKDF with SHA-256", keys::hkdf, ["no: `CKR_MECHANISM_INVALID`", "no: `CKR_MECHANISM_INVALID`", "yes"]),
        ],
    ),
    (
        "Signing",
        &[
            row(ED25519, signing::ed25519, ["yes", "yes", "no: `CKR_MECHANISM_INVALID`"]),
            row("Ed25519 listed among its mechanisms", signing::ed25519_is_listed, ["yes", "yes", "no"]),
            row("ECDSA P-256 of a digest", signing::p256_of_a_digest, YES),
            row("ECDSA P-256 of a message", signing::p256_of_a_message, ["yes", "no: `CKR_MECHANISM_INVALID`", "yes"]),
            row("Public point given as", signing::form_of_a_point, ["OCTET STRING"; 3]),
        ],
    ),
    (
        "Sessions and logins",
        &[
            row("PKCS#11 version", sessions::version, ["2.40", "2.40", "3.2"]),
            row("Stated limit of sessions", sessions::stated_limit, ["none"; 3]),
            row(COUNTS, sessions::counted, ["yes", "does not say", "says 0 whatever is open"]),
            row("64 sessions at once", sessions::many_sessions, YES),
            row("Handle of one session used in another", sessions::shared_handles, YES),
            row(
                "Key put on the token in a read-only session",
                sessions::key_in_a_read_only_session,
                ["`CKR_SESSION_READ_ONLY`"; 3],
            ),
            row("Second login", sessions::second_login, ["`CKR_USER_ALREADY_LOGGED_IN`"; 3]),
            row(
                "Key used after logout",
                sessions::use_after_logout,
                ["`CKR_KEY_HANDLE_INVALID`", "`CKR_OBJECT_HANDLE_INVALID`", "`CKR_GENERAL_ERROR`"],
            ),
            row(
                "Key asked for attributes after logout",
                sessions::attributes_after_logout,
                ["`CKR_OBJECT_HANDLE_INVALID`"; 3],
            ),
            row(
                "Handle of before used after the next login",
                sessions::same_handle_after_login,
                ["yes", "no: `CKR_OBJECT_HANDLE_INVALID`", "yes"],
            ),
            row("Wrong PIN", sessions::wrong_pin, ["`CKR_PIN_INCORRECT`"; 3]),
            // Nothing can be asked of a token after this one.
            row(LOCKS, sessions::locks, ["after 5", "never", "after 10"]),
        ],
    ),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|(_, rows)| rows.iter())
}

fn column(kind: Module) -> usize {
    Module::ALL.iter().position(|known| *known == kind).expect("every module has a column")
}

/// What the table says of a module.
pub(crate) fn says(what: &str, kind: Module) -> &'static str {
    rows().find(|row| row.what == what).expect("a row of the table").answers[column(kind)]
}

pub(crate) const CASES: &[Case] = cases![it_can_what_the_table_says];

#[test]
fn hsm_sim_can_what_the_table_says() {
    probe(Module::HsmSim);
}

#[test]
fn softhsm_can_what_the_table_says() {
    probe(Module::SoftHsm);
}

#[test]
fn kryoptic_can_what_the_table_says() {
    probe(Module::Kryoptic);
}

fn probe(kind: Module) {
    let (name, _) = CASES[0];
    run_alone("contract::child", name, kind, &prepared(kind), Runs::Inside).unwrap_or_else(|out| panic!("{out}"));
}

async fn it_can_what_the_table_says(child: &Child) {
    let bench = Bench::on(child);
    let mut wrong = Vec::new();
    for row in rows() {
        let (said, found) = (row.answers[column(child.kind)], words((row.probe)(&bench)));
        if said != found {
            wrong.push(format!("{}: the table says {said:?}, {} says {found:?}", row.what, child.kind.name()));
        }
    }
    assert!(wrong.is_empty(), "{} cells of the table are wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// The table as the document has it.
fn shown() -> String {
    let mut text = String::new();
    for (group, rows) in GROUPS {
        let names = Module::ALL.map(Module::name).join(" | ");
        let _ = writeln!(text, "\n### {group}\n\n| | {names} |\n|---|---|---|---|");
        for Row { what, answers, .. } in rows {
            let _ = writeln!(text, "| {what} | {} |", answers.join(" | "));
        }
    }
    text
}

const BEGIN: &str = "<!-- the table of vault/custody/tests/it/capability.rs -->\n";
const END: &str = "\n<!-- end of the table -->";

/// The document shows this very table; where it does not, the new text lies beside it, ready to be taken.
#[test]
fn the_document_shows_the_table() {
    let place: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/custody/modules.md");
    let text = std::fs::read_to_string(&place).expect("docs/custody/modules.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("the document marks where the table begins");
    let (table, after) = rest.split_once(END).expect("the document marks where the table ends");
    if table != shown() {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules.md");
        std::fs::write(&new, format!("{before}{BEGIN}{}{END}{after}", shown())).expect("the new text is written");
        panic!("docs/custody/modules.md shows another table; put there what lies in {}", new.display());
    }
}
