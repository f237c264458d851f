//! The server's durable side: one conversation's log, with the promises of the storage contract.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::world::Broken;
use crate::entry::Entry;
use crate::feed::FeedItem;
use crate::resume::LogFacts;

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    /// The device that sent it.
    pub(super) device: usize,
    /// Its packet id.
    pub(super) id: u64,
    /// Which message it is, over all devices.
    pub(super) message: u8,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Store {
    pub(super) epoch: u64,
    pub(super) log: Vec<Record>,
    /// For each device, up to where it acked in the log of this epoch.
    pub(super) acked: Vec<u64>,
    /// For each device, its session; 0 for none. The only part that does not survive a crash.
    pub(super) sessions: Vec<u64>,
    pub(super) last_session: u64,
    /// Up to where devices that are online were told.
    pub(super) noticed: u64,
}

/// What a question to the log saw. The log may grow before the answer is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    pub(super) head: u64,
    pub(super) acked: u64,
}

impl Store {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            epoch: 0,
            log: Vec::new(),
            acked: vec![0; devices],
            sessions: vec![0; devices],
            last_session: 0,
            noticed: 0,
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// The seq of a record, and whether it was there before.
    pub(super) fn append(&mut self, record: Record, broken: &mut Broken) -> (u64, bool) {
        let same_identity = |old: &Record| (old.device, old.id) == (record.device, record.id);
        if let Some(at) = self.log.iter().position(same_identity) {
            broken.unless(self.log[at] == record, "a packet id names one message");
            return (at as u64 + 1, true);
        }
        broken.unless(self.log.iter().all(|old| old.message != record.message), "a message is stored once");
        self.log.push(record);
        (self.head(), false)
    }

    /// A device acked; another log's acks count for nothing.
    pub(super) fn advance(&mut self, device: usize, up_to: u64, epoch: u64) {
        if epoch == self.epoch {
            self.acked[device] = self.acked[device].max(up_to.min(self.head()));
        }
    }

    pub(super) fn snapshot(&self, device: usize) -> Snapshot {
        Snapshot { head: self.head(), acked: self.acked[device] }
    }

    pub(super) fn facts(&self, seen: Snapshot) -> LogFacts {
        LogFacts { epoch: self.epoch, oldest: 1, head: seen.head, acked: seen.acked }
    }

    /// Entries after `after` as a question saw them.
    pub(super) fn items(&self, device: usize, users: &[&str], after: u64, head: u64, max: usize) -> Vec<FeedItem> {
        let records = self.log.iter().zip(1..).filter(|(_, seq)| *seq > after && *seq <= head).take(max);
        let item = |(record, seq): (&Record, u64)| FeedItem {
            seq,
            message_id: seq,
            time_ms: 0,
            from: users[record.device].into(),
            own: record.device == device,
            entry: Entry::text(&content(record.message)),
        };
        records.map(item).collect()
    }

    /// Another log: the same messages in another order.
    pub(super) fn replace(&mut self) {
        self.epoch += 1;
        let by = 1.min(self.log.len());
        self.log.rotate_left(by);
        self.acked.fill(0);
        self.noticed = self.head();
    }
}

pub(super) fn content(message: u8) -> String {
    message.to_string()
}
