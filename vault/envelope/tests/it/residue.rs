//! After a login went all the way in and out, no byte run of it, and of no key above it, is left anywhere in the
//! memory of the process: not in the slab, on a heap, or on a stack. The scan first finds a canary planted on purpose.

use std::io::BufRead;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Barrier, mpsc};

use cofre_envelope::context::{DepositContext, ReleaseContext, SecretContext, WrapData, WrapDepositKey, WrapSubject};
use cofre_envelope::{
    Backing, ClientSecret, Dek, DepositKeyPair, Error, Plain, Room, Share, Slab, SubjectKey, Suite, TenantKey,
    WorkerKeyPair, open, open_deposit, open_released, random, seal_deposit, seal_to,
};
use cofre_model::credential::{FieldKey, FieldRequest};
use cofre_model::id::{CredentialId, DepositKeyId, EnrolmentId, InstitutionId, SubjectId, TenantId};
use cofre_model::time::Timestamp;
use cofre_model::wording::{Class, Form};

/// A secret's bytes, kept inverted so that the needle is not what the scan finds.
struct Needle {
    name: String,
    inverted: [u8; 16],
}

impl Needle {
    fn of(name: &str, bytes: &[u8]) -> Vec<Self> {
        let runs = bytes.chunks_exact(16).enumerate();
        runs.map(|(at, run)| {
            let mut inverted = [0; 16];
            for (to, from) in inverted.iter_mut().zip(run) {
                *to = !from;
            }
            Self { name: format!("{name}, run {at}"), inverted }
        })
        .collect()
    }

    fn is_at(&self, window: &[u8]) -> bool {
        window.iter().zip(&self.inverted).all(|(byte, inverted)| *byte == !inverted)
    }
}

/// Reads every readable and writable mapping of the process; names what it finds. Returns the bytes scanned too.
fn scan(needles: &[Needle]) -> (Vec<String>, u64) {
    let mut by_first: Vec<Vec<&Needle>> = (0..256).map(|_| Vec::new()).collect();
    for needle in needles {
        by_first[usize::from(!needle.inverted[0])].push(needle);
    }
    let memory = std::fs::File::open("/proc/self/mem").expect("own memory can be opened");
    let maps = std::fs::File::open("/proc/self/maps").expect("own maps can be read");
    let maps: Vec<String> = std::io::BufReader::new(maps).lines().map(|line| line.expect("text")).collect();
    let (mut found, mut scanned) = (Vec::new(), 0);
    let mut chunk = vec![0; 1 << 16];
    for map in maps.iter().filter(|map| map.contains(" rw")) {
        let (start, end) = map.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).expect("an address"));
        let mut at = start;
        while at < end {
            let len = chunk.len().min((end - at) as usize);
            // Not every page can be read (guards, secret memory); those are not scanned and not counted.
            if memory.read_exact_at(&mut chunk[..len], at).is_ok() {
                scanned += len as u64;
                for window in chunk[..len].windows(16) {
                    let hit = by_first[usize::from(window[0])].iter().filter(|needle| needle.is_at(window));
                    found.extend(hit.map(|needle| format!("{} in {map}", needle.name)));
                }
            }
            // Overlap, so that a run across two chunks is seen.
            at += if len == chunk.len() { len as u64 - 15 } else { len as u64 };
        }
        chunk.fill(0);
    }
    (found, scanned)
}

const AT: u64 = 1_790_000_000_000;

fn secret() -> SecretContext {
    SecretContext {
        tenant: TenantId::from_parts(AT, [1; 10]),
        owner: SubjectId::from_parts(AT, [2; 10]),
        credential: CredentialId::from_parts(AT, [3; 10]),
        class: Class::Login,
        version: 1,
    }
}

fn deposit() -> DepositContext {
    DepositContext {
        tenant: secret().tenant,
        key: DepositKeyId::from_parts(AT, [6; 10]),
        enrolment: EnrolmentId::from_parts(AT, [4; 10]),
        owner: secret().owner,
        credential: secret().credential,
        template_version: 1,
    }
}

/// 32 random ASCII letters, so that positions can be taken of them.
fn letters(place: &mut [u8]) -> Result<(), Error> {
    random::fill(place)?;
    for byte in place {
        *byte = b'a' + *byte % 26;
    }
    Ok(())
}

/// How many places [`in_and_out`] can stop at.
const STOPS: usize = 11;

/// One login in and out, for each suite, with every kind of key; says what must have gone. It stops after `stop`, so
/// that each operation is once the last one, whose stack nothing later has overwritten.
fn in_and_out(slab: &Arc<Slab>, suite: Suite, stop: usize) -> Vec<Needle> {
    let mut needles = Vec::new();
    let tenant = {
        let share = Share::fill::<Error>(slab, |place| random::fill(place)).expect("share");
        share.with_bytes(|bytes| needles.extend(Needle::of("tenant key", bytes)));
        let whole = |expected: &[u8; 16]| TenantKey::combine(share.split(1).expect("share"), expected);
        assert_eq!(whole(&[0; 16]).err(), Some(Error::WrongTenantKey));
        let tenant = TenantKey::generate(slab).expect("key");
        let id = tenant.id().expect("id");
        for part in tenant.split(2).expect("shares") {
            part.with_bytes(|bytes| needles.extend(Needle::of("share", bytes)));
        }
        TenantKey::combine(tenant.split(3).expect("shares"), &id).expect("whole")
    };
    for part in tenant.split(1).expect("share") {
        part.with_bytes(|bytes| needles.extend(Needle::of("second tenant key", bytes)));
    }
    if stop == 0 {
        return needles;
    }
    let key = FieldKey::try_from("password").expect("a field key");

    // On the investor's side. The value is drawn in locked memory first, so that no copy of ours precedes it.
    let drawn = Plain::fill(slab, 64, letters).expect("room");
    drawn.with_bytes(|bytes| needles.extend(Needle::of("password", bytes)));
    let value = drawn.with_bytes(ClientSecret::copy_of);
    drop(drawn);
    let pair = DepositKeyPair::generate(suite, slab).expect("pair");
    let sealed = seal_deposit(pair.public(), &deposit(), vec![(key.clone(), value)]).expect("sealed");
    if stop == 1 {
        return needles;
    }

    // In the vault: in.
    let ctx = WrapDepositKey {
        tenant: secret().tenant,
        key: deposit().key,
        suite,
        not_before: Timestamp::from_millis(AT),
        not_after: Timestamp::from_millis(AT + 1),
    };
    let wrapped = tenant.wrap_deposit_key(&pair, &ctx).expect("wrapped");
    if stop == 2 {
        return needles;
    }
    drop(pair);
    let pair = tenant.unwrap_deposit_key(&wrapped, &ctx).expect("unwrapped");
    if stop == 3 {
        return needles;
    }
    let (subject, dek) = (SubjectKey::generate(slab).expect("key"), Dek::generate(slab).expect("key"));
    let (_, plain) = open_deposit(&pair, &deposit(), &sealed).expect("opened").pop().expect("one field");
    if stop == 4 {
        return needles;
    }
    let bank = InstitutionId::try_from("ins_banco-abierto").expect("an institution");
    assert_ne!(tenant.dedupe().expect("room").tag(&bank, &[(&key, &plain)]), [0; 32]);
    if stop == 5 {
        return needles;
    }
    let at_rest = dek.seal_field(&secret(), &key, plain).expect("sealed");
    if stop == 6 {
        return needles;
    }
    let wrap_data = WrapData { secret: secret(), subject_key_version: 1 };
    let wrap_subject = WrapSubject {
        tenant: secret().tenant,
        owner: secret().owner,
        subject_key_version: 1,
        tenant_key_id: tenant.id().expect("id"),
        tenant_key_version: 1,
    };
    let wrapped_dek = subject.wrap_data(&dek, &wrap_data).expect("wrapped");
    let wrapped_subject = tenant.wrap_subject(&subject, &wrap_subject).expect("wrapped");
    if stop == 7 {
        return needles;
    }
    drop((subject, dek));

    // In the vault: out.
    let subject = tenant.unwrap_subject(&wrapped_subject, &wrap_subject).expect("unwrapped");
    let dek = subject.unwrap_data(&wrapped_dek, &wrap_data).expect("unwrapped");
    if stop == 8 {
        return needles;
    }
    let opened = open(dek, &[(key.clone(), at_rest)], &secret()).expect("opened");
    if stop == 9 {
        return needles;
    }
    let request = FieldRequest { key, form: Form::Full, positions: Vec::new() };
    let ctx = ReleaseContext {
        origin: "cofre.example/ledger",
        index: 1,
        entry_hash: [1; 32],
        request_digest: [2; 32],
        worker: "spiffe://cofre.example/worker/pool-a/w-1",
    };
    let worker = WorkerKeyPair::generate(suite).expect("pair");
    let released = seal_to(worker.public(), opened.narrow(&[request]).expect("narrowed"), &ctx).expect("sealed");
    if stop == 10 {
        return needles;
    }

    // In the worker.
    let fields = open_released(&worker, &ctx, &released).expect("opened");
    fields[0].value.with_bytes(|bytes| assert!(needles.iter().any(|needle| needle.is_at(&bytes[..16]))));
    needles
}

#[test]
fn nothing_of_a_login_or_its_keys_is_left_in_memory() {
    // A planted run is found, exactly where it was planted.
    let mut planted = vec![0; 16];
    letters(&mut planted).expect("randomness");
    let control = Needle::of("control", &planted);
    assert!(!scan(&control).0.is_empty(), "the scan cannot find what is there");

    let slab = Slab::with_room(Backing::Mlock, Room { small: 512, large: 32 }).expect("256 KiB can be locked");
    let stay = Barrier::new(2 * (STOPS + 1) + 1);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for suite in [Suite::MlKem768X25519, Suite::X25519] {
            for stop in 0..=STOPS {
                let (slab, send, stay) = (&slab, send.clone(), &stay);
                let thread = std::thread::Builder::new().stack_size(1 << 20);
                let work = move || {
                    let mut needles = in_and_out(slab, suite, stop);
                    for needle in &mut needles {
                        needle.name += &format!(" ({suite:?}, stopped at {stop})");
                    }
                    send.send(needles).expect("the other end waits");
                    // Stay, so that this thread's stack is still there to be scanned.
                    stay.wait();
                };
                thread.spawn_scoped(scope, work).expect("a thread");
            }
        }
        drop(send);
        let needles: Vec<Needle> = (0..2 * (STOPS + 1)).flat_map(|_| receive.recv().expect("needles")).collect();
        let (found, scanned) = scan(&needles);
        stay.wait();
        assert_eq!(needles.len(), 2 * (STOPS * (2 + 4 + 2 + 4) + 8), "runs of 16 bytes: keys, shares, value");
        assert!(scanned > 1 << 20, "only {scanned} bytes were scanned");
        assert!(found.is_empty(), "{found:#?}");
    });
    let counters = slab.counters();
    assert_eq!((counters.in_use, counters.taken), (0, counters.wiped));
    drop(planted);
}
