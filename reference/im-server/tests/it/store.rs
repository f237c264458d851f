//! The embedded store passes the suite, and says clearly when it cannot be opened.

use std::sync::Arc;

use im_server::store::{
    Append, ConversationKey, EntryKind, FjallConfig, FjallStore, NewEntry, Store, StoreError, conformance,
};

fn message(conversation: &ConversationKey, packet_id: u64, content: Vec<u8>) -> NewEntry {
    NewEntry {
        conversation: conversation.clone(),
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
