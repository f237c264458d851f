//! A store that refuses, does not know, is slow or full: what clients are told is true, message by message.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::store::{Appends, Wrapped};
use crate::common::{TestServer, within};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use im_client::{Client, Credentials, Message, Options, RefusalCode, SendFailure, Sent};
use im_proto::Backoff;
use im_server::auth::OpenLoopback;
use im_server::store::{Append, ConversationKey, FjallStore, NewEntry, Store, StoreError};

const SEED: u64 = 0xfa_017;
const CLIENTS: usize = 4;
const MESSAGES: usize = 150;
const WINDOW: usize = 16;

/// `SplitMix64` of one number.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn no_space() -> StoreError {
    StoreError::Io("no space left on device".into())
}

/// The fault of an attempt follows from the seed, the message and how often it came before: not from who was first.
#[derive(Default)]
struct Faulty {
    attempts: Mutex<BTreeMap<Vec<u8>, u64>>,
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Faulty {
    fn draw(&self, content: &[u8]) -> u64 {
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(content.to_vec()).or_default();
        *attempt += 1;
        let message = content.iter().fold(SEED, |sum, byte| mixed(sum ^ u64::from(*byte)));
        mixed(message ^ *attempt) % 100
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }
}

impl Appends for Faulty {
    fn append<'a>(&'a self, inner: &'a FjallStore, entry: NewEntry) -> BoxFuture<'a, Append> {
        // The order of the log is that of the first polls, so the store is slow with its answers only.
        Box::pin(async move {
            match self.draw(&entry.content) {
                0..40 => {
                    self.count("not stored");
                    Append::NotStored(no_space())
                }
                40..50 => {
                    self.count("unknown, and lost");
                    Append::Unknown(StoreError::Failed("the disk said nothing".into()))
                }
                50..60 => {
                    let _: Append = inner.append(entry).await;
                    self.count("unknown, and stored");
                    Append::Unknown(StoreError::Failed("the disk said nothing".into()))
                }
                slow @ 60..80 => {
                    let outcome = inner.append(entry).await;
                    tokio::time::sleep(Duration::from_millis((slow - 60) / 2)).await;
                    self.count("slow");
                    outcome
                }
                _ => {
                    self.count("good");
                    inner.append(entry).await
                }
            }
        })
    }
}

fn client(server: &TestServer, user: &str, max_tries: u32) -> Client {
    let credentials = Credentials { user: user.into(), device: "phone".into(), token: String::new() };
    let url = format!("tcp://{}", server.address).parse().unwrap();
    let mut options = Options::new(url, server.server.public_key(), credentials).reconnect(false);
    options.config.max_tries = max_tries;
    options.config.retry = Backoff { first: Duration::from_millis(250), max: Duration::from_millis(250) };
    // The events of this client are not looked at; deliveries would wait for acks.
    options.config.receive_max = 0;
    Client::start(options).unwrap().0
}

type Outcomes = Vec<(String, Result<Sent, SendFailure>)>;

async fn send_all(client: Client, user: String) -> Outcomes {
    let mut outcomes = Vec::new();
    let mut waiting = FuturesOrdered::new();
    for number in 0..MESSAGES {
        let text = format!("{user} {number}");
        let pending = client.submit(Message::text("bob", &text)).await.unwrap();
        waiting.push_back(async move { (text, pending.await) });
        if waiting.len() == WINDOW {
            outcomes.extend(within(waiting.next()).await);
        }
    }
    while let Some(outcome) = within(waiting.next()).await {
        outcomes.push(outcome);
    }
    within(client.close()).await;
    outcomes
}

/// The conversation with bob as it is stored: message id and text by seq.
async fn log(store: &dyn Store, user: &str) -> Vec<(u64, String)> {
    let key = ConversationKey::new(format!("p:3:bob:{user}")).unwrap();
    let entries = store.read(&key, 0, usize::MAX, usize::MAX).await.unwrap();
    assert_eq!(store.head(&key).await.unwrap().seq, entries.len() as u64);
    let dense = entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq);
    assert!(dense, "a hole in {key}");
    entries.into_iter().map(|entry| (entry.message_id, String::from_utf8(entry.content).unwrap())).collect()
}

#[tokio::test]
async fn what_is_told_of_each_message_is_true_whatever_the_store_does() {
    println!("seed {SEED:#x}");
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::default();
    let counts = faulty.counts.clone();
    let store = Arc::new(Wrapped::open(dir.path(), faulty));
    let open = |address| Arc::new(OpenLoopback::new(address).unwrap()) as _;
    let server = TestServer::on(store, open, |builder| builder).await;
    let users: Vec<String> = (0..CLIENTS).map(|number| format!("user{number}")).collect();
    let senders: Vec<_> =
        users.iter().map(|user| tokio::spawn(send_all(client(&server, user, 4), user.clone()))).collect();
    let mut outcomes = Vec::new();
    for sender in senders {
        outcomes.push(sender.await.unwrap());
    }
    // Nothing is under way any more.
    server.server.shutdown().await.unwrap();

    let (mut stored, mut refused, mut unknown, mut unknown_stored) = (0, 0, 0, 0);
    for (user, outcomes) in users.iter().zip(outcomes) {
        assert_eq!(outcomes.len(), MESSAGES);
        let log = log(&*server.store, user).await;
        let places = |text: &str| log.iter().filter(|(_, found)| found == text).count();
        for (text, outcome) in outcomes {
            match outcome {
                Ok(Sent { message_id, seq, .. }) => {
                    assert_eq!(places(&text), 1, "{text:?} was told to be stored");
                    assert_eq!(log[seq as usize - 1], (message_id, text), "it is where the answer says");
                    stored += 1;
                }
                Err(SendFailure::Refused { code, reason }) => {
                    assert_eq!(places(&text), 0, "{text:?} was told to be refused: {reason}");
                    assert_eq!(code, RefusalCode::STORE);
                    assert!(reason.contains("could not store"), "{reason}");
                    refused += 1;
                }
                Err(SendFailure::Unknown) => {
                    assert!(places(&text) <= 1, "{text:?} is there twice");
                    (unknown, unknown_stored) = (unknown + 1, unknown_stored + places(&text));
                }
                Err(failure) => panic!("{text:?}: {failure}"),
            }
        }
    }
    println!("the store: {:?}", counts.lock().unwrap());
    println!("clients: {stored} stored, {refused} refused, {unknown} unknown, of which {unknown_stored} are stored");
    assert_eq!(counts.lock().unwrap().len(), 5, "every fault came");
    assert!(stored > 0 && refused > 0 && unknown > 0, "every outcome came");
}

/// Full until somebody makes room.
struct Full(Arc<AtomicBool>);

impl Appends for Full {
    fn append<'a>(&'a self, inner: &'a FjallStore, entry: NewEntry) -> BoxFuture<'a, Append> {
        if self.0.load(Ordering::Relaxed) {
            return Box::pin(async { Append::NotStored(no_space()) });
        }
        inner.append(entry)
    }
}

#[tokio::test]
async fn a_full_store_refuses_with_a_reason_and_takes_the_same_clients_messages_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(true));
    let store = Arc::new(Wrapped::open(dir.path(), Full(full.clone())));
    let open = |address| Arc::new(OpenLoopback::new(address).unwrap()) as _;
    let server = TestServer::on(store, open, |builder| builder).await;
    let impatient = client(&server, "user0", 2);
    let patient = client(&server, "user1", 1_000);
    let waits = patient.submit(Message::text("bob", "when there is room")).await.unwrap();
    for number in 0..5 {
        match within(impatient.send(Message::text("bob", &format!("no room {number}")))).await {
            Err(SendFailure::Refused { code: RefusalCode::STORE, reason }) => {
                assert!(reason.contains("could not store"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(log(&*server.store, "user0").await.is_empty() && log(&*server.store, "user1").await.is_empty());
    full.store(false, Ordering::Relaxed);
    assert_eq!(within(waits).await.unwrap().seq, 1);
    assert_eq!(within(impatient.send(Message::text("bob", "room again"))).await.unwrap().seq, 1);
    let texts = |log: Vec<(u64, String)>| log.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(texts(log(&*server.store, "user0").await), ["room again"]);
    assert_eq!(texts(log(&*server.store, "user1").await), ["when there is room"]);
}
