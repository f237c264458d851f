//! A client's side of delivery: each conversation is a dense run of seqs; what was had before is dropped, what is missing
//! is noticed, and what the application took is acked.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use im_serial::body::{Conversation, Position};

/// Acks one delivery. Move-only: a delivery is acked once, by whoever owns it. A token that is dropped leaves the message
/// unacked; it counts against the window, and the server delivers it again to a client that lost its memory.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Clone, Hash))]
#[must_use = "an unacked delivery holds a place in the window"]
pub struct AckToken {
    conversation: Conversation,
    seq: u64,
    connection: u64,
    /// A position that was dropped takes the tokens of its deliveries along.
    generation: u32,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Hash))]
struct Lane {
    /// Of the log that the seqs belong to; 0 where the server named none.
    epoch: u64,
    /// The epoch was confirmed on this connection.
    epoch_known: bool,
    generation: u32,
    /// When something came last, counted in items.
    touched: u64,
    /// The last seq had; `None` before the first.
    last: Option<u64>,
    /// Nothing came for it on this connection yet.
    fresh: bool,
    /// Handed to the application and not acked, with the bytes of their contents.
    pending: BTreeMap<u64, u32>,
    /// The last seq that the server was told of.
    told: u64,
}

impl Lane {
    /// Everything up to this is had and acked by the application.
    fn acked(&self) -> u64 {
        match self.pending.first_key_value() {
            Some((first, _)) => first.saturating_sub(1),
            None => self.last.unwrap_or(0),
        }
    }
}

/// What to do with an item of a conversation's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next one.
    Take,
    /// The next one that the server has for this device; the seqs between were never delivered to it here.
    TakeAfterGap {
        /// The last seq had.
        had: u64,
    },
    /// Had before.
    Duplicate,
    /// A gap within one connection: the server broke the order.
    Gap {
        /// The last seq had.
        had: u64,
    },
    /// No room to keep track of another conversation.
    Full,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Hash))]
pub(crate) struct Inbox {
    lanes: BTreeMap<Conversation, Lane>,
    max_lanes: usize,
    /// Conversations with something to tell the server; an ack is due once per conversation, however many arrived.
    due: BTreeSet<Conversation>,
    pending: usize,
    /// Those of `pending` that came on this connection; the server counts anew on each.
    pending_here: usize,
    /// Of the contents of `pending` and of `pending_here`.
    pending_bytes: u64,
    pending_bytes_here: u64,
    connection: u64,
    items: u64,
}

impl Inbox {
    pub(crate) fn new(max_lanes: u32) -> Self {
        Self {
            lanes: BTreeMap::new(),
            max_lanes: max_lanes as usize,
            due: BTreeSet::new(),
            pending: 0,
            pending_here: 0,
            pending_bytes: 0,
            pending_bytes_here: 0,
            connection: 0,
            items: 0,
        }
    }

    /// A new connection: the server begins each conversation where its own record ends.
    pub(crate) fn connected(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.fresh = true;
            lane.epoch_known = false;
            lane.told = 0;
        }
        self.due.clear();
        (self.pending_here, self.pending_bytes_here) = (0, 0);
        self.connection = self.connection.wrapping_add(1);
    }

    /// What this device has, the most recently active conversation first: no more than `max`, and no more than `bytes` in a body.
    pub(crate) fn positions(&self, max: usize, bytes: usize) -> Vec<Position> {
        let had = self.lanes.iter().filter_map(|(conversation, lane)| Some((conversation, lane, lane.last?)));
        let mut had: Vec<_> = had.collect();
        had.sort_unstable_by_key(|(_, lane, _)| Reverse(lane.touched));
        let mut left = bytes;
        let fits = |(conversation, ..): &(&Conversation, &Lane, u64)| {
            let cost = crate::resume::wire_cost(conversation.id.len());
            left.checked_sub(cost).map(|rest| left = rest).is_some()
        };
        let named = had.into_iter().take(max).take_while(fits);
        named
            .map(|(conversation, lane, seq)| Position {
                conversation: conversation.clone(),
                epoch: lane.epoch,
                seq,
                acked: lane.acked(),
            })
            .collect()
    }

    /// The server continues the conversation where the login said; it was told of `acked` there.
    pub(crate) fn continues(&mut self, position: &Position) {
        let Some(lane) = self.lanes.get_mut(&position.conversation) else { return };
        (lane.fresh, lane.epoch_known, lane.told) = (false, true, position.acked);
        if lane.acked() > lane.told {
            self.due.insert(position.conversation.clone());
        } else {
            self.due.remove(&position.conversation);
        }
    }

    /// The position in a conversation is worth nothing: what comes next is the first.
    pub(crate) fn reset(&mut self, conversation: &Conversation, epoch: u64) {
        let Some(lane) = self.lanes.get_mut(conversation) else { return };
        self.pending -= lane.pending.len();
        self.pending_bytes -= lane.pending.values().copied().map(u64::from).sum::<u64>();
        // Those of this connection, if any, leave the window with the rest when it ends.
        let generation = lane.generation.wrapping_add(1);
        *lane = Lane { epoch, epoch_known: true, generation, touched: lane.touched, ..Lane::default() };
        self.due.remove(conversation);
    }

    /// The server names the epoch of a conversation. Whether it is another one than that of a position, which is dropped then.
    pub(crate) fn epoch(&mut self, conversation: &Conversation, epoch: u64) -> Option<bool> {
        if !self.lanes.contains_key(conversation) && self.lanes.len() >= self.max_lanes {
            return None;
        }
        let lane = self.lanes.entry(conversation.clone()).or_default();
        if lane.epoch == epoch || lane.last.is_none() {
            (lane.epoch, lane.epoch_known) = (epoch, true);
            return Some(false);
        }
        self.reset(conversation, epoch);
        Some(true)
    }

    /// The epoch of the log that this side has a position in, or that the server named on this connection.
    pub(crate) fn epoch_of(&self, conversation: &Conversation) -> Option<u64> {
        let lane = self.lanes.get(conversation)?;
        (lane.epoch_known || lane.last.is_some()).then_some(lane.epoch)
    }

    /// The epoch that the server named on this connection.
    pub(crate) fn epoch_now(&self, conversation: &Conversation) -> Option<u64> {
        self.lanes.get(conversation).filter(|lane| lane.epoch_known).map(|lane| lane.epoch)
    }

    /// Whether the position is of an epoch that the server had to name on this connection, and did not.
    pub(crate) fn lacks_epoch(&self, conversation: &Conversation) -> bool {
        self.lanes.get(conversation).is_some_and(|lane| lane.epoch != 0 && !lane.epoch_known)
    }

    /// An item of the conversation's stream arrived, with so many bytes of content. `None`: an own one, which needs no ack by the
    /// application.
    pub(crate) fn item(&mut self, conversation: &Conversation, seq: u64, content: Option<usize>) -> Verdict {
        if !self.lanes.contains_key(conversation) && self.lanes.len() >= self.max_lanes {
            return Verdict::Full;
        }
        let lane = self.lanes.entry(conversation.clone()).or_default();
        self.items += 1;
        lane.touched = self.items;
        let fresh = core::mem::take(&mut lane.fresh);
        let verdict = match lane.last {
            None => Verdict::Take,
            Some(had) if seq <= had => Verdict::Duplicate,
            Some(had) if seq == had.saturating_add(1) => Verdict::Take,
            Some(had) if fresh => Verdict::TakeAfterGap { had },
            Some(had) => Verdict::Gap { had },
        };
        if matches!(verdict, Verdict::Take | Verdict::TakeAfterGap { .. }) {
            lane.last = Some(seq);
            if let Some(content) = content {
                let bytes = u32::try_from(content).unwrap_or(u32::MAX);
                lane.pending.insert(seq, bytes);
                self.pending += 1;
                self.pending_here += 1;
                self.pending_bytes += u64::from(bytes);
                self.pending_bytes_here += u64::from(bytes);
            }
        }
        // Also for a duplicate: the server delivers again because an ack was lost.
        if lane.acked() > lane.told || verdict == Verdict::Duplicate && lane.acked() >= seq {
            self.due.insert(conversation.clone());
        }
        verdict
    }

    /// The token of a delivery, and the epoch that its seq belongs to.
    pub(crate) fn token(&self, conversation: Conversation, seq: u64) -> (AckToken, u64) {
        let (generation, epoch) = self.lanes.get(&conversation).map_or((0, 0), |lane| (lane.generation, lane.epoch));
        (AckToken { conversation, seq, connection: self.connection, generation }, epoch)
    }

    /// The application is done with a delivery.
    pub(crate) fn ack(&mut self, token: AckToken) {
        let AckToken { conversation, seq, connection, generation } = token;
        let Some(lane) = self.lanes.get_mut(&conversation) else { return };
        if lane.generation == generation
            && let Some(bytes) = lane.pending.remove(&seq)
        {
            self.pending -= 1;
            self.pending_bytes -= u64::from(bytes);
            if connection == self.connection {
                self.pending_here = self.pending_here.saturating_sub(1);
                self.pending_bytes_here = self.pending_bytes_here.saturating_sub(u64::from(bytes));
            }
            if lane.acked() > lane.told {
                self.due.insert(conversation);
            }
        }
    }

    /// The next ack to send: conversation, seq, epoch.
    pub(crate) fn next_ack(&self) -> Option<(&Conversation, u64, u64)> {
        let conversation = self.due.first()?;
        self.lanes.get(conversation).map(|lane| (conversation, lane.acked(), lane.epoch))
    }

    /// The ack that [`next_ack`](Self::next_ack) named was sent.
    pub(crate) fn ack_sent(&mut self) {
        if let Some(conversation) = self.due.pop_first()
            && let Some(lane) = self.lanes.get_mut(&conversation)
        {
            lane.told = lane.acked();
        }
    }

    /// Deliveries that the application has not acked.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Deliveries of this connection that the application has not acked.
    pub(crate) fn pending_here(&self) -> usize {
        self.pending_here
    }

    /// Whether the server sent more than a credit of `max` bytes of content, now that `last` came. One content may always be out.
    pub(crate) fn over_credit(&self, max: u32, last: Option<usize>) -> bool {
        let here = self.pending_bytes_here;
        let others = last.is_some_and(|last| last > 0 && here > last as u64);
        max != 0 && here > u64::from(max) && others
    }

    /// Bytes of content that the application has not acked, over connections.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }
}

#[cfg(test)]
impl Inbox {
    /// For the model checker, which knows one conversation: the order of activity, which only grows, says nothing there.
    pub(crate) fn forget_activity(&mut self) {
        self.items = 0;
        self.lanes.values_mut().for_each(|lane| lane.touched = 0);
    }

    /// For the model checker: whether the position that a delivery belongs to still stands.
    pub(crate) fn is_current(&self, token: &AckToken) -> bool {
        self.lanes.get(&token.conversation).is_some_and(|lane| lane.generation == token.generation)
    }

    /// For the model checker: whether the next item is held to the one before.
    pub(crate) fn is_strict(&self, conversation: &Conversation) -> bool {
        self.lanes
            .get(conversation)
            .is_some_and(|lane| lane.last.is_some() && !lane.fresh && !self.lacks_epoch(conversation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Conversation {
        Conversation::private("bob")
    }

    fn ack(inbox: &mut Inbox, seq: u64) {
        let (token, _) = inbox.token(bob(), seq);
        inbox.ack(token);
    }

    fn told(inbox: &mut Inbox) -> Option<u64> {
        let up_to = inbox.next_ack().map(|(_, up_to, _)| up_to);
        if up_to.is_some() {
            inbox.ack_sent();
        }
        up_to
    }

    #[test]
    fn acks_are_cumulative_and_coalesce_whatever_the_order_of_the_application() {
        let mut inbox = Inbox::new(9);
        for seq in 4..=8 {
            assert_eq!(inbox.item(&bob(), seq, (seq != 7).then_some(5)), Verdict::Take);
        }
        assert_eq!(told(&mut inbox), Some(3), "the run before the first pending one");
        ack(&mut inbox, 5);
        assert_eq!(told(&mut inbox), None);
        ack(&mut inbox, 4);
        ack(&mut inbox, 6);
        assert_eq!(told(&mut inbox), Some(7), "an own message needs no ack by the application");
        ack(&mut inbox, 8);
        assert_eq!((told(&mut inbox), told(&mut inbox), inbox.pending()), (Some(8), None, 0));
    }

    #[test]
    fn duplicates_are_dropped_and_acked_again_only_if_the_application_acked() {
        let mut inbox = Inbox::new(9);
        inbox.item(&bob(), 1, Some(5));
        inbox.item(&bob(), 2, Some(5));
        ack(&mut inbox, 1);
        assert_eq!(told(&mut inbox), Some(1));
        inbox.connected();
        assert_eq!(inbox.item(&bob(), 1, Some(5)), Verdict::Duplicate);
        assert_eq!(told(&mut inbox), Some(1));
        assert_eq!(inbox.item(&bob(), 2, Some(5)), Verdict::Duplicate);
        assert_eq!(told(&mut inbox), None);
        assert_eq!(inbox.item(&bob(), 3, Some(5)), Verdict::Take);
        assert_eq!(inbox.pending(), 2);
    }

    #[test]
    fn a_gap_is_an_error_within_a_connection_and_reported_at_its_start() {
        let mut inbox = Inbox::new(1);
        inbox.item(&bob(), 1, Some(5));
        assert_eq!(inbox.item(&bob(), 3, Some(5)), Verdict::Gap { had: 1 });
        inbox.connected();
        assert_eq!(inbox.item(&bob(), 3, Some(5)), Verdict::TakeAfterGap { had: 1 });
        assert_eq!(inbox.item(&Conversation::private("carol"), 1, Some(5)), Verdict::Full);
    }
}
