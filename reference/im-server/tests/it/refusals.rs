//! What nobody may do, and what this server does not do, is refused by name, and the session goes on.

use crate::common::{Peer, TestServer};
use im_proto::{Command, Conversation, Message, RefusalCode, Request, SealedMessage, SealedParts, Signal};

async fn is_refused(client: &mut Peer, id: im_proto::PacketId, code: RefusalCode, word: &str) {
    let (got, reason) = client.refused(id).await;
    assert!(got == code && reason.contains(word), "{got}: {reason}, not {code}: {word}");
}

#[tokio::test]
async fn what_nobody_may_do_is_refused_by_name() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let now = alice.now();
    let group = Conversation::group("team");
    for (to, code, word) in [
        (group.clone(), RefusalCode::FORBIDDEN, "not a member"),
        (Conversation::room("show"), RefusalCode::FORBIDDEN, "join it first"),
        (Conversation::broadcast("news"), RefusalCode::FORBIDDEN, "broadcast"),
        (Conversation { kind: 9, id: "x".into() }, RefusalCode::INVALID, "kind 9"),
    ] {
        let id = alice.connection.send(now, Message { to, ..Message::text("", "hi") }).unwrap();
        is_refused(&mut alice, id, code, word).await;
    }
    for command in [Command::recall(group.clone(), 1), Command::react(group.clone(), 1, "👍")] {
        let id = alice.command(command);
        is_refused(&mut alice, id, RefusalCode::FORBIDDEN, "not a member").await;
    }
    let bob = Conversation::private("bob");
    for command in [Command::recall(bob.clone(), 1), Command::edit(bob.clone(), 1, "better")] {
        let id = alice.command(command);
        is_refused(&mut alice, id, RefusalCode::NO_TARGET, "no such message").await;
    }
    let parts = SealedParts::new(&[("bob", "desk", "x")]).unwrap();
    let sealed = SealedMessage { to: group.clone(), content_type: 1, parts };
    let id = alice.connection.send_sealed(now, sealed).unwrap();
    is_refused(&mut alice, id, RefusalCode::FORBIDDEN, "not a member").await;
    let id = alice.connection.signal(Signal::Typing { conversation: group, on: true }).unwrap();
    is_refused(&mut alice, id, RefusalCode::FORBIDDEN, "group").await;
    alice.settled().await;
}

#[tokio::test]
async fn what_this_server_does_not_do_is_refused_by_name() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let now = alice.now();
    let id = alice.connection.open_stream(&Conversation::private("bob"), 1).unwrap();
    is_refused(&mut alice, id, RefusalCode::INVALID, "streams").await;
    let request = Request::new("time", Vec::new(), std::time::Duration::from_secs(60));
    let id = alice.connection.request(now, &request).unwrap();
    is_refused(&mut alice, id, RefusalCode::UNKNOWN_METHOD, "method").await;
    alice.settled().await;
}
