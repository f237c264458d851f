//! The durable side of the server: two private conversations of alice, and where her device is in each.

use im_proto::{Conversation, Entry, FeedItem, PacketId};

/// Names of the conversations, as alice has them.
pub(super) const OTHERS: [&str; 2] = ["bob", "carol"];

/// What a client wants stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submitted {
    pub(super) to: Conversation,
    pub(super) entry: Entry,
}

/// An entry; the packet id for alice's own.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: Option<PacketId>,
    pub(super) entry: Entry,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    conversations: [Vec<Record>; 2],
    /// Up to where the device acked.
    pub(super) acked: [u64; 2],
    /// How far alice read.
    pub(super) read: [u64; 2],
}

pub(super) fn index(conversation: &Conversation) -> usize {
    OTHERS.iter().position(|other| *other == conversation.id).expect("a conversation of alice")
}

pub(super) fn conversation(index: usize) -> Conversation {
    Conversation::private(OTHERS[index % OTHERS.len()])
}

impl Log {
    pub(super) fn records(&self, index: usize) -> &[Record] {
        &self.conversations[index]
    }

    pub(super) fn head(&self, index: usize) -> u64 {
        self.conversations[index].len() as u64
    }

    /// Where a message of alice is.
    pub(super) fn find(&self, id: PacketId) -> Option<(usize, u64)> {
        self.conversations.iter().enumerate().find_map(|(index, records)| {
            let at = records.iter().position(|record| record.id == Some(id))?;
            Some((index, at as u64 + 1))
        })
    }

    /// Stores alice's message, unless it is there: its seq, and whether it was there.
    pub(super) fn append(&mut self, id: PacketId, message: &Submitted) -> (u64, bool) {
        let to = index(&message.to);
        if let Some((at, seq)) = self.find(id) {
            let same = at == to && self.conversations[at][seq as usize - 1].entry == message.entry;
            assert!(same, "{id} was used for two messages");
            return (seq, true);
        }
        self.conversations[to].push(Record { id: Some(id), entry: message.entry.clone() });
        (self.head(to), false)
    }

    /// Somebody else writes.
    pub(super) fn other(&mut self, index: usize) -> u64 {
        let text = format!("{} {}", OTHERS[index], self.head(index));
        self.conversations[index].push(Record { id: None, entry: Entry::text(&text) });
        self.head(index)
    }

    pub(super) fn unread(&self, limit: usize) -> (Vec<(Conversation, u64)>, bool) {
        let behind = (0..OTHERS.len()).filter(|index| self.head(*index) > self.acked[*index]);
        let mut heads: Vec<_> = behind.map(|index| (conversation(index), self.head(index))).collect();
        let complete = heads.len() <= limit;
        heads.truncate(limit);
        (heads, complete)
    }

    pub(super) fn items(&self, index: usize, after: u64, max: usize) -> Vec<FeedItem> {
        let records = self.conversations[index].iter().zip(1..).skip(after as usize).take(max);
        let item = |(record, seq): (&Record, u64)| FeedItem {
            seq,
            message_id: seq,
            time_ms: 0,
            from: if record.id.is_some() { "alice" } else { OTHERS[index] }.into(),
            own: record.id.is_some(),
            entry: record.entry.clone(),
        };
        records.map(item).collect()
    }
}
