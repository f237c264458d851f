//! The embedded store: fjall, a log-structured engine, in a data directory.

mod backup;
mod check;
mod directory;
mod keys;
mod outbox;
mod read;
mod record;
mod stage;
#[cfg(test)]
mod tests;
mod trim;
mod writer;

use std::{path::Path, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use self::{
    directory::Tables,
    keys::Table,
    outbox::OutboxState,
    writer::{Command, Disk, Reply, Writer},
};
use super::{
    Append, CheckAtOpen, ConversationKey, Cutoff, Head, MAX_NAME_BYTES, Member, MemberChange, Members, NewEntry,
    OutboxConfig, OutboxStatus, Page, Positions, Store, StoreError, StoredEntry, Trimmed, Unread, Verification,
    check_name,
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
    /// When the store checks itself as it is opened. Default after an unclean end.
    pub check: CheckAtOpen,
    /// Keeps an event for each entry, see [`Outbox`](super::Outbox). Default none; events that an earlier run left are kept.
    pub outbox: Option<OutboxConfig>,
}

impl Default for FjallConfig {
    fn default() -> Self {
        Self {
            batch_messages: 1024,
            batch_bytes: 4 << 20,
            queue_bytes: 32 << 20,
            cache_bytes: 32 << 20,
            check: CheckAtOpen::default(),
            outbox: None,
        }
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
    outbox: watch::Receiver<OutboxStatus>,
}

impl FjallStore {
    /// Opens the store in `dir`, which is created with mode 0700 if it does not exist. Blocks while it recovers, and after an
    /// unclean end while it checks the head and the last entries of each conversation.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Setting`] for a zero in the settings.
    /// - [`StoreError::InUse`] when another process has it open.
    /// - [`StoreError::NewerFormat`] when a newer program wrote it.
    /// - [`StoreError::Corrupt`] when its format record is missing or damaged, or the check found damage. With
    ///   [`CheckAtOpen::Never`] the store opens all the same.
    /// - [`StoreError::Io`], [`StoreError::Engine`].
    pub fn open(dir: &Path, config: &FjallConfig) -> Result<Self, StoreError> {
        let FjallConfig { batch_messages, batch_bytes, queue_bytes, cache_bytes, check, .. } = *config;
        let settings = [("batch_messages", batch_messages), ("batch_bytes", batch_bytes), ("queue_bytes", queue_bytes)];
        if let Some((name, _)) = settings.into_iter().find(|(_, value)| *value == 0) {
            return Err(StoreError::Setting(name));
        }
        if config.outbox.as_ref().is_some_and(|outbox| outbox.max_waiting == 0) {
            return Err(StoreError::Setting("max_waiting"));
        }
        let tables = Arc::new(Tables::open(dir, cache_bytes)?);
        let due = match check {
            CheckAtOpen::AfterUncleanEnd => !tables.is_trusted(),
            CheckAtOpen::Always => true,
            CheckAtOpen::Never => false,
        };
        if due {
            tracing::info!("the message store is checked before it is served");
            check::quick(&tables)?;
            tables.trust(true);
        }
        Self::start(tables.clone(), tables, config)
    }

    /// Whether there is a store in `dir`. Makes nothing.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        directory::exists(dir)
    }

    /// Checks everything, in one state of the store, while others go on reading and writing: logs are dense, heads match,
    /// packet ids point at their entries, what was recalled is erased, edits are indexed, members and roster agree, and every
    /// row decodes. Takes about as long as reading all of it. What it finds is in the answer; while something is damaged, the
    /// store is checked each time it is opened.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], [`StoreError::Engine`] when the check could not go on, [`StoreError::Closed`] when the store was
    /// closed meanwhile.
    pub async fn verify(&self) -> Result<Verification, StoreError> {
        self.blocking(|tables| {
            let outcome = check::full(tables);
            tables.trust(matches!(&outcome, Ok(found) if found.damaged == 0));
            outcome
        })
        .await
    }

    fn start(tables: Arc<Tables>, disk: impl Disk, config: &FjallConfig) -> Result<Self, StoreError> {
        let outbox = OutboxState::open(&tables, config.outbox.clone())?;
        let status = outbox.watch();
        let (queue, commands) = mpsc::unbounded_channel();
        let writer = Writer::new(disk, commands, config.batch_messages, config.batch_bytes, outbox);
        std::thread::Builder::new()
            .name("im-store-writer".into())
            .spawn(move || writer.run())
            .map_err(|e| StoreError::Io(e.to_string().into()))?;
        let room_bytes = u32::try_from(config.queue_bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(room_bytes as usize));
        Ok(Self { tables, queue, room, room_bytes, order: Mutex::new(()), outbox: status })
    }

    /// Waits until the queue has room for `cost` bytes.
    async fn room(&self, cost: usize) -> Result<tokio::sync::OwnedSemaphorePermit, StoreError> {
        let share = u32::try_from(cost).unwrap_or(u32::MAX).min(self.room_bytes);
        self.room.clone().acquire_many_owned(share).await.map_err(|_| StoreError::Closed)
    }

    /// Queues a write that waits for its turn and its room, and waits for the outcome.
    async fn write<T>(
        &self,
        cost: usize,
        command: impl FnOnce(Reply<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let room = self.room(cost).await?;
        let (channel, outcome) = oneshot::channel();
        if self.queue.send(command(Reply { channel, room })).is_err() {
            return Err(if self.room.is_closed() { StoreError::Closed } else { writer_gone() });
        }
        outcome.await.unwrap_or_else(|_| Err(writer_gone()))
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
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        Box::pin(async move {
            if let Err(error) = entry.check() {
                return Append::NotStored(error);
            }
            // A member costs two rows with its name and the conversation's key.
            let members: usize = entry.members.iter().map(|m| 2 * (m.len() + MAX_NAME_BYTES)).sum();
            let cost = WRITE_OVERHEAD + entry.content.len() + members;
            let turn = self.order.lock().await;
            let room = match self.room(cost).await {
                Ok(room) => room,
                Err(error) => return Append::NotStored(error),
            };
            let (channel, outcome) = oneshot::channel();
            if self.queue.send(Command::Append { entry, cost, reply: Reply { channel, room } }).is_err() {
                let error = if self.room.is_closed() { StoreError::Closed } else { writer_gone() };
                return Append::NotStored(error);
            }
            drop(turn);
            outcome.await.unwrap_or_else(|_| Append::Unknown(writer_gone()))
        })
    }

    fn stored_before<'a>(&'a self, entry: &'a NewEntry) -> BoxFuture<'a, Result<Option<Append>, StoreError>> {
        Box::pin(async move {
            entry.check()?;
            let key = keys::dedup(&entry.from, &entry.device, entry.packet_id);
            let found = self.blocking(move |tables| match tables.get(Table::Dedup, &key)? {
                Some(value) => record::decode_dedup(&key, &value).map(Some),
                None => Ok(None),
            });
            Ok(found.await?.map(|first| first.outcome(entry)))
        })
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>> {
        let conversation = conversation.clone();
        Box::pin(self.blocking(move |tables| {
            read::entries(tables, &tables.db.snapshot(), &conversation, after, max_messages, max_bytes)
        }))
    }

    fn page(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        after: Option<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let (user, device, conversation) = (Box::<str>::from(user), Box::<str>::from(device), conversation.clone());
        Box::pin(self.blocking(move |tables| {
            check_owner(&user, &device)?;
            read::page(tables, &user, &device, &conversation, after, (max_messages, max_bytes))
        }))
    }

    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        let (user, device, after) = (Box::<str>::from(user), Box::<str>::from(device), after.cloned());
        Box::pin(self.blocking(move |tables| {
            check_owner(&user, &device)?;
            read::unread(tables, &user, &device, after.as_ref(), limit)
        }))
    }

    fn conversations(
        &self,
        user: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ConversationKey>, StoreError>> {
        let (user, after) = (Box::<str>::from(user), after.cloned());
        Box::pin(self.blocking(move |tables| {
            check_name("a user name", &user)?;
            read::conversations(tables, &user, after.as_ref(), limit)
        }))
    }

    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>> {
        let conversation = conversation.clone();
        Box::pin(self.blocking(move |tables| read::head(tables, &tables.db.snapshot(), &conversation)))
    }

    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (user, device, conversation) = (Box::<str>::from(user), Box::<str>::from(device), conversation.clone());
        Box::pin(self.blocking(move |tables| {
            check_owner(&user, &device)?;
            let snapshot = tables.db.snapshot();
            let Some(member) = read::member(tables, &snapshot, &user, &conversation)? else { return Ok(0) };
            let head = read::head(tables, &snapshot, &conversation)?;
            read::cursor(tables, &snapshot, &user, &device, &conversation, (&member, &head))
        }))
    }

    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        let checked = check_owner(user, device);
        let (user, device, conversation) = (Box::from(user), Box::from(device), conversation.clone());
        Box::pin(async move {
            checked?;
            let command = |reply| Command::Advance { user, device, conversation, epoch, up_to, reply };
            self.write(WRITE_OVERHEAD, command).await
        })
    }

    fn mark_read(
        &self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<Positions, StoreError>> {
        let checked = check_name("a user name", user);
        let (user, conversation) = (Box::from(user), conversation.clone());
        Box::pin(async move {
            checked?;
            let command = |reply| Command::MarkRead { user, conversation, epoch, up_to, reply };
            self.write(WRITE_OVERHEAD, command).await
        })
    }

    fn positions(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Positions, StoreError>> {
        let (user, conversation) = (Box::<str>::from(user), conversation.clone());
        Box::pin(self.blocking(move |tables| {
            check_name("a user name", &user)?;
            read::positions(tables, &tables.db.snapshot(), &user, &conversation)
        }))
    }

    fn set_members(
        &self,
        conversation: &ConversationKey,
        changes: Vec<MemberChange>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let conversation = conversation.clone();
        Box::pin(async move {
            for change in &changes {
                check_name("a member name", &change.user)?;
            }
            let rows: usize = changes.iter().map(|change| 2 * (change.user.len() + MAX_NAME_BYTES)).sum();
            let cost = WRITE_OVERHEAD + rows;
            self.write(cost, |reply| Command::SetMembers { conversation, changes, cost, reply }).await
        })
    }

    fn member(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Option<Member>, StoreError>> {
        let (user, conversation) = (Box::<str>::from(user), conversation.clone());
        Box::pin(self.blocking(move |tables| {
            check_name("a user name", &user)?;
            read::member(tables, &tables.db.snapshot(), &user, &conversation)
        }))
    }

    fn members(
        &self,
        conversation: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        let (conversation, after) = (conversation.clone(), after.map(Box::<str>::from));
        Box::pin(self.blocking(move |tables| read::members(tables, &conversation, after.as_deref(), limit)))
    }

    fn trim(
        &self,
        cutoff: Cutoff,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Trimmed, StoreError>> {
        let after = after.cloned();
        Box::pin(async move {
            // What is to go is found beside the writer, which only takes it away.
            let plan = self.blocking(move |tables| trim::plan(tables, cutoff, after, limit)).await?;
            let (cuts, step) = plan.into_parts();
            if cuts.is_empty() {
                return if self.room.is_closed() { Err(StoreError::Closed) } else { Ok(step) };
            }
            let cost = WRITE_OVERHEAD * (1 + cuts.rows());
            self.write(cost, |reply| Command::Trim { cuts, cost, reply }).await?;
            Ok(step)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let again = self.room.is_closed();
        self.tables.begin_close();
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
