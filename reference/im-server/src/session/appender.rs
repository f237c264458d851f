//! One session's way into the log: messages are stored in the order in which they were sent, many under way at once so
//! that they share a commit, and everybody hears of them even if the session ends first.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use im_proto::{Conversation, PacketId};
use tokio::sync::mpsc;

use crate::hub::{Hub, Mailbox};
use crate::limits::Slot;
use crate::store::{Append, NewMessage, Store};

/// A message on its way.
pub(super) struct Submitted {
    pub(super) to: Conversation,
    pub(super) message: NewMessage,
}

/// What became of it.
pub(super) struct Outcome {
    pub(super) packet_id: PacketId,
    pub(super) to: Conversation,
    pub(super) append: Append,
}

/// The session's end of the channels. The number of messages under way is bounded by the connection, which asks for an
/// answer to each and takes no more than `send_max` before.
pub(super) struct Appender {
    messages: mpsc::UnboundedSender<Submitted>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Appender {
    /// Starts a task that works until the session is gone and all is stored. It keeps `slot`, so that a shutdown waits
    /// for it.
    pub(super) fn start(store: Arc<dyn Store>, hub: Arc<Hub>, own: Arc<Mailbox>, slot: Arc<Slot>) -> Self {
        let (messages, to_store) = mpsc::unbounded_channel();
        let (answers, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            work(store, &hub, &own, to_store, &answers).await;
            drop(slot);
        });
        Self { messages, outcomes }
    }

    pub(super) fn submit(&self, message: Submitted) {
        // The task lives as long as this sender.
        let _ = self.messages.send(message);
    }

    /// Waits for the next outcome. Cancel-safe.
    pub(super) async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    pub(super) fn try_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }
}

async fn work(
    store: Arc<dyn Store>,
    hub: &Hub,
    own: &Arc<Mailbox>,
    mut messages: mpsc::UnboundedReceiver<Submitted>,
    answers: &mpsc::UnboundedSender<Outcome>,
) {
    let mut under_way = FuturesOrdered::<UnderWay>::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some((from, outcome)) = under_way.next(), if !under_way.is_empty() => {
                tell(hub, own, &from, &outcome);
                // The session may be gone; the message is stored all the same.
                let _ = answers.send(outcome);
            }
            message = messages.recv(), if open => match message {
                Some(message) => under_way.push_back(begin(store.clone(), message)),
                None => open = false,
            },
        }
    }
}

type UnderWay = BoxFuture<'static, (Arc<str>, Outcome)>;

/// Begins an append: the store takes messages in the order of their first polls, so this one is polled here and now. What
/// waits is polled again, with a waker of its own, before the task sleeps.
fn begin(store: Arc<dyn Store>, submitted: Submitted) -> UnderWay {
    let Submitted { to, message } = submitted;
    let (from, packet_id) = (message.from.clone(), PacketId(message.packet_id));
    // Unconstrained: otherwise, when the task's budget is used up, a poll does nothing and the order is lost.
    let mut append = tokio::task::unconstrained(async move { store.append(message).await }).boxed();
    let early = append.poll_unpin(&mut Context::from_waker(Waker::noop()));
    async move {
        let append = match early {
            Poll::Ready(append) => append,
            Poll::Pending => append.await,
        };
        (from, Outcome { packet_id, to, append })
    }
    .boxed()
}

fn tell(hub: &Hub, own: &Arc<Mailbox>, from: &str, outcome: &Outcome) {
    match &outcome.append {
        Append::Stored(receipt) | Append::AlreadyStored(receipt) => {
            hub.notify_private(from, &outcome.to.id, receipt.seq, own);
        }
        Append::Conflict(_) | Append::NotStored(_) | Append::Unknown(_) => {}
    }
}
