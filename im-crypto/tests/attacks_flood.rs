//! Attacks on a server's time and on others' lines, by their numbers in `docs/spec/attacks.md`.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    ALL_SUITES, entropy, finish, hello_header, policy,
    world::{HANDSHAKES, Message, Refusal, World, noise_len, refused},
};
use im_crypto::{
    Accepted, Client, CookieKeys, CryptoError, CryptoProvider, HandshakeError, HandshakeId, RUSTCRYPTO, Secret, Server,
    X25519,
};

use HandshakeId as Id;

/// X25519 that counts.
struct Counting;

static AGREEMENTS: AtomicUsize = AtomicUsize::new(0);
static MULTIPLICATIONS: AtomicUsize = AtomicUsize::new(0);

impl X25519 for Counting {
    fn public_key(&self, secret: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        MULTIPLICATIONS.fetch_add(1, Ordering::Relaxed);
        RUSTCRYPTO.dh.public_key(secret)
    }

    fn agree(&self, secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, CryptoError> {
        AGREEMENTS.fetch_add(1, Ordering::Relaxed);
        RUSTCRYPTO.dh.agree(secret, public)
    }
}

/// What a HELLO that leads nowhere costs: under load nothing without a cookie, otherwise one agreement.
#[test]
fn attack_25_flood_of_hellos() {
    let counting = CryptoProvider::new(RUSTCRYPTO.aeads, &Counting, RUSTCRYPTO.hash);
    let counting: &'static CryptoProvider = Box::leak(Box::new(counting));
    let honest = World::new();
    let start = honest.start(Id::NK);
    let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
    start.write(&header, &mut hello).unwrap();
    let cost = |world: &mut World, hello: &[u8]| {
        let server = Server::new(counting, policy(&ALL_SUITES)).unwrap();
        let before = (AGREEMENTS.load(Ordering::Relaxed), MULTIPLICATIONS.load(Ordering::Relaxed));
        let (accepted, _) = world.accept(&server, &header, hello);
        let after = (AGREEMENTS.load(Ordering::Relaxed), MULTIPLICATIONS.load(Ordering::Relaxed));
        (accepted, after.0 - before.0, after.1 - before.1)
    };
    let mut world = World { demand: true, ..World::new() };
    for _ in 0..1000 {
        let (accepted, agreements, multiplications) = cost(&mut world, &hello);
        assert!(matches!(accepted, Ok(Accepted::Retry)));
        assert_eq!((agreements, multiplications), (0, 0));
    }
    // Invented cookies cost nothing either; the flag and 72 bytes.
    let mut with_cookie = hello.clone();
    with_cookie[1] |= 0x80;
    let prefix = hello.len() - noise_len(Id::NK);
    with_cookie.splice(prefix..prefix, [72].into_iter().chain([9; 72]));
    let (accepted, agreements, multiplications) = cost(&mut world, &with_cookie);
    assert_eq!((accepted.unwrap_err(), agreements, multiplications), (HandshakeError::BadCookie, 0, 0));
    // Without load: one agreement for a HELLO that does not verify, and none for its prefixes.
    world.demand = false;
    let mut bogus = hello.clone();
    *bogus.last_mut().unwrap() ^= 1;
    let (accepted, agreements, multiplications) = cost(&mut world, &bogus);
    assert_eq!((accepted.unwrap_err(), agreements, multiplications), (HandshakeError::Authentication, 1, 0));
    for length in 0..prefix + 32 {
        let (accepted, agreements, multiplications) = cost(&mut world, &hello[..length]);
        assert_eq!((accepted.unwrap_err(), agreements, multiplications), (HandshakeError::Truncated, 0, 0));
    }
    let (accepted, agreements, multiplications) = cost(&mut world, &hello);
    assert!(accepted.is_ok());
    assert_eq!((agreements, multiplications), (2, 1));
}

/// The cookie is good from one address, for a while, and for the HELLO that asks for what the RETRY said.
#[test]
fn attack_25_cookies() {
    type Spoil = fn(&mut World);
    let cases: [(Spoil, bool); 9] = [
        (|_| {}, true),
        (|world| world.now += 30, true),
        (|world| world.now += 31, false),
        (|world| world.now -= 5, true),
        (|world| world.now -= 6, false),
        (|world| world.address = vec![192, 0, 2, 2], false),
        (|world| world.address = vec![192, 0, 2], false),
        (|world| world.cookies.rotate(entropy(41)), true),
        (|world| world.cookies = CookieKeys::new(entropy(42), 30), false),
    ];
    for (n, (spoil, good)) in cases.into_iter().enumerate() {
        let mut world = World { demand: true, ..World::new() };
        let (server, client) = (world.server(&HANDSHAKES), world.client(&[Id::NK]));
        let (start, mut hello) = (world.begin(&client), Vec::new());
        let header = hello_header(start.body_len());
        let wait = start.write(&header, &mut hello).unwrap();
        let (_, retry) = world.accept(&server, &header, &hello);
        let second = wait.retry(&retry, entropy(43)).unwrap();
        let (header, mut hello) = (hello_header(second.body_len()), Vec::new());
        let wait = second.write(&header, &mut hello).unwrap();
        spoil(&mut world);
        let (accepted, mut reply) = world.accept(&server, &header, &hello);
        match accepted {
            Ok(Accepted::Established(_)) => assert!(good && finish(wait, &mut reply).is_ok(), "case {n}"),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!((error, good), (HandshakeError::BadCookie, false), "case {n}"),
        }
    }
    // Twice rotated, the first key is gone.
    let mut world = World { demand: true, ..World::new() };
    let (server, start) = (world.server(&HANDSHAKES), world.start(Id::NK));
    let mut keys = CookieKeys::new(entropy(4), 30);
    keys.rotate(entropy(44));
    keys.rotate(entropy(45));
    let mut second = false;
    let result = {
        let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
        let wait = start.write(&header, &mut hello).unwrap();
        let (_, retry) = world.accept(&server, &header, &hello);
        let start = wait.retry(&retry, entropy(46)).unwrap();
        world.cookies = keys;
        second |= true;
        world.run(&server, start)
    };
    assert!(second);
    assert_eq!(refused(result), Refusal::Server(HandshakeError::BadCookie));
}

/// No answer is longer than the HELLO that asked for it; the helper asserts it for every handshake, here with and without RETRY.
#[test]
fn attack_26_amplification() {
    for id in HANDSHAKES {
        for demand in [false, true] {
            let mut world = World { demand, ..World::new() };
            let session = world.run_id(id).unwrap();
            let length = |message| session.wire.iter().find(|(seen, _)| *seen == message).map(|(_, bytes)| bytes.len());
            assert!(length(Message::Reply) < length(if demand { Message::SecondHello } else { Message::Hello }));
            assert_eq!(session.saw(Message::Retry), demand);
            assert!(!demand || length(Message::Retry) < length(Message::Hello));
        }
    }
    // The smallest offer there is, in the handshake with the least room.
    let mut world = World { demand: true, ..World::new() };
    let mut policy = world.client_policy(&[Id::XX]);
    policy.offer.suites.truncate(1);
    policy.offer.formats.truncate(1);
    let client = Client::with_key(&RUSTCRYPTO, policy, &[], world.client_key.clone()).unwrap();
    let (server, start) = (world.server(&[Id::XX]), world.begin(&client));
    world.run(&server, start).unwrap();
}

/// A HELLO that is cut short is answered by nobody: a RETRY would be longer than its cause.
#[test]
fn attack_26_no_answer_to_a_short_hello() {
    for id in HANDSHAKES {
        for known in [true, false] {
            let mut world = World { demand: true, ..World::new() };
            let server = world.server(if known { &HANDSHAKES } else { &[Id::NK] });
            let start = world.start(id);
            let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
            start.write(&header, &mut hello).unwrap();
            for length in 0..hello.len() {
                let (accepted, answer) = world.accept(&server, &header, &hello[..length]);
                assert_eq!(accepted.unwrap_err(), HandshakeError::Truncated, "{id} {length}");
                assert_eq!(answer, []);
            }
        }
    }
}
