//! Killed at any moment, the store has every message that it answered for: once, in the same place, without a hole.
//!
//! The test runs itself again as the process to be killed. SIGKILL loses what is in the process, not what is in the
//! kernel's page cache: a power cut is not covered here.
#![allow(clippy::disallowed_methods, reason = "a test that starts, times and kills a process")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use im_server::store::{Append, ConversationKey, EntryKind, FjallConfig, FjallStore, NewEntry, Receipt, Store};

const DIRECTORY: &str = "IM_STORE_CRASH_DIR";
const ROUND: &str = "IM_STORE_CRASH_ROUND";
const CONVERSATIONS: u64 = 4;
const TASKS: u64 = 8;
const ROUNDS: u64 = 12;

fn conversation(n: u64) -> ConversationKey {
    ConversationKey::new(format!("conversation-{}", n % CONVERSATIONS)).unwrap()
}

/// Everything about a message follows from its round and packet id, so that the parent can send it again.
fn message(round: u64, packet_id: u64) -> NewEntry {
    let content: Vec<u8> = format!("{round}/{packet_id} ").into_bytes().repeat(1 + packet_id as usize % 40);
    NewEntry {
        conversation: conversation(packet_id),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: format!("device-{round}").into(),
        packet_id,
        digest: [packet_id as u8; 32],
        message_id: round << 32 | packet_id,
        time_ms: packet_id,
        kind: EntryKind::Message,
        content_type: 1,
        content,
    }
}

/// The process that is killed. As an ordinary test, without the variables, it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) else { return };
    let round: u64 = round.parse().unwrap();
    println!();
    println!("opening");
    let store = Arc::new(FjallStore::open(Path::new(&dir), &FjallConfig::default()).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for packet_id in (task..).step_by(TASKS as usize) {
                let Append::Stored(receipt) = store.append(message(round, packet_id)).await else { return };
                let mut out = std::io::stdout().lock();
                if writeln!(out, "{packet_id} {}", receipt.seq).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        });
    }
    tasks.join_all().await;
}

/// Starts the child, kills it when it has printed `enough` answers (0: as soon as it begins to open the store), and gives all
/// that it printed: packet id and seq of each answer.
fn run_and_kill(dir: &Path, round: u64, enough: usize) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_crash::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (ripe, kill_now) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut receipts, mut line) = (Vec::new(), String::new());
        while out.read_line(&mut line).unwrap() > 0 {
            // A line that was cut by the kill was not heard.
            if line.ends_with('\n') {
                if line == "opening\n" {
                    if enough == 0 {
                        ripe.send(()).unwrap();
                    }
                } else if let Some((packet_id, seq)) = line.trim_end().split_once(' ')
                    && let (Ok(packet_id), Ok(seq)) = (packet_id.parse(), seq.parse())
                {
                    receipts.push((packet_id, seq));
                    if receipts.len() == enough {
                        ripe.send(()).unwrap();
                    }
                }
            }
            line.clear();
        }
        receipts
    });
    kill_now.recv_timeout(Duration::from_secs(60)).expect("the child did not get far enough");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// The logs of all conversations, dense from 1: device and packet id by conversation and seq.
async fn logs(store: &FjallStore) -> BTreeMap<(u64, u64), (Arc<str>, u64)> {
    let mut found = BTreeMap::new();
    for n in 0..CONVERSATIONS {
        let c = conversation(n);
        let head = store.head(&c).await.unwrap().seq;
        let mut after = 0;
        while after < head {
            for read in store.read(&c, after, 500, 1 << 20).await.unwrap() {
                after += 1;
                assert_eq!(read.seq, after, "a hole in {c}");
                let round = read.device.strip_prefix("device-").unwrap().parse().unwrap();
                assert_eq!(read.content, message(round, read.packet_id).content, "{c} {after}");
                found.insert((n, after), (read.device, read.packet_id));
            }
        }
        assert!(store.read(&c, head, 1, 1).await.unwrap().is_empty(), "messages beyond the head of {c}");
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut state = 0x5eed_u64;
    let mut answered: BTreeMap<(u64, u64), (Arc<str>, u64)> = BTreeMap::new();
    for round in 0..ROUNDS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From before the first run has made the directory to well into a run; every third round early.
        let enough = if round % 3 == 0 { (state >> 33) % 2 } else { 2 + (state >> 33) % 3000 };
        let receipts = run_and_kill(&data, round, enough as usize);
        assert!(receipts.len() as u64 >= enough);

        let store = FjallStore::open(&data, &FjallConfig::default()).unwrap();
        let device: Arc<str> = format!("device-{round}").into();
        for &(packet_id, seq) in &receipts {
            let place = (packet_id % CONVERSATIONS, seq);
            assert!(answered.insert(place, (device.clone(), packet_id)).is_none(), "{place:?} was answered twice");
        }
        let log = logs(&store).await;
        for (place, packet) in &answered {
            assert_eq!(log.get(place), Some(packet), "round {round}: an answered message is not in its place");
        }
        let seqs: BTreeMap<_, u64> = log.iter().map(|(place, packet)| (packet, place.1)).collect();
        assert_eq!(seqs.len(), log.len(), "round {round}: a message is there twice");

        // A sender that heard nothing sends again: it is stored once, whether or not the kill was too early.
        let heard = receipts.iter().map(|(packet_id, _)| *packet_id).max().map_or(0, |last| last + 1);
        // The last ones are those in doubt.
        for packet_id in heard.saturating_sub(200)..heard + TASKS {
            let m = message(round, packet_id);
            let place = seqs.get(&(device.clone(), packet_id));
            let again = store.append(m).await;
            match (place, again) {
                (Some(&seq), Append::AlreadyStored(Receipt { seq: first, .. })) => assert_eq!(first, seq),
                (None, Append::Stored(receipt)) => {
                    answered.insert((packet_id % CONVERSATIONS, receipt.seq), (device.clone(), packet_id));
                }
                (place, again) => panic!("round {round}, packet {packet_id}: was at {place:?}, retry gave {again:?}"),
            }
        }
        store.close().await.unwrap();
    }
}
