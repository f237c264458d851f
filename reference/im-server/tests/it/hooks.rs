//! What an application does about messages before they are stored, and after.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Peer, TestServer, config, within};
use futures_util::future::BoxFuture;
use im_client::{Backoff, Client, Credentials, Message, Options};
use im_proto::{
    ClientConfig, ClientEvent, Command, Conversation, Entry, RefusalCode, SealedMessage, SealedParts, content_type,
};
use im_server::auth::OpenLoopback;
use im_server::store::{ConversationKey, EntryKind, FjallConfig, FjallStore, Store};
use im_server::{AfterCommit, BeforeSend, BroadcastError, Committed, Draft, HookError, Origin, ServerBuilder, Verdict};
use tokio::sync::{Notify, Semaphore};

async fn server(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    TestServer::with(|address| Arc::new(OpenLoopback::new(address).unwrap()), change).await
}

/// Does what the text of a message says, the first time.
#[derive(Default)]
struct Words {
    asked: Mutex<Vec<(String, String, EntryKind)>>,
    seen: Mutex<BTreeSet<String>>,
    busy: AtomicUsize,
    most: AtomicUsize,
    go_on: Option<Semaphore>,
}

const OWN: RefusalCode = RefusalCode(1001);

impl BeforeSend for Words {
    fn before_send<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<Verdict, HookError>> {
        Box::pin(async move {
            let origin = format!("{:?}", draft.origin);
            self.asked.lock().unwrap().push((draft.from.to_owned(), origin, draft.kind));
            self.most.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if let Some(go_on) = &self.go_on {
                go_on.acquire().await.unwrap().forget();
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            let text = String::from_utf8_lossy(draft.content).into_owned();
            let again = !self.seen.lock().unwrap().insert(text.clone());
            Ok(match text.split(' ').next().unwrap_or_default() {
                _ if again => Verdict::Pass,
                "rude" => Verdict::Refuse { code: OWN, reason: "be kind".into(), retry: false },
                "swear" => Verdict::Replace { content_type: 300, content: b"****".to_vec() },
                "long" => Verdict::Replace { content_type: 1, content: vec![0; 1 << 20] },
                "fail" => return Err(HookError("no database".into())),
                "panic" => panic!("a fault of the application"),
                "hang" => std::future::pending().await,
                "later" => Verdict::Refuse { code: OWN, reason: "not yet".into(), retry: true },
                _ => Verdict::Pass,
            })
        })
    }
}

async fn entries(server: &TestServer) -> Vec<Vec<u8>> {
    let key = ConversationKey::new("p:5:alice:bob").unwrap();
    server.store.read(&key, 0, 100, 1 << 20).await.unwrap().into_iter().map(|entry| entry.content).collect()
}

#[tokio::test]
async fn a_hook_sees_everything_and_may_change_or_refuse_it() {
    let words = Arc::new(Words::default());
    let hook = words.clone();
    let server = server(|builder| builder.before_send(hook).broadcasts(["news".to_owned()])).await;
    let mut alice = server.online("alice", "phone").await;
    let mut bob = server.online("bob", "phone").await;
    let id = alice.send("bob", "rude words");
    assert_eq!(alice.refused(id).await, (OWN, "be kind".into()));
    let id = alice.send("bob", "swear words");
    assert_eq!(alice.stored_as(id).await, 1);
    let entry = Entry::Message { content_type: 300, content: b"****".to_vec() };
    assert_eq!(bob.entry().await, (1, "alice".into(), entry));
    let to = Conversation::private("bob");
    let id = alice.command(Command::edit(to.clone(), 1, "rude edit"));
    assert_eq!(alice.refused(id).await.0, OWN);
    for command in
        [Command::edit(to.clone(), 1, "swear"), Command::react(to.clone(), 1, "fine"), Command::recall(to.clone(), 1)]
    {
        let id = alice.command(command);
        alice.stored_as(id).await;
    }
    let parts = SealedParts::new(&[("bob", "phone", "opaque")]).unwrap();
    let sealed = SealedMessage { to, content_type: 9, parts };
    let now = alice.now();
    let id = alice.connection.send_sealed(now, sealed).unwrap();
    alice.stored_as(id).await;

    let room = Conversation::room("show");
    for peer in [&mut alice, &mut bob] {
        peer.connection.join_room(&room).unwrap();
        peer.until(|event| matches!(event, ClientEvent::RoomJoined { .. }).then_some(())).await;
    }
    let id = alice.send_to(&room, "rude in a room");
    assert_eq!(alice.refused(id).await.0, OWN);
    let id = alice.send_to(&room, "swear in a room");
    alice.stored_as(id).await;
    let heard = |event| match event {
        ClientEvent::RoomMessage { content, .. } => Some(content),
        _ => None,
    };
    assert_eq!(bob.until(heard).await, b"****");

    let say = async |text: &str| server.server.broadcast("news", "us", content_type::TEXT, text.into()).await;
    assert_eq!(say("rude").await, Err(BroadcastError::Refused { code: OWN, reason: "be kind".into() }));
    assert_eq!(say("fine").await, Ok(1));
    let asked = words.asked.lock().unwrap().clone();
    let kinds: Vec<_> = asked.iter().map(|(_, _, kind)| *kind).collect();
    let (edit, message) = (EntryKind::Edit { about: 1 }, EntryKind::Message);
    let commands = [edit, edit, EntryKind::React { about: 1 }, EntryKind::Recall { about: 1 }, EntryKind::Sealed];
    assert_eq!(kinds, [&[message; 2][..], &commands, &[message; 4]].concat());
    assert!(asked[0].0 == "alice" && asked[0].1 == format!("{:?}", Origin::Device("phone")), "{asked:?}");
    assert!(asked[9].0 == "us" && asked[9].1 == format!("{:?}", Origin::Service("server")), "{asked:?}");
    assert!(server.server.metrics().contains("im_hooks_total{hook=\"before_send\",outcome=\"replaced\"} 3"));
}

#[tokio::test]
async fn a_hook_that_does_not_work_is_a_refusal_to_try_again() {
    let server =
        server(|builder| builder.before_send(Arc::new(Words::default())).hook_timeout(Duration::from_millis(50))).await;
    let credentials = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
    let url = format!("tcp://{}", server.address).parse().unwrap();
    let mut options = Options::new(url, server.server.public_key(), credentials);
    let soon = Duration::from_millis(50);
    options.config.retry = Backoff { first: soon, max: soon };
    let (alice, _events) = Client::start(options).unwrap();
    for (seq, text) in ["fail", "panic", "long", "hang", "later"].into_iter().enumerate() {
        // The client tries again by itself.
        let sent = within(alice.send(Message::text("bob", text))).await.unwrap();
        assert_eq!(sent.seq, seq as u64 + 1, "{text}");
    }
    let metrics = server.server.metrics();
    for (outcome, count) in [("failed", 3), ("timeout", 1), ("refused", 1), ("passed", 5)] {
        let line = format!("im_hooks_total{{hook=\"before_send\",outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn what_was_stored_before_is_answered_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(FjallStore::open(dir.path(), &FjallConfig::default()).unwrap());
    let words = Arc::new(Words::default());
    let notes = Arc::new(Notes::default());
    notes.first.notify_one();
    let (before, after) = (words.clone(), notes.clone());
    let server = TestServer::on(
        store,
        |address| Arc::new(OpenLoopback::new(address).unwrap()),
        |builder| builder.before_send(before).after_commit(after),
    )
    .await;
    for again in [false, true] {
        // The answer settles it, and not the stream's own fact about the first message.
        let config = ClientConfig { receive_max: 0, ..config(server.server.public_key(), "alice", "phone") };
        let mut alice = Peer::configured(config, 7);
        let id = alice.send("bob", "swear at me");
        alice.connect_tcp(server.address).await;
        alice.logged_in().await;
        assert_eq!(alice.stored_as(id).await, 1);
        assert_eq!(words.asked.lock().unwrap().len(), 1, "what is stored is not asked about");
        assert_eq!(notes.told.lock().unwrap().last(), Some(&(1, b"****".to_vec(), again)));
    }
    assert_eq!(entries(&server).await, [b"****".to_vec()]);
}

#[tokio::test]
async fn what_was_stored_is_told_again_also_when_it_would_be_refused_today() {
    let notes = Arc::new(Notes::default());
    notes.first.notify_one();
    let hook = notes.clone();
    let server = server(|builder| builder.after_commit(hook)).await;
    server.server.groups().create("team", "alice").await.unwrap();
    for again in [false, true] {
        let config = ClientConfig { receive_max: 0, ..config(server.server.public_key(), "alice", "phone") };
        let mut alice = Peer::configured(config, 7);
        let id = alice.send_to(&Conversation::group("team"), "while I am in");
        alice.connect_tcp(server.address).await;
        alice.logged_in().await;
        assert_eq!(alice.stored_as(id).await, 1);
        assert_eq!(notes.told.lock().unwrap().last(), Some(&(1, b"while I am in".to_vec(), again)));
        server.server.groups().remove("team", "alice").await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_hook_is_asked_about_a_few_messages_at_once_and_the_order_stays() {
    let words = Arc::new(Words { go_on: Some(Semaphore::new(0)), ..Words::default() });
    let hook = words.clone();
    let server = server(|builder| builder.before_send(hook)).await;
    let mut alice = server.online("alice", "phone").await;
    let ids: Vec<_> = (0..30).map(|n| alice.send("bob", &format!("{n}"))).collect();
    alice.flush().await;
    within(async {
        while words.busy.load(Ordering::SeqCst) < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    words.go_on.as_ref().unwrap().add_permits(30);
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(alice.stored_as(id).await, n as u64 + 1);
    }
    assert_eq!(words.most.load(Ordering::SeqCst), 8);
    let texts: Vec<_> = (0..30).map(|n| format!("{n}").into_bytes()).collect();
    assert_eq!(entries(&server).await, texts);
}

/// Writes down what it is told; the first one waits.
#[derive(Default)]
struct Notes {
    told: Mutex<Vec<(u64, Vec<u8>, bool)>>,
    first: Notify,
    fails: bool,
}

impl AfterCommit for Notes {
    fn after_commit<'a>(&'a self, committed: &'a Committed<'a>) -> BoxFuture<'a, Result<(), HookError>> {
        Box::pin(async move {
            if self.fails {
                return Err(HookError("no database".into()));
            }
            if committed.entry.seq == 1 && !committed.again {
                self.first.notified().await;
            }
            let entry = committed.entry;
            self.told.lock().unwrap().push((entry.seq, entry.content.clone(), committed.again));
            Ok(())
        })
    }
}

#[tokio::test]
async fn entries_are_told_in_the_order_of_the_conversation_before_they_are_acked() {
    let notes = Arc::new(Notes::default());
    let hook = notes.clone();
    let server = server(|builder| builder.after_commit(hook)).await;
    let (mut alice, mut bob) = (server.online("alice", "phone").await, server.online("bob", "phone").await);
    let first = alice.send("bob", "1");
    alice.flush().await;
    // Whoever it is for does not wait for the hook.
    assert_eq!(bob.entry().await.0, 1);
    let mut rest = Vec::new();
    for n in 2..=20 {
        let (peer, to) = if n % 2 == 0 { (&mut bob, "alice") } else { (&mut alice, "bob") };
        rest.push((n % 2 == 0, peer.send(to, &n.to_string())));
        peer.flush().await;
    }
    let key = ConversationKey::new("p:5:alice:bob").unwrap();
    within(async {
        while server.store.head(&key).await.unwrap().seq < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(notes.told.lock().unwrap().is_empty(), "what came later waits for the first");
    notes.first.notify_one();
    assert_eq!(alice.stored_as(first).await, 1);
    for (of_bob, id) in rest {
        let seq = if of_bob { &mut bob } else { &mut alice }.stored_as(id).await;
        assert!(notes.told.lock().unwrap().iter().any(|(told, ..)| *told == seq), "{seq} was acked and not told");
    }
    let told: Vec<_> = notes.told.lock().unwrap().iter().map(|(seq, _, again)| (*seq, *again)).collect();
    assert_eq!(told, (1..=20).map(|seq| (seq, false)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_failing_after_commit_takes_nothing_back() {
    let notes = Notes { fails: true, ..Notes::default() };
    let server = server(|builder| builder.after_commit(Arc::new(notes))).await;
    let mut alice = server.online("alice", "phone").await;
    let id = alice.send("bob", "stored all the same");
    assert_eq!(alice.stored_as(id).await, 1);
    assert!(server.server.metrics().contains("im_hooks_total{hook=\"after_commit\",outcome=\"failed\"} 1"));
}
