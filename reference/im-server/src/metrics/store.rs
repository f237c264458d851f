//! A store that is measured, and known to fail or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Metrics, Outcome};
use crate::store::{
    Append, ConversationKey, Head, Member, MemberChange, Members, NewEntry, Page, Positions, Store, StoreError,
    StoredEntry, Unread,
};

/// The application's store, with a clock and counters around its writes.
pub(crate) struct MeteredStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    /// The last append failed.
    pub(crate) failed: Arc<AtomicBool>,
}

impl Store for MeteredStore {
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        Box::pin(async move {
            let start = Instant::now();
            let append = self.inner.append(entry).await;
            let (outcome, failed) = match &append {
                Append::Stored(_) => ("stored", Some(false)),
                Append::AlreadyStored(_) => ("again", None),
                Append::Conflict(_) => ("conflict", None),
                // A mistake of one entry says nothing about the next.
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

    fn stored_before<'a>(&'a self, entry: &'a NewEntry) -> BoxFuture<'a, Result<Option<Append>, StoreError>> {
        self.inner.stored_before(entry)
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>> {
        self.inner.read(conversation, after, max_messages, max_bytes)
    }

    fn page(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        after: Option<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.inner.page(user, device, conversation, after, max_messages, max_bytes)
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

    fn conversations(
        &self,
        user: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ConversationKey>, StoreError>> {
        self.inner.conversations(user, after, limit)
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
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.advance(user, device, conversation, epoch, up_to)
    }

    fn mark_read(
        &self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<Positions, StoreError>> {
        self.inner.mark_read(user, conversation, epoch, up_to)
    }

    fn positions(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Positions, StoreError>> {
        self.inner.positions(user, conversation)
    }

    fn set_members(
        &self,
        conversation: &ConversationKey,
        changes: Vec<MemberChange>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.set_members(conversation, changes)
    }

    fn member(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Option<Member>, StoreError>> {
        self.inner.member(user, conversation)
    }

    fn members(
        &self,
        conversation: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        self.inner.members(conversation, after, limit)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.close()
    }
}
