//! Several clients under load while the server is killed again and again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use im_client::{Client, Credentials, Event, Events, Message, Options, SendFailure, Sent};
use im_proto::Backoff;
use im_server::store::{ConversationKey, FjallConfig, FjallStore, Store};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{PATIENCE, Process, TestServer};

/// Each writes to the next, so that each conversation has one writer and its order is known.
const USERS: [(&str, &str); 5] = [("ann", "tcp"), ("bob", "ws"), ("cat", "http"), ("dan", "tcp"), ("eve", "ws")];
/// Messages of one user that wait for their answers.
const WINDOW: usize = 16;
const END: &str = "the end";

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Steps of `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

type Outcomes = Vec<(String, Result<Sent, SendFailure>)>;

/// Writes until it is told to stop, and then that this is the end. `answers` counts what was stored for each user.
async fn write(client: Client, user: usize, stop: Arc<AtomicBool>, answers: watch::Sender<[u64; 5]>) -> Outcomes {
    let (name, to) = (USERS[user].0, USERS[(user + 1) % USERS.len()].0);
    let mut outcomes = Vec::new();
    let mut waiting = FuturesOrdered::new();
    let mut number = 0;
    loop {
        let last = stop.load(Ordering::Relaxed);
        let text = if last { END.to_owned() } else { format!("{name} {number} {}", "x".repeat(number % 700)) };
        number += 1;
        let pending = client.submit(Message::text(to, &text)).await.unwrap();
        waiting.push_back(async move { (text, pending.await) });
        while waiting.len() >= if last { 1 } else { WINDOW } {
            let outcome = waiting.next().await.unwrap();
            if outcome.1.is_ok() {
                answers.send_modify(|answers| answers[user] += 1);
            }
            outcomes.push(outcome);
        }
        if last {
            return outcomes;
        }
    }
}

/// Reads and acks what the one before writes, until its end: the texts, dense and once. Own messages do not come back.
async fn read(client: Client, mut events: Events, from: &'static str) -> (Vec<String>, u64) {
    let mut log = Vec::<String>::new();
    let mut logins = 0;
    while log.last().is_none_or(|text| text != END) {
        match events.next().await.expect("the client goes on") {
            Event::Message(delivery) => {
                let place = (delivery.from.as_str(), delivery.seq);
                assert_eq!(place, (from, log.len() as u64 + 1), "once and in order");
                log.push(String::from_utf8(delivery.entry.content().to_vec()).unwrap());
                client.ack(delivery.token).await;
            }
            Event::LoggedIn { .. } => logins += 1,
            event @ (Event::Gap { .. } | Event::Reload { .. }) => panic!("{event:?}"),
            Event::Disconnected { closed, retry_in: None } => panic!("{closed}"),
            _ => {}
        }
    }
    (log, logins)
}

fn client(server: &TestServer, user: usize) -> (Client, Events) {
    let (name, scheme) = USERS[user];
    let path = if scheme == "tcp" { "" } else { "/im" };
    let credentials = Credentials { user: name.into(), device: "phone".into(), token: String::new() };
    let url = format!("{scheme}://{}{path}", server.address).parse().unwrap();
    let mut options = Options::new(url, server.key.parse().unwrap(), credentials);
    // The server is back soon, and nobody else is kept waiting.
    options.config.reconnect = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(100) };
    Client::start(options).unwrap()
}

/// Everybody had an answer since, and all together `more`.
async fn load(answers: &mut watch::Receiver<[u64; 5]>, more: u64) {
    let before = *answers.borrow();
    let enough = answers.wait_for(|now| {
        let total: u64 = now.iter().zip(before).map(|(now, before)| now - before).sum();
        total >= more && now.iter().zip(before).all(|(now, before)| *now > before)
    });
    let came_back = timeout(PATIENCE, enough).await.is_ok();
    assert!(came_back, "not everybody is back: {before:?}, then {:?}", *answers.borrow());
}

/// A log as it is on disk.
async fn on_disk(store: &FjallStore, user: usize) -> Vec<(u64, String)> {
    let (one, other) = (USERS[user].0, USERS[(user + 1) % USERS.len()].0);
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    let key = ConversationKey::new(format!("p:{}:{first}:{second}", first.len())).unwrap();
    let mut log = Vec::new();
    loop {
        let page = store.read(&key, log.len() as u64, 500, 1 << 20).await.unwrap();
        if page.is_empty() {
            assert_eq!(store.head(&key).await.unwrap().seq, log.len() as u64);
            return log;
        }
        for entry in page {
            assert_eq!((entry.seq, &*entry.from), (log.len() as u64 + 1, one), "a hole in {key}");
            log.push((entry.message_id, String::from_utf8(entry.content).unwrap()));
        }
    }
}

async fn stillborn(address: &str, data: &Path, delay: Duration) {
    let args = ["--listen", address, "--data", data.to_str().unwrap()];
    let mut process = Process::start(env!("CARGO_BIN_EXE_im-server"), &args);
    tokio::time::sleep(delay).await;
    process.child.kill().await.expect("the server was running");
}

#[tokio::test]
async fn under_load_what_was_acked_survives_every_kill_once_and_in_its_place() {
    let kills = variable("IM_KILLS").unwrap_or(3);
    let seed = variable("IM_SEED").unwrap_or_else(|| getrandom::u32().unwrap().into());
    println!("IM_KILLS={kills} IM_SEED={seed}");
    let mut random = Random(seed);
    let data = tempfile::tempdir().unwrap();
    let mut server = TestServer::start("127.0.0.1:0", data.path()).await;
    let address = server.address.clone();

    let stop = Arc::new(AtomicBool::new(false));
    let (answers, mut answered) = watch::channel([0; 5]);
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for user in 0..USERS.len() {
        let (client, events) = client(&server, user);
        writers.push(tokio::spawn(write(client.clone(), user, stop.clone(), answers.clone())));
        let before = USERS[(user + USERS.len() - 1) % USERS.len()].0;
        readers.push(tokio::spawn(read(client, events, before)));
    }
    let mut early = 0;
    for _ in 0..kills {
        load(&mut answered, 1 + random.below(300)).await;
        // The kill falls anywhere: into a commit, between a commit and its answer, into a delivery.
        tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
        server.kill_9().await;
        if random.below(4) == 0 {
            // And again while it starts.
            stillborn(&address, data.path(), Duration::from_micros(random.below(100_000))).await;
            early += 1;
        }
        server = TestServer::start(&address, data.path()).await;
    }
    load(&mut answered, 1).await;
    stop.store(true, Ordering::Relaxed);

    let mut outcomes = Vec::new();
    for writer in writers {
        outcomes.push(timeout(PATIENCE, writer).await.expect("every message has an outcome").unwrap());
    }
    let mut received = Vec::new();
    for reader in readers {
        received.push(timeout(PATIENCE, reader).await.expect("everything arrives").unwrap());
    }
    server.kill_9().await;

    let store = FjallStore::open(data.path(), &FjallConfig::default()).unwrap();
    let (mut stored, mut in_doubt, mut logins) = (0, 0, 0);
    for (user, outcomes) in outcomes.iter().enumerate() {
        let log = on_disk(&store, user).await;
        let mut sent: Vec<&str> = Vec::new();
        for (text, outcome) in outcomes {
            match outcome {
                Ok(Sent { message_id, seq, .. }) => {
                    let found = log.get(*seq as usize - 1).map(|(id, text)| (*id, text.as_str()));
                    assert_eq!(found, Some((*message_id, text.as_str())), "{}: acked as {seq}", USERS[user].0);
                    stored += 1;
                    sent.push(text);
                }
                Err(SendFailure::Unknown) => {
                    in_doubt += 1;
                    assert!(log.iter().filter(|(_, found)| found == text).count() <= 1, "{text}");
                    sent.extend(log.iter().any(|(_, found)| found == text).then_some(text.as_str()));
                }
                Err(failure) => panic!("{failure}"),
            }
        }
        let texts: Vec<&str> = log.iter().map(|(_, text)| text.as_str()).collect();
        assert!(texts == sent, "{}: the log is what was sent, each once, in the order of sending", USERS[user].0);
        // The next one read all of it while the server was killed under both.
        let next = (user + 1) % USERS.len();
        assert!(received[next].0 == texts, "{} has the log of {} as it is", USERS[next].0, USERS[user].0);
        logins += received[user].1;
    }
    println!(
        "{kills} kills under load and {early} while it started, seed {seed}: {stored} messages acked, {in_doubt} in doubt; \
         each acked one is on disk once, in order, at the seq of its ack; {logins} logins of {} clients, each of which got \
         each message for it once and in order",
        USERS.len()
    );
}
