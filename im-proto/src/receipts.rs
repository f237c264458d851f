//! Read positions and receipts: they only grow, the latest wins, and nothing of them queues up.
//!
//! A *read position* belongs to a user and a conversation: everything up to that seq was read, and what came later was not.
//! A *receipt* tells a device of a position: how far somebody read ([`ReadBy`](crate::ClientEvent::ReadBy)), or how far some
//! device of somebody has the conversation ([`DeliveredTo`](crate::ClientEvent::DeliveredTo)).

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

/// The highest of each position that was seen; beyond `max` of them some are forgotten.
#[derive(Debug)]
pub(crate) struct Positions<K> {
    highest: BTreeMap<K, u64>,
    max: usize,
}

impl<K: Ord + Clone> Positions<K> {
    pub(crate) const fn new(max: u32) -> Self {
        Self { highest: BTreeMap::new(), max: max as usize }
    }

    /// Whether the position is higher than all before.
    pub(crate) fn grow(&mut self, key: &K, up_to: u64) -> bool {
        if let Some(highest) = self.highest.get_mut(key) {
            let news = up_to > *highest;
            *highest = up_to.max(*highest);
            return news;
        }
        if up_to == 0 {
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

    fn get(&self, key: &K) -> u64 {
        self.highest.get(key).copied().unwrap_or(0)
    }

    /// Forgets the positions of which `those` is true.
    pub(crate) fn forget(&mut self, those: impl Fn(&K) -> bool) {
        self.highest.retain(|key, _| !those(key));
    }
}

/// Receipts that a server has to tell a device: one for each position, and no more than `max`.
#[derive(Debug)]
pub(crate) struct Receipts {
    pending: BTreeMap<Whose, u64>,
    order: VecDeque<Whose>,
    told: Positions<Whose>,
    max: usize,
}

impl Receipts {
    pub(crate) const fn new(max: u32) -> Self {
        Self { pending: BTreeMap::new(), order: VecDeque::new(), told: Positions::new(max), max: max as usize }
    }

    /// Takes a receipt. Whether the oldest one had to go for it.
    pub(crate) fn push(&mut self, whose: Whose, up_to: u64) -> bool {
        if up_to <= self.told.get(&whose) {
            return false;
        }
        if let Some(pending) = self.pending.get_mut(&whose) {
            *pending = up_to.max(*pending);
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
        let up_to = *self.pending.get(whose)?;
        let (conversation, user, what) = whose.clone();
        Some(match what {
            What::Delivered => DeliveredTo { conversation, user, up_to }.into(),
            What::Read => ReadBy { conversation, user, up_to }.into(),
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

    /// Forgets what was told of a conversation, so that it is told again.
    pub(crate) fn forget(&mut self, conversation: &Conversation) {
        self.told.forget(|(of, _, _)| of == conversation);
    }

    /// Forgets what was told, so that it may be told again, and gives back memory that is not in use.
    pub(crate) fn rest(&mut self) {
        self.told.clear();
        self.order.shrink_to_fit();
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.order.clear();
    }
}

#[derive(Debug, Default)]
struct Said {
    up_to: u64,
    /// The server told that it knows so much.
    confirmed: u64,
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
    pub(crate) fn say(&mut self, conversation: &Conversation, up_to: u64) -> bool {
        if !self.make_room(conversation) {
            return false;
        }
        let said = self.said.entry(conversation.clone()).or_default();
        if up_to > said.up_to {
            said.up_to = up_to;
            self.due.insert(conversation.clone());
        }
        true
    }

    /// The server knows of this position of the user; another device may have said it.
    pub(crate) fn confirm(&mut self, conversation: &Conversation, up_to: u64) {
        // Without room it is only said once more than needed.
        if !self.make_room(conversation) {
            return;
        }
        let said = self.said.entry(conversation.clone()).or_default();
        said.confirmed = said.confirmed.max(up_to);
        said.up_to = said.up_to.max(up_to);
        if said.confirmed >= said.up_to {
            self.due.remove(conversation);
        }
    }

    /// Forgets a position that the server knows where there are too many.
    fn make_room(&mut self, conversation: &Conversation) -> bool {
        if self.said.len() < self.max || self.said.contains_key(conversation) {
            return true;
        }
        let known = self.said.iter().find(|(_, said)| said.confirmed >= said.up_to).map(|(known, _)| known.clone());
        known.is_some_and(|known| self.said.remove(&known).is_some())
    }

    /// The conversation is another log: what was read of the one before says nothing about it.
    pub(crate) fn forget(&mut self, conversation: &Conversation) {
        self.said.remove(conversation);
        self.due.remove(conversation);
    }

    /// A new connection: what the server did not tell that it knows is said again.
    pub(crate) fn connected(&mut self) {
        let unknown = self.said.iter().filter(|(_, said)| said.confirmed < said.up_to);
        self.due = unknown.map(|(conversation, _)| conversation.clone()).collect();
    }

    pub(crate) fn next(&self) -> Option<(&Conversation, u64)> {
        let conversation = self.due.first()?;
        self.said.get(conversation).map(|said| (conversation, said.up_to))
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        self.due.pop_first();
    }

    /// Conversations whose position the server does not know yet, as far as it told.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.said.values().filter(|said| said.confirmed < said.up_to).count()
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
            assert!(!receipts.push(whose(1), up_to));
        }
        assert!(!receipts.push((bob(), "bob".into(), What::Delivered), 9));
        assert_eq!(drain(&mut receipts), [(whose(1).0, 7), (bob(), 9)]);
        receipts.push(whose(1), 7);
        receipts.push(whose(1), 6);
        assert_eq!(drain(&mut receipts), [], "it was told");
        receipts.push(whose(1), 8);
        assert_eq!(drain(&mut receipts), [(whose(1).0, 8)]);
    }

    #[test]
    fn beyond_the_bound_the_oldest_receipt_goes_and_is_counted() {
        let mut receipts = Receipts::new(3);
        let dropped = (0..1000).filter(|n| receipts.push(whose(*n), 1)).count();
        assert_eq!((dropped, receipts.order.len(), receipts.pending.len()), (997, 3, 3));
        assert_eq!(drain(&mut receipts), [997, 998, 999].map(|n| (whose(n).0, 1)));
        assert!(receipts.told.highest.len() <= 3);
    }

    #[test]
    fn what_the_server_does_not_know_is_said_again_on_the_next_connection_and_only_that() {
        let mut reads = Reads::new(8);
        let carol = Conversation::private("carol");
        assert!(reads.say(&bob(), 5) && reads.say(&bob(), 3) && reads.say(&carol, 2));
        assert_eq!(reads.next(), Some((&bob(), 5)));
        reads.sent();
        reads.sent();
        assert_eq!((reads.next(), reads.unconfirmed()), (None, 2));
        reads.confirm(&carol, 2);
        reads.connected();
        assert_eq!(reads.next(), Some((&bob(), 5)));
        reads.sent();
        assert_eq!(reads.next(), None);
        // Another device read further: what this one says later is no news.
        reads.confirm(&bob(), 9);
        reads.say(&bob(), 8);
        assert_eq!((reads.next(), reads.unconfirmed()), (None, 0));
    }

    #[test]
    fn reads_are_bounded_and_only_what_the_server_knows_is_forgotten() {
        let mut reads = Reads::new(2);
        let group = |n: u32| Conversation::group(format!("{n}"));
        assert!(reads.say(&group(1), 1) && reads.say(&group(2), 1) && !reads.say(&group(3), 1));
        reads.confirm(&group(2), 1);
        assert!(reads.say(&group(3), 1) && reads.say(&group(1), 2));
        assert_eq!((reads.said.len(), reads.unconfirmed()), (2, 2));
    }
}
