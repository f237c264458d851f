//! The client library against this server: everything that a client can say, over TCP and WebSocket.

use crate::common::{TestServer, within};
use im_client::{
    Change, Client, Command, Conversation, Credentials, Entry, Event, Events, Message, NotTaken, Options, PeerSignal,
    PresenceState, RefusalCode, RoomError, SealedMessage, SealedParts, SendFailure, Signal, SignalError,
};

fn start(server: &TestServer, url: &str, user: &str) -> (Client, Events) {
    let credentials = Credentials { user: user.into(), device: "phone".into(), token: String::new() };
    Client::start(Options::new(url.parse().unwrap(), server.server.public_key(), credentials)).unwrap()
}

/// Waits for what `wanted` finds, past everything else.
async fn until<T>(events: &mut Events, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = within(events.next()).await.expect("the client ended");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

async fn logged_in(events: &mut Events) {
    until(events, |event| matches!(event, Event::LoggedIn { .. }).then_some(())).await;
}

async fn two(server: &TestServer) -> ((Client, Events), (Client, Events)) {
    let mut alice = start(server, &format!("tcp://{}", server.address), "alice");
    let mut bob = start(server, &format!("ws://{}/im", server.address), "bob");
    logged_in(&mut alice.1).await;
    logged_in(&mut bob.1).await;
    (alice, bob)
}

async fn entry(client: &Client, events: &mut Events) -> (u64, u64, Entry) {
    let delivery = until(events, |event| match event {
        Event::Message(delivery) => Some(delivery),
        _ => None,
    });
    let delivery = delivery.await;
    client.ack(delivery.token).await;
    (delivery.epoch, delivery.seq, delivery.entry)
}

#[tokio::test]
async fn groups_commands_and_receipts() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "alice").await.unwrap();
    groups.add_all("team", ["bob"]).await.unwrap();
    let ((alice, mut alice_events), (bob, mut bob_events)) = two(&server).await;
    let team = Conversation::group("team");
    let sent = alice.send(Message { to: team.clone(), ..Message::text("", "helo") }).await.unwrap();
    assert_eq!(entry(&bob, &mut bob_events).await.2, Entry::text("helo"));
    assert_eq!(alice.command(Command::edit(team.clone(), sent.seq, "hello")).await.unwrap().seq, 2);
    assert_eq!(bob.command(Command::react(team.clone(), sent.seq, "👍")).await.unwrap().seq, 3);
    assert_eq!(alice.command(Command::recall(team.clone(), sent.seq)).await.unwrap().seq, 4);
    let (_, _, recalled) = entry(&bob, &mut bob_events).await;
    assert!(matches!(recalled, Entry::Command { about: 1, change: Change::Edit { .. } } | Entry::Recalled));
    let not_hers = bob.command(Command::recall(team, 2)).await;
    assert!(matches!(not_hers, Err(SendFailure::Refused { code: RefusalCode::NO_TARGET, .. })), "{not_hers:?}");
    let to = Conversation::private("bob");
    assert_eq!(alice.command(Command::react(to, 1, "")).await, Err(SendFailure::InvalidCommand));

    let sealed = SealedParts::new(&[("bob", "phone", "for the phone")]).unwrap();
    let sealed = SealedMessage { to: Conversation::private("bob"), content_type: 9, parts: sealed };
    assert_eq!(alice.send_sealed(sealed).await.unwrap().seq, 1);
    let (epoch, seq) = loop {
        let (epoch, seq, entry) = entry(&bob, &mut bob_events).await;
        if entry == (Entry::Sealed { content_type: 9, part: b"for the phone".to_vec() }) {
            break (epoch, seq);
        }
    };
    bob.read(&Conversation::private("alice"), epoch, seq).await.unwrap();
    let read = until(&mut alice_events, |event| match event {
        Event::ReadBy { conversation, user, up_to, .. } if user == "bob" => Some((conversation, up_to)),
        _ => None,
    });
    assert_eq!(read.await, (Conversation::private("bob"), 1));
}

#[tokio::test]
async fn signals_and_rooms() {
    let server = TestServer::start().await;
    let ((alice, mut alice_events), (bob, mut bob_events)) = two(&server).await;
    alice.signal(Signal::Watch { user: "bob".into(), on: true }).await.unwrap();
    let presence = until(&mut alice_events, |event| match event {
        Event::Signal(PeerSignal::Presence { user, state, .. }) => Some((user, state)),
        _ => None,
    });
    assert_eq!(presence.await, ("bob".into(), PresenceState::ONLINE));
    bob.signal(Signal::Typing { conversation: Conversation::private("alice"), on: true }).await.unwrap();
    let typing = until(&mut alice_events, |event| match event {
        Event::Signal(PeerSignal::Typing { user, on, .. }) => Some((user, on)),
        _ => None,
    });
    assert_eq!(typing.await, ("bob".into(), true));
    let id = alice.signal(Signal::Typing { conversation: Conversation::group("strangers"), on: true }).await.unwrap();
    let refused = until(&mut alice_events, |event| match event {
        Event::SignalRefused { packet_id, code, .. } if packet_id == id => Some(code),
        _ => None,
    });
    assert_eq!(refused.await, RefusalCode::FORBIDDEN);

    let room = Conversation::room("show");
    for (client, events) in [(&alice, &mut alice_events), (&bob, &mut bob_events)] {
        client.join_room(&room).await.unwrap();
        until(events, |event| matches!(event, Event::RoomJoined { .. }).then_some(())).await;
    }
    assert_eq!(alice.send(Message { to: room.clone(), ..Message::text("", "wow") }).await.unwrap().seq, 0);
    let heard = until(&mut bob_events, |event| match event {
        Event::RoomMessage(message) => Some((message.from, message.content)),
        _ => None,
    });
    assert_eq!(heard.await, ("alice".into(), b"wow".to_vec()));
    bob.leave_room(&room).await.unwrap();
    until(&mut bob_events, |event| matches!(event, Event::RoomLeft { .. }).then_some(())).await;
    assert_eq!(bob.leave_room(&room).await, Err(NotTaken::Refused(RoomError::NotIn)));
    bob.close().await;
    assert_eq!(bob.signal(Signal::Presence(PresenceState::AWAY)).await, Err(NotTaken::<SignalError>::Ended));
}
