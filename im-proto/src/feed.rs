//! A server's side of delivery: for each conversation of a device, how far it was sent and acked. The log is the truth;
//! a notice that there is more is only a hint, and what to send is always asked of the log.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use im_serial::Body;
use im_serial::body::{Conversation, ConversationKind, Deliver, Epoch, Name, Stored};

use crate::entry::{Entry, Parts};
use crate::error::AnswerError;
use crate::resume::Continued;

/// A place of the log, as a server hands it to the connection of a device.
///
/// The place of a message that was recalled, and of each edit of it, is [`Entry::Recalled`]: it has nowhere to put content.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedItem {
    /// Its place in the conversation.
    pub seq: u64,
    /// The server's id.
    pub message_id: u64,
    /// When it was stored, in Unix milliseconds.
    pub time_ms: u64,
    /// The sender.
    pub from: Name,
    /// This very device sent it: then only the fact is sent, not the entry.
    pub own: bool,
    /// What stands there.
    pub entry: Entry,
}

/// Whether the devices of a user have positions in conversations of this kind. A room keeps none.
pub(crate) const fn has_positions(conversation: &Conversation) -> bool {
    match conversation.known_kind() {
        Some(
            ConversationKind::Private
            | ConversationKind::Group
            | ConversationKind::Broadcast
            | ConversationKind::Notices,
        ) => true,
        Some(_) | None => false,
    }
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Hash))]
struct Lane {
    /// Whether `sent` and `acked` are known; before the first answer of the log they are not.
    known: bool,
    /// Of the log that the seqs belong to; both sides know it then.
    epoch: u64,
    acked: u64,
    sent: u64,
    /// The highest seq heard of.
    head: u64,
    /// Content bytes of the last of what is in flight; what an earlier connection sent is not in it.
    sizes: VecDeque<u32>,
    /// Stands in `dirty`.
    queued: bool,
}

impl Lane {
    fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.acked)
    }

    /// Nothing would be lost by asking the log again.
    fn idle(&self) -> bool {
        !self.queued && self.acked == self.sent && self.sent >= self.head
    }
}

/// What the connection asks of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(crate) enum Question {
    /// Which conversations have more than this device's position.
    Unread { limit: usize },
    /// Messages of a conversation after a seq, or after the device's position.
    Fetch { conversation: Conversation, after: Option<u64>, max_messages: usize, max_bytes: usize },
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
pub(crate) struct Feed {
    lanes: BTreeMap<Conversation, Lane>,
    max_lanes: usize,
    dirty: VecDeque<Conversation>,
    receive_max: u64,
    in_flight: u64,
    /// Content bytes that may be in flight; 0 for no such bound.
    receive_bytes: u32,
    in_flight_bytes: u64,
    /// Content bytes of an entry that was read and did not fit; 0 for none. Its conversation is the first of `dirty`.
    held: u32,
    fetching: Option<Conversation>,
    /// What was heard of it before the log was asked.
    asked_head: u64,
    /// There may be conversations that no lane stands for.
    more_unread: bool,
    asking_unread: bool,
    queue: VecDeque<Body>,
    /// Messages of the conversation that is being fetched which were recalled meanwhile; at most [`MAX_RECALLED`].
    recalled: Vec<u64>,
    /// There were more of them: the answer is of no use.
    stale: bool,
}

/// Most messages asked for at once; the window may be smaller.
const MAX_FETCH: u64 = 64;
/// A conversation whose entries are all acked keeps room for so many sizes.
pub(crate) const KEPT_SIZES: usize = 64;
/// Most recalls kept until the log answers.
const MAX_RECALLED: usize = 64;

impl Feed {
    pub(crate) fn new(receive_max: u32, receive_bytes: u32, max_lanes: u32) -> Self {
        Self {
            lanes: BTreeMap::new(),
            max_lanes: max_lanes as usize,
            dirty: VecDeque::new(),
            receive_max: u64::from(receive_max),
            in_flight: 0,
            receive_bytes,
            in_flight_bytes: 0,
            held: 0,
            fetching: None,
            asked_head: 0,
            more_unread: receive_max > 0,
            asking_unread: false,
            queue: VecDeque::new(),
            recalled: Vec::new(),
            stale: false,
        }
    }

    /// A conversation of the login continues where the device stands, whatever the store's record says.
    pub(crate) fn continue_at(&mut self, continued: &Continued) {
        let Continued { conversation, epoch, seq, acked, head, .. } = continued;
        if self.receive_max == 0 || self.lanes.contains_key(conversation) {
            return;
        }
        let lane = Lane { known: true, epoch: *epoch, acked: *acked, sent: *seq, head: *seq, ..Lane::default() };
        // What the device did not ack before counts again until it does.
        self.in_flight += lane.in_flight();
        self.lanes.insert(conversation.clone(), lane);
        self.notify(conversation, *head);
    }

    /// The epoch that an ack has to name, where it is known.
    pub(crate) fn epoch(&self, conversation: &Conversation) -> Option<u64> {
        self.lanes.get(conversation).filter(|lane| lane.known).map(|lane| lane.epoch)
    }

    /// The conversation has messages up to `head`.
    pub(crate) fn notify(&mut self, conversation: &Conversation, head: u64) {
        if self.receive_max == 0 || !has_positions(conversation) {
            return;
        }
        if !self.lanes.contains_key(conversation) {
            if self.lanes.len() >= self.max_lanes {
                self.forget_idle();
            }
            if self.lanes.len() >= self.max_lanes {
                // The log will tell again when there is room.
                self.more_unread = true;
                return;
            }
        }
        let lane = self.lanes.entry(conversation.clone()).or_default();
        lane.head = lane.head.max(head);
        let has_more = !lane.known || lane.head > lane.sent;
        if has_more && !lane.queued && self.fetching.as_ref() != Some(conversation) {
            lane.queued = true;
            self.dirty.push_back(conversation.clone());
        }
    }

    /// Any conversation may have more messages.
    pub(crate) fn notify_all(&mut self) {
        self.more_unread |= self.receive_max > 0;
    }

    /// The answer to [`Question::Unread`].
    pub(crate) fn unread(&mut self, heads: &[(Conversation, u64)], complete: bool) -> Result<(), AnswerError> {
        if !core::mem::take(&mut self.asking_unread) {
            return Err(AnswerError::NotAsked);
        }
        for (conversation, head) in heads {
            self.notify(conversation, *head);
        }
        // Without any news the same question would get the same answer for ever.
        self.more_unread |= !complete && !self.dirty.is_empty();
        Ok(())
    }

    /// The next question to the log, if one is due.
    pub(crate) fn question(&mut self) -> Option<Question> {
        if self.fetching.is_some() || self.asking_unread || !self.queue.is_empty() {
            return None;
        }
        let room = self.receive_max.saturating_sub(self.in_flight);
        if room > 0
            && let Some(max_bytes) = self.byte_room()
            && let Some(conversation) = self.dirty.pop_front()
        {
            let lane = self.lanes.get_mut(&conversation)?;
            lane.queued = false;
            let after = lane.known.then_some(lane.sent);
            self.asked_head = lane.head;
            self.held = 0;
            self.fetching = Some(conversation.clone());
            let max_messages = usize::try_from(room.min(MAX_FETCH)).unwrap_or(1);
            return Some(Question::Fetch { conversation, after, max_messages, max_bytes });
        }
        // Only when all is acked: the log knows no more than the acks that it was told of.
        if self.more_unread && self.dirty.is_empty() && self.in_flight == 0 {
            (self.more_unread, self.asking_unread) = (false, true);
            return Some(Question::Unread { limit: (self.max_lanes / 2).max(1) });
        }
        None
    }

    /// How many content bytes may be asked for: `None` until an ack makes room. An entry that is larger than all of the credit goes
    /// alone.
    fn byte_room(&self) -> Option<usize> {
        if self.receive_bytes == 0 {
            return Some(usize::MAX);
        }
        let room = u64::from(self.receive_bytes).saturating_sub(self.in_flight_bytes);
        let enough = self.in_flight_bytes == 0 || room >= u64::from(self.held.max(1));
        enough.then(|| usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// The answer to [`Question::Fetch`]: the messages after `after`, in order and without a gap.
    pub(crate) fn fetched(
        &mut self,
        conversation: &Conversation,
        epoch: u64,
        after: u64,
        items: Vec<FeedItem>,
    ) -> Result<(), AnswerError> {
        if self.fetching.as_ref() != Some(conversation) {
            return Err(AnswerError::NotAsked);
        }
        let lane = self.lanes.get_mut(conversation).ok_or(AnswerError::NotAsked)?;
        if lane.known && lane.epoch != epoch {
            return Err(AnswerError::OtherEpoch { expected: lane.epoch, got: epoch });
        }
        if lane.known && lane.sent != after {
            return Err(AnswerError::NotDense { expected: lane.sent, got: after });
        }
        for (expected, item) in (after.saturating_add(1)..).zip(&items) {
            if item.seq != expected {
                return Err(AnswerError::NotDense { expected, got: item.seq });
            }
        }
        self.fetching = None;
        let recalled = core::mem::take(&mut self.recalled);
        if core::mem::take(&mut self.stale) {
            lane.queued = true;
            self.dirty.push_back(conversation.clone());
            return Ok(());
        }
        if !lane.known {
            (lane.known, lane.epoch, lane.acked, lane.sent) = (true, epoch, after, after);
            // Before anything else of the conversation: a device that stands in another epoch must not take seqs of this one
            // for seqs of that one.
            if epoch != 0 {
                self.queue.push_back(Epoch { conversation: conversation.clone(), epoch }.into());
            }
        }
        // A hint that came after the question is about what the answer may not have seen.
        if items.is_empty() && lane.head <= self.asked_head {
            lane.head = lane.sent;
        }
        for item in items {
            let seq = item.seq;
            let mut body = packet(conversation, item);
            let size = content_len(&body);
            let bytes = self.in_flight_bytes.saturating_add(u64::from(size));
            if size != 0
                && self.receive_bytes != 0
                && self.in_flight_bytes != 0
                && bytes > u64::from(self.receive_bytes)
            {
                self.held = size;
                lane.head = lane.head.max(seq);
                break;
            }
            lane.sent = seq;
            lane.sizes.push_back(size);
            self.in_flight += 1;
            self.in_flight_bytes = bytes;
            recalled.iter().for_each(|seq| redact(&mut body, *seq));
            self.queue.push_back(body);
        }
        lane.head = lane.head.max(lane.sent);
        if lane.head > lane.sent && !lane.queued {
            lane.queued = true;
            if self.held == 0 {
                self.dirty.push_back(conversation.clone());
            } else {
                // The others would use up what the acks make free, for ever.
                self.dirty.push_front(conversation.clone());
            }
        }
        Ok(())
    }

    /// The message at `seq` was recalled: what waits for transmission, or is just read from the log, loses its content.
    pub(crate) fn recalled(&mut self, conversation: &Conversation, seq: u64) {
        for body in &mut self.queue {
            if matches!(body, Body::Deliver(deliver) if deliver.conversation == *conversation) {
                redact(body, seq);
            }
        }
        if self.fetching.as_ref() == Some(conversation) {
            if self.recalled.len() < MAX_RECALLED {
                self.recalled.push(seq);
            } else {
                self.stale = true;
            }
        }
    }

    /// This device's own message was stored at `seq`. Whether its answer takes the message's place in the stream.
    pub(crate) fn stored(&mut self, conversation: &Conversation, seq: u64) -> bool {
        if self.receive_max == 0 || !has_positions(conversation) {
            return false;
        }
        if let Some(lane) = self.lanes.get_mut(conversation)
            && lane.known
            && lane.sent.saturating_add(1) == seq
            && self.fetching.as_ref() != Some(conversation)
            // The answer goes out before what waits here, and would be a gap.
            && self.queue.is_empty()
            && self.in_flight < self.receive_max
        {
            lane.sent = seq;
            lane.head = lane.head.max(seq);
            lane.sizes.push_back(0);
            self.in_flight += 1;
            return true;
        }
        self.notify(conversation, seq);
        false
    }

    /// The device acked everything up to `up_to`. Whether that is news.
    pub(crate) fn acked(&mut self, conversation: &Conversation, up_to: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(conversation) else { return true };
        let before = lane.in_flight();
        let news = up_to > lane.acked;
        lane.acked = lane.acked.max(up_to.min(lane.sent));
        let left = lane.in_flight();
        self.in_flight -= before - left;
        while lane.sizes.len() as u64 > left {
            self.in_flight_bytes -= lane.sizes.pop_front().map_or(0, u64::from);
        }
        if lane.sizes.is_empty() && lane.sizes.capacity() > KEPT_SIZES {
            lane.sizes = VecDeque::new();
        }
        news
    }

    /// The next packet to transmit.
    pub(crate) fn next(&self) -> Option<&Body> {
        self.queue.front()
    }

    /// The packet that [`next`](Self::next) named was transmitted.
    pub(crate) fn transmitted(&mut self) {
        self.queue.pop_front();
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// What waits for transmission, in bytes. Counted when it is asked: the queue is empty unless the peer is slow.
    pub(crate) fn bytes(&self) -> usize {
        let own = |body: &Body| {
            let Body::Deliver(deliver) = body else { return 0 };
            deliver.conversation.id.allocated() + deliver.from.allocated() + deliver.content.capacity()
        };
        self.queue.iter().map(|body| size_of::<Body>() + own(body)).sum()
    }

    /// Forgets what the log knows as well, and gives back memory that is not in use.
    pub(crate) fn rest(&mut self) {
        self.forget_idle();
        if self.lanes.is_empty() {
            // A tree that became empty keeps a node with room for eleven.
            self.lanes = BTreeMap::new();
        }
        self.queue.shrink_to_fit();
        self.dirty.shrink_to_fit();
    }

    fn forget_idle(&mut self) {
        let fetching = self.fetching.as_ref();
        self.lanes.retain(|conversation, lane| !lane.idle() || fetching == Some(conversation));
    }
}

/// For the model checker: the same feed has the same hash.
#[cfg(test)]
impl core::hash::Hash for Feed {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        // Without `..`: a new field has to be thought of here.
        #[rustfmt::skip]
        let Self {
            lanes, max_lanes, dirty, receive_max, in_flight, fetching, asked_head, more_unread, asking_unread, queue, recalled, stale,
            receive_bytes, in_flight_bytes, held,
        } = self;
        (receive_bytes, in_flight_bytes, held).hash(state);
        (lanes, max_lanes, dirty, receive_max, in_flight, fetching, asked_head).hash(state);
        (more_unread, asking_unread, queue.len(), recalled, stale).hash(state);
        queue.iter().for_each(|body| crate::model::hash_body(body, state));
    }
}

#[cfg(test)]
impl Feed {
    /// For the model checker: packets that wait for transmission.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Takes the content out of the message at `seq`, and out of every edit of it.
fn redact(body: &mut Body, seq: u64) {
    if let Body::Deliver(deliver) = body
        && Entry::has_content_of(deliver.kind, deliver.seq, deliver.about, seq)
    {
        let Parts { kind, about, content_type, content } = Entry::Recalled.into_parts();
        (deliver.kind, deliver.about, deliver.content_type, deliver.content) = (kind, about, content_type, content);
    }
}

fn packet(conversation: &Conversation, item: FeedItem) -> Body {
    let conversation = conversation.clone();
    let FeedItem { seq, message_id, time_ms, from, own, entry } = item;
    if own {
        // Without a packet id, so that it is nobody's answer: only the identity with its content has one.
        Stored { conversation, message_id, seq, time_ms, duplicate: true, in_stream: true }.into()
    } else {
        let Parts { kind, about, content_type, content } = entry.into_parts();
        Deliver { conversation, from, message_id, seq, time_ms, content_type, content, kind, about }.into()
    }
}

/// What a packet costs the receiver's byte credit.
fn content_len(body: &Body) -> u32 {
    let Body::Deliver(deliver) = body else { return 0 };
    u32::try_from(deliver.content.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use super::*;

    fn bob() -> Conversation {
        Conversation::private("bob")
    }

    fn items(seqs: core::ops::RangeInclusive<u64>) -> Vec<FeedItem> {
        seqs.map(|seq| FeedItem {
            seq,
            message_id: seq,
            time_ms: 0,
            from: "bob".into(),
            own: false,
            entry: Entry::text(""),
        })
        .collect()
    }

    fn drain(feed: &mut Feed) -> usize {
        let mut n = 0;
        while feed.next().is_some() {
            feed.transmitted();
            n += 1;
        }
        n
    }

    fn fetch(after: Option<u64>, max_messages: usize) -> Option<Question> {
        Some(Question::Fetch { conversation: bob(), after, max_messages, max_bytes: usize::MAX })
    }

    #[test]
    fn the_window_limits_what_is_asked_and_acks_open_it() {
        let mut feed = Feed::new(3, 0, 8);
        assert_eq!(feed.question(), Some(Question::Unread { limit: 4 }));
        feed.unread(&[(bob(), 10)], true).unwrap();
        assert_eq!(feed.question(), fetch(None, 3));
        assert_eq!(feed.question(), None, "one question at a time");
        feed.fetched(&bob(), 0, 4, items(5..=7)).unwrap();
        assert_eq!(drain(&mut feed), 3);
        assert_eq!(feed.question(), None, "the window is full");
        assert!(feed.acked(&bob(), 6));
        assert!(!feed.acked(&bob(), 6));
        assert_eq!(feed.question(), fetch(Some(7), 2));
        feed.fetched(&bob(), 0, 7, items(8..=9)).unwrap();
        drain(&mut feed);
        feed.acked(&bob(), 99);
        assert_eq!(feed.in_flight(), 0, "an ack counts no further than what was sent");
    }

    #[test]
    fn an_answer_that_leaves_a_gap_or_was_not_asked_for_is_refused() {
        let mut feed = Feed::new(3, 0, 8);
        assert_eq!(feed.fetched(&bob(), 0, 0, Vec::new()), Err(AnswerError::NotAsked));
        assert_eq!(feed.unread(&[], true), Err(AnswerError::NotAsked));
        feed.question();
        feed.unread(&[(bob(), 10)], true).unwrap();
        feed.question();
        let gap = Err(AnswerError::NotDense { expected: 1, got: 2 });
        assert_eq!(feed.fetched(&bob(), 0, 0, items(2..=3)), gap);
    }

    #[test]
    fn an_own_message_takes_its_place_in_the_stream_only_when_it_is_next() {
        let mut feed = Feed::new(8, 0, 8);
        feed.question();
        feed.unread(&[], true).unwrap();
        assert!(!feed.stored(&bob(), 1), "the position is not known yet");
        assert_eq!(feed.question(), fetch(None, 8));
        assert!(!feed.stored(&bob(), 2), "the log is being asked");
        let mut own = items(1..=2);
        own[0].own = true;
        own[1].own = true;
        feed.fetched(&bob(), 0, 0, own).unwrap();
        assert!(matches!(feed.next(), Some(Body::Stored(stored)) if stored.in_stream));
        drain(&mut feed);
        assert!(feed.stored(&bob(), 3));
        assert!(!feed.stored(&bob(), 5), "somebody else's 4 comes first");
        assert_eq!(feed.question(), fetch(Some(3), 5));
    }

    #[test]
    fn a_hint_that_comes_while_the_log_is_being_asked_is_not_forgotten() {
        let mut feed = Feed::new(8, 0, 8);
        feed.question();
        feed.unread(&[(bob(), 1)], true).unwrap();
        assert_eq!(feed.question(), fetch(None, 8));
        feed.notify(&bob(), 2);
        feed.fetched(&bob(), 0, 1, Vec::new()).unwrap();
        assert_eq!(feed.question(), fetch(Some(1), 8), "the log was read before 2 was there");
        feed.fetched(&bob(), 0, 1, Vec::new()).unwrap();
        assert_eq!(feed.question(), None, "a hint at what is not there asks once");
    }

    #[test]
    fn an_own_message_does_not_overtake_deliveries_that_wait_for_transmission() {
        let mut feed = Feed::new(8, 0, 8);
        feed.question();
        feed.unread(&[(bob(), 2)], true).unwrap();
        assert_eq!(feed.question(), fetch(None, 8));
        feed.fetched(&bob(), 0, 0, items(1..=2)).unwrap();
        feed.transmitted();
        assert!(!feed.stored(&bob(), 3), "2 is still to be transmitted, and an answer goes first");
        drain(&mut feed);
        assert_eq!(feed.question(), fetch(Some(2), 6), "the log gives it in its place");
    }

    #[test]
    fn more_conversations_than_lanes_are_asked_for_again() {
        let mut feed = Feed::new(8, 0, 2);
        assert_eq!(feed.question(), Some(Question::Unread { limit: 1 }));
        feed.unread(&[(bob(), 1)], true).unwrap();
        feed.notify(&Conversation::private("carol"), 1);
        feed.notify(&Conversation::private("dave"), 1);
        for name in ["bob", "carol"] {
            let conversation = Conversation::private(name);
            assert!(matches!(feed.question(), Some(Question::Fetch { conversation: c, .. }) if c == conversation));
            feed.fetched(&conversation, 0, 0, items(1..=1)).unwrap();
            drain(&mut feed);
        }
        assert_eq!(feed.question(), None);
        feed.acked(&bob(), 1);
        feed.acked(&Conversation::private("carol"), 1);
        assert_eq!(feed.question(), Some(Question::Unread { limit: 1 }));
        feed.unread(&[(Conversation::private("dave"), 1)], true).unwrap();
        assert!(matches!(feed.question(), Some(Question::Fetch { .. })));
    }

    #[test]
    fn a_notice_about_everything_asks_the_log_again_when_all_is_acked() {
        let mut feed = Feed::new(8, 0, 8);
        feed.question();
        feed.unread(&[(bob(), 1)], true).unwrap();
        assert_eq!(feed.question(), fetch(None, 8));
        feed.notify_all();
        feed.fetched(&bob(), 0, 0, items(1..=1)).unwrap();
        drain(&mut feed);
        assert_eq!(feed.question(), None, "the log does not know yet that this was had");
        feed.acked(&bob(), 1);
        assert_eq!(feed.question(), Some(Question::Unread { limit: 4 }));
        feed.unread(&[], true).unwrap();
        assert_eq!(feed.question(), None);
    }

    #[test]
    fn a_client_that_wants_no_deliveries_gets_none() {
        let mut feed = Feed::new(0, 0, 8);
        feed.notify(&bob(), 1);
        feed.notify_all();
        assert!(!feed.stored(&bob(), 1));
        assert_eq!(feed.question(), None);
    }

    fn edit(seq: u64, about: u64) -> FeedItem {
        let change = crate::Change::Edit { content_type: 1, content: b"secret".to_vec() };
        FeedItem { entry: Entry::Command { about, change }, ..items(seq..=seq).remove(0) }
    }

    fn contents(feed: &mut Feed) -> Vec<(u64, u32, usize)> {
        let mut all = Vec::new();
        while let Some(Body::Deliver(deliver)) = feed.next() {
            all.push((deliver.seq, deliver.kind, deliver.content.len()));
            feed.transmitted();
        }
        all
    }

    /// A feed that asked for messages of bob, with three messages and an edit of the second one as the answer.
    fn asked() -> (Feed, Vec<FeedItem>) {
        let mut feed = Feed::new(100, 0, 8);
        feed.question();
        feed.unread(&[(bob(), 4)], true).unwrap();
        assert_eq!(feed.question(), fetch(None, 64));
        let mut answer = items(1..=3);
        answer.iter_mut().for_each(|item| item.entry = Entry::text("secret"));
        answer.push(edit(4, 2));
        (feed, answer)
    }

    #[test]
    fn what_was_fetched_and_not_transmitted_loses_its_content_when_it_is_recalled() {
        let (mut feed, answer) = asked();
        feed.fetched(&bob(), 0, 0, answer).unwrap();
        feed.recalled(&Conversation::private("carol"), 1);
        feed.recalled(&bob(), 2);
        assert_eq!(contents(&mut feed), [(1, 0, 6), (2, 5, 0), (3, 0, 6), (4, 5, 0)]);
    }

    #[test]
    fn what_waits_is_counted_until_it_is_transmitted() {
        let (mut feed, answer) = asked();
        assert_eq!(feed.bytes(), 0);
        feed.fetched(&bob(), 0, 0, answer).unwrap();
        let content = 4 * "secret".len();
        assert!(feed.bytes() >= 4 * size_of::<Body>() + content, "{}", feed.bytes());
        drain(&mut feed);
        assert_eq!(feed.bytes(), 0);
    }

    #[test]
    fn what_the_log_read_before_a_recall_and_answers_after_it_loses_its_content() {
        let (mut feed, answer) = asked();
        feed.recalled(&bob(), 2);
        feed.fetched(&bob(), 0, 0, answer).unwrap();
        assert_eq!(contents(&mut feed), [(1, 0, 6), (2, 5, 0), (3, 0, 6), (4, 5, 0)]);
    }

    #[test]
    fn a_sealed_message_loses_its_part_too() {
        let mut feed = Feed::new(100, 0, 8);
        feed.question();
        feed.unread(&[(bob(), 1)], true).unwrap();
        feed.question();
        let entry = Entry::Sealed { content_type: 1, part: b"secret".to_vec() };
        feed.fetched(&bob(), 0, 0, alloc::vec![FeedItem { entry, ..items(1..=1).remove(0) }]).unwrap();
        feed.recalled(&bob(), 1);
        assert_eq!(contents(&mut feed), [(1, 5, 0)]);
    }

    #[test]
    fn more_recalls_than_are_kept_ask_the_log_again() {
        let (mut feed, answer) = asked();
        for seq in 1..=MAX_RECALLED as u64 + 1 {
            feed.recalled(&bob(), seq);
        }
        feed.fetched(&bob(), 0, 0, answer).unwrap();
        assert_eq!(contents(&mut feed), []);
        assert_eq!(feed.question(), fetch(None, 64));
        let answer: Vec<_> = items(1..=2).into_iter().map(|item| FeedItem { entry: Entry::Recalled, ..item }).collect();
        feed.fetched(&bob(), 0, 0, answer).unwrap();
        assert_eq!(contents(&mut feed), [(1, 5, 0), (2, 5, 0)]);
    }

    #[test]
    fn a_room_has_no_feed() {
        let mut feed = Feed::new(8, 0, 8);
        feed.question();
        feed.unread(&[], true).unwrap();
        let room = Conversation::room("show");
        feed.notify(&room, 1);
        assert!(!feed.stored(&room, 1));
        assert_eq!(feed.question(), None);
        feed.notify(&Conversation::notices("friends"), 1);
        feed.notify(&Conversation::broadcast("news"), 1);
        feed.notify(&Conversation::group("team"), 1);
        assert!(feed.question().is_some());
    }

    fn sized(seqs: core::ops::RangeInclusive<u64>, bytes: usize) -> Vec<FeedItem> {
        let content = "x".repeat(bytes);
        let mut items = items(seqs);
        items.iter_mut().for_each(|item| item.entry = Entry::text(&content));
        items
    }

    fn with_bytes(max_messages: usize, after: Option<u64>, max_bytes: usize) -> Option<Question> {
        Some(Question::Fetch { conversation: bob(), after, max_messages, max_bytes })
    }

    #[test]
    fn byte_credit_bounds_what_is_in_flight_whatever_the_log_answers() {
        let mut feed = Feed::new(8, 100, 8);
        feed.notify(&bob(), 5);
        assert_eq!(feed.question(), with_bytes(8, None, 100));
        feed.fetched(&bob(), 0, 0, sized(1..=5, 40)).expect("what was asked");
        assert_eq!((drain(&mut feed), feed.in_flight(), feed.in_flight_bytes), (2, 2, 80));
        assert_eq!(feed.question(), None, "the third has no room until an ack");
        feed.acked(&bob(), 1);
        assert_eq!(feed.in_flight_bytes, 40);
        assert_eq!(feed.question(), with_bytes(7, Some(2), 60));
        feed.fetched(&bob(), 0, 2, sized(3..=5, 40)).expect("what was asked");
        assert_eq!((drain(&mut feed), feed.in_flight_bytes), (1, 80));
        feed.acked(&bob(), 3);
        assert_eq!((feed.in_flight(), feed.in_flight_bytes), (0, 0));
    }

    #[test]
    fn an_entry_larger_than_the_credit_goes_alone_and_is_not_starved_by_small_ones() {
        let carol = Conversation::private("carol");
        let mut feed = Feed::new(8, 100, 8);
        feed.notify(&bob(), 2);
        feed.question().expect("a question");
        feed.fetched(&bob(), 0, 0, sized(1..=1, 10).into_iter().chain(sized(2..=2, 500)).collect()).expect("asked");
        assert_eq!(drain(&mut feed), 1);
        feed.notify(&carol, 1);
        assert_eq!(feed.question(), None, "carol waits behind the large one");
        feed.acked(&bob(), 1);
        assert_eq!(feed.question(), with_bytes(8, Some(1), 100));
        feed.fetched(&bob(), 0, 1, sized(2..=2, 500)).expect("asked");
        assert_eq!((drain(&mut feed), feed.in_flight_bytes), (1, 500));
        assert_eq!(feed.question(), None);
        feed.acked(&bob(), 2);
        let Some(Question::Fetch { conversation, .. }) = feed.question() else { panic!("carol's turn") };
        assert_eq!(conversation, carol);
    }

    #[test]
    fn what_an_earlier_connection_sent_costs_a_place_and_no_bytes() {
        let mut feed = Feed::new(8, 100, 8);
        let continued = Continued {
            conversation: bob(),
            epoch: 1,
            seq: 1 << 60,
            acked: (1 << 60) - 2,
            head: (1 << 60) + 1,
            record_behind: false,
        };
        feed.continue_at(&continued);
        assert_eq!((feed.in_flight(), feed.in_flight_bytes), (2, 0));
        assert_eq!(feed.question(), with_bytes(6, Some(1 << 60), 100));
        feed.fetched(&bob(), 1, 1 << 60, sized((1 << 60) + 1..=(1 << 60) + 1, 40)).expect("asked");
        feed.acked(&bob(), (1 << 60) - 1);
        assert_eq!((feed.in_flight(), feed.in_flight_bytes), (2, 40));
        feed.acked(&bob(), (1 << 60) + 1);
        assert_eq!((feed.in_flight(), feed.in_flight_bytes), (0, 0));
    }
}
