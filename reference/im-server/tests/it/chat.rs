//! What users see: messages arrive, in order, once, over every transport, also when they were offline.

use crate::common::{Peer, TestServer, within};
use im_proto::{ClientConfig, ClientEvent, CloseCode, Credentials, Message, RUSTCRYPTO, RefusalCode};

#[tokio::test]
async fn two_users_chat_over_tcp_and_websocket() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = Peer::offline(server.server.public_key(), "bob", "web", "");
    bob.connect_ws(server.address).await;
    bob.logged_in().await;

    let id = alice.send("bob", "hello");
    assert_eq!(alice.stored().await, (id, 1));
    let delivery = bob.message().await;
    assert_eq!((delivery.from.as_str(), delivery.seq, &*delivery.content), ("alice", 1, b"hello".as_slice()));
    let id = bob.send("alice", "hello yourself");
    assert_eq!(bob.stored().await, (id, 2));
    assert_eq!(alice.text().await, "hello yourself");
}

/// The server gives a ticket at each login, and lets the device in with it: without a token, and once.
#[tokio::test]
async fn a_device_comes_back_with_a_ticket_and_misses_nothing() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    for round in 0..3 {
        // The ticket comes behind the login's answer.
        alice.send("bob", &format!("before {round}"));
        alice.stored().await;
        assert_eq!(bob.text().await, format!("before {round}"));
        assert_eq!(alice.connection.tickets(), 1);
        let now = alice.now();
        alice.connection.handle_eof(now);
        alice.closed().await;
        bob.send("alice", &format!("while away {round}"));
        bob.stored().await;
        alice.connect_tcp(server.address).await;
        let ClientEvent::Negotiated(negotiated) = alice.event().await else { panic!() };
        assert!(negotiated.handshake.is_resumption());
        alice.logged_in().await;
        assert_eq!(alice.text().await, format!("while away {round}"));
    }
}

#[tokio::test]
async fn all_devices_of_a_user_have_the_same_stream() {
    let server = TestServer::start().await;
    let mut phone = server.online("alice", "phone").await;
    let mut desk = server.online("alice", "desk").await;
    phone.send("bob", "from the phone");
    phone.stored().await;
    assert_eq!(desk.text().await, "from the phone");
    desk.send("alice", "a note to myself");
    assert_eq!(desk.stored().await.1, 1);
    assert_eq!(phone.text().await, "a note to myself");
}

#[tokio::test]
async fn what_was_sent_while_offline_is_delivered_after_login_and_only_until_it_is_acked() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    for n in 1..=300 {
        alice.send("bob", &format!("message {n}"));
    }
    for seq in 1..=300 {
        assert_eq!(alice.stored().await.1, seq);
    }
    let mut bob = server.online("bob", "phone").await;
    for n in 1..=300 {
        assert_eq!(bob.text().await, format!("message {n}"));
    }
    // The next message comes only when every ack before it was read.
    bob.flush().await;
    alice.send("bob", "one more");
    alice.stored().await;
    assert_eq!(bob.text().await, "one more");
    bob.flush().await;
    bob.send("bob", "the acks are in");
    bob.stored().await;
    drop(bob);
    let mut bob = server.online("bob", "phone").await;
    alice.send("bob", "after the restart");
    alice.stored().await;
    let text = loop {
        // What this device had said itself comes back as a fact, not as a message.
        if let ClientEvent::Message(delivery) = bob.event().await {
            break String::from_utf8(delivery.entry.content().to_vec()).unwrap();
        }
    };
    assert_eq!(text, "after the restart");
}

#[tokio::test]
async fn pipelined_messages_are_stored_in_the_order_in_which_they_were_sent() {
    let server = TestServer::start().await;
    let mut others = Vec::new();
    // Others at the same time, so that commits are shared and queues are not empty.
    for n in 0..4 {
        let mut other = server.online(&format!("other {n}"), "phone").await;
        others.push(tokio::spawn(async move {
            for n in 0..200 {
                other.send("somebody", &format!("{n}"));
            }
            for _ in 0..200 {
                other.stored().await;
            }
        }));
    }
    let mut alice = server.online("alice", "phone").await;
    let ids: Vec<_> = (0..200).map(|n| alice.send("bob", &format!("{n}"))).collect();
    for (id, seq) in ids.into_iter().zip(1..) {
        assert_eq!(alice.stored().await, (id, seq));
    }
    let mut bob = server.online("bob", "phone").await;
    for n in 0..200 {
        assert_eq!(bob.text().await, format!("{n}"));
    }
    for other in others {
        within(other).await.unwrap();
    }
}

/// The same packet ids again, as from a client that lost the answer. Without deliveries, so that the answer and not the
/// stream's own fact about the first message settles it.
fn with_seed(server: &TestServer, seed: u64) -> Peer {
    let credentials = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
    let config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
    Peer::configured(ClientConfig { receive_max: 0, ..config }, seed)
}

#[tokio::test]
async fn a_retry_on_a_new_connection_is_answered_as_before_and_another_content_is_a_conflict() {
    let server = TestServer::start().await;
    let mut first = with_seed(&server, 7);
    let id = first.send("bob", "hello");
    first.connect_tcp(server.address).await;
    first.logged_in().await;
    assert_eq!(first.stored().await, (id, 1));
    drop(first);

    let mut retry = with_seed(&server, 7);
    assert_eq!(retry.send("bob", "hello"), id);
    retry.connect_tcp(server.address).await;
    retry.logged_in().await;
    assert_eq!(retry.stored().await, (id, 1));
    drop(retry);

    let mut conflict = with_seed(&server, 7);
    assert_eq!(conflict.send("bob", "something else"), id);
    conflict.connect_tcp(server.address).await;
    conflict.logged_in().await;
    let refused = loop {
        match conflict.event().await {
            ClientEvent::Refused { packet_id, code, .. } => break (packet_id, code),
            ClientEvent::Stored { .. } => panic!("a second message under one id"),
            _ => {}
        }
    };
    assert_eq!(refused, (id, RefusalCode::CONFLICT));

    let mut bob = server.online("bob", "phone").await;
    assert_eq!(bob.text().await, "hello");
    let key = im_server::store::ConversationKey::new("p:5:alice:bob").unwrap();
    assert_eq!(server.store.head(&key).await.unwrap().seq, 1);
}

#[tokio::test]
async fn the_same_device_again_replaces_the_older_session_which_must_not_come_back() {
    let server = TestServer::start().await;
    let mut older = server.online("alice", "phone").await;
    let mut newer = server.online("alice", "phone").await;
    let closed = older.closed().await;
    assert_eq!((closed.code, closed.authenticated), (CloseCode::REPLACED, true));
    assert!(!closed.may_reconnect());
    newer.send("alice", "still here");
    assert_eq!(newer.stored().await.1, 1);
}

#[tokio::test]
async fn a_message_that_no_conversation_can_take_is_refused() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let now = alice.now();
    let message = Message { content_type: 70_000, ..Message::text("bob", "x") };
    alice.connection.send(now, message).unwrap();
    assert!(matches!(alice.event().await, ClientEvent::Refused { code: RefusalCode::INVALID, .. }));
}

#[tokio::test]
async fn a_stopping_server_answers_what_was_sent_and_says_that_it_goes_away() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = Peer::offline(server.server.public_key(), "bob", "web", "");
    bob.connect_ws(server.address).await;
    bob.logged_in().await;
    alice.send("bob", "last words");
    alice.stored().await;
    let stopping = tokio::spawn({
        let server = server.server.clone();
        async move { server.shutdown().await }
    });
    let closed = alice.closed().await;
    assert_eq!((closed.code, closed.authenticated), (CloseCode::GOING_AWAY, true));
    assert!(closed.may_reconnect());
    let bobs = bob.closed().await;
    assert_eq!(bobs.code, CloseCode::GOING_AWAY);
    // Between two and four seconds, and not both at once.
    let waits =
        [closed.retry_after, bobs.retry_after].map(|wait| wait.expect("a server that stops says when to return"));
    assert!(waits.iter().all(|wait| (2_000..=4_001).contains(&wait.as_millis())), "{waits:?}");
    assert_ne!(waits[0], waits[1]);
    drop((alice, bob));
    within(stopping).await.unwrap().unwrap();
}
