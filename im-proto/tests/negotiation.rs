//! What client and server agree on: pinned keys and their rotation, cookies, the handshakes that each allows, padding.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]

use std::num::NonZeroU16;
use std::sync::Arc;

use im_proto::*;
use im_sim::{Pair, configs, credentials, entropy};

fn key(byte: u8) -> ServerKey {
    ServerKey::from_bytes([byte; 32], &RUSTCRYPTO).unwrap()
}

fn client(keys: &[u8]) -> ClientConfig {
    let mut config = configs().0;
    config.server_keys = keys.iter().map(|byte| key(*byte).public()).collect();
    config
}

fn server(keys: &[u8]) -> ServerConfig {
    let mut config = configs().1;
    config.keys = keys.iter().map(|byte| key(*byte)).collect();
    config
}

fn negotiated(pair: &Pair) -> Negotiated {
    let here = pair.client_events.iter().find_map(|event| match event {
        ClientEvent::Negotiated(negotiated) => Some(*negotiated),
        _ => None,
    });
    let there = pair.server_events.iter().find_map(|event| match event {
        ServerEvent::Negotiated(negotiated) => Some(*negotiated),
        _ => None,
    });
    assert_eq!(here, there);
    here.unwrap_or_else(|| panic!("{:?}", pair.client_events))
}

fn closed(pair: &Pair) -> &Closed {
    match pair.client_events.last() {
        Some(ClientEvent::Closed(closed)) => closed,
        other => panic!("{other:?}"),
    }
}

/// Logs in and counts the handshake's packets: the client's and the server's.
fn handshake_packets(pair: &mut Pair) -> (u64, u64) {
    pair.settle();
    assert_eq!(pair.client.state(), State::LoggingIn, "{:?} {:?}", pair.client_events, pair.server_events);
    // The login is the last packet of the client; the server sent only answers to hellos.
    (pair.client.stats().packets_out - 1, pair.server.stats().packets_out)
}

#[test]
fn any_key_that_both_sides_know_serves_and_a_rotation_costs_one_retry_at_most() {
    for (pins, keys, packets) in [
        (&[1][..], &[1][..], (1, 1)),
        // The server has begun with its next key and still holds the old one.
        (&[1], &[2, 1], (1, 1)),
        (&[1, 2], &[2, 1], (1, 1)),
        // The old one is gone: the server asks for the next.
        (&[1, 2], &[2], (2, 2)),
        (&[2], &[1, 2], (1, 1)),
    ] {
        let mut pair = Pair::new(client(pins), server(keys));
        assert_eq!(handshake_packets(&mut pair), packets, "pins {pins:?}, keys {keys:?}");
        negotiated(&pair);
    }
}

#[test]
fn a_server_whose_keys_are_not_pinned_is_refused_before_anything_is_said() {
    let mut pair = Pair::new(client(&[1, 3]), server(&[2]));
    pair.settle();
    assert!(closed(&pair).reason.contains("pin"), "{}", closed(&pair));
    assert!(!pair.server_events.iter().any(|event| matches!(event, ServerEvent::Login(_))));
}

#[test]
fn more_than_two_keys_or_none_are_refused_by_name() {
    let three = client(&[1, 2, 3]);
    assert_eq!(three.check(), Err(ConfigError::ServerKeys { count: 3 }));
    assert_eq!(client(&[1]).next_key(key(2).public()).check(), Ok(()));
    assert_eq!(server(&[]).check(), Err(ConfigError::ServerKeys { count: 0 }));
    assert_eq!(server(&[1]).second_key(key(2)).check(), Ok(()));
    let mut none = client(&[]);
    none.handshakes = vec![HandshakeId::NK, HandshakeId::IK, HandshakeId::NN_PSK0];
    assert_eq!(none.check(), Err(ConfigError::NoHandshake), "NK without a pin");
}

fn demanding(address: &[u8]) -> Arrival {
    Arrival { address: address.to_vec(), demand_cookie: true, ..Arrival::at(1_800_000_000) }
}

#[test]
fn a_cookie_is_demanded_once_and_the_client_brings_it() {
    let mut pair = Pair::new(client(&[1]), server(&[1]));
    pair.server =
        Connection::server_for(Arc::new(server(&[1])), demanding(&[192, 0, 2, 1]), entropy(3), pair.now).unwrap();
    assert_eq!(handshake_packets(&mut pair), (2, 2));
    negotiated(&pair);
}

/// The second hello of a client that was sent around may reach another process with the same cookie keys; from another address
/// it is worth nothing.
#[test]
fn a_shared_cookie_is_good_at_another_process_but_not_from_another_address() {
    let cookies = Arc::new(CookieKeys::new(entropy(9), 30));
    for (address, good) in [([192, 0, 2, 1], true), ([192, 0, 2, 2], false)] {
        let arrive = |address: [u8; 4]| Arrival { cookies: Some(cookies.clone()), ..demanding(&address) };
        let mut pair = Pair::new(client(&[1]), server(&[1]));
        let other = |pair: &Pair, address| {
            Connection::server_for(Arc::new(server(&[1])), arrive(address), entropy(4), pair.now).unwrap()
        };
        pair.server = other(&pair, [192, 0, 2, 1]);
        pair.transmit();
        pair.receive();
        pair.transmit_server();
        pair.server = other(&pair, address);
        pair.settle();
        let online = pair.client.state() == State::LoggingIn;
        assert_eq!(online, good, "{:?}", pair.client_events);
    }
}

/// A client that ignores the retry and says the same again is not sent around for ever.
#[test]
fn a_hello_that_brings_no_cookie_the_second_time_ends_the_connection() {
    let mut pair = Pair::new(client(&[1]), server(&[1]));
    pair.server = Connection::server_for(Arc::new(server(&[1])), demanding(&[]), entropy(3), pair.now).unwrap();
    pair.transmit();
    let hello = pair.to_server.clone();
    pair.receive();
    pair.transmit_server();
    pair.to_client.clear();
    pair.to_server = hello;
    pair.receive();
    assert_eq!(pair.server.state(), State::Closing);
    pair.settle();
    assert_eq!(closed(&pair).code, CloseCode::HANDSHAKE_FAILED);
}

/// The client takes one retry, whoever wrote it, and answers no retry before its hello is out.
#[test]
fn a_second_retry_is_refused() {
    let mut pair = Pair::new(client(&[1, 2]), server(&[2]));
    pair.transmit();
    pair.receive();
    pair.transmit_server();
    let retry = pair.to_client.clone();
    let answer = retry.clone();
    pair.receive();
    pair.transmit();
    pair.to_server.clear();
    pair.to_client = retry;
    pair.receive();
    assert!(matches!(pair.client.state(), State::Closing), "{:?}", pair.client);
    let mut early = Pair::new(client(&[1]), server(&[1]));
    early.to_client = answer;
    early.receive();
    assert_eq!(early.client.state(), State::Closing);
}

/// On first use the client learns the server's key, and until it trusts it sends nothing; from then on the key is pinned.
#[test]
fn on_first_use_the_servers_key_is_an_event_before_anything_is_sent() {
    let mut allowing = server(&[5]);
    allowing.handshakes.push(HandshakeId::XX);
    if RUSTCRYPTO.kem.is_some() {
        // What a client with ML-KEM asks for first.
        allowing.handshakes.push(HandshakeId::XX_HFS);
    }
    let allowing = Arc::new(allowing);
    let first = ClientConfig::first_use(&RUSTCRYPTO, credentials("alice", "phone"));
    let mut pair = Pair::new(first, server(&[5]));
    pair.server = Connection::server(allowing.clone(), entropy(3), pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.client_events, [ClientEvent::ServerKeySeen(key(5).public())]);
    assert_eq!((pair.client.state(), pair.client.stats().packets_out), (State::Handshaking, 1));
    assert!(!pair.client.wants_read() && pair.server_events.is_empty());
    pair.client.trust_server(pair.now).unwrap();
    assert_eq!(pair.client.trust_server(pair.now), Err(AnswerError::NotAsked));
    pair.login();
    assert_eq!(pair.client.state(), State::Online);
    assert!(matches!(negotiated(&pair).handshake, HandshakeId::XX | HandshakeId::XX_HFS));
    let shown = pair.server_events.iter().find_map(|event| match event {
        ServerEvent::Login(login) => login.client_key,
        _ => None,
    });
    assert!(shown.is_some(), "XX shows the client's key too");

    // The key that was trusted is pinned for the next connection, which needs no question.
    pair.client.handle_eof(pair.now);
    pair.client_events.clear();
    pair.server_events.clear();
    pair.server = Connection::server(allowing.clone(), entropy(4), pair.now).unwrap();
    pair.client.connect(entropy(5), pair.now).unwrap();
    pair.login();
    assert!(matches!(negotiated(&pair).handshake, HandshakeId::NK | HandshakeId::NK_HFS));
    // And somebody else is not trusted any more.
    pair.client.handle_eof(pair.now);
    let mut other = server(&[6]);
    other.handshakes = vec![HandshakeId::XX];
    pair.server = Connection::server(Arc::new(other), entropy(4), pair.now).unwrap();
    pair.client.connect(entropy(6), pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.client.state(), State::Offline);
}

/// XX with a pinned key asks nobody: the key is the pinned one, or the client says nothing more.
#[test]
fn xx_with_pins_goes_on_with_a_pinned_key_only() {
    for (pin, good) in [(5, true), (6, false)] {
        let mut here = client(&[pin]);
        here.handshakes = vec![HandshakeId::XX];
        let mut there = server(&[5]);
        there.handshakes = vec![HandshakeId::XX];
        let mut pair = Pair::new(here, there);
        pair.settle();
        assert!(!pair.client_events.iter().any(|event| matches!(event, ClientEvent::ServerKeySeen(_))));
        if good {
            assert_eq!(pair.client.state(), State::LoggingIn);
        } else {
            assert!(closed(&pair).reason.contains("pin"), "{}", closed(&pair));
            assert!(!pair.server_events.iter().any(|event| matches!(event, ServerEvent::Negotiated(_))));
        }
    }
}

/// A client without a pin can only do XX, so a retry for anything else would end it: with ML-KEM it asks for XXhfs first, and a
/// server that allows XX, but without ML-KEM, asks for that, whatever else stands on its list before.
#[test]
fn a_retry_asks_a_client_without_a_pin_for_what_it_can_do() {
    let mut there = server(&[5]);
    there.handshakes = usual(&[HandshakeId::NK, HandshakeId::NK_HFS, HandshakeId::XX]);
    let mut pair = Pair::new(ClientConfig::first_use(&RUSTCRYPTO, credentials("alice", "phone")), there);
    pair.settle();
    assert_eq!(pair.client_events, [ClientEvent::ServerKeySeen(key(5).public())]);
    pair.client.trust_server(pair.now).unwrap();
    pair.login();
    assert_eq!(negotiated(&pair).handshake, HandshakeId::XX);
}

/// Without those that this build has no ML-KEM for.
fn usual(list: &[HandshakeId]) -> Vec<HandshakeId> {
    list.iter().copied().filter(|id| RUSTCRYPTO.kem.is_some() || !id.is_post_quantum()).collect()
}

/// A client may take its time to look at the key, but not for ever; and it may refuse.
#[test]
fn a_key_that_is_not_trusted_ends_by_the_deadline_or_a_close() {
    let mut there = server(&[5]);
    there.handshakes = vec![HandshakeId::XX];
    let mut pair = Pair::new(ClientConfig::first_use(&RUSTCRYPTO, credentials("alice", "phone")), there);
    pair.settle();
    let (at, timer) = pair.client.poll_timeout().unwrap();
    assert_eq!(timer, Timer::Login);
    pair.client.close(pair.now, CloseCode::NORMAL, "not the key on the card");
    assert_eq!(pair.client.trust_server(at), Err(AnswerError::State(State::Closing)));
    pair.settle();
    assert_eq!((pair.client.state(), pair.server.state()), (State::Offline, State::Closed));
}

#[test]
fn in_ik_the_client_shows_its_key_at_once() {
    let mut here = client(&[1]);
    let own = Arc::new(key(77));
    here.key = Some(own.clone());
    here.handshakes = vec![HandshakeId::IK];
    let mut there = server(&[1]);
    there.handshakes = vec![HandshakeId::IK];
    let mut pair = Pair::new(here, there);
    assert_eq!(handshake_packets(&mut pair), (1, 1));
    assert_eq!(negotiated(&pair).handshake, HandshakeId::IK);
    let Some(ServerEvent::Login(login)) = pair.server_events.last() else { panic!() };
    assert_eq!(login.client_key, Some(own.public()));
}

/// A server asks by a retry for a handshake that both allow, and a client makes no other, whoever asks.
#[test]
fn a_handshake_outside_of_either_list_is_not_made() {
    let mut here = client(&[1]);
    let mut there = server(&[1]);
    here.handshakes = vec![HandshakeId::NK, HandshakeId::XX];
    there.handshakes = vec![HandshakeId::XX];
    let mut pair = Pair::new(here, there);
    assert_eq!(handshake_packets(&mut pair), (3, 2), "hello, hello, hello-end");
    let mut there = server(&[1]);
    there.handshakes = vec![HandshakeId::XX];
    let mut pair = Pair::new(client(&[1]), there);
    pair.settle();
    assert_eq!((closed(&pair).by, pair.server.state()), (ClosedBy::Local, State::Closed));
}

#[cfg(feature = "pq")]
#[test]
fn post_quantum_is_preferred_and_can_be_required() {
    for (at_client, at_server, plain) in [(false, false, false), (true, false, false), (false, true, false)] {
        let (mut here, mut there) = (client(&[1]), server(&[1]));
        (here.require_pq, there.require_pq) = (at_client, at_server);
        let mut pair = Pair::new(here, there);
        pair.login();
        assert_eq!(negotiated(&pair).handshake.is_post_quantum(), !plain);
    }
    // A side without it is met by a retry, unless the other one requires it.
    for (at_client, good) in [(false, true), (true, false)] {
        let (mut here, mut there) = (client(&[1]), server(&[1]));
        here.require_pq = at_client;
        there.handshakes = vec![HandshakeId::NK];
        let mut pair = Pair::new(here, there);
        pair.settle();
        assert_eq!(pair.client.state() == State::LoggingIn, good);
    }
    let (mut here, mut there) = (client(&[1]), server(&[1]));
    here.handshakes = vec![HandshakeId::NK];
    there.require_pq = true;
    let mut pair = Pair::new(here.clone(), there);
    pair.settle();
    assert_ne!(pair.client.state(), State::LoggingIn);
    here.require_pq = true;
    assert_eq!(here.check(), Err(ConfigError::NoHandshake));
}

/// Where TLS ends somewhere between the two, the exporters differ.
#[test]
fn a_handshake_that_is_bound_to_another_tls_connection_fails() {
    for (theirs, good) in [(7, true), (8, false)] {
        let mut there = server(&[1]);
        there.require_binding = true;
        let mut pair = Pair::new(client(&[1]), configs().1);
        pair.client = Connection::client(client(&[1]), 1).unwrap();
        let exporter = |byte| Some(TlsExporter::new([byte; 32]));
        pair.client.connect_bound(entropy(1), exporter(7), pair.now).unwrap();
        let arrival = Arrival { exporter: exporter(theirs), ..Arrival::default() };
        pair.server = Connection::server_for(Arc::new(there), arrival, entropy(2), pair.now).unwrap();
        pair.settle();
        assert_eq!(pair.client.state() == State::LoggingIn, good);
    }
}

/// The lengths that an observer sees of messages with one to two hundred bytes.
fn lengths(padding: Padding) -> Vec<usize> {
    let (mut here, mut there) = configs();
    (here.padding, there.padding) = (padding, Padding::None);
    let mut pair = Pair::new(here, there);
    pair.login();
    let mut seen = Vec::new();
    for n in 1..200 {
        pair.client.send(pair.now, Message::text("bob", &"x".repeat(n))).unwrap();
        let mut packet = Vec::new();
        let _ = pair.client.poll_transmit(pair.now, &mut packet, usize::MAX);
        seen.push(packet.len());
        pair.to_server.extend(packet);
        pair.settle();
        let Some(ServerEvent::Message(message)) = pair.server_events.pop() else { panic!("{n}") };
        assert_eq!(message.content.len(), n);
        pair.server.unanswerable().unwrap();
        pair.settle();
        if n % 50 == 0 {
            pair.client.handle_eof(pair.now);
            pair = Pair::new(configs_with(padding), configs().1);
            pair.login();
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

fn configs_with(padding: Padding) -> ClientConfig {
    let mut config = configs().0;
    config.padding = padding;
    config
}

#[test]
fn padding_leaves_few_lengths_and_readers_notice_nothing() {
    let block = Padding::Block(NonZeroU16::new(64).unwrap());
    let (none, padme, blocks) = (lengths(Padding::None), lengths(Padding::Padme), lengths(block));
    assert!(none.len() > 150, "{}", none.len());
    assert!(padme.len() < none.len() / 4, "{}", padme.len());
    assert!(blocks.len() <= 6 && blocks.iter().all(|len| (len - 24 - 16) % 64 == 0), "{blocks:?}");
}

/// The largest content that a service allows passes with every padding: padding gives way where the packet would be too large.
#[test]
fn padding_never_makes_a_message_too_large() {
    let huge = Padding::Block(NonZeroU16::new(u16::MAX).unwrap());
    let mut here = configs_with(huge);
    here.formats = here.formats.select(&[FormatId::JSON]);
    let mut pair = Pair::new(here, configs().1);
    pair.login();
    let content = vec![0xff; 32 * 1024];
    pair.client.send(pair.now, Message { content, ..Message::text("bob", "") }).unwrap();
    pair.settle();
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Message(m)) if m.content.len() == 32 * 1024));
}
