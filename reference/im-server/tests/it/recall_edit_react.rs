//! Recall, edit and reactions: their rights, their places in the log, and that recalled content is gone.

use crate::common::{Peer, TestServer};
use im_proto::{Change, ClientConfig, Command, Conversation, Credentials, Entry, RUSTCRYPTO, RefusalCode};
use im_server::MemberRole;
use im_server::store::{Append, ConversationKey, EntryKind, NewEntry};

const SECRET: &str = "nobody may read this again";

fn bob() -> Conversation {
    Conversation::private("bob")
}

fn command(about: u64, change: Change) -> Entry {
    Entry::Command { about, change }
}

/// Every entry that a new device of `user` gets, up to `head`.
async fn log(server: &TestServer, user: &str, device: &str, head: u64) -> Vec<Entry> {
    let mut peer = server.online(user, device).await;
    let mut entries = Vec::new();
    while entries.len() < head as usize {
        let (seq, _, entry) = peer.entry().await;
        assert_eq!(seq, entries.len() as u64 + 1);
        entries.push(entry);
    }
    entries
}

#[tokio::test]
async fn commands_reach_every_device_in_their_places() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut phone = server.online("bob", "phone").await;
    let id = alice.send("bob", "helo");
    alice.stored_as(id).await;
    let changes = [Command::edit(bob(), 1, "hello"), Command::react(bob(), 1, "👍"), Command::unreact(bob(), 1, "👍")];
    for (seq, change) in (2..).zip(changes) {
        let id = alice.command(change);
        assert_eq!(alice.stored_as(id).await, seq);
    }
    let edit = Change::Edit { content_type: 1, content: b"hello".to_vec() };
    let expected = [
        Entry::text("helo"),
        command(1, edit),
        command(1, Change::React { text: "👍".into() }),
        command(1, Change::Unreact { text: "👍".into() }),
    ];
    for entry in &expected {
        assert_eq!(phone.entry().await.2, *entry);
    }
    assert_eq!(log(&server, "bob", "desk", 4).await, expected);
}

#[tokio::test]
async fn recalled_content_never_leaves_the_server_again() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut phone = server.online("bob", "phone").await;
    let id = alice.send("bob", SECRET);
    alice.stored_as(id).await;
    let id = alice.command(Command::edit(bob(), 1, SECRET));
    alice.stored_as(id).await;
    let id = alice.send("bob", "this stays");
    alice.stored_as(id).await;
    for seq in 1..=3 {
        assert_eq!(phone.entry().await.0, seq);
    }
    let id = alice.command(Command::recall(bob(), 1));
    assert_eq!(alice.stored_as(id).await, 4);
    assert_eq!(phone.entry().await, (4, "alice".into(), command(1, Change::Recall)));

    let expected = [Entry::Recalled, Entry::Recalled, Entry::text("this stays"), command(1, Change::Recall)];
    assert_eq!(log(&server, "bob", "desk", 4).await, expected);
    assert_eq!(log(&server, "alice", "desk", 4).await, expected);
    let key = ConversationKey::new("p:5:alice:bob").unwrap();
    let kept = server.store.read(&key, 0, 9, 9999).await.unwrap();
    assert!(kept.iter().all(|entry| !entry.content.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())));
    // What was recalled takes nothing more.
    for change in [Command::edit(bob(), 1, "again"), Command::react(bob(), 1, "👍"), Command::recall(bob(), 1)] {
        let id = alice.command(change);
        assert_eq!(alice.refused(id).await.0, RefusalCode::NO_TARGET);
    }
}

/// A reader that takes nothing has at most its window of it before the recalls, and nothing behind them.
#[tokio::test]
async fn a_slow_reader_gets_nothing_of_what_was_recalled_meanwhile() {
    const MESSAGES: u64 = 1000;
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let mut slow = server.online("bob", "phone").await;
    let text = format!("{SECRET}{}", "x".repeat(30_000));
    for n in 1..=MESSAGES {
        let id = alice.send("bob", &text);
        assert_eq!(alice.stored_as(id).await, n);
    }
    for n in 1..=MESSAGES {
        let id = alice.command(Command::recall(bob(), n));
        alice.stored_as(id).await;
    }
    let (mut whole, mut recalled) = (0, 0);
    for seq in 1..=2 * MESSAGES {
        let (at, _, entry) = slow.entry().await;
        assert_eq!(at, seq);
        match entry {
            Entry::Message { .. } => {
                assert_eq!(recalled, 0, "content left behind what was taken back");
                whole += 1;
            }
            Entry::Recalled => recalled += 1,
            Entry::Command { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(whole + recalled, MESSAGES);
    assert!(whole <= 256, "{whole} messages left the server, and none was acked");
}

#[tokio::test]
async fn who_may_do_what_is_decided_by_author_role_and_time() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "alice").await.unwrap();
    groups.add("team", "bob", MemberRole::Member).await.unwrap();
    let team = Conversation::group("team");
    // From long ago, as time passes in no test.
    let old = NewEntry {
        conversation: ConversationKey::new("g:team").unwrap(),
        members: Vec::new(),
        from: "bob".into(),
        device: "old".into(),
        packet_id: 1,
        digest: [0; 32],
        message_id: 1,
        time_ms: 1,
        kind: EntryKind::Message,
        content_type: 1,
        content: b"old".to_vec(),
    };
    assert!(matches!(server.store.append(old).await, Append::Stored(_)));
    let mut alice = server.online("alice", "phone").await;
    let mut phone = server.online("bob", "phone").await;
    let id = alice.send_to(&team, "from the owner");
    alice.stored_as(id).await;
    for (change, code, word) in [
        (Command::recall(team.clone(), 1), RefusalCode::TOO_LATE, "too late"),
        (Command::edit(team.clone(), 1, "x"), RefusalCode::TOO_LATE, "too late"),
        (Command::recall(team.clone(), 2), RefusalCode::FORBIDDEN, "somebody else"),
        (Command::edit(team.clone(), 2, "x"), RefusalCode::FORBIDDEN, "somebody else"),
        (Command::react(team.clone(), 99, "x"), RefusalCode::NO_TARGET, "no such message"),
    ] {
        let id = phone.command(change);
        let (got, reason) = phone.refused(id).await;
        assert!(got == code && reason.contains(word), "{got}: {reason}");
    }
    let id = phone.command(Command::react(team.clone(), 2, "👍"));
    assert_eq!(phone.stored_as(id).await, 3);
    let id = phone.command(Command::recall(team.clone(), 3));
    assert_eq!(phone.refused(id).await.0, RefusalCode::NO_TARGET);
    // The owner recalls what somebody else wrote, however old.
    let id = alice.command(Command::recall(team, 1));
    assert_eq!(alice.stored_as(id).await, 4);
}

#[tokio::test]
async fn a_recall_that_is_sent_again_is_answered_as_before() {
    let server = TestServer::start().await;
    let mut alice = server.online("alice", "phone").await;
    let id = alice.send("bob", SECRET);
    alice.stored_as(id).await;
    let again = || {
        let credentials = Credentials { user: "alice".into(), device: "desk".into(), token: String::new() };
        let config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
        Peer::configured(ClientConfig { receive_max: 0, ..config }, 7)
    };
    let mut packets = Vec::new();
    for _ in 0..2 {
        let mut desk = again();
        let id = desk.command(Command::recall(bob(), 1));
        desk.connect_tcp(server.address).await;
        assert_eq!(desk.stored_as(id).await, 2);
        packets.push(id);
    }
    assert_eq!(packets[0], packets[1]);
    let mut other = again();
    let id = other.command(Command::recall(bob(), 2));
    other.connect_tcp(server.address).await;
    assert_eq!((id, other.refused(id).await.0), (packets[0], RefusalCode::CONFLICT));
    let key = ConversationKey::new("p:5:alice:bob").unwrap();
    assert_eq!(server.store.head(&key).await.unwrap().seq, 2);
}
