//! What the client tells, in a queue that never makes the driver wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use im_proto::{Closed, Conversation, Delivery, Negotiated, ReloadReason};
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
    /// The messages between were acked by an earlier or another run of this device; the next one is `next`.
    Gap {
        /// The conversation.
        conversation: Conversation,
        /// The last seq had.
        had: u64,
        /// The seq that comes next.
        next: u64,
    },
    /// What this client told of a conversation is worth nothing any more: drop it, or read it again from the server. Deliveries go
    /// on where the server's record of this device ends.
    Reload {
        /// The conversation.
        conversation: Conversation,
        /// Why.
        reason: ReloadReason,
        /// The epoch of the log now.
        epoch: u64,
    },
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

impl Event {
    /// Whether the event tells of the connection itself rather than of messages.
    fn is_status(&self) -> bool {
        match self {
            Self::Connecting { .. }
            | Self::Negotiated(_)
            | Self::LoggedIn { .. }
            | Self::Disconnected { .. }
            | Self::DialFailed { .. } => true,
            Self::Message(_) | Self::Gap { .. } | Self::Reload { .. } => false,
        }
    }
}

/// So many events about the connection are kept for a consumer that does not read; then the oldest goes.
const MAX_STATUS: usize = 64;

/// The receiving end of a client's events.
///
/// Reading slowly stalls deliveries only: once `receive_max` of them are not acked the server sends no more. Outcomes of
/// sends and the heartbeat do not wait for it. Of the events about the connection the latest 64 unread ones are kept.
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
/// one for each conversation; the rest by [`MAX_STATUS`].
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    statuses: usize,
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

    /// The latest unread event of a conversation.
    fn last_of(&mut self, wanted: &Conversation) -> Option<&mut Event> {
        self.events.iter_mut().rev().find(|event| match event {
            Event::Gap { conversation, .. } | Event::Reload { conversation, .. } => conversation == wanted,
            Event::Message(delivery) => delivery.conversation == *wanted,
            Event::Connecting { .. }
            | Event::Negotiated(_)
            | Event::LoggedIn { .. }
            | Event::Disconnected { .. }
            | Event::DialFailed { .. } => false,
        })
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if event.is_status() {
            self.statuses -= 1;
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
        queue.statuses = 0;
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

    #[test]
    fn nothing_is_kept_for_a_consumer_that_is_gone() {
        let (sender, events) = channel();
        sender.push(connecting(1));
        drop(events);
        sender.push(connecting(2));
        assert!(sender.shared.lock().events.is_empty());
    }
}
