//! Each primitive against the contract of its trait and against RustCrypto's.

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{ALL_SUITES, weak_points};
use im_crypto::{
    AeadKey, CryptoError, CryptoProvider, KEM_CIPHERTEXT_LEN, KemSeed, RUSTCRYPTO, Secret, SuiteId, TrafficKey,
};
use im_crypto_aws_lc::{AWS_LC, AWS_LC_KEM};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};

/// Around the block sizes of the ciphers and of their wide code paths, and the largest bodies.
const LENGTHS: [usize; 24] = [
    0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 1023, 1024, 4097, 65_536, 71_680,
];

fn bytes<const N: usize>(rng: &mut ChaCha12Rng) -> [u8; N] {
    let mut out = [0; N];
    rng.fill_bytes(&mut out);
    out
}

fn key(provider: &CryptoProvider, suite: SuiteId, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
    provider.aead(suite).unwrap().key(&TrafficKey::from_bytes(key).unwrap())
}

#[test]
fn aeads_are_those_of_rustcrypto() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for suite in ALL_SUITES {
        for (n, length) in LENGTHS.into_iter().enumerate() {
            let raw = bytes::<32>(&mut rng);
            let raw = &raw[..RUSTCRYPTO.aead(suite).unwrap().key_len()];
            let (nonce, aad) = (bytes::<12>(&mut rng), bytes::<24>(&mut rng));
            let aad = &aad[..n];
            let mut plain = vec![0; length];
            rng.fill_bytes(&mut plain);
            let [expected, ours] = [&RUSTCRYPTO, &AWS_LC].map(|provider| key(provider, suite, raw).unwrap());
            let mut sealed = plain.clone();
            let [mut tag, mut in_place_tag, mut out_tag] = [[0; 16]; 3];
            expected.seal(&nonce, aad, &mut sealed, &mut tag).unwrap();
            let (mut in_place, mut out) = (plain.clone(), vec![0xee; length]);
            ours.seal(&nonce, aad, &mut in_place, &mut in_place_tag).unwrap();
            ours.seal_into(&nonce, aad, &plain, &mut out, &mut out_tag).unwrap();
            assert!(in_place_tag == tag && out_tag == tag, "{suite} {length}");
            assert!(in_place == sealed && out == sealed, "{suite} {length}");
            ours.open(&nonce, aad, &mut out, &tag).unwrap();
            assert!(out == plain, "{suite} {length}");
        }
    }
}

/// Whatever was changed: the one error, and a buffer in which nothing of the plaintext is.
#[test]
fn nothing_opens_that_was_changed() {
    let plain: Vec<u8> = (0..4096_u16).flat_map(u16::to_be_bytes).collect();
    for suite in ALL_SUITES {
        let key = key(&AWS_LC, suite, &[7; 32][..AWS_LC.aead(suite).unwrap().key_len()]).unwrap();
        let mut sealed = plain.clone();
        let mut tag = [0; 16];
        key.seal(&[1; 12], b"header", &mut sealed, &mut tag).unwrap();
        let refused = |nonce: [u8; 12], aad: &[u8], mut text: Vec<u8>, tag: [u8; 16]| {
            assert_eq!(key.open(&nonce, aad, &mut text, &tag), Err(CryptoError::BadTag), "{suite}");
            let left = text.chunks_exact(8).zip(plain.chunks_exact(8)).filter(|(left, plain)| left == plain).count();
            assert_eq!(left, 0, "{suite}");
        };
        for bit in 0..128 {
            let mut tag = tag;
            tag[bit / 8] ^= 1 << (bit % 8);
            refused([1; 12], b"header", sealed.clone(), tag);
        }
        for at in (0..sealed.len()).step_by(511) {
            let mut sealed = sealed.clone();
            sealed[at] ^= 0x80;
            refused([1; 12], b"header", sealed, tag);
        }
        refused([2; 12], b"header", sealed.clone(), tag);
        refused([1; 12], b"Header", sealed.clone(), tag);
        refused([1; 12], b"", sealed.clone(), tag);
        refused([1; 12], b"header", sealed[1..].to_vec(), tag);
        refused([1; 12], b"header", Vec::new(), tag);
    }
}

#[test]
fn wrong_lengths_are_errors() {
    for suite in ALL_SUITES {
        let right = AWS_LC.aead(suite).unwrap().key_len();
        assert_eq!(right, RUSTCRYPTO.aead(suite).unwrap().key_len());
        for length in (0..=32).filter(|length| *length != right) {
            assert_eq!(key(&AWS_LC, suite, &[7; 32][..length]).err(), Some(CryptoError::Failed), "{suite} {length}");
        }
        let key = key(&AWS_LC, suite, &[7; 32][..right]).unwrap();
        for length in [0, 9, 11, 64] {
            let mut out = vec![0xee; length];
            assert_eq!(key.seal_into(&[0; 12], &[], &[1; 10], &mut out, &mut [0; 16]), Err(CryptoError::Failed));
            assert_eq!(out, vec![0xee; length], "untouched");
        }
    }
}

#[test]
fn the_order_of_an_offer_is_the_same() {
    let mut expected = RUSTCRYPTO.preferred_suites();
    expected.retain(|suite| ALL_SUITES.contains(suite)); // not SM4-GCM, if that is compiled in
    for provider in [&AWS_LC, &AWS_LC_KEM] {
        assert_eq!(provider.preferred_suites(), expected);
    }
}

#[test]
fn x25519_is_that_of_rustcrypto() {
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    for _ in 0..200 {
        let (secret, peer) = (bytes::<32>(&mut rng), bytes::<32>(&mut rng));
        let public = AWS_LC.dh.public_key(&peer).unwrap();
        assert_eq!(public, RUSTCRYPTO.dh.public_key(&peer).unwrap());
        for point in [public, bytes::<32>(&mut rng)] {
            assert_eq!(AWS_LC.dh.agree(&secret, &point), RUSTCRYPTO.dh.agree(&secret, &point));
        }
    }
}

#[test]
fn weak_keys_are_refused() {
    let points = weak_points();
    assert_eq!(points.len(), 14);
    for provider in [&RUSTCRYPTO, &AWS_LC] {
        for secret in [[0; 32], [3; 32], [0xff; 32]] {
            for point in &points {
                assert_eq!(provider.dh.agree(&secret, point), Err(CryptoError::WeakPublicKey), "{point:02x?}");
            }
        }
    }
}

#[test]
fn hash_and_hkdf_are_those_of_rustcrypto() {
    let mut rng = ChaCha12Rng::seed_from_u64(3);
    let (ours, expected) = (AWS_LC.hash, RUSTCRYPTO.hash);
    let data = bytes::<300>(&mut rng);
    for length in 0..data.len() {
        let (data, (left, right)) = (&data[..length], data[..length].split_at(length / 3));
        assert_eq!(ours.hash(&[left, &[], right]), expected.hash(&[data]));
        assert_eq!(ours.extract(data, right), expected.extract(data, right), "salt of {length}");
        assert_eq!(ours.extract(left, data), expected.extract(left, data), "input of {length}");
        let prk = ours.extract(data, data);
        let [mut out, mut out_expected] = [(); 2].map(|()| vec![0; length * 27]);
        ours.expand(&prk, &[left, right], &mut out).unwrap();
        expected.expand(&prk, &[data], &mut out_expected).unwrap();
        assert!(out == out_expected, "info of {length}");
    }
    for provider in [&RUSTCRYPTO, &AWS_LC] {
        assert_eq!(provider.hash.expand(&Secret::default(), &[], &mut [0; 8161]), Err(CryptoError::Failed));
        provider.hash.expand(&Secret::default(), &[], &mut [0; 8160]).unwrap();
    }
}

/// Feature `pq`: RustCrypto's ML-KEM in the one provider, the library's in the other, and each understands the other's.
#[test]
fn two_ml_kems() {
    let seed = |byte| KemSeed::new([byte; 64]);
    let (theirs, own) = (AWS_LC.kem.unwrap(), AWS_LC_KEM.kem.unwrap());
    assert_eq!(theirs.generate(&seed(1)).unwrap().public_key(), theirs.generate(&seed(1)).unwrap().public_key());
    assert_ne!(own.generate(&seed(1)).unwrap().public_key(), own.generate(&seed(1)).unwrap().public_key());
    for (n, (maker, sender)) in [(theirs, own), (own, theirs), (own, own)].into_iter().cycle().take(30).enumerate() {
        let key = maker.generate(&seed(u8::try_from(n).unwrap())).unwrap();
        let mut ciphertext = [0; KEM_CIPHERTEXT_LEN];
        let shared = sender.encapsulate(key.public_key(), &[9; 32], &mut ciphertext).unwrap();
        assert_eq!(key.decapsulate(&ciphertext), Ok(shared.clone()));
        // Implicit rejection: a secret, but another one.
        ciphertext[n * 30] ^= 1;
        let other = key.decapsulate(&ciphertext).unwrap();
        assert_ne!(other, shared);
        assert_eq!(key.decapsulate(&ciphertext), Ok(other));
        // A coefficient that is not below 3329.
        let mut public = *key.public_key();
        (public[n * 3], public[n * 3 + 1]) = (0x01, public[n * 3 + 1] & 0xf0 | 0x0d);
        assert_eq!(sender.encapsulate(&public, &[9; 32], &mut ciphertext), Err(CryptoError::WeakPublicKey));
    }
}
