//! Peers that hold the right keys and still break the rules.

use alloc::{boxed::Box, vec, vec::Vec};

use super::*;
use crate::{
    Choice, Client, ClientPolicy, Entropy, Offer, RUSTCRYPTO, Server, ServerKey, ServerPolicy,
    negotiation::HelloPrefix,
    noise::vectors::weak_points,
    provider::{HkdfSha256, Secret},
};

fn pair(byte: u8) -> Keypair {
    Keypair::new(Box::new(Secret::new([byte; 32])), &RUSTCRYPTO).unwrap()
}

fn server_key() -> ServerKey {
    ServerKey::from_bytes([0x51; 32], &RUSTCRYPTO).unwrap()
}

struct Fixed;

impl rand_core::TryRng for Fixed {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(7)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(7)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(7);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Fixed {}

fn entropy() -> Entropy {
    Entropy::from_rng(&mut Fixed).unwrap()
}

const HEADER: [u8; 24] = [5; 24];

fn client() -> (Vec<u8>, ClientWait) {
    let offer = Offer { suites: vec![SuiteId(16), SuiteId(18)], formats: vec![2], max_body: 1000 };
    let policy = ClientPolicy { offer, handshakes: vec![HandshakeId::NK], require_pq: false, allow_plaintext: false };
    let client = Client::new(&RUSTCRYPTO, policy, &[server_key().public()]).unwrap();
    let start = client.start(entropy()).unwrap();
    let (length, mut hello) = (start.body_len(), Vec::new());
    let wait = start.write(&HEADER, &mut hello).unwrap();
    assert_eq!(hello.len(), length);
    (hello, wait)
}

/// What a client says to a true server whose choice is these bytes.
fn answer(choice: &[u8]) -> Result<Choice, HandshakeError> {
    let (mut hello, wait) = client();
    let key = server_key();
    let (_, read) = HelloPrefix::decode(&hello, false).unwrap();
    let (plain, message) = hello.split_at_mut(read);
    let prologue = prologue(&HEADER, plain, None, None);
    let keys = Keys { entropy: entropy(), s: Some(key.pair()), rs: None, psk: None };
    let mut state = noise_state(&RUSTCRYPTO, HandshakeId::NK, Role::Responder, &prologue, keys).unwrap();
    state.read_message(message).unwrap();
    let mut reply = Vec::new();
    state.write_message(choice, &mut reply).unwrap();
    wait.finish(&mut reply).map(|replied| match replied {
        Replied::Established(established) => established.choice,
        Replied::Finish(_) => panic!("two messages"),
    })
}

#[test]
fn a_choice_outside_of_the_offer_is_refused() {
    let good = Choice { suite: SuiteId(18), format: 2, max_body: 1000 };
    assert_eq!(answer(&good.encode()), Ok(good));
    for (suite, format) in [(17, 2), (0, 2), (3, 2), (16, 3)] {
        let suite = SuiteId(suite);
        let refused = Err(HandshakeError::NotOffered { suite, format });
        assert_eq!(answer(&Choice { suite, format, ..good }.encode()), refused);
    }
    assert_eq!(answer(&[]), Err(HandshakeError::BadChoice));
    assert_eq!(answer(&[7, 18, 2, 0, 0, 4, 0]), Err(HandshakeError::BadChoice));
    assert_eq!(answer(&[6, 18, 2, 0, 0, 0, 9]), Err(HandshakeError::BadChoice));
    assert_eq!(answer(&[7, 18, 2, 0, 0, 3, 232, 99]), Ok(good));
}

fn policy() -> ServerPolicy {
    ServerPolicy {
        suites: vec![SuiteId(18)],
        formats: vec![2],
        max_body: 1000,
        handshakes: vec![HandshakeId::NK],
        require_pq: false,
        require_binding: false,
        allow_plaintext: false,
    }
}

/// A HELLO that is made correctly, but with another padding.
#[test]
fn a_hello_with_little_padding_is_refused() {
    let (hello, _) = client();
    let key = server_key();
    let (_, read) = HelloPrefix::decode(&hello, false).unwrap();
    for (pad, allowed) in [(0, false), (63, false), (64, true), (65, true), (1184, true)] {
        let mut body = hello[..read].to_vec();
        let prologue = prologue(&HEADER, &body, None, None);
        let keys = Keys { entropy: entropy(), s: None, rs: Some(*key.public().as_bytes()), psk: None };
        let mut state = noise_state(&RUSTCRYPTO, HandshakeId::NK, Role::Initiator, &prologue, keys).unwrap();
        state.write_message(&vec![1; pad], &mut body).unwrap();
        let mut out = vec![];
        let server = Server::new(&RUSTCRYPTO, policy()).unwrap().start(entropy());
        let mut context = ServerContext::new(core::slice::from_ref(&key));
        assert_eq!(server.accept(&mut context, &HEADER, &mut body, &mut out).is_ok(), allowed, "{pad}");
        assert_eq!(out.is_empty(), !allowed);
    }
}

#[test]
fn weak_ephemeral_keys_are_refused() {
    for point in weak_points() {
        let (mut hello, wait) = client();
        let (_, read) = HelloPrefix::decode(&hello, false).unwrap();
        hello[read..read + 32].copy_from_slice(&point);
        let server = Server::new(&RUSTCRYPTO, policy()).unwrap().start(entropy());
        let refused =
            server.accept(&mut ServerContext::new(&[server_key()]), &HEADER, &mut hello, &mut vec![]).unwrap_err();
        assert_eq!(refused, HandshakeError::WeakPublicKey);
        let mut reply = [point.as_slice(), &[0; 23]].concat();
        assert_eq!(wait.finish(&mut reply).unwrap_err(), HandshakeError::WeakPublicKey);
    }
}

/// HKDF against RFC 5869 appendix A.1 and A.3, SHA-256 against FIPS 180-4.
#[test]
fn hash_known_answers() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| std::format!("{byte:02x}")).collect::<std::string::String>();
    let hash: &dyn HkdfSha256 = RUSTCRYPTO.hash;
    assert_eq!(hex(&hash.hash(&[b"a", b"bc"])), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let salt: Vec<u8> = (0..13).collect();
    let info: Vec<u8> = (0xf0..0xfa).collect();
    let prk = hash.extract(&salt, &[0x0b; 22]);
    assert_eq!(hex(prk.as_slice()), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    let mut okm = [0; 42];
    hash.expand(&prk, &[&info[..3], &info[3..]], &mut okm).unwrap();
    assert_eq!(hex(&okm), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    let prk = hash.extract(&[], &[0x0b; 22]);
    hash.expand(&prk, &[], &mut okm).unwrap();
    assert_eq!(hex(&okm), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    assert!(hash.expand(&prk, &[], &mut [0; 255 * 32 + 1]).is_err());
}

/// X25519 against RFC 7748 section 5.2.
#[test]
fn x25519_known_answers() {
    let dh = RUSTCRYPTO.dh;
    let (a, b) = (pair(1), pair(2));
    assert_eq!(dh.agree(&a.secret, &b.public).unwrap(), dh.agree(&b.secret, &a.public).unwrap());
    let mut k = [0; 32];
    k[0] = 9;
    // One iteration of the RFC's iterated test, where the scalar and the point are both 9.
    let expected = [
        0x42, 0x2c, 0x8e, 0x7a, 0x62, 0x27, 0xd7, 0xbc, 0xa1, 0x35, 0x0b, 0x3e, 0x2b, 0xb7, 0x27, 0x9f, 0x78, 0x97,
        0xb8, 0x7b, 0xb6, 0x85, 0x4b, 0x78, 0x3c, 0x60, 0xe8, 0x03, 0x11, 0xae, 0x30, 0x79,
    ];
    assert_eq!(*dh.agree(&k, &k).unwrap(), expected);
    assert_eq!(dh.public_key(&k).unwrap(), expected);
}

#[test]
fn preferred_suites_are_all_suites_once() {
    let order = RUSTCRYPTO.preferred_suites();
    assert_eq!(order.len(), RUSTCRYPTO.aeads.len());
    assert!(RUSTCRYPTO.aeads.iter().all(|suite| order.contains(&suite.id())));
    let accelerated = RUSTCRYPTO.aead(SuiteId::AES_128_GCM).unwrap().is_accelerated();
    assert_eq!(order[0], if accelerated { SuiteId::AES_128_GCM } else { SuiteId::CHACHA20_POLY1305 });
}

#[test]
fn server_order_decides_except_for_chacha_first() {
    let with = |suites: &[u8]| {
        let suites = suites.iter().map(|id| SuiteId(*id)).collect();
        Server::new(&RUSTCRYPTO, ServerPolicy { suites, formats: vec![2, 16], ..policy() }).unwrap()
    };
    let server = with(&[17, 16, 18]);
    let choose = |server: &Server, suites: &[u8], formats: &[u8]| {
        let suites = suites.iter().map(|id| SuiteId(*id)).collect();
        let offer = Offer { suites, formats: formats.to_vec(), max_body: 1000 };
        server.choose(&offer).map(|choice| (choice.suite.0, choice.format))
    };
    assert_eq!(choose(&server, &[16, 17, 18], &[16, 2]), Ok((17, 2)));
    assert_eq!(choose(&server, &[18, 17, 16], &[16]), Ok((18, 16)));
    assert_eq!(choose(&server, &[16, 18], &[16]), Ok((16, 16)));
    assert_eq!(choose(&server, &[200, 18], &[16]), Ok((18, 16)));
    assert_eq!(choose(&server, &[200], &[16]), Err(HandshakeError::NoCommonSuite));
    assert_eq!(choose(&server, &[16], &[3]), Err(HandshakeError::NoCommonFormat));
    assert_eq!(choose(&with(&[16]), &[18, 16], &[2]), Ok((16, 2)));
}
