//! What services do, with the library for them: push, delivery, presence, kick, ban, groups.
#![allow(clippy::disallowed_methods, reason = "tests of a program may use files and the clock")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::tls::Authority;
use crate::common::{TestServer, within};
use futures_util::future::BoxFuture;
use im_client::service::{Content, MemberRole, Outcome, Service, ServiceError, Target};
use im_proto::{ClientEvent, CloseCode, Conversation, Entry, RefusalCode};
use im_server::auth::OpenLoopback;
use im_server::store::{FileBans, FjallConfig, FjallStore};
use im_server::{BeforeSend, Draft, HookError, Origin, Right, ServerBuilder, ServiceKeys, Verdict};

/// A server on a directory that outlives it.
struct Backend {
    server: TestServer,
    service: Service,
}

async fn on(dir: &Path, keys: &(String, String), change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Backend {
    let store = Arc::new(FjallStore::open(dir, &FjallConfig::default()).unwrap());
    let bans = FileBans::open(&dir.join("bans.json")).unwrap();
    let parsed = ServiceKeys::parse(&keys.1).unwrap();
    let server = TestServer::on(
        store,
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| change(builder.service_keys(parsed).bans(Arc::new(bans)).broadcasts(["news".to_owned()])),
    )
    .await;
    let service = Service::new(format!("http://{}", server.address).parse().unwrap(), &keys.0).unwrap();
    Backend { server, service }
}

fn keys() -> (String, String) {
    ServiceKeys::generate("shop", &Right::ALL).unwrap()
}

/// Seq, and whether it was stored before.
fn stored(outcome: &Outcome) -> (u64, bool) {
    match outcome {
        Outcome::Stored { seq, duplicate, .. } => (*seq, *duplicate),
        other => panic!("{other:?}"),
    }
}

fn status<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> (u16, String) {
    match result {
        Err(ServiceError::Refused { status, code, .. }) => (status, code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_push_reaches_who_is_there_and_waits_for_who_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let Backend { server, mut service } = on(dir.path(), &keys(), |builder| builder).await;
    let mut alice = server.online("alice", "phone").await;
    let pushed =
        service.push("1", "shop", Target::users(["alice", "bob"]), Content::text("your parcel")).await.unwrap();
    let targets: Vec<_> =
        pushed.results.iter().map(|one| (one.target.as_str(), one.online, stored(&one.outcome))).collect();
    assert_eq!(targets, [("alice", 1, (1, false)), ("bob", 0, (1, false))]);
    assert_eq!(alice.entry().await, (1, "shop".into(), Entry::text("your parcel")));
    alice.settled().await;
    let at = |delivery: im_client::service::Delivery| {
        let [receiver] = <[_; 1]>::try_from(delivery.receivers).unwrap();
        let devices: Vec<_> = receiver.devices.into_iter().map(|one| (one.device, one.delivered)).collect();
        (receiver.user, receiver.delivered, receiver.read, devices)
    };
    // The ack is on its way to the store.
    within(async {
        while !at(service.private_delivery("shop", "alice", 1).await.unwrap()).1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let found = at(service.private_delivery("alice", "shop", 1).await.unwrap());
    assert_eq!(found, ("alice".into(), true, false, vec![("phone".into(), true)]));
    let found = at(service.private_delivery("shop", "bob", 1).await.unwrap());
    assert_eq!(found, ("bob".into(), false, false, vec![]));

    let mut bob = server.online("bob", "desk").await;
    assert_eq!(bob.entry().await, (1, "shop".into(), Entry::text("your parcel")));
    let (conversation, epoch) =
        (Conversation::private("shop"), server.store.head(&key("p:3:bob:shop")).await.unwrap().epoch);
    bob.connection.read(&conversation, epoch, 1).unwrap();
    bob.settled().await;
    within(async {
        while at(service.private_delivery("shop", "bob", 1).await.unwrap())
            != ("bob".into(), true, true, vec![("desk".into(), true)])
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(status(service.private_delivery("shop", "bob", 2).await), (404, "no_such_message".into()));
    let day = im_server::Retention::days(1).unwrap();
    assert!(server.server.trim(day, u64::MAX).await.unwrap() > 1);
    assert_eq!(status(service.private_delivery("shop", "bob", 1).await), (410, "too_old".into()));
}

fn key(name: &str) -> im_server::store::ConversationKey {
    im_server::store::ConversationKey::new(name).unwrap()
}

#[tokio::test]
async fn an_id_is_used_once_also_over_a_restart() {
    let (dir, keys) = (tempfile::tempdir().unwrap(), keys());
    let say = |text: &str| (Target::users(["alice", "bob"]), Content::text(text));
    {
        let Backend { server, mut service } = on(dir.path(), &keys, |builder| builder).await;
        for again in [false, true] {
            let (to, content) = say("once");
            let pushed = service.push("order 7", "shop", to, content).await.unwrap();
            assert!(pushed.results.iter().all(|one| stored(&one.outcome) == (1, again)), "{pushed:?}");
        }
        server.server.shutdown().await.unwrap();
    }
    let Backend { server, mut service } = on(dir.path(), &keys, |builder| builder).await;
    let (to, content) = say("once");
    let pushed = service.push("order 7", "shop", to, content).await.unwrap();
    assert!(pushed.results.iter().all(|one| stored(&one.outcome) == (1, true)), "{pushed:?}");
    let (to, content) = say("twice");
    assert_eq!(status(service.push("order 7", "shop", to, content).await), (409, "id_used".into()));
    // Nothing of it was stored, also for whom the first was not.
    let other = Target::users(["bob", "carol"]);
    assert_eq!(status(service.push("order 7", "shop", other, Content::text("once")).await), (409, "id_used".into()));
    assert_eq!(server.store.head(&key("p:5:alice:shop")).await.unwrap().seq, 1);
    assert_eq!(server.store.head(&key("p:5:carol:shop")).await.unwrap().seq, 0);
    let (to, content) = say("twice");
    let pushed = service.push("order 8", "shop", to, content).await.unwrap();
    assert!(pushed.results.iter().all(|one| stored(&one.outcome) == (2, false)), "{pushed:?}");
}

#[tokio::test]
async fn groups_rooms_and_channels_are_reached_over_tls_too() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let keys = keys();
    let Backend { server, .. } = on(dir.path(), &keys, |builder| builder.tls(authority.server_tls())).await;
    let url = format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let mut service = Service::new(url, &keys.0).unwrap().tls(authority.client_tls());
    let nobody = service.push("0", "shop", Target::Group("team".into()), Content::text("x")).await;
    assert_eq!(status(nobody), (404, "no_such_group".into()));
    service.create_group("team", "alice").await.unwrap();
    service.add_members("team", &["bob", "carol"]).await.unwrap();
    service.set_member("team", "carol", MemberRole::Admin, true, false).await.unwrap();
    let members = service.members("team", Some("alice")).await.unwrap();
    let members: Vec<_> = members.iter().map(|one| (one.user.as_str(), one.role, one.muted)).collect();
    assert_eq!(members, [("bob", MemberRole::Member, false), ("carol", MemberRole::Admin, true)]);
    service.remove_member("team", "carol").await.unwrap();

    let mut bob = server.online("bob", "phone").await;
    let group = service.push("1", "shop", Target::Group("team".into()), Content::bytes(300, b"\0\xff")).await.unwrap();
    assert_eq!(stored(&group.results[0].outcome), (1, false));
    let entry = Entry::Message { content_type: 300, content: b"\0\xff".to_vec() };
    assert_eq!(bob.entry().await, (1, "shop".into(), entry));
    let delivery = service.group_delivery("team", 1, None).await.unwrap();
    let users: Vec<_> = delivery.receivers.iter().map(|receiver| receiver.user.as_str()).collect();
    assert_eq!((users, delivery.next), (vec!["alice", "bob"], None));

    let news = service.push("2", "shop", Target::Channel("news".into()), Content::text("sale")).await.unwrap();
    assert_eq!(stored(&news.results[0].outcome), (1, false));
    assert_eq!(bob.entry().await, (1, "shop".into(), Entry::text("sale")));
    assert_eq!(service.channel_delivery("news", 1, None).await.unwrap().receivers[0].user, "bob");

    bob.connection.join_room(&Conversation::room("show")).unwrap();
    bob.until(|event| matches!(event, ClientEvent::RoomJoined { .. }).then_some(())).await;
    for again in [false, true] {
        let room = service.push("3", "shop", Target::Room("show".into()), Content::text("live")).await.unwrap();
        assert_eq!((stored(&room.results[0].outcome), room.results[0].online), ((0, again), 1));
    }
    let heard = bob.until(|event| match event {
        ClientEvent::RoomMessage { content, .. } => Some(content),
        _ => None,
    });
    assert_eq!(heard.await, b"live");
    let other = service.push("3", "shop", Target::Room("show".into()), Content::text("other")).await;
    assert_eq!(status(other), (409, "id_used".into()));
}

async fn refused_login(server: &TestServer, user: &str) -> String {
    let mut peer = server.tcp(user, "phone").await;
    let closed = peer.closed().await;
    assert_eq!(closed.code, CloseCode::LOGIN_REFUSED);
    closed.reason
}

#[tokio::test]
async fn who_is_kicked_or_banned_is_told_why_and_a_ban_stays() {
    let (dir, keys) = (tempfile::tempdir().unwrap(), keys());
    {
        let Backend { server, mut service } = on(dir.path(), &keys, |builder| builder).await;
        let mut phone = server.online("eve", "phone").await;
        let mut desk = server.online("eve", "desk").await;
        let online = service.online(&["eve", "bob"]).await.unwrap();
        assert_eq!((online[0].state.as_str(), online[0].devices.len()), ("online", 2));
        assert_eq!((online[1].state.as_str(), online[1].devices.len()), ("offline", 0));
        assert!(online[0].devices[0].since_ms > 1_700_000_000_000);
        assert_eq!(service.kick("eve", Some("phone"), "log in again", true).await.unwrap(), 1);
        let closed = phone.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (CloseCode::GOING_AWAY, "log in again"));
        assert_eq!(service.kick("eve", Some("phone of another"), "", false).await.unwrap(), 0);
        assert_eq!(service.ban("eve", "spam", None).await.unwrap(), 1);
        let closed = desk.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (CloseCode::LOGIN_REFUSED, "you are banned: spam"));
        assert!(!closed.may_reconnect());
        assert_eq!(refused_login(&server, "eve").await, "you are banned: spam");
        server.online("bob", "phone").await;
        assert_eq!(status(service.ban("eve", "x", Some(1)).await), (422, "invalid".into()));
        server.server.shutdown().await.unwrap();
    }
    let Backend { server, mut service } = on(dir.path(), &keys, |builder| builder).await;
    assert_eq!(refused_login(&server, "eve").await, "you are banned: spam");
    let ban = service.user("eve").await.unwrap().ban.unwrap();
    assert_eq!((ban.reason.as_str(), ban.by.as_str(), ban.until_ms), ("spam", "shop", None));
    assert_eq!(service.bans(None).await.unwrap()[0].user, "eve");
    service.ban("eve", "cool down", Some(4_102_444_800_000)).await.unwrap();
    assert_eq!(refused_login(&server, "eve").await, "you are banned until 2100-01-01 00:00:00 UTC: cool down");
    service.unban("eve").await.unwrap();
    server.online("eve", "phone").await;
}

/// Writes down who says something, and refuses some of it.
#[derive(Default)]
struct Origins(Mutex<Vec<(String, bool)>>);

impl BeforeSend for Origins {
    fn before_send<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<Verdict, HookError>> {
        let shop = draft.origin == Origin::Service("shop");
        self.0.lock().unwrap().push((draft.from.to_owned(), shop));
        let refuses = *draft.conversation == Conversation::private("bob");
        Box::pin(async move {
            let refuse = || Verdict::Refuse { code: RefusalCode(1007), reason: "not to bob".into(), retry: false };
            Ok(if refuses { refuse() } else { Verdict::Pass })
        })
    }
}

#[tokio::test]
async fn pushes_pass_the_hook_which_sees_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let origins = Arc::new(Origins::default());
    let hook = origins.clone();
    let Backend { mut service, .. } = on(dir.path(), &keys(), |builder| builder.before_send(hook)).await;
    let pushed = service.push("1", "carol", Target::users(["alice", "bob"]), Content::text("hi")).await.unwrap();
    assert_eq!(stored(&pushed.results[0].outcome), (1, false));
    let refused = &pushed.results[1].outcome;
    assert!(
        matches!(refused, Outcome::Refused { refusal: 1007, reason, retry: false, .. } if reason == "not to bob"),
        "{refused:?}"
    );
    assert_eq!(*origins.0.lock().unwrap(), [("carol".into(), true), ("carol".into(), true)]);
    let room = service.push("2", "carol", Target::Room("show".into()), Content::text("hi")).await.unwrap();
    assert_eq!(stored(&room.results[0].outcome), (0, false));
    assert_eq!(origins.0.lock().unwrap().len(), 3);
}

/// Says about bob: later, once.
#[derive(Default)]
struct Later(AtomicBool);

impl BeforeSend for Later {
    fn before_send<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<Verdict, HookError>> {
        let first = *draft.conversation == Conversation::private("bob") && !self.0.swap(true, Ordering::SeqCst);
        let later = || Verdict::Refuse { code: RefusalCode(1008), reason: "later".into(), retry: true };
        Box::pin(async move { Ok(if first { later() } else { Verdict::Pass }) })
    }
}

#[tokio::test]
async fn what_may_succeed_later_is_sent_again_and_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Arc::new(Later::default());
    let Backend { server, mut service } = on(dir.path(), &keys(), |builder| builder.before_send(hook)).await;
    let pushed = service.push("1", "shop", Target::users(["alice", "bob"]), Content::text("hi")).await.unwrap();
    let outcomes: Vec<_> = pushed.results.iter().map(|one| stored(&one.outcome)).collect();
    assert_eq!(outcomes, [(1, true), (1, false)]);
    assert_eq!(server.store.head(&key("p:5:alice:shop")).await.unwrap().seq, 1);
    let metrics = server.server.metrics();
    for (outcome, count) in [("stored", 2), ("again", 1), ("refused", 1)] {
        assert!(metrics.contains(&format!("im_api_targets_total{{outcome=\"{outcome}\"}} {count}\n")), "{metrics}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let Backend { server, .. } = on(dir.path(), &keys(), |builder| builder).await;
    let url = format!("http://{}", server.address);
    let mut wrong = Service::new(url.parse().unwrap(), "imk_wrong").unwrap();
    assert_eq!(status(wrong.user("alice").await), (401, "key_refused".into()));
}
