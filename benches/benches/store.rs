//! Durable 1 KiB messages per second from 1, 64 and 1024 concurrent senders, beside the ceiling of the disk: a bare file that
//! is appended to and forced out once per batch of as many messages. `cargo bench -p im-benches --bench store`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and writes files")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use im_server::store::{Append, ConversationKey, EntryKind, FjallConfig, FjallStore, NewEntry, Store};

const SIZE: usize = 1024;
const CONVERSATIONS: u64 = 1000;

fn content(rng: &mut fastrand::Rng) -> Vec<u8> {
    std::iter::repeat_with(|| rng.u8(..)).take(SIZE).collect()
}

fn message(conversation: u64, packet_id: u64, content: Vec<u8>) -> NewEntry {
    NewEntry {
        conversation: ConversationKey::new(format!("c{conversation}")).expect("a short key"),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest: [1; 32],
        message_id: packet_id,
        time_ms: 1,
        kind: EntryKind::Message,
        content_type: 1,
        content,
    }
}

async fn store(dir: &Path, senders: u64, total: u64) -> f64 {
    let store = Arc::new(FjallStore::open(dir, &FjallConfig::default()).expect("an empty directory"));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..senders {
        let store = store.clone();
        tasks.spawn(async move {
            let mut rng = fastrand::Rng::with_seed(sender);
            for n in 0..total / senders {
                let message = message(rng.u64(0..CONVERSATIONS), sender << 32 | n, content(&mut rng));
                assert!(matches!(store.append(message).await, Append::Stored(_)));
            }
        });
    }
    tasks.join_all().await;
    let rate = total as f64 / start.elapsed().as_secs_f64();
    store.close().await.expect("closes");
    rate
}

fn ceiling(dir: &Path, batch: u64, total: u64) -> f64 {
    let mut rng = fastrand::Rng::with_seed(0);
    let mut file = File::create(dir.join("log")).expect("a file");
    let start = Instant::now();
    for _ in 0..total / batch {
        let bytes: Vec<u8> = (0..batch).flat_map(|_| content(&mut rng)).collect();
        file.write_all(&bytes).expect("written");
        file.sync_data().expect("forced out");
    }
    total as f64 / start.elapsed().as_secs_f64()
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    println!("| senders | store, messages/s | bare file, messages/s | ratio |\n|---|---|---|---|");
    for (senders, total) in [(1, 4_000), (64, 64_000), (1024, 102_400)] {
        let dir = tempfile::tempdir().expect("a directory");
        let bare = ceiling(dir.path(), senders, total);
        let ours = store(&dir.path().join("store"), senders, total).await;
        println!("| {senders} | {ours:.0} | {bare:.0} | {:.2} |", ours / bare);
    }
}
