use cofre_model::id::InstitutionId;
use cofre_model::permit::GroupSigner;

use super::*;
use crate::context::{SecretContext, WrapData, WrapDepositKey, WrapSubject, WrapTenant};
use crate::error::Forged;
use crate::plain::Plain;
use crate::sealing::{DepositKeyPair, Suite};
use crate::{Backing, Room, samples};

fn tenant_key(slab: &Arc<Slab>) -> TenantKey {
    let bytes: Vec<u8> = (0..32).collect();
    let share = Share::fill::<Error>(slab, |place| {
        place.copy_from_slice(&bytes);
        Ok(())
    });
    let id = samples::bytes(&samples::vectors()["tenant_key"]["id"]);
    TenantKey::combine(vec![share.expect("room")], &id.try_into().expect("16 bytes")).expect("the key of the vectors")
}

fn plain(slab: &Arc<Slab>, bytes: &[u8]) -> Plain {
    Plain::copy_of(slab, bytes).expect("room")
}

#[test]
fn pinned_vectors_of_derived_keys_and_tags() {
    let slab = samples::slab();
    let vectors = samples::vectors();
    let pinned = |name: &str| samples::bytes(&vectors["tenant_key"][name]);
    let key = tenant_key(&slab);
    assert_eq!(key.id().expect("id")[..], pinned("id")[..]);
    let integrity = key.integrity().expect("room");
    assert_eq!(integrity.0.expose()[..], pinned("integrity")[..]);
    assert_eq!(key.dedupe().expect("room").0.expose()[..], pinned("dedupe")[..]);
    assert_eq!(key.service("x").expect("room").0.expose()[..], pinned("service_x")[..]);

    let columns: [&[u8]; 3] = [b"ACTIVE", b"", &5u64.to_be_bytes()];
    assert_eq!(integrity.tag("consents", &columns, &[0xe5; 16])[..], pinned("row_tag")[..]);
    let (username, branch) = (samples::field("username"), samples::field("branch"));
    let (name, number) = (plain(&slab, b"user-1"), plain(&slab, b"0042"));
    let institution = InstitutionId::try_from("ins_banco-abierto").expect("an institution");
    let tag = key.dedupe().expect("room").tag(&institution, &[(&username, &name), (&branch, &number)]);
    assert_eq!(tag[..], pinned("dedupe_tag")[..]);
    assert_eq!(key.service("x").expect("room").tag(b"message")[..], pinned("service_x_tag")[..]);
}

#[test]
fn a_login_goes_down_the_tree_and_comes_up_again() {
    let slab = samples::slab();
    let tenant = TenantKey::generate(&slab).expect("key");
    let subject = SubjectKey::generate(&slab).expect("key");
    let dek = Dek::generate(&slab).expect("key");
    let password = samples::field("password");
    let sealed = dek.seal_field(&samples::secret(), &password, plain(&slab, "contraseña".as_bytes())).expect("sealed");
    let wrapped_dek = subject.wrap_data(&dek, &samples::wrap_data()).expect("wrapped");
    let wrapped_subject = tenant.wrap_subject(&subject, &samples::wrap_subject()).expect("wrapped");
    drop((subject, dek));
    assert_eq!(slab.counters().in_use, 1, "the tenant key is all that is left");

    let subject = tenant.unwrap_subject(&wrapped_subject, &samples::wrap_subject()).expect("unwrapped");
    let dek = subject.unwrap_data(&wrapped_dek, &samples::wrap_data()).expect("unwrapped");
    let opened = dek.open_field(&samples::secret(), &password, &sealed).expect("opened");
    opened.with_bytes(|bytes| assert_eq!(bytes, "contraseña".as_bytes()));
    drop((tenant, subject, dek, opened));
    let counters = slab.counters();
    assert_eq!((counters.in_use, counters.taken), (0, counters.wiped));
}

/// Every part of every context, changed alone, must make the thing refuse to open.
#[test]
fn moved_swapped_or_mixed_rows_do_not_open() {
    use cofre_model::wording::Class;
    let slab = samples::slab();
    let tenant = TenantKey::generate(&slab).expect("key");
    let subject = SubjectKey::generate(&slab).expect("key");
    let dek = Dek::generate(&slab).expect("key");
    let (password, pin) = (samples::field("password"), samples::field("pin"));
    let right = samples::secret();
    let sealed = dek.seal_field(&right, &password, plain(&slab, b"x")).expect("sealed");
    let other_tenant = cofre_model::id::TenantId::from_parts(1, [9; 10]);
    let other_owner = cofre_model::id::SubjectId::from_parts(1, [9; 10]);
    let other_credential = cofre_model::id::CredentialId::from_parts(1, [9; 10]);
    let wrong: [SecretContext; 5] = [
        SecretContext { tenant: other_tenant, ..right },
        SecretContext { owner: other_owner, ..right },
        SecretContext { credential: other_credential, ..right },
        SecretContext { class: Class::TotpSeed, ..right },
        SecretContext { version: 8, ..right },
    ];
    for secret in &wrong {
        assert_eq!(dek.open_field(secret, &password, &sealed).err(), Some(Error::Commitment), "{secret:?}");
    }
    assert_eq!(dek.open_field(&right, &pin, &sealed).err(), Some(Error::Commitment));

    let wrapped = subject.wrap_data(&dek, &samples::wrap_data()).expect("wrapped");
    for secret in wrong {
        let ctx = WrapData { secret, ..samples::wrap_data() };
        assert_eq!(subject.unwrap_data(&wrapped, &ctx).err(), Some(Error::Commitment), "{ctx:?}");
    }
    let ctx = WrapData { subject_key_version: 3, ..samples::wrap_data() };
    assert_eq!(subject.unwrap_data(&wrapped, &ctx).err(), Some(Error::Commitment));

    let right = samples::wrap_subject();
    let wrapped = tenant.wrap_subject(&subject, &right).expect("wrapped");
    for ctx in [
        WrapSubject { tenant: other_tenant, ..right },
        WrapSubject { owner: other_owner, ..right },
        WrapSubject { subject_key_version: 1, ..right },
        WrapSubject { tenant_key_id: [0; 16], ..right },
        WrapSubject { tenant_key_version: 1, ..right },
    ] {
        assert_eq!(tenant.unwrap_subject(&wrapped, &ctx).err(), Some(Error::Commitment), "{ctx:?}");
    }
    // A field's sealed bytes are no key, even under the key that sealed them.
    let as_key = WrappedKey::from_bytes(sealed.as_bytes().to_vec());
    assert_eq!(dek.0.unwrap(&as_key, b"anything").err(), Some(Error::Commitment));
}

#[test]
fn a_wrapped_key_must_be_32_bytes() {
    let slab = samples::slab();
    let parent = KeyBytes::generate(&slab).expect("key");
    let mut long = slab.take(64).expect("room");
    long.bytes_mut().fill(1);
    let wrapped = WrappedKey::from_bytes(v1::seal(&parent, b"context", long).expect("sealed"));
    assert_eq!(parent.unwrap(&wrapped, b"context").err(), Some(Error::Truncated));
}

#[test]
fn rewrapping_changes_the_parent_only() {
    let slab = samples::slab();
    let (old, new) = (TenantKey::generate(&slab).expect("key"), TenantKey::generate(&slab).expect("key"));
    let subject = SubjectKey::generate(&slab).expect("key");
    let dek = Dek::generate(&slab).expect("key");
    let wrapped_dek = subject.wrap_data(&dek, &samples::wrap_data()).expect("wrapped");
    let from = samples::wrap_subject();
    let to = WrapSubject { tenant_key_id: new.id().expect("id"), tenant_key_version: 4, ..from };
    let before = old.wrap_subject(&subject, &from).expect("wrapped");
    let after = old.rewrap_subject(&before, &from, (&new, &to)).expect("rewrapped");
    assert_eq!(old.unwrap_subject(&after, &to).err(), Some(Error::Commitment));
    let subject = new.unwrap_subject(&after, &to).expect("unwrapped");
    assert!(subject.unwrap_data(&wrapped_dek, &samples::wrap_data()).is_ok());
}

#[test]
fn keys_of_rows_are_carried_to_the_next_tenant_key_and_open_nowhere_else() {
    let slab = samples::slab();
    let (old, new) = (TenantKey::generate(&slab).expect("key"), TenantKey::generate(&slab).expect("key"));
    let (integrity, dedupe) = (old.integrity().expect("derived"), old.dedupe().expect("derived"));
    let place = RowKeyPlace { tenant: samples::tenant(), tenant_key_id: new.id().expect("id"), tenant_key_version: 2 };
    let (mac, twin) = new.wrap_row_keys((&integrity, &dedupe), place).expect("wrapped");
    let (carried, found) = new.unwrap_row_keys((&mac, &twin), place).expect("unwrapped");
    let tag = |mac: &RowMac| mac.tag("credentials", &[b"a"], &[1; 16]);
    assert_eq!(tag(&carried), tag(&integrity));
    assert_ne!(tag(&new.integrity().expect("derived")), tag(&integrity));
    let institution = InstitutionId::try_from("ins_banco-abierto").expect("an institution");
    let login = |key: &DedupeKey| key.tag(&institution, &[]);
    assert_eq!(login(&found), login(&dedupe));
    let later = RowKeyPlace { tenant_key_version: 3, ..place };
    for refused in [
        new.unwrap_row_keys((&twin, &mac), place).err(),
        new.unwrap_row_keys((&mac, &twin), later).err(),
        old.unwrap_row_keys((&mac, &twin), place).err(),
    ] {
        assert_eq!(refused, Some(Error::Commitment));
    }
}

#[test]
fn all_shares_are_needed_and_a_substituted_one_is_noticed() {
    let slab = samples::slab();
    let key = TenantKey::generate(&slab).expect("key");
    let id = key.id().expect("id");
    assert_eq!(key.split(0).err(), Some(Error::NoShares));
    assert_eq!(TenantKey::combine(Vec::new(), &id).err(), Some(Error::NoShares));
    for count in 1..=4u16 {
        let shares = key.split(count).expect("shares");
        assert_eq!(shares.len(), usize::from(count));
        assert_eq!(TenantKey::combine(shares, &id).expect("whole").id().expect("id"), id);
        if count > 1 {
            let mut fewer = key.split(count).expect("shares");
            fewer.pop();
            assert_eq!(TenantKey::combine(fewer, &id).err(), Some(Error::WrongTenantKey));
            let mut mixed = key.split(count).expect("shares");
            mixed.pop();
            mixed.extend(key.split(count).expect("shares").pop());
            assert_eq!(TenantKey::combine(mixed, &id).err(), Some(Error::WrongTenantKey));
        }
    }
    // Nested: the second of two shares is itself in two parts.
    let mut shares = key.split(2).expect("shares");
    let inner = shares.pop().expect("two").split(2).expect("shares");
    shares.push(Share::combine(inner).expect("whole"));
    assert!(TenantKey::combine(shares, &id).is_ok());
    drop(key);
    assert_eq!(slab.counters().in_use, 0);
}

#[test]
fn a_bound_share_opens_in_its_own_context_only() {
    let slab = samples::slab();
    let right = samples::wrap_tenant();
    let share = TenantKey::generate(&slab).expect("key").split(1).expect("share").pop().expect("one");
    let returned = |change: usize| {
        let bound = share.bind(&right).expect("room");
        BoundShare::fill::<Error>(&slab, |place| {
            bound.with_bytes(|bytes| place.copy_from_slice(bytes));
            if let Some(byte) = place.get_mut(change) {
                *byte ^= 1;
            }
            Ok(())
        })
        .expect("room")
    };
    let unbound = returned(64).unbind(&right).expect("its own context");
    unbound.with_bytes(|one| share.with_bytes(|two| assert_eq!(one, two)));
    share.bind(&right).expect("room").with_bytes(|bytes| assert_eq!(bytes[32..], right.digest()));
    for byte in 32..64 {
        assert_eq!(returned(byte).unbind(&right).err(), Some(Error::WrongContext));
    }
    for ctx in [
        WrapTenant { region: "eu-de", ..right },
        WrapTenant { tenant: cofre_model::id::TenantId::from_parts(1, [9; 10]), ..right },
        WrapTenant { tenant_key_version: 4, ..right },
        WrapTenant { custody_set: [0; 32], ..right },
        WrapTenant { custodian: "hsm-2", ..right },
        WrapTenant { share_index: 1, ..right },
        WrapTenant { share_count: 3, ..right },
    ] {
        assert_eq!(returned(64).unbind(&ctx).err(), Some(Error::WrongContext), "{ctx:?}");
    }
}

#[test]
fn a_failed_fill_leaves_nothing() {
    let slab = samples::slab();
    let failed = Share::fill(&slab, |place| {
        place.fill(0xa5);
        Err(Error::Randomness)
    });
    assert_eq!(failed.err(), Some(Error::Randomness));
    assert_eq!(Plain::fill(&slab, 10, |_| Err(Error::NotText)).err(), Some(Error::NotText));
    assert_eq!(slab.counters().in_use, 0);
}

#[test]
fn row_macs_bind_table_columns_and_entry() {
    let slab = samples::slab();
    let mac = TenantKey::generate(&slab).expect("key").integrity().expect("room");
    let entry = [7; 16];
    let columns: [&[u8]; 2] = [b"ab", b"c"];
    let tag = mac.tag("consents", &columns, &entry);
    assert_eq!(mac.verify("consents", &columns, &entry, &tag), Ok(()));
    assert_eq!(mac.verify("credentials", &columns, &entry, &tag), Err(Forged));
    assert_eq!(mac.verify("consents", &[b"a", b"bc"], &entry, &tag), Err(Forged));
    assert_eq!(mac.verify("consents", &[b"ab", b"c", b""], &entry, &tag), Err(Forged));
    assert_eq!(mac.verify("consents", &[b"abc"], &entry, &tag), Err(Forged));
    assert_eq!(mac.verify("consents", &columns, &[8; 16], &tag), Err(Forged));
    assert_eq!(mac.verify("consents", &columns, &entry, &tag[..31]), Err(Forged));
    assert_eq!(mac.verify("consents", &columns, &entry, &[]), Err(Forged));
    for bit in 0..256 {
        let mut changed = tag;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(mac.verify("consents", &columns, &entry, &changed), Err(Forged));
    }
    let other = TenantKey::generate(&slab).expect("key").integrity().expect("room");
    assert_eq!(other.verify("consents", &columns, &entry, &tag), Err(Forged));
}

#[test]
fn duplicate_tags_see_through_the_order_and_nothing_else() {
    let slab = samples::slab();
    let dedupe = TenantKey::generate(&slab).expect("key").dedupe().expect("room");
    let (username, branch) = (samples::field("username"), samples::field("branch"));
    let (name, number) = (plain(&slab, b"user-1"), plain(&slab, b"0042"));
    let [bank, other] =
        ["ins_banco-abierto", "ins_banc-valles"].map(|id| InstitutionId::try_from(id).expect("an institution"));
    let tag = dedupe.tag(&bank, &[(&username, &name), (&branch, &number)]);
    assert_eq!(tag, dedupe.tag(&bank, &[(&branch, &number), (&username, &name)]));
    assert_ne!(tag, dedupe.tag(&other, &[(&branch, &number), (&username, &name)]));
    assert_ne!(tag, dedupe.tag(&bank, &[(&branch, &name), (&username, &number)]));
    assert_ne!(tag, dedupe.tag(&bank, &[(&username, &name)]));
    let again = TenantKey::generate(&slab).expect("key").dedupe().expect("room");
    assert_ne!(tag, again.tag(&bank, &[(&username, &name), (&branch, &number)]));
}

#[test]
fn service_keys_differ_by_label_and_check_their_own_tags() {
    let slab = samples::slab();
    let key = TenantKey::generate(&slab).expect("key");
    let (one, two) = (key.service("one").expect("room"), key.service("two").expect("room"));
    let tag = one.tag(b"message");
    assert_eq!(one.verify(b"message", &tag), Ok(()));
    assert_eq!(one.verify(b"messagf", &tag), Err(Forged));
    assert_eq!(two.verify(b"message", &tag), Err(Forged));
}

#[test]
fn deposit_and_evidence_keys_come_back_from_the_keyring() {
    let slab = samples::slab();
    let key = TenantKey::generate(&slab).expect("key");
    for suite in [Suite::MlKem768X25519, Suite::X25519] {
        let ctx = WrapDepositKey { suite, ..samples::wrap_deposit_key() };
        let pair = DepositKeyPair::generate(suite, &slab).expect("pair");
        let wrapped = key.wrap_deposit_key(&pair, &ctx).expect("wrapped");
        let again = key.unwrap_deposit_key(&wrapped, &ctx).expect("unwrapped");
        assert_eq!(again.public(), pair.public());
        let longer = WrapDepositKey { not_after: ctx.not_after.plus(cofre_model::time::Span::hours(1)), ..ctx };
        assert_eq!(key.unwrap_deposit_key(&wrapped, &longer).err(), Some(Error::Commitment));
    }
    let ctx = samples::wrap_evidence();
    let evidence = EvidenceKey::generate(&slab).expect("key");
    let sealed = evidence.seal(&ctx, "cns_1", plain(&slab, b"a receipt")).expect("sealed");
    let wrapped = key.wrap_evidence(&evidence, &ctx).expect("wrapped");
    let evidence = key.unwrap_evidence(&wrapped, &ctx).expect("unwrapped");
    assert_eq!(evidence.open(&ctx, "cns_2", &sealed).err(), Some(Error::Commitment));
    evidence.open(&ctx, "cns_1", &sealed).expect("opened").with_bytes(|bytes| assert_eq!(bytes, b"a receipt"));
}

#[test]
fn the_node_signs_and_prints_only_its_public_half() {
    let slab = samples::slab();
    let node = NodeKey::generate(&slab).expect("key");
    let signer: &dyn GroupSigner = &node;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&signer.public_key()).expect("a public key");
    let signature = ed25519_dalek::Signature::from_bytes(&signer.sign(b"group"));
    assert!(key.verify_strict(b"group", &signature).is_ok());
    assert!(key.verify_strict(b"groups", &signature).is_err());
    let printed = format!("{node:?}");
    assert!(printed.contains(&format!("{:02x?}", signer.public_key())));
}

#[test]
fn a_full_slab_is_an_error_everywhere_and_frees_itself() {
    let slab = Slab::with_room(Backing::Mlock, Room { small: 2, large: 0 }).expect("locked");
    let one = TenantKey::generate(&slab).expect("key");
    let subject = SubjectKey::generate(&slab).expect("key");
    assert_eq!(one.wrap_subject(&subject, &samples::wrap_subject()).err(), Some(Error::SlabFull));
    assert_eq!(Dek::generate(&slab).err(), Some(Error::SlabFull));
    assert_eq!(one.integrity().err(), Some(Error::SlabFull));
    drop(subject);
    assert!(one.integrity().is_ok());
    assert_eq!(slab.counters().in_use, 1);
}
