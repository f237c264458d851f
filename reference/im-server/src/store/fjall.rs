//! The embedded store: fjall, a log-structured engine, in a data directory.

mod directory;
mod keys;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::{path::Path, sync::Arc};

use ::fjall::Readable;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use self::{
    directory::Tables,
    keys::Table,
    writer::{Command, Disk, Writer},
};
use super::{
    Append, ConversationKey, Head, MAX_NAME_BYTES, NewMessage, Store, StoreError, StoredMessage, Unread, check_name,
};

/// What one queued write costs in memory beside its content and member names: three names, keys, rows and channels.
const WRITE_OVERHEAD: usize = 512 + 3 * MAX_NAME_BYTES;

/// The settings of a [`FjallStore`]. The defaults suit one server on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FjallConfig {
    /// The most writes in one group commit. Default 1024.
    pub batch_messages: usize,
    /// A group commit takes no further write once it has this many bytes. Default 4 MiB.
    pub batch_bytes: usize,
    /// The most bytes of writes waiting or being committed, with about 2 KiB of overhead for each; callers wait beyond
    /// that. A single larger write is let in alone. Default 32 MiB, at most 4 GiB.
    pub queue_bytes: usize,
    /// The cache for blocks read from disk, in bytes. Default 32 MiB.
    pub cache_bytes: u64,
}

impl Default for FjallConfig {
    fn default() -> Self {
        Self { batch_messages: 1024, batch_bytes: 4 << 20, queue_bytes: 32 << 20, cache_bytes: 32 << 20 }
    }
}

/// The default [`Store`]: embedded, in a directory of its own, with group commit.
///
/// One thread owns all writes. It takes what is queued, up to the limits in [`FjallConfig`], writes it as one atomic
/// batch and forces that to disk once (`fdatasync`), then answers all callers. Reads run on tokio's blocking threads, so
/// its methods must be called inside a tokio runtime.
///
/// After a failed write it refuses all further writes with [`StoreError::Failed`], because what is on disk is uncertain
/// until the directory is opened again.
///
/// Call [`Store::close`] before dropping it. A store that is only dropped still writes what is queued, but on the
/// writer's thread and unseen; the directory stays in use until that is done.
#[derive(Debug)]
pub struct FjallStore {
    tables: Arc<Tables>,
    queue: mpsc::UnboundedSender<Command>,
    /// Bounds the queue in bytes: a write holds its share until it is answered.
    room: Arc<Semaphore>,
    room_bytes: u32,
    /// Held while an append waits for room and joins the queue. It is fair, so appends join in the order in which they
    /// were first polled; the semaphore alone lets a late one in between another's permit and its next poll.
    order: Mutex<()>,
}

impl FjallStore {
    /// Opens the store in `dir`, which is created with mode 0700 if it does not exist. Blocks while it recovers.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Setting`] for a zero in the settings.
    /// - [`StoreError::InUse`] when another process has it open.
    /// - [`StoreError::NewerFormat`] when a newer program wrote it.
    /// - [`StoreError::Corrupt`] when its format record is missing or damaged.
    /// - [`StoreError::Io`], [`StoreError::Engine`].
    pub fn open(dir: &Path, config: &FjallConfig) -> Result<Self, StoreError> {
        let FjallConfig { batch_messages, batch_bytes, queue_bytes, cache_bytes } = *config;
        let settings = [("batch_messages", batch_messages), ("batch_bytes", batch_bytes), ("queue_bytes", queue_bytes)];
        if let Some((name, _)) = settings.into_iter().find(|(_, value)| *value == 0) {
            return Err(StoreError::Setting(name));
        }
        let tables = Arc::new(Tables::open(dir, cache_bytes)?);
        Self::start(tables.clone(), tables, batch_messages, batch_bytes, queue_bytes)
    }

    fn start(
        tables: Arc<Tables>,
        disk: impl Disk,
        batch_messages: usize,
        batch_bytes: usize,
        queue_bytes: usize,
    ) -> Result<Self, StoreError> {
        let (queue, commands) = mpsc::unbounded_channel();
        let writer = Writer::new(disk, commands, batch_messages, batch_bytes);
        std::thread::Builder::new()
            .name("im-store-writer".into())
            .spawn(move || writer.run())
            .map_err(|e| StoreError::Io(e.to_string().into()))?;
        let room_bytes = u32::try_from(queue_bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(room_bytes as usize));
        Ok(Self { tables, queue, room, room_bytes, order: Mutex::new(()) })
    }

    /// Waits until the queue has room for `cost` bytes.
    async fn room(&self, cost: usize) -> Result<tokio::sync::OwnedSemaphorePermit, StoreError> {
        let share = u32::try_from(cost).unwrap_or(u32::MAX).min(self.room_bytes);
        self.room.clone().acquire_many_owned(share).await.map_err(|_| StoreError::Closed)
    }

    /// Reads on a thread where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Tables) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tables = self.tables.clone();
        let task = tokio::task::spawn_blocking(move || read(&tables));
        task.await.unwrap_or_else(|e| Err(StoreError::Engine(e.to_string().into())))
    }
}

/// The writer's thread ended without an answer: it panicked in the engine.
fn writer_gone() -> StoreError {
    StoreError::Failed("the writer stopped unexpectedly".into())
}

impl Store for FjallStore {
    fn append(&self, message: NewMessage) -> BoxFuture<'_, Append> {
        Box::pin(async move {
            if let Err(error) = message.check() {
                return Append::NotStored(error);
            }
            // A member row holds the member's name and the conversation's key.
            let members: usize = message.members.iter().map(|m| m.len() + MAX_NAME_BYTES).sum();
            let cost = WRITE_OVERHEAD + message.content.len() + members;
            let turn = self.order.lock().await;
            let room = match self.room(cost).await {
                Ok(room) => room,
                Err(error) => return Append::NotStored(error),
            };
            let (reply, outcome) = oneshot::channel();
            if self.queue.send(Command::Append { message, cost, reply, room }).is_err() {
                let error = if self.room.is_closed() { StoreError::Closed } else { writer_gone() };
                return Append::NotStored(error);
            }
            drop(turn);
            outcome.await.unwrap_or_else(|_| Append::Unknown(writer_gone()))
        })
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredMessage>, StoreError>> {
        let conversation = conversation.clone();
        Box::pin(self.blocking(move |tables| read(tables, &conversation, after, max_messages, max_bytes)))
    }

    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        let (user, device, after) = (Box::<str>::from(user), Box::<str>::from(device), after.cloned());
        Box::pin(self.blocking(move |tables| unread(tables, &user, &device, after.as_ref(), limit)))
    }

    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>> {
        let key = keys::head(conversation);
        Box::pin(self.blocking(move |tables| match tables.get(Table::Heads, &key)? {
            Some(value) => record::decode_head(&key, &value),
            None => Ok(Head::default()),
        }))
    }

    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = check_owner(user, device).map(|()| keys::cursor(user, device, conversation));
        Box::pin(self.blocking(move |tables| {
            let key = key?;
            tables.get(Table::Cursors, &key)?.map_or(Ok(0), |value| record::decode_cursor(&key, &value))
        }))
    }

    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        up_to: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let checked = check_owner(user, device);
        let (user, device, conversation) = (Box::from(user), Box::from(device), conversation.clone());
        Box::pin(async move {
            checked?;
            let room = self.room(WRITE_OVERHEAD).await?;
            let (reply, outcome) = oneshot::channel();
            let command = Command::Advance { user, device, conversation, up_to, reply, room };
            if self.queue.send(command).is_err() {
                return Err(if self.room.is_closed() { StoreError::Closed } else { writer_gone() });
            }
            outcome.await.unwrap_or_else(|_| Err(writer_gone()))
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let again = self.room.is_closed();
        // Those who wait for room are told at once; what is already queued is written first.
        self.room.close();
        let (reply, outcome) = oneshot::channel();
        // If the writer has ended, the reply channel is dropped with the command, which `outcome` then shows.
        let _ = self.queue.send(Command::Close { reply });
        Box::pin(async move {
            // It ended by an earlier close, or else by a panic.
            outcome.await.unwrap_or_else(|_| if again { Ok(()) } else { Err(writer_gone()) })
        })
    }
}

fn check_owner(user: &str, device: &str) -> Result<(), StoreError> {
    check_name("a user name", user)?;
    check_name("a device name", device)
}

fn read(
    tables: &Tables,
    conversation: &ConversationKey,
    after: u64,
    max_messages: usize,
    max_bytes: usize,
) -> Result<Vec<StoredMessage>, StoreError> {
    let mut messages = Vec::new();
    let Some(mut expected) = after.checked_add(1) else { return Ok(messages) };
    let mut bytes = 0_usize;
    let range = keys::log(conversation, expected)..=keys::log(conversation, u64::MAX);
    for row in tables.db.snapshot().range(tables.keyspace(Table::Log), range) {
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        let message = record::decode_message(&key, &value)?;
        if message.seq != expected {
            return Err(StoreError::corrupt(Table::Log.name(), &key, "messages before it are missing"));
        }
        bytes = bytes.saturating_add(message.content.len());
        if !messages.is_empty() && bytes > max_bytes {
            break;
        }
        messages.push(message);
        if messages.len() >= max_messages {
            break;
        }
        expected = expected.saturating_add(1);
    }
    Ok(messages)
}

fn unread(
    tables: &Tables,
    user: &str,
    device: &str,
    after: Option<&ConversationKey>,
    limit: usize,
) -> Result<Vec<Unread>, StoreError> {
    check_owner(user, device)?;
    let mut found = Vec::new();
    let prefix = keys::members_of(user);
    let snapshot = tables.db.snapshot();
    let rows = match after {
        // Names are UTF-8, so this byte is greater than any of them and the range stays with this user.
        Some(after) => {
            let end = [prefix.as_slice(), &[0xff]].concat();
            snapshot.range(tables.keyspace(Table::Members), keys::member(user, after)..end)
        }
        None => snapshot.prefix(tables.keyspace(Table::Members), &prefix),
    };
    for row in rows {
        if found.len() >= limit {
            break;
        }
        let conversation = keys::member_conversation(&row.key().map_err(directory::engine)?, &prefix)?;
        if Some(&conversation) == after {
            continue;
        }
        let head_key = keys::head(&conversation);
        let Some(head) = snapshot.get(tables.keyspace(Table::Heads), &head_key).map_err(directory::engine)? else {
            return Err(StoreError::corrupt(Table::Heads.name(), &head_key, "it is missing"));
        };
        let head = record::decode_head(&head_key, &head)?;
        let cursor_key = keys::cursor(user, device, &conversation);
        let cursor = match snapshot.get(tables.keyspace(Table::Cursors), &cursor_key).map_err(directory::engine)? {
            Some(value) => record::decode_cursor(&cursor_key, &value)?,
            None => 0,
        };
        if head.seq > cursor {
            found.push(Unread { conversation, epoch: head.epoch, head: head.seq, cursor });
        }
    }
    Ok(found)
}
