//! Groups: who may write, who hears of it at once, who finds it later, and who does not.

use std::sync::Arc;

use crate::common::{Peer, TestServer, Wire};
use im_proto::{
    ClientConfig, ClientEvent, CloseCode, Conversation, Credentials, RUSTCRYPTO, RefusalCode, ReloadReason,
    SealedMessage, SealedParts,
};
use im_server::auth::OpenLoopback;
use im_server::store::{ConversationKey, Standing};
use im_server::{Answer, Directory, DirectoryError, GroupError, MemberRole};

fn team() -> Conversation {
    Conversation::group("team")
}

fn key() -> ConversationKey {
    ConversationKey::new("g:team").unwrap()
}

async fn text(peer: &mut Peer) -> (u64, String, String) {
    let (seq, from, entry) = peer.entry().await;
    (seq, from.into(), String::from_utf8(entry.content().to_vec()).unwrap())
}

fn said(seq: u64, from: &str, text: &str) -> (u64, String, String) {
    (seq, from.into(), text.into())
}

/// 3,000 members, of whom a few are there: one place of the log for each message, hints to those, and the rest finds it.
#[tokio::test]
async fn three_thousand_members_share_one_log_and_who_was_offline_finds_it() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "alice").await.unwrap();
    groups.add_all("team", (0..3000).map(|n| format!("member {n}"))).await.unwrap();
    let mut alice = server.online("alice", "phone").await;
    let mut desk = server.online("alice", "desk").await;
    let mut first = server.online("member 0", "phone").await;
    let mut eve = server.online("eve", "phone").await;
    for n in 1..=3 {
        let id = alice.send_to(&team(), &format!("hello {n}"));
        assert_eq!(alice.stored_as(id).await, n);
        assert_eq!(text(&mut first).await, said(n, "alice", &format!("hello {n}")));
        assert_eq!(text(&mut desk).await, said(n, "alice", &format!("hello {n}")));
    }
    let id = first.send_to(&team(), "hello alice");
    assert_eq!(first.stored_as(id).await, 4);
    assert_eq!(text(&mut alice).await, said(4, "member 0", "hello alice"));

    for n in [1, 1500, 2999] {
        let mut later = server.online(&format!("member {n}"), "phone").await;
        for seq in 1..=3 {
            assert_eq!(text(&mut later).await, said(seq, "alice", &format!("hello {seq}")));
        }
        assert_eq!(text(&mut later).await, said(4, "member 0", "hello alice"));
    }
    // Nobody else heard or finds anything: the next entry that eve gets is her friend's.
    let id = first.send("eve", "psst");
    first.stored_as(id).await;
    assert_eq!(text(&mut eve).await, said(1, "member 0", "psst"));
    assert_eq!(server.store.head(&key()).await.unwrap().seq, 4);
}

#[tokio::test]
async fn who_joins_sees_what_comes_and_who_left_sees_nothing_more() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "alice").await.unwrap();
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let id = alice.send_to(&team(), "before bob");
    alice.stored_as(id).await;
    // Both live: bob comes in, and out, and in again.
    groups.add("team", "bob", MemberRole::Member).await.unwrap();
    let id = alice.send_to(&team(), "with bob");
    alice.stored_as(id).await;
    assert_eq!(text(&mut bob).await, said(2, "alice", "with bob"));
    groups.remove("team", "bob").await.unwrap();
    let id = alice.send_to(&team(), "without bob");
    alice.stored_as(id).await;
    let id = bob.send_to(&team(), "am I in?");
    assert_eq!(bob.refused(id).await.0, RefusalCode::FORBIDDEN);
    groups.add("team", "bob", MemberRole::Member).await.unwrap();
    let id = alice.send_to(&team(), "bob again");
    alice.stored_as(id).await;
    // His connection stands at 2 and may not see 3: it has to begin anew, and goes on behind.
    assert_eq!(bob.closed().await.code, CloseCode::RESYNC);
    bob.connect_tcp(server.address).await;
    let told = bob.until(|event| match event {
        ClientEvent::Reload { conversation, reason, .. } => Some((conversation, reason)),
        ClientEvent::Message(delivery) => panic!("{delivery:?}"),
        _ => None,
    });
    // For him the log begins at 4 now.
    assert_eq!(told.await, (team(), ReloadReason::TooOld));
    assert_eq!(text(&mut bob).await, said(4, "alice", "bob again"));
    // Out while he is away: the log is unknown to him.
    bob.settled().await;
    bob.wire = Wire::None;
    let now = bob.now();
    bob.connection.handle_eof(now);
    bob.closed().await;
    groups.remove("team", "bob").await.unwrap();
    bob.connect_tcp(server.address).await;
    let told = bob.until(|event| match event {
        ClientEvent::Reload { conversation, reason, .. } => Some((conversation, reason)),
        _ => None,
    });
    assert_eq!(told.await, (team(), ReloadReason::Unknown));
}

#[tokio::test]
async fn the_muted_read_the_banned_do_nothing_and_admins_stay() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "alice").await.unwrap();
    groups.set("team", "bob", Standing { muted: true, ..Standing::default() }).await.unwrap();
    groups.set("team", "eve", Standing { banned: true, ..Standing::default() }).await.unwrap();
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let mut eve = server.online("eve", "phone").await;
    let id = bob.send_to(&team(), "may I?");
    let (code, reason) = bob.refused(id).await;
    assert!(code == RefusalCode::FORBIDDEN && reason.contains("muted"), "{code}: {reason}");
    let id = eve.send_to(&team(), "may I?");
    let (code, reason) = eve.refused(id).await;
    assert!(code == RefusalCode::FORBIDDEN && reason.contains("banned"), "{code}: {reason}");
    let id = alice.send_to(&team(), "quiet here");
    assert_eq!(alice.stored_as(id).await, 1);
    assert_eq!(text(&mut bob).await, said(1, "alice", "quiet here"));
    groups.set("team", "bob", Standing::of(MemberRole::Admin)).await.unwrap();
    let id = bob.send_to(&team(), "at last");
    assert_eq!(bob.stored_as(id).await, 2);
    let id = alice.send("eve", "not for you");
    alice.stored_as(id).await;
    assert_eq!(text(&mut eve).await.2, "not for you");
    let members = groups.members("team", None, 9).await.unwrap();
    let roles: Vec<_> = members.iter().map(|(user, member)| (&**user, member.standing.role)).collect();
    assert_eq!(roles, [("alice", MemberRole::Owner), ("bob", MemberRole::Admin), ("eve", MemberRole::Member)]);
    assert_eq!(groups.add("team", "", MemberRole::Member).await, Err(GroupError::Name("user")));
    assert_eq!(groups.create("a\nb", "alice").await, Err(GroupError::Name("group")));
}

fn with_seed(server: &TestServer, user: &str) -> Peer {
    let credentials = Credentials { user: user.into(), device: "phone".into(), token: String::new() };
    let config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
    Peer::configured(ClientConfig { receive_max: 0, ..config }, 7)
}

/// A message was stored, its answer was lost, and its sender is out meanwhile: it is answered as it was.
#[tokio::test]
async fn a_retry_of_a_member_that_was_removed_is_answered_as_before() {
    let server = TestServer::start().await;
    let groups = server.server.groups();
    groups.create("team", "bob").await.unwrap();
    let mut first = with_seed(&server, "bob");
    let id = first.send_to(&team(), "hello");
    first.connect_tcp(server.address).await;
    assert_eq!(first.stored_as(id).await, 1);
    drop(first);
    groups.remove("team", "bob").await.unwrap();
    let mut retry = with_seed(&server, "bob");
    assert_eq!(retry.send_to(&team(), "hello"), id);
    retry.connect_tcp(server.address).await;
    assert_eq!(retry.stored_as(id).await, 1);
    let next = retry.send_to(&team(), "and another");
    assert_eq!(retry.refused(next).await.0, RefusalCode::FORBIDDEN);
    assert_eq!(server.store.head(&key()).await.unwrap().seq, 1);
}

/// Each device gets its own part and no other.
#[tokio::test]
async fn a_sealed_message_gives_each_device_its_part() {
    let server = TestServer::start().await;
    server.server.groups().create("team", "alice").await.unwrap();
    server.server.groups().add("team", "bob", MemberRole::Member).await.unwrap();
    let mut alice = server.online("alice", "phone").await;
    let mut tablet = server.online("alice", "tablet").await;
    let mut bob = server.online("bob", "desk").await;
    let parts = [("bob", "desk", "for bob's desk"), ("alice", "tablet", "for my tablet")];
    let parts = SealedParts::new(&parts).unwrap();
    let now = alice.now();
    let id = alice.connection.send_sealed(now, SealedMessage { to: team(), content_type: 9, parts }).unwrap();
    assert_eq!(alice.stored_as(id).await, 1);
    use im_proto::Entry::{NotForDevice, Sealed};
    assert_eq!(bob.entry().await.2, Sealed { content_type: 9, part: b"for bob's desk".to_vec() });
    assert_eq!(tablet.entry().await.2, Sealed { content_type: 9, part: b"for my tablet".to_vec() });
    let mut later = server.online("bob", "phone").await;
    assert_eq!(later.entry().await.2, NotForDevice { content_type: 9 });
}

/// An application that decides by itself, and one that cannot say.
struct Club;

impl Directory for Club {
    fn member<'a>(&'a self, group: &'a str, user: &'a str) -> Answer<'a, Option<Standing>> {
        Box::pin(async move {
            match group {
                "broken" => Err(DirectoryError("the database is away".into())),
                _ => Ok((user == "alice").then(Standing::default)),
            }
        })
    }

    fn may_write<'a>(&'a self, _user: &'a str, other: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(other != "bob") })
    }
}

#[tokio::test]
async fn the_applications_directory_decides() {
    let server = TestServer::with(
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| builder.directory(Arc::new(Club)),
    )
    .await;
    let mut alice = server.online("alice", "phone").await;
    let mut eve = server.online("eve", "phone").await;
    let id = alice.send_to(&team(), "hello");
    assert_eq!(alice.stored_as(id).await, 1);
    let id = eve.send_to(&team(), "hello");
    assert_eq!(eve.refused(id).await.0, RefusalCode::FORBIDDEN);
    let id = alice.send("bob", "hello");
    let (code, reason) = alice.refused(id).await;
    assert!(code == RefusalCode::FORBIDDEN && reason.contains("this user"), "{code}: {reason}");
    // What nobody could look up is tried again, so it has no answer yet.
    let credentials = Credentials { user: "alice".into(), device: "desk".into(), token: String::new() };
    let config = ClientConfig::new(&RUSTCRYPTO, server.server.public_key(), credentials);
    let mut desk = Peer::configured(ClientConfig { max_tries: 1, ..config }, 3);
    let id = desk.send_to(&Conversation::group("broken"), "hello");
    desk.connect_tcp(server.address).await;
    let unknown = desk.until(|event| match event {
        ClientEvent::Unknown { packet_id } | ClientEvent::Refused { packet_id, .. } => Some(packet_id),
        _ => None,
    });
    assert_eq!(unknown.await, id);
}
