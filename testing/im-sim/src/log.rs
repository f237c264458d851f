//! The reference model of the durable store: what the servers of a world remember over crashes.

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
    /// The server's id of the entry.
    pub message_id: u64,
    /// What was stored.
    pub entry: Entry,
    /// When it was recalled, or what it edits.
    pub recalled: Option<Instant>,
}

/// Two users in order.
type Key = (String, String);

/// One log; `epoch` says which.
#[derive(Debug, Default)]
struct Entries {
    epoch: u64,
    records: Vec<Record>,
}

/// Conversations, identities of messages, and how far each device is.
#[derive(Debug, Default)]
pub struct Log {
    conversations: BTreeMap<Key, Entries>,
    identities: BTreeMap<(String, String, PacketId), (Key, u64)>,
    cursors: BTreeMap<(String, String, Key), u64>,
    read: BTreeMap<(String, Key), u64>,
    message_ids: u64,
    /// Logs that were replaced.
    archive: Vec<(Key, Vec<Record>)>,
}

fn key(a: &str, b: &str) -> Key {
    if a <= b { (a.into(), b.into()) } else { (b.into(), a.into()) }
}

impl Log {
    /// Where this very entry stands, if it was stored before. An identity used for another entry is a conflict.
    pub fn find(&self, from: &str, device: &str, message: &Submitted) -> Option<Result<u64, u64>> {
        let (first, seq) = self.identities.get(&(from.to_string(), device.to_string(), message.packet_id))?;
        let same = *first == key(from, &message.to.id)
            && self.conversations[first].records[*seq as usize - 1].entry == message.entry;
        Some(if same { Ok(*seq) } else { Err(*seq) })
    }

    /// Appends, unless this very entry is there: its seq, and whether it was there. An identity used for another entry is a
    /// conflict. A recall takes effect at once.
    pub fn append(&mut self, now: Instant, from: &str, device: &str, message: &Submitted) -> Result<(u64, bool), u64> {
        if let Some(found) = self.find(from, device, message) {
            return found.map(|seq| (seq, true));
        }
        let key = key(from, &message.to.id);
        let conversation = &mut self.conversations.entry(key.clone()).or_default().records;
        self.message_ids += 1;
        conversation.push(Record {
            from: from.into(),
            device: device.into(),
            packet_id: message.packet_id,
            message_id: self.message_ids,
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
        self.identities.insert((from.into(), device.into(), message.packet_id), (key, seq));
        Ok((seq, false))
    }

    /// Puts another log in the place of the `n`th conversation: its first `keep` entries under a new epoch, as from a backup. No
    /// position of a device or a reader counts in it. The two users.
    pub fn replace(&mut self, n: usize, keep: usize) -> Option<(String, String)> {
        let (key, entries) = self.conversations.iter_mut().nth(n)?;
        let key = key.clone();
        entries.epoch += 1;
        self.archive.push((key.clone(), entries.records.clone()));
        entries.records.truncate(keep);
        let head = entries.records.len() as u64;
        self.identities.retain(|_, (of, seq)| *of != key || *seq <= head);
        self.cursors.retain(|(_, _, of), _| *of != key);
        self.read.retain(|(_, of), _| *of != key);
        Some(key)
    }

    /// How many conversations there are.
    pub fn len(&self) -> usize {
        self.conversations.len()
    }

    /// Whether nothing was ever stored.
    pub fn is_empty(&self) -> bool {
        self.conversations.is_empty()
    }

    /// Which log a conversation has now; 0 is the first.
    pub fn epoch(&self, user: &str, other: &Conversation) -> u64 {
        self.conversations.get(&key(user, &other.id)).map_or(0, |entries| entries.epoch)
    }

    /// Entries of a conversation, the first with seq 1.
    pub fn conversation(&self, user: &str, other: &Conversation) -> &[Record] {
        self.conversations.get(&key(user, &other.id)).map_or(&[], |entries| entries.records.as_slice())
    }

    /// The logs that stood in the place of a conversation before.
    pub fn replaced(&self, user: &str, other: &Conversation) -> impl Iterator<Item = &[Record]> {
        let key = key(user, &other.id);
        self.archive.iter().filter(move |(of, _)| *of == key).map(|(_, records)| records.as_slice())
    }

    /// Every entry of every log that stands.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.conversations.values().flat_map(|entries| &entries.records)
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

    /// A user has read up to there: the position where it is now, which never goes back nor beyond the head. What was read of
    /// another log counts for nothing.
    pub fn read(&mut self, user: &str, other: &Conversation, epoch: u64, up_to: u64) -> u64 {
        let head = self.conversation(user, other).len() as u64;
        let same = epoch == self.epoch(user, other);
        let position = self.read.entry((user.into(), key(user, &other.id))).or_default();
        let up_to = if same { up_to } else { 0 };
        *position = im_proto::receipts::advance(*position, up_to, head).unwrap_or(*position);
        *position
    }

    /// Every conversation of a user with its head.
    pub fn heads(&self, user: &str) -> Vec<(Conversation, u64)> {
        let of_user = self.conversations.iter().filter(|((a, b), _)| a == user || b == user);
        of_user
            .map(|((a, b), entries)| {
                let other = Conversation::private(if a == user { b } else { a }.as_str());
                (other, entries.records.len() as u64)
            })
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
                message_id: record.message_id,
                time_ms: 0,
                from: record.from.as_str().into(),
                own: record.from == user && record.device == device,
                entry: if record.recalled.is_some() { Entry::Recalled } else { record.entry.clone() },
            })
            .collect()
    }
}
