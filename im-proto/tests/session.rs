//! One session looked at closely: login, heartbeat, closing, back-pressure, any order of calls.

use std::time::Duration;

use im_proto::*;
use im_sim::{Pair, configs};

fn online() -> Pair {
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    pair.login();
    assert_eq!((pair.client.state(), pair.server.state()), (State::Online, State::Online));
    pair.client_events.clear();
    pair.server_events.clear();
    pair
}

fn item(seq: u64, text: &str) -> FeedItem {
    FeedItem { seq, message_id: seq, time_ms: 0, from: "bob".into(), own: false, entry: Entry::text(text) }
}

#[test]
fn both_sides_agree_on_suite_format_and_transcript_for_every_combination() {
    for suite in [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305] {
        for format in [FormatId::JSON, FormatId::PROTOBUF, FormatId::MSGPACK] {
            let (mut client, server) = configs();
            client.suites = vec![suite];
            client.formats = client.formats.select(&[format]);
            let mut pair = Pair::new(client, server);
            pair.login();
            let Some(ClientEvent::Negotiated(here)) = pair.client_events.first() else { panic!() };
            let Some(ServerEvent::Negotiated(there)) = pair.server_events.first() else { panic!() };
            assert_eq!((here, here.suite, here.format), (there, suite, format));
        }
    }
}

#[test]
fn a_client_pings_a_quiet_server_and_a_silent_peer_is_closed_within_the_stated_bound() {
    let mut pair = online();
    for _ in 0..20 {
        let (at, timer) = pair.client.poll_timeout().unwrap();
        assert_eq!(timer, Timer::Ping);
        pair.now = at;
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
        pair.settle();
        assert!(pair.client.poll_timeout().unwrap().0 > pair.now);
    }
    assert_eq!((pair.client.stats().pings, pair.server.state()), (20, State::Online));
    // From here on nothing arrives.
    let heard = pair.now;
    while pair.server.state() == State::Online {
        let (at, _) = pair.server.poll_timeout().unwrap();
        assert!(at > pair.now || at == heard + Duration::from_secs(60));
        pair.now = at;
        pair.server.handle_timeout(at);
    }
    assert_eq!(pair.now, heard + Duration::from_secs(60));
    pair.to_client.clear();
    while pair.client.state() == State::Online {
        let (at, _) = pair.client.poll_timeout().unwrap();
        pair.client.handle_timeout(at);
        while pair.client.poll_transmit(at, &mut pair.to_server, usize::MAX).is_some() {}
        assert!(at <= heard + Duration::from_secs(60), "the client waits no longer than it was told");
    }
}

#[test]
fn a_message_is_stored_answered_and_known_by_its_packet_id() {
    let mut pair = online();
    let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
    pair.settle();
    let Some(ServerEvent::Message(message)) = pair.server_events.pop() else { panic!() };
    assert_eq!((message.packet_id, message.content.as_slice()), (id, b"hello".as_slice()));
    assert_eq!(pair.client.unanswered(), 1);
    pair.server.stored(id, &message.to, 900, 1, 5, false).unwrap();
    assert_eq!(pair.server.stored(id, &message.to, 900, 1, 5, false), Err(AnswerError::NotAsked));
    pair.settle();
    let stored = ClientEvent::Stored { packet_id: id, conversation: message.to, message_id: 900, seq: 1, time_ms: 5 };
    assert_eq!(pair.client_events.pop(), Some(stored));
    assert_eq!((pair.client.unanswered(), pair.client.buffered()), (0, 0));
}

#[test]
fn a_refusal_is_final_or_tried_again_as_the_server_says() {
    let mut pair = online();
    let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
    pair.settle();
    pair.server.refused(id, RefusalCode::STORE, "the disk is full", true).unwrap();
    pair.settle();
    assert_eq!(pair.client.unanswered(), 1);
    let again = |pair: &Pair| pair.server_events.iter().filter(|e| matches!(e, ServerEvent::Message(_))).count();
    assert_eq!(again(&pair), 1);
    let (at, timer) = pair.client.poll_timeout().unwrap();
    assert_eq!(timer, Timer::Retry);
    pair.now = at;
    pair.client.handle_timeout(at);
    pair.settle();
    assert_eq!(again(&pair), 2);
    pair.server.refused(id, RefusalCode::CONFLICT, "used before", false).unwrap();
    pair.settle();
    let Some(ClientEvent::Refused { code, .. }) = pair.client_events.pop() else { panic!() };
    assert_eq!((code, pair.client.unanswered()), (RefusalCode::CONFLICT, 0));
}

#[test]
fn a_server_reads_no_further_than_its_answers_allow() {
    let (client, mut server) = configs();
    server.send_max = 2;
    let mut pair = Pair::new(client, server);
    pair.login();
    for n in 0..5 {
        pair.client.send(pair.now, Message::text("bob", &n.to_string())).unwrap();
    }
    pair.settle();
    let messages = |pair: &Pair| pair.server_events.iter().filter(|e| matches!(e, ServerEvent::Message(_))).count();
    assert_eq!(messages(&pair), 2, "the client was told of the window");
    assert!(!pair.server.wants_read());
    // A client that ignores the window is held back, not obeyed: its bytes stay where they are.
    pair.to_server.extend_from_slice(&[0x66; 30]);
    pair.receive();
    assert_eq!(pair.to_server.len(), 30);
}

#[test]
fn nothing_is_taken_while_events_wait_and_nothing_is_lost_by_it() {
    let mut pair = online();
    for n in 0..3 {
        pair.client.send(pair.now, Message::text("bob", &n.to_string())).unwrap();
    }
    pair.transmit();
    let n = pair.server.handle_input(pair.now, &mut pair.to_server);
    assert!(n > 0);
    pair.to_server.drain(..n);
    for _ in 0..3 {
        assert_eq!(pair.server.handle_input(pair.now, &mut pair.to_server), 0);
    }
    pair.receive();
    assert_eq!(pair.server_events.len(), 3);
}

#[test]
fn transmit_writes_whole_packets_within_the_callers_limit() {
    let mut pair = online();
    pair.client.send(pair.now, Message::text("bob", &"x".repeat(500))).unwrap();
    let mut out = Vec::new();
    for max in 0..400 {
        assert_eq!(pair.client.poll_transmit(pair.now, &mut out, max), None);
        assert!(out.is_empty());
    }
    let sent = pair.client.poll_transmit(pair.now, &mut out, 700).unwrap();
    assert_eq!(sent.len, out.len());
    pair.to_server = out;
    pair.receive();
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Message(m)) if m.content.len() == 500));
}

#[test]
fn deliveries_come_in_order_and_their_acks_come_back() {
    let mut pair = online();
    let bob = Conversation::private("bob");
    pair.server.notify(&bob, 3);
    pair.receive();
    let fetch = ServerEvent::Fetch { conversation: bob.clone(), after: None, max_messages: 64, max_bytes: 128 * 1024 };
    assert_eq!(pair.server_events.pop(), Some(fetch));
    pair.server.fetched(&bob, 0, vec![item(1, "a"), item(2, "b"), item(3, "c")]).unwrap();
    pair.settle();
    let mut texts = Vec::new();
    for event in std::mem::take(&mut pair.client_events) {
        let ClientEvent::Message(delivery) = event else { panic!("{event:?}") };
        texts.push(String::from_utf8(delivery.entry.content().to_vec()).unwrap());
        pair.client.ack(delivery.token);
    }
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!(pair.server.unacked(), 3);
    pair.settle();
    assert_eq!(
        pair.server_events,
        [ServerEvent::Delivered { conversation: bob, up_to: 3, epoch: 0 }],
        "one ack for all three"
    );
    assert_eq!(pair.server.unacked(), 0);
}

#[test]
fn an_answer_does_not_overtake_the_deliveries_before_it() {
    let mut pair = online();
    let bob = Conversation::private("bob");
    pair.server.notify(&bob, 1);
    pair.receive();
    assert!(matches!(pair.server_events.last(), Some(ServerEvent::Fetch { .. })));
    pair.server.fetched(&bob, 0, vec![item(1, "first")]).unwrap();
    // A slow reader: the delivery waits while the client's own message is stored behind it.
    let id = pair.client.send(pair.now, Message::text("bob", "second")).unwrap();
    assert!(pair.client.poll_transmit(pair.now, &mut pair.to_server, usize::MAX).is_some());
    pair.receive();
    pair.server.stored(id, &bob, 2, 2, 0, false).unwrap();
    pair.settle();
    let took_first = pair.client_events.iter().any(|event| matches!(event, ClientEvent::Message(m) if m.seq == 1));
    assert!(took_first, "{:?}", pair.client_events);
}

#[test]
fn a_close_lets_answers_and_acks_out_first() {
    let mut pair = online();
    let bob = Conversation::private("bob");
    pair.server.notify(&bob, 1);
    pair.receive();
    pair.server.fetched(&bob, 0, vec![item(1, "a")]).unwrap();
    pair.settle();
    let Some(ClientEvent::Message(delivery)) = pair.client_events.pop() else { panic!() };
    pair.server_events.clear();
    pair.client.ack(delivery.token);
    pair.client.close(pair.now, CloseCode::NORMAL, "done");
    assert_eq!(pair.client.state(), State::Closing);
    pair.settle();
    assert!(matches!(
        &pair.server_events[..],
        [ServerEvent::Delivered { up_to: 1, .. }, ServerEvent::Closed(Closed { code: CloseCode::NORMAL, .. })]
    ));
    assert_eq!(pair.client.state(), State::Offline);
    assert!(matches!(pair.client_events.pop(), Some(ClientEvent::Closed(c)) if c.by == ClosedBy::Local));
    assert!(pair.client.connect(im_sim::entropy(9), pair.now).is_ok(), "a client may come back");
}

#[test]
fn commands_on_a_closed_connection_say_so() {
    let mut pair = online();
    pair.server.close(pair.now, CloseCode::REPLACED, "the same device logged in elsewhere");
    pair.settle();
    assert_eq!(pair.server.state(), State::Closed);
    let bob = Conversation::private("bob");
    let closed = Err(AnswerError::State(State::Closed));
    assert_eq!(pair.server.stored(PacketId(1), &bob, 1, 1, 1, false), closed);
    assert_eq!(pair.server.accept_login(pair.now, "alice", 0), closed);
    pair.server.notify(&bob, 9);
    pair.server.handle_eof(pair.now);
    pair.server.handle_timeout(pair.now + Duration::from_secs(99));
    assert_eq!((pair.server.poll_event(), pair.server.poll_timeout()), (None, None));
    assert_eq!(pair.server.handle_input(pair.now, &mut [1, 2, 3]), 3);
    let Some(ClientEvent::Closed(closed)) = pair.client_events.pop() else { panic!() };
    assert!(closed.code == CloseCode::REPLACED && !closed.may_reconnect());
}

#[test]
fn a_clock_that_jumps_never_panics_and_a_jump_back_closes_nothing() {
    let mut pair = online();
    for now in [Instant::default(), Instant::from_micros(u64::MAX), Instant::default()] {
        pair.now = now;
        let _ = pair.client.send(now, Message::text("bob", "x"));
        pair.client.handle_timeout(now);
        pair.server.handle_timeout(now);
        if now == Instant::default() && pair.client.state() == State::Online {
            pair.settle();
            assert_eq!(pair.server.state(), State::Online);
        }
    }
}

#[test]
fn content_over_the_limit_and_bad_targets_come_back() {
    let mut pair = online();
    let big = Message { content: vec![0; 32 * 1024 + 1], ..Message::text("bob", "") };
    assert!(matches!(pair.client.send(pair.now, big), Err(SendError::TooLarge { max: 32_768, .. })));
    for name in ["", "a\nb", &"x".repeat(129)] {
        let bad = Message::text(name, "hi");
        assert_eq!(pair.client.send(pair.now, bad.clone()), Err(SendError::InvalidTarget(bad)));
    }
    let largest = Message { content: vec![0xff; 32 * 1024], ..Message::text(&"x".repeat(128), "") };
    assert!(pair.client.send(pair.now, largest).is_ok());
    pair.settle();
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Message(_))));
}

#[test]
fn a_close_before_the_login_takes_no_acks_along() {
    let mut pair = online();
    let bob = Conversation::private("bob");
    pair.server.notify(&bob, 1);
    pair.receive();
    pair.server.fetched(&bob, 0, vec![item(1, "a")]).unwrap();
    pair.settle();
    let Some(ClientEvent::Message(delivery)) = pair.client_events.pop() else { panic!() };

    // The transport is lost, and the application acks while the next handshake is under way.
    pair.client.handle_eof(pair.now);
    let (_, config) = configs();
    pair.server = Connection::server(config.into(), im_sim::entropy(5), pair.now).unwrap();
    pair.server_events.clear();
    pair.client.connect(im_sim::entropy(6), pair.now).unwrap();
    pair.client.ack(delivery.token);
    pair.transmit();
    pair.receive();
    pair.transmit_server();
    pair.receive();
    assert_eq!(pair.client.state(), State::LoggingIn);
    pair.client.close(pair.now, CloseCode::NORMAL, "changed my mind");
    pair.settle();
    let Some(ServerEvent::Closed(closed)) = pair.server_events.pop() else { panic!("{:?}", pair.server_events) };
    assert_eq!((closed.code, closed.by), (CloseCode::NORMAL, ClosedBy::Peer));
}

/// Small limits at both ends, or at one: the keys change many times, the messages notice nothing, and nobody closes.
#[test]
fn a_long_session_crosses_key_updates_without_closing() {
    let small = KeyLimits::lowered(70, 200);
    for (at_client, at_server) in [(true, true), (true, false), (false, true)] {
        let (mut client, mut server) = configs();
        client.receive_max = 0;
        if at_client {
            client.key_limits = small;
        }
        if at_server {
            server.key_limits = small;
        }
        let mut pair = Pair::new(client, server);
        pair.login();
        let bob = Conversation::private("bob");
        for seq in 1..=2000 {
            let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
            pair.settle();
            pair.server.stored(id, &bob, seq, seq, 0, false).unwrap();
            pair.settle();
            assert!(matches!(pair.client_events.pop(), Some(ClientEvent::Stored { seq: last, .. }) if last == seq));
        }
        assert_eq!((pair.client.state(), pair.server.state()), (State::Online, State::Online));
        let updates = [pair.client.stats().key_updates, pair.server.stats().key_updates];
        // 2000 packets each way at 70 to a key; a side with wide limits updates because the other asks, after twice its own limit.
        let expected = match (at_client, at_server) {
            (true, true) => 28..=29,
            _ => 12..=43,
        };
        assert!(updates.iter().all(|updates| expected.contains(updates)), "{updates:?}");
    }
}

/// Where no update can keep it away, the hard limit ends the connection, and the peer is told.
#[test]
fn the_hard_limit_still_closes_with_its_code() {
    let (mut client, server) = configs();
    client.receive_max = 0;
    client.key_limits = KeyLimits::lowered(50, 60);
    let mut pair = Pair::new(client, server);
    pair.login();
    let bob = Conversation::private("bob");
    let mut sent = 0;
    while pair.client.state() == State::Online {
        sent += 1;
        let id = pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
        pair.settle();
        if pair.server.state() == State::Online {
            pair.server.stored(id, &bob, sent, sent, 0, false).unwrap();
        }
        pair.settle();
    }
    assert!((35..60).contains(&sent), "{sent}");
    let Some(ServerEvent::Closed(closed)) = pair.server_events.pop() else { panic!() };
    assert_eq!((closed.code, closed.by, closed.authenticated), (CloseCode::KEY_LIMIT, ClosedBy::Peer, true));
    assert!(closed.may_reconnect());
}

#[test]
fn a_key_is_not_used_for_more_than_an_hour() {
    let mut pair = online();
    let start = pair.now;
    let mut last = 0;
    while pair.now < start + Duration::from_secs(3 * 3600 + 60) {
        let (at, _) = pair.client.poll_timeout().unwrap();
        pair.now = at;
        pair.client.handle_timeout(at);
        pair.server.handle_timeout(at);
        pair.settle();
        let (client, server) = (pair.client.stats().key_updates, pair.server.stats().key_updates);
        assert_eq!((client, server), (client, client), "both sides have an hour");
        assert!(client == last || client == last + 1);
        last = client;
    }
    assert_eq!((last, pair.client.state(), pair.server.state()), (3, State::Online, State::Online));
}

/// A packet of an old epoch, after the update: final, like every other packet that is not the next one.
#[test]
fn a_packet_of_an_old_epoch_ends_the_session() {
    let (mut client, server) = configs();
    client.receive_max = 0;
    client.key_limits = KeyLimits::lowered(4, 60);
    let mut pair = Pair::new(client, server);
    pair.login();
    let mut old = Vec::new();
    pair.client.send(pair.now, Message::text("bob", "first")).unwrap();
    while pair.client.poll_transmit(pair.now, &mut old, usize::MAX).is_some() {}
    pair.to_server.extend(&old);
    for _ in 0..4 {
        pair.client.send(pair.now, Message::text("bob", "next")).unwrap();
        pair.settle();
    }
    assert!(pair.client.stats().key_updates > 0);
    assert_eq!(pair.server.state(), State::Online);
    pair.to_server.extend(&old);
    pair.receive();
    assert_eq!(pair.server.state(), State::Closing);
}
