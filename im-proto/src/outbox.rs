//! A client's messages on their way: bounded in bytes, sent again until answered, over connections.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_serial::Body;
use im_serial::body::{Conversation, Send};

use crate::backoff::Backoff;
use crate::entry::Command;
use crate::time::Instant;

/// The longest wait that a server may ask of a message: longer ones would only keep it from its outcome.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The sender's id of a message, stable over retries, unique per user and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A message to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub to: Conversation,
    /// See [`crate::content_type`].
    pub content_type: u32,
    /// The content.
    pub content: Vec<u8>,
}

impl Message {
    /// A text to a user.
    pub fn text(user: &str, text: &str) -> Self {
        Self {
            to: Conversation::private(user),
            content_type: crate::content_type::TEXT,
            content: text.as_bytes().to_vec(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("to", &self.to)
            .field("content_type", &self.content_type)
            .field("content", &format_args!("<{} bytes>", self.content.len()))
            .finish()
    }
}

/// What waits for an answer, and is sent again until it comes.
pub(crate) trait Outgoing {
    /// What it allocates, in bytes.
    fn allocated(&self) -> usize;
    fn into_body(self) -> Body;
}

impl Outgoing for Message {
    fn allocated(&self) -> usize {
        self.content.capacity() + self.to.id.allocated()
    }

    fn into_body(self) -> Body {
        let Self { to, content_type, content } = self;
        Body::Send(Send { to, content_type, content })
    }
}

impl Outgoing for Command {
    fn allocated(&self) -> usize {
        self.change.allocated() + self.to.id.allocated()
    }

    fn into_body(self) -> Body {
        self.into_body()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
enum Phase {
    /// To be sent, not before the given moment.
    Waiting(Option<Instant>),
    /// Sent on this connection; due for another try at the given moment.
    InFlight(Instant),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
struct Entry {
    id: PacketId,
    body: Body,
    cost: usize,
    tries: u32,
    phase: Phase,
    /// A try had no answer: whatever is said of a later one, the message may be stored.
    doubtful: bool,
}

impl Entry {
    const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::InFlight(at) => Some(at),
            Phase::Waiting(at) => at,
        }
    }
}

/// What each entry costs beyond its content and target.
const ENTRY_OVERHEAD: usize = size_of::<Entry>() + 32;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Hash))]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
    max_tries: u32,
    backoff: Backoff,
    next_id: u64,
    in_flight: usize,
    /// The entries before this one are in flight.
    ready_from: usize,
    /// Nothing becomes due before; it may be early, and [`expire`](Self::expire) sets it right.
    due: Option<Instant>,
}

impl Outbox {
    pub(crate) fn new(max_bytes: usize, max_tries: u32, backoff: Backoff, rng: &mut fastrand::Rng) -> Self {
        // A random start keeps the ids of two runs of one device apart; the top bit stays clear for signed 64-bit peers.
        let next_id = rng.u64(1..1 << 62);
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            max_bytes,
            max_tries,
            backoff,
            next_id,
            in_flight: 0,
            ready_from: 0,
            due: None,
        }
    }

    /// Queues a message or a command, or gives it back when there is no room. One always fits into an empty outbox.
    pub(crate) fn push<T: Outgoing>(&mut self, message: T) -> Result<PacketId, T> {
        let cost = ENTRY_OVERHEAD.saturating_add(message.allocated());
        if !self.entries.is_empty() && self.bytes.saturating_add(cost) > self.max_bytes {
            return Err(message);
        }
        let id = self.take_id();
        let body = message.into_body();
        self.entries.push_back(Entry { id, body, cost, tries: 0, phase: Phase::Waiting(None), doubtful: false });
        self.bytes += cost;
        Ok(id)
    }

    /// An id that no message has.
    pub(crate) fn take_id(&mut self) -> PacketId {
        let id = PacketId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1) & (u64::MAX >> 1);
        id
    }

    /// The next message to transmit, if fewer than `window` are in flight.
    pub(crate) fn next(&self, now: Instant, window: u32) -> Option<(PacketId, &Body)> {
        if self.in_flight >= window as usize {
            return None;
        }
        let ready = |entry: &&Entry| match entry.phase {
            Phase::Waiting(not_before) => not_before.is_none_or(|at| at <= now),
            Phase::InFlight(_) => false,
        };
        self.entries.iter().skip(self.ready_from).find(ready).map(|entry| (entry.id, &entry.body))
    }

    /// The message was transmitted. Whether it was before.
    pub(crate) fn transmitted(&mut self, id: PacketId, now: Instant, rng: &mut fastrand::Rng) -> bool {
        let Some(at) = self.position(id) else { return false };
        let backoff = self.backoff;
        let Some(entry) = self.entries.get_mut(at) else { return false };
        entry.tries = entry.tries.saturating_add(1);
        let (again, due) = (entry.tries > 1, now + backoff.delay(entry.tries, rng));
        self.set_phase(at, Phase::InFlight(due));
        let in_flight = |entry: &&Entry| matches!(entry.phase, Phase::InFlight(_));
        self.ready_from += self.entries.iter().skip(self.ready_from).take_while(in_flight).count();
        again
    }

    /// Where an entry stands. Ids grow along the queue.
    fn position(&self, id: PacketId) -> Option<usize> {
        let first = self.entries.front()?.id.0;
        let distance = |id: PacketId| id.0.wrapping_sub(first) & (u64::MAX >> 1);
        // Without a gap before it, an entry stands where its id says.
        let dense = usize::try_from(distance(id)).ok()?;
        if self.entries.get(dense).is_some_and(|entry| entry.id == id) {
            return Some(dense);
        }
        self.entries.binary_search_by_key(&distance(id), |entry| distance(entry.id)).ok()
    }

    fn set_phase(&mut self, at: usize, phase: Phase) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        let was_in_flight = matches!(core::mem::replace(&mut entry.phase, phase), Phase::InFlight(_));
        self.in_flight -= usize::from(was_in_flight);
        let due = match phase {
            Phase::InFlight(due) => {
                self.in_flight += 1;
                Some(due)
            }
            Phase::Waiting(not_before) => {
                self.ready_from = self.ready_from.min(at);
                not_before
            }
        };
        self.due = match (self.due, due) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.tidy_due();
    }

    /// A moment that is early costs a wake-up. In a short queue it costs less to look.
    fn tidy_due(&mut self) {
        const SHORT: usize = 8;
        if self.entries.len() <= SHORT {
            self.due = self.entries.iter().filter_map(Entry::due).min();
        }
    }

    /// The message was answered, or is given up. Whether it was there.
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        let Some(at) = self.position(id) else { return false };
        let Some(entry) = self.entries.remove(at) else { return false };
        self.bytes -= entry.cost;
        self.in_flight -= usize::from(matches!(entry.phase, Phase::InFlight(_)));
        self.ready_from -= usize::from(at < self.ready_from);
        self.tidy_due();
        true
    }

    /// Whether a try of this message had no answer.
    pub(crate) fn is_doubtful(&self, id: PacketId) -> bool {
        self.position(id).and_then(|at| self.entries.get(at)).is_some_and(|entry| entry.doubtful)
    }

    /// The server asked to try again later, not before `wait`. Whether there is another try; otherwise the message is out.
    pub(crate) fn postpone(&mut self, id: PacketId, now: Instant, wait: Duration, rng: &mut fastrand::Rng) -> bool {
        let (backoff, max_tries) = (self.backoff, self.max_tries);
        let Some(at) = self.position(id) else { return true };
        let tries = self.entries.get(at).map_or(0, |entry| entry.tries);
        if tries >= max_tries {
            return !self.remove(id);
        }
        let wait = wait.min(MAX_WAIT);
        self.set_phase(at, Phase::Waiting(Some(now + backoff.delay(tries, rng).max(wait))));
        true
    }

    /// Messages whose answer is overdue wait for another try; one without another try left is taken out and returned.
    /// Call until there is none.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<PacketId> {
        for at in 0..self.entries.len() {
            if let Some(Entry { id, tries, phase: Phase::InFlight(due), doubtful, .. }) = self.entries.get_mut(at)
                && *due <= now
            {
                *doubtful = true;
                if *tries >= self.max_tries {
                    let id = *id;
                    self.remove(id);
                    return Some(id);
                }
                self.set_phase(at, Phase::Waiting(None));
            }
        }
        // What may be sent already waits for room, not for time.
        self.due = self.entries.iter().filter_map(|entry| entry.due().filter(|at| *at > now)).min();
        None
    }

    /// The connection is gone: whatever was in flight is to be sent again, in order. A message whose tries are used up
    /// gets one more, because a lost connection is no answer to it.
    pub(crate) fn disconnected(&mut self) {
        for entry in &mut self.entries {
            entry.doubtful |= matches!(entry.phase, Phase::InFlight(_));
            entry.phase = Phase::Waiting(None);
        }
        (self.in_flight, self.ready_from, self.due) = (0, 0, None);
    }

    /// A moment before which nothing becomes due; at that moment [`expire`](Self::expire) has to be called.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Gives back the memory of a queue that was longer once.
    pub(crate) fn rest(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// For the model checker: the same entry has the same hash. The doubt is left out, because nothing that the outbox does
/// depends on it.
#[cfg(test)]
impl core::hash::Hash for Entry {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        let Self { id, body, cost, tries, phase, doubtful: _ } = self;
        (id, cost, tries, phase).hash(state);
        crate::model::hash_body(body, state);
    }
}

#[cfg(test)]
impl Outbox {
    /// For the model checker, whose clock stands still: `by` went by, and `now` is still the time.
    pub(crate) fn rebase(&mut self, now: Instant, by: Duration) {
        let earlier =
            |at: Instant| Instant::from_micros(at.saturating_since(Instant::default() + by).as_micros() as u64);
        for entry in &mut self.entries {
            entry.phase = match entry.phase {
                Phase::InFlight(at) => Phase::InFlight(earlier(at)),
                Phase::Waiting(at) => Phase::Waiting(at.map(earlier).filter(|at| *at > now)),
            };
        }
        self.due = self.entries.iter().filter_map(Entry::due).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn outbox(max_bytes: usize, max_tries: u32) -> (Outbox, fastrand::Rng) {
        let mut rng = fastrand::Rng::with_seed(7);
        let backoff = Backoff { first: Duration::from_secs(4), max: Duration::from_secs(4) };
        (Outbox::new(max_bytes, max_tries, backoff, &mut rng), rng)
    }

    #[test]
    fn a_full_outbox_gives_the_message_back_and_takes_it_after_an_answer() {
        let (mut outbox, _) = outbox(2 * (ENTRY_OVERHEAD + 110), 9);
        let message = Message::text("bob", &"x".repeat(100));
        let first = outbox.push(message.clone()).unwrap();
        outbox.push(message.clone()).unwrap();
        assert_eq!(outbox.push(message.clone()), Err(message.clone()));
        assert!(outbox.remove(first) && !outbox.remove(first));
        assert!(outbox.push(message).is_ok());
        assert_eq!(outbox.len(), 2);
    }

    #[test]
    fn order_window_retry_and_the_last_try() {
        let (mut outbox, mut rng) = outbox(10_000, 2);
        let ids: Vec<_> = (0..3).map(|i| outbox.push(Message::text("bob", &format!("{i}"))).unwrap()).collect();
        for want in [ids[0], ids[1]] {
            let (id, _) = outbox.next(at(0), 2).unwrap();
            assert_eq!(id, want);
            assert!(!outbox.transmitted(id, at(0), &mut rng));
        }
        assert!(outbox.next(at(0), 2).is_none(), "the window is full");
        outbox.remove(ids[1]);
        assert_eq!(outbox.next(at(0), 2).unwrap().0, ids[2]);
        assert!(outbox.due().unwrap() >= at(3));
        assert_eq!(outbox.expire(at(5)), None);
        assert_eq!(outbox.next(at(5), 2).unwrap().0, ids[0], "overdue, so first again");
        assert!(outbox.transmitted(ids[0], at(5), &mut rng), "a retry");
        assert_eq!(outbox.expire(at(10)), Some(ids[0]), "two tries were allowed");
        assert_eq!(outbox.expire(at(10)), None);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_postponed_message_waits_and_a_lost_connection_sends_all_again_in_order() {
        let (mut outbox, mut rng) = outbox(10_000, 2);
        let ids: Vec<_> = (0..2).map(|i| outbox.push(Message::text("bob", &format!("{i}"))).unwrap()).collect();
        for id in &ids {
            outbox.transmitted(*id, at(0), &mut rng);
        }
        assert!(outbox.postpone(ids[0], at(1), Duration::ZERO, &mut rng));
        assert!(outbox.next(at(1), 9).is_none());
        assert_eq!(outbox.next(at(7), 9).unwrap().0, ids[0]);
        outbox.disconnected();
        assert_eq!(outbox.next(at(1), 9).unwrap().0, ids[0]);
        outbox.transmitted(ids[0], at(1), &mut rng);
        assert!(!outbox.postpone(ids[0], at(1), Duration::ZERO, &mut rng), "no try left");
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_server_cannot_put_a_message_off_for_longer_than_an_hour() {
        let (mut outbox, mut rng) = outbox(10_000, 2);
        let id = outbox.push(Message::text("bob", "1")).unwrap();
        outbox.transmitted(id, at(0), &mut rng);
        assert!(outbox.postpone(id, at(1), Duration::from_millis(u64::MAX), &mut rng));
        let hour = MAX_WAIT.as_secs();
        assert!(outbox.next(at(hour), 9).is_none());
        assert_eq!(outbox.next(at(1 + hour), 9).unwrap().0, id);
    }
}
