//! What the client's application saw, and whether it may have.

use std::collections::{BTreeMap, BTreeSet};

use im_proto::{AckToken, Delivery, PacketId};

use super::log::{Log, OTHERS, Submitted, index};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    Refused,
    Unknown,
    /// The process died first.
    Forgotten,
}

/// The application of the client. It survives crashes, except for what it only holds.
#[derive(Debug, Default)]
pub(super) struct Application {
    pub(super) sent: BTreeMap<PacketId, (Submitted, Option<Outcome>)>,
    /// Taken, and not safe.
    pub(super) held: Vec<(usize, u64, AckToken)>,
    /// Entries of others that are safe.
    safe: [BTreeSet<u64>; 2],
    /// The last seq that came in this run.
    last: [Option<u64>; 2],
    /// How far somebody read or has something, as told in this run.
    told: BTreeMap<(bool, usize, String), u64>,
}

impl Application {
    /// Messages without an outcome.
    pub(super) fn open(&self) -> usize {
        self.sent.values().filter(|(_, outcome)| outcome.is_none()).count()
    }

    pub(super) fn outcome(&mut self, id: PacketId, outcome: Outcome) {
        let (_, known) = self.sent.get_mut(&id).expect("an outcome of a message that was sent");
        assert_eq!(*known, None, "{id} has an outcome, and another: {outcome:?}");
        *known = Some(outcome);
    }

    /// The server says that it stored a message.
    pub(super) fn stored(&mut self, log: &Log, id: PacketId, conversation: usize, seq: u64) {
        assert_eq!(log.find(id), Some((conversation, seq)), "{id} was acked, and is not there");
        self.outcome(id, Outcome::Stored);
    }

    /// An entry of somebody else came.
    pub(super) fn delivered(&mut self, log: &Log, delivery: Delivery) {
        let Delivery { conversation, seq, entry, own, from, token, .. } = delivery;
        let at = index(&conversation);
        let record = &log.records(at)[seq as usize - 1];
        assert!(record.id.is_none(), "what this device sent does not come back as a delivery");
        assert_eq!((&record.entry, own, from.as_str()), (&entry, false, OTHERS[at]), "another entry than in the log");
        match self.last[at] {
            Some(last) => {
                let between = log.records(at)[last as usize..seq.max(last + 1) as usize - 1].iter();
                assert!(seq > last, "{seq} came again, after {last}");
                assert!(between.clone().all(|record| record.id.is_some()), "a gap from {last} to {seq}");
            }
            None => assert!(seq <= self.covered(log, at) + 1, "{seq} came first, and something before it never"),
        }
        self.last[at] = Some(seq);
        self.held.push((at, seq, token));
    }

    /// Makes one of the entries safe.
    pub(super) fn keep(&mut self, which: usize) -> AckToken {
        let (at, seq, token) = self.held.swap_remove(which);
        self.safe[at].insert(seq);
        token
    }

    /// Up to where everything is safe. What this device sent is.
    pub(super) fn covered(&self, log: &Log, at: usize) -> u64 {
        let has = |(record, seq): &(&super::log::Record, u64)| record.id.is_some() || self.safe[at].contains(seq);
        log.records(at).iter().zip(1..).take_while(has).count() as u64
    }

    /// A position of somebody; it only grows.
    pub(super) fn told(&mut self, log: &Log, read: bool, at: usize, user: String, up_to: u64) {
        assert!(up_to <= log.head(at), "a position beyond the log");
        let before = self.told.insert((read, at, user), up_to);
        assert!(before.is_none_or(|before| before < up_to), "a position went from {before:?} to {up_to}");
    }

    /// The process dies and begins again.
    pub(super) fn crash(&mut self) {
        self.held.clear();
        self.told.clear();
        self.last = [None; 2];
        for (_, outcome) in self.sent.values_mut() {
            outcome.get_or_insert(Outcome::Forgotten);
        }
    }
}
