//! Read positions and receipts: they only grow, the latest wins, and nothing of them queues up.
//!
//! A *read position* belongs to a user and a conversation: everything up to that seq was read, and what came later was not.
//! A *receipt* tells a device of a position: how far somebody read ([`ReadBy`](crate::ClientEvent::ReadBy)), or how far some
//! device of somebody has the conversation ([`DeliveredTo`](crate::ClientEvent::DeliveredTo)).
//!
//! Each names the epoch of its seq: in another log it says nothing, so one of another epoch takes the place of what was known,
//! higher or not.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;

use im_serial::Body;
use im_serial::body::{Conversation, DeliveredTo, ReadBy};

/// The position after somebody said `up_to`: never back, and never beyond the `head` of the log, whatever a client says.
/// `None` when it stays where it is.
///
/// ```
/// use im_proto::receipts::advance;
/// assert_eq!(advance(3, 5, 9), Some(5));
/// assert_eq!(advance(3, 99, 9), Some(9));
/// assert_eq!(advance(3, 2, 9), None);
/// ```
pub const fn advance(position: u64, up_to: u64, head: u64) -> Option<u64> {
    let up_to = if up_to < head { up_to } else { head };
    if up_to > position { Some(up_to) } else { None }
}

/// What a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Delivered,
    Read,
}

/// Whose position, in which conversation.
pub(crate) type Whose = (Conversation, String, What);

/// A seq, and the epoch that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UpTo {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

impl UpTo {
    /// Whether it says more than `before`: a higher seq, or one of another log.
    const fn is_news(self, before: Self) -> bool {
        self.epoch != before.epoch || self.seq > before.seq
    }

    /// What is known after `later`.
    const fn and(self, later: Self) -> Self {
        if later.is_news(self) { later } else { self }
    }
}

/// The highest of each position that was seen; beyond `max` of them some are forgotten.
#[derive(Debug)]
pub(crate) struct Positions<K> {
    highest: BTreeMap<K, UpTo>,
    max: usize,
}

impl<K: Ord + Clone> Positions<K> {
    pub(crate) const fn new(max: u32) -> Self {
        Self { highest: BTreeMap::new(), max: max as usize }
    }

    /// Whether the position is higher than all before, or of another log.
    pub(crate) fn grow(&mut self, key: &K, up_to: UpTo) -> bool {
        if let Some(highest) = self.highest.get_mut(key) {
            let news = up_to.is_news(*highest);
            *highest = highest.and(up_to);
            return news;
        }
        if up_to.seq == 0 {
            return false;
        }
        if self.highest.len() >= self.max {
            self.highest.pop_first();
        }
        self.highest.insert(key.clone(), up_to);
        true
    }

    pub(crate) fn clear(&mut self) {
        self.highest.clear();
    }

    fn get(&self, key: &K) -> Option<UpTo> {
        self.highest.get(key).copied()
    }

    /// Forgets the positions in another epoch, of which `those` is true.
    pub(crate) fn forget(&mut self, epoch: u64, those: impl Fn(&K) -> bool) {
        self.highest.retain(|key, up_to| up_to.epoch == epoch || !those(key));
    }
}

/// Receipts that a server has to tell a device: one for each position, and no more than `max`.
#[derive(Debug)]
pub(crate) struct Receipts {
    pending: BTreeMap<Whose, UpTo>,
    order: VecDeque<Whose>,
    told: Positions<Whose>,
    max: usize,
}

impl Receipts {
    pub(crate) const fn new(max: u32) -> Self {
        Self { pending: BTreeMap::new(), order: VecDeque::new(), told: Positions::new(max), max: max as usize }
    }

    /// Takes a receipt. Whether the oldest one had to go for it.
    pub(crate) fn push(&mut self, whose: Whose, up_to: UpTo) -> bool {
        if let Some(pending) = self.pending.get_mut(&whose) {
            *pending = pending.and(up_to);
            return false;
        }
        if self.told.get(&whose).is_some_and(|told| !up_to.is_news(told)) {
            return false;
        }
        self.order.push_back(whose.clone());
        self.pending.insert(whose, up_to);
        let full = self.order.len() > self.max;
        if full && let Some(oldest) = self.order.pop_front() {
            self.pending.remove(&oldest);
        }
        full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn next(&self) -> Option<Body> {
        let whose = self.order.front()?;
        let UpTo { epoch, seq: up_to } = *self.pending.get(whose)?;
        let (conversation, user, what) = whose.clone();
        Some(match what {
            What::Delivered => DeliveredTo { conversation, user, up_to, epoch }.into(),
            What::Read => ReadBy { conversation, user, up_to, epoch }.into(),
        })
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        if let Some(whose) = self.order.pop_front()
            && let Some(up_to) = self.pending.remove(&whose)
        {
            self.told.grow(&whose, up_to);
        }
    }

    /// Forgets what was told, so that it may be told again, and gives back memory that is not in use. Whether nothing waits.
    pub(crate) fn rest(&mut self) -> bool {
        self.told.clear();
        self.order.shrink_to_fit();
        self.is_empty()
    }
}

#[derive(Debug, Default)]
struct Said {
    up_to: UpTo,
    /// The server told that it knows so much, of the same epoch.
    confirmed: u64,
}

impl Said {
    const fn is_confirmed(&self) -> bool {
        self.confirmed >= self.up_to.seq
    }
}

/// What a client's user read, until the server told that it knows.
#[derive(Debug)]
pub(crate) struct Reads {
    said: BTreeMap<Conversation, Said>,
    due: BTreeSet<Conversation>,
    max: usize,
}

impl Reads {
    pub(crate) const fn new(max: u32) -> Self {
        Self { said: BTreeMap::new(), due: BTreeSet::new(), max: max as usize }
    }

    /// The user read up to there. Whether there is room to keep it.
    pub(crate) fn say(&mut self, conversation: &Conversation, up_to: UpTo) -> bool {
        if !self.make_room(conversation) {
            return false;
        }
        let said = self.said.entry(conversation.clone()).or_default();
        if up_to.epoch != said.up_to.epoch {
            said.confirmed = 0;
        }
        if up_to.is_news(said.up_to) {
            said.up_to = up_to;
            self.due.insert(conversation.clone());
        }
        true
    }

    /// The server knows of this position of the user; another device may have said it. One of another epoch says as well that
    /// what was read of the log before counts no more.
    pub(crate) fn confirm(&mut self, conversation: &Conversation, up_to: UpTo) {
        // Without room it is only said once more than needed.
        if !self.make_room(conversation) {
            return;
        }
        let said = self.said.entry(conversation.clone()).or_default();
        let same = up_to.epoch == said.up_to.epoch;
        said.confirmed = if same { said.confirmed.max(up_to.seq) } else { up_to.seq };
        said.up_to = said.up_to.and(up_to);
        if said.is_confirmed() {
            self.due.remove(conversation);
        }
    }

    /// Forgets a position that the server knows where there are too many.
    fn make_room(&mut self, conversation: &Conversation) -> bool {
        if self.said.len() < self.max || self.said.contains_key(conversation) {
            return true;
        }
        let known = self.said.iter().find(|(_, said)| said.is_confirmed()).map(|(known, _)| known.clone());
        known.is_some_and(|known| self.said.remove(&known).is_some())
    }

    /// The conversation is the log of `epoch` now: what was read of another says nothing about it.
    pub(crate) fn forget(&mut self, conversation: &Conversation, epoch: u64) {
        if self.said.get(conversation).is_some_and(|said| said.up_to.epoch != epoch) {
            self.said.remove(conversation);
            self.due.remove(conversation);
        }
    }

    /// A new connection: what the server did not tell that it knows is said again.
    pub(crate) fn connected(&mut self) {
        let unknown = self.said.iter().filter(|(_, said)| !said.is_confirmed());
        self.due = unknown.map(|(conversation, _)| conversation.clone()).collect();
    }

    pub(crate) fn next(&self) -> Option<(&Conversation, UpTo)> {
        let conversation = self.due.first()?;
        self.said.get(conversation).map(|said| (conversation, said.up_to))
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        self.due.pop_first();
    }

    /// Conversations whose position the server does not know yet, as far as it told.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.said.values().filter(|said| !said.is_confirmed()).count()
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    fn bob() -> Conversation {
        Conversation::private("bob")
    }

    fn at(seq: u64) -> UpTo {
        UpTo { epoch: 0, seq }
    }

    fn whose(n: u64) -> Whose {
        (Conversation::group(format!("{n}")), "bob".into(), What::Read)
    }

    fn drain(receipts: &mut Receipts) -> Vec<(Conversation, u64)> {
        let mut all = Vec::new();
        while let Some(body) = receipts.next() {
            match body {
                Body::ReadBy(ReadBy { conversation, up_to, .. })
                | Body::DeliveredTo(DeliveredTo { conversation, up_to, .. }) => all.push((conversation, up_to)),
                other => unreachable!("{other:?}"),
            }
            receipts.sent();
        }
        all
    }

    #[test]
    fn a_position_never_goes_back_and_never_beyond_the_head() {
        for (position, up_to, head) in (0..6).flat_map(|p| (0..6).flat_map(move |u| (0..6).map(move |h| (p, u, h)))) {
            match advance(position, up_to, head) {
                Some(new) => assert!(new > position && new <= head && new <= up_to),
                None => assert!(up_to.min(head) <= position),
            }
        }
    }

    #[test]
    fn receipts_of_one_position_are_one_and_the_highest_counts() {
        let mut receipts = Receipts::new(8);
        for up_to in [3, 7, 5] {
            assert!(!receipts.push(whose(1), at(up_to)));
        }
        assert!(!receipts.push((bob(), "bob".into(), What::Delivered), at(9)));
        assert_eq!(drain(&mut receipts), [(whose(1).0, 7), (bob(), 9)]);
        receipts.push(whose(1), at(7));
        receipts.push(whose(1), at(6));
        assert_eq!(drain(&mut receipts), [], "it was told");
        receipts.push(whose(1), at(8));
        assert_eq!(drain(&mut receipts), [(whose(1).0, 8)]);
    }

    #[test]
    fn beyond_the_bound_the_oldest_receipt_goes_and_is_counted() {
        let mut receipts = Receipts::new(3);
        let dropped = (0..1000).filter(|n| receipts.push(whose(*n), at(1))).count();
        assert_eq!((dropped, receipts.order.len(), receipts.pending.len()), (997, 3, 3));
        assert_eq!(drain(&mut receipts), [997, 998, 999].map(|n| (whose(n).0, 1)));
        assert!(receipts.told.highest.len() <= 3);
    }

    #[test]
    fn what_the_server_does_not_know_is_said_again_on_the_next_connection_and_only_that() {
        let mut reads = Reads::new(8);
        let carol = Conversation::private("carol");
        assert!(reads.say(&bob(), at(5)) && reads.say(&bob(), at(3)) && reads.say(&carol, at(2)));
        assert_eq!(reads.next(), Some((&bob(), at(5))));
        reads.sent();
        reads.sent();
        assert_eq!((reads.next(), reads.unconfirmed()), (None, 2));
        reads.confirm(&carol, at(2));
        reads.connected();
        assert_eq!(reads.next(), Some((&bob(), at(5))));
        reads.sent();
        assert_eq!(reads.next(), None);
        // Another device read further: what this one says later is no news.
        reads.confirm(&bob(), at(9));
        reads.say(&bob(), at(8));
        assert_eq!((reads.next(), reads.unconfirmed()), (None, 0));
    }

    #[test]
    fn reads_are_bounded_and_only_what_the_server_knows_is_forgotten() {
        let mut reads = Reads::new(2);
        let group = |n: u32| Conversation::group(format!("{n}"));
        assert!(reads.say(&group(1), at(1)) && reads.say(&group(2), at(1)) && !reads.say(&group(3), at(1)));
        reads.confirm(&group(2), at(1));
        assert!(reads.say(&group(3), at(1)) && reads.say(&group(1), at(2)));
        assert_eq!((reads.said.len(), reads.unconfirmed()), (2, 2));
    }

    #[test]
    fn a_position_of_another_log_takes_the_place_of_the_one_before() {
        let (old, new) = (UpTo { epoch: 3, seq: 5 }, UpTo { epoch: 4, seq: 2 });
        let mut receipts = Receipts::new(8);
        receipts.push(whose(1), old);
        receipts.push(whose(1), new);
        assert_eq!(drain(&mut receipts), [(whose(1).0, 2)]);
        receipts.push(whose(1), new);
        assert_eq!(drain(&mut receipts), []);
        // What is told now and what waits belong to one log.
        receipts.push(whose(1), UpTo { seq: 3, ..new });
        receipts.push(whose(1), new);
        assert_eq!(drain(&mut receipts), [(whose(1).0, 3)]);

        let mut reads = Reads::new(8);
        reads.say(&bob(), old);
        reads.confirm(&bob(), old);
        reads.say(&bob(), new);
        assert_eq!((reads.next(), reads.unconfirmed()), (Some((&bob(), new)), 1));
        reads.confirm(&bob(), UpTo { epoch: 5, seq: 0 });
        assert_eq!((reads.next(), reads.unconfirmed()), (None, 0));
    }
}
