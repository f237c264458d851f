//! The data directory: who may open it, how it is made, and the tables in it.
//!
//! ```text
//! store.lock   held by the process that has the store open
//! store.clean  the last one closed it, and nothing was wrong: taken away when it is opened
//! messages/    the fjall database
//! messages.new a first run that was interrupted: thrown away
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{
    keys::{self, Table},
    record,
    stage::Rows,
    writer::Disk,
};
use crate::store::StoreError;

const LOCK: &str = "store.lock";
const CLEAN: &str = "store.clean";
pub(super) const DATABASE: &str = "messages";
const UNFINISHED: &str = "messages.new";

/// An open data directory. Fields drop in this order: the lock goes last.
pub(super) struct Tables {
    pub(super) db: Database,
    meta: Keyspace,
    heads: Keyspace,
    log: Keyspace,
    dedup: Keyspace,
    members: Keyspace,
    cursors: Keyspace,
    edits: Keyspace,
    roster: Keyspace,
    positions: Keyspace,
    outbox: Keyspace,
    dead_letters: Keyspace,
    expiring: Keyspace,
    dir: PathBuf,
    /// Whether the rows are known to agree, so that a clean end may be noted.
    trusted: AtomicBool,
    /// What takes long gives up.
    closing: AtomicBool,
    _lock: File,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        create_private(dir)?;
        let lock = lock(dir)?;
        // Before anything is written, and for good: whatever happens from here on, only a close puts it there again.
        let clean = remove_if_there(&dir.join(CLEAN))?;
        if clean {
            sync_directory(dir)?;
        }
        let path = dir.join(DATABASE);
        if !path.try_exists().map_err(|e| io(dir, &e))? {
            create(dir, cache_bytes)?;
        }
        let db = Database::builder(&path).cache_size(cache_bytes).open().map_err(engine)?;
        // The format decides before anything is read or created.
        if !db.keyspace_exists(Table::Meta.name()) {
            return Err(StoreError::corrupt(Table::Meta.name(), keys::FORMAT, "it is missing"));
        }
        let meta = keyspace(&db, Table::Meta)?;
        let Some(format) = meta.get(keys::FORMAT).map_err(engine)? else {
            return Err(StoreError::corrupt(Table::Meta.name(), keys::FORMAT, "it is missing"));
        };
        match record::decode_format(&format)? {
            record::FORMAT_UNTRIMMED | record::FORMAT => {}
            1 => migrate_from_1(&db, &meta)?,
            found if found > record::FORMAT => {
                return Err(StoreError::NewerFormat { found, known: record::FORMAT });
            }
            _ => return Err(StoreError::corrupt(Table::Meta.name(), keys::FORMAT, "an unknown format")),
        }
        Ok(Self {
            meta,
            heads: keyspace(&db, Table::Heads)?,
            log: keyspace(&db, Table::Log)?,
            dedup: keyspace(&db, Table::Dedup)?,
            members: keyspace(&db, Table::Members)?,
            cursors: keyspace(&db, Table::Cursors)?,
            edits: keyspace(&db, Table::Edits)?,
            roster: keyspace(&db, Table::Roster)?,
            positions: keyspace(&db, Table::Positions)?,
            // Made here in stores that are older; nothing of theirs changes by that.
            outbox: keyspace(&db, Table::Outbox)?,
            dead_letters: keyspace(&db, Table::DeadLetters)?,
            expiring: keyspace(&db, Table::Expiring)?,
            db,
            dir: dir.to_owned(),
            trusted: AtomicBool::new(clean),
            closing: AtomicBool::new(false),
            _lock: lock,
        })
    }

    pub(super) fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Meta => &self.meta,
            Table::Heads => &self.heads,
            Table::Log => &self.log,
            Table::Dedup => &self.dedup,
            Table::Members => &self.members,
            Table::Cursors => &self.cursors,
            Table::Edits => &self.edits,
            Table::Roster => &self.roster,
            Table::Positions => &self.positions,
            Table::Outbox => &self.outbox,
            Table::DeadLetters => &self.dead_letters,
            Table::Expiring => &self.expiring,
        }
    }
}

impl Disk for Arc<Tables> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.as_ref().get(table, key)
    }

    fn keys(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.as_ref().keys(table, prefix, limit)
    }

    fn first(&self, table: Table, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.as_ref().first(table, from)
    }

    fn commit(&mut self, rows: Rows, durable: bool) -> Result<(), StoreError> {
        let mode = if durable { PersistMode::SyncData } else { PersistMode::Buffer };
        // fjall writes its journal and forces it to disk before it shows the rows to readers.
        let mut batch = self.db.batch().durability(Some(mode));
        for ((table, key), value) in rows {
            match value {
                Some(value) => batch.insert(self.keyspace(table), key, value),
                None => batch.remove(self.keyspace(table), key),
            }
        }
        batch.commit().map_err(engine)
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.db.persist(PersistMode::SyncData).map_err(engine)?;
        if self.is_trusted() { mark_clean(&self.dir) } else { Ok(()) }
    }
}

impl Tables {
    /// Whether the rows are known to agree: after a clean end, or a check that found nothing.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    pub(super) fn trust(&self, trusted: bool) {
        self.trusted.store(trusted, Ordering::Relaxed);
    }

    /// A check or a copy of the whole store does not keep a server from stopping.
    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(super) fn begin_close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.keyspace(table).get(key).map_err(engine)?;
        Ok(value.map(|value| value.to_vec()))
    }

    pub(super) fn first(&self, table: Table, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let first = self.keyspace(table).range(from..).next();
        first.map(|row| row.key().map(|key| key.to_vec()).map_err(engine)).transpose()
    }

    pub(super) fn keys(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = self.keyspace(table).prefix(prefix).take(limit);
        rows.map(|row| row.key().map(|key| key.to_vec()).map_err(engine)).collect()
    }
}

/// Rows of a migration that are written at once.
const MIGRATION_BATCH: usize = 1024;

/// Format 1 had members by user only: makes the list by conversation. Rows of the other tables are read as they are. Nothing
/// of format 1 is touched and the format is raised last, so what was interrupted is done again.
fn migrate_from_1(db: &Database, meta: &Keyspace) -> Result<(), StoreError> {
    let roster = keyspace(db, Table::Roster)?;
    let mut batch = db.batch();
    for row in keyspace(db, Table::Members)?.iter() {
        let (user, conversation) = keys::member_parts(Table::Members, &row.key().map_err(engine)?)?;
        batch.insert(&roster, keys::roster(&conversation, &user), record::encode_mark());
        if batch.len() >= MIGRATION_BATCH {
            std::mem::replace(&mut batch, db.batch()).commit().map_err(engine)?;
        }
    }
    batch.commit().map_err(engine)?;
    db.persist(PersistMode::SyncAll).map_err(engine)?;
    meta.insert(keys::FORMAT, record::encode_format(record::FORMAT_UNTRIMMED)).map_err(engine)?;
    db.persist(PersistMode::SyncAll).map_err(engine)?;
    tracing::info!(format = record::FORMAT_UNTRIMMED, "the message store was brought to this program's format");
    Ok(())
}

/// Makes a new database beside its place and moves it there, so that a first run is there or is not: fjall does not
/// open a database whose creation was interrupted.
fn create(dir: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    let unfinished = dir.join(UNFINISHED);
    if unfinished.try_exists().map_err(|e| io(dir, &e))? {
        fs::remove_dir_all(&unfinished).map_err(|e| io(&unfinished, &e))?;
    }
    let db = Database::builder(&unfinished).cache_size(cache_bytes).open().map_err(engine)?;
    let meta = keyspace(&db, Table::Meta)?;
    for table in Table::DATA {
        keyspace(&db, table)?;
    }
    meta.insert(keys::FORMAT, record::encode_format(record::FORMAT_UNTRIMMED)).map_err(engine)?;
    db.persist(PersistMode::SyncAll).map_err(engine)?;
    drop(meta);
    drop(db);
    fs::rename(&unfinished, dir.join(DATABASE)).map_err(|e| io(dir, &e))?;
    sync_directory(dir)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_directory(parent)?;
    }
    Ok(())
}

pub(super) fn keyspace(db: &Database, table: Table) -> Result<Keyspace, StoreError> {
    db.keyspace(table.name(), KeyspaceCreateOptions::default).map_err(engine)
}

/// Creates the directory for this user only. One that exists keeps its mode: that was somebody's decision.
fn create_private(dir: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| io(dir, &e))
}

/// fjall has a lock too, but takes it after it has begun to look around; ours covers the first run.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| io(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.display().to_string().into())),
        Err(TryLockError::Error(e)) => Err(io(&path, &e)),
    }
}

pub(super) fn exists(dir: &Path) -> bool {
    dir.join(DATABASE).is_dir()
}

/// Notes that this directory needs no check when it is opened again.
pub(super) fn mark_clean(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(CLEAN);
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).map_err(|e| io(&path, &e))?;
    file.sync_all().map_err(|e| io(&path, &e))?;
    sync_directory(dir)
}

/// Whether it was there.
fn remove_if_there(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io(path, &e)),
    }
}

/// Makes new directory entries durable. Only Unix has and needs it.
fn sync_directory(dir: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let file = OpenOptions::new().read(true).open(dir).map_err(|e| io(dir, &e))?;
        file.sync_all().map_err(|e| io(dir, &e))?;
    }
    Ok(())
}

fn io(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io(format!("{}: {error}", path.display()).into())
}

/// An error of fjall as one of ours.
pub(super) fn engine(error: ::fjall::Error) -> StoreError {
    if let ::fjall::Error::Io(e) = error {
        StoreError::Io(e.to_string().into())
    } else {
        StoreError::Engine(error.to_string().into())
    }
}
