//! What is stored is told to a receiver over real sockets: signed, in order, again until it is taken, and never more than may
//! be told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::common::receiver::{Receiver, SECRET};
use crate::common::tls::Authority;
use crate::common::{TestServer, within};
use im_server::Webhooks;
use im_server::auth::OpenLoopback;
use im_server::store::{
    ConversationKey, FjallConfig, FjallStore, Outbox, OutboxConfig, OutboxStatus, Store, StoreError, StoreLayer,
    StoredEntry,
};
use rustls::pki_types::pem::PemObject;

struct Setup {
    server: TestServer,
    store: Arc<FjallStore>,
    _dir: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = FjallConfig { outbox: Some(OutboxConfig::default()), ..FjallConfig::default() };
        let store = Arc::new(FjallStore::open(dir.path(), &config).unwrap());
        let server =
            TestServer::on(store.clone(), |address| Arc::new(OpenLoopback::new(address).unwrap()), |b| b).await;
        Self { server, store, _dir: dir }
    }

    fn send(&self, webhooks: Webhooks) {
        let (server, store) = (self.server.server.clone(), self.store.clone());
        tokio::spawn(async move { server.send_webhooks(store, &webhooks).await });
    }

    async fn status(&self, is: impl FnMut(&OutboxStatus) -> bool) {
        within(self.store.status().wait_for(is)).await.unwrap();
    }
}

fn webhooks(url: &str) -> Webhooks {
    let (first, most) = (Duration::from_millis(5), Duration::from_millis(20));
    Webhooks::new(url, SECRET).unwrap().backoff(first, most)
}

#[tokio::test]
async fn events_come_signed_and_in_order_and_again_with_the_same_id_until_they_are_taken() {
    let setup = Setup::new().await;
    let mut receiver = Receiver::start(None).await;
    let elsewhere = format!("http://127.0.0.1:{}/elsewhere", receiver.port);
    // Each event fails three times, in three ways.
    let mut tries = BTreeMap::<String, u32>::new();
    receiver.answer(move |told| {
        let tries = tries.entry(told.id.clone()).or_default();
        *tries += 1;
        match *tries {
            1 => (500, None),
            2 => (307, Some(("location", elsewhere.clone()))),
            3 => (429, Some(("retry-after", "0".into()))),
            _ => (200, None),
        }
    });
    let mut alice = setup.server.online("alice", "phone").await;
    for (to, text) in [("bob", "one"), ("bob", "two"), ("eve", "to eve")] {
        alice.send(to, text);
        alice.stored().await;
    }
    setup.send(webhooks(&format!("http://127.0.0.1:{}/hook", receiver.port)));
    let mut to_bob = Vec::new();
    let mut ids = BTreeMap::new();
    for _ in 0..12 {
        let told = receiver.next().await;
        assert_eq!((told.kind.as_str(), &told.data["from"]), ("message.stored", &"alice".into()));
        if told.data["conversation"] == serde_json::json!({"kind": "private", "id": "bob"}) {
            to_bob.push(told.data["content"].as_str().unwrap().to_owned());
        }
        assert_eq!(told.id, format!("msg_{}", told.data["message_id"].as_str().unwrap()));
        *ids.entry(told.id).or_insert(0) += 1;
    }
    assert_eq!(to_bob, ["one", "one", "one", "one", "two", "two", "two", "two"]);
    assert!(ids.len() == 3 && ids.values().all(|tries| *tries == 4), "{ids:?}");
    setup.status(|status| status.waiting == 0).await;
    let metrics = setup.server.server.metrics();
    for line in ["im_webhooks_total{outcome=\"delivered\"} 3", "im_webhooks_total{outcome=\"failed\"} 9"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(receiver.told.try_recv().is_err(), "what was taken is not told again");
}

#[tokio::test]
async fn what_was_recalled_before_it_was_told_is_told_without_content() {
    let setup = Setup::new().await;
    let mut receiver = Receiver::start(None).await;
    let mut alice = setup.server.online("alice", "phone").await;
    alice.send("bob", "hush-hush");
    let (_, seq) = alice.stored().await;
    let recall = alice.command(im_proto::Command::recall(im_proto::Conversation::private("bob"), seq));
    alice.stored_as(recall).await;
    setup.send(webhooks(&format!("http://127.0.0.1:{}/hook", receiver.port)));
    let (said, recall) = (receiver.next().await, receiver.next().await);
    assert_eq!((said.kind.as_str(), &said.data["recalled"]), ("message.stored", &true.into()));
    assert!(!said.data.to_string().contains("hush"), "{:?}", said.data);
    assert_eq!((recall.kind.as_str(), &recall.data["about"]), ("message.recalled", &seq.into()));
}

#[tokio::test]
async fn what_failed_waits_while_other_conversations_are_told() {
    const HOUR: Duration = Duration::from_secs(3600);
    let setup = Setup::new().await;
    let mut receiver = Receiver::start(None).await;
    let to = |told: &crate::common::receiver::Told| told.data["conversation"]["id"].as_str().unwrap().to_owned();
    receiver.answer(move |told| (if to(told) == "bob" { 503 } else { 200 }, None));
    setup.send(webhooks(&format!("http://127.0.0.1:{}/hook", receiver.port)).backoff(HOUR, HOUR));
    let mut alice = setup.server.online("alice", "phone").await;
    for name in ["bob", "eve", "eve", "eve", "eve", "eve"] {
        alice.send(name, "hello");
        alice.stored().await;
        assert_eq!(to(&receiver.next().await), name);
    }
}

#[tokio::test]
async fn what_fails_for_too_long_is_a_dead_letter_and_can_be_sent_again() {
    let setup = Setup::new().await;
    let mut receiver = Receiver::start(None).await;
    receiver.answer(|_| (404, None));
    setup.send(webhooks(&format!("http://127.0.0.1:{}/hook", receiver.port)).max_age(Duration::ZERO).content(false));
    let mut alice = setup.server.online("alice", "phone").await;
    alice.send("bob", "hush-hush");
    alice.stored().await;
    let first = receiver.next().await;
    setup.status(|status| (status.waiting, status.dead) == (0, 1)).await;
    assert!(first.data.get("content").is_none());
    let letters = setup.store.dead_letters(0, 9).await.unwrap();
    assert_eq!(letters[0].answer, 404);
    receiver.answer(|_| (200, None));
    setup.store.retry(vec![letters[0].event.number], 1).await.unwrap();
    assert_eq!(receiver.next().await.id, first.id);
    setup.status(|status| (status.waiting, status.dead) == (0, 0)).await;
}

#[tokio::test]
async fn gone_ends_sending_and_keeps_the_events() {
    let setup = Setup::new().await;
    let mut receiver = Receiver::start(None).await;
    receiver.answer(|_| (410, None));
    setup.send(webhooks(&format!("http://127.0.0.1:{}/hook", receiver.port)));
    let mut alice = setup.server.online("alice", "phone").await;
    alice.send("bob", "one");
    alice.stored().await;
    receiver.next().await;
    let gone = async {
        while !setup.server.server.metrics().contains("im_webhook_gone 1") {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
    alice.send("bob", "two");
    alice.stored().await;
    setup.status(|status| status.waiting == 2).await;
    assert!(receiver.told.try_recv().is_err());
}

#[tokio::test]
async fn with_tls_only_a_receiver_that_is_trusted_is_told() {
    let authority = Authority::new();
    let (chain, key) = authority.issue();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            rustls::pki_types::CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect(),
            rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let mut receiver = Receiver::start(Some(Arc::new(config).into())).await;
    let url = format!("https://localhost:{}/hook", receiver.port);

    let wary = Setup::new().await;
    let mut alice = wary.server.online("alice", "phone").await;
    alice.send("bob", "nobody trusts it");
    alice.stored().await;
    wary.send(webhooks(&url).max_age(Duration::ZERO));
    wary.status(|status| status.dead == 1).await;
    assert!(receiver.told.try_recv().is_err());

    let setup = Setup::new().await;
    setup.send(webhooks(&url).authorities(authority.pem.as_bytes()).unwrap());
    let mut alice = setup.server.online("alice", "phone").await;
    alice.send("bob", "over TLS");
    alice.stored().await;
    assert_eq!(receiver.next().await.data["content"], "over TLS");
    setup.store.close().await.unwrap();
}

/// The first entry of each log cannot be read.
struct Damaged(Arc<FjallStore>);

impl StoreLayer for Damaged {
    fn inner(&self) -> &dyn Store {
        &*self.0
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>> {
        if after == 0 {
            return Box::pin(async { Err(StoreError::corrupt("messages", b"1", "the test damaged it")) });
        }
        self.0.read(conversation, after, max_messages, max_bytes)
    }
}

#[tokio::test]
async fn an_event_whose_entry_is_damaged_is_set_aside_and_the_others_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = FjallConfig { outbox: Some(OutboxConfig::default()), ..FjallConfig::default() };
    let store = Arc::new(FjallStore::open(dir.path(), &config).unwrap());
    let open = |address| Arc::new(OpenLoopback::new(address).unwrap()) as _;
    let server = TestServer::on(Arc::new(Damaged(store.clone())), open, |b| b).await;
    let setup = Setup { server, store, _dir: dir };
    let mut receiver = Receiver::start(None).await;
    let mut alice = setup.server.online("alice", "phone").await;
    for text in ["one", "two"] {
        alice.send("bob", text);
        alice.stored().await;
    }
    setup.send(webhooks(&format!("http://127.0.0.1:{}/hook", receiver.port)));
    assert_eq!(receiver.next().await.data["content"], "two");
    setup.status(|status| (status.waiting, status.dead) == (0, 1)).await;
    assert_eq!(setup.store.dead_letters(0, 9).await.unwrap()[0].answer, 0);
    assert!(setup.server.server.metrics().contains("im_webhooks_total{outcome=\"damaged\"} 1"));
}
