//! Attacks on resumption, by their numbers in `docs/spec/attacks.md`.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use common::{
    entropy, hello_header, open, packet,
    world::{HANDSHAKES, Message, Refusal, World, refused},
};
use im_crypto::{
    Accepted, ClientTicket, HandshakeError, HandshakeId, MAX_TICKET_LIFETIME, Padding, RUSTCRYPTO, TicketIdentity,
    TicketKeys, UsedTickets,
};

use HandshakeId as Id;

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
        session.talk_down();
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
