//! The key tree: keys wrapped by the one above, shares bound to their custodian, tags of rows.

use cofre_envelope::context::{WrapData, WrapDepositKey, WrapEvidence, WrapSubject, WrapTenant};
use cofre_envelope::{BoundShare, Dek, DepositKeyPair, Error, EvidenceKey, Share, SubjectKey, Suite, TenantKey};
use cofre_model::id::{DepositKeyId, SubjectId, TenantId};
use cofre_model::sealed::WrappedKey;
use cofre_model::time::Timestamp;

use super::{AT, SLAB, TENANT, context};
use crate::input::Input;

fn tenant(input: &mut Input<'_>) -> TenantId {
    TenantId::from_parts(AT, [input.byte() & 1; 10])
}

fn owner(input: &mut Input<'_>) -> SubjectId {
    SubjectId::from_parts(AT, [input.byte() & 1; 10])
}

/// Untouched and in place it opens, else it does not.
fn held<T>(same: bool, opened: &Result<T, Error>) {
    match opened {
        Ok(_) => assert!(same, "bent or moved, it opened"),
        Err(problem) => assert!(!same, "untouched, it did not open: {problem}"),
    }
}

/// A data, subject, evidence or deposit key under the one above it.
pub(super) fn wrapped(input: &mut Input<'_>) {
    match input.byte() % 4 {
        0 => {
            let mut place = || WrapData { secret: context(input), subject_key_version: u32::from(input.byte() & 1) };
            let (here, there) = (place(), place());
            let parent = SubjectKey::generate(&SLAB).expect("a key");
            let child = Dek::generate(&SLAB).expect("a key");
            let good = parent.wrap_data(&child, &here).expect("wrapped");
            let bent = bend(input, &good);
            held(bent == good && here == there, &parent.unwrap_data(&bent, &there));
        }
        1 => {
            let mut place = || WrapSubject {
                tenant: tenant(input),
                owner: owner(input),
                subject_key_version: u32::from(input.byte() & 1),
                tenant_key_id: [input.byte() & 1; 16],
                tenant_key_version: u32::from(input.byte() & 1),
            };
            let (here, there) = (place(), place());
            let child = SubjectKey::generate(&SLAB).expect("a key");
            let good = TENANT.wrap_subject(&child, &here).expect("wrapped");
            let bent = bend(input, &good);
            held(bent == good && here == there, &TENANT.unwrap_subject(&bent, &there));
            let other = TenantKey::generate(&SLAB).expect("a key");
            assert!(other.unwrap_subject(&good, &here).is_err(), "another tenant's key opened it");
            if let Ok(moved) = TENANT.rewrap_subject(&bent, &there, (&other, &here)) {
                assert!(bent == good && here == there && other.unwrap_subject(&moved, &here).is_ok());
            }
        }
        2 => {
            let mut place = || WrapEvidence {
                tenant: tenant(input),
                owner: owner(input),
                evidence_key_version: u32::from(input.byte() & 1),
            };
            let (here, there) = (place(), place());
            let child = EvidenceKey::generate(&SLAB).expect("a key");
            let good = TENANT.wrap_evidence(&child, &here).expect("wrapped");
            let bent = bend(input, &good);
            held(bent == good && here == there, &TENANT.unwrap_evidence(&bent, &there));
        }
        _ => deposit_key(input),
    }
}

fn deposit_key(input: &mut Input<'_>) {
    let mut place = || WrapDepositKey {
        tenant: tenant(input),
        key: DepositKeyId::from_parts(AT, [input.byte() & 1; 10]),
        suite: Suite::X25519,
        not_before: Timestamp::from_millis(u64::from(input.byte() & 1)),
        not_after: Timestamp::from_millis(AT + u64::from(input.byte() & 1)),
    };
    let (here, mut there) = (place(), place());
    if input.byte() % 8 == 7 {
        there.suite = Suite::MlKem768X25519;
    }
    let pair = DepositKeyPair::generate(Suite::X25519, &SLAB).expect("a pair");
    let good = TENANT.wrap_deposit_key(&pair, &here).expect("wrapped");
    let bent = bend(input, &good);
    let opened = TENANT.unwrap_deposit_key(&bent, &there);
    held(bent == good && here == there, &opened);
    if let Ok(opened) = opened {
        assert_eq!(opened.public(), pair.public(), "another pair was opened");
    }
}

fn bend(input: &mut Input<'_>, good: &WrappedKey) -> WrappedKey {
    assert_eq!(good.as_bytes().len(), 113);
    WrappedKey::from_bytes(input.bend(good.as_bytes()))
}

/// Shares, bound to a custodian and back: all of them are the key, any fewer or any other are not.
pub(super) fn shares(input: &mut Input<'_>) {
    let count = u16::from(input.byte() % 5);
    let id = TENANT.id().expect("an id");
    let split = match TENANT.split(count) {
        Ok(split) => split,
        Err(problem) => {
            assert!(count == 0 && problem == Error::NoShares);
            return;
        }
    };
    let custodians = ["hsm-1", "hsm-2"];
    let place = |share_index: u16, custodian: &'static str| WrapTenant {
        region: "eu-nl",
        tenant: TenantId::from_parts(AT, [1; 10]),
        tenant_key_version: 3,
        custody_set: [2; 32],
        custodian,
        share_index,
        share_count: count,
    };
    // Shares are joined by exclusive or: the same bit bent in two of them is none bent.
    let (mut bends, mut back) = ([0_u8; 32], Vec::new());
    for (index, share) in (0_u16..).zip(split) {
        let here = place(index, "hsm-1");
        let there = place(
            if input.byte() % 8 == 7 { index + 1 } else { index },
            custodians[usize::from(input.byte() % 8 == 7)],
        );
        let bound = share.bind(&here).expect("bound");
        let good = bound.with_bytes(|bytes| *bytes);
        let mut bent = good;
        if input.byte() % 8 == 7 {
            bent[usize::from(input.byte() & 63)] ^= 1 << (input.byte() & 7);
        }
        let bound = BoundShare::fill::<Error>(&SLAB, |slot| {
            slot.copy_from_slice(&bent);
            Ok(())
        });
        match bound.expect("room").unbind(&there) {
            Ok(share) => {
                assert!(there == here && good[32..] == bent[32..], "a share bound elsewhere was taken");
                for (sum, (good, bent)) in bends.iter_mut().zip(good.iter().zip(&bent)) {
                    *sum ^= good ^ bent;
                }
                back.push(share);
            }
            Err(problem) => {
                assert!(problem == Error::WrongContext && (there != here || good[32..] != bent[32..]));
                return;
            }
        }
    }
    let mut honest = bends == [0; 32];
    if input.byte() % 8 == 7 {
        let removed: Option<Share> = back.pop();
        honest &= removed.is_none();
    }
    match TenantKey::combine(back, &id) {
        Ok(key) => assert!(honest && key.id() == Ok(id), "a wrong key passed for the tenant's"),
        Err(problem) => assert!(!honest && matches!(problem, Error::WrongTenantKey | Error::NoShares)),
    }
}

/// A row's tag holds for that row alone: columns do not run into each other.
pub(super) fn tags(input: &mut Input<'_>) {
    let row =
        |input: &mut Input<'_>| -> Vec<Vec<u8>> { (0..input.byte() & 3).map(|_| input.chunk().to_vec()).collect() };
    let (first, second) = (row(input), row(input));
    let left: Vec<&[u8]> = first.iter().map(Vec::as_slice).collect();
    let right: Vec<&[u8]> = second.iter().map(Vec::as_slice).collect();
    let tables = ["consents", "credentials"];
    let (here, there) = (tables[usize::from(input.byte() & 1)], tables[usize::from(input.byte() & 1)]);
    let (entry, other) = ([input.byte() & 1; 16], [input.byte() & 1; 16]);
    let mac = TENANT.integrity().expect("a key");
    let tag = mac.tag(here, &left, &entry);
    let bent = input.bend(&tag);
    let same = first == second && here == there && entry == other && bent == tag;
    assert_eq!(mac.verify(there, &right, &other, &bent).is_ok(), same, "a row's tag holds for another row");

    let service = TENANT.service("relay").expect("a key");
    let message = input.chunk();
    let tag = service.tag(message);
    let bent = input.bend(&tag);
    assert_eq!(service.verify(message, &bent).is_ok(), bent == tag);
    assert!(TENANT.service("relax").expect("a key").verify(message, &tag).is_err(), "two labels, one key");
}
