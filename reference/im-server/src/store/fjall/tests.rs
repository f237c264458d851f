//! What needs the inside of the store: failing writes, damaged records, formats.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    FjallConfig, FjallStore,
    directory::Tables,
    keys::{self, Table},
    record,
    stage::Rows,
    writer::Disk,
};
use crate::store::{
    Append, ConversationKey, EntryKind, EventKind, MemberChange, NewEntry, Outbox, OutboxConfig, OutboxEvent, Standing,
    Store, StoreError,
};

pub(super) fn message(packet_id: u64) -> NewEntry {
    NewEntry {
        conversation: ConversationKey::new("ann:bob").unwrap(),
        members: vec!["ann".into(), "bob".into()],
        from: "ann".into(),
        device: "phone".into(),
        packet_id,
        digest: [packet_id as u8; 32],
        message_id: 100 + packet_id,
        time_ms: 1,
        kind: EntryKind::Message,
        content_type: 1,
        content: b"hi".to_vec(),
    }
}

/// The real tables, whose commits fail while the switch is on: before the rows are written, or after.
pub(super) struct Faulty {
    pub(super) tables: Arc<Tables>,
    pub(super) fail: Arc<AtomicBool>,
    pub(super) write_first: bool,
    /// How many rows the last commit had.
    pub(super) rows: Arc<AtomicUsize>,
}

impl Disk for Faulty {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.tables.as_ref().get(table, key)
    }

    fn keys(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.tables.as_ref().keys(table, prefix, limit)
    }

    fn first(&self, table: Table, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.tables.as_ref().first(table, from)
    }

    fn commit(&mut self, rows: Rows, durable: bool) -> Result<(), StoreError> {
        self.rows.store(rows.len(), Ordering::SeqCst);
        if !self.fail.load(Ordering::SeqCst) {
            return self.tables.commit(rows, durable);
        }
        if self.write_first {
            self.tables.commit(rows, durable)?;
        }
        Err(StoreError::Io("injected".into()))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.tables.close()
    }
}

async fn after_a_failed_persist(write_first: bool) {
    let dir = tempfile::tempdir().unwrap();
    let tables = Arc::new(Tables::open(dir.path(), 1 << 20).unwrap());
    let fail = Arc::new(AtomicBool::new(false));
    let disk = Faulty { tables: tables.clone(), fail: fail.clone(), write_first, rows: Arc::default() };
    let config = FjallConfig { batch_messages: 16, batch_bytes: 1 << 20, ..FjallConfig::default() };
    let store = FjallStore::start(tables, disk, &config).unwrap();
    assert!(matches!(store.append(message(1)).await, Append::Stored(r) if r.seq == 1));

    fail.store(true, Ordering::SeqCst);
    assert!(matches!(store.append(message(2)).await, Append::Unknown(StoreError::Failed(_))));
    fail.store(false, Ordering::SeqCst);
    // The disk works again, but only opening it again tells what is on it.
    assert!(matches!(store.append(message(3)).await, Append::NotStored(StoreError::Failed(_))));
    let conversation = message(1).conversation;
    assert!(matches!(store.advance("bob", "desk", &conversation, 1, 1).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.close().await, Err(StoreError::Failed(_))));
    drop(store);

    let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
    match (write_first, store.append(message(2)).await) {
        (true, Append::AlreadyStored(r)) | (false, Append::Stored(r)) => assert_eq!(r.seq, 2),
        (_, other) => panic!("{other:?}"),
    }
    assert!(matches!(store.append(message(3)).await, Append::Stored(r) if r.seq == 3));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_persist_is_unknown_and_then_all_is_refused() {
    after_a_failed_persist(false).await;
}

#[tokio::test]
async fn a_failed_persist_may_have_written() {
    after_a_failed_persist(true).await;
}

/// A message costs three rows in a group of 100,000 as in one of two: the log, its head, and the packet id.
#[tokio::test]
async fn a_message_costs_the_same_in_a_group_of_a_hundred_thousand() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Arc::new(Tables::open(dir.path(), 1 << 20).unwrap());
    let rows = Arc::new(AtomicUsize::new(0));
    let disk = Faulty { tables: tables.clone(), fail: Arc::default(), write_first: false, rows: rows.clone() };
    let config = FjallConfig { batch_messages: 16, batch_bytes: 1 << 20, ..FjallConfig::default() };
    let store = FjallStore::start(tables, disk, &config).unwrap();
    let conversation = ConversationKey::new("g:town").unwrap();
    let users: Vec<_> = (0..100_000).map(|n| format!("user {n}")).collect();
    for part in users.chunks(5000) {
        let joins = |user: &String| MemberChange { user: user.as_str().into(), standing: Some(Standing::default()) };
        store.set_members(&conversation, part.iter().map(joins).collect()).await.unwrap();
        assert!(rows.load(Ordering::SeqCst) <= 2 * part.len() + 1);
    }
    let said = NewEntry { conversation: conversation.clone(), members: Vec::new(), ..message(1) };
    assert!(matches!(store.append(said).await, Append::Stored(r) if r.seq == 1));
    assert_eq!(rows.load(Ordering::SeqCst), 3);
    for user in ["user 0", "user 99999"] {
        assert_eq!(store.unread(user, "phone", None, 9).await.unwrap().len(), 1);
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
    let conversation = message(1).conversation;
    for packet_id in 1..=3 {
        assert!(matches!(store.append(message(packet_id)).await, Append::Stored(_)));
    }
    let log = store.tables.keyspace(Table::Log);
    log.insert(keys::log(&conversation, 2), b"\x01short".to_vec()).unwrap();
    let error = store.read(&conversation, 0, 10, 1 << 20).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(r) if r.table == "log" && r.key.contains("ann:bob")), "{error}");
    assert_eq!(store.read(&conversation, 2, 10, 1 << 20).await.unwrap().len(), 1);

    log.remove(keys::log(&conversation, 2)).unwrap();
    assert!(matches!(store.read(&conversation, 0, 10, 1 << 20).await, Err(StoreError::Corrupt(_))));

    store.tables.keyspace(Table::Heads).insert(keys::head(&conversation), b"".to_vec()).unwrap();
    assert!(matches!(store.append(message(4)).await, Append::NotStored(StoreError::Corrupt(r)) if r.table == "heads"));
    assert!(matches!(store.unread("bob", "desk", None, 9).await, Err(StoreError::Corrupt(_))));
    store.close().await.unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path(), 1 << 20).unwrap();
    tables.keyspace(Table::Meta).insert(keys::FORMAT, record::encode_format(record::FORMAT + 1)).unwrap();
    drop(tables);
    for _ in 0..2 {
        let error = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap_err();
        assert_eq!(error, StoreError::NewerFormat { found: record::FORMAT + 1, known: record::FORMAT });
    }
}

/// A directory as the first format had it: its rows in its own layout, without the tables that came later.
fn write_format_1(dir: &std::path::Path) {
    let db = ::fjall::Database::builder(dir.join("messages")).open().unwrap();
    let table = |table: Table| db.keyspace(table.name(), ::fjall::KeyspaceCreateOptions::default).unwrap();
    let conversation = message(1).conversation;
    let (mut head, mut cursor, mut log) = (vec![1], vec![1], vec![1]);
    for number in [77_u64, 1] {
        head.extend(number.to_be_bytes());
    }
    cursor.extend(1_u64.to_be_bytes());
    for number in [101_u64, 1, 1] {
        log.extend(number.to_be_bytes());
    }
    log.extend(b"\0\x01\0\x03ann\0\x05phonehi");
    table(Table::Heads).insert(keys::head(&conversation), head).unwrap();
    table(Table::Log).insert(keys::log(&conversation, 1), log).unwrap();
    let receipt = crate::store::Receipt { message_id: 101, seq: 1, time_ms: 1 };
    let dedup = record::encode_dedup(&message(1), receipt);
    table(Table::Dedup).insert(keys::dedup("ann", "phone", 1), dedup).unwrap();
    for user in ["ann", "bob"] {
        table(Table::Members).insert(keys::member(user, &conversation), [1]).unwrap();
    }
    table(Table::Cursors).insert(keys::cursor("ann", "phone", &conversation), cursor).unwrap();
    table(Table::Meta).insert(keys::FORMAT, record::encode_format(1)).unwrap();
    db.persist(::fjall::PersistMode::SyncAll).unwrap();
}

#[tokio::test]
async fn a_store_of_the_first_format_is_brought_to_this_one_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    write_format_1(dir.path());
    for round in 0..2 {
        let store = FjallStore::open(dir.path(), &FjallConfig::default()).unwrap();
        let conversation = message(1).conversation;
        let format = store.tables.get(Table::Meta, keys::FORMAT).unwrap().unwrap();
        assert_eq!(record::decode_format(&format), Ok(2));
        if round == 0 {
            let log = store.read(&conversation, 0, 9, 999).await.unwrap();
            assert_eq!((log.len(), log[0].kind, &*log[0].content), (1, EntryKind::Message, &b"hi"[..]));
            assert_eq!(store.cursor("ann", "phone", &conversation).await.unwrap(), 1);
            assert!(matches!(store.append(message(1)).await, Append::AlreadyStored(r) if r.seq == 1));
            let recall = NewEntry { kind: EntryKind::Recall { about: 1 }, content: Vec::new(), ..message(2) };
            assert!(matches!(store.append(recall).await, Append::Stored(r) if r.seq == 2));
        }
        let members = store.members(&conversation, None, 9).await.unwrap();
        assert_eq!(members.iter().map(|(user, _)| &**user).collect::<Vec<_>>(), ["ann", "bob"]);
        assert!(members.iter().all(|(_, member)| member.since == 0));
        assert!(store.read(&conversation, 0, 1, 999).await.unwrap()[0].recalled);
        let unread = store.unread("bob", "desk", None, 9).await.unwrap();
        assert_eq!((unread.len(), unread[0].epoch, unread[0].head), (1, 77, 2));
        store.close().await.unwrap();
    }
}

#[test]
fn an_interrupted_first_run_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let unfinished = dir.path().join("messages.new");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::File::options().create(true).write(true).truncate(true).open(unfinished.join("0.jnl")).unwrap();
    drop(Tables::open(dir.path(), 1 << 20).unwrap());
    assert!(!unfinished.exists());
}

#[cfg(unix)]
#[test]
fn a_new_directory_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(Tables::open(&data, 1 << 20).unwrap());
    assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_damaged_row_of_the_outbox_holds_up_none_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = OutboxConfig { kinds: [EventKind::MessageStored].into(), max_waiting: 100 };
    let store = FjallStore::open(dir.path(), &FjallConfig { outbox: Some(outbox), ..FjallConfig::default() }).unwrap();
    for packet_id in 1..=4 {
        assert!(matches!(store.append(message(packet_id)).await, Append::Stored(_)));
    }
    let outbox = store.tables.keyspace(Table::Outbox);
    for number in [1, 3] {
        outbox.insert(keys::event(number), [1, 2]).unwrap();
    }
    let numbers = |page: Vec<OutboxEvent>| page.iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!(numbers(store.events(0, 1).await.unwrap()), [2], "a page of one is not one of none");
    assert_eq!(numbers(store.events(0, 100).await.unwrap()), [2, 4]);
    store.settle(vec![2, 4]).await.unwrap();
    assert_eq!(numbers(store.events(0, 100).await.unwrap()), [0_u64; 0]);
}
