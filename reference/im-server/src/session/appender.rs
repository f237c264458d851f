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
use crate::hub::{Mailbox, Place};
use crate::limits::Slot;
use crate::store::{Append, EntryKind, NewEntry};

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
    let mut under_way = FuturesOrdered::<UnderWay>::new();
    // One at a time: an entry joins the log's queue before the next one is looked at.
    let mut checking: Option<BoxFuture<'static, (Submitted, Result<(), Refusal>)>> = None;
    let mut open = true;
    while open || checking.is_some() || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some((fact, outcome)) = under_way.next(), if !under_way.is_empty() => {
                tell(services, own, &fact, &outcome);
                // The session may be gone; the entry is stored all the same.
                let _ = answers.send(outcome);
            }
            (submitted, allowed) = next(&mut checking) => {
                checking = None;
                under_way.push_back(begin(services.clone(), submitted, allowed));
            }
            submitted = entries.recv(), if open && checking.is_none() => match submitted {
                Some(submitted) => checking = Some(check(services.clone(), submitted)),
                None => open = false,
            },
        }
    }
}

async fn next<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn check(services: Arc<Services>, submitted: Submitted) -> BoxFuture<'static, (Submitted, Result<(), Refusal>)> {
    async move {
        let allowed = authorize(&services, &submitted).await;
        (submitted, allowed)
    }
    .boxed()
}

/// What others have to know of an entry.
struct Fact {
    from: Arc<str>,
    kind: EntryKind,
}

type UnderWay = BoxFuture<'static, (Fact, Outcome)>;

/// Begins an append: the store takes entries in the order of their first polls, so this one is polled here and now. What
/// waits is polled again, with a waker of its own, before the task sleeps.
fn begin(services: Arc<Services>, submitted: Submitted, allowed: Result<(), Refusal>) -> UnderWay {
    let Submitted { to, entry } = submitted;
    let (fact, packet_id) = (Fact { from: entry.from.clone(), kind: entry.kind }, PacketId(entry.packet_id));
    // Unconstrained: otherwise, when the task's budget is used up, a poll does nothing and the order is lost.
    let mut append = tokio::task::unconstrained(async move {
        match allowed {
            Ok(()) => Ok(services.store.append(entry).await),
            Err(refusal) => refused(&services, &entry, refusal).await,
        }
    })
    .boxed();
    let early = append.poll_unpin(&mut Context::from_waker(Waker::noop()));
    async move {
        let result = match early {
            Poll::Ready(result) => result,
            Poll::Pending => append.await,
        };
        (fact, Outcome { packet_id, to, result })
    }
    .boxed()
}

/// What was stored before is answered as it was then: a recall that is sent again finds its message recalled, and a member
/// that was removed since had its message stored.
async fn refused(services: &Services, entry: &NewEntry, refusal: Refusal) -> Result<Append, Refusal> {
    match services.store.stored_before(entry).await {
        Ok(Some(before)) => Ok(before),
        Ok(None) => Err(refusal),
        Err(error) => Ok(Append::Unknown(error)),
    }
}

fn tell(services: &Services, own: &Arc<Mailbox>, fact: &Fact, outcome: &Outcome) {
    match &outcome.result {
        Ok(Append::Stored(receipt) | Append::AlreadyStored(receipt)) => {
            let place = Place { user: &fact.from, conversation: &outcome.to };
            if let EntryKind::Recall { about } = fact.kind {
                services.hub.recalled(place, about);
            }
            services.hub.notify(place, receipt.seq, own);
        }
        Ok(Append::Conflict(_) | Append::Unknown(_)) | Err(_) => {}
        Ok(Append::NotStored(error)) => {
            if !error.is_final() {
                tracing::error!(%error, "an entry was not stored");
            }
        }
    }
}
