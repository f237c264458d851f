//! Key layouts. A name that is followed by something is length-prefixed (u16, big-endian), so no key is a prefix of
//! another by accident; the last name of a key is raw, so rows sort by its bytes. Numbers are big-endian, so they sort.
//!
//! ```text
//! meta      "format"
//! heads     conversation
//! log       len conversation, seq
//! edits     len conversation, seq of the message, seq of the edit
//! dedup     len user, len device, packet id
//! members   len user, conversation
//! roster    len conversation, user
//! cursors   len user, len device, conversation
//! positions len user, conversation
//! outbox    number
//! dead      number
//! expiring  time of the entry, then as dedup
//! ```

use std::sync::Arc;

use crate::store::{ConversationKey, StoreError};

/// The tables of the store: one keyspace each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Meta,
    Heads,
    Log,
    Dedup,
    Members,
    Cursors,
    Edits,
    Roster,
    Positions,
    Outbox,
    DeadLetters,
    /// Packet ids whose entry was trimmed, by time.
    Expiring,
}

impl Table {
    /// All of them but [`Meta`](Self::Meta).
    pub(super) const DATA: [Self; 11] = [
        Self::Heads,
        Self::Log,
        Self::Dedup,
        Self::Members,
        Self::Cursors,
        Self::Edits,
        Self::Roster,
        Self::Positions,
        Self::Outbox,
        Self::DeadLetters,
        Self::Expiring,
    ];

    /// The keyspace name on disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Heads => "heads",
            Self::Log => "log",
            Self::Dedup => "dedup",
            Self::Members => "members",
            Self::Cursors => "cursors",
            Self::Edits => "edits",
            Self::Roster => "roster",
            Self::Positions => "positions",
            Self::Outbox => "outbox",
            Self::DeadLetters => "dead",
            Self::Expiring => "expiring",
        }
    }
}

/// The key of the format record in [`Table::Meta`].
pub(super) const FORMAT: &[u8] = b"format";

pub(super) fn head(conversation: &ConversationKey) -> Vec<u8> {
    conversation.as_str().as_bytes().to_vec()
}

pub(super) fn log(conversation: &ConversationKey, seq: u64) -> Vec<u8> {
    let mut key = prefixed(conversation.as_str(), 8);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// The index row of an edit; [`log_seq`] gives the edit's own seq.
pub(super) fn edit(conversation: &ConversationKey, about: u64, seq: u64) -> Vec<u8> {
    let mut key = edits_of(conversation, about);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// What the index rows of all edits of a message start with.
pub(super) fn edits_of(conversation: &ConversationKey, about: u64) -> Vec<u8> {
    log(conversation, about)
}

/// The row of `user` in the list of a conversation's members.
pub(super) fn roster(conversation: &ConversationKey, user: &str) -> Vec<u8> {
    let mut key = prefixed(conversation.as_str(), user.len());
    key.extend_from_slice(user.as_bytes());
    key
}

/// What the rows of all members of a conversation start with.
pub(super) fn roster_of(conversation: &ConversationKey) -> Vec<u8> {
    prefixed(conversation.as_str(), 0)
}

/// The user in a roster key that starts with `prefix`.
pub(super) fn roster_user(key: &[u8], prefix: &[u8]) -> Result<Arc<str>, StoreError> {
    key.strip_prefix(prefix)
        .and_then(|name| std::str::from_utf8(name).ok())
        .map(Arc::from)
        .ok_or_else(|| StoreError::corrupt(Table::Roster.name(), key, "the key holds no user"))
}

/// User and conversation of a key of members or positions.
pub(super) fn member_parts(table: Table, key: &[u8]) -> Result<(Arc<str>, ConversationKey), StoreError> {
    let parts = name(key).and_then(|(user, rest)| Some((user, conversation(rest)?)));
    parts.ok_or_else(|| damaged(table, key))
}

/// Conversation and user of a roster key.
pub(super) fn roster_parts(key: &[u8]) -> Result<(ConversationKey, Arc<str>), StoreError> {
    let parts = name(key).and_then(|(name, user)| {
        let user = std::str::from_utf8(user).ok().filter(|user| !user.is_empty())?;
        Some((ConversationKey::new(name).ok()?, user.into()))
    });
    parts.ok_or_else(|| damaged(Table::Roster, key))
}

/// Conversation and seq of a log key.
pub(super) fn log_parts(key: &[u8]) -> Result<(ConversationKey, u64), StoreError> {
    let parts = name(key).and_then(|(name, rest)| Some((ConversationKey::new(name).ok()?, number(rest)?)));
    parts.ok_or_else(|| damaged(Table::Log, key))
}

/// Conversation, seq of the message and seq of the edit of an index key.
pub(super) fn edit_parts(key: &[u8]) -> Result<(ConversationKey, u64, u64), StoreError> {
    let parts = name(key).and_then(|(name, rest)| {
        let (about, seq) = rest.split_first_chunk::<8>()?;
        Some((ConversationKey::new(name).ok()?, u64::from_be_bytes(*about), number(seq)?))
    });
    parts.ok_or_else(|| damaged(Table::Edits, key))
}

/// User, device and packet id of a dedup key.
pub(super) fn dedup_parts(key: &[u8]) -> Result<(Arc<str>, Arc<str>, u64), StoreError> {
    let parts = name(key).and_then(|(user, rest)| {
        let (device, rest) = name(rest)?;
        Some((user, device, number(rest)?))
    });
    parts.ok_or_else(|| damaged(Table::Dedup, key))
}

/// The conversation of a cursor key.
pub(super) fn cursor_conversation(key: &[u8]) -> Result<ConversationKey, StoreError> {
    let found = name(key).and_then(|(_, rest)| name(rest)).and_then(|(_, rest)| conversation(rest));
    found.ok_or_else(|| damaged(Table::Cursors, key))
}

/// The conversation of a head key.
pub(super) fn head_conversation(key: &[u8]) -> Result<ConversationKey, StoreError> {
    conversation(key).ok_or_else(|| damaged(Table::Heads, key))
}

/// Takes a name with its length off the front.
fn name(key: &[u8]) -> Option<(Arc<str>, &[u8])> {
    let (len, rest) = key.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((std::str::from_utf8(name).ok()?.into(), rest))
}

fn conversation(rest: &[u8]) -> Option<ConversationKey> {
    ConversationKey::new(std::str::from_utf8(rest).ok()?).ok()
}

/// A number, if it is all that is left.
fn number(rest: &[u8]) -> Option<u64> {
    rest.try_into().ok().map(u64::from_be_bytes)
}

fn damaged(table: Table, key: &[u8]) -> StoreError {
    StoreError::corrupt(table.name(), key, "the key is damaged")
}

/// The row of a user's positions in a conversation.
pub(super) fn positions(user: &str, conversation: &ConversationKey) -> Vec<u8> {
    member(user, conversation)
}

/// The seq at the end of a log key.
pub(super) fn log_seq(key: &[u8]) -> Result<u64, StoreError> {
    match key.last_chunk::<8>() {
        Some(seq) => Ok(u64::from_be_bytes(*seq)),
        None => Err(StoreError::corrupt(Table::Log.name(), key, "the key is too short")),
    }
}

/// The row of an event, waiting or given up.
pub(super) fn event(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The number in the key of an event.
pub(super) fn event_number(table: Table, key: &[u8]) -> Result<u64, StoreError> {
    number(key).ok_or_else(|| damaged(table, key))
}

pub(super) fn dedup(user: &str, device: &str, packet_id: u64) -> Vec<u8> {
    let mut key = prefixed(user, 2 + device.len() + 8);
    push(&mut key, device);
    key.extend_from_slice(&packet_id.to_be_bytes());
    key
}

/// The row of a packet id whose entry, of this time, was trimmed.
pub(super) fn expiring(time_ms: u64, dedup: &[u8]) -> Vec<u8> {
    [&time_ms.to_be_bytes(), dedup].concat()
}

/// The time and the dedup key of an expiring packet id.
pub(super) fn expiring_parts(key: &[u8]) -> Result<(u64, &[u8]), StoreError> {
    let (time, dedup) = key.split_first_chunk::<8>().ok_or_else(|| damaged(Table::Expiring, key))?;
    Ok((u64::from_be_bytes(*time), dedup))
}

pub(super) fn member(user: &str, conversation: &ConversationKey) -> Vec<u8> {
    let mut key = prefixed(user, conversation.as_str().len());
    key.extend_from_slice(conversation.as_str().as_bytes());
    key
}

/// What all membership keys of a user start with.
pub(super) fn members_of(user: &str) -> Vec<u8> {
    prefixed(user, 0)
}

/// The conversation in a membership key that starts with `prefix`.
pub(super) fn member_conversation(key: &[u8], prefix: &[u8]) -> Result<ConversationKey, StoreError> {
    key.strip_prefix(prefix)
        .and_then(|name| std::str::from_utf8(name).ok())
        .and_then(|name| ConversationKey::new(name).ok())
        .ok_or_else(|| StoreError::corrupt(Table::Members.name(), key, "the key holds no conversation"))
}

pub(super) fn cursor(user: &str, device: &str, conversation: &ConversationKey) -> Vec<u8> {
    let mut key = prefixed(user, 2 + device.len() + conversation.as_str().len());
    push(&mut key, device);
    key.extend_from_slice(conversation.as_str().as_bytes());
    key
}

fn prefixed(name: &str, more: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + name.len() + more);
    push(&mut key, name);
    key
}

/// Names were checked to have at most [`MAX_NAME_BYTES`](crate::store::MAX_NAME_BYTES) bytes; a longer one would only
/// make a key that no other call finds.
fn push(key: &mut Vec<u8>, name: &str) {
    key.extend_from_slice(&(name.len() as u16).to_be_bytes());
    key.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_run_together_make_different_keys() {
        let c = ConversationKey::new("c").unwrap();
        assert_ne!(cursor("ab", "c", &c), cursor("a", "bc", &c));
        assert_ne!(dedup("ab", "c", 1), dedup("a", "bc", 1));
        let user = members_of("a");
        assert!(!member("ab", &c).starts_with(&user));
        assert_eq!(member_conversation(&member("a", &c), &user), Ok(c.clone()));
        assert_eq!(member_parts(Table::Members, &member("a", &c)), Ok(("a".into(), c.clone())));
        assert_ne!(roster(&ConversationKey::new("ca").unwrap(), "b"), roster(&c, "ab"));
        assert_eq!(roster_user(&roster(&c, "ab"), &roster_of(&c)), Ok("ab".into()));
    }

    #[test]
    fn keys_come_apart_as_they_were_made_and_cut_ones_do_not() {
        let c = ConversationKey::new("c").unwrap();
        assert_eq!(roster_parts(&roster(&c, "ab")), Ok((c.clone(), "ab".into())));
        assert_eq!(log_parts(&log(&c, 7)), Ok((c.clone(), 7)));
        assert_eq!(edit_parts(&edit(&c, 7, 9)), Ok((c.clone(), 7, 9)));
        assert_eq!(dedup_parts(&dedup("a", "d", 3)), Ok(("a".into(), "d".into(), 3)));
        assert_eq!(cursor_conversation(&cursor("a", "d", &c)), Ok(c.clone()));
        assert_eq!(head_conversation(&head(&c)), Ok(c.clone()));
        assert_eq!(expiring_parts(&expiring(7, b"row")), Ok((7, &b"row"[..])));
        assert!(expiring_parts(&expiring(7, b"")[..7]).is_err() && expiring(255, b"b") < expiring(256, b"a"));
        for end in 0..log(&c, 7).len() {
            assert!(log_parts(&log(&c, 7)[..end]).is_err(), "cut at {end}");
        }
        assert!(edit_parts(&log(&c, 7)).is_err() && log_parts(&edit(&c, 7, 9)).is_err());
        assert!(dedup_parts(&dedup("a", "d", 3)[1..]).is_err() && cursor_conversation(b"\0\x01a").is_err());
        assert!(roster_parts(&roster(&c, "")).is_err() && head_conversation(b"\xff").is_err());
    }

    #[test]
    fn log_keys_sort_by_seq_and_stay_in_their_conversation() {
        let (a, ab) = (ConversationKey::new("a").unwrap(), ConversationKey::new("ab").unwrap());
        assert!(log(&a, 255) < log(&a, 256));
        assert_eq!(log_seq(&log(&a, 256)), Ok(256));
        for seq in [0, 1, u64::MAX] {
            let key = log(&ab, seq);
            assert!(key < log(&a, 0) || key > log(&a, u64::MAX));
        }
    }
}
