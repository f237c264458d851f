//! Attacks that change, replay or splice the messages of a handshake, by their numbers in `docs/spec/attacks.md`.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use common::{
    ALL_SUITES, entropy, hello_header, open, packet, policy,
    world::{HANDSHAKES, Message, Refusal, World, refused},
};
use im_crypto::{
    Accepted, Client, ClientPolicy, ClientTicket, HandshakeError, HandshakeId, Padding, PolicyProblem, RUSTCRYPTO,
    Server, ServerKey, ServerPolicy, TlsExporter, UsedTickets,
};

use HandshakeId as Id;

/// Offset of the number of suites in a HELLO; their ids follow.
const SUITES: usize = 10;

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
        session.talk_down();
    }
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
