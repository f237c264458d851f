//! What needs the inside of the store: formats, failing writes, damage, and entries that an event holds.

use std::path::Path;
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};

use super::super::{
    FjallConfig, FjallStore,
    directory::Tables,
    keys::{self, Table},
    record,
    tests::{Faulty, message},
};
use crate::store::{
    Append, ConversationKey, Cutoff, NewEntry, Outbox, OutboxConfig, Store, StoreError, Verification, trim_all,
};

fn chat() -> ConversationKey {
    message(1).conversation
}

/// Stored at the time of its packet id.
fn said(packet_id: u64) -> NewEntry {
    NewEntry { time_ms: packet_id, ..message(packet_id) }
}

fn before(entries_ms: u64) -> Cutoff {
    Cutoff { entries_ms, ..Cutoff::default() }
}

async fn say(store: &FjallStore, packet_ids: std::ops::RangeInclusive<u64>) {
    for packet_id in packet_ids {
        assert!(matches!(store.append(said(packet_id)).await, Append::Stored(_)));
    }
}

async fn trim(store: &FjallStore, cutoff: Cutoff) -> u64 {
    let mut entries = 0;
    trim_all(store, cutoff, |step| entries += step.entries).await.unwrap();
    entries
}

fn format(store: &FjallStore) -> u32 {
    record::decode_format(&store.tables.get(Table::Meta, keys::FORMAT).unwrap().unwrap()).unwrap()
}

async fn first(store: &FjallStore) -> u64 {
    store.head(&chat()).await.unwrap().first
}

async fn is_good(store: &FjallStore) {
    let found = store.verify().await.unwrap();
    assert_eq!(found.damaged, 0, "{:?}", found.first);
}

/// A store in which nothing was trimmed is one that an older program opens; from the first trim on it refuses.
#[tokio::test]
async fn the_first_trim_raises_the_format_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
    say(&store, 1..=5).await;
    let head_row = |store: &FjallStore| store.tables.get(Table::Heads, &keys::head(&chat())).unwrap().unwrap();
    assert_eq!((trim(&store, before(1)).await, format(&store), head_row(&store)[0]), (0, 2, 1));
    store.close().await.unwrap();
    drop(store);
    let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
    assert_eq!((trim(&store, before(3)).await, format(&store), head_row(&store)[0]), (2, 3, 2));
    store.close().await.unwrap();
    drop(store);
    let always = FjallConfig { check: crate::store::CheckAtOpen::Always, ..FjallConfig::default() };
    let store = FjallStore::open(dir.path(), &always).unwrap();
    assert_eq!((first(&store).await, format(&store)), (3, 3));
    is_good(&store).await;
    store.close().await.unwrap();
}

/// A step that was interrupted is there or is not, and the next one goes on from there.
#[tokio::test]
async fn an_interrupted_trim_is_there_or_is_not() {
    for write_first in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let tables = Arc::new(Tables::open(dir.path(), 1 << 20).unwrap());
        let fail = Arc::new(AtomicBool::new(false));
        let disk = Faulty { tables: tables.clone(), fail: fail.clone(), write_first, rows: Arc::default() };
        let store = FjallStore::start(tables, disk, &FjallConfig::default()).unwrap();
        say(&store, 1..=9).await;
        assert_eq!(store.trim(before(9), None, 3).await.unwrap().entries, 3);
        fail.store(true, Ordering::SeqCst);
        assert!(matches!(store.trim(before(9), None, 3).await, Err(StoreError::Failed(_))));
        assert!(store.close().await.is_err());
        drop(store);

        // The end was not clean, so the ends of the logs are looked at.
        let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
        assert_eq!(first(&store).await, if write_first { 7 } else { 4 });
        is_good(&store).await;
        trim(&store, before(9)).await;
        assert_eq!(first(&store).await, 9);
        for packet_id in 1..=9 {
            let retry = store.append(said(packet_id)).await;
            assert!(matches!(retry, Append::AlreadyStored(receipt) if receipt.seq == packet_id), "{retry:?}");
        }
        is_good(&store).await;
        store.close().await.unwrap();
    }
}

struct Damage {
    what: &'static str,
    make: fn(&Tables),
    problem: &'static str,
    /// Whether the check at open sees it too.
    at_open: bool,
}

fn remove(tables: &Tables, table: Table, key: Vec<u8>) {
    tables.keyspace(table).remove(key).unwrap();
}

fn dedup(packet_id: u64) -> Vec<u8> {
    keys::dedup("ann", "phone", packet_id)
}

const DAMAGES: &[Damage] = &[
    Damage {
        what: "a trimmed entry is there",
        make: |t| {
            let value = record::encode_new(&said(2), false);
            t.keyspace(Table::Log).insert(keys::log(&chat(), 2), value).unwrap();
        },
        problem: "before the beginning",
        at_open: true,
    },
    Damage {
        what: "the first entry is gone",
        make: |t| remove(t, Table::Log, keys::log(&chat(), 4)),
        problem: "entries before it are missing",
        at_open: true,
    },
    Damage {
        what: "a packet id of a trimmed entry would never go",
        make: |t| remove(t, Table::Expiring, keys::expiring(2, &dedup(2))),
        problem: "the entry was trimmed",
        at_open: false,
    },
    Damage {
        what: "a packet id went too early",
        make: |t| remove(t, Table::Dedup, dedup(2)),
        problem: "no packet id where it points",
        at_open: false,
    },
    Damage {
        what: "a packet id of an entry that is there would go",
        make: |t| {
            let key = keys::expiring(6, &dedup(6));
            t.keyspace(Table::Expiring).insert(key, record::encode_mark()).unwrap();
        },
        problem: "was not trimmed",
        at_open: false,
    },
];

#[tokio::test]
async fn damage_of_a_trimmed_log_is_found_and_named() {
    for Damage { what, make, problem, at_open } in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
        say(&store, 1..=9).await;
        assert_eq!(trim(&store, before(4)).await, 3);
        is_good(&store).await;
        make(&store.tables);
        let Verification { damaged, first, .. } = store.verify().await.unwrap();
        let named = first.iter().any(|record| record.problem.contains(problem));
        assert!(named && damaged == first.len() as u64, "{what}: {first:?}");
        store.close().await.unwrap();
        drop(store);
        let opened = FjallStore::open(dir.path(), &FjallConfig::default());
        assert_eq!(opened.is_err(), *at_open, "{what}");
    }
}

fn with_outbox() -> FjallConfig {
    FjallConfig { outbox: Some(OutboxConfig::default()), ..FjallConfig::default() }
}

/// In steps of one, so that a log that is held would hold up those behind it if it could.
async fn trim_slowly(store: &FjallStore, cutoff: Cutoff) -> u64 {
    let (mut after, mut entries) = (None, 0);
    for _ in 0..100 {
        let step = store.trim(cutoff, after.as_ref(), 1).await.unwrap();
        (after, entries) = (step.after, entries + step.entries);
        if step.complete {
            return entries;
        }
    }
    panic!("it does not end");
}

#[tokio::test]
async fn an_entry_stays_while_its_event_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &with_outbox()).unwrap();
    say(&store, 1..=5).await;
    let other = ConversationKey::new("zoe").unwrap();
    let elsewhere = NewEntry { conversation: other.clone(), ..said(6) };
    assert!(matches!(store.append(elsewhere).await, Append::Stored(_)));
    let old = before(100);
    assert_eq!(trim_slowly(&store, old).await, 0, "all of them wait");
    // The third one is under way for ever; the fourth was told already.
    store.settle(vec![1, 4, 6]).await.unwrap();
    store.give_up(2, 503).await.unwrap();
    assert_eq!(trim_slowly(&store, old).await, 3);
    assert_eq!((first(&store).await, store.head(&other).await.unwrap().first), (3, 2));
    is_good(&store).await;
    // A dead letter holds nothing; sent again it would, if its entry were there.
    store.retry(vec![2], 50).await.unwrap();
    is_good(&store).await;
    store.give_up(3, 0).await.unwrap();
    store.retry(vec![3], 50).await.unwrap();
    assert_eq!(trim(&store, old).await, 0, "the third one waits again");
    let waited_too_long = Cutoff { events_ms: 51, ..old };
    assert_eq!(trim(&store, waited_too_long).await, 3);
    is_good(&store).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_log_does_not_keep_others_from_being_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
    say(&store, 1..=3).await;
    let other = ConversationKey::new("zoe").unwrap();
    assert!(matches!(store.append(NewEntry { conversation: other.clone(), ..said(4) }).await, Append::Stored(_)));
    store.tables.keyspace(Table::Log).insert(keys::log(&chat(), 1), b"\x01short".to_vec()).unwrap();
    assert_eq!(trim(&store, before(100)).await, 1);
    assert_eq!((first(&store).await, store.head(&other).await.unwrap().first), (1, 2));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_copy_begins_where_its_original_does() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy): (_, &Path) = (dir.path().join("data"), &dir.path().join("copy"));
    let store = FjallStore::open(&data, &FjallConfig::default()).unwrap();
    say(&store, 1..=5).await;
    trim(&store, before(4)).await;
    store.backup_to(copy, Vec::new()).await.unwrap();
    store.close().await.unwrap();
    let copy = FjallStore::open(copy, &FjallConfig::default()).unwrap();
    assert_eq!(first(&copy).await, 4);
    is_good(&copy).await;
    assert!(matches!(copy.append(said(1)).await, Append::AlreadyStored(receipt) if receipt.seq == 1));
    copy.close().await.unwrap();
}
