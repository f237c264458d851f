//! What one session asks of the store besides appending: its cursors and read positions, what is unread, and the log.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use im_proto::{Change, Conversation, Entry, FeedItem, Name, SealedParts};

use crate::conversation;
use crate::hub::{Hub, Place, Receipt};
use crate::store::{ConversationKey, EntryKind, Page, Positions, Store, StoreError, StoredEntry, Unread};

/// Positions that wait to be moved. Beyond that nothing more is read from the peer.
const MAX_MOVES: usize = 64;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) user: Arc<str>,
    pub(super) device: Arc<str>,
}

pub(super) enum Question {
    Unread { limit: usize },
    Fetch { conversation: Conversation, key: ConversationKey, after: Option<u64>, messages: usize, bytes: usize },
}

/// A position that a client said.
#[derive(Clone)]
pub(super) struct Move {
    pub(super) conversation: Conversation,
    pub(super) key: ConversationKey,
    pub(super) what: Receipt,
    /// The log that the client means.
    pub(super) epoch: u64,
    pub(super) up_to: u64,
}

pub(super) enum Answer {
    /// A cursor was moved, or not: then some messages are delivered again, and the client drops those.
    Moved {
        conversation: Conversation,
        what: Receipt,
        positions: Positions,
    },
    Unread {
        heads: Vec<(Conversation, u64)>,
        complete: bool,
    },
    Fetched {
        conversation: Conversation,
        epoch: u64,
        after: u64,
        items: Vec<FeedItem>,
    },
    /// The connection stands where its user was not in the conversation, or where the log is no more.
    Resync(&'static str),
    Failed(StoreError),
}

/// At most one question and one move are under way at a time.
pub(super) struct Questions {
    store: Arc<dyn Store>,
    moves: VecDeque<Move>,
    moving: Option<BoxFuture<'static, Result<(Move, Positions), StoreError>>>,
    waiting: Option<Question>,
    asking: Option<BoxFuture<'static, Answer>>,
}

impl Questions {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, moves: VecDeque::new(), moving: None, waiting: None, asking: None }
    }

    /// Whether more acks may be read from the peer.
    pub(super) fn has_room(&self) -> bool {
        self.moves.len() < MAX_MOVES
    }

    pub(super) fn advance(&mut self, new: Move) {
        let same = |old: &&mut Move| (&old.key, old.what, old.epoch) == (&new.key, new.what, new.epoch);
        match self.moves.iter_mut().find(same) {
            Some(waiting) => waiting.up_to = new.up_to.max(waiting.up_to),
            None => self.moves.push_back(new),
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.waiting = Some(question);
    }

    #[cfg(test)]
    pub(super) fn take_waiting(&mut self) -> Option<Question> {
        self.waiting.take()
    }

    /// Begins what may begin. With `hold` nothing new is asked: the answer could not be sent yet.
    pub(super) fn start(&mut self, device: &Device, hold: bool) {
        if self.moving.is_none()
            && let Some(next) = self.moves.pop_front()
        {
            self.moving = Some(make(self.store.clone(), device.clone(), next).boxed());
        }
        // What the store knows of this device's position must include every ack that came before the question.
        let depends = !matches!(&self.waiting, Some(Question::Fetch { after: Some(_), .. }));
        if hold || self.asking.is_some() || (depends && self.moving.is_some()) {
            return;
        }
        if let Some(question) = self.waiting.take() {
            let (store, device) = (self.store.clone(), device.clone());
            self.asking = Some(answer(store, device, question).boxed());
        }
    }

    /// Moves every position that waits, at the end of a session: what a device said with its last breath counts.
    pub(super) async fn finish(mut self, device: &Device, hub: &Hub) {
        let moving = self.moving.take();
        let rest = std::mem::take(&mut self.moves).into_iter();
        let rest = rest.map(|next| make(self.store.clone(), device.clone(), next).boxed());
        for moved in moving.into_iter().chain(rest) {
            match moved.await {
                Ok((Move { conversation, what, .. }, positions)) => {
                    tell(hub, &device.user, &conversation, what, &positions);
                }
                Err(error) => tracing::error!(%error, "a device's position was not kept; it gets some messages again"),
            }
        }
    }

    /// Waits for what is under way; for ever if nothing is. Cancel-safe.
    pub(super) async fn next(&mut self) -> Answer {
        let Self { moving, asking, .. } = self;
        tokio::select! {
            result = when(moving) => {
                *moving = None;
                match result {
                    Ok((Move { conversation, what, .. }, positions)) => Answer::Moved { conversation, what, positions },
                    Err(error) => Answer::Failed(error),
                }
            }
            answer = when(asking) => {
                *asking = None;
                answer
            }
        }
    }
}

/// Tells those whom a position that moved concerns.
pub(super) fn tell(hub: &Hub, user: &str, conversation: &Conversation, what: Receipt, positions: &Positions) {
    let up_to = match what {
        Receipt::Delivered => positions.delivered,
        Receipt::Read => positions.read,
    };
    hub.receipt(Place { user, conversation }, what, positions.epoch, up_to);
}

async fn when<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn make(store: Arc<dyn Store>, device: Device, next: Move) -> Result<(Move, Positions), StoreError> {
    let Move { key, what, epoch, up_to, .. } = &next;
    let positions = match what {
        Receipt::Read => store.mark_read(&device.user, key, *epoch, *up_to).await?,
        Receipt::Delivered => {
            let delivered = store.advance(&device.user, &device.device, key, *epoch, *up_to).await?;
            Positions { epoch: *epoch, delivered, read: 0 }
        }
    };
    Ok((next, positions))
}

async fn answer(store: Arc<dyn Store>, device: Device, question: Question) -> Answer {
    let result = match question {
        Question::Unread { limit } => unread(&*store, &device, limit).await,
        Question::Fetch { conversation, key, after, messages, bytes } => {
            let page = store.page(&device.user, &device.device, &key, after, messages, bytes).await;
            page.map(|page| fetched(&device, conversation, after, page))
        }
    };
    result.unwrap_or_else(Answer::Failed)
}

async fn unread(store: &dyn Store, device: &Device, limit: usize) -> Result<Answer, StoreError> {
    let found = store.unread(&device.user, &device.device, None, limit).await?;
    let complete = found.len() < limit;
    let head = |unread: Unread| Some((conversation::name(&device.user, &unread.conversation)?, unread.head));
    Ok(Answer::Unread { heads: found.into_iter().filter_map(head).collect(), complete })
}

const CHANGED: &str = "who is in the conversation changed: come back and go on from there";

fn fetched(device: &Device, conversation: Conversation, asked: Option<u64>, page: Page) -> Answer {
    match page {
        Page::Entries { epoch, after, entries } => {
            let items = entries.into_iter().map(|entry| item(device, entry)).collect();
            Answer::Fetched { conversation, epoch, after, items }
        }
        // A connection that had something of it knows an epoch that this answer could not name.
        Page::NotMember if asked.is_some() => Answer::Resync(CHANGED),
        Page::NotMember => Answer::Fetched { conversation, epoch: 0, after: 0, items: Vec::new() },
        Page::BeforeJoin => Answer::Resync(CHANGED),
        // Its next login names where it stands, and is told.
        Page::TooOld { .. } => {
            Answer::Resync("what comes next is older than what is kept: come back and go on from there")
        }
    }
}

fn item(device: &Device, entry: StoredEntry) -> FeedItem {
    FeedItem {
        seq: entry.seq,
        message_id: entry.message_id,
        time_ms: entry.time_ms,
        from: Name::from(&*entry.from),
        own: entry.from == device.user && entry.device == device.device,
        entry: as_entry(device, entry),
    }
}

/// What an entry is for a device.
fn as_entry(device: &Device, entry: StoredEntry) -> Entry {
    let StoredEntry { seq, kind, recalled, content, .. } = entry;
    let content_type = u32::from(entry.content_type);
    if recalled {
        return Entry::Recalled;
    }
    let reaction = |content| String::from_utf8(content).ok();
    let change = match kind {
        EntryKind::Message => return Entry::Message { content_type, content },
        EntryKind::Sealed => {
            return match SealedParts::from_bytes(content) {
                Ok(parts) => parts.entry(content_type, &device.user, &device.device),
                Err(error) => {
                    tracing::error!(%error, seq, "a sealed message in the store is damaged");
                    Entry::NotForDevice { content_type }
                }
            };
        }
        EntryKind::Recall { about } => Some((about, Change::Recall)),
        EntryKind::Edit { about } => Some((about, Change::Edit { content_type, content })),
        EntryKind::React { about } => reaction(content).map(|text| (about, Change::React { text })),
        EntryKind::Unreact { about } => reaction(content).map(|text| (about, Change::Unreact { text })),
    };
    // Only text was taken for a reaction.
    change.map_or(Entry::Recalled, |(about, change)| Entry::Command { about, change })
}
