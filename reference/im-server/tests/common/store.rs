//! The embedded store with appends of the test's own.

use std::path::Path;

use futures_util::future::BoxFuture;
use im_server::store::{
    Append, ConversationKey, FjallConfig, FjallStore, Head, Member, MemberChange, Members, NewEntry, Page, Positions,
    Store, StoreError, StoredEntry, Unread,
};

/// What becomes of an append.
pub trait Appends: Send + Sync + 'static {
    fn append<'a>(&'a self, inner: &'a FjallStore, entry: NewEntry) -> BoxFuture<'a, Append>;
}

/// Everything but the appends goes to the embedded store.
pub struct Wrapped<A> {
    pub inner: FjallStore,
    pub appends: A,
}

impl<A> Wrapped<A> {
    pub fn open(dir: &Path, appends: A) -> Self {
        Self { inner: FjallStore::open(dir, &FjallConfig::default()).unwrap(), appends }
    }
}

impl<A: Appends> Store for Wrapped<A> {
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        self.appends.append(&self.inner, entry)
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
