//! A store that is measured, and known to fail or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Metrics, Outcome};
use crate::store::{Append, ConversationKey, Head, NewMessage, Store, StoreError, StoredMessage, Unread};

/// The application's store, with a clock and counters around its writes.
pub(crate) struct MeteredStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    /// The last write failed.
    pub(crate) failed: Arc<AtomicBool>,
}

impl Store for MeteredStore {
    fn append(&self, message: NewMessage) -> BoxFuture<'_, Append> {
        Box::pin(async move {
            let start = Instant::now();
            let append = self.inner.append(message).await;
            let (outcome, failed) = match &append {
                Append::Stored(_) => ("stored", Some(false)),
                Append::AlreadyStored(_) => ("again", None),
                Append::Conflict(_) => ("conflict", None),
                // A mistake of one message says nothing about the next.
                Append::NotStored(StoreError::Length { .. }) => ("not_stored", None),
                Append::NotStored(_) => ("not_stored", Some(true)),
                Append::Unknown(_) => ("unknown", Some(true)),
            };
            if matches!(append, Append::Stored(_)) {
                self.metrics.commit.observe(start.elapsed().as_secs_f64());
            }
            self.metrics.appends.get_or_create(&Outcome { outcome }).inc();
            if let Some(failed) = failed {
                self.failed.store(failed, Ordering::Relaxed);
            }
            append
        })
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredMessage>, StoreError>> {
        self.inner.read(conversation, after, max_messages, max_bytes)
    }

    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        self.inner.unread(user, device, after, limit)
    }

    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>> {
        self.inner.head(conversation)
    }

    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.cursor(user, device, conversation)
    }

    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        up_to: u64,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.advance(user, device, conversation, up_to)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.close()
    }
}
