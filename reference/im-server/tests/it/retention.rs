//! Devices and senders that meet a log whose front was taken away, over real sockets. The times are the test's own.

use crate::common::{Peer, TestServer, Wire, config, within};
use im_proto::{ClientEvent, CloseCode, Command, Conversation, Delivery, RefusalCode, ReloadReason};
use im_server::Retention;
use im_server::store::{Append, ConversationKey, EntryKind, NewEntry};

const DAY: u64 = 86_400_000;

fn chat() -> ConversationKey {
    ConversationKey::new("p:5:alice:bob").unwrap()
}

fn retention() -> Retention {
    Retention::days(30).unwrap()
}

/// Alice said something on this day: its packet id, its seq and its text are the day.
fn said(day: u64) -> NewEntry {
    NewEntry {
        conversation: chat(),
        members: vec!["alice".into(), "bob".into()],
        from: "alice".into(),
        device: "phone".into(),
        packet_id: day,
        digest: [1; 32],
        message_id: day,
        time_ms: day * DAY,
        kind: EntryKind::Message,
        content_type: 1,
        content: day.to_string().into_bytes(),
    }
}

async fn days(server: &TestServer, days: std::ops::RangeInclusive<u64>) {
    for day in days {
        let outcome = server.store.append(said(day)).await;
        assert!(matches!(outcome, Append::Stored(receipt) if receipt.seq == day), "{outcome:?}");
    }
}

/// What is kept on this day, from which seq on.
async fn trim(server: &TestServer, first: u64) {
    server.server.trim(retention(), (first + 30) * DAY).await.unwrap();
    assert_eq!(server.store.head(&chat()).await.unwrap().first, first);
}

async fn reads(peer: &mut Peer, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        // Other devices of bob said to themselves that they are settled.
        let received = loop {
            let received = peer.message().await;
            if &*received.from == "alice" {
                break received;
            }
        };
        assert_eq!((received.seq, received.content), (seq, seq.to_string().into_bytes()));
    }
}

/// The wire breaks, once the server took everything that was said.
async fn leaves(peer: &mut Peer) {
    peer.settled().await;
    peer.wire = Wire::None;
    let now = peer.now();
    peer.connection.handle_eof(now);
    peer.closed().await;
}

async fn is_told_too_old(peer: &mut Peer) {
    let (conversation, reason) = peer
        .until(|event| match event {
            ClientEvent::Reload { conversation, reason, .. } => Some((conversation, reason)),
            ClientEvent::Message(_) | ClientEvent::Gap { .. } => panic!("{event:?}"),
            _ => None,
        })
        .await;
    assert_eq!((conversation, reason), (Conversation::private("alice"), ReloadReason::TooOld));
}

#[tokio::test]
async fn a_device_that_was_away_for_too_long_is_told_and_gets_what_is_kept_and_goes_on() {
    let server = TestServer::start().await;
    days(&server, 1..=5).await;
    let mut bob = server.online("bob", "phone").await;
    reads(&mut bob, 1..=5).await;
    leaves(&mut bob).await;
    days(&server, 6..=40).await;
    trim(&server, 21).await;

    bob.connect_tcp(server.address).await;
    is_told_too_old(&mut bob).await;
    reads(&mut bob, 21..=40).await;
    let mut alice = server.online("alice", "desk").await;
    let id = alice.send("bob", "41");
    assert_eq!(alice.stored_as(id).await, 41);
    reads(&mut bob, 41..=41).await;

    // Where it stands is kept: it goes on without a word.
    leaves(&mut bob).await;
    trim(&server, 31).await;
    let id = alice.send("bob", "42");
    assert_eq!(alice.stored_as(id).await, 42);
    bob.connect_tcp(server.address).await;
    bob.logged_in().await;
    reads(&mut bob, 42..=42).await;
}

/// A device without a memory of its own goes on behind what its record says, or at what is kept.
#[tokio::test]
async fn a_device_that_starts_anew_begins_at_what_is_kept() {
    let server = TestServer::start().await;
    days(&server, 1..=5).await;
    let mut bob = server.online("bob", "phone").await;
    reads(&mut bob, 1..=2).await;
    leaves(&mut bob).await;
    days(&server, 6..=9).await;
    trim(&server, 7).await;
    for device in ["phone", "tablet"] {
        let mut again = server.online("bob", device).await;
        reads(&mut again, 7..=9).await;
    }
    // Nothing is left: nothing is unread, and what comes is the next.
    trim(&server, 10).await;
    let mut new = server.online("bob", "desk").await;
    new.settled().await;
    days(&server, 10..=10).await;
    let mut again = server.online("bob", "watch").await;
    reads(&mut again, 10..=10).await;
}

/// What a slow reader would get next goes while it is connected: it is closed, comes back and is told.
#[tokio::test]
async fn a_slow_reader_whose_place_is_trimmed_comes_back_and_is_told() {
    let server = TestServer::start().await;
    days(&server, 1..=9).await;
    let config = im_proto::ClientConfig { receive_max: 2, ..config(server.server.public_key(), "bob", "phone") };
    let mut bob = Peer::configured(config, 1);
    bob.connect_tcp(server.address).await;
    bob.logged_in().await;
    let mut tokens = Vec::new();
    while tokens.len() < 2 {
        if let ClientEvent::Message(Delivery { seq, token, .. }) = bob.news().await {
            tokens.push(token);
            assert_eq!(seq, tokens.len() as u64);
        }
    }
    trim(&server, 6).await;
    for token in tokens {
        bob.connection.ack(token);
    }
    assert_eq!(bob.closed().await.code, CloseCode::RESYNC);
    bob.connect_tcp(server.address).await;
    is_told_too_old(&mut bob).await;
    reads(&mut bob, 6..=9).await;
}

#[tokio::test]
async fn commands_about_what_is_trimmed_are_refused_and_say_why() {
    let server = TestServer::start().await;
    days(&server, 1..=5).await;
    trim(&server, 4).await;
    let mut alice = server.online("alice", "phone").await;
    let bob = || Conversation::private("bob");
    for command in [Command::recall(bob(), 2), Command::edit(bob(), 2, "x"), Command::react(bob(), 2, "👍")] {
        let id = alice.command(command);
        let (code, reason) = alice.refused(id).await;
        assert_eq!(code, RefusalCode::TOO_LATE);
        assert!(reason.contains("older than what this server keeps"), "{reason}");
    }
    let id = alice.command(Command::react(bob(), 5, "👍"));
    assert_eq!(alice.stored_as(id).await, 6);
    // A read mark is a number, and only grows.
    let mut peer = server.online("bob", "phone").await;
    let epoch = server.store.head(&chat()).await.unwrap().epoch;
    peer.connection.read(&Conversation::private("alice"), epoch, 2).unwrap();
    peer.flush().await;
    within(async {
        while server.store.positions("bob", &chat()).await.unwrap().read != 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A sender that heard nothing sends the same again when its entry is long gone.
#[tokio::test]
async fn a_retry_of_what_was_trimmed_is_answered_as_the_first_time() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let id = alice.send("bob", "once");
    alice.flush().await;
    // It is stored, and the answer never comes.
    within(async {
        while server.store.head(&chat()).await.unwrap().seq == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    alice.wire = Wire::None;
    let now = alice.now();
    alice.connection.handle_eof(now);
    alice.closed().await;
    let entry = server.store.read(&chat(), 0, 1, 99).await.unwrap().remove(0);
    let all = entry.time_ms + 31 * DAY;
    assert_eq!(server.server.trim(retention(), all).await.unwrap(), 1);
    alice.connect_tcp(server.address).await;
    let stored = alice
        .until(|event| match event {
            ClientEvent::Stored { packet_id, message_id, seq, time_ms, .. } if packet_id == id => {
                Some((message_id, seq, time_ms))
            }
            _ => None,
        })
        .await;
    assert_eq!(stored, (entry.message_id, 1, entry.time_ms));
    assert_eq!(server.store.head(&chat()).await.unwrap().seq, 1, "nothing was stored again");

    let metrics = server.server.metrics();
    let cutoff = format!("im_retention_cutoff_seconds {}", (all - 30 * DAY) / 1000);
    for line in ["im_trimmed_entries_total 1", "im_trimmed_packet_ids_total 0", &cutoff] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // A month later nobody retries any more.
    server.server.trim(retention(), all + 31 * DAY).await.unwrap();
    assert!(server.server.metrics().contains("im_trimmed_packet_ids_total 1"));
}
