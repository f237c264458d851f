//! The one thread that writes: it drains what is queued into one atomic batch, forces it to disk once, then answers all.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    keys::Table,
    outbox::{Change, OutboxState},
    stage::{Rows, Stage},
    trim::Cuts,
};
use crate::store::{Append, ConversationKey, MemberChange, NewEntry, Positions, StoreError};

/// What the writer needs of the disk. A seam, so that a test can make a write fail.
pub(super) trait Disk: Send + 'static {
    /// The value that is visible now.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The visible keys that start with `prefix`, ascending, at most `limit`.
    fn keys(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError>;
    /// The first visible key from this one on.
    fn first(&self, table: Table, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes all rows or none; with `durable`, returns only when they would survive a power cut. Rows become visible
    /// only when this succeeds.
    fn commit(&mut self, rows: Rows, durable: bool) -> Result<(), StoreError>;
    /// Forces everything written so far to disk, as the last thing, and notes that the end was clean.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// Where the outcome of a write goes. It holds the write's share of the queue until then.
pub(super) struct Reply<T> {
    pub(super) channel: oneshot::Sender<T>,
    pub(super) room: OwnedSemaphorePermit,
}

impl<T> Reply<T> {
    /// A caller that no longer waits has dropped its future and wants no answer.
    fn send(self, outcome: T) {
        drop(self.room);
        let _ = self.channel.send(outcome);
    }
}

/// A write on its way to the writer.
pub(super) enum Command {
    Append {
        entry: NewEntry,
        cost: usize,
        reply: Reply<Append>,
    },
    Advance {
        user: Box<str>,
        device: Box<str>,
        conversation: ConversationKey,
        epoch: u64,
        up_to: u64,
        reply: Reply<Result<u64, StoreError>>,
    },
    MarkRead {
        user: Box<str>,
        conversation: ConversationKey,
        epoch: u64,
        up_to: u64,
        reply: Reply<Result<Positions, StoreError>>,
    },
    SetMembers {
        conversation: ConversationKey,
        changes: Vec<MemberChange>,
        cost: usize,
        reply: Reply<Result<(), StoreError>>,
    },
    Outbox {
        change: Change,
        reply: Reply<Result<(), StoreError>>,
    },
    Trim {
        cuts: Cuts,
        cost: usize,
        reply: Reply<Result<(), StoreError>>,
    },
    Close {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// An answer that waits for the commit.
enum Answer {
    Append(Reply<Append>, Append),
    Advance(Reply<Result<u64, StoreError>>, Result<u64, StoreError>),
    MarkRead(Reply<Result<Positions, StoreError>>, Result<Positions, StoreError>),
    /// Of a change of members or of the outbox, or of a trim.
    Done(Reply<Result<(), StoreError>>, Result<(), StoreError>),
}

impl Answer {
    fn send(self) {
        match self {
            Self::Append(reply, outcome) => reply.send(outcome),
            Self::Advance(reply, outcome) => reply.send(outcome),
            Self::MarkRead(reply, outcome) => reply.send(outcome),
            Self::Done(reply, outcome) => reply.send(outcome),
        }
    }

    /// The same answer after the commit of its batch failed.
    fn after_failure(self, error: &StoreError) -> Self {
        match self {
            // Nothing was staged for it, so nothing of it can be on disk.
            Self::Append(reply, outcome @ Append::NotStored(_)) => Self::Append(reply, outcome),
            // A conflict or a repetition may have been seen against an entry of the same failed batch.
            Self::Append(reply, _) => Self::Append(reply, Append::Unknown(error.clone())),
            Self::Advance(reply, _) => Self::Advance(reply, Err(error.clone())),
            Self::MarkRead(reply, _) => Self::MarkRead(reply, Err(error.clone())),
            Self::Done(reply, _) => Self::Done(reply, Err(error.clone())),
        }
    }
}

/// One batch being put together.
#[derive(Default)]
struct Batch {
    rows: Rows,
    answers: Vec<Answer>,
    bytes: usize,
    /// Whether something is in it that must be durable before it is answered; cursors alone need not be.
    durable: bool,
}

pub(super) struct Writer<D> {
    disk: D,
    queue: mpsc::UnboundedReceiver<Command>,
    batch_messages: usize,
    batch_bytes: usize,
    outbox: OutboxState,
    /// Set by the first failed commit and never cleared: only reopening tells what is on disk.
    failed: Option<StoreError>,
}

impl<D: Disk> Writer<D> {
    pub(super) fn new(
        disk: D,
        queue: mpsc::UnboundedReceiver<Command>,
        batch_messages: usize,
        batch_bytes: usize,
        outbox: OutboxState,
    ) -> Self {
        Self { disk, queue, batch_messages, batch_bytes, outbox, failed: None }
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
            None => self.disk.close(),
        }
    }

    /// Adds a command to the batch; hands back the reply channel of a close.
    fn stage(&mut self, batch: &mut Batch, command: Command) -> Option<oneshot::Sender<Result<(), StoreError>>> {
        if let Some(error) = &self.failed {
            return refuse(command, error);
        }
        let mut stage = Stage { disk: &self.disk, rows: &mut batch.rows, outbox: &mut self.outbox };
        let (answer, durable, bytes) = match command {
            Command::Append { entry, cost, reply } => {
                let outcome = stage.append(&entry).unwrap_or_else(Append::NotStored);
                let stored = matches!(outcome, Append::Stored(_));
                (Answer::Append(reply, outcome), stored, if stored { cost } else { 0 })
            }
            Command::Advance { user, device, conversation, epoch, up_to, reply } => {
                (Answer::Advance(reply, stage.advance(&user, &device, &conversation, epoch, up_to)), false, 0)
            }
            Command::MarkRead { user, conversation, epoch, up_to, reply } => {
                let outcome = stage.mark_read(&user, &conversation, epoch, up_to);
                let moved = matches!(outcome, Ok((_, true)));
                (Answer::MarkRead(reply, outcome.map(|(positions, _)| positions)), moved, 0)
            }
            Command::SetMembers { conversation, changes, cost, reply } => {
                (Answer::Done(reply, stage.set_members(&conversation, &changes)), true, cost)
            }
            // Lost in a crash, an event is told again.
            Command::Outbox { change, reply } => (Answer::Done(reply, stage.change_outbox(&change)), false, 0),
            Command::Trim { cuts, cost, reply } => (Answer::Done(reply, stage.trim(&cuts)), true, cost),
            Command::Close { reply } => return Some(reply),
        };
        batch.answers.push(answer);
        batch.durable |= durable;
        batch.bytes = batch.bytes.saturating_add(bytes);
        None
    }

    /// Commits, then answers.
    fn finish(&mut self, batch: Batch) {
        let result = if batch.rows.is_empty() { Ok(()) } else { self.disk.commit(batch.rows, batch.durable) };
        match result {
            Ok(()) => {
                self.outbox.committed();
                batch.answers.into_iter().for_each(Answer::send);
            }
            Err(error) => {
                tracing::error!(%error, "the message store failed to write and refuses further writes");
                let error = StoreError::Failed(error.to_string().into());
                self.failed = Some(error.clone());
                batch.answers.into_iter().map(|answer| answer.after_failure(&error)).for_each(Answer::send);
            }
        }
    }
}

/// Answers a command that will not be done; a close is handed back, since it still has to happen.
fn refuse(command: Command, error: &StoreError) -> Option<oneshot::Sender<Result<(), StoreError>>> {
    match command {
        Command::Append { reply, .. } => reply.send(Append::NotStored(error.clone())),
        Command::Advance { reply, .. } => reply.send(Err(error.clone())),
        Command::MarkRead { reply, .. } => reply.send(Err(error.clone())),
        Command::SetMembers { reply, .. } | Command::Outbox { reply, .. } | Command::Trim { reply, .. } => {
            reply.send(Err(error.clone()));
        }
        Command::Close { reply } => return Some(reply),
    }
    None
}
