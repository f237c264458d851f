//! Attacks with keys: false, stolen, weak and malformed ones, by their numbers in `docs/spec/attacks.md`.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use std::collections::BTreeSet;

use common::{
    entropy, weak_points,
    world::{HANDSHAKES, Message, Refusal, Session, World, noise_len, refused},
};
use im_crypto::{
    Client, CryptoError, CryptoProvider, DeviceKey, HandshakeError, HandshakeId, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN,
    RUSTCRYPTO, Secret, ServerKey, StaticKey, StaticPublicKey, TicketKeys, X25519,
};

use HandshakeId as Id;

/// Somebody in the middle who has another key: the client fails at the reply, before anything of a login was sent.
#[test]
fn attack_15_man_in_the_middle_without_the_key() {
    for id in [Id::NK, Id::NK_HFS, Id::IK, Id::IK_HFS] {
        let mut world = World::new();
        let start = world.start(id);
        world.keys = vec![ServerKey::generate(&RUSTCRYPTO, entropy(99)).unwrap()];
        world.sends_retries = false;
        let (server, mallory) = (world.server(&HANDSHAKES), world.keys[0].key_id());
        let id_of_mallory = |message, _: &mut [u8; 24], bytes: &mut Vec<u8>| {
            if message == Message::Hello {
                bytes[2..10].copy_from_slice(&mallory);
            }
        };
        let found = refused(world.run_with(&server, start, id_of_mallory));
        assert_eq!(found, Refusal::Server(HandshakeError::Authentication), "{id}");
        // With a reply of his own to a HELLO of his own.
        let own = world.run_id(id).unwrap();
        let mut world = World { sends_retries: false, ..World::new() };
        let (server, start) = (world.server(&HANDSHAKES), world.start(id));
        let found = refused(world.run_with(&server, start, |message, _, bytes| {
            if message == Message::Reply {
                bytes.clone_from(&own.wire[1].1);
            }
        }));
        assert_eq!(found, Refusal::Client(HandshakeError::Authentication), "{id}");
    }
    // A resumption without the ticket key.
    for id in [Id::NN_PSK0, Id::NN_PSK0_HFS] {
        let mut world = World::new();
        let start = world.start(id);
        world.tickets = TicketKeys::new(&RUSTCRYPTO, entropy(98)).unwrap();
        world.sends_retries = false;
        let server = world.server(&HANDSHAKES);
        assert_eq!(refused(world.run(&server, start)), Refusal::Server(HandshakeError::TicketRefused));
    }
    // XX shows another key: a client that pinned one notices.
    let mut world = World::new();
    let pins = [ServerKey::generate(&RUSTCRYPTO, entropy(97)).unwrap().public()];
    let policy = world.client_policy(&[Id::XX]);
    let client = Client::with_key(&RUSTCRYPTO, policy, &pins, world.client_key.clone()).unwrap();
    let (server, start) = (world.server(&[Id::XX]), world.begin(&client));
    assert_eq!(refused(world.run(&server, start)), Refusal::Client(HandshakeError::NotPinned));
}

/// Somebody who stole the server's secret key sits in the middle: a bearer token passes through him, a proof does not.
#[test]
fn attack_16_relay_with_the_servers_key() {
    let device = DeviceKey::from_bytes(&[0xd1; 32]);
    let registered = device.public();
    let (token, mut world) = (b"token", World::new());
    let to_mallory = world.run_id(Id::NK).unwrap();
    world.seed += 1;
    let to_server = world.run_id(Id::NK).unwrap();
    assert_ne!(to_mallory.client.handshake_hash, to_server.server.handshake_hash);
    // The client's proof is about its own session; the server checks it against the session that it has.
    let proof = device.prove(&to_mallory.client.handshake_hash, token);
    assert_eq!(registered.verify(&to_mallory.server.handshake_hash, token, &proof), Ok(()));
    assert!(registered.verify(&to_server.server.handshake_hash, token, &proof).is_err());
    // Nor for another token, by another device, or changed.
    assert!(registered.verify(&to_mallory.server.handshake_hash, b"Token", &proof).is_err());
    let other = DeviceKey::from_bytes(&[0xd2; 32]).public();
    assert!(other.verify(&to_mallory.server.handshake_hash, token, &proof).is_err());
    for bit in 0..512 {
        let mut changed = proof;
        changed.0[bit / 8] ^= 1 << (bit % 8);
        assert!(registered.verify(&to_mallory.server.handshake_hash, token, &changed).is_err(), "{bit}");
    }
    // Strict: no key of small order, for which anybody can sign; no second form `s + L` of a signature.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(im_crypto::DevicePublicKey::from_bytes(&identity).is_err());
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (mut second, mut carry) = (proof, 0_u16);
    for (byte, add) in second.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(registered.verify(&to_mallory.server.handshake_hash, token, &second).is_err());
}

/// Points of small order as the ephemeral key of either side, in every handshake, and as a pinned key.
#[test]
fn attack_17_weak_public_keys() {
    for id in HANDSHAKES {
        for point in weak_points() {
            for place in [Message::Hello, Message::Reply] {
                let mut world = World { sends_retries: false, ..World::new() };
                let (server, start) = (world.server(&HANDSHAKES), world.start(id));
                let pattern_len = noise_len(id);
                let found = refused(world.run_with(&server, start, |message, _, bytes| {
                    if message == place {
                        let at = if place == Message::Hello { bytes.len() - pattern_len } else { 0 };
                        bytes[at..at + 32].copy_from_slice(&point);
                    }
                }));
                let error = match found {
                    Refusal::Client(error) | Refusal::Server(error) => error,
                };
                // In NNpsk0 the ephemeral key is in the transcript before it is used: the tag fails first.
                let resumption = id.is_resumption() && place == Message::Hello;
                let expected = if resumption { HandshakeError::TicketRefused } else { HandshakeError::WeakPublicKey };
                assert_eq!(error, expected, "{id} {place:?}");
            }
        }
    }
    for point in weak_points() {
        let world = World::new();
        let policy = world.client_policy(&[Id::NK]);
        let client = Client::new(&RUSTCRYPTO, policy, &[StaticPublicKey::from_bytes(point)]).unwrap();
        let written = world.begin(&client).write(&[0; 24], &mut Vec::new()).map(|_| ());
        assert_eq!(written, Err(HandshakeError::WeakPublicKey));
        let own = Secret::new([7; 32]);
        assert_eq!(RUSTCRYPTO.dh.agree(&own, &point), Err(CryptoError::WeakPublicKey));
    }
}

/// The secret whose public key somebody lies about.
const LIARS_SECRET: [u8; 32] = [0x5e; 32];

/// X25519 of somebody who shows whatever he likes as his static key.
struct Liar([u8; 32]);

impl X25519 for Liar {
    fn public_key(&self, secret: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        if *secret == LIARS_SECRET { Ok(self.0) } else { RUSTCRYPTO.dh.public_key(secret) }
    }

    fn agree(&self, secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, CryptoError> {
        RUSTCRYPTO.dh.agree(secret, public)
    }
}

/// Liars showing a key: the provider that they run on, and the key pair.
fn liar(shown: [u8; 32]) -> (&'static CryptoProvider, StaticKey) {
    let provider = CryptoProvider::new(RUSTCRYPTO.aeads, Box::leak(Box::new(Liar(shown))), RUSTCRYPTO.hash);
    let provider: &'static CryptoProvider = Box::leak(Box::new(provider.with_kem(RUSTCRYPTO.kem.unwrap())));
    let key = StaticKey::from_bytes(LIARS_SECRET, provider).unwrap();
    assert_eq!(*key.public().as_bytes(), shown);
    (provider, key)
}

/// A handshake in which a liar is the client, or the server with a client that pins nothing in XX and the shown key in IK.
fn with_liar(id: Id, shown: [u8; 32], is_client: bool) -> Result<Session, Refusal> {
    let mut world = World { sends_retries: false, ..World::new() };
    let (provider, key) = liar(shown);
    let start = if is_client {
        let pins = [world.keys[0].public()];
        let policy = world.client_policy(&[id]);
        world.begin(&Client::with_key(provider, policy, &pins, key).unwrap())
    } else {
        world.keys = vec![key];
        world.start(id)
    };
    let server = world.server(&HANDSHAKES);
    world.run(&server, start)
}

/// Points of small order as a static key that is shown, encrypted and authenticated, by a peer that keeps all other rules: the
/// client's in XX and IK, the server's in XX. (A server's in NK and IK is a pin, above.)
#[test]
fn attack_17_weak_static_keys() {
    for point in weak_points() {
        for id in [Id::XX, Id::XX_HFS, Id::IK, Id::IK_HFS] {
            let found = refused(with_liar(id, point, true));
            assert_eq!(found, Refusal::Server(HandshakeError::WeakPublicKey), "{id}");
        }
        for id in [Id::XX, Id::XX_HFS] {
            let found = refused(with_liar(id, point, false));
            assert_eq!(found, Refusal::Client(HandshakeError::WeakPublicKey), "{id}");
        }
    }
}

/// X25519 ignores the top bit, so each public key can be written in a second way. Whoever shows his key so is no impostor, and he is
/// nobody else's equal: what the peer gets to look up are the bytes that were shown, which are no registered and no pinned key.
#[test]
fn attack_17_second_forms_of_static_keys() {
    let genuine = StaticKey::from_bytes(LIARS_SECRET, &RUSTCRYPTO).unwrap().public();
    let mut twin = *genuine.as_bytes();
    twin[31] |= 0x80;
    let shown = StaticPublicKey::from_bytes(twin);
    assert_ne!(genuine, shown);
    for id in [Id::XX, Id::XX_HFS, Id::IK, Id::IK_HFS] {
        let session = with_liar(id, twin, true).unwrap();
        assert_eq!(session.server.peer_key, Some(shown), "{id}");
    }
    for id in [Id::XX, Id::XX_HFS] {
        let session = with_liar(id, twin, false).unwrap();
        assert_eq!(session.client.peer_key, Some(shown), "{id}");
        // A client that pins the first form does not take the second one.
        let mut world = World::new();
        world.keys = vec![liar(twin).1];
        let policy = world.client_policy(&[id]);
        let client = Client::with_key(&RUSTCRYPTO, policy, &[genuine], world.client_key.clone()).unwrap();
        let (server, start) = (world.server(&HANDSHAKES), world.begin(&client));
        assert_eq!(refused(world.run(&server, start)), Refusal::Client(HandshakeError::NotPinned), "{id}");
    }
    // Nor does a server that is named by one form know the other one.
    let mut world = World { sends_retries: false, ..World::new() };
    world.keys = vec![StaticKey::from_bytes(LIARS_SECRET, &RUSTCRYPTO).unwrap()];
    let client = Client::new(&RUSTCRYPTO, world.client_policy(&[Id::NK]), &[shown]).unwrap();
    let (server, start) = (world.server(&HANDSHAKES), world.begin(&client));
    let unknown = HandshakeError::UnknownServerKey(shown.key_id(&RUSTCRYPTO));
    assert_eq!(refused(world.run(&server, start)), Refusal::Server(unknown));
}

/// Encapsulation keys that are none, of a wrong length, and changed ciphertexts.
#[test]
fn attack_18_malformed_ml_kem() {
    let kem = RUSTCRYPTO.kem.unwrap();
    let key = kem.generate(&im_crypto::KemSeed::new([5; 64])).unwrap();
    let mut ciphertext = [0; KEM_CIPHERTEXT_LEN];
    let shared = kem.encapsulate(key.public_key(), &[6; 32], &mut ciphertext).unwrap();
    assert_eq!(key.decapsulate(&ciphertext).unwrap(), shared);
    // Implicit rejection: every flipped bit gives a secret, and another one each time.
    let mut secrets = BTreeSet::from([*shared]);
    for bit in (0..KEM_CIPHERTEXT_LEN * 8).step_by(13) {
        let mut changed = ciphertext;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(secrets.insert(*key.decapsulate(&changed).unwrap()));
    }
    // The modulus check of FIPS 203 section 7.2: a coefficient of 3329 or more in any of the 768 places.
    for coefficient in 0..768 {
        let mut public = *key.public_key();
        let at = coefficient / 2 * 3;
        if coefficient % 2 == 0 {
            (public[at], public[at + 1]) = (0x01, public[at + 1] & 0xf0 | 0x0d);
        } else {
            (public[at + 1], public[at + 2]) = (public[at + 1] & 0x0f | 0x10, 0xd0);
        }
        let refused = kem.encapsulate(&public, &[6; 32], &mut [0; KEM_CIPHERTEXT_LEN]);
        assert_eq!(refused, Err(CryptoError::WeakPublicKey), "{coefficient}");
    }
    // On the wire: XXhfs shows the key in the clear.
    let edit_hello = |edit: fn(&mut Vec<u8>, usize)| {
        let mut world = World::new();
        let (server, start) = (world.server(&HANDSHAKES), world.start(Id::XX_HFS));
        refused(world.run_with(&server, start, |message, _, bytes| {
            if message == Message::Hello {
                let at = bytes.len() - noise_len(Id::XX_HFS) + 32;
                edit(bytes, at);
            }
        }))
    };
    let unreduced = edit_hello(|bytes, at| bytes[at..at + KEM_PUBLIC_LEN].fill(0xff));
    assert_eq!(unreduced, Refusal::Server(HandshakeError::WeakPublicKey));
    assert_eq!(edit_hello(|bytes, at| bytes.truncate(at + 1183)), Refusal::Server(HandshakeError::Truncated));
    // Less padding than 64 bytes.
    assert_eq!(
        edit_hello(|bytes, at| bytes.truncate(bytes.len() - at % 2 - 1)),
        Refusal::Server(HandshakeError::Truncated)
    );
}
