//! Events of stored entries that wait to be told to others: an optional capability of a store, beside [`Store`](super::Store).

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{ConversationKey, EntryKind, StoreError};

/// What happened, as those who are told see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A message was stored, sealed or not.
    MessageStored,
    /// A message was recalled.
    MessageRecalled,
    /// A message was edited.
    MessageEdited,
    /// Somebody reacted to a message.
    ReactionAdded,
    /// Somebody took a reaction away.
    ReactionRemoved,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::MessageStored, Self::MessageRecalled, Self::MessageEdited, Self::ReactionAdded, Self::ReactionRemoved];

    /// Its name: `message.stored`, `message.recalled`, `message.edited`, `reaction.added` or `reaction.removed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageStored => "message.stored",
            Self::MessageRecalled => "message.recalled",
            Self::MessageEdited => "message.edited",
            Self::ReactionAdded => "reaction.added",
            Self::ReactionRemoved => "reaction.removed",
        }
    }

    /// The one with this name.
    ///
    /// ```
    /// use im_server::store::EventKind;
    /// assert_eq!(EventKind::from_name("message.stored"), Some(EventKind::MessageStored));
    /// assert_eq!(EventKind::from_name("message.sent"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl From<EntryKind> for EventKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Message | EntryKind::Sealed => Self::MessageStored,
            EntryKind::Recall { .. } => Self::MessageRecalled,
            EntryKind::Edit { .. } => Self::MessageEdited,
            EntryKind::React { .. } => Self::ReactionAdded,
            EntryKind::Unreact { .. } => Self::ReactionRemoved,
        }
    }
}

/// Which entries have an event, and how many may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// The kinds that are told.
    pub kinds: BTreeSet<EventKind>,
    /// The most events that wait; beyond that the oldest is dropped and counted. At least 1. Each is about 100 bytes on disk
    /// and the conversation's name.
    pub max_waiting: u64,
}

impl Default for OutboxConfig {
    /// All kinds, and a million events.
    fn default() -> Self {
        Self { kinds: EventKind::ALL.into(), max_waiting: 1_000_000 }
    }
}

/// An event that waits, or was given up. It names its entry; the content is read from the log when it is told, so what was
/// recalled meanwhile is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its place in the outbox: ascending in the order in which the entries were stored.
    pub number: u64,
    /// The log of the entry.
    pub conversation: ConversationKey,
    /// The entry's place in it.
    pub seq: u64,
    /// The server's id of the entry.
    pub message_id: u64,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: u64,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event: OutboxEvent,
    /// What the last try was answered, an HTTP status; 0 for no answer.
    pub answer: u16,
}

/// How the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// The number of the last event that was stored.
    pub last: u64,
    /// How many wait.
    pub waiting: u64,
    /// How many were given up and are kept.
    pub dead: u64,
    /// How many were dropped because too many waited, since the store was opened.
    pub dropped: u64,
    /// How many that were given up were dropped because there were too many, since the store was opened.
    pub dead_dropped: u64,
}

/// The most dead letters that are kept; beyond that the oldest is dropped and counted.
pub const MAX_DEAD_LETTERS: u64 = 10_000;

/// Events of stored entries, kept with the entries until they are settled.
///
/// # Contract
///
/// - An event is durable exactly when its entry is: both are one atomic write. An entry that was stored before has none again.
/// - [`events`](Self::events) gives an event until it is settled or dropped, also after the store was opened again.
/// - Settling is in order with other writes and not forced to disk by itself: after a crash some are told again.
///
/// [`FjallStore`](super::FjallStore) has it, with [`FjallConfig::outbox`](super::FjallConfig::outbox);
/// [`Server::send_webhooks`](crate::Server::send_webhooks) works from it. A store of an application need not have it.
///
/// ```
/// use im_server::store::{FjallConfig, FjallStore, Outbox, OutboxConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let config = FjallConfig { outbox: Some(OutboxConfig::default()), ..FjallConfig::default() };
/// let store = FjallStore::open(dir.path(), &config)?;
/// for event in store.events(0, 100).await? {
///     println!("{} {} {}", event.number, event.conversation, event.seq);
///     store.settle(vec![event.number]).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub trait Outbox: Send + Sync + 'static {
    /// The events that wait with a number greater than `after`, ascending, at most `limit`.
    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxEvent>, StoreError>>;

    /// These were told. Numbers that do not wait are passed over.
    fn settle(&self, numbers: Vec<u64>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// This one is given up, with the last answer to it: it becomes a dead letter.
    fn give_up(&self, number: u64, answer: u16) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What was given up, with a number greater than `after`, ascending, at most `limit`.
    fn dead_letters(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>>;

    /// These dead letters wait again, behind all others, as from `now_ms` in milliseconds since 1970.
    fn retry(&self, numbers: Vec<u64>, now_ms: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How it is, and a way to wait until that changes.
    fn status(&self) -> watch::Receiver<OutboxStatus>;
}
