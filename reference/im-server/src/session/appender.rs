//! One session's way into the log: what it submits is checked and stored in the order in which it was sent, many entries
//! under way at once so that they share a commit, and everybody hears of them even if the session ends first.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use im_proto::{Conversation, PacketId};
use tokio::sync::mpsc;

use super::authorize::authorize;
use super::{Refusal, Services};
use crate::hooks::REVIEWS;
use crate::hub::Mailbox;
use crate::limits::Slot;
use crate::store::{Append, NewEntry};

/// An entry on its way.
pub(super) struct Submitted {
    pub(super) to: Conversation,
    pub(super) entry: NewEntry,
}

/// What became of it.
pub(super) struct Outcome {
    pub(super) packet_id: PacketId,
    pub(super) to: Conversation,
    pub(super) result: Result<Append, Refusal>,
}

/// The session's end of the channels. The number of entries under way is bounded by the connection, which asks for an
/// answer to each and takes no more than `send_max` before.
pub(super) struct Appender {
    entries: mpsc::UnboundedSender<Submitted>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Appender {
    /// Starts a task that works until the session is gone and all is stored. It keeps `slot`, so that a shutdown waits
    /// for it.
    pub(super) fn start(services: Arc<Services>, own: Arc<Mailbox>, slot: Arc<Slot>) -> Self {
        let (entries, to_store) = mpsc::unbounded_channel();
        let (answers, outcomes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            work(&services, &own, to_store, &answers).await;
            drop(slot);
        });
        Self { entries, outcomes }
    }

    pub(super) fn submit(&self, entry: Submitted) {
        // The task lives as long as this sender.
        let _ = self.entries.send(entry);
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
    services: &Arc<Services>,
    own: &Arc<Mailbox>,
    mut entries: mpsc::UnboundedReceiver<Submitted>,
    answers: &mpsc::UnboundedSender<Outcome>,
) {
    let mut under_way = FuturesOrdered::<BoxFuture<'static, Outcome>>::new();
    // One at a time: an entry joins the log's queue before the next one is looked at. A hook of the application may take
    // long, so a few wait for it together.
    let mut checking = FuturesOrdered::<BoxFuture<'static, (Submitted, Result<(), Refusal>)>>::new();
    let most = if services.hooks.before.is_some() { REVIEWS } else { 1 };
    let mut open = true;
    while open || !checking.is_empty() || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some(outcome) = under_way.next(), if !under_way.is_empty() => {
                // The session may be gone; the entry is stored all the same.
                let _ = answers.send(outcome);
            }
            Some((submitted, allowed)) = checking.next(), if !checking.is_empty() => {
                under_way.push_back(begin(services.clone(), own.clone(), submitted, allowed));
            }
            submitted = entries.recv(), if open && checking.len() < most => match submitted {
                Some(submitted) => checking.push_back(check(services.clone(), submitted)),
                None => open = false,
            },
        }
    }
}

fn check(services: Arc<Services>, mut submitted: Submitted) -> BoxFuture<'static, (Submitted, Result<(), Refusal>)> {
    async move {
        let mut allowed = authorize(&services, &submitted).await;
        if allowed.is_ok() {
            allowed = services.review(&submitted.to, &mut submitted.entry).await;
        }
        (submitted, allowed)
    }
    .boxed()
}

/// Begins an append: the store takes entries in the order of their first polls, so this one is polled here and now. What
/// waits is polled again, with a waker of its own, before the task sleeps.
fn begin(
    services: Arc<Services>,
    own: Arc<Mailbox>,
    submitted: Submitted,
    allowed: Result<(), Refusal>,
) -> BoxFuture<'static, Outcome> {
    let Submitted { to, entry } = submitted;
    let packet_id = PacketId(entry.packet_id);
    // Unconstrained: otherwise, when the task's budget is used up, a poll does nothing and the order is lost.
    let mut append = tokio::task::unconstrained(async move {
        let result = match allowed {
            Ok(()) => Ok(services.commit(&to, entry, &own).await),
            Err(refusal) => match services.store.stored_before(&entry).await {
                // What was stored before is answered as it was then: a recall that is sent again finds its message
                // recalled, and a member that was removed since had its message stored.
                Ok(Some(_)) => Ok(services.commit(&to, entry, &own).await),
                Ok(None) => Err(refusal),
                Err(error) => Ok(Append::Unknown(error)),
            },
        };
        Outcome { packet_id, to, result }
    })
    .boxed();
    match append.poll_unpin(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => std::future::ready(outcome).boxed(),
        Poll::Pending => append,
    }
}
