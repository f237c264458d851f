//! A device that comes back to a long log: all of it, once, in order, and nothing of it again.

use std::sync::Arc;

use crate::common::{Peer, TestServer, config, within};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use im_proto::{ClientEvent, Conversation};
use im_server::store::{Append, ConversationKey, EntryKind, NewEntry, Receipt, Store};

const MESSAGES: u64 = 60_000;
/// Appends under way at once: they share a commit, and the store's queue is bounded.
const BATCH: u64 = 2_000;

fn content(number: u64) -> Vec<u8> {
    format!("message {number}").into_bytes()
}

fn message(number: u64) -> NewEntry {
    NewEntry {
        // The server's own name of this conversation: what follows would not be delivered under another.
        conversation: ConversationKey::new("p:5:alice:bob").unwrap(),
        members: vec!["alice".into(), "bob".into()],
        from: "alice".into(),
        device: "importer".into(),
        packet_id: number,
        digest: [0; 32],
        message_id: number,
        time_ms: 1_700_000_000_000 + number,
        kind: EntryKind::Message,
        content_type: 1,
        content: content(number),
    }
}

/// As an application that imports a history would do it.
async fn store_all(store: &Arc<dyn Store>) {
    for first in (1..=MESSAGES).step_by(BATCH as usize) {
        let mut batch: FuturesOrdered<_> = (first..first + BATCH).map(|number| store.append(message(number))).collect();
        for number in first..first + BATCH {
            let outcome = within(batch.next()).await;
            assert!(matches!(outcome, Some(Append::Stored(Receipt { seq, .. })) if seq == number), "{outcome:?}");
        }
    }
}

/// The server tells alice how far bob's device is: only then it is in the store.
async fn bob_has(alice: &mut Peer, wanted: u64) {
    alice
        .until(|event| match event {
            ClientEvent::DeliveredTo { user, up_to, .. } if user == "bob" && up_to >= wanted => Some(()),
            ClientEvent::Message(_) => panic!("the messages of alice's own log are not asked for"),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn sixty_thousand_messages_wait_for_a_device_and_come_once_and_in_order() {
    let server = TestServer::start().await;
    store_all(&server.store).await;
    // Asks for no deliveries: only for what the server says of bob.
    let mut config = config(server.server.public_key(), "alice", "phone");
    config.receive_max = 0;
    let mut alice = Peer::configured(config, 1);
    alice.connect_tcp(server.address).await;
    alice.logged_in().await;

    let mut bob = server.online("bob", "new phone").await;
    for number in 1..=MESSAGES {
        let received = bob.message().await;
        assert_eq!((received.seq, &*received.from), (number, "alice"));
        assert_eq!(received.content, content(number));
    }
    // The acks of the last ones go out with what is said next.
    bob.settled().await;
    bob_has(&mut alice, MESSAGES).await;
    bob.connection.close(bob.now(), im_proto::CloseCode::NORMAL, "enough for today");
    bob.flush().await;
    drop(bob);

    // The same device: if anything came again, it would come before what is said now.
    let mut again = server.online("bob", "new phone").await;
    let id = alice.send("bob", "and now this");
    assert_eq!(alice.stored_as(id).await, MESSAGES + 1);
    loop {
        let delivery = again
            .until(|event| match event {
                ClientEvent::Message(delivery) => Some(delivery),
                _ => None,
            })
            .await;
        again.connection.ack(delivery.token);
        // What bob said to himself is in another log.
        if delivery.conversation == Conversation::private("alice") {
            assert_eq!((delivery.seq, delivery.entry.content()), (MESSAGES + 1, b"and now this".as_slice()));
            break;
        }
    }
    println!("{MESSAGES} messages, each once and in order; after them nothing again");
}
