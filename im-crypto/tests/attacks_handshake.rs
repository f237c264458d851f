//! The attacks on the handshake that `docs/spec/attacks.md` lists, by their numbers there.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use common::{
    world::{HANDSHAKES, Message, Refusal, Session, World},
    *,
};
use im_crypto::{
    Accepted, Client, ClientPolicy, ClientTicket, CookieKeys, CryptoError, CryptoProvider, DeviceKey, HandshakeError,
    HandshakeId, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, MAX_TICKET_LIFETIME, OfferProblem, Padding, PolicyProblem,
    RUSTCRYPTO, Replied, Secret, Server, ServerContext, ServerKey, ServerPolicy, StaticKey, StaticPublicKey,
    TicketIdentity, TicketKeys, TlsExporter, UsedTickets, X25519,
};

use HandshakeId as Id;

/// Offset of the number of suites in a HELLO; their ids follow.
const SUITES: usize = 10;

fn refused(result: Result<Session, Refusal>) -> Refusal {
    match result {
        Ok(session) => panic!("both are established: {session:?}"),
        Err(refusal) => refusal,
    }
}

/// Every suite taken out, every two swapped, every one replaced, in every handshake: the two sides never agree.
#[test]
fn attack_01_downgrade_of_the_offer() {
    type Edit = Box<dyn Fn(&mut Vec<u8>)>;
    let mut edits: Vec<Edit> = Vec::new();
    for i in 0..3 {
        edits.push(Box::new(move |hello| {
            hello.remove(SUITES + 1 + i);
            hello[SUITES] -= 1;
        }));
        edits.push(Box::new(move |hello| {
            let suite = hello[SUITES + 1 + i];
            hello.drain(SUITES + 1..SUITES + 4);
            (hello[SUITES], _) = (1, hello.insert(SUITES + 1, suite));
        }));
        edits.push(Box::new(move |hello| hello[SUITES + 1 + i] = 200));
        edits.push(Box::new(move |hello| hello.swap(SUITES + 1 + i, SUITES + 1 + (i + 1) % 3)));
    }
    for id in HANDSHAKES {
        for edit in &edits {
            for fix_length in [false, true] {
                let mut world = World::new();
                world.sends_retries = false;
                let (server, start) = (world.server(&HANDSHAKES), world.start(id));
                let result = world.run_with(&server, start, |message, header, bytes| {
                    if message == Message::Hello {
                        assert_eq!(bytes[SUITES..SUITES + 4], [3, 16, 17, 18]);
                        edit(bytes);
                        if fix_length {
                            header[20..].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
                        }
                    }
                });
                let resumption = id.is_resumption();
                let expected = if resumption { HandshakeError::TicketRefused } else { HandshakeError::Authentication };
                // XX has no key in its first message; there the client finds out.
                let found = refused(result);
                let xx = [Id::XX, Id::XX_HFS].contains(&id);
                assert_eq!(found, if xx { Refusal::Client(expected) } else { Refusal::Server(expected) }, "{id}");
            }
        }
    }
}

/// Every bit of the HELLO, of its header, of the reply and of the third message, in every handshake. Entropy is fixed, so a message of
/// one run is good in the next one, and only the side that has to refuse it runs.
#[test]
fn attack_02_every_bit_of_every_message() {
    for id in HANDSHAKES {
        let mut world = World { sends_retries: false, ..World::new() };
        let server = world.server(&HANDSHAKES);
        let (client, ticket) = if id.is_resumption() {
            let mut stored = Vec::new();
            world.ticket(3600).1.write_to(&mut stored);
            let full = if id.is_post_quantum() { Id::NK_HFS } else { Id::NK };
            (world.client(&[full, id]), Some(stored))
        } else {
            (world.client(&[id]), None)
        };
        let start = |world: &World| match &ticket {
            Some(stored) => world.resume(&client, ClientTicket::from_bytes(stored).unwrap()),
            None => world.begin(&client),
        };
        let wait = |world: &World| {
            let start = start(world);
            let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
            let wait = start.write(&header, &mut hello).unwrap();
            (header, hello, wait)
        };
        let first = start(&world);
        let session = world.run(&server, first).unwrap();
        let body = |message| session.wire.iter().find(|(seen, _)| *seen == message).map(|(_, body)| body.clone());
        let (header, hello, _) = wait(&world);
        assert_eq!(Some(&hello), body(Message::Hello).as_ref());
        let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);

        world.used = UsedTickets::new(10);
        for bit in 0..(24 + hello.len()) * 8 {
            let mut changed = [header.as_slice(), &hello].concat();
            flip(&mut changed, bit);
            match world.accept(&server, &changed[..24], &changed[24..]) {
                (Err(_), _) => {}
                // XX has no key in its first message; there the client finds out.
                (Ok(Accepted::Wait(_)), mut reply) => assert!(wait(&world).2.finish(&mut reply).is_err(), "{id} {bit}"),
                (Ok(other), _) => panic!("{id} {bit}: {other:?}"),
            }
        }
        let reply = body(Message::Reply).unwrap();
        for bit in 0..reply.len() * 8 {
            let mut changed = reply.clone();
            flip(&mut changed, bit);
            assert!(wait(&world).2.finish(&mut changed).is_err(), "{id} {bit}");
        }
        for bit in 0..body(Message::Third).map_or(0, |third| third.len() * 8) {
            let (Ok(Accepted::Wait(server)), _) = world.accept(&server, &header, &hello) else { panic!("{id}") };
            let mut changed = body(Message::Third).unwrap();
            flip(&mut changed, bit);
            assert!(server.finish(&mut changed).is_err(), "{id} {bit}");
        }
    }
}

/// A RETRY that the server did not send for this HELLO: every handshake id, every bit, and genuine ones of the attacker's own.
#[test]
fn attack_03_forged_retry() {
    let forged = |id: u8, key: &ServerKey, cookie: &[u8]| {
        let key_id = if [5, 7].contains(&id) { [0; 8] } else { key.key_id() };
        [&[id], key_id.as_slice(), &[cookie.len() as u8], cookie].concat()
    };
    let wait = |client: &Client| {
        let start = client.start(entropy(50)).unwrap();
        let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
        let wait = start.write(&header, &mut hello).unwrap();
        (header, hello, wait)
    };
    let world = World::new();

    // Only what the client allows; with `require_pq` nothing weaker can even be configured.
    let client = world.client(&[Id::NK_HFS]);
    for id in 0..=255 {
        let (_, _, wait) = wait(&client);
        let result = wait.retry(&forged(id, &world.keys[0], &[1; 72]), entropy(51)).map(|start| start.handshake());
        let expected = if id == 2 { Ok(Id::NK_HFS) } else { Err(HandshakeError::RetryHandshake(Id(id))) };
        assert_eq!(result, expected);
    }
    let weak = ClientPolicy { require_pq: true, ..world.client_policy(&[Id::NK_HFS, Id::NK]) };
    let problem = Client::new(&RUSTCRYPTO, weak, &[world.keys[0].public()]).unwrap_err();
    assert_eq!(problem, HandshakeError::OwnHandshakes(PolicyProblem::NotPostQuantum(Id::NK)));

    // A client that allows both follows, and fails: with an invented cookie, and with a genuine one of the attacker's own HELLO.
    let client = world.client(&[Id::NK_HFS, Id::NK]);
    let mut world = World::new();
    let server = world.server(&[Id::NK_HFS, Id::NK]);
    world.demand = true;
    let own = World { seed: 66, ..World::new() }.client(&[Id::NK]);
    let (own_header, own_hello, _) = wait(&own);
    let (accepted, own_retry) = world.accept(&server, &own_header, &own_hello);
    assert!(matches!(accepted, Ok(Accepted::Retry)));
    for (retry, expected) in [
        (forged(1, &world.keys[0], &[1; 72]), HandshakeError::BadCookie),
        (forged(1, &world.keys[0], &[1; 71]), HandshakeError::BadCookie),
        (own_retry, HandshakeError::Authentication),
    ] {
        let (_, _, wait) = wait(&client);
        let second = wait.retry(&retry, entropy(52)).unwrap();
        assert_eq!(second.handshake(), Id::NK);
        let (header, mut hello) = (hello_header(second.body_len()), Vec::new());
        second.write(&header, &mut hello).unwrap();
        assert_eq!(world.accept(&server, &header, &hello).0.unwrap_err(), expected);
    }

    // Every bit of a genuine RETRY, every bit of the HELLO before it.
    for id in [Id::NK, Id::XX, Id::NN_PSK0] {
        let lengths = {
            let mut world = World { demand: true, ..World::new() };
            let session = world.run_id(id).unwrap();
            assert!(session.saw(Message::SecondHello));
            [session.wire[0].1.len(), session.wire[1].1.len()]
        };
        for (message, length) in [Message::Hello, Message::Retry].into_iter().zip(lengths) {
            for bit in 0..length * 8 {
                let mut world = World { demand: true, ..World::new() };
                let (server, start) = (world.server(&HANDSHAKES), world.start(id));
                let result = world.run_with(&server, start, |seen, _, bytes| {
                    if seen == message {
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                });
                refused(result);
            }
        }
    }

    // At most one.
    let (header, hello, first) = wait(&client);
    let (_, retry) = world.accept(&server, &header, &hello);
    let second = first.retry(&retry, entropy(53)).unwrap().write(&[0; 24], &mut Vec::new()).unwrap();
    assert_eq!(second.retry(&retry, entropy(54)).unwrap_err(), HandshakeError::SecondRetry);
}

/// A recorded client flight, played to a fresh server: the server replies, and its first record does not open.
#[test]
fn attack_08_replay_of_a_whole_handshake() {
    for id in HANDSHAKES {
        let mut world = World::new();
        let start = world.start(id);
        let mut headers = Vec::new();
        let server = world.server(&HANDSHAKES);
        let mut session = world.run_with(&server, start, |_, header, _| headers.push(*header)).unwrap();
        let (header, record) = packet(&mut session.client.sealer, 16, b"login", Padding::None);
        let (_, hello) = &session.wire[0];
        // Even if the ticket store forgot everything.
        world.used = UsedTickets::new(10);
        world.seed += 1;
        let (accepted, _) = world.accept(&server, &headers[0], hello);
        match accepted.unwrap() {
            Accepted::Established(mut fresh) => assert_eq!(open(&mut fresh.opener, &header, &record), None, "{id}"),
            Accepted::Wait(fresh) => {
                let mut third = session.wire.last().unwrap().1.clone();
                assert_eq!(fresh.finish(&mut third).unwrap_err(), HandshakeError::Authentication);
            }
            Accepted::Retry => panic!("{id}"),
        }
        session.talk_server_only();
    }
}

trait TalkServerOnly {
    fn talk_server_only(&mut self);
}

impl TalkServerOnly for Session {
    /// The true session is not disturbed.
    fn talk_server_only(&mut self) {
        let (header, body) = packet(&mut self.server.sealer, 2, b"down", Padding::None);
        assert!(open(&mut self.client.opener, &header, &body).is_some());
    }
}

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

/// Length of Noise message 1 with 64 bytes of padding.
fn noise_len(id: Id) -> usize {
    match id {
        Id::NK | Id::NN_PSK0 => 32 + 80,
        Id::NK_HFS | Id::NN_PSK0_HFS => 32 + 1200 + 80,
        Id::XX => 32 + 64,
        Id::XX_HFS => 32 + 1184 + 64,
        Id::IK => 32 + 48 + 80,
        _ => 32 + 1200 + 48 + 80,
    }
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

/// Who learns a ticket's key later cannot open what it protected: each resumption has fresh ephemeral keys in its secrets.
#[test]
fn attack_19_ticket_key_stolen_later() {
    for id in [Id::NN_PSK0, Id::NN_PSK0_HFS] {
        let mut world = World::new();
        let (_, ticket) = world.ticket(3600);
        let mut stored = Vec::new();
        ticket.write_to(&mut stored);
        let full = if id == Id::NN_PSK0 { Id::NK } else { Id::NK_HFS };
        let client = world.client(&[full, id]);
        let server = world.server(&HANDSHAKES);
        let start = world.resume(&client, ticket);
        let mut session = world.run(&server, start).unwrap();
        let (header, record) = packet(&mut session.client.sealer, 1, b"secret", Padding::None);
        // The thief has the key and plays the recorded HELLO against a server of his own with the same ticket keys.
        world.used = UsedTickets::new(10);
        world.seed += 1;
        let thief = ClientTicket::from_bytes(&stored).unwrap();
        let again = world.resume(&client, thief);
        let mut again = world.run(&server, again).unwrap();
        assert_ne!(again.server.handshake_hash, session.server.handshake_hash);
        assert_eq!(open(&mut again.server.opener, &header, &record), None);
        session.talk_server_only();
    }
}

/// Tickets that are no good, for every cause: no session, and the same answer, a RETRY for the full handshake. Without RETRY: one
/// error.
#[test]
fn attack_20_tickets() {
    type Spoil = Box<dyn Fn(&mut World, &mut Vec<u8>)>;
    let mut cases: Vec<(&str, Spoil)> = vec![
        ("expired", Box::new(|world, _| world.now += 3600)),
        ("from the future", Box::new(|world, _| world.now -= 61)),
        ("other ticket key", Box::new(|world, _| world.tickets = TicketKeys::new(&RUSTCRYPTO, entropy(91)).unwrap())),
        ("key rotated away", Box::new(|world, _| world.tickets.rotate(entropy(92), 0).unwrap())),
        ("store is full", Box::new(|world, _| world.used = UsedTickets::new(0))),
        (
            "another user's",
            Box::new(|world, ticket| {
                let session = World { seed: 8, ..World::new() }.run_id(Id::NK).unwrap();
                let bob = TicketIdentity { user: b"bob".to_vec(), ..World::identity() };
                let secret = &session.server.resumption;
                *ticket = world.tickets.issue(secret, &bob, world.now, 3600, entropy(93)).unwrap();
            }),
        ),
    ];
    let length = World::new().ticket(3600).0.len();
    for at in 0..length {
        cases.push(("changed", Box::new(move |_, ticket| ticket[at] ^= 1)));
    }
    for (name, spoil) in cases {
        for retries in [true, false] {
            let mut world = World { sends_retries: retries, ..World::new() };
            let (mut ticket, client_ticket) = world.ticket(3600);
            let mut stored = Vec::new();
            client_ticket.write_to(&mut stored);
            spoil(&mut world, &mut ticket);
            let spoilt = [&stored[..32], &ticket].concat();
            let client = world.client(&[Id::NK, Id::NN_PSK0]);
            let start = world.resume(&client, ClientTicket::from_bytes(&spoilt).unwrap());
            let server = world.server(&HANDSHAKES);
            let result = world.run(&server, start);
            if retries {
                let mut session = result.unwrap();
                assert!(session.saw(Message::Retry), "{name}");
                assert_eq!((session.server.handshake, session.server.ticket.is_none()), (Id::NK, true), "{name}");
                session.talk();
            } else {
                let expected = HandshakeError::TicketRefused;
                assert_eq!(refused(result), Refusal::Server(expected), "{name}");
            }
        }
    }
    // Bounds of the maker.
    let world = World::new();
    let session = World::new().run_id(Id::NK).unwrap();
    for lifetime in [0, MAX_TICKET_LIFETIME + 1, u64::MAX] {
        let made = world.tickets.issue(&session.server.resumption, &World::identity(), 5, lifetime, entropy(1));
        assert!(made.is_err());
    }
    // The last second counts, and a rotated key opens as long as it is kept.
    let mut world = World::new();
    let (_, ticket) = world.ticket(3600);
    world.now += 3599;
    world.tickets.rotate(entropy(94), 1).unwrap();
    let client = world.client(&[Id::NK, Id::NN_PSK0]);
    let (server, start) = (world.server(&HANDSHAKES), world.resume(&client, ticket));
    let session = world.run(&server, start).unwrap();
    let claims = session.server.ticket.unwrap();
    assert_eq!((claims.identity, claims.suite), (World::identity(), session.server.choice.suite));
}

/// The answer to a used ticket is that to an expired one, byte for byte.
#[test]
fn attack_20_one_answer_for_every_cause() {
    let hello = |world: &World| {
        let (start, mut hello) = (world.start(Id::NN_PSK0), Vec::new());
        let header = hello_header(start.body_len());
        start.write(&header, &mut hello).unwrap();
        (header, hello)
    };
    let answer = |world: &mut World| {
        let server = world.server(&HANDSHAKES);
        let (header, hello) = hello(world);
        let (accepted, answer) = world.accept(&server, &header, &hello);
        assert!(matches!(accepted, Ok(Accepted::Retry)));
        answer
    };
    let mut used = World::new();
    used.run_id(Id::NN_PSK0).unwrap();
    let mut wrong_key = World::new();
    let (header, good) = hello(&wrong_key);
    let mut full_store = World { used: UsedTickets::new(0), ..World::new() };
    let first = answer(&mut used);
    assert_eq!(first, answer(&mut full_store));
    wrong_key.tickets = TicketKeys::new(&RUSTCRYPTO, entropy(91)).unwrap();
    let server = wrong_key.server(&HANDSHAKES);
    let (accepted, bytes) = wrong_key.accept(&server, &header, &good);
    assert!(matches!(accepted, Ok(Accepted::Retry)));
    assert_eq!(first, bytes);
}

/// There is no early data: the second use of a ticket is no session, and what a HELLO carries is never given to anybody.
#[test]
fn attack_21_no_early_data() {
    let mut world = World { sends_retries: false, ..World::new() };
    world.run_id(Id::NN_PSK0).unwrap();
    let again = refused(world.run_id(Id::NN_PSK0));
    assert_eq!(again, Refusal::Server(HandshakeError::TicketRefused));
    // Somebody who saw the ticket, but has not its key, cannot use it up.
    let mut world = World { sends_retries: false, ..World::new() };
    let (server, start) = (world.server(&HANDSHAKES), world.start(Id::NN_PSK0));
    refused(world.run_with(&server, start, |_, _, bytes| *bytes.last_mut().unwrap() ^= 1));
    world.run_id(Id::NN_PSK0).unwrap();
}

/// TLS that ends at somebody in between: both ends have another exporter, or one of them has none.
#[test]
fn attack_24_tls_ends_in_the_middle() {
    let (a, b) = (TlsExporter::new([1; 32]), TlsExporter::new([2; 32]));
    for id in HANDSHAKES {
        let run = |client, server| {
            let mut world = World { client_tls: client, server_tls: server, sends_retries: false, ..World::new() };
            world.run_id(id).map(|mut session| session.talk())
        };
        assert_eq!(run(Some(a), Some(a)), Ok(()), "{id}");
        // A browser cannot bind; whether that is enough is the server's policy.
        assert_eq!(run(None, Some(a)), Ok(()), "{id}");
        let unavailable = Refusal::Server(HandshakeError::UnsupportedBinding(1));
        assert_eq!(run(Some(a), None), Err(unavailable));
        let refusal = run(Some(a), Some(b)).unwrap_err();
        let error = HandshakeError::Authentication;
        let resumption = Refusal::Server(HandshakeError::TicketRefused);
        assert!([Refusal::Client(error), Refusal::Server(error), resumption].contains(&refusal), "{refusal:?}");
        // The type of the binding changed on the way.
        let mut world = World { client_tls: Some(a), server_tls: Some(b), sends_retries: false, ..World::new() };
        let (server, start) = (world.server(&HANDSHAKES), world.start(id));
        refused(world.run_with(&server, start, |message, _, bytes| {
            if message == Message::Hello {
                bytes[1] = 0;
            }
        }));
    }
    // It survives a RETRY.
    let mut world = World { client_tls: Some(a), server_tls: Some(a), demand: true, ..World::new() };
    assert!(world.run_id(Id::NK).unwrap().saw(Message::SecondHello));
    world.server_tls = Some(b);
    refused(world.run_id(Id::NK));
    // Required.
    let strict = ServerPolicy { require_binding: true, ..policy(&ALL_SUITES) };
    let strict = Server::new(&RUSTCRYPTO, strict).unwrap();
    let mut world = World { server_tls: Some(a), ..World::new() };
    let start = world.start(Id::NK);
    assert_eq!(refused(world.run(&strict, start)), Refusal::Server(HandshakeError::BindingRequired));
}

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

/// A server that refuses says nothing at all, whatever the cause.
#[test]
fn attack_31_no_bytes_tell_the_cause() {
    let world = World::new();
    let start = world.start(Id::NK);
    let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
    start.write(&header, &mut hello).unwrap();
    let mut causes = BTreeSet::new();
    for at in 0..hello.len() {
        let mut world = World { sends_retries: false, ..World::new() };
        let server = world.server(&[Id::NK]);
        let mut changed = hello.clone();
        changed[at] ^= 0x81;
        // The helper asserts that nothing was written.
        let (accepted, answer) = world.accept(&server, &header, &changed);
        causes.insert(accepted.unwrap_err().to_string());
        assert_eq!(answer, []);
    }
    assert!(causes.len() > 5, "{causes:?}");
}

/// Nothing that can be printed shows a byte of a secret.
#[test]
fn attack_32_debug_output() {
    let mut texts = Vec::new();
    let mut world = World { client_tls: Some(TlsExporter::new([0xc7; 32])), ..World::new() };
    world.server_tls = world.client_tls;
    for id in HANDSHAKES {
        world.used = UsedTickets::new(10);
        let start = world.start(id);
        texts.push(format!("{start:?}"));
        let (header, mut hello) = (hello_header(start.body_len()), Vec::new());
        let wait = start.write(&header, &mut hello).unwrap();
        let server = world.server(&HANDSHAKES);
        texts.push(format!("{wait:?} {server:?} {:?}", server.start(entropy(1))));
        let (accepted, mut reply) = world.accept(&server, &header, &hello);
        texts.push(format!("{accepted:?}"));
        let replied = wait.finish(&mut reply).unwrap();
        texts.push(format!("{replied:?}"));
        if let Replied::Established(client) = replied {
            texts.push(format!("{client:?} {:?}", client.resumption));
        }
    }
    let (_, ticket) = world.ticket(3600);
    let device = DeviceKey::from_bytes(&[0xc7; 32]);
    texts.push(format!("{ticket:?} {:?} {:?} {:?}", world.tickets, world.cookies, world.client_tls));
    texts.push(format!("{device:?} {:?} {:?}", device.prove(&[0; 32], b"token"), World::identity()));
    texts.push(format!("{:?}", StaticKey::from_bytes([0xc7; 32], &RUSTCRYPTO).unwrap()));
    texts.push(format!("{:?}", ServerContext::new(&world.keys)));
    let public: Vec<String> =
        [world.keys[0].public(), world.client_key.public()].iter().map(ToString::to_string).collect();
    let public = [
        public,
        vec![
            hex(device.public().as_bytes()),
            StaticKey::from_bytes([0xc7; 32], &RUSTCRYPTO).unwrap().public().to_string(),
        ],
    ]
    .concat();
    for mut text in texts {
        public.iter().for_each(|key| text = text.replace(key, ""));
        assert!(!text.contains("c7c7") && !text.contains("199, 199") && !text.contains("alice"), "{text}");
        let digits = text.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
        assert!(digits.unwrap_or(0) < 16, "{text}");
        let run =
            text.split(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ').map(|part| part.matches(',').count());
        assert!(run.max().unwrap_or(0) < 4, "{text}");
    }
}

/// What a configuration cannot be.
#[test]
fn policies_are_checked_when_they_are_made() {
    let world = World::new();
    let pins = [world.keys[0].public(); 3];
    let problem = |ids: &[Id], pins: &[StaticPublicKey], require_pq| {
        let policy = ClientPolicy { require_pq, ..world.client_policy(ids) };
        match Client::new(&RUSTCRYPTO, policy, pins) {
            Err(HandshakeError::OwnHandshakes(problem)) => Some(problem),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    };
    assert_eq!(problem(&[], &pins[..1], false), Some(PolicyProblem::NoFullHandshake));
    assert_eq!(problem(&[Id::NN_PSK0], &pins[..1], false), Some(PolicyProblem::NoFullHandshake));
    assert_eq!(problem(&[Id::NK, Id::NK], &pins[..1], false), Some(PolicyProblem::DuplicateHandshake(Id::NK)));
    assert_eq!(problem(&[Id(9)], &pins[..1], false), Some(PolicyProblem::UnknownHandshake(Id(9))));
    assert_eq!(problem(&[Id::NK], &[], false), Some(PolicyProblem::NoPin(Id::NK)));
    assert_eq!(problem(&[Id::NK], &pins, false), Some(PolicyProblem::TooManyPins(3)));
    assert_eq!(problem(&[Id::XX], &[], false), Some(PolicyProblem::NoOwnKey(Id::XX)));
    assert_eq!(problem(&[Id::NK_HFS, Id::NN_PSK0], &pins[..1], true), Some(PolicyProblem::NotPostQuantum(Id::NN_PSK0)));
    assert_eq!(problem(&[Id::NK_HFS, Id::NN_PSK0_HFS], &pins[..2], true), None);
    let without_kem = CryptoProvider::new(RUSTCRYPTO.aeads, RUSTCRYPTO.dh, RUSTCRYPTO.hash);
    let without_kem: &'static CryptoProvider = Box::leak(Box::new(without_kem));
    let hybrid = ServerPolicy { handshakes: vec![Id::NK_HFS], ..policy(&ALL_SUITES) };
    let error = Server::new(without_kem, hybrid).unwrap_err();
    assert_eq!(error, HandshakeError::OwnHandshakes(PolicyProblem::NoKem(Id::NK_HFS)));
    let plain = ServerPolicy { suites: vec![im_crypto::SuiteId::NONE], ..policy(&ALL_SUITES) };
    let error = Server::new(&RUSTCRYPTO, plain).unwrap_err();
    assert_eq!(error, HandshakeError::OwnPolicy(OfferProblem::NoEncryption));
}

/// Every handshake alone, and through a RETRY; the server that allows something else asks for it.
#[test]
fn every_handshake_works() {
    for id in HANDSHAKES {
        for demand in [false, true] {
            let mut world = World { demand, ..World::new() };
            let mut session = world.run_id(id).unwrap();
            session.talk();
            let (client, server) = (&session.client, &session.server);
            assert_eq!((client.handshake, server.handshake, client.choice), (id, id, server.choice));
            assert_eq!(client.handshake_hash, server.handshake_hash);
            let (server_key, client_key) = (world.keys[0].public(), world.client_key.public());
            let shows = ![Id::NN_PSK0, Id::NN_PSK0_HFS].contains(&id);
            assert_eq!(client.peer_key, shows.then_some(server_key));
            let named = [Id::XX, Id::XX_HFS, Id::IK, Id::IK_HFS].contains(&id);
            assert_eq!(server.peer_key, named.then_some(client_key));
            assert_eq!(server.ticket.as_ref().map(|claims| &claims.identity), (!shows).then(World::identity).as_ref());
        }
    }
    let mut world = World::new();
    let (server, client) = (world.server(&[Id::NK_HFS]), world.client(&[Id::NK, Id::NK_HFS]));
    let start = world.begin(&client);
    let mut session = world.run(&server, start).unwrap();
    assert_eq!((session.server.handshake, session.saw(Message::Retry)), (Id::NK_HFS, true));
    session.talk();
    world.sends_retries = false;
    let start = world.begin(&client);
    let found = refused(world.run(&server, start));
    assert_eq!(found, Refusal::Server(HandshakeError::UnsupportedHandshake(Id::NK)));
}

/// The current and the next server key: the client starts with the first pin and follows a RETRY to the second, to no other.
#[test]
fn two_pinned_keys() {
    let mut world = World::new();
    let next = || ServerKey::generate(&RUSTCRYPTO, entropy(77)).unwrap();
    let pins = [world.keys[0].public(), next().public()];
    let client = Client::new(&RUSTCRYPTO, world.client_policy(&[Id::NK]), &pins).unwrap();
    let server = world.server(&[Id::NK]);
    // Before the rotation, while both are there, and after it.
    for (keys, retried) in [(vec![0], false), (vec![1, 0], false), (vec![1], true)] {
        let first = || ServerKey::generate(&RUSTCRYPTO, entropy(1)).unwrap();
        world.keys = keys.iter().map(|n| if *n == 0 { first() } else { next() }).collect();
        let start = world.begin(&client);
        let session = world.run(&server, start).unwrap();
        assert_eq!(session.saw(Message::Retry), retried);
        assert_eq!(session.client.peer_key, Some(pins[usize::from(retried)]));
    }
    world.keys = vec![ServerKey::generate(&RUSTCRYPTO, entropy(78)).unwrap()];
    let start = world.begin(&client);
    assert_eq!(refused(world.run(&server, start)), Refusal::Client(HandshakeError::NotPinned));
}

/// The store forgets what is over, and nothing before.
#[test]
fn used_tickets_are_bounded() {
    use im_crypto::TicketStore;
    let mut used = UsedTickets::new(2);
    assert!(used.spend(&[1; 16], 100, 0) && used.spend(&[2; 16], 200, 0));
    assert!(!used.spend(&[3; 16], 300, 99), "full");
    assert!(used.spend(&[3; 16], 300, 100), "the first is over");
    assert!(!used.spend(&[2; 16], 200, 150) && !used.spend(&[4; 16], 400, 199));
    assert!(used.spend(&[4; 16], 400, 200));
}
