//! A copy of the store in one state, made while the store goes on.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use ::fjall::{Database, PersistMode, Readable, Slice};
use sha2::{Digest, Sha256};

use super::{
    FjallStore,
    directory::{self, Tables},
    keys::Table,
    record,
};
use crate::store::{Backup, Head, Positions, StoreError};

/// The copy's own cache; it is only written.
const CACHE: u64 = 1 << 20;
/// So many rows are a line in the log.
const PROGRESS: u64 = 1_000_000;

impl FjallStore {
    /// Copies the store into `to`, in the state of this moment: everything that was answered as stored before is in it, and
    /// what comes meanwhile is not. The store goes on serving. The copy is made beside its place, in `to` with `.new` behind
    /// its name, forced to disk and then moved, so it is whole or not there. It is a data directory like any other.
    ///
    /// Each conversation has another epoch in the copy, because a server that serves it may store other messages at the same
    /// places; clients that saw the original are told so, and read again. Who moves a server elsewhere copies the data
    /// directory itself, after the server has stopped.
    ///
    /// `files` are put into the copy too, with mode 0600: name and content.
    ///
    /// ```no_run
    /// # async fn example(store: &im_server::store::FjallStore) -> Result<(), im_server::store::StoreError> {
    /// let copy = store.backup_to("/backup/im-2026-01-31".as_ref(), Vec::new()).await?;
    /// println!("{} rows", copy.rows);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Backup`] when there is something at `to`, when an earlier backup to there was interrupted, or when a file
    /// cannot be written; [`StoreError::Corrupt`], [`StoreError::Engine`] when the store cannot be read; [`StoreError::Closed`]
    /// when it was closed meanwhile. Nothing is left behind then.
    pub async fn backup_to(&self, to: &Path, files: Vec<(String, Vec<u8>)>) -> Result<Backup, StoreError> {
        let to = to.to_owned();
        self.blocking(move |tables| copy(tables, &to, &files)).await
    }
}

fn copy(tables: &Tables, to: &Path, files: &[(String, Vec<u8>)]) -> Result<Backup, StoreError> {
    let Some(name) = to.file_name() else {
        return Err(StoreError::Backup(format!("{} names no directory", to.display()).into()));
    };
    if fs::symlink_metadata(to).is_ok() {
        return Err(StoreError::Backup(format!("{} exists already; choose another place", to.display()).into()));
    }
    let mut unfinished =
        Unfinished::make(to.with_file_name([name, ".new".as_ref()].into_iter().collect::<OsString>()))?;
    let rows = write_rows(tables, &unfinished.path)?;
    for (name, content) in files {
        write_private(&unfinished.path.join(name), content)?;
    }
    if tables.is_trusted() {
        directory::mark_clean(&unfinished.path)?;
    }
    sync_all(&unfinished.path)?;
    fs::rename(&unfinished.path, to).map_err(|e| cannot("move the copy to", to, &e))?;
    unfinished.moved = true;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync(parent)?;
    Ok(Backup { rows })
}

fn write_rows(tables: &Tables, dir: &Path) -> Result<u64, StoreError> {
    let snapshot = tables.db.snapshot();
    let nonce = getrandom::u64().map_err(|e| StoreError::Io(e.to_string().into()))?;
    let db = Database::builder(dir.join(directory::DATABASE)).cache_size(CACHE).open().map_err(directory::engine)?;
    let mut copied = 0_u64;
    for table in Table::DATA.into_iter().chain([Table::Meta]) {
        let keyspace = directory::keyspace(&db, table)?;
        // Straight into the engine's sorted files: the rows come in order, and none is held in memory.
        let mut ingestion = keyspace.start_ingestion().map_err(directory::engine)?;
        for row in snapshot.iter(tables.keyspace(table)) {
            let (key, value) = row.into_inner().map_err(directory::engine)?;
            let value = in_another_epoch(table, nonce, &key, value)?;
            ingestion.write(key, value).map_err(directory::engine)?;
            copied = copied.saturating_add(1);
            tables.check_open()?;
            if copied.is_multiple_of(PROGRESS) {
                tracing::info!(rows = copied, "copying the message store");
            }
        }
        ingestion.finish().map_err(directory::engine)?;
    }
    db.persist(PersistMode::SyncAll).map_err(directory::engine)?;
    Ok(copied)
}

/// Heads and positions name the epoch of their log.
fn in_another_epoch(table: Table, nonce: u64, key: &[u8], value: Slice) -> Result<Slice, StoreError> {
    let other = |epoch: u64| {
        let hash: [u8; 32] =
            Sha256::new().chain_update(nonce.to_be_bytes()).chain_update(epoch.to_be_bytes()).finalize().into();
        hash.first_chunk::<8>().map_or(1, |bytes| u64::from_be_bytes(*bytes).max(1))
    };
    match table {
        Table::Heads => {
            let head = record::decode_head(key, &value)?;
            Ok(record::encode_head(Head { epoch: other(head.epoch), ..head }).into())
        }
        Table::Positions => {
            let positions = record::decode_positions(key, &value)?;
            Ok(record::encode_positions(&Positions { epoch: other(positions.epoch), ..positions }).into())
        }
        Table::Meta
        | Table::Log
        | Table::Dedup
        | Table::Members
        | Table::Cursors
        | Table::Edits
        | Table::Roster
        | Table::Outbox
        | Table::DeadLetters
        | Table::Expiring => Ok(value),
    }
}

/// A directory that goes away unless it was moved to its place.
struct Unfinished {
    path: PathBuf,
    moved: bool,
}

impl Unfinished {
    fn make(path: PathBuf) -> Result<Self, StoreError> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&path) {
            Ok(()) => Ok(Self { path, moved: false }),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(StoreError::Backup(
                format!(
                    "{} exists: another backup is under way there, or one was interrupted; remove it in that case",
                    path.display()
                )
                .into(),
            )),
            Err(e) => Err(cannot("make", &path, &e)),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.moved
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished backup could not be removed");
        }
    }
}

fn write_private(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(content));
    written.map_err(|e| cannot("write", path, &e))
}

/// Forces a directory and all in it to disk.
fn sync_all(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(|e| cannot("read", dir, &e))? {
        let path = entry.map_err(|e| cannot("read", dir, &e))?.path();
        if path.is_dir() { sync_all(&path)? } else { sync(&path)? }
    }
    sync(dir)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().read(true).open(path);
    file.and_then(|file| file.sync_all()).map_err(|e| cannot("force to disk", path, &e))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Backup(format!("cannot {what} {}: {error}", path.display()).into())
}
