//! Sealed messages between two real ends: opaque, one entry, to each device its own part.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use im_proto::*;
use im_sim::{Pair, configs, credentials};

fn online() -> Pair {
    let (client, server) = configs();
    Pair::online(client, server)
}

fn bob() -> Conversation {
    Conversation::private("bob")
}

fn message(parts: &[(&str, &str, &[u8])]) -> SealedMessage {
    SealedMessage { to: bob(), content_type: 1, parts: SealedParts::new(parts).unwrap() }
}

fn refusal(pair: &mut Pair) -> (PacketId, RefusalCode, String) {
    match pair.client_events.pop() {
        Some(ClientEvent::Refused { packet_id, code, reason }) => (packet_id, code, reason),
        other => panic!("{other:?}"),
    }
}

/// What a device of bob gets of a sealed message of alice.
fn delivered(device: &str, parts: &SealedParts) -> Delivery {
    let (mut client, server) = configs();
    client.credentials = credentials("bob", device);
    let mut pair = Pair::new(client, server);
    pair.settle();
    pair.server.accept_login(pair.now, "bob", 0).unwrap();
    pair.settle();
    let alice = Conversation::private("alice");
    pair.server.unread(&[(alice.clone(), 1)], true).unwrap();
    pair.settle();
    pair.client_events.clear();
    let entry = parts.entry(1, "bob", device);
    let item = FeedItem { seq: 1, message_id: 9, time_ms: 5, from: "alice".into(), own: false, entry };
    pair.server.fetched(&alice, 0, vec![item]).unwrap();
    pair.settle();
    match pair.client_events.pop() {
        Some(ClientEvent::Message(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_device_gets_its_own_part_and_no_other() {
    let mut pair = online();
    let sent = message(&[("bob", "phone", b"for the phone"), ("bob", "desk", b"for the desk")]);
    let id = pair.client.send_sealed(pair.now, sent.clone()).unwrap();
    pair.settle();
    let Some(ServerEvent::Sealed(submission)) = pair.server_events.pop() else { panic!() };
    let SealedSubmission { packet_id, to, content_type, parts } = submission;
    assert_eq!((packet_id, &to, content_type, &parts), (id, &bob(), 1, &sent.parts));
    pair.server.stored(id, &bob(), 9, 1, 5, false).unwrap();
    pair.settle();
    assert!(matches!(pair.client_events.pop(), Some(ClientEvent::Stored { packet_id, seq: 1, .. }) if packet_id == id));

    let stored = SealedParts::from_bytes(parts.as_bytes().to_vec()).unwrap();
    for (device, want) in [
        ("phone", Entry::Sealed { content_type: 1, part: b"for the phone".to_vec() }),
        ("desk", Entry::Sealed { content_type: 1, part: b"for the desk".to_vec() }),
        ("tablet", Entry::NotForDevice { content_type: 1 }),
    ] {
        let delivery = delivered(device, &stored);
        assert!(delivery.counts_as_unread(), "whether this device can read it or not");
        assert_eq!(delivery.entry, want);
    }
}

#[test]
fn it_is_sent_again_with_the_same_identity_and_the_same_bytes() {
    let mut pair = online();
    let sent = message(&[("bob", "phone", b"x"), ("alice", "desk", b"y")]);
    let id = pair.client.send_sealed(pair.now, sent.clone()).unwrap();
    pair.settle();
    let first = pair.server_events.pop();
    pair.client.handle_eof(pair.now);
    pair.server = Connection::server(configs().1.into(), im_sim::entropy(5), pair.now).unwrap();
    pair.client.connect(im_sim::entropy(6), pair.now).unwrap();
    pair.to_client.clear();
    pair.to_server.clear();
    pair.server_events.clear();
    pair.login();
    let again = pair.server_events.pop();
    assert_eq!(again, first);
    assert!(
        matches!(again, Some(ServerEvent::Sealed(message)) if message.packet_id == id && message.parts == sent.parts)
    );
}

#[test]
fn limits_are_refused_by_name() {
    let (client, mut server) = configs();
    (server.sealed_parts_max, server.sealed_part_bytes) = (2, 100);
    let mut pair = Pair::online(client, server);
    let part = [7; 101];
    for (parts, code, word) in [
        (message(&[("a", "1", b""), ("a", "2", b""), ("a", "3", b"")]), RefusalCode::TOO_LARGE, "2 parts"),
        (message(&[("a", "1", &part)]), RefusalCode::TOO_LARGE, "100 bytes"),
        (SealedMessage { to: Conversation::room("show"), ..message(&[("a", "1", b"")]) }, RefusalCode::INVALID, "room"),
        (
            SealedMessage { to: Conversation::notices("x"), ..message(&[("a", "1", b"")]) },
            RefusalCode::FORBIDDEN,
            "notices",
        ),
    ] {
        let id = pair.client.send_sealed(pair.now, parts).unwrap();
        pair.settle();
        let (packet_id, got, reason) = refusal(&mut pair);
        assert!((packet_id, got) == (id, code) && reason.contains(word), "{got} {reason}");
    }
    assert_eq!(pair.server_events, []);
    assert_eq!(pair.client.unanswered(), 0);
    let large = message(&[("bob", "phone", &[0; 32 * 1024])]);
    assert_eq!(
        pair.client.send_sealed(pair.now, large.clone()),
        Err(SendError::TooLarge { message: large, max: 32 * 1024 })
    );
    let nobody = SealedMessage { to: Conversation::group(""), ..message(&[("a", "1", b"")]) };
    assert_eq!(pair.client.send_sealed(pair.now, nobody.clone()), Err(SendError::InvalidTarget(nobody)));
}
