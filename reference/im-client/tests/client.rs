//! The library against a server in the same process, over TCP and WebSocket.
#![allow(clippy::wildcard_enum_match_arm, reason = "tests wait for one event each")]

mod support;

use std::time::Duration;

use im_client::{
    Client, CloseCode, Credentials, Event, FormatId, Message, Options, RefusalCode, SendFailure, ServerPublicKey,
    SuiteId,
};
use support::{Fault, TestServer, soon, until};
use tokio::net::TcpListener;

async fn a_message_is_stored_delivered_and_acked(server: TestServer, url: &str) {
    let (alice, mut alice_events) = server.client(url, "alice");
    let options = server.options(url, "bob").suites(&[SuiteId::CHACHA20_POLY1305]).formats(&[FormatId::JSON]);
    let (bob, mut bob_events) = Client::start(options).unwrap();

    let sent = soon(alice.send(Message::text("bob", "hello"))).await.unwrap();
    assert_eq!((sent.seq, sent.message_id, sent.conversation.id.as_str()), (1, 1001, "bob"));

    let negotiated = until(&mut bob_events, |event| match event {
        Event::Negotiated(negotiated) => Some(negotiated),
        _ => None,
    })
    .await;
    assert_eq!((negotiated.suite, negotiated.format_name), (SuiteId::CHACHA20_POLY1305, "json"));
    let delivery = until(&mut bob_events, |event| match event {
        Event::Message(delivery) => Some(delivery),
        _ => None,
    })
    .await;
    assert_eq!((delivery.from.as_str(), delivery.seq), ("alice", 1));
    assert_eq!(delivery.entry.content(), b"hello");
    bob.ack(delivery.token).await;
    soon(bob.close()).await;
    let acked = server.shared.acked.lock().unwrap().contains(&("alice".into(), 1));
    assert!(acked, "the ack goes out before the close");
    assert_eq!(soon(bob.send(Message::text("alice", "late"))).await, Err(SendFailure::Ended));

    soon(alice.close()).await;
    let closed = until(&mut alice_events, |event| match event {
        Event::Disconnected { closed, retry_in } => Some((closed.code, retry_in)),
        _ => None,
    })
    .await;
    assert_eq!(closed, (CloseCode::NORMAL, None));
    assert!(soon(alice_events.next()).await.is_none());
}

#[tokio::test]
async fn over_tcp_a_message_is_stored_delivered_and_acked() {
    let server = TestServer::start().await;
    let url = server.url();
    a_message_is_stored_delivered_and_acked(server, &url).await;
}

#[tokio::test]
async fn over_websocket_a_message_is_stored_delivered_and_acked() {
    let server = TestServer::start().await;
    let url = server.ws_url();
    a_message_is_stored_delivered_and_acked(server, &url).await;
}

async fn a_lost_connection_resends_with_the_same_id_and_stores_once(server: TestServer, url: &str) {
    server.fault(Fault::StoreThenDrop);
    let (alice, mut events) = server.client(url, "alice");
    let sent = soon(alice.send(Message::text("bob", "once"))).await.unwrap();
    assert_eq!(sent.seq, 1);
    assert_eq!(*server.shared.seen.lock().unwrap(), [sent.packet_id, sent.packet_id]);
    let retry_in = until(&mut events, |event| match event {
        Event::Disconnected { retry_in, .. } => Some(retry_in),
        _ => None,
    })
    .await;
    assert!(retry_in.is_some());
    let next = soon(alice.send(Message::text("bob", "twice"))).await.unwrap();
    assert_eq!(next.seq, 2, "the first was stored once");
}

#[tokio::test]
async fn over_tcp_a_lost_connection_resends_with_the_same_id_and_stores_once() {
    let server = TestServer::start().await;
    let url = server.url();
    a_lost_connection_resends_with_the_same_id_and_stores_once(server, &url).await;
}

#[tokio::test]
async fn over_websocket_a_lost_connection_resends_with_the_same_id_and_stores_once() {
    let server = TestServer::start().await;
    let url = server.ws_url();
    a_lost_connection_resends_with_the_same_id_and_stores_once(server, &url).await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_reached_and_what_was_queued_goes_out() {
    // Bound and dropped: nobody listens there for now.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = TestServer::start().await;
    let mut options = nobody.options(&format!("tcp://{address}"), "alice");
    options.config.reconnect.max = Duration::from_millis(50);
    let (alice, mut events) = Client::start(options.clone()).unwrap();
    let error = until(&mut events, |event| match event {
        Event::DialFailed { error, retry_in } => Some((error, retry_in.is_some())),
        _ => None,
    })
    .await;
    assert!(error.1 && error.0.to_lowercase().contains("refused"), "{error:?}");
    drop(alice);
    // The last handle ends the client, and so its events.
    soon(async { while events.next().await.is_some() {} }).await;

    let server = TestServer::start().await;
    options.config.server_keys = vec![server.key];
    // A relay that begins to listen when the test says so stands for a server that starts late.
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate_address = gate.local_addr().unwrap();
    drop(gate);
    options.url = format!("tcp://{gate_address}").parse().unwrap();
    let (alice, mut events) = Client::start(options).unwrap();
    let sent = alice.submit(Message::text("bob", "early")).await.unwrap();
    let failed = |event| matches!(event, Event::DialFailed { .. }).then_some(());
    until(&mut events, failed).await;
    let gate = TcpListener::bind(gate_address).await.unwrap();
    let target = server.address;
    tokio::spawn(async move {
        let (mut near, _) = gate.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    });
    assert_eq!(soon(sent).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_replaced_device_does_not_come_back_and_a_restarting_server_is_called_again() {
    let server = TestServer::start().await;
    let (alice, mut events) = server.client(&server.url(), "alice");
    let logged_in = |event| matches!(event, Event::LoggedIn { .. }).then_some(());
    until(&mut events, logged_in).await;
    server.close_all(CloseCode::GOING_AWAY);
    until(&mut events, logged_in).await;
    server.close_all(CloseCode::REPLACED);
    let (closed, retry_in) = until(&mut events, |event| match event {
        Event::Disconnected { closed, retry_in } => Some((closed, retry_in)),
        _ => None,
    })
    .await;
    assert_eq!((closed.code, closed.authenticated, retry_in), (CloseCode::REPLACED, true, None));
    assert!(soon(events.next()).await.is_none());
    assert_eq!(*server.shared.connections.lock().unwrap(), 2);
    assert_eq!(soon(alice.send(Message::text("bob", "x"))).await, Err(SendFailure::Ended));
}

#[tokio::test]
async fn a_wrong_server_key_is_told_and_a_refused_login_ends() {
    let server = TestServer::start().await;
    let alice = Credentials { user: "alice".into(), device: "test".into(), token: "wrong".into() };
    let wrong = ServerPublicKey::from_bytes([9; 32]);
    let options = Options::new(server.url().parse().unwrap(), wrong, alice.clone()).reconnect(false);
    let (_client, mut events) = Client::start(options).unwrap();
    let disconnected = |event| match event {
        Event::Disconnected { closed, retry_in: None } => Some(closed),
        _ => None,
    };
    let closed = until(&mut events, disconnected).await;
    assert!(closed.code == CloseCode::HANDSHAKE_FAILED && closed.reason.contains("pinned keys"), "{closed}");

    let options = Options::new(server.url().parse().unwrap(), server.key, alice);
    let (_client, mut events) = Client::start(options).unwrap();
    let closed = until(&mut events, disconnected).await;
    assert_eq!((closed.code, closed.authenticated), (CloseCode::LOGIN_REFUSED, true));
    assert!(soon(events.next()).await.is_none());
}

#[tokio::test]
async fn what_cannot_be_sent_fails_by_name_and_the_rest_goes_on() {
    let server = TestServer::start().await;
    server.fault(Fault::Refuse);
    let (alice, _events) = server.client(&server.url(), "alice");
    let refused = soon(alice.send(Message::text("bob", "x"))).await;
    let reason = "bob does not want it".to_owned();
    assert_eq!(refused, Err(SendFailure::Refused { code: RefusalCode::FORBIDDEN, reason }));
    let large = "x".repeat(40_000);
    assert_eq!(soon(alice.send(Message::text("bob", &large))).await, Err(SendFailure::TooLarge { max: 32 * 1024 }));
    assert_eq!(soon(alice.send(Message::text("", "x"))).await, Err(SendFailure::InvalidTarget));
    assert_eq!(soon(alice.send(Message::text("bob", "y"))).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_consumer_that_does_not_read_stalls_deliveries_and_nothing_else() {
    let server = TestServer::start().await;
    let mut options = server.options(&server.url(), "bob");
    options.config.receive_max = 4;
    let (bob, mut bob_events) = Client::start(options).unwrap();
    let mut options = server.options(&server.url(), "alice");
    // A small outbox: most of the messages wait for room.
    options.config.outbox_bytes = 8 * 1024;
    let (alice, _unread) = Client::start(options).unwrap();
    let mut pending = Vec::new();
    for i in 0..200 {
        pending.push(soon(alice.submit(Message::text("bob", &format!("{i}")))).await.unwrap());
    }
    for (sent, seq) in pending.into_iter().zip(1..) {
        assert_eq!(soon(sent).await.unwrap().seq, seq, "in the order in which they were submitted");
    }
    // Bob's window is full and his events are unread, yet his own message gets its outcome.
    assert_eq!(soon(bob.send(Message::text("carol", "hi"))).await.unwrap().seq, 1);
    for want in 1..=200 {
        let delivery = until(&mut bob_events, |event| match event {
            Event::Message(delivery) => Some(delivery),
            _ => None,
        })
        .await;
        assert_eq!((delivery.seq, delivery.entry.content()), (want, format!("{}", want - 1).as_bytes()));
        bob.ack(delivery.token).await;
    }
}
