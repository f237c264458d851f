//! What this server does not do yet is refused by name, and the session goes on.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

mod common;

use common::TestServer;
use im_proto::{
    ClientEvent, Command, Conversation, Message, PacketId, RefusalCode, Request, RequestFailure, SealedMessage,
    SealedParts, Signal, call,
};

/// The refusal of this packet, past everything else.
async fn refusal(client: &mut common::Peer, id: PacketId) -> (RefusalCode, String) {
    loop {
        match client.event().await {
            ClientEvent::Refused { packet_id, code, reason }
            | ClientEvent::SignalRefused { packet_id, code, reason, .. }
            | ClientEvent::RoomRefused { packet_id, code, reason, .. }
            | ClientEvent::StreamRefused { stream: packet_id, code, reason, .. }
            | ClientEvent::RequestFailed { packet_id, failure: RequestFailure::Refused { code, reason, .. } }
                if packet_id == id =>
            {
                return (code, reason);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn groups_rooms_broadcasts_commands_and_signals_are_refused_by_name() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let now = alice.now();
    for (to, code, word) in [
        (Conversation::group("team"), RefusalCode::INVALID, "private conversations"),
        (Conversation::room("show"), RefusalCode::INVALID, "private conversations"),
        (Conversation::broadcast("news"), RefusalCode::FORBIDDEN, "broadcast"),
        (Conversation { kind: 9, id: "x".into() }, RefusalCode::INVALID, "kind 9"),
    ] {
        let id = alice.connection.send(now, Message { to, ..Message::text("", "hi") }).unwrap();
        let (got, reason) = refusal(&mut alice, id).await;
        assert!(got == code && reason.contains(word), "{got}: {reason}");
    }
    for command in [
        Command::recall(Conversation::private("bob"), 1),
        Command::edit(Conversation::private("bob"), 1, "better"),
        Command::react(Conversation::private("bob"), 1, "👍"),
    ] {
        let id = alice.connection.command(now, command).unwrap();
        let (code, reason) = refusal(&mut alice, id).await;
        assert!(code == RefusalCode::INVALID && reason.contains("recalled, edited or reacted"), "{code}: {reason}");
    }
    let hang_up = call::CallSignal::Private(call::PrivateSignal::HangUp);
    for signal in [
        Signal::Typing { conversation: Conversation::private("bob"), on: true },
        Signal::Watch { user: "bob".into(), on: true },
        Signal::Call { call: call::CallId(7), signal: hang_up },
    ] {
        let id = alice.connection.signal(signal).unwrap();
        let (code, reason) = refusal(&mut alice, id).await;
        assert!(code == RefusalCode::INVALID && reason.contains("signals"), "{code}: {reason}");
    }
    let bob = Conversation::private("bob");
    let parts = SealedParts::new(&[("bob", "desk", "x")]).unwrap();
    let sealed = SealedMessage { to: bob.clone(), content_type: 1, parts };
    for word in ["sealed", "rooms", "streams"] {
        let id = match word {
            "sealed" => alice.connection.send_sealed(now, sealed.clone()).unwrap(),
            "rooms" => alice.connection.join_room(&Conversation::room("show")).unwrap(),
            _ => alice.connection.open_stream(&bob, 1).unwrap(),
        };
        let (code, reason) = refusal(&mut alice, id).await;
        assert!(code == RefusalCode::INVALID && reason.contains(word), "{code}: {reason}");
    }
    let request = Request::new("time", Vec::new(), std::time::Duration::from_secs(60));
    let id = alice.connection.request(now, &request).unwrap();
    assert_eq!(refusal(&mut alice, id).await.0, RefusalCode::UNKNOWN_METHOD);
    alice.send("bob", "still here");
    assert_eq!(alice.stored().await.1, 1);
}
