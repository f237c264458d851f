//! What goes into a log and what comes out of it.

use std::{fmt, sync::Arc};

use super::{ConversationKey, MAX_CONTENT_BYTES, StoreError, check_name};

/// What an entry of a log is. Opaque to the store, but for what a recall takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A message.
    Message,
    /// A message whose content is one part for each device, as [`im_proto::SealedParts`] in its bytes.
    Sealed,
    /// Takes back the message at `about`. Stored, it erases that message and every edit of it, earlier and later.
    Recall {
        /// The seq of the message.
        about: u64,
    },
    /// Gives the message at `about` the entry's content.
    Edit {
        /// The seq of the message.
        about: u64,
    },
    /// Adds a reaction, which is the content, to the message at `about`.
    React {
        /// The seq of the message.
        about: u64,
    },
    /// Takes the reaction in the content away again.
    Unreact {
        /// The seq of the message.
        about: u64,
    },
}

impl EntryKind {
    /// Whether it is a message, sealed or not: what a command can be about.
    ///
    /// ```
    /// # use im_server::store::EntryKind;
    /// assert!(EntryKind::Sealed.is_message() && !EntryKind::Recall { about: 1 }.is_message());
    /// ```
    #[must_use]
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::Sealed)
    }
}

/// An entry to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The log it goes to.
    pub conversation: ConversationKey,
    /// The users who are in the conversation. Written when it is new, ignored later; those of a group are kept with
    /// [`Store::set_members`](super::Store::set_members) instead, so an entry of a group names none.
    pub members: Vec<Arc<str>>,
    /// The sending user.
    pub from: Arc<str>,
    /// The sending device of that user.
    pub device: Arc<str>,
    /// The sender's packet id: the same over all retries, unique for this user and device.
    pub packet_id: u64,
    /// A digest of all that the sender chose, computed by the caller; tells a retry from a reused packet id.
    pub digest: [u8; 32],
    /// The server's id for the entry.
    pub message_id: u64,
    /// When the server accepted it, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it is.
    pub kind: EntryKind,
    /// The type of the content; opaque to the store.
    pub content_type: u16,
    /// At most [`MAX_CONTENT_BYTES`] bytes; opaque to the store, may be empty.
    pub content: Vec<u8>,
}

/// Shows lengths only: content does not belong in a log line.
impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("packet_id", &self.packet_id)
            .field("message_id", &self.message_id)
            .field("kind", &self.kind)
            .field("content_type", &self.content_type)
            .field("content_len", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl NewEntry {
    /// Checks all lengths; every store does this before it writes anything.
    ///
    /// # Errors
    ///
    /// [`StoreError::Length`] naming the first field that is empty or too long.
    pub fn check(&self) -> Result<(), StoreError> {
        check_name("a user name", &self.from)?;
        check_name("a device name", &self.device)?;
        for member in &self.members {
            check_name("a member name", member)?;
        }
        if self.content.len() > MAX_CONTENT_BYTES {
            return Err(StoreError::Length { what: "a content", limit: MAX_CONTENT_BYTES as u32 });
        }
        Ok(())
    }
}

/// An entry as read from the log.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place in the conversation.
    pub seq: u64,
    /// The server's id.
    pub message_id: u64,
    /// When the server accepted it, in milliseconds since 1970.
    pub time_ms: u64,
    /// The sending user.
    pub from: Arc<str>,
    /// The sending device.
    pub device: Arc<str>,
    /// The sender's packet id.
    pub packet_id: u64,
    /// What it is, or was before it was recalled.
    pub kind: EntryKind,
    /// A message that was recalled, or an edit of one: the content is gone.
    pub recalled: bool,
    /// The type of the content; 0 after a recall.
    pub content_type: u16,
    /// The content; empty after a recall.
    pub content: Vec<u8>,
}

/// Shows lengths only: content does not belong in a log line.
impl fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredEntry")
            .field("seq", &self.seq)
            .field("message_id", &self.message_id)
            .field("packet_id", &self.packet_id)
            .field("kind", &self.kind)
            .field("recalled", &self.recalled)
            .field("content_type", &self.content_type)
            .field("content_len", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// What one page of a device's stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// Entries after `after`, dense and ascending; none when there are no more.
    Entries {
        /// The epoch of the log, see [`Head::epoch`](super::Head::epoch).
        epoch: u64,
        /// The seq before the first entry: the one asked for, or the device's cursor, which is never before what was trimmed.
        after: u64,
        /// The entries.
        entries: Vec<StoredEntry>,
    },
    /// The user is not in the conversation, or banned from it.
    NotMember,
    /// The seq asked for lies before the place from which the user is in the conversation.
    BeforeJoin,
    /// What comes after the seq asked for was trimmed: the log begins later.
    TooOld {
        /// The first seq that the log still has.
        first: u64,
    },
}
