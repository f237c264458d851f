//! The reference model of the durable store: what the server of a world remembers over crashes.

use std::collections::BTreeMap;

use im_proto::{Change, Conversation, Entry, FeedItem, Instant, PacketId};

/// What a client wants stored: a message or a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The sender's id of it.
    pub packet_id: PacketId,
    /// Where to.
    pub to: Conversation,
    /// What it is.
    pub entry: Entry,
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The sender.
    pub from: String,
    /// The sender's device.
    pub device: String,
    /// The sender's id of the entry.
    pub packet_id: PacketId,
    /// What was stored.
    pub entry: Entry,
    /// When it was recalled, or what it edits.
    pub recalled: Option<Instant>,
}

/// Two users in order.
type Key = (String, String);

/// Conversations, identities of messages, and how far each device is.
#[derive(Debug, Default)]
pub struct Log {
    conversations: BTreeMap<Key, Vec<Record>>,
    identities: BTreeMap<(String, String, PacketId), (Key, u64)>,
    cursors: BTreeMap<(String, String, Key), u64>,
    read: BTreeMap<(String, Key), u64>,
}

fn key(a: &str, b: &str) -> Key {
    if a <= b { (a.into(), b.into()) } else { (b.into(), a.into()) }
}

impl Log {
    /// Appends, unless this very entry is there: its seq, and whether it was there. An identity used for another entry is a
    /// conflict. A recall takes effect at once.
    pub fn append(&mut self, now: Instant, from: &str, device: &str, message: &Submitted) -> Result<(u64, bool), u64> {
        let key = key(from, &message.to.id);
        let identity = (from.to_string(), device.to_string(), message.packet_id);
        if let Some((first, seq)) = self.identities.get(&identity) {
            let same = *first == key && self.conversations[first][*seq as usize - 1].entry == message.entry;
            return if same { Ok((*seq, true)) } else { Err(*seq) };
        }
        let conversation = self.conversations.entry(key.clone()).or_default();
        conversation.push(Record {
            from: from.into(),
            device: device.into(),
            packet_id: message.packet_id,
            entry: message.entry.clone(),
            recalled: None,
        });
        let seq = conversation.len() as u64;
        if let Entry::Command { about, change: Change::Recall } = &message.entry {
            for (record, seq) in conversation.iter_mut().zip(1..) {
                let edits = |entry: &Entry| matches!(entry, Entry::Command { about: of, change: Change::Edit { .. } } if of == about);
                if edits(&record.entry) || seq == *about && record.entry.is_message() {
                    record.recalled.get_or_insert(now);
                }
            }
        }
        // An edit that comes after the recall shows nothing either.
        if let Entry::Command { about, change: Change::Edit { .. } } = &message.entry {
            let recalled = conversation.get(*about as usize - 1).and_then(|record| record.recalled);
            if let Some(record) = conversation.last_mut() {
                record.recalled = recalled.map(|_| now);
            }
        }
        self.identities.insert(identity, (key, seq));
        Ok((seq, false))
    }

    /// Entries of a conversation, the first with seq 1.
    pub fn conversation(&self, user: &str, other: &Conversation) -> &[Record] {
        self.conversations.get(&key(user, &other.id)).map_or(&[], Vec::as_slice)
    }

    /// How far a device is in a conversation.
    pub fn cursor(&self, user: &str, device: &str, other: &Conversation) -> u64 {
        self.cursors.get(&(user.into(), device.into(), key(user, &other.id))).copied().unwrap_or(0)
    }

    /// A device is at `up_to`; never further than the head, never back.
    pub fn advance(&mut self, user: &str, device: &str, other: &Conversation, up_to: u64) {
        let head = self.conversation(user, other).len() as u64;
        let cursor = self.cursors.entry((user.into(), device.into(), key(user, &other.id))).or_default();
        *cursor = up_to.min(head).max(*cursor);
    }

    /// How far a user has read a conversation.
    pub fn read_position(&self, user: &str, other: &Conversation) -> u64 {
        self.read.get(&(user.into(), key(user, &other.id))).copied().unwrap_or(0)
    }

    /// A user has read up to there: the position where it is now, which never goes back nor beyond the head.
    pub fn read(&mut self, user: &str, other: &Conversation, up_to: u64) -> u64 {
        let head = self.conversation(user, other).len() as u64;
        let position = self.read.entry((user.into(), key(user, &other.id))).or_default();
        *position = im_proto::receipts::advance(*position, up_to, head).unwrap_or(*position);
        *position
    }

    /// Every conversation of a user with its head.
    pub fn heads(&self, user: &str) -> Vec<(Conversation, u64)> {
        let of_user = self.conversations.iter().filter(|((a, b), _)| a == user || b == user);
        of_user
            .map(|((a, b), log)| (Conversation::private(if a == user { b } else { a }.as_str()), log.len() as u64))
            .collect()
    }

    /// What a device lacks, no more than `limit`, and whether that is all.
    pub fn unread(&self, user: &str, device: &str, limit: usize) -> (Vec<(Conversation, u64)>, bool) {
        let mut heads = self.heads(user);
        heads.retain(|(other, head)| *head > self.cursor(user, device, other));
        let complete = heads.len() <= limit;
        heads.truncate(limit);
        (heads, complete)
    }

    /// Up to `max` messages after `after`, as the connection of a device wants them.
    pub fn items(&self, user: &str, device: &str, other: &Conversation, after: u64, max: usize) -> Vec<FeedItem> {
        let log = self.conversation(user, other);
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(log.len());
        log[from..]
            .iter()
            .zip(after + 1..)
            .take(max)
            .map(|(record, seq)| FeedItem {
                seq,
                message_id: seq,
                time_ms: 0,
                from: record.from.clone(),
                own: record.from == user && record.device == device,
                entry: if record.recalled.is_some() { Entry::Recalled } else { record.entry.clone() },
            })
            .collect()
    }
}
