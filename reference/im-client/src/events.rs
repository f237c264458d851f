//! What the client tells, in a queue that never makes the driver wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use im_proto::call::{CallId, CallRefusal, CallState};
use im_proto::{
    Closed, Conversation, Delivery, Name, Negotiated, PacketId, PeerSignal, RefusalCode, ReloadReason, RoomExit,
};
use tokio::sync::Notify;

use crate::url::ServerUrl;

/// What happened to a client, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server is being called.
    Connecting {
        /// Counts from 1 since the last login.
        attempt: u32,
        /// Where to.
        url: ServerUrl,
    },
    /// The channel is sealed, and the server proved to hold the pinned key.
    Negotiated(Negotiated),
    /// The server accepted the login: messages flow.
    LoggedIn {
        /// The user's id as the server knows it.
        user: String,
        /// The server's clock, in Unix milliseconds.
        server_time_ms: u64,
    },
    /// A message for this device. Give its token to [`Client::ack`](crate::Client::ack) when it is safe.
    Message(Delivery),
    /// The messages between were acked by an earlier or another run of this device, or the server keeps them no longer; the next one
    /// is `next`.
    Gap {
        /// The conversation.
        conversation: Conversation,
        /// The last seq had.
        had: u64,
        /// The seq that comes next.
        next: u64,
    },
    /// A conversation does not go on where this client stood. Deliveries go on where the server's record of this device ends, or
    /// where the log begins now. Unless the reason is [`TooOld`](ReloadReason::TooOld), which leaves a hole and nothing else, what this
    /// client told of the conversation is worth nothing any more: drop it, or read it again from the server.
    Reload {
        /// The conversation.
        conversation: Conversation,
        /// Why.
        reason: ReloadReason,
        /// The epoch of the log now.
        epoch: u64,
    },
    /// A user read a conversation up to and including `up_to`; for the own user, on whichever device.
    ReadBy {
        /// The conversation.
        conversation: Conversation,
        /// Who.
        user: String,
        /// The epoch of the log that the seq belongs to.
        epoch: u64,
        /// The highest seq read.
        up_to: u64,
    },
    /// A device of a user has a conversation up to and including `up_to`.
    DeliveredTo {
        /// The conversation.
        conversation: Conversation,
        /// Whose device.
        user: String,
        /// The epoch of the log that the seq belongs to.
        epoch: u64,
        /// The highest seq had.
        up_to: u64,
    },
    /// What others say that is not stored: typing, presence, calls.
    Signal(PeerSignal),
    /// A signal of this client was refused.
    SignalRefused {
        /// The signal.
        packet_id: PacketId,
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
        /// From when on the same would be taken; `None`: never.
        retry_after: Option<Duration>,
    },
    /// A call signal of this client was answered.
    CallAnswered {
        /// The signal.
        packet_id: PacketId,
        /// The call.
        call: CallId,
        /// Where the call stands, or why the signal was refused.
        result: Result<CallState, CallRefusal>,
    },
    /// The server let this client into a room, until the connection ends.
    RoomJoined {
        /// The room.
        room: Conversation,
    },
    /// The server did not let this client into a room.
    RoomRefused {
        /// The room.
        room: Conversation,
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
        /// From when on another answer is possible; `None`: never.
        retry_after: Option<Duration>,
    },
    /// This client is in a room no more.
    RoomLeft {
        /// The room.
        room: Conversation,
        /// Why.
        exit: RoomExit,
        /// For people.
        reason: String,
    },
    /// Something was said in a room.
    RoomMessage(RoomMessage),
    /// The connection ended.
    Disconnected {
        /// Why.
        closed: Closed,
        /// When the client calls again; `None`: it does not, and this is its last event.
        retry_in: Option<Duration>,
    },
    /// The server could not be reached.
    DialFailed {
        /// What went wrong, for people.
        error: String,
        /// When the client calls again; `None`: it does not, and this is its last event.
        retry_in: Option<Duration>,
    },
}

/// A message of a room; live only, nothing of it is sent again.
///
/// ```no_run
/// # async fn example(client: &im_client::Client, events: &mut im_client::Events) -> Result<(), Box<dyn std::error::Error>> {
/// use im_client::{Conversation, Event, Message};
///
/// let room = Conversation::room("show");
/// client.join_room(&room).await?;
/// while let Some(event) = events.next().await {
///     match event {
///         Event::RoomJoined { room } => {
///             client.send(Message { to: room, ..Message::text("", "hello everybody") }).await?;
///         }
///         Event::RoomMessage(message) => println!("{}: {} bytes", message.from, message.content.len()),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RoomMessage {
    /// The room.
    pub room: Conversation,
    /// Who sent it.
    pub from: Name,
    /// The server's id.
    pub message_id: u64,
    /// When the server took it, in Unix milliseconds.
    pub time_ms: u64,
    /// See [`im_proto::content_type`].
    pub content_type: u32,
    /// The content.
    pub content: Vec<u8>,
    /// How many messages of this room were dropped since the last one, because this client was too slow.
    pub dropped: u64,
}

/// Never shows content.
impl std::fmt::Debug for RoomMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomMessage")
            .field("room", &self.room)
            .field("from", &self.from)
            .field("len", &self.content.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

/// What an event is for its consumer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It tells of the connection itself.
    Status,
    /// It waits for the consumer however long that takes, and the server with it.
    Kept,
    /// It is worth something now, or is told again after the next login.
    Live,
}

impl Event {
    fn class(&self) -> Class {
        match self {
            Self::Connecting { .. }
            | Self::Negotiated(_)
            | Self::LoggedIn { .. }
            | Self::Disconnected { .. }
            | Self::DialFailed { .. } => Class::Status,
            Self::Message(_) | Self::Gap { .. } | Self::Reload { .. } => Class::Kept,
            Self::ReadBy { .. }
            | Self::DeliveredTo { .. }
            | Self::Signal(_)
            | Self::SignalRefused { .. }
            | Self::CallAnswered { .. }
            | Self::RoomJoined { .. }
            | Self::RoomRefused { .. }
            | Self::RoomLeft { .. }
            | Self::RoomMessage(_) => Class::Live,
        }
    }

    /// What a live event counts for, in bytes.
    fn cost(&self) -> usize {
        let content = if let Self::RoomMessage(message) = self {
            message.content.len()
        } else if let Self::Signal(PeerSignal::Call { notice, .. }) = self {
            if notice.has_payload() { MAX_PAYLOAD } else { 0 }
        } else {
            0
        };
        OVERHEAD + content
    }

    fn is_status(&self) -> bool {
        self.class() == Class::Status
    }
}

/// So many events about the connection are kept for a consumer that does not read; then the oldest goes.
const MAX_STATUS: usize = 64;
/// So many bytes of live events are kept; then the oldest goes.
const MAX_LIVE: usize = 1024 * 1024;
/// What a live event counts beyond its content, and an offer or answer of a call in it.
const OVERHEAD: usize = 512;
const MAX_PAYLOAD: usize = 32 * 1024;

/// The receiving end of a client's events.
///
/// Reading slowly stalls deliveries only: once `receive_max` of them are not acked the server sends no more. Outcomes of
/// sends and the heartbeat do not wait for it. Of the events about the connection the latest 64 unread ones are kept, of
/// receipts, signals and rooms the latest in about 1 MiB; the next message of a room says how many of it went.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct EventSender {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Notify,
}

/// Bounded without ever refusing: deliveries by `receive_max`, since each waits for its ack; gaps by the deliveries plus
/// one for each conversation; the rest by [`MAX_STATUS`] and [`MAX_LIVE`].
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    statuses: usize,
    live_bytes: usize,
    sender_gone: bool,
    receiver_gone: bool,
}

impl Queue {
    fn push(&mut self, event: Event) {
        if self.receiver_gone {
            return;
        }
        if event.is_status() {
            if self.statuses >= MAX_STATUS
                && let Some(oldest) = self.events.iter().position(Event::is_status)
            {
                self.events.remove(oldest);
                self.statuses -= 1;
            }
            self.statuses += 1;
        }
        if event.class() == Class::Live {
            self.push_live(event);
            return;
        }
        if let Event::Gap { conversation, next, .. } = &event
            && let Some(Event::Gap { next: end, .. }) = self.last_of(conversation)
        {
            *end = *next;
            return;
        }
        if let Event::Reload { conversation, reason, epoch } = &event
            && let Some(Event::Reload { reason: last_reason, epoch: last_epoch, .. }) = self.last_of(conversation)
        {
            (*last_reason, *last_epoch) = (*reason, *epoch);
            return;
        }
        self.events.push_back(event);
    }

    /// Live events are bounded in bytes, and the oldest goes.
    fn push_live(&mut self, event: Event) {
        self.live_bytes += event.cost();
        self.events.push_back(event);
        while self.live_bytes > MAX_LIVE {
            let oldest = self.events.iter().position(|event| event.class() == Class::Live);
            let Some(oldest) = oldest.and_then(|at| self.events.remove(at)) else { break };
            self.live_bytes -= oldest.cost();
            let Event::RoomMessage(lost) = oldest else { continue };
            let mut messages = self
                .events
                .iter_mut()
                .filter_map(|event| if let Event::RoomMessage(message) = event { Some(message) } else { None });
            let next = messages.find(|message| message.room == lost.room);
            if let Some(next) = next {
                next.dropped = next.dropped.saturating_add(lost.dropped).saturating_add(1);
            }
        }
    }

    /// The latest unread event of a conversation.
    fn last_of(&mut self, wanted: &Conversation) -> Option<&mut Event> {
        self.events.iter_mut().rev().find(|event| {
            if let Event::Gap { conversation, .. } | Event::Reload { conversation, .. } = event {
                conversation == wanted
            } else if let Event::Message(delivery) = event {
                delivery.conversation == *wanted
            } else {
                false
            }
        })
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match event.class() {
            Class::Status => self.statuses -= 1,
            Class::Live => self.live_bytes -= event.cost(),
            Class::Kept => {}
        }
        Some(event)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn channel() -> (EventSender, Events) {
    let shared = Arc::new(Shared::default());
    (EventSender { shared: Arc::clone(&shared) }, Events { shared })
}

impl EventSender {
    pub(crate) fn push(&self, event: Event) {
        self.shared.lock().push(event);
        self.shared.news.notify_one();
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.shared.lock().sender_gone = true;
        self.shared.news.notify_one();
    }
}

impl Events {
    /// Waits for the next event; `None` when the client ended and everything was read. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut queue = self.shared.lock();
                if let Some(event) = queue.pop() {
                    return Some(event);
                }
                if queue.sender_gone {
                    return None;
                }
            }
            self.shared.news.notified().await;
        }
    }
}

impl Drop for Events {
    /// The client goes on without telling: deliveries stay unacked, so the server keeps them for the next run.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.receiver_gone = true;
        queue.events.clear();
        (queue.statuses, queue.live_bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connecting(attempt: u32) -> Event {
        Event::Connecting { attempt, url: "tcp://h:1".parse().unwrap() }
    }

    fn gap(had: u64, next: u64) -> Event {
        Event::Gap { conversation: Conversation::private("bob"), had, next }
    }

    #[tokio::test]
    async fn unread_statuses_and_gaps_stay_bounded_and_the_latest_win() {
        let (sender, mut events) = channel();
        for i in 0..1000 {
            sender.push(connecting(i));
            sender.push(gap(u64::from(i), u64::from(i) + 2));
        }
        assert_eq!(sender.shared.lock().events.len(), MAX_STATUS + 1);
        drop(sender);
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Connecting { attempt, .. } = event {
                seen.push(attempt);
            } else if let Event::Gap { had, next, .. } = event {
                assert_eq!((had, next), (0, 1001));
            }
        }
        assert_eq!(seen, (1000 - MAX_STATUS as u32..1000).collect::<Vec<_>>());
    }

    /// A consumer that does not read costs a bounded amount, and learns what it missed.
    #[tokio::test]
    async fn unread_room_messages_stay_bounded_and_the_next_one_says_how_many_went() {
        const SAID: u64 = 500;
        let (sender, mut events) = channel();
        for n in 0..SAID {
            sender.push(Event::RoomMessage(RoomMessage {
                room: Conversation::room("show"),
                from: "alice".into(),
                message_id: n,
                time_ms: 0,
                content_type: 1,
                content: vec![0; 10_000],
                dropped: u64::from(n == 3),
            }));
        }
        assert!(sender.shared.lock().live_bytes <= MAX_LIVE);
        drop(sender);
        let (mut got, mut lost) = (0, 0);
        while let Some(event) = events.next().await {
            let Event::RoomMessage(message) = event else { panic!("{event:?}") };
            (got, lost) = (got + 1, lost + message.dropped);
            assert_eq!(message.message_id + 1, got + lost - 1);
        }
        assert_eq!((got + lost, got), (SAID + 1, 99));
        assert_eq!(events.shared.lock().live_bytes, 0);
    }

    #[test]
    fn nothing_is_kept_for_a_consumer_that_is_gone() {
        let (sender, events) = channel();
        sender.push(connecting(1));
        drop(events);
        sender.push(connecting(2));
        assert!(sender.shared.lock().events.is_empty());
    }
}
