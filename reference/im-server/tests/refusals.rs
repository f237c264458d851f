//! What this server does not do yet is refused by name, and the session goes on.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

mod common;

use common::TestServer;
use im_proto::{ClientEvent, Command, Conversation, Message, PacketId, RefusalCode, Signal, call};

/// The refusal of this packet, past everything else.
async fn refusal(client: &mut common::Peer, id: PacketId) -> (RefusalCode, String) {
    loop {
        match client.event().await {
            ClientEvent::Refused { packet_id, code, reason }
            | ClientEvent::SignalRefused { packet_id, code, reason, .. }
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
    alice.send("bob", "still here");
    assert_eq!(alice.stored().await.1, 1);
}
