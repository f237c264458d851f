//! Real records are damaged in each way, and each is found: by the whole check, and by the one at open where it looks.

use std::path::Path;

use super::super::{FjallConfig, FjallStore, directory::Tables, keys, keys::Table, record};
use crate::store::{
    Append, CheckAtOpen, ConversationKey, EntryKind, Head, MemberChange, NewEntry, OutboxEvent, Positions, Standing,
    Store, StoreError,
};

fn chat() -> ConversationKey {
    ConversationKey::new("ann:bob").unwrap()
}

fn entry(packet_id: u64, kind: EntryKind) -> NewEntry {
    NewEntry {
        conversation: chat(),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest: [packet_id as u8; 32],
        message_id: 100 + packet_id,
        time_ms: packet_id,
        kind,
        content_type: 1,
        content: b"hi".to_vec(),
    }
}

/// Twelve messages, then an edit of the first (13), one of the second (14) and a recall of the second (15).
async fn filled(dir: &Path) -> FjallStore {
    let store = FjallStore::open(dir, &FjallConfig::default()).unwrap();
    let mut kinds = vec![EntryKind::Message; 12];
    kinds.extend([EntryKind::Edit { about: 1 }, EntryKind::Edit { about: 2 }, EntryKind::Recall { about: 2 }]);
    for (packet_id, kind) in (1..).zip(kinds) {
        assert!(matches!(store.append(entry(packet_id, kind)).await, Append::Stored(r) if r.seq == packet_id));
    }
    let epoch = store.head(&chat()).await.unwrap().epoch;
    store.advance("bob", "desk", &chat(), epoch, 5).await.unwrap();
    store.mark_read("bob", &chat(), epoch, 4).await.unwrap();
    let eve = MemberChange { user: "eve".into(), standing: Some(Standing::default()) };
    store.set_members(&chat(), vec![eve]).await.unwrap();
    store
}

fn insert(tables: &Tables, table: Table, key: Vec<u8>, value: Vec<u8>) {
    tables.keyspace(table).insert(key, value).unwrap();
}

fn remove(tables: &Tables, table: Table, key: Vec<u8>) {
    tables.keyspace(table).remove(key).unwrap();
}

fn head(tables: &Tables) -> Head {
    let key = keys::head(&chat());
    record::decode_head(&key, &tables.get(Table::Heads, &key).unwrap().unwrap()).unwrap()
}

struct Damage {
    what: &'static str,
    make: fn(&Tables),
    table: Table,
    problem: &'static str,
    /// Whether the check at open sees it too.
    at_open: bool,
}

const DAMAGES: &[Damage] = &[
    Damage {
        what: "an early entry is gone",
        make: |t| remove(t, Table::Log, keys::log(&chat(), 3)),
        table: Table::Log,
        problem: "entries before it are missing",
        at_open: false,
    },
    Damage {
        what: "a late entry is gone",
        make: |t| remove(t, Table::Log, keys::log(&chat(), 14)),
        table: Table::Log,
        problem: "entries before it are missing",
        at_open: true,
    },
    Damage {
        what: "the last entry is gone",
        make: |t| remove(t, Table::Log, keys::log(&chat(), 15)),
        table: Table::Log,
        problem: "the head of its conversation is there",
        at_open: true,
    },
    Damage {
        what: "the head is behind",
        make: |t| insert(t, Table::Heads, keys::head(&chat()), record::encode_head(Head { seq: 14, ..head(t) })),
        table: Table::Log,
        problem: "beyond the head",
        at_open: true,
    },
    Damage {
        what: "the head is gone",
        make: |t| remove(t, Table::Heads, keys::head(&chat())),
        table: Table::Heads,
        problem: "it is missing",
        at_open: false,
    },
    Damage {
        what: "the head does not decode",
        make: |t| insert(t, Table::Heads, keys::head(&chat()), vec![1, 2]),
        table: Table::Heads,
        problem: "too short",
        at_open: true,
    },
    Damage {
        what: "the head has no epoch",
        make: |t| insert(t, Table::Heads, keys::head(&chat()), record::encode_head(Head { epoch: 0, ..head(t) })),
        table: Table::Heads,
        problem: "no epoch",
        at_open: true,
    },
    Damage {
        what: "an early entry does not decode",
        make: |t| insert(t, Table::Log, keys::log(&chat(), 4), b"\x02short".to_vec()),
        table: Table::Log,
        problem: "too short",
        at_open: false,
    },
    Damage {
        what: "a late entry does not decode",
        make: |t| insert(t, Table::Log, keys::log(&chat(), 13), b"\x09".to_vec()),
        table: Table::Log,
        problem: "unknown record version",
        at_open: true,
    },
    Damage {
        what: "a key of the log is no key",
        make: |t| insert(t, Table::Log, b"\0\x07ann:bob!".to_vec(), b"x".to_vec()),
        table: Table::Log,
        problem: "the key is damaged",
        at_open: true,
    },
    Damage {
        what: "an early packet id is gone",
        make: |t| remove(t, Table::Dedup, keys::dedup("ann", "phone", 2)),
        table: Table::Dedup,
        problem: "it is missing",
        at_open: false,
    },
    Damage {
        what: "a late packet id is gone",
        make: |t| remove(t, Table::Dedup, keys::dedup("ann", "phone", 15)),
        table: Table::Dedup,
        problem: "it is missing",
        at_open: true,
    },
    Damage {
        what: "a packet id points at the entry of another",
        make: |t| {
            let other = t.get(Table::Dedup, &keys::dedup("ann", "phone", 2)).unwrap().unwrap();
            insert(t, Table::Dedup, keys::dedup("ann", "phone", 15), other);
        },
        table: Table::Dedup,
        problem: "another entry",
        at_open: true,
    },
    Damage {
        what: "a packet id that no entry has",
        make: |t| {
            let other = t.get(Table::Dedup, &keys::dedup("ann", "phone", 2)).unwrap().unwrap();
            insert(t, Table::Dedup, keys::dedup("ann", "phone", 99), other);
        },
        table: Table::Dedup,
        problem: "another packet id",
        at_open: false,
    },
    Damage {
        what: "the index lacks an edit",
        make: |t| remove(t, Table::Edits, keys::edit(&chat(), 1, 13)),
        table: Table::Edits,
        problem: "it is missing",
        at_open: false,
    },
    Damage {
        what: "the index has an edit that is none",
        make: |t| insert(t, Table::Edits, keys::edit(&chat(), 1, 5), record::encode_mark()),
        table: Table::Edits,
        problem: "no edit of this message",
        at_open: false,
    },
    Damage {
        what: "a recalled message has its content",
        make: |t| {
            insert(t, Table::Log, keys::log(&chat(), 2), record::encode_new(&entry(2, EntryKind::Message), false));
        },
        table: Table::Log,
        problem: "not erased",
        at_open: false,
    },
    Damage {
        what: "an edit of a recalled message has its content",
        make: |t| {
            let edit = entry(14, EntryKind::Edit { about: 2 });
            insert(t, Table::Log, keys::log(&chat(), 14), record::encode_new(&edit, false));
        },
        table: Table::Log,
        problem: "its message was recalled",
        at_open: false,
    },
    Damage {
        what: "the roster lacks a member",
        make: |t| remove(t, Table::Roster, keys::roster(&chat(), "bob")),
        table: Table::Roster,
        problem: "it is missing",
        at_open: false,
    },
    Damage {
        what: "a member is in the roster only",
        make: |t| remove(t, Table::Members, keys::member("bob", &chat())),
        table: Table::Members,
        problem: "it is missing",
        at_open: false,
    },
    Damage {
        what: "a member does not decode",
        make: |t| insert(t, Table::Members, keys::member("bob", &chat()), vec![2, 9]),
        table: Table::Members,
        problem: "unknown role",
        at_open: false,
    },
    Damage {
        what: "a roster row is no mark",
        make: |t| insert(t, Table::Roster, keys::roster(&chat(), "bob"), b"\x01x".to_vec()),
        table: Table::Roster,
        problem: "too long",
        at_open: false,
    },
    Damage {
        what: "a cursor is beyond the head",
        make: |t| insert(t, Table::Cursors, keys::cursor("bob", "desk", &chat()), record::encode_cursor(16)),
        table: Table::Cursors,
        problem: "beyond the head",
        at_open: false,
    },
    Damage {
        what: "a position is beyond the head",
        make: |t| {
            let positions = Positions { epoch: head(t).epoch, delivered: 5, read: 16 };
            insert(t, Table::Positions, keys::positions("bob", &chat()), record::encode_positions(&positions));
        },
        table: Table::Positions,
        problem: "beyond the head",
        at_open: false,
    },
    Damage {
        what: "an event is of no entry",
        make: |t| {
            let event = OutboxEvent { number: 1, conversation: chat(), seq: 4, message_id: 1, since_ms: 0 };
            insert(t, Table::Outbox, keys::event(1), record::encode_event(&event));
        },
        table: Table::Outbox,
        problem: "no such entry",
        at_open: false,
    },
    Damage {
        what: "a dead letter does not decode",
        make: |t| insert(t, Table::DeadLetters, keys::event(1), vec![1, 2]),
        table: Table::DeadLetters,
        problem: "too short",
        at_open: false,
    },
];

#[tokio::test]
async fn every_kind_of_damage_is_found_and_named() {
    for Damage { what, make, table, problem, at_open } in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path()).await;
        let before = store.verify().await.unwrap();
        assert_eq!((before.conversations, before.damaged), (1, 0), "{what}: {:?}", before.first);
        make(&store.tables);
        let found = store.verify().await.unwrap();
        let named = found.first.iter().any(|record| record.table == table.name() && record.problem.contains(problem));
        assert!(named && found.damaged == found.first.len() as u64, "{what}: {found:?}");
        store.close().await.unwrap();
        drop(store);

        // A close after damage was found is not clean.
        let opened = FjallStore::open(dir.path(), &FjallConfig::default());
        match opened {
            Err(StoreError::Corrupt(record)) => assert!(*at_open && record.table == table.name(), "{what}: {record}"),
            Ok(store) if !at_open => store.close().await.unwrap(),
            opened => panic!("{what}: {opened:?}"),
        }
        let never = FjallConfig { check: CheckAtOpen::Never, ..FjallConfig::default() };
        FjallStore::open(dir.path(), &never).unwrap().close().await.unwrap();
    }
}

/// Damage that only a check can know of, so that opening shows whether there was one.
#[tokio::test]
async fn it_is_checked_at_open_only_after_an_unclean_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path()).await;
    remove(&store.tables, Table::Dedup, keys::dedup("ann", "phone", 15));
    store.close().await.unwrap();
    drop(store);
    let config = FjallConfig::default();
    let always = FjallConfig { check: CheckAtOpen::Always, ..config.clone() };
    assert!(matches!(FjallStore::open(dir.path(), &always), Err(StoreError::Corrupt(_))));
    // The mark went with that try: what has damage is looked at until it is mended.
    assert!(matches!(FjallStore::open(dir.path(), &config), Err(StoreError::Corrupt(_))));
    std::fs::File::options().create_new(true).write(true).open(dir.path().join("store.clean")).unwrap();
    let store = FjallStore::open(dir.path(), &config).unwrap();
    assert!(!dir.path().join("store.clean").exists(), "an end that is not a close is not clean");
    store.close().await.unwrap();
    drop(store);
    assert!(dir.path().join("store.clean").exists());
}

#[tokio::test]
async fn what_is_found_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path()).await;
    for seq in 100..300 {
        insert(&store.tables, Table::Edits, keys::edit(&chat(), 1, seq), record::encode_mark());
    }
    let found = store.verify().await.unwrap();
    assert_eq!((found.damaged, found.first.len()), (200, 100));
    store.close().await.unwrap();
}
