//! A key ceremony with two people, from the plan to a vault that serves on the keys, on each PKCS#11 module; and each way
//! in which it is refused, with what is left to do.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use cofre_demo::world::identities::Identities;
use cofre_demo::world::token::{ROOT, SIGNER, SIM_FOLDER, binary, dev_binary};
use cofre_demo::world::vault::write_config;
use cofre_demo::world::{NAME, Wishes, stores};
use cofre_model::time::{Clock as _, Span, Timestamp};
use cofre_server::clock::SystemClock;
use cofre_testkit::ca::{Issued, Options, TestCa};
use cofre_testkit::hsm::{Module, TokenFolder};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_vault_starts_on_keys_that_two_people_made_in_hsm_sim() {
    Site::new(Module::HsmSim).play();
}

/// Not skipped where SoftHSM2 is missing: it fails with the line to type.
#[test]
fn a_vault_starts_on_keys_that_two_people_made_in_softhsm() {
    Site::new(Module::SoftHsm).play();
}

/// Not skipped where Kryoptic does not build: it fails with the line to type.
#[test]
fn a_vault_starts_on_keys_that_two_people_made_in_kryoptic() {
    Site::new(Module::Kryoptic).play();
}

const PIN: &str = "dev-user-pin";

struct Site {
    kind: Module,
    folder: tempfile::TempDir,
    token: TokenFolder,
    ca: TestCa,
    ana: Issued,
    now: Timestamp,
}

/// What a program said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It did what it was told.
    fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// It made keys and a record, which people have still to sign.
    fn unfinished(self) -> Self {
        assert_eq!(self.code, Some(75), "{}{}", self.out, self.err);
        self
    }

    /// It ended with this code and said all of these words.
    fn refused(self, code: i32, words: &[&str]) {
        let said = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not all in: {said}");
    }
}

impl Site {
    /// A token with keys of another deployment, two custodians, and a configuration that wants both for the new keys.
    fn new(kind: Module) -> Self {
        let token = TokenFolder::empty(kind).unwrap_or_else(|error| panic!("{error:#}"));
        let mut made = Command::new(dev_binary().expect("cofre-dev is built"));
        made.args(["token", "--module"]).arg(token.module()).envs([token.environment()]);
        Said::of(made.output().expect("it ends")).done();
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemClock::new().now();
        let identities = folder.path().join("identities");
        Identities::make(&identities, 1, now).expect("identities");
        let ca = TestCa::open(&identities.join("authority"), NAME, now).expect("the authority");
        let custodian = |name: &str| {
            let uri = format!("spiffe://{NAME}/person/custodian/{name}");
            let issued = ca.issue(&uri, &Options::default()).expect("issued");
            issued.write(&identities, name).expect("written");
            issued
        };
        let ana = custodian("ana");
        custodian("bea");
        let site = Self { kind, folder, token, ca, ana, now };
        std::fs::write(site.path("pin"), PIN).expect("written");
        site.configure("root-c", "ledger-c", 2);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, key: &str, signer: &str, people: u8) {
        self.configure_with(key, signer, people, "");
    }

    /// With more about the token.
    fn configure_with(&self, key: &str, signer: &str, people: u8, more: &str) {
        let folder = self.folder.path();
        let mut wishes = Wishes::usual(folder).expect("hsm-sim is built");
        wishes.module = self.token.module().to_path_buf();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let lines = runtime.block_on(stores::lines(folder, None)).expect("files");
        let file = write_config(folder, &wishes, &lines).expect("a configuration");
        let text = std::fs::read_to_string(&file).expect("the configuration");
        let simulated = folder.join("token").display().to_string();
        let text = text
            .replace(&format!("\"{ROOT}\""), &format!("\"{key}\""))
            .replace(&format!("\"{SIGNER}\""), &format!("\"{signer}\"{more}"))
            .replace(SIM_FOLDER, self.token.environment().0)
            .replace(&simulated, &self.token.tokens().display().to_string());
        let record = self.path("record").display().to_string();
        let ceremony = format!("ceremony = {{ people = {people}, record = \"{record}\" }}\n");
        std::fs::write(file, text + &ceremony).expect("written");
    }

    fn revoke(&self, serials: &[&[u8]]) {
        let list = self.ca.revocations(serials, self.now.minus(Span::hours(1)), self.now.plus(Span::days(1)));
        std::fs::write(self.path("identities/crl.pem"), list.expect("a list")).expect("written");
    }

    fn cofred(&self, arguments: &[&str]) -> Said {
        let mut cofred = Command::new(binary("cofred").expect("cofred is built"));
        cofred.args(arguments).arg("--config").arg(self.path("cofre.toml")).envs([self.token.environment()]);
        Said::of(cofred.current_dir(self.folder.path()).stdin(Stdio::null()).output().expect("it ends"))
    }

    /// `cofred keys …` for the custodian of this site.
    fn keys(&self, arguments: &[&str]) -> Said {
        self.cofred(&[&["keys"], arguments, &["--custodian", "hsm-1"]].concat())
    }

    /// `cofre keys …` as this person, who types nothing.
    fn person(&self, name: &str, arguments: &[&str]) -> Said {
        self.person_typing(name, arguments, "")
    }

    fn person_typing(&self, name: &str, arguments: &[&str], typed: &str) -> Said {
        let file = |name: String| self.path("identities").join(name).display().to_string();
        let mut cofre = Command::new(binary("cofre").expect("cofre is built"));
        cofre.arg("keys").args(arguments).args(["--trust-domain", NAME]).current_dir(self.folder.path());
        cofre.args(["--certificate", &file(format!("{name}.pem")), "--key", &file(format!("{name}.key"))]);
        cofre.args(["--bundle", &file("bundle.pem".to_owned())]);
        cofre.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut cofre = cofre.spawn().expect("it starts");
        // One that asks nothing may have ended by now.
        let _ = cofre.stdin.take().expect("its input").write_all(typed.as_bytes());
        Said::of(cofre.wait_with_output().expect("it ends"))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Starts the vault, and stops it in order once it serves.
    fn serves(&self) {
        let log = std::fs::File::create(self.path("cofred.log")).expect("a log");
        let mut cofred = Command::new(binary("cofred").expect("cofred is built"));
        cofred.args(["run", "--config"]).arg(self.path("cofre.toml")).envs([self.token.environment()]);
        let mut vault = cofred.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("it starts");
        let mut ready = String::new();
        BufReader::new(vault.stdout.take().expect("its output")).read_line(&mut ready).expect("a line");
        if ready.starts_with("ready ") {
            let pid = Pid::from_raw(i32::try_from(vault.id()).expect("a process id")).expect("a process id");
            kill_process(pid, Signal::TERM).expect("told");
        }
        let status = vault.wait().expect("it ends");
        assert!(ready.starts_with("ready ") && status.success(), "{status}: {}", self.read("cofred.log"));
    }

    fn play(&self) {
        self.cofred(&["run"]).refused(1, &["ceremony.record", "cannot be read", "cofred keys init"]);
        let init = self.cofred(&["init"]).done();
        assert!(init.out.contains("its keys are made by `cofred keys init`"), "{}", init.out);
        self.plan_and_approve();
        self.what_is_refused();
        self.make();
        self.finish();
        self.serves();
        self.what_no_vault_starts_on();
        self.what_fails_once_keys_are_made();
        self.alone();
    }

    fn plan_and_approve(&self) {
        let plan = self.keys(&["plan"]).done().out;
        assert!(["people 2\n", "label root-c\n", "label ledger-c\n"].iter().all(|line| plan.contains(line)), "{plan}");
        std::fs::write(self.path("plan"), &plan).expect("written");
        std::fs::write(self.path("altered"), plan.replace("root-c", "root-x")).expect("written");
        for typed in ["", "y\n", "no\n"] {
            let said = self.person_typing("ana", &["approve", "--plan", "plan", "--out", "ana"], typed);
            said.refused(1, &[&plan, "Approve this plan?", "nothing was signed"]);
            assert!(!self.path("ana").exists(), "nothing was approved");
        }
        let asked = self.person_typing("ana", &["approve", "--plan", "plan", "--out", "ana"], "yes\n").done();
        assert!(asked.err.contains(&plan) && asked.out.contains("approved by"), "{}{}", asked.err, asked.out);
        let approve =
            |name: &str, plan: &str, out: &str| self.person(name, &["approve", "--plan", plan, "--out", out, "--yes"]);
        let said = approve("bea", "plan", "bea").done();
        assert!(said.err.contains(&plan), "who approves is shown what: {}", said.err);
        approve("bea", "altered", "bea-altered").done();
        approve("ana", "plan", "ana-again").done();
        approve("ana", "plan", "ana").refused(2, &["exists already"]);
        approve("person-operator-olga", "plan", "olga").refused(2, &["person/custodian"]);
        // What the other program does.
        self.person("ana", &["init", "--custodian", "hsm-1"]).refused(2, &["`cofred keys init` does this"]);
    }

    fn what_is_refused(&self) {
        let init = |arguments: &[&str]| self.keys(&[&["init", "--out", "record-0"], arguments].concat());
        let with = |plan: &str, approvals: &[&str]| {
            let approvals: Vec<&str> = approvals.iter().flat_map(|file| ["--approval", file]).collect();
            init(&[&["--plan", plan], &approvals[..]].concat())
        };
        init(&[]).refused(1, &["2 people have to approve", "cofred keys plan"]);
        with("plan", &["ana"]).refused(1, &["asks for 2 people, and 1 approved"]);
        with("plan", &["ana", "ana"]).refused(1, &["custodian/ana approves twice"]);
        with("plan", &["ana", "ana-again"]).refused(1, &["custodian/ana approves twice"]);
        with("altered", &["ana", "bea"]).refused(1, &["says `label root-x`", "`label root-c`", "new plan"]);
        with("plan", &["ana", "bea-altered"]).refused(1, &["custodian/bea", "another plan"]);
        let changed = self.read("bea").replace("custodian/bea", "custodian/bee");
        std::fs::write(self.path("bee"), changed).expect("written");
        with("plan", &["ana", "bee"]).refused(1, &["custodian/bee", "certificate is that of"]);
        self.revoke(&[&self.ana.serial()]);
        with("plan", &["ana", "bea"]).refused(1, &["custodian/ana", "evoked"]);
        self.revoke(&[]);
        std::fs::write(self.path("pin"), "not-the-pin").expect("written");
        with("plan", &["ana", "bea"]).refused(77, &["PIN_INCORRECT", "not tried again"]);
        std::fs::write(self.path("pin"), PIN).expect("written");
        assert!(!self.path("record-0").exists(), "nothing was made, and nothing recorded");
    }

    fn make(&self) {
        let both = ["--plan", "plan", "--approval", "ana", "--approval", "bea"];
        let seen = self.keys(&[&["init", "--dry-run"], &both[..]].concat()).done();
        assert!(seen.out.contains("aes-gcm") && seen.out.contains("Nothing was made."), "{}", seen.out);
        let made = self.keys(&[&["init", "--out", "record-0"], &both[..]].concat()).unfinished();
        assert_eq!(made.out, self.read("record-0"));
        assert!(
            made.err.contains("UNFINISHED: 2 people") && made.err.contains(&format!("{NAME}/ledger+")),
            "{}",
            made.err
        );
        for line in
            ["attribute CKA_EXTRACTABLE false\n", "attribute CKA_NEVER_EXTRACTABLE true\n", "mechanism aes-gcm\n"]
        {
            assert!(made.out.contains(line), "{line} is not in {}", made.out);
        }
        let again = self.keys(&[&["init", "--out", "record-9"], &both[..]].concat());
        again.refused(1, &["KEY_EXISTS", "root-c", "never overwritten"]);
        assert!(!self.path("record-9").exists());
        let over = self.keys(&[&["init", "--out", "record-0"], &both[..]].concat());
        over.refused(1, &["record-0", "never overwritten"]);
    }

    fn finish(&self) {
        let verify = |file: &str| self.person("bea", &["verify-ceremony", file]);
        verify("record-0").refused(1, &["VERIFIED, UNFINISHED: 0 of 2", "WARNING: THE KEY WAS NOT PINNED"]);
        std::fs::copy(self.path("record-0"), self.path("record")).expect("a copy");
        self.cofred(&["run"]).refused(1, &["UNFINISHED: 0 of 2 people signed", "cofre keys countersign"]);
        let countersign = |name: &str, record: &str, out: &str, typed: &str| {
            self.person_typing(name, &["countersign", record, "--out", out], typed)
        };
        countersign("ana", "record-0", "record-1", "")
            .refused(1, &["CKA_EXTRACTABLE", "Sign this record?", "nothing was"]);
        assert!(!self.path("record-1").exists());
        countersign("ana", "record-0", "record-1", "yes\n").done();
        let twice = countersign("ana", "record-1", "record-2", "yes\n");
        twice.refused(1, &["custodian/ana has signed this record already"]);
        std::fs::remove_file(self.path("record")).expect("there");
        self.person("bea", &["countersign", "record-1", "--out", "record", "--yes"]).done();
        assert!(verify("record").done().out.contains("VERIFIED, FINISHED"));
        let key = self.read("record").lines().find_map(|line| line.strip_prefix("verifier-key ").map(str::to_owned));
        let key = key.expect("a verifier key");
        let pinned = self.person("bea", &["verify-ceremony", "record", "--signer", &key]).done();
        assert!(!pinned.out.contains("WARNING") && pinned.out.contains(&key), "{}", pinned.out);
        self.person("bea", &["verify-ceremony", "record", "--signer", &other_key()])
            .refused(1, &["another signing key"]);
        let altered = self.read("record").replace("CKA_NEVER_EXTRACTABLE true", "CKA_NEVER_EXTRACTABLE none");
        std::fs::write(self.path("record-altered"), altered).expect("written");
        verify("record-altered").refused(1, &["DOES NOT VERIFY", "may leave its token"]);
        let retold = self.read("record").replace("\ntool cofred ", "\ntool copred ");
        std::fs::write(self.path("record-retold"), retold).expect("written");
        verify("record-retold").refused(1, &["DOES NOT VERIFY", "not signed by the key"]);
    }

    fn what_no_vault_starts_on(&self) {
        let good = self.read("record");
        for (altered, why) in [("record-altered", "may leave its token"), ("record-retold", "not signed by the key")] {
            std::fs::copy(self.path(altered), self.path("record")).expect("a copy");
            self.cofred(&["run"]).refused(1, &["ceremony.record", why]);
        }
        std::fs::write(self.path("record"), &good).expect("written");
        // The token has other keys; their labels are not the record's.
        self.configure(ROOT, SIGNER, 2);
        self.cofred(&["run"]).refused(1, &["says `key wrap root-c`", &format!("configuration says `key wrap {ROOT}`")]);
        // The keys are the record's, and are held to another mechanism than the one that they go with.
        self.configure_with("root-c", "ledger-c", 2, ", mechanism = \"aes-kwp\"");
        self.cofred(&["run"]).refused(1, &["says `key wrap root-c mechanism aes-gcm`", "root-c mechanism aes-kwp`"]);
        self.configure("root-c", "ledger-c", 3);
        self.cofred(&["run"]).refused(1, &["UNFINISHED: 2 of 3"]);
        // Held to the one that they go with, which the plan left open.
        self.configure_with("root-c", "ledger-c", 2, ", mechanism = \"aes-gcm\"");
        self.serves();
    }

    /// What was made by a ceremony that fails is written down, and nothing starts on that.
    fn what_fails_once_keys_are_made(&self) {
        // Only hsm-sim fails when it is told to.
        if self.kind != Module::HsmSim {
            return;
        }
        let fails = |function: &str, after: u8| {
            let rule = format!("[[rule]]\nfunction = \"{function}\"\nafter = {after}\nreturn = \"CKR_DEVICE_ERROR\"\n");
            std::fs::write(self.token.tokens().join("faults.toml"), rule).expect("a fault plan");
        };
        let left = |record: &str, lines: &[&str]| {
            let made = self.keys(&["init", "--out", record]);
            made.refused(1, &["UNFINISHED", &format!("{record} says how far each came"), "TRANSIENT"]);
            let text = self.read(record);
            assert!(lines.iter().all(|line| text.contains(line)), "{lines:?} are not all in: {text}");
        };
        let root = |label: &str| format!("reached read-back\nkey wrap\nlabel {label}\nkind AES-256\n");
        // The first pair is the rehearsed one.
        fails("C_GenerateKeyPair", 1);
        self.configure("root-e", "ledger-e", 0);
        left("record-e", &[&root("root-e"), "CKA_EXTRACTABLE false", "reached asked\nkey sign\nlabel ledger-e\n"]);
        // In one process, where the third message that is signed is the record.
        fails("C_SignInit", 2);
        self.configure_with("root-f", "ledger-f", 0, ", host = \"inside\"");
        let signer = "reached read-back\nkey sign\nlabel ledger-f\nkind ed25519\n";
        left("record-f", &[&root("root-f"), signer, "token-label ", "witness ", "why custodian"]);
        fails("C_SignInit", 200);
        std::fs::copy(self.path("record-f"), self.path("record")).expect("a copy");
        self.cofred(&["run"]).refused(1, &["ceremony.record", "this is no record"]);
    }

    /// Where the policy asks for nobody, the key that was made signs alone. The wrapping key is held to the mechanism that
    /// was not found best.
    fn alone(&self) {
        let mechanism = if self.kind == Module::Kryoptic { "rsa-oaep-sha256" } else { "aes-kwp" };
        self.configure_with("root-d", "ledger-d", 0, &format!(", mechanism = \"{mechanism}\""));
        std::fs::remove_file(self.path("record")).expect("there");
        let made = self.keys(&["init", "--out", "record"]).done();
        assert!(made.err.contains("The record is finished."), "{}", made.err);
        assert!(made.out.contains(&format!("mechanism {mechanism}\n")), "{}", made.out);
        let verified = self.person("bea", &["verify-ceremony", "record", "--json"]).done();
        assert!(
            verified.out.contains("\"finished\":true") && verified.out.contains("\"people\":0"),
            "{}",
            verified.out
        );
        // A ledger goes on under the key it began with.
        std::fs::remove_dir_all(self.path("stores")).expect("there");
        std::fs::create_dir(self.path("stores")).expect("a folder");
        self.serves();
    }
}

/// A verifier key of nobody here: Ed25519 of a seed of ones, under this deployment's name.
fn other_key() -> String {
    let bytes = hex::decode("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c").expect("hex");
    let key = cofre_ledger::signed::VerifyingKey::ed25519(&bytes.try_into().expect("32 bytes")).expect("a key");
    cofre_ledger::note::NoteKey::new(&format!("{NAME}/ledger"), key).expect("a name").to_string()
}
