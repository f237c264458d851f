//! What each side allows, and what the two make of it.
#![cfg(all(feature = "pq", feature = "pop"))]

mod common;

use common::{
    ALL_SUITES, entropy, policy,
    world::{HANDSHAKES, Message, Refusal, World, refused},
};
use im_crypto::{
    Client, ClientPolicy, CryptoProvider, HandshakeError, HandshakeId, OfferProblem, PolicyProblem, RUSTCRYPTO, Server,
    ServerKey, ServerPolicy, StaticPublicKey,
};

use HandshakeId as Id;

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
