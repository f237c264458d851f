//! The NK handshake from outside: success, refusals by name, and every kind of tampering.
#![cfg(feature = "rustcrypto")]

mod common;

use std::sync::Arc;

use common::*;
use im_crypto::{
    Client, Entropy, Fault, HandshakeError, HandshakeId, KeyParseError, Offer, OfferProblem, Padding, RUSTCRYPTO,
    Server, ServerContext, ServerKey, ServerPolicy, ServerPublicKey, SuiteId,
};

#[test]
fn both_sides_agree_and_talk() {
    for suite in ALL_SUITES {
        let (mut client, mut server) = pair(suite);
        assert_eq!(client.choice, server.choice);
        assert_eq!((client.choice.suite, client.choice.format, client.choice.max_body), (suite, 2, 100_000));
        assert_eq!((client.peer_max_body, server.peer_max_body), (100_000, 65_536));
        assert_eq!(client.handshake_hash, server.handshake_hash);
        for n in 0..18_u8 {
            let (header, body) = packet(&mut client.sealer, n, b"to the server", Padding::None);
            assert_eq!(open(&mut server.opener, &header, &body), Some((n, b"to the server".to_vec())));
            let (header, body) = packet(&mut server.sealer, n, b"to the client", Padding::None);
            assert_eq!(open(&mut client.opener, &header, &body), Some((n, b"to the client".to_vec())));
        }
    }
}

#[test]
fn one_policy_for_many_connections() {
    let policy = Arc::new(policy(&ALL_SUITES));
    for _ in 0..2 {
        Server::new(&RUSTCRYPTO, Arc::clone(&policy)).unwrap();
    }
}

#[test]
fn sessions_with_fresh_entropy_share_nothing() {
    let key = server_key();
    let (header, body, wait) = hello(&key, offer(&ALL_SUITES));
    let mut hashes = Vec::new();
    let mut replies = Vec::new();
    for seed in [10, 11] {
        let mut reply = Vec::new();
        let server = Server::new(&RUSTCRYPTO, policy(&ALL_SUITES)).unwrap().start(entropy(seed));
        let mut context = ServerContext::new(std::slice::from_ref(&key));
        let mut server = established(server.accept(&mut context, &header, &mut body.clone(), &mut reply).unwrap());
        hashes.push(server.handshake_hash);
        replies.push((reply, packet(&mut server.sealer, 1, b"", Padding::None)));
    }
    assert_ne!(hashes[0], hashes[1]);
    // A recorded HELLO that is played to a fresh server yields records that the first client cannot open, and the other way round.
    let mut client = finish(wait, &mut replies[0].0.clone()).unwrap();
    assert_eq!(open(&mut client.opener, &replies[1].1.0, &replies[1].1.1), None);
}

#[test]
fn every_flipped_bit_of_hello_and_header_fails() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&ALL_SUITES));
    let mut named = 0;
    for bit in 0..body.len() * 8 {
        let mut changed = body.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = accept(&key, policy(&ALL_SUITES), &header, &changed).map(|_| ()).unwrap_err();
        named += usize::from(error != HandshakeError::Authentication);
        assert!(matches!(error.fault(), Fault::PeerViolated | Fault::PeerIncompatible), "{error}");
    }
    // Most changes show only in the tag; the rest is refused by name before any key agreement.
    assert!(named > 0 && named < 160, "{named}");
    for bit in 0..24 * 8 {
        let mut changed = header;
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = accept(&key, policy(&ALL_SUITES), &changed, &body).map(|_| ()).unwrap_err();
        assert_eq!(error, HandshakeError::Authentication);
    }
}

#[test]
fn every_flipped_bit_of_the_reply_fails() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&ALL_SUITES));
    let (reply, _) = accept(&key, policy(&ALL_SUITES), &header, &body).unwrap();
    for bit in 0..reply.len() * 8 {
        let (_, again, wait) = hello(&key, offer(&ALL_SUITES));
        assert_eq!(again, body);
        let mut changed = reply.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(finish(wait, &mut changed).unwrap_err(), HandshakeError::Authentication, "bit {bit}");
    }
}

#[test]
fn every_truncation_and_extension_fails() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&ALL_SUITES));
    for length in 0..body.len() {
        assert!(accept(&key, policy(&ALL_SUITES), &header, &body[..length]).is_err());
    }
    let longer = [body.as_slice(), &[0]].concat();
    assert!(accept(&key, policy(&ALL_SUITES), &header, &longer).is_err());
    let huge = [body.as_slice(), &[0; 2048]].concat();
    assert_eq!(
        accept(&key, policy(&ALL_SUITES), &header, &huge).unwrap_err(),
        HandshakeError::TooLong(body.len() + 2048)
    );

    let (reply, _) = accept(&key, policy(&ALL_SUITES), &header, &body).unwrap();
    assert!(reply.len() < body.len(), "no amplification");
    for length in 0..reply.len() {
        let (_, _, wait) = hello(&key, offer(&ALL_SUITES));
        assert!(finish(wait, &mut reply[..length].to_vec()).is_err());
    }
    let (_, _, wait) = hello(&key, offer(&ALL_SUITES));
    assert_eq!(finish(wait, &mut vec![0; 4096]).unwrap_err(), HandshakeError::TooLong(4096));
}

/// An attacker edits the list of suites: removes any, or swaps any two.
#[test]
fn downgrade_fails() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&ALL_SUITES));
    assert_eq!(body[10..14], [3, 16, 17, 18]);
    for removed in 0..3 {
        let mut changed = body.clone();
        changed.remove(11 + removed);
        changed[10] = 2;
        let mut shorter = header;
        shorter[23] -= 1;
        for header in [header, shorter] {
            let error = accept(&key, policy(&ALL_SUITES), &header, &changed).map(|_| ()).unwrap_err();
            assert_eq!(error, HandshakeError::Authentication);
        }
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let mut changed = body.clone();
        changed.swap(11 + a, 11 + b);
        let error = accept(&key, policy(&ALL_SUITES), &header, &changed).map(|_| ()).unwrap_err();
        assert_eq!(error, HandshakeError::Authentication);
    }
}

/// A machine in the middle without the server's secret: the server refuses its key id, and its own reply does not verify.
#[test]
fn wrong_server_key_fails() {
    let key = server_key();
    let other = ServerKey::generate(&RUSTCRYPTO, entropy(9)).unwrap();
    let (header, body, wait) = hello(&key, offer(&ALL_SUITES));
    let refused = accept(&other, policy(&ALL_SUITES), &header, &body).unwrap_err();
    assert_eq!(refused, HandshakeError::UnknownServerKey(key.key_id()));
    let hex_id = hex(&key.key_id());
    assert!(refused.to_string().contains(&hex_id), "{refused}");

    let mut renamed = body.clone();
    renamed[2..10].copy_from_slice(&other.key_id());
    assert_eq!(accept(&other, policy(&ALL_SUITES), &header, &renamed).unwrap_err(), HandshakeError::Authentication);

    // The reply of another, complete handshake.
    let (header, body, _) = hello(&other, offer(&ALL_SUITES));
    let (mut reply, _) = accept(&other, policy(&ALL_SUITES), &header, &body).unwrap();
    assert_eq!(finish(wait, &mut reply).unwrap_err(), HandshakeError::Authentication);
}

#[test]
fn legacy_suites_are_refused_by_name() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&ALL_SUITES));
    let names = ["DES", "3DES", "AES", "SM1", "SM4", "PBE", "RC2", "RC4", "RC5"];
    for (id, name) in (1..=9).zip(names) {
        let suite = SuiteId(id);
        assert_eq!((suite.legacy_name(), suite.name()), (Some(name), None));
        let bad = offer(&[SuiteId(16), suite]);
        let error = Client::new(&RUSTCRYPTO, client_policy(bad), &[key.public()]).unwrap_err();
        assert_eq!(error, HandshakeError::OwnOffer(OfferProblem::LegacySuite(suite)));
        assert_eq!(error.fault(), Fault::CallerMisused);
        let error = Server::new(&RUSTCRYPTO, policy(&[suite])).unwrap_err();
        assert_eq!(error, HandshakeError::OwnPolicy(OfferProblem::LegacySuite(suite)));

        let mut changed = body.clone();
        changed[11] = id;
        let error = accept(&key, policy(&ALL_SUITES), &header, &changed).unwrap_err();
        assert_eq!(error, HandshakeError::PeerOffer(OfferProblem::LegacySuite(suite)));
        assert_eq!(error.fault(), Fault::PeerIncompatible);
        let text = error.to_string();
        assert!(
            text.contains(&format!("legacy {name} ({id})")) && text.contains("(16)") && text.contains("(18)"),
            "{text}"
        );
    }
}

#[test]
fn offers_and_policies_keep_the_rules() {
    let key = server_key();
    let client = |offer| Client::new(&RUSTCRYPTO, client_policy(offer), &[key.public()]).map(|_| ()).unwrap_err();
    let server = |policy: ServerPolicy| Server::new(&RUSTCRYPTO, policy).map(|_| ()).unwrap_err();
    let cases = [
        (vec![], vec![1], 256, OfferProblem::NoSuites),
        (vec![16; 9], vec![1], 256, OfferProblem::TooManySuites(9)),
        (vec![16, 18, 16], vec![1], 256, OfferProblem::DuplicateSuite(SuiteId(16))),
        (vec![16, 0], vec![1], 256, OfferProblem::NoEncryption),
        (vec![16], vec![], 256, OfferProblem::NoFormats),
        (vec![16], vec![1; 17], 256, OfferProblem::TooManyFormats(17)),
        (vec![16], vec![3, 1, 3], 256, OfferProblem::DuplicateFormat(3)),
        (vec![16], vec![1], 255, OfferProblem::BodyLimit(255)),
    ];
    for (suites, formats, max_body, problem) in cases {
        let suites: Vec<SuiteId> = suites.into_iter().map(SuiteId).collect();
        let offer = Offer { suites: suites.clone(), formats: formats.clone(), max_body };
        assert_eq!(client(offer), HandshakeError::OwnOffer(problem));
        let bad = ServerPolicy { suites, formats, max_body, ..policy(&[]) };
        assert_eq!(server(bad), HandshakeError::OwnPolicy(problem));
    }
    assert_eq!(client(offer(&[SuiteId(19)])), HandshakeError::ProviderLacks(SuiteId(19)));
    assert_eq!(server(policy(&[SuiteId(19)])), HandshakeError::ProviderLacks(SuiteId(19)));
}

#[test]
fn malformed_hellos_are_refused_by_name() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&ALL_SUITES));
    let refused = |at: usize, value: u8| {
        let mut changed = body.clone();
        changed[at] = value;
        accept(&key, policy(&ALL_SUITES), &header, &changed).map(|_| ()).unwrap_err()
    };
    let peer = HandshakeError::PeerOffer;
    assert_eq!(refused(0, 2), HandshakeError::UnsupportedHandshake(HandshakeId::NK_HFS));
    assert_eq!(refused(0, 5), HandshakeError::UnknownServerKey(key.key_id()));
    assert_eq!(refused(0, 200), HandshakeError::UnsupportedHandshake(HandshakeId(200)));
    assert_eq!(refused(1, 1), HandshakeError::UnsupportedBinding(1));
    assert_eq!(refused(1, 2), HandshakeError::UnsupportedBinding(2));
    assert_eq!(refused(10, 0), peer(OfferProblem::NoSuites));
    assert_eq!(refused(10, 9), peer(OfferProblem::TooManySuites(9)));
    assert_eq!(refused(11, 0), peer(OfferProblem::NoEncryption));
    assert_eq!(refused(12, 16), peer(OfferProblem::DuplicateSuite(SuiteId(16))));
    assert_eq!(refused(14, 17), peer(OfferProblem::TooManyFormats(17)));
    assert_eq!(refused(16, 16), peer(OfferProblem::DuplicateFormat(16)));
    assert_eq!(refused(17 + 1, 0), peer(OfferProblem::BodyLimit(0)));
    assert!(HandshakeError::UnsupportedHandshake(HandshakeId::XX).to_string().contains("XX (5)"));

    let only_aes = policy(&[SuiteId::AES_128_GCM]);
    let (header, body, _) = hello(&key, offer(&[SuiteId::CHACHA20_POLY1305]));
    assert_eq!(accept(&key, only_aes, &header, &body).unwrap_err(), HandshakeError::NoCommonSuite);
    let other_format = ServerPolicy { formats: vec![99], ..policy(&ALL_SUITES) };
    assert_eq!(accept(&key, other_format, &header, &body).unwrap_err(), HandshakeError::NoCommonFormat);
    let error = accept(&key, policy(&ALL_SUITES), &header[..23], &body).unwrap_err();
    assert_eq!((error, error.fault()), (HandshakeError::HeaderLength(23), Fault::CallerMisused));
}

/// A client without AES hardware lists ChaCha20 first and gets it.
#[test]
fn chacha_first_wins() {
    let key = server_key();
    let (header, body, _) = hello(&key, offer(&[SuiteId::CHACHA20_POLY1305, SuiteId::AES_128_GCM]));
    let (_, server) = accept(&key, policy(&ALL_SUITES), &header, &body).unwrap();
    assert_eq!(server.choice.suite, SuiteId::CHACHA20_POLY1305);
}

#[test]
fn a_weak_pinned_key_is_an_error() {
    let weak = ServerPublicKey::from_bytes([0; 32]);
    let client = Client::new(&RUSTCRYPTO, client_policy(offer(&ALL_SUITES)), &[weak]).unwrap();
    let start = client.start(entropy(2)).unwrap();
    let mut out = vec![1];
    assert_eq!(start.write(&[0; 24], &mut out).map(|_| ()), Err(HandshakeError::WeakPublicKey));
    assert_eq!(out, [1]);
}

#[test]
fn public_key_as_text() {
    let key = server_key().public();
    let text = key.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(text.parse(), Ok(key));
    assert_eq!(ServerPublicKey::from_bytes(*key.as_bytes()), key);
    assert_eq!("abc".parse::<ServerPublicKey>(), Err(KeyParseError::Length(3)));
    assert_eq!(text.replacen(|_| true, "G", 1).parse::<ServerPublicKey>(), Err(KeyParseError::Digit(0)));
    let upper = format!("{}A", &text[..63]);
    assert_eq!(upper.parse::<ServerPublicKey>(), Err(KeyParseError::Digit(63)));
    assert!("\u{20ac}".repeat(21).parse::<ServerPublicKey>().is_err());
}

struct BrokenRng;

impl rand_core::TryRng for BrokenRng {
    type Error = std::fmt::Error;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(std::fmt::Error)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(std::fmt::Error)
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
        Err(std::fmt::Error)
    }
}

impl rand_core::TryCryptoRng for BrokenRng {}

#[test]
fn a_failing_generator_is_an_error() {
    assert_eq!(Entropy::from_rng(&mut BrokenRng).map(|_| ()), Err(HandshakeError::Entropy));
}

/// No Debug output shows a byte of a secret.
#[test]
fn debug_is_redacted() {
    let key = ServerKey::from_bytes([0xc7; 32], &RUSTCRYPTO).unwrap();
    let (client, server) = pair(SuiteId::AES_128_GCM);
    let (_, _, wait) = hello(&key, offer(&ALL_SUITES));
    let chooser = Client::new(&RUSTCRYPTO, client_policy(offer(&ALL_SUITES)), &[key.public()]).unwrap();
    let start = chooser.start(entropy(2)).unwrap();
    let listening = Server::new(&RUSTCRYPTO, policy(&ALL_SUITES)).unwrap().start(entropy(2));
    let texts = [
        format!("{key:?}"),
        format!("{:?}", entropy(1)),
        format!("{client:?} {:?} {:?}", client.sealer, client.opener),
        format!("{server:?}"),
        format!("{wait:?} {start:?} {listening:?} {chooser:?}"),
    ];
    let secret = server_key().to_bytes();
    for text in texts {
        assert!(!text.contains("c7c7") && !text.contains("199, 199"), "{text}");
        assert!(!text.contains(&hex(&secret[..4])), "{text}");
        // No list of raw bytes at all, whatever they are.
        let run =
            text.split(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ').map(|part| part.matches(',').count());
        assert!(run.max().unwrap_or(0) < 4, "{text}");
    }
}

#[test]
fn errors_stay_small() {
    assert!(size_of::<HandshakeError>() <= 32);
    assert!(size_of::<im_crypto::SealError>() <= 32);
    assert_eq!(size_of::<im_crypto::OpenError>(), 0);
}
