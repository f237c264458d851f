//! The one thread that writes: it drains what is queued into one atomic batch, forces it to disk once, then answers all.

use std::collections::BTreeMap;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    keys::{self, Table},
    record,
};
use crate::store::{Append, ConversationKey, Head, NewMessage, Receipt, StoreError};

/// Rows to write in one atomic batch. Later rows of the batch see earlier ones here before they look on disk.
pub(super) type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// What the writer needs of the disk. A seam, so that a test can make a write fail.
pub(super) trait Disk: Send + 'static {
    /// The value that is visible now.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes all rows or none; with `durable`, returns only when they would survive a power cut. Rows become visible
    /// only when this succeeds.
    fn commit(&mut self, rows: Rows, durable: bool) -> Result<(), StoreError>;
    /// Forces everything written so far to disk.
    fn sync(&mut self) -> Result<(), StoreError>;
}

/// A write on its way to the writer.
pub(super) enum Command {
    Append {
        message: NewMessage,
        cost: usize,
        reply: oneshot::Sender<Append>,
        room: OwnedSemaphorePermit,
    },
    Advance {
        user: Box<str>,
        device: Box<str>,
        conversation: ConversationKey,
        up_to: u64,
        reply: oneshot::Sender<Result<(), StoreError>>,
        room: OwnedSemaphorePermit,
    },
    Close {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// An answer that waits for the commit, with the queue room that it still occupies.
enum Answer {
    Append(oneshot::Sender<Append>, Append, OwnedSemaphorePermit),
    Advance(oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>, OwnedSemaphorePermit),
}

impl Answer {
    /// Sends it. A caller that no longer waits has dropped its future and wants no answer.
    fn send(self) {
        match self {
            Self::Append(reply, outcome, room) => {
                drop(room);
                let _ = reply.send(outcome);
            }
            Self::Advance(reply, outcome, room) => {
                drop(room);
                let _ = reply.send(outcome);
            }
        }
    }

    /// The same answer after the commit of its batch failed.
    fn after_failure(self, error: &StoreError) -> Self {
        match self {
            // Nothing was staged for it, so nothing of it can be on disk.
            Self::Append(reply, outcome @ Append::NotStored(_), room) => Self::Append(reply, outcome, room),
            // A conflict or a repetition may have been seen against a message of the same failed batch.
            Self::Append(reply, _, room) => Self::Append(reply, Append::Unknown(error.clone()), room),
            Self::Advance(reply, _, room) => Self::Advance(reply, Err(error.clone()), room),
        }
    }
}

/// One batch being put together.
#[derive(Default)]
struct Batch {
    rows: Rows,
    answers: Vec<Answer>,
    bytes: usize,
    /// Whether a message is in it, which must be durable before it is answered; cursors alone need not be.
    durable: bool,
}

pub(super) struct Writer<D> {
    disk: D,
    queue: mpsc::UnboundedReceiver<Command>,
    batch_messages: usize,
    batch_bytes: usize,
    /// Set by the first failed commit and never cleared: only reopening tells what is on disk.
    failed: Option<StoreError>,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(
        disk: D,
        queue: mpsc::UnboundedReceiver<Command>,
        batch_messages: usize,
        batch_bytes: usize,
    ) -> Self {
        Self { disk, queue, batch_messages, batch_bytes, failed: None }
    }

    /// Works until it is told to close or the store is dropped.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = Batch::default();
            let mut next = Some(first);
            let mut close = None;
            while let Some(command) = next {
                close = self.stage(&mut batch, command);
                let full = batch.answers.len() >= self.batch_messages || batch.bytes >= self.batch_bytes;
                next = if full || close.is_some() { None } else { self.queue.try_recv().ok() };
            }
            self.finish(batch);
            if let Some(reply) = close {
                let outcome = self.shut_down();
                let _ = reply.send(outcome);
                return;
            }
        }
        if let Err(error) = self.shut_down() {
            tracing::error!(%error, "the message store was dropped and could not be forced to disk");
        }
    }

    /// Refuses what came after the close, forces cursors to disk, and lets go of the disk before the closer is told,
    /// so that it can open the directory again.
    fn shut_down(mut self) -> Result<(), StoreError> {
        self.queue.close();
        while let Ok(command) = self.queue.try_recv() {
            refuse(command, &StoreError::Closed);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.disk.sync(),
        }
    }

    /// Adds a command to the batch; hands back the reply channel of a close.
    fn stage(&self, batch: &mut Batch, command: Command) -> Option<oneshot::Sender<Result<(), StoreError>>> {
        if let Some(error) = &self.failed {
            return refuse(command, error);
        }
        match command {
            Command::Append { message, cost, reply, room } => {
                let outcome = self.append(&mut batch.rows, &message).unwrap_or_else(Append::NotStored);
                if matches!(outcome, Append::Stored(_)) {
                    batch.durable = true;
                    batch.bytes = batch.bytes.saturating_add(cost);
                }
                batch.answers.push(Answer::Append(reply, outcome, room));
                None
            }
            Command::Advance { user, device, conversation, up_to, reply, room } => {
                let outcome = self.advance(&mut batch.rows, &user, &device, &conversation, up_to);
                batch.answers.push(Answer::Advance(reply, outcome, room));
                None
            }
            Command::Close { reply } => Some(reply),
        }
    }

    /// Commits, then answers.
    fn finish(&mut self, batch: Batch) {
        let result = if batch.rows.is_empty() { Ok(()) } else { self.disk.commit(batch.rows, batch.durable) };
        match result {
            Ok(()) => batch.answers.into_iter().for_each(Answer::send),
            Err(error) => {
                tracing::error!(%error, "the message store failed to write and refuses further writes");
                let error = StoreError::Failed(error.to_string().into());
                self.failed = Some(error.clone());
                batch.answers.into_iter().map(|answer| answer.after_failure(&error)).for_each(Answer::send);
            }
        }
    }

    /// Reads everything it needs before it stages the first row, so an error leaves nothing half staged.
    fn append(&self, rows: &mut Rows, message: &NewMessage) -> Result<Append, StoreError> {
        let dedup_key = keys::dedup(&message.from, &message.device, message.packet_id);
        if let Some(value) = self.get(rows, Table::Dedup, &dedup_key)? {
            let first = record::decode_dedup(&dedup_key, &value)?;
            let same = first.digest == message.digest && *first.conversation == *message.conversation.as_str();
            return Ok(if same { Append::AlreadyStored(first.receipt) } else { Append::Conflict(first.receipt) });
        }
        let head_key = keys::head(&message.conversation);
        let head = self.head(rows, &head_key)?;
        let epoch = match head {
            Some(head) => head.epoch,
            None => getrandom::u64().map_err(|e| StoreError::Io(e.to_string().into()))?.max(1),
        };
        let last = head.map_or(0, |head| head.seq);
        let Some(seq) = last.checked_add(1) else {
            return Err(StoreError::corrupt(Table::Heads.name(), &head_key, "the seq is at its end"));
        };
        let receipt = Receipt { message_id: message.message_id, seq, time_ms: message.time_ms };

        if head.is_none() {
            for member in &message.members {
                rows.insert((Table::Members, keys::member(member, &message.conversation)), record::encode_member());
            }
        }
        rows.insert((Table::Dedup, dedup_key), record::encode_dedup(message, receipt));
        rows.insert((Table::Heads, head_key), record::encode_head(Head { seq, epoch }));
        rows.insert((Table::Log, keys::log(&message.conversation, seq)), record::encode_message(message));
        Ok(Append::Stored(receipt))
    }

    fn advance(
        &self,
        rows: &mut Rows,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        up_to: u64,
    ) -> Result<(), StoreError> {
        let head = self.head(rows, &keys::head(conversation))?.map_or(0, |head| head.seq);
        let key = keys::cursor(user, device, conversation);
        let to = up_to.min(head);
        if to > self.cursor(rows, &key)? {
            rows.insert((Table::Cursors, key), record::encode_cursor(to));
        }
        Ok(())
    }

    fn head(&self, rows: &Rows, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.get(rows, Table::Heads, key)?.map(|value| record::decode_head(key, &value)).transpose()
    }

    fn cursor(&self, rows: &Rows, key: &[u8]) -> Result<u64, StoreError> {
        self.get(rows, Table::Cursors, key)?.map_or(Ok(0), |value| record::decode_cursor(key, &value))
    }

    fn get(&self, rows: &Rows, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match rows.get(&(table, key.to_vec())) {
            Some(value) => Ok(Some(value.clone())),
            None => self.disk.get(table, key),
        }
    }
}

/// Answers a command that will not be done; a close is handed back, since it still has to happen.
fn refuse(command: Command, error: &StoreError) -> Option<oneshot::Sender<Result<(), StoreError>>> {
    match command {
        Command::Append { reply, room, .. } => {
            Answer::Append(reply, Append::NotStored(error.clone()), room).send();
            None
        }
        Command::Advance { reply, room, .. } => {
            Answer::Advance(reply, Err(error.clone()), room).send();
            None
        }
        Command::Close { reply } => Some(reply),
    }
}
