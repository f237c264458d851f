//! Project Wycheproof's vectors, all of those that a suite's shape admits, against both providers. Each test says how many ran.

use im_crypto::{CryptoError, CryptoProvider, RUSTCRYPTO, Secret, SuiteId, TrafficKey};
use im_crypto_aws_lc::AWS_LC;
use wycheproof::{TestResult, aead, hkdf, mac, xdh};

const PROVIDERS: [(&str, &CryptoProvider); 2] = [("rustcrypto", &RUSTCRYPTO), ("aws-lc", &AWS_LC)];

/// Returns how many valid and how many invalid vectors ran.
fn aead(provider: &CryptoProvider, suite: SuiteId, name: aead::TestName) -> (usize, usize) {
    let suite = provider.aead(suite).expect("the provider has the suite");
    let (mut valid, mut invalid) = (0, 0);
    for group in aead::TestSet::load(name).expect("the vectors load").test_groups {
        // The suites have 12-byte nonces, 16-byte tags and one key length: other groups cannot be asked.
        if (group.key_size, group.nonce_size, group.tag_size) != (suite.key_len() * 8, 96, 128) {
            continue;
        }
        for test in group.tests {
            let key =
                suite.key(&TrafficKey::from_bytes(&test.key).expect("at most 32 bytes")).expect("a key of this length");
            let nonce = test.nonce.as_slice().try_into().expect("12 bytes");
            let tag = test.tag.as_slice().try_into().expect("16 bytes");
            let good = test.result == TestResult::Valid;
            let mut sealed = test.pt.to_vec();
            let made = key.seal(nonce, &test.aad, &mut sealed).expect("short enough");
            assert_eq!((sealed == test.ct.to_vec()) && made == *tag, good, "{name:?} {} {}", test.tc_id, test.comment);
            let mut copied = vec![0; test.pt.len()];
            assert_eq!(key.seal_into(nonce, &test.aad, &test.pt, &mut copied), Ok(made), "{name:?} {}", test.tc_id);
            assert_eq!(copied, sealed);
            let mut text = test.ct.to_vec();
            let opened = key.open(nonce, &test.aad, &mut text, tag);
            assert_eq!(
                opened,
                if good { Ok(()) } else { Err(CryptoError::BadTag) },
                "{name:?} {} {}",
                test.tc_id,
                test.comment
            );
            if good {
                assert_eq!(text, test.pt.to_vec());
                valid += 1;
            } else {
                assert!(text.is_empty() || text != test.pt.to_vec(), "no plaintext after a failure");
                invalid += 1;
            }
        }
    }
    (valid, invalid)
}

#[test]
fn aeads() {
    for (who, provider) in PROVIDERS {
        for (suite, name) in [
            (SuiteId::AES_128_GCM, aead::TestName::AesGcm),
            (SuiteId::AES_256_GCM, aead::TestName::AesGcm),
            (SuiteId::CHACHA20_POLY1305, aead::TestName::ChaCha20Poly1305),
        ] {
            let (valid, invalid) = aead(provider, suite, name);
            println!("{who} {suite}: {valid} valid, {invalid} invalid");
            assert!(valid >= 30 && invalid >= 20, "{valid} {invalid}");
        }
    }
    let (valid, invalid) = aead(&RUSTCRYPTO, SuiteId::SM4_GCM, aead::TestName::Sm4Gcm);
    println!("rustcrypto SM4-GCM: {valid} valid, {invalid} invalid");
    assert!(valid >= 10 && invalid >= 10, "{valid} {invalid}");
}

#[test]
fn x25519() {
    for (who, provider) in PROVIDERS {
        let (mut good, mut weak) = (0, 0);
        for group in xdh::TestSet::load(xdh::TestName::X25519).expect("the vectors load").test_groups {
            for test in group.tests {
                let (Ok(public), Ok(private)) = (
                    <&[u8; 32]>::try_from(test.public_key.as_slice()),
                    <&[u8; 32]>::try_from(test.private_key.as_slice()),
                ) else {
                    continue; // other lengths do not fit the types
                };
                let shared = provider.dh.agree(private, public);
                if test.shared_secret.iter().all(|byte| *byte == 0) {
                    assert_eq!(shared.unwrap_err(), CryptoError::WeakPublicKey, "{}", test.tc_id);
                    weak += 1;
                } else {
                    assert_eq!(
                        shared.expect("a contributory key").as_slice(),
                        test.shared_secret.as_slice(),
                        "{}",
                        test.tc_id
                    );
                    good += 1;
                }
            }
        }
        println!("{who} X25519: {good} shared secrets, {weak} all-zero results refused");
        assert!(good >= 450 && weak >= 20, "{good} {weak}");
    }
}

#[test]
fn hkdf_sha256() {
    for (who, provider) in PROVIDERS {
        let (mut good, mut refused) = (0, 0);
        for group in hkdf::TestSet::load(hkdf::TestName::HkdfSha256).expect("the vectors load").test_groups {
            for test in group.tests {
                let prk = provider.hash.extract(&test.salt, &test.ikm);
                let mut okm = vec![0; test.size];
                let (half, rest) = test.info.split_at(test.info.len() / 2);
                let expanded = provider.hash.expand(&prk, &[half, rest], &mut okm);
                if test.result == TestResult::Invalid {
                    assert_eq!(expanded, Err(CryptoError::Failed), "{}", test.tc_id);
                    refused += 1;
                } else {
                    expanded.expect("a length that HKDF can give");
                    assert_eq!(okm, test.okm.to_vec(), "{}", test.tc_id);
                    good += 1;
                }
            }
        }
        println!("{who} HKDF-SHA-256: {good} outputs, {refused} too long");
        assert!(good >= 70 && refused >= 2, "{good} {refused}");
    }
}

/// HKDF-Extract is HMAC with the salt as its key, which is how the providers' HMAC can be asked.
#[test]
fn hmac_sha256() {
    for (who, provider) in PROVIDERS {
        let (mut good, mut wrong) = (0, 0);
        for group in mac::TestSet::load(mac::TestName::HmacSha256).expect("the vectors load").test_groups {
            for test in group.tests {
                let tag: Secret = provider.hash.extract(&test.key, &test.msg);
                let matches = tag[..group.tag_size / 8] == *test.tag.as_slice();
                assert_eq!(matches, test.result == TestResult::Valid, "{}", test.tc_id);
                if matches { good += 1 } else { wrong += 1 }
            }
        }
        println!("{who} HMAC-SHA-256: {good} valid, {wrong} invalid");
        assert!(good >= 50 && wrong >= 50, "{good} {wrong}");
    }
}
