//! From the outbox to the receiver: what is tried when, and what becomes of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Answer, Signed};
use super::lanes::Lanes;
use super::{Webhooks, payload, sign};
use crate::clock;
use crate::metrics::Metrics;
use crate::session::Services;
use crate::store::{Outbox, OutboxEvent, OutboxStatus, Store, StoreError};

/// Requests at a time.
const CONCURRENCY: usize = 8;
/// Events in memory: some hundred bytes each. Beyond that, those of other conversations wait too.
const WINDOW: usize = 10_000;
/// Events that are read at once.
const PAGE: usize = 500;
/// How long it waits after the outbox could not be read or written.
const STORE_PAUSE: Duration = Duration::from_secs(1);
const GONE: u16 = 410;

/// Sends what is in the outbox until the server stops.
pub(crate) async fn deliver(services: &Services, outbox: &dyn Outbox, webhooks: &Webhooks) {
    let mut stopping = services.stopping.subscribe();
    let mut delivery = Delivery {
        store: &*services.store,
        outbox,
        webhooks,
        metrics: &services.metrics,
        status: outbox.status(),
        lanes: Lanes::default(),
        read_to: 0,
    };
    tokio::select! {
        () = delivery.run() => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// What became of a try.
enum Tried {
    Settled,
    Failed(Answer),
    /// The entry is not in the log: nothing can be told.
    NoEntry,
    Store(StoreError),
}

struct Delivery<'a> {
    store: &'a dyn Store,
    outbox: &'a dyn Outbox,
    webhooks: &'a Webhooks,
    metrics: &'a Metrics,
    status: watch::Receiver<OutboxStatus>,
    lanes: Lanes,
    /// The last number that is or was in the lanes.
    read_to: u64,
}

impl<'a> Delivery<'a> {
    async fn run(&mut self) {
        let mut under_way = FuturesUnordered::<BoxFuture<'a, (OutboxEvent, Tried)>>::new();
        loop {
            let status = *self.status.borrow_and_update();
            self.metrics.outbox(&status);
            if let Err(error) = self.load(status.last).await {
                tracing::error!(%error, "the outbox of webhooks cannot be read");
                tokio::time::sleep(STORE_PAUSE).await;
                continue;
            }
            while under_way.len() < CONCURRENCY
                && let Some(event) = self.lanes.next(Instant::now())
            {
                under_way.push(attempt(self.store, self.webhooks, event).boxed());
            }
            let (due, full) = (self.lanes.due(), self.lanes.held() >= WINDOW);
            tokio::select! {
                Some(ended) = under_way.next(), if !under_way.is_empty() => {
                    let mut all = vec![ended];
                    // What ended with it is settled with it.
                    while let Some(Some(ended)) = under_way.next().now_or_never() {
                        all.push(ended);
                    }
                    if self.end(all).await.is_break() {
                        return self.rest().await;
                    }
                }
                () = until(due), if under_way.len() < CONCURRENCY => {}
                changed = self.status.changed(), if !full => if changed.is_err() {
                    // The store is gone.
                    return;
                },
            }
        }
    }

    /// Reads what came.
    async fn load(&mut self, last: u64) -> Result<(), StoreError> {
        while self.read_to < last && self.lanes.held() < WINDOW {
            let page = self.outbox.events(self.read_to, PAGE.min(WINDOW - self.lanes.held())).await?;
            let Some(end) = page.last() else {
                self.read_to = last;
                return Ok(());
            };
            self.read_to = end.number;
            page.into_iter().for_each(|event| self.lanes.push(event));
        }
        Ok(())
    }

    /// Keeps what these tries came to. Breaks when the receiver wants nothing more.
    async fn end(&mut self, ended: Vec<(OutboxEvent, Tried)>) -> std::ops::ControlFlow<()> {
        let (mut settled, mut gone) = (Vec::new(), false);
        for (event, tried) in ended {
            let conversation = &event.conversation;
            match tried {
                Tried::Settled => {
                    self.metrics.webhook("delivered");
                    settled.push(event.number);
                    self.lanes.done(conversation);
                }
                Tried::NoEntry => {
                    self.metrics.webhook("no_entry");
                    tracing::warn!(
                        number = event.number,
                        "an event names an entry that is not in the log; it is passed over"
                    );
                    settled.push(event.number);
                    self.lanes.done(conversation);
                }
                // Waiting does not mend it, and what comes behind it in its conversation can be told.
                Tried::Store(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(%error, number = event.number, "the entry of an event is damaged; it is set aside");
                    self.metrics.webhook("damaged");
                    self.set_aside(&event, 0).await;
                }
                Tried::Store(error) => {
                    tracing::error!(%error, "the entry of an event cannot be read");
                    self.lanes.again(event.conversation, Instant::now() + STORE_PAUSE);
                }
                Tried::Failed(answer) => {
                    self.metrics.webhook("failed");
                    gone |= answer.status == GONE;
                    self.failed(event, answer).await;
                }
            }
        }
        if !settled.is_empty()
            && let Err(error) = self.outbox.settle(settled).await
        {
            tracing::error!(%error, "events that were told could not be settled; they are told again after a restart");
        }
        if gone { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    }

    async fn failed(&mut self, event: OutboxEvent, answer: Answer) {
        let age = clock::unix_ms().saturating_sub(event.since_ms);
        if u128::from(age) >= self.webhooks.max_age.as_millis() {
            return self.set_aside(&event, answer.status).await;
        }
        let failures = self.lanes.failed(&event.conversation);
        if failures == 0 {
            tracing::warn!(answer = answer.status, "an event was not taken by the receiver; it is tried again");
        }
        let delay = answer.retry_after.unwrap_or_default().max(delay(self.webhooks.backoff, failures));
        self.lanes.again(event.conversation, Instant::now() + delay);
    }

    /// Makes it a dead letter; those behind it go on.
    async fn set_aside(&mut self, event: &OutboxEvent, answer: u16) {
        match self.outbox.give_up(event.number, answer).await {
            Ok(()) => {
                self.metrics.webhook("given_up");
                tracing::error!(number = event.number, answer, "an event was given up: a dead letter");
            }
            Err(error) => {
                tracing::error!(%error, "an event could not be given up; it is tried again after a restart");
            }
        }
        self.lanes.done(&event.conversation);
    }

    /// Nothing more is sent; what is stored still has its event.
    async fn rest(&mut self) {
        tracing::error!(
            "the receiver of webhooks answered 410 Gone: nothing more is sent until the server starts again"
        );
        self.metrics.webhooks_gone();
        while self.status.changed().await.is_ok() {
            let status = *self.status.borrow_and_update();
            self.metrics.outbox(&status);
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Doubled with each failure; half of it is random, so that those who fail together do not come back together.
fn delay((first, most): (Duration, Duration), failures: u32) -> Duration {
    let whole = first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(most);
    let random = getrandom::u32().unwrap_or(u32::MAX);
    (whole / 2).saturating_add((whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX)))
}

/// Tries once. The content is read now: what was recalled meanwhile is not told.
async fn attempt(store: &dyn Store, webhooks: &Webhooks, event: OutboxEvent) -> (OutboxEvent, Tried) {
    let entries = store.read(&event.conversation, event.seq.saturating_sub(1), 1, 0).await;
    let entry = match entries {
        Ok(entries) => entries.into_iter().find(|entry| (entry.seq, entry.message_id) == (event.seq, event.message_id)),
        Err(StoreError::Trimmed { .. }) => return (event, Tried::NoEntry),
        Err(error) => return (event, Tried::Store(error)),
    };
    let Some(body) = entry.and_then(|entry| payload::body(&event.conversation, &entry, webhooks.content).ok()) else {
        return (event, Tried::NoEntry);
    };
    let (id, timestamp) = (format!("msg_{}", event.message_id), clock::unix_ms() / 1000);
    let signature = sign::signature(&webhooks.secrets, &id, timestamp, &body);
    let signed = Signed { id, timestamp, signature };
    let post = webhooks.client.post(&signed, Bytes::from(body));
    let answer = match tokio::time::timeout(webhooks.timeout, post).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::debug!(%error, "no answer from the receiver of webhooks");
            Answer { status: 0, retry_after: None }
        }
        Err(_) => {
            tracing::debug!("no answer from the receiver of webhooks in time");
            Answer { status: 0, retry_after: None }
        }
    };
    (event, if (200..300).contains(&answer.status) { Tried::Settled } else { Tried::Failed(answer) })
}
