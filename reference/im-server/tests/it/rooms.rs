//! Rooms: live, for those who are in, in one order, and bounded for those who are slow.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::common::process::{MANY_SOCKETS, command, sockets, start};
use crate::common::{Peer, TestServer};
use im_client::{Client, Event, Events, Options, ServerUrl};
use im_proto::{ClientConfig, ClientEvent, Conversation, Credentials, Message, Name, RUSTCRYPTO, RefusalCode};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

fn show() -> Conversation {
    Conversation::room("show")
}

async fn join(peer: &mut Peer, room: &Conversation) {
    let id = peer.connection.join_room(room).unwrap();
    peer.until(|event| match event {
        ClientEvent::RoomJoined { packet_id, .. } if packet_id == id => Some(()),
        ClientEvent::RoomRefused { reason, .. } => panic!("{reason}"),
        _ => None,
    })
    .await;
}

/// The next room message: from, text, and how many were dropped before it.
async fn heard(peer: &mut Peer) -> (Name, String, u64) {
    peer.until(|event| match event {
        ClientEvent::RoomMessage { from, content, dropped, .. } => {
            Some((from, String::from_utf8(content).unwrap(), dropped))
        }
        _ => None,
    })
    .await
}

fn said(from: &str, text: &str) -> (Name, String, u64) {
    (from.into(), text.into(), 0)
}

#[tokio::test]
async fn who_is_in_hears_what_is_said_meanwhile_and_nothing_else() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let mut carol = server.online("carol", "phone").await;
    join(&mut alice, &show()).await;
    let id = alice.send_to(&show(), "nobody hears this");
    assert_eq!(alice.stored_as(id).await, 0, "a room has no log");
    join(&mut bob, &show()).await;
    join(&mut carol, &Conversation::room("other")).await;
    let id = alice.send_to(&show(), "hello");
    alice.stored_as(id).await;
    assert_eq!(heard(&mut bob).await, said("alice", "hello"));
    let id = carol.send_to(&show(), "let me in");
    assert_eq!(carol.refused(id).await.0, RefusalCode::FORBIDDEN);

    bob.connection.leave_room(&show()).unwrap();
    bob.until(|event| matches!(event, ClientEvent::RoomLeft { .. }).then_some(())).await;
    let id = alice.send_to(&show(), "bob is gone");
    alice.stored_as(id).await;
    join(&mut bob, &show()).await;
    let id = alice.send_to(&show(), "bob is back");
    alice.stored_as(id).await;
    assert_eq!(heard(&mut bob).await, said("alice", "bob is back"));
}

/// The answer was lost with the connection: the message is sent again, and heard once.
#[tokio::test]
async fn a_message_that_is_sent_again_is_heard_once() {
    let server = TestServer::start().await;
    let mut bob = server.online("bob", "phone").await;
    join(&mut bob, &show()).await;
    let mut ids = Vec::new();
    for text in ["once", "once", "another"] {
        let credentials = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
        let config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
        let mut alice = Peer::configured(config, 7);
        alice.connect_tcp(server.address).await;
        alice.logged_in().await;
        // The join takes the first packet id of the run.
        join(&mut alice, &show()).await;
        let id = alice.send_to(&show(), text);
        match text {
            "once" => assert_eq!(alice.stored_as(id).await, 0),
            _ => assert_eq!(alice.refused(id).await.0, RefusalCode::CONFLICT),
        }
        ids.push(id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(heard(&mut bob).await, said("alice", "once"));
    bob.send_to(&show(), "the end");
    assert_eq!(heard(&mut bob).await, said("bob", "the end"));
}

/// The next event that `pick` wants, of a client that stays connected.
async fn until<T>(events: &mut Events, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the client goes on");
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

/// 10,000 connections to the real program hear the same in the same order, whoever speaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_members_hear_the_same_in_the_same_order() {
    const SPEAKERS: usize = 3;
    const EACH: usize = 4;
    let _alone = MANY_SOCKETS.lock().await;
    let members = sockets();
    let dir = tempfile::tempdir().unwrap();
    let mut serve = command(dir.path());
    // Nobody reads what it logs, and a full pipe would hold it up.
    serve.args(["--max-connections", "20000", "--max-connections-per-address", "20000", "--log", "error"]);
    let running = start(serve).await;
    let url: ServerUrl = format!("tcp://{}", running.address).parse().unwrap();
    // So many log in at once; more would meet the login deadline on a slow machine.
    let doors = Arc::new(Semaphore::new(64));
    let everybody_is_in = Arc::new(Barrier::new(members));
    let mut tasks = JoinSet::new();
    for n in 0..members {
        let (doors, everybody_is_in) = (doors.clone(), everybody_is_in.clone());
        let credentials = Credentials { user: format!("member {n}"), device: "phone".into(), token: String::new() };
        let options = Options::new(url.clone(), running.key, credentials);
        tasks.spawn(async move {
            let door = doors.acquire().await.unwrap();
            let (client, mut events) = Client::start(options).unwrap();
            until(&mut events, |event| matches!(event, Event::LoggedIn { .. }).then_some(())).await;
            client.join_room(&show()).await.unwrap();
            until(&mut events, |event| matches!(event, Event::RoomJoined { .. }).then_some(())).await;
            drop(door);
            everybody_is_in.wait().await;
            let spoken = async {
                for k in 0..if n < SPEAKERS { EACH } else { 0 } {
                    client.send(Message { to: show(), ..Message::text("", &format!("{n}: {k}")) }).await.unwrap();
                }
            };
            let heard = async {
                let mut all = Vec::new();
                while all.len() < SPEAKERS * EACH {
                    let message = until(&mut events, |event| match event {
                        Event::RoomMessage(message) => Some(message),
                        _ => None,
                    });
                    let message = message.await;
                    assert_eq!(message.dropped, 0);
                    all.push(String::from_utf8(message.content).unwrap());
                }
                all
            };
            let ((), all) = tokio::join!(spoken, heard);
            // Nobody leaves before the others have heard it all.
            everybody_is_in.wait().await;
            all
        });
    }
    let orders: Vec<Vec<String>> = tasks.join_all().await;
    println!("{members} members heard {} messages each", SPEAKERS * EACH);
    assert_eq!(orders.len(), members);
    let distinct: BTreeSet<&String> = orders[0].iter().collect();
    assert_eq!(distinct.len(), SPEAKERS * EACH, "each is heard once");
    assert!(orders.iter().all(|order| *order == orders[0]));
    for n in 0..SPEAKERS {
        let own: Vec<&String> = orders[0].iter().filter(|text| text.starts_with(&format!("{n}:"))).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

/// Who does not read loses the oldest and is told how many; the server keeps no more than its bound.
#[tokio::test]
async fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
    const MESSAGES: u64 = 1000;
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut slow = server.online("bob", "phone").await;
    join(&mut alice, &show()).await;
    join(&mut slow, &show()).await;
    let now = alice.now();
    for n in 1..=MESSAGES {
        let content = format!("{n} {}", "x".repeat(30_000)).into_bytes();
        let message = Message { to: show(), content, ..Message::text("", "") };
        let id = alice.connection.send(now, message).unwrap();
        alice.stored_as(id).await;
    }
    let (mut got, mut lost) = (0, 0);
    loop {
        let (_, text, dropped) = heard(&mut slow).await;
        (got, lost) = (got + 1, lost + dropped);
        let n: u64 = text.split_once(' ').unwrap().0.parse().unwrap();
        assert_eq!(n, got + lost, "every message was heard or counted");
        if n == MESSAGES {
            break;
        }
    }
    assert!(lost > 0, "{got} of {MESSAGES} were heard by a reader that did not read");
}
