//! The embedded store passes the suite, and says clearly when it cannot be opened.
#![allow(clippy::disallowed_methods, reason = "tests of a program may read the clock")]

use std::{sync::Arc, time::Instant};

use im_server::store::{Append, ConversationKey, FjallConfig, FjallStore, NewMessage, Store, StoreError, conformance};

fn message(conversation: &ConversationKey, packet_id: u64, content: Vec<u8>) -> NewMessage {
    NewMessage {
        conversation: conversation.clone(),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest: [1; 32],
        message_id: packet_id,
        time_ms: 1,
        content_type: 1,
        content,
    }
}

async fn conforms(config: FjallConfig) {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(async |name| {
        let store = FjallStore::open(&dir.path().join(name), &config)?;
        Ok(Arc::new(store) as Arc<dyn Store>)
    })
    .await
    .unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_embedded_store_passes_the_suite() {
    conforms(FjallConfig::default()).await;
}

/// With the smallest limits every write is a batch, and the queue, of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_embedded_store_passes_the_suite_with_the_smallest_limits() {
    let config = FjallConfig { batch_messages: 1, batch_bytes: 1, queue_bytes: 1, ..FjallConfig::default() };
    conforms(config).await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused_until_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
    let error = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    store.close().await.unwrap();
    drop(store);
    FjallStore::open(dir.path(), &FjallConfig::default()).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = FjallConfig { queue_bytes: 0, ..FjallConfig::default() };
    assert_eq!(FjallStore::open(dir.path(), &config).unwrap_err(), StoreError::Setting("queue_bytes"));
}

/// What is queued when the store is closed is written or refused, never lost without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_close_under_load_answers_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let config = FjallConfig { queue_bytes: 64 << 10, ..FjallConfig::default() };
    let store = Arc::new(FjallStore::open(dir.path(), &config).unwrap());
    let c = ConversationKey::new("c").unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for packet_id in 0..500 {
        let (store, m) = (store.clone(), message(&c, packet_id, vec![0; 100]));
        tasks.spawn(async move { store.append(m).await });
    }
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    let mut stored = 0;
    for outcome in tasks.join_all().await {
        assert!(matches!(outcome, Append::Stored(_) | Append::NotStored(StoreError::Closed)), "{outcome:?}");
        stored += u64::from(matches!(outcome, Append::Stored(_)));
    }
    drop(store);
    let store = FjallStore::open(dir.path(), &config).unwrap();
    assert_eq!(store.head(&c).await.unwrap().seq, stored);
    store.close().await.unwrap();
}

/// A figure, not a rule:
/// `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test -p im-server --test store -- --ignored --nocapture throughput`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it by hand, optimized"]
async fn throughput() {
    for (senders, total) in [(1_u64, 4_000_u64), (64, 64_000), (1024, 128_000)] {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(FjallStore::open(dir.path(), &FjallConfig::default()).unwrap());
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for sender in 0..senders {
            let store = store.clone();
            tasks.spawn(async move {
                let mut state = sender + 1;
                for n in 0..total / senders {
                    let content = (0..128)
                        .flat_map(|_| {
                            state =
                                state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                            (state ^ (state >> 33)).to_be_bytes()
                        })
                        .collect();
                    let c = ConversationKey::new(format!("c{}", (state >> 33) % 1000)).unwrap();
                    let outcome = store.append(message(&c, sender << 32 | n, content)).await;
                    assert!(matches!(outcome, Append::Stored(_)));
                }
            });
        }
        tasks.join_all().await;
        let rate = total as f64 / start.elapsed().as_secs_f64();
        println!("{senders} senders: {rate:.0} durable messages of 1 KiB per second");
        store.close().await.unwrap();
    }
}
