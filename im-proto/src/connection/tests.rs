//! Bundles, from what a peer can put into one.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]

use alloc::sync::Arc;
use alloc::vec;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::{ClientConfig, Conversation, Credentials, Entropy, FormatId, Message, RUSTCRYPTO, ServerConfig, ServerKey};

fn entropy(seed: u64) -> Entropy {
    Entropy::from_rng(&mut ChaCha20Rng::seed_from_u64(seed)).unwrap()
}

struct Ends {
    client: Connection<Client>,
    server: Connection<Server>,
}

/// Both ends, logged in; the server's side of the log is empty.
fn online() -> Ends {
    online_with(ClientConfig::new(&RUSTCRYPTO, key().public(), alice()).receive_bytes)
}

fn key() -> ServerKey {
    ServerKey::from_bytes([7; 32], &RUSTCRYPTO).unwrap()
}

fn alice() -> Credentials {
    Credentials { user: "alice".into(), device: "phone".into(), token: String::new() }
}

fn online_with(receive_bytes: u32) -> Ends {
    let now = Instant::default();
    let key = key();
    let mut config = ClientConfig::new(&RUSTCRYPTO, key.public(), alice());
    config.receive_bytes = receive_bytes;
    config.formats = config.formats.select(&[FormatId::PROTOBUF]);
    let mut client = Connection::client(config, 1).unwrap();
    let server = ServerConfig::new(&RUSTCRYPTO, key);
    let server = Connection::server(Arc::new(server), entropy(2), now).unwrap();
    client.connect(entropy(1), now).unwrap();
    let mut ends = Ends { client, server };
    for _ in 0..4 {
        up(&mut ends);
        while let Some(event) = ends.server.poll_event() {
            match event {
                ServerEvent::Login(_) => ends.server.accept_login(now, "alice", 0).unwrap(),
                ServerEvent::Unread { .. } => ends.server.unread(&[], true).unwrap(),
                _ => {}
            }
        }
        down(&mut ends);
        while ends.client.poll_event().is_some() {}
    }
    assert_eq!((ends.client.state(), ends.server.state()), (State::Online, State::Online));
    ends
}

/// Hands over packet by packet; their lengths.
fn hand<A: Role, B: Role>(from: &mut Connection<A>, to: &mut Connection<B>, max: usize) -> Vec<usize> {
    let (now, mut lens) = (Instant::default(), Vec::new());
    let mut packet = Vec::new();
    while from.poll_transmit(now, &mut packet, max).is_some() {
        lens.push(packet.len());
        assert!(packet.len() <= max);
        assert_eq!(to.handle_input(now, &mut packet), packet.len());
        packet.clear();
        if to.state() == State::Online {
            break;
        }
    }
    lens
}

fn up(ends: &mut Ends) -> Vec<usize> {
    hand(&mut ends.client, &mut ends.server, usize::MAX)
}

fn down(ends: &mut Ends) -> Vec<usize> {
    hand(&mut ends.server, &mut ends.client, usize::MAX)
}

fn item(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let mut item = vec![kind];
    item.extend(id.to_be_bytes());
    item.extend((body.len() as u16).to_be_bytes());
    item.extend(body);
    item
}

fn send(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let send = im_serial::body::Send { to: Conversation::private("bob"), content_type: 1, content: text.into() };
    let registry = im_serial::Registry::default();
    registry.get(FormatId::PROTOBUF).unwrap().encode(&send.into(), &mut bytes).unwrap();
    bytes
}

fn texts(server: &mut Connection<Server>) -> Vec<(u64, Vec<u8>)> {
    let text = |event| match event {
        ServerEvent::Message(message) => Some((message.packet_id.0, message.content)),
        _ => None,
    };
    core::iter::from_fn(|| server.poll_event()).filter_map(text).collect()
}

#[test]
fn what_waits_together_goes_together_in_order_and_within_every_limit() {
    for (max, most, fewest, expected) in [(usize::MAX, 36, 20, 2), (1200, 10, 6, 7), (200, 1, 1, 60)] {
        let mut ends = online();
        let ids: Vec<_> = (0..60u8)
            .map(|n| {
                ends.client
                    .send(Instant::default(), Message::text("bob", &"x".repeat(100 + usize::from(n) % 9)))
                    .unwrap()
                    .0
            })
            .collect();
        let (mut got, mut packets) = (Vec::new(), 0);
        while got.len() < ids.len() {
            assert_eq!(hand(&mut ends.client, &mut ends.server, max).len(), 1);
            packets += 1;
            let texts = texts(&mut ends.server);
            assert!(texts.len() <= most, "{}", texts.len());
            assert!(texts.len() >= fewest || got.len() + texts.len() == ids.len(), "{}", texts.len());
            got.extend(texts.into_iter().map(|(id, _)| id));
        }
        assert_eq!(got, ids);
        assert!(packets <= expected + 1, "{packets} packets");
    }
}

#[test]
fn a_long_body_stands_alone_and_a_short_one_behind_it_waits_for_the_next_packet() {
    let mut ends = online();
    for len in [10, 5000, 10, 10] {
        ends.client.send(Instant::default(), Message::text("bob", &"x".repeat(len))).unwrap();
    }
    let mut counts = Vec::new();
    for _ in 0..3 {
        hand(&mut ends.client, &mut ends.server, usize::MAX);
        counts.push(texts(&mut ends.server).len());
    }
    assert_eq!(counts, [1, 1, 2]);
}

#[test]
fn a_bundle_is_its_bodies_one_after_the_other() {
    let mut ends = online();
    let bundle = [item(32, 5, &send("a")), item(32, 6, &send("b"))].concat();
    ends.server.bundle(Instant::default(), &bundle).unwrap();
    assert_eq!(texts(&mut ends.server), [(5, b"a".to_vec()), (6, b"b".to_vec())]);
}

#[test]
fn what_is_not_a_bundle_is_refused_by_the_body_that_is_at_fault() {
    let good = item(32, 5, &send("a"));
    let many = |n: usize| good.repeat(n);
    for (bundle, at) in [
        (Vec::new(), 0),
        (vec![32], 0),
        (good[..good.len() - 1].to_vec(), 0),
        ([good.clone(), vec![0]].concat(), 1),
        (many(65), 64),
        // What is about the connection itself stands alone, and a bundle is not in a bundle.
        (item(16, 0, b""), 0),
        ([good.clone(), item(18, 0, b"")].concat(), 1),
        (item(19, 0, b""), 0),
        (item(21, 0, &[0]), 0),
    ] {
        let mut ends = online();
        let error = ends.server.bundle(Instant::default(), &bundle).unwrap_err();
        assert_eq!(
            (error, error.close_code(), error.fault()),
            (Error::Bundle { at }, CloseCode::PROTOCOL, Fault::PeerViolated)
        );
    }
    let mut ends = online();
    ends.server.bundle(Instant::default(), &many(64)).unwrap();
    let nested = item(MessageType::BUNDLE.0, 0, &good);
    let error = ends.server.bundle(Instant::default(), &nested).unwrap_err();
    assert_eq!(error, Error::Unexpected { got: MessageType::BUNDLE, state: State::Online });
    let garbage = item(32, 5, &[0xff; 9]);
    assert!(matches!(ends.server.bundle(Instant::default(), &garbage), Err(Error::Body(_))));
}

#[test]
fn a_close_says_when_to_come_back_and_the_client_waits_that_long_once() {
    let mut ends = online();
    let now = Instant::default();
    ends.server.close_for(now, CloseCode::GOING_AWAY, "restart", Duration::from_micros(40_000_001));
    down(&mut ends);
    let Some(ClientEvent::Closed(closed)) = ends.client.poll_event() else { panic!("it is closed") };
    assert_eq!(closed.retry_after, Some(Duration::from_millis(40_001)), "rounded up");
    assert!(ends.client.reconnect_delay() >= Duration::from_millis(40_001));
    assert!(ends.client.reconnect_delay() < Duration::from_secs(30), "only its own back-off");
}

#[test]
fn a_wait_is_followed_for_an_hour_at_most() {
    let mut ends = online();
    ends.server.close_for(Instant::default(), CloseCode::GOING_AWAY, "restart", Duration::MAX);
    down(&mut ends);
    while ends.client.poll_event().is_some() {}
    assert_eq!(ends.client.reconnect_delay(), Duration::from_secs(3600));
}

fn deliver(ends: &mut Ends, seq: u64, bytes: usize) -> Result<(), Error> {
    let conversation = Conversation::private("bob");
    let content = vec![0; bytes];
    let body = im_serial::body::Deliver { conversation, seq, content, from: "bob".into(), ..Default::default() };
    let Connection { core, role, events } = &mut ends.client;
    role.on_body(core, events, Instant::default(), 0, body.into())
}

#[test]
fn a_server_that_goes_beyond_the_byte_credit_is_in_error() {
    let mut ends = online_with(100);
    assert_eq!(deliver(&mut ends, 1, 0), Ok(()));
    assert_eq!(deliver(&mut ends, 2, 1000), Ok(()), "one content may be larger than the credit");
    assert_eq!(deliver(&mut ends, 3, 0), Ok(()));
    let error = deliver(&mut ends, 4, 1).unwrap_err();
    assert_eq!(error, Error::ReceiveBytes { max: 100 });
    assert_eq!((error.fault(), error.close_code()), (Fault::PeerViolated, CloseCode::PROTOCOL));
}

#[test]
fn what_the_application_acked_is_credit_again() {
    let mut ends = online_with(100);
    for seq in 1..=20 {
        assert_eq!(deliver(&mut ends, seq, 60), Ok(()));
        let Some(ClientEvent::Message(delivery)) = ends.client.poll_event() else { panic!("a delivery") };
        ends.client.ack(delivery.token);
    }
}
