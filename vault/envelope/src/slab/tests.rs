use std::os::unix::fs::FileExt;

use super::*;

const TINY: Room = Room { small: 2, large: 1 };

fn tiny() -> Arc<Slab> {
    Slab::with_room(Backing::Mlock, TINY).expect("8 KiB can be locked")
}

#[test]
fn the_slab_of_a_process_is_four_mebibytes() {
    assert_eq!(Room::PROCESS.small as usize * SMALL + Room::PROCESS.large as usize * LARGE, 4 << 20);
}

#[test]
fn a_dropped_slot_is_zero_where_it_lay() {
    let slab = tiny();
    for len in [1, 32, SMALL, SMALL + 1, LARGE] {
        let mut slot = slab.take(len).expect("room");
        assert!(slot.bytes().iter().all(|byte| *byte == 0), "a slot starts zeroed");
        slot.bytes_mut().fill(0xa5);
        let at = slot.bytes().as_ptr();
        drop(slot);
        // SAFETY: `at` lies in the mapping, which `slab` keeps alive; no slot is out, so nobody writes.
        let left = unsafe { std::slice::from_raw_parts(at, len) };
        assert!(left.iter().all(|byte| *byte == 0), "{len} bytes were left");
    }
}

#[test]
fn a_panic_wipes_too() {
    let slab = tiny();
    let mut slot = slab.take(64).expect("room");
    slot.bytes_mut().fill(0xa5);
    let at = slot.bytes().as_ptr() as usize;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = slot;
        panic!("as a failing call would");
    }));
    assert!(outcome.is_err());
    // SAFETY: as above.
    let left = unsafe { std::slice::from_raw_parts(at as *const u8, 64) };
    assert!(left.iter().all(|byte| *byte == 0));
    assert_eq!(slab.counters(), Counters { taken: 1, wiped: 1, in_use: 0 });
}

#[test]
fn counters_follow_every_slot() {
    let slab = tiny();
    let one = slab.take(1).expect("room");
    let two = slab.take(SMALL).expect("room");
    assert_eq!(slab.counters(), Counters { taken: 2, wiped: 0, in_use: 2 });
    drop(one);
    assert_eq!(slab.counters(), Counters { taken: 2, wiped: 1, in_use: 1 });
    drop(two);
    assert_eq!(slab.counters(), Counters { taken: 2, wiped: 2, in_use: 0 });
}

#[test]
fn a_full_slab_says_so_and_recovers() {
    let slab = tiny();
    let mut held: Vec<Slot> = (0..3).map(|_| slab.take(1).expect("two small, then the large one")).collect();
    assert_eq!(slab.take(1).err(), Some(Error::SlabFull));
    assert_eq!(slab.take(LARGE).err(), Some(Error::SlabFull));
    assert_eq!(slab.take(LARGE + 1).err(), Some(Error::TooLong));
    held.pop();
    assert!(slab.take(LARGE).is_ok());
    assert_eq!(slab.counters().in_use, 2);
}

#[test]
fn slots_do_not_overlap() {
    let slab = Slab::with_room(Backing::Mlock, Room { small: 17, large: 3 }).expect("locked");
    let mut slots: Vec<Slot> = (0..17).map(|_| slab.take(SMALL).expect("room")).collect();
    slots.extend((0..3).map(|_| slab.take(LARGE).expect("room")));
    for (mark, slot) in (1u8..).zip(&mut slots) {
        slot.bytes_mut().fill(mark);
    }
    for (mark, slot) in (1u8..).zip(&slots) {
        assert!(slot.bytes().iter().all(|byte| *byte == mark), "slot {mark} was written by another");
    }
}

#[test]
fn threads_take_and_give_back() {
    let slab = Slab::with_room(Backing::Mlock, Room { small: 8, large: 8 }).expect("locked");
    std::thread::scope(|scope| {
        for mark in 1..=4u8 {
            let slab = &slab;
            scope.spawn(move || {
                for _ in 0..500 {
                    let mut slot = slab.take(200).expect("four threads, sixteen slots");
                    assert!(slot.bytes().iter().all(|byte| *byte == 0));
                    slot.bytes_mut().fill(mark);
                    assert!(slot.bytes().iter().all(|byte| *byte == mark));
                }
            });
        }
    });
    assert_eq!(slab.counters(), Counters { taken: 2000, wiped: 2000, in_use: 0 });
}

#[test]
fn a_slab_without_slots_is_refused() {
    for room in [Room { small: 0, large: 0 }, Room { small: u32::MAX, large: 1 }, Room { small: 1, large: u32::MAX }] {
        assert!(matches!(Slab::with_room(Backing::Mlock, room), Err(Unavailable::Room)));
    }
}

/// What `/proc/self/mem` gives for a slot: the positive control (plain mlock is readable by its own process) and the
/// point of secret memory (it is not). Where the kernel has no secret memory, the typed refusal is what is asserted.
#[test]
fn secret_memory_cannot_be_read_through_proc() {
    let read = |slab: &Arc<Slab>| {
        let mut slot = slab.take(16).expect("room");
        slot.bytes_mut().copy_from_slice(b"a planted canary");
        let mut seen = [0; 16];
        let memory = std::fs::File::open("/proc/self/mem").expect("own memory can be opened");
        let outcome = memory.read_exact_at(&mut seen, slot.bytes().as_ptr() as u64);
        outcome.map(|()| seen)
    };
    assert_eq!(&read(&tiny()).expect("mlocked memory is readable here"), b"a planted canary");
    match Slab::with_room(Backing::MemfdSecret, TINY) {
        Ok(slab) => {
            assert_eq!(slab.backing(), Backing::MemfdSecret);
            assert!(read(&slab).is_err(), "secret memory was read");
            assert_eq!(slab.counters(), Counters { taken: 1, wiped: 1, in_use: 0 });
        }
        Err(Unavailable::NoSecretMemory(cause)) => {
            assert_eq!(cause.raw_os_error(), Some(libc::ENOSYS), "refused for another reason: {cause}");
            eprintln!("this kernel has no memfd_secret: only the typed refusal was asserted");
        }
        Err(other) => panic!("refused for another reason: {other}"),
    }
}

/// The `VmFlags` the kernel lists for the mapping that holds `at`.
fn flags_of(at: usize) -> Vec<String> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("own maps");
    let mut inside = false;
    for line in smaps.lines() {
        let range = line.split_whitespace().next().and_then(|word| word.split_once('-'));
        let ends = range.map(|(start, end)| (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)));
        if let Some((Ok(start), Ok(end))) = ends {
            inside = (start..end).contains(&at);
        }
        if inside && let Some(found) = line.strip_prefix("VmFlags:") {
            return found.split_whitespace().map(str::to_owned).collect();
        }
    }
    panic!("the mapping is not listed");
}

/// Locked, not dumped, and wiped in children (mlock) or not carried into them (secret memory), as the kernel says.
#[test]
fn the_kernel_confirms_the_protections() {
    let check = |slab: &Arc<Slab>, expected: [&str; 3]| {
        let slot = slab.take(1).expect("room");
        let flags = flags_of(slot.bytes().as_ptr() as usize);
        for flag in expected {
            assert!(flags.iter().any(|found| found == flag), "{flag} is missing in {flags:?}");
        }
    };
    check(&tiny(), ["lo", "dd", "wf"]);
    // Where the kernel has no secret memory, the test above asserts the refusal.
    if let Ok(slab) = Slab::with_room(Backing::MemfdSecret, TINY) {
        check(&slab, ["lo", "dd", "dc"]);
    }
}
