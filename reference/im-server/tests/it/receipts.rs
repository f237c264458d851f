//! Receipts: how far others have a conversation and read it, on every device, also after coming back.

use crate::common::{Peer, TestServer};
use im_proto::{ClientEvent, Conversation};
use im_server::store::ConversationKey;

#[derive(Debug, PartialEq)]
enum Told {
    Read(Conversation, String, u64),
    Delivered(Conversation, String, u64),
}

async fn told(peer: &mut Peer, wanted: Told) {
    peer.until(|event| {
        let told = match event {
            ClientEvent::ReadBy { conversation, user, up_to, .. } => Told::Read(conversation, user, up_to),
            ClientEvent::DeliveredTo { conversation, user, up_to, .. } => Told::Delivered(conversation, user, up_to),
            _ => return None,
        };
        (told == wanted).then_some(())
    })
    .await;
}

fn private(user: &str) -> Conversation {
    Conversation::private(user)
}

/// The epoch of the log, from the delivery that it came with.
async fn delivery(peer: &mut Peer) -> (u64, u64) {
    let delivery = peer
        .until(|event| match event {
            ClientEvent::Message(delivery) => Some(delivery),
            _ => None,
        })
        .await;
    let place = (delivery.epoch, delivery.seq);
    peer.connection.ack(delivery.token);
    place
}

#[tokio::test]
async fn the_sender_is_told_how_far_the_receiver_has_and_read_it() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut phone = server.online("bob", "phone").await;
    let mut desk = server.online("bob", "desk").await;
    let mut epoch = 0;
    for seq in 1..=3 {
        let id = alice.send("bob", "hello");
        assert_eq!(alice.stored_as(id).await, seq);
        epoch = delivery(&mut phone).await.0;
    }
    phone.flush().await;
    told(&mut alice, Told::Delivered(private("bob"), "bob".into(), 3)).await;
    assert_ne!(epoch, 0);
    phone.connection.read(&private("alice"), epoch, 2).unwrap();
    // The device that said it, the other one, and the sender.
    told(&mut phone, Told::Read(private("alice"), "bob".into(), 2)).await;
    assert_eq!(phone.connection.unconfirmed_reads(), 0);
    told(&mut desk, Told::Read(private("alice"), "bob".into(), 2)).await;
    told(&mut alice, Told::Read(private("bob"), "bob".into(), 2)).await;
    // Never beyond the head, whatever is said.
    phone.connection.read(&private("alice"), epoch, 99).unwrap();
    phone.flush().await;
    told(&mut alice, Told::Read(private("bob"), "bob".into(), 3)).await;
}

#[tokio::test]
async fn who_comes_back_is_told_what_happened_meanwhile() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let id = alice.send("bob", "hello");
    alice.stored_as(id).await;
    drop(alice);
    let mut bob = server.online("bob", "phone").await;
    let (epoch, seq) = delivery(&mut bob).await;
    bob.connection.read(&private("alice"), epoch, seq).unwrap();
    told(&mut bob, Told::Read(private("alice"), "bob".into(), 1)).await;
    bob.settled().await;
    drop(bob);

    let mut alice = server.online("alice", "phone").await;
    told(&mut alice, Told::Read(private("bob"), "bob".into(), 1)).await;
    let mut tablet = server.online("bob", "tablet").await;
    told(&mut tablet, Told::Read(private("alice"), "bob".into(), 1)).await;
}

#[tokio::test]
async fn in_a_group_a_position_is_for_the_users_own_devices() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "alice").await.unwrap();
    groups.add_all("team", ["bob"]).await.unwrap();
    let team = Conversation::group("team");
    let mut alice = server.online("alice", "phone").await;
    let (mut phone, mut desk) = (server.online("bob", "phone").await, server.online("bob", "desk").await);
    let id = alice.send_to(&team, "hello");
    alice.stored_as(id).await;
    let (epoch, _) = delivery(&mut phone).await;
    phone.connection.read(&team, epoch, 1).unwrap();
    told(&mut phone, Told::Read(team.clone(), "bob".into(), 1)).await;
    told(&mut desk, Told::Read(team.clone(), "bob".into(), 1)).await;
    // Nothing of it for alice: what she is told next is about another conversation.
    let id = phone.send("alice", "hi");
    phone.stored_as(id).await;
    let event = alice.until(|event| match event {
        ClientEvent::ReadBy { .. } | ClientEvent::DeliveredTo { .. } => panic!("{event:?}"),
        ClientEvent::Message(delivery) => Some(delivery.from),
        _ => None,
    });
    assert_eq!(event.await, "bob");
}

/// What is said about another log counts for nothing, and nobody is told.
#[tokio::test]
async fn a_position_of_another_epoch_is_ignored() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let id = alice.send("bob", "hello");
    alice.stored_as(id).await;
    let key = ConversationKey::new("p:5:alice:bob").unwrap();
    let epoch = server.store.head(&key).await.unwrap().epoch;
    let mut bob = server.tcp("bob", "phone").await;
    bob.connection.read(&private("alice"), epoch ^ 1, 1).unwrap();
    bob.logged_in().await;
    bob.settled().await;
    assert_eq!(server.store.positions("bob", &key).await.unwrap().read, 0);
    bob.connection.read(&private("alice"), epoch, 1).unwrap();
    told(&mut bob, Told::Read(private("alice"), "bob".into(), 1)).await;
    assert_eq!(server.store.positions("bob", &key).await.unwrap().read, 1);
}
