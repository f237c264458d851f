//! The outbox of the embedded store: an event for each entry, in order, until it is settled; bounded; there after a restart.

use im_server::store::{
    Append, ConversationKey, EntryKind, EventKind, FjallConfig, FjallStore, MAX_DEAD_LETTERS, NewEntry, Outbox,
    OutboxConfig, Store, StoreError,
};

fn entry(packet_id: u64, kind: EntryKind) -> NewEntry {
    NewEntry {
        conversation: ConversationKey::new("ann:bob").unwrap(),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest: [1; 32],
        message_id: 100 + packet_id,
        time_ms: packet_id,
        kind,
        content_type: 1,
        content: Vec::new(),
    }
}

fn config(max_waiting: u64, kinds: &[EventKind]) -> FjallConfig {
    let outbox = OutboxConfig { kinds: kinds.iter().copied().collect(), max_waiting };
    FjallConfig { outbox: Some(outbox), ..FjallConfig::default() }
}

async fn say(store: &FjallStore, packet_ids: std::ops::RangeInclusive<u64>) {
    // At once, so that they share batches.
    let all = packet_ids.map(|packet_id| store.append(entry(packet_id, EntryKind::Message)));
    let outcomes = futures_util::future::join_all(all).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Append::Stored(_))));
}

async fn numbers(store: &FjallStore) -> Vec<u64> {
    store.events(0, 100).await.unwrap().iter().map(|event| event.number).collect()
}

#[tokio::test]
async fn each_entry_has_one_event_until_it_is_settled_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(100, &[EventKind::MessageStored, EventKind::MessageRecalled]);
    let store = FjallStore::open(dir.path(), &config).unwrap();
    let mut status = store.status();
    say(&store, 1..=3).await;
    assert!(matches!(store.append(entry(2, EntryKind::Message)).await, Append::AlreadyStored(_)));
    for kind in [EntryKind::React { about: 1 }, EntryKind::Recall { about: 1 }] {
        let packet_id = if kind == (EntryKind::React { about: 1 }) { 4 } else { 5 };
        assert!(matches!(store.append(entry(packet_id, kind)).await, Append::Stored(_)));
    }
    let events = store.events(0, 100).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.number, event.seq, event.message_id, event.since_ms)).collect();
    assert_eq!(told, [(1, 1, 101, 1), (2, 2, 102, 2), (3, 3, 103, 3), (4, 5, 105, 5)], "reactions are not told here");
    assert_eq!(store.events(2, 1).await.unwrap()[0].number, 3);
    assert!(status.has_changed().unwrap() && status.borrow_and_update().waiting == 4);

    store.settle(vec![1, 3, 77]).await.unwrap();
    store.give_up(2, 503).await.unwrap();
    store.give_up(2, 503).await.unwrap();
    assert_eq!((numbers(&store).await, status.borrow().waiting, status.borrow().dead), (vec![4], 1, 1));
    store.close().await.unwrap();
    assert!(matches!(store.settle(vec![4]).await, Err(StoreError::Closed)));
    drop(store);

    let store = FjallStore::open(dir.path(), &config).unwrap();
    let letters = store.dead_letters(0, 9).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.number, letters[0].answer), (1, 2, 503));
    assert_eq!(numbers(&store).await, [4]);
    store.retry(vec![2, 9], 1_000).await.unwrap();
    let events = store.events(4, 9).await.unwrap();
    assert_eq!((events[0].number, events[0].seq, events[0].since_ms), (5, 2, 1_000), "behind the others, as from now");
    assert!(store.dead_letters(0, 9).await.unwrap().is_empty());
    let now = *store.status().borrow();
    assert_eq!((now.waiting, now.dead, now.last), (2, 0, 5));
    assert_eq!(store.verify().await.unwrap().damaged, 0);
    store.close().await.unwrap();
}

#[tokio::test]
async fn beyond_the_bound_the_oldest_goes_and_is_counted() {
    for max in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let store = FjallStore::open(dir.path(), &config(max, &EventKind::ALL)).unwrap();
        say(&store, 1..=2).await;
        say(&store, 3..=10).await;
        let want: Vec<u64> = (11 - max..=10).collect();
        let status = *store.status().borrow();
        assert_eq!((numbers(&store).await, status.waiting, status.dropped), (want.clone(), max, 10 - max));
        store.settle(vec![want[0]]).await.unwrap();
        say(&store, 11..=11).await;
        let status = *store.status().borrow();
        assert_eq!((status.waiting, status.dropped), (max, 10 - max), "there was room for one");
        store.close().await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(FjallStore::open(dir.path(), &config(0, &[])).unwrap_err(), StoreError::Setting("max_waiting"));
}

#[tokio::test]
async fn dead_letters_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &config(20_000, &EventKind::ALL)).unwrap();
    say(&store, 1..=MAX_DEAD_LETTERS + 5).await;
    let given_up = (1..=MAX_DEAD_LETTERS + 5).map(|number| store.give_up(number, 0));
    assert!(futures_util::future::join_all(given_up).await.iter().all(Result::is_ok));
    let status = *store.status().borrow();
    assert_eq!((status.waiting, status.dead, status.dead_dropped), (0, MAX_DEAD_LETTERS, 5));
    assert_eq!(store.dead_letters(0, 1).await.unwrap()[0].event.number, 6);
    store.close().await.unwrap();
}
