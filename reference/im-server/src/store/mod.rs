//! Durable message storage: the contract, the embedded store, and the suite that every store must pass.
//!
//! ```text
//!  NewEntry --append-----------> [ Store ] --> Stored | AlreadyStored | Conflict | NotStored | Unknown
//!  user, device, after --page---> entries in ascending seq, for somebody who is in the conversation
//!  user, device --------unread--> conversations whose head is beyond this device's cursor
//!  user, device --------advance-> the cursor moves forward, never beyond the head
//!  user ----------------mark_read-> the user's read position, the same for all devices
//!  conversation --------set_members-> who is in a group
//!  cutoff --------trim----------> what is older goes from the front of each log
//! ```
//!
//! Each conversation is one log with a dense `seq` from 1, whose front may have been trimmed: the only order that is promised. A
//! message is one row of that log, whatever the number of members; a member costs a row when it joins. [`FjallStore`] is the default; an application that wants a message and its own
//! row in one transaction implements [`Store`] itself and runs [`conformance`] against it; a store around another one is a
//! [`StoreLayer`].
//!
//! ```
//! use std::sync::Arc;
//! use im_server::store::{Append, ConversationKey, EntryKind, FjallConfig, FjallStore, NewEntry, Page, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let store = FjallStore::open(dir.path(), &FjallConfig::default())?;
//! let conversation = ConversationKey::new("ann:bob")?;
//! let outcome = store
//!     .append(NewEntry {
//!         conversation: conversation.clone(),
//!         members: vec![Arc::from("ann"), Arc::from("bob")],
//!         from: Arc::from("ann"),
//!         device: Arc::from("phone"),
//!         packet_id: 1,
//!         digest: [0; 32],
//!         message_id: 7,
//!         time_ms: 1_700_000_000_000,
//!         kind: EntryKind::Message,
//!         content_type: 1,
//!         content: b"hello".to_vec(),
//!     })
//!     .await;
//! assert!(matches!(outcome, Append::Stored(receipt) if receipt.seq == 1));
//! for unread in store.unread("bob", "desk", None, 100).await? {
//!     let page = store.page("bob", "desk", &unread.conversation, None, 50, 1 << 20).await?;
//!     assert!(matches!(page, Page::Entries { after: 0, entries, .. } if entries.len() == 1));
//!     store.advance("bob", "desk", &unread.conversation, unread.epoch, unread.head).await?;
//! }
//! store.close().await?;
//! # Ok(())
//! # }
//! ```

mod bans;
pub mod conformance;
mod entry;
mod error;
mod fjall;
mod layer;
mod member;
mod outbox;
mod trim;
mod verification;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

pub use self::bans::{Ban, Bans, FileBans, MAX_BAN_REASON, MAX_BANS};
pub use self::entry::{EntryKind, NewEntry, Page, StoredEntry};
pub use self::error::{CorruptRecord, StoreError};
pub use self::fjall::{FjallConfig, FjallStore};
pub use self::layer::StoreLayer;
pub use self::member::{Member, MemberChange, Positions, Standing};
pub use self::outbox::{DeadLetter, EventKind, MAX_DEAD_LETTERS, Outbox, OutboxConfig, OutboxEvent, OutboxStatus};
pub use self::trim::{Cutoff, Trimmed, trim_all};
pub use self::verification::{Backup, CheckAtOpen, Verification};

/// The most bytes in a conversation key, a user name or a device name.
///
/// A key holds at most two names and a number, so this keeps every key far below what engines allow (64 KiB in fjall).
pub const MAX_NAME_BYTES: usize = 512;

/// The most edits of one message; later ones are refused with [`StoreError::TooManyEdits`], so that a recall erases a
/// bounded number of entries.
pub const MAX_EDITS: usize = 256;

/// The most bytes in one content. Far above any packet; it bounds one row and one batch.
pub const MAX_CONTENT_BYTES: usize = 16 << 20;

/// The name of a conversation: opaque to the store, cheap to clone, ordered by its bytes.
///
/// The layer above builds it, for example from two sorted user names, and must build the same one for all members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationKey(Arc<str>);

impl ConversationKey {
    /// Takes a key of 1 to [`MAX_NAME_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Length`] for any other length.
    pub fn new(key: impl Into<Arc<str>>) -> Result<Self, StoreError> {
        let key = key.into();
        check_name("a conversation key", &key)?;
        Ok(Self(key))
    }

    /// The key as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that a name has 1 to [`MAX_NAME_BYTES`] bytes.
fn check_name(what: &'static str, name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(StoreError::Length { what, limit: MAX_NAME_BYTES as u32 });
    }
    Ok(())
}

/// Where a stored message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The server's id of the message; of the first attempt when it was stored before.
    pub message_id: u64,
    /// Its place in the conversation: dense, from 1.
    pub seq: u64,
    /// When the server accepted it, in milliseconds since 1970.
    pub time_ms: u64,
}

/// What became of an append. These are all the cases there are.
#[must_use = "an outcome that nobody looks at is a lost message"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// Durable now, at this place.
    Stored(Receipt),
    /// The same user, device, packet id, digest and conversation were stored before: this is that first receipt.
    AlreadyStored(Receipt),
    /// The packet id was used before with another digest or conversation. Nothing was written; the receipt is that of
    /// the first message.
    Conflict(Receipt),
    /// This call certainly wrote nothing: safe to retry. It says nothing about an earlier attempt with the same packet
    /// id that ended as [`Append::Unknown`].
    NotStored(StoreError),
    /// It may or may not be on disk. Only a retry with the same packet id is safe.
    Unknown(StoreError),
}

/// Where a conversation's log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The last stored seq; 0 when there is no message.
    pub seq: u64,
    /// The first seq that the log still has, `seq` + 1 where it has none: 1 until something is [trimmed](Store::trim). Neither
    /// of the two ever goes back. 0 when there is no conversation.
    pub first: u64,
    /// Which log this is: drawn at random when the conversation is created, so a client that remembers another epoch
    /// knows that its cursors are void. 0 when there is no conversation.
    pub epoch: u64,
}

impl Head {
    /// The last seq that was trimmed; 0 for none.
    ///
    /// ```
    /// # use im_server::store::Head;
    /// assert_eq!(Head { seq: 9, first: 4, epoch: 1 }.trimmed(), 3);
    /// assert_eq!(Head::default().trimmed(), 0);
    /// ```
    #[must_use]
    pub const fn trimmed(&self) -> u64 {
        self.first.saturating_sub(1)
    }
}

/// A conversation that a device has not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The conversation.
    pub conversation: ConversationKey,
    /// The epoch of its log, see [`Head::epoch`].
    pub epoch: u64,
    /// The last stored seq.
    pub head: u64,
    /// What the device has, or can have no more because it was trimmed; 0 for nothing.
    pub cursor: u64,
}

/// Members of a conversation by name.
pub type Members = Vec<(Arc<str>, Member)>;

/// A durable message store.
///
/// # Contract
///
/// - **Durable before answered.** [`Append::Stored`] is returned only when a crash of the process and of the machine
///   would keep the entry; the same holds for [`mark_read`](Self::mark_read) and [`set_members`](Self::set_members). An
///   entry is visible to reads only when it is durable.
/// - **Dense.** The entries of a conversation have the seqs 1, 2, 3, …; an entry that is not stored leaves no hole.
/// - **Trimmed at the front only.** What [`trim`](Self::trim) takes away is at the front of a log: head, epoch and all behind it
///   stay, and no seq is given again. Who asks for what is gone is told where the log begins now.
/// - **Idempotent.** (user, device, packet id) is stored once; see [`Append`]. It holds inside one batch too.
/// - **In order.** Appends whose futures are first polled one after the other are stored in that order, however many are
///   under way at once.
/// - **Recalled is gone.** From the moment at which a [recall](EntryKind::Recall) is visible, no read gives the content of
///   the message that it is about, nor of an edit of it, also of an edit that is stored later. A recall about something
///   else than a message erases nothing. Who may recall is decided before.
/// - **Only members.** Who is not in a conversation has no cursor and no position in it, and moves none.
/// - **Only acks move a cursor.** A device's stream is dense and holds its own messages too, so storing one does not
///   count as having it: [`Store::advance`] alone moves a cursor.
/// - **Bounded.** An implementation limits what it queues, in bytes, and makes callers wait beyond that.
///
/// All methods may be called from many tasks at once, in any order. Dropping the future of a write does not undo it: the
/// outcome is then as [`Append::Unknown`].
pub trait Store: Send + Sync + 'static {
    /// Appends an entry to its conversation, which is created if it is new.
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append>;

    /// Whether this entry was stored before, and how [`append`](Self::append) would answer it then: for a caller that is
    /// about to refuse it, because a retry of what was stored must not be refused. Writes nothing.
    fn stored_before<'a>(&'a self, entry: &'a NewEntry) -> BoxFuture<'a, Result<Option<Append>, StoreError>>;

    /// Reads entries with a seq greater than `after`, ascending, up to `max_messages` and `max_bytes` of content; at
    /// least one if there is any, whatever the limits.
    ///
    /// Errors: [`StoreError::Trimmed`] when the entry after `after` was trimmed, [`StoreError::Corrupt`] when a record is damaged
    /// or missing, [`StoreError::Engine`].
    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>>;

    /// What comes next in the stream of a device: as [`read`](Self::read), after the seq given or else after the device's
    /// cursor, and only what this user may see.
    fn page(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        after: Option<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// The conversations of `user` whose head is beyond the cursor of `device`, in ascending order of the key's bytes,
    /// at most `limit`. The next page starts `after` the last one of this page.
    ///
    /// Costs two point reads for each conversation of the user that it passes.
    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>>;

    /// The conversations that `user` is in and not banned from, in pages as of [`unread`](Self::unread).
    fn conversations(
        &self,
        user: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ConversationKey>, StoreError>>;

    /// Where a conversation's log begins and ends; zeros if there is no such conversation.
    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>>;

    /// How far a device has read a conversation: not less than where its user came in, nor than what was trimmed; 0 for nothing
    /// yet.
    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Moves a device's cursor forward to `up_to`, but never back and never beyond the head, and with it the user's
    /// [`Positions::delivered`]. Gives the cursor as it is then. An `epoch` that is not the log's moves nothing.
    ///
    /// It goes in order with the other writes, but is not forced to disk by itself: a cursor lost in a crash means that
    /// some messages are delivered again, and the receiver drops those.
    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// The user has read up to `up_to`: the position moves as a cursor does, and is durable before this answers. Gives the
    /// user's positions as they are then, whatever `epoch` was named.
    fn mark_read(
        &self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<Positions, StoreError>>;

    /// How far a user is in a conversation.
    fn positions(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Positions, StoreError>>;

    /// Changes who is in a conversation, all or nothing, and creates it if it is new. Who is new comes in at the head of the
    /// log; who was in already stays where it was.
    ///
    /// Costs two rows for each change. Whoever changes many members at once does it in several calls.
    fn set_members(
        &self,
        conversation: &ConversationKey,
        changes: Vec<MemberChange>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What a user is in a conversation; `None` for somebody who is not in it.
    fn member(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Option<Member>, StoreError>>;

    /// Who is in a conversation, the banned included, in ascending order of the name's bytes, at most `limit`. The next
    /// page starts `after` the last one of this page.
    fn members(
        &self,
        conversation: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>>;

    /// A step of taking away what is before the cutoff: at most `limit` entries from the fronts of logs, of the conversations
    /// behind `after` in the order of the key's bytes, and at most `limit` packet ids. [`trim_all`] does all steps.
    ///
    /// - A packet id goes only when its entry went before; until then a retry is answered as ever, with the first receipt.
    /// - An entry stays as long as an event of it waits, if the store has an [`Outbox`], and the cutoff says so.
    /// - All or nothing, and durable before it answers. It holds other writes up for one step and no longer.
    fn trim(
        &self,
        cutoff: Cutoff,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Trimmed, StoreError>>;

    /// Writes what is queued, forces it to disk and stops the writer. Later writes are refused with
    /// [`StoreError::Closed`]; reads still work. Closing again does nothing.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
