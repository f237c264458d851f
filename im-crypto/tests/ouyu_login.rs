//! OUYU-IM's login signature: the check vector, and what its server did not check.
#![cfg(feature = "ouyu-login")]

use std::time::Duration;

use im_crypto::{AppSecret, Fault, LoginAlgorithm, LoginClaim, LoginError, LoginSetupError, LoginVerifier};

const TIME: i64 = 1_635_500_000_000;
const CLAIM: LoginClaim<'_> = LoginClaim { app_key: "123456", identity: "654321", create_time_ms: TIME };
const ALGORITHMS: [LoginAlgorithm; 3] = [LoginAlgorithm::Md5, LoginAlgorithm::HmacSha256, LoginAlgorithm::HmacSm3];

fn verifier(weakest: LoginAlgorithm) -> LoginVerifier {
    let mut verifier = LoginVerifier::new(Duration::from_secs(60));
    verifier.add("123456", AppSecret::legacy("123456").unwrap(), weakest).unwrap();
    verifier.add("shop", AppSecret::new("another secret of the shop").unwrap(), weakest).unwrap();
    verifier
}

/// The first from OUYU-IM's own code, the others from another implementation (Python's hmac and OpenSSL).
#[test]
fn known_answers() {
    let secret = AppSecret::legacy("123456").unwrap();
    let expected = [
        "30b1b274475c515d166a5d8060108db4",
        "e3059f399fded915bb515b3e793c1f3ee63d469b047c37475fb218ea33889ed1",
        "814efc35a888bcc73e3676f294798ef74063f11357f087b06dddac0c8302efbe",
    ];
    for (algorithm, expected) in ALGORITHMS.into_iter().zip(expected) {
        let signature = CLAIM.sign(algorithm, &secret);
        assert_eq!(*signature, expected);
        assert_eq!(verifier(LoginAlgorithm::Md5).verify(&CLAIM, algorithm as u8, &signature, TIME), Ok(()));
    }
}

#[test]
fn every_changed_field_and_digit_is_refused() {
    let (secret, verifier) = (AppSecret::legacy("123456").unwrap(), verifier(LoginAlgorithm::Md5));
    for algorithm in ALGORITHMS {
        let signature = CLAIM.sign(algorithm, &secret);
        let refused = |claim: &LoginClaim<'_>, id: u8, signature: &str| {
            assert_eq!(verifier.verify(claim, id, signature, TIME), Err(LoginError::Signature), "{claim:?} {id}");
        };
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            let digit = if &changed[at..=at] == "0" { "1" } else { "0" };
            changed.replace_range(at..=at, digit);
            refused(&CLAIM, algorithm as u8, &changed);
            refused(&CLAIM, algorithm as u8, &signature[..at]);
        }
        refused(&CLAIM, algorithm as u8, &signature.to_uppercase());
        refused(&LoginClaim { identity: "654322", ..CLAIM }, algorithm as u8, &signature);
        refused(&LoginClaim { app_key: "shop", ..CLAIM }, algorithm as u8, &signature);
        refused(&LoginClaim { app_key: "nobody", ..CLAIM }, algorithm as u8, &signature);
        refused(&LoginClaim { create_time_ms: TIME + 1, ..CLAIM }, algorithm as u8, &signature);
        for other in ALGORITHMS.into_iter().filter(|other| *other != algorithm) {
            refused(&CLAIM, other as u8, &signature);
        }
    }
}

#[test]
fn only_known_and_allowed_algorithms() {
    let verifier = verifier(LoginAlgorithm::HmacSha256);
    let secret = AppSecret::legacy("123456").unwrap();
    // OUYU-IM's algorithm 0: the signature is the string itself, secret included.
    assert_eq!(verifier.verify(&CLAIM, 0, "123456&654321&1635500000000_123456", TIME), Err(LoginError::Unsigned));
    for id in 4..=255 {
        let error = verifier.verify(&CLAIM, id, "", TIME).unwrap_err();
        assert_eq!((error, error.fault()), (LoginError::UnknownAlgorithm(id), Fault::PeerIncompatible));
    }
    let md5 = CLAIM.sign(LoginAlgorithm::Md5, &secret);
    assert_eq!(verifier.verify(&CLAIM, 1, &md5, TIME), Err(LoginError::NotAllowed(LoginAlgorithm::Md5)));
    for algorithm in [LoginAlgorithm::HmacSha256, LoginAlgorithm::HmacSm3] {
        assert_eq!(verifier.verify(&CLAIM, algorithm as u8, &CLAIM.sign(algorithm, &secret), TIME), Ok(()));
    }
}

#[test]
fn the_window_is_exact_and_survives_absurd_clocks() {
    let (secret, verifier) = (AppSecret::legacy("123456").unwrap(), verifier(LoginAlgorithm::Md5));
    let signature = CLAIM.sign(LoginAlgorithm::HmacSha256, &secret);
    for (now, expected) in [
        (TIME + 60_000, Ok(())),
        (TIME + 60_001, Err(LoginError::Stale(60_001))),
        (TIME - 60_000, Ok(())),
        (TIME - 60_001, Err(LoginError::Stale(-60_001))),
        (i64::MAX, Err(LoginError::Stale(i64::MAX - TIME))),
        (i64::MIN, Err(LoginError::Stale(i64::MIN))),
    ] {
        assert_eq!(verifier.verify(&CLAIM, 2, &signature, now), expected);
    }
    let wrong = verifier.verify(&CLAIM, 2, "", i64::MAX);
    assert_eq!(wrong, Err(LoginError::Signature), "the age of a login that is not authentic is no answer");
}

#[test]
fn settings_that_cannot_work_are_refused_and_secrets_are_not_shown() {
    assert_eq!(AppSecret::new("123456").unwrap_err(), LoginSetupError::ShortSecret(6));
    assert_eq!(AppSecret::legacy("").unwrap_err(), LoginSetupError::ShortSecret(0));
    let mut verifier = verifier(LoginAlgorithm::Md5);
    for key in ["", "a&b"] {
        let secret = AppSecret::legacy("123456").unwrap();
        assert_eq!(verifier.add(key, secret, LoginAlgorithm::Md5), Err(LoginSetupError::AppKey));
    }
    let text = format!("{verifier:?} {:?}", AppSecret::new("another secret of the shop").unwrap());
    assert!(!text.contains("another secret"), "{text}");
}
