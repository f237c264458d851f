//! A store around another one, which changes some of its methods and passes the others on.

use futures_util::future::BoxFuture;

use super::{
    Append, ConversationKey, Cutoff, Head, Member, MemberChange, Members, NewEntry, Page, Positions, Store, StoreError,
    StoredEntry, Trimmed, Unread,
};

/// A [`Store`] around another one: what it does not write itself goes to [`inner`](Self::inner). Every layer is a store, so
/// layers stack. For what an application wants to see or change of its store: to count, to refuse, to cache, to encrypt.
///
/// A layer keeps the contract of [`Store`]; above all, it polls the inner append before anything else is awaited, or the
/// order of the log is not that of the callers. [`conformance`](super::conformance) checks a layer as any store.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use futures_util::future::BoxFuture;
/// use im_server::store::{Append, FjallConfig, FjallStore, NewEntry, Store, StoreError, StoreLayer};
///
/// /// Refuses large contents, and counts them.
/// struct Small {
///     inner: Arc<dyn Store>,
///     refused: AtomicU64,
/// }
///
/// impl StoreLayer for Small {
///     fn inner(&self) -> &dyn Store {
///         &*self.inner
///     }
///
///     fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
///         if entry.content.len() <= 1024 {
///             return self.inner.append(entry);
///         }
///         self.refused.fetch_add(1, Ordering::Relaxed);
///         Box::pin(async { Append::NotStored(StoreError::Length { what: "a content", limit: 1024 }) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let inner = Arc::new(FjallStore::open(dir.path(), &FjallConfig::default())?);
/// let store: Arc<dyn Store> = Arc::new(Small { inner, refused: AtomicU64::new(0) });
/// assert!(store.conversations("ann", None, 10).await?.is_empty());
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
pub trait StoreLayer: Send + Sync + 'static {
    /// The store that this one is around.
    fn inner(&self) -> &dyn Store;

    /// [`Store::append`].
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        self.inner().append(entry)
    }

    /// [`Store::stored_before`].
    fn stored_before<'a>(&'a self, entry: &'a NewEntry) -> BoxFuture<'a, Result<Option<Append>, StoreError>> {
        self.inner().stored_before(entry)
    }

    /// [`Store::read`].
    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>> {
        self.inner().read(conversation, after, max_messages, max_bytes)
    }

    /// [`Store::page`].
    fn page(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        after: Option<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.inner().page(user, device, conversation, after, max_messages, max_bytes)
    }

    /// [`Store::unread`].
    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        self.inner().unread(user, device, after, limit)
    }

    /// [`Store::conversations`].
    fn conversations(
        &self,
        user: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ConversationKey>, StoreError>> {
        self.inner().conversations(user, after, limit)
    }

    /// [`Store::head`].
    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>> {
        self.inner().head(conversation)
    }

    /// [`Store::cursor`].
    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner().cursor(user, device, conversation)
    }

    /// [`Store::advance`].
    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner().advance(user, device, conversation, epoch, up_to)
    }

    /// [`Store::mark_read`].
    fn mark_read(
        &self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<Positions, StoreError>> {
        self.inner().mark_read(user, conversation, epoch, up_to)
    }

    /// [`Store::positions`].
    fn positions(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Positions, StoreError>> {
        self.inner().positions(user, conversation)
    }

    /// [`Store::set_members`].
    fn set_members(
        &self,
        conversation: &ConversationKey,
        changes: Vec<MemberChange>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner().set_members(conversation, changes)
    }

    /// [`Store::member`].
    fn member(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Option<Member>, StoreError>> {
        self.inner().member(user, conversation)
    }

    /// [`Store::members`].
    fn members(
        &self,
        conversation: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        self.inner().members(conversation, after, limit)
    }

    /// [`Store::trim`].
    fn trim(
        &self,
        cutoff: Cutoff,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Trimmed, StoreError>> {
        self.inner().trim(cutoff, after, limit)
    }

    /// [`Store::close`].
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner().close()
    }
}

impl<L: StoreLayer> Store for L {
    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        StoreLayer::append(self, entry)
    }

    fn stored_before<'a>(&'a self, entry: &'a NewEntry) -> BoxFuture<'a, Result<Option<Append>, StoreError>> {
        StoreLayer::stored_before(self, entry)
    }

    fn read(
        &self,
        conversation: &ConversationKey,
        after: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredEntry>, StoreError>> {
        StoreLayer::read(self, conversation, after, max_messages, max_bytes)
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
        StoreLayer::page(self, user, device, conversation, after, max_messages, max_bytes)
    }

    fn unread(
        &self,
        user: &str,
        device: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        StoreLayer::unread(self, user, device, after, limit)
    }

    fn conversations(
        &self,
        user: &str,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ConversationKey>, StoreError>> {
        StoreLayer::conversations(self, user, after, limit)
    }

    fn head(&self, conversation: &ConversationKey) -> BoxFuture<'_, Result<Head, StoreError>> {
        StoreLayer::head(self, conversation)
    }

    fn cursor(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        StoreLayer::cursor(self, user, device, conversation)
    }

    fn advance(
        &self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        StoreLayer::advance(self, user, device, conversation, epoch, up_to)
    }

    fn mark_read(
        &self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> BoxFuture<'_, Result<Positions, StoreError>> {
        StoreLayer::mark_read(self, user, conversation, epoch, up_to)
    }

    fn positions(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Positions, StoreError>> {
        StoreLayer::positions(self, user, conversation)
    }

    fn set_members(
        &self,
        conversation: &ConversationKey,
        changes: Vec<MemberChange>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        StoreLayer::set_members(self, conversation, changes)
    }

    fn member(&self, user: &str, conversation: &ConversationKey) -> BoxFuture<'_, Result<Option<Member>, StoreError>> {
        StoreLayer::member(self, user, conversation)
    }

    fn members(
        &self,
        conversation: &ConversationKey,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        StoreLayer::members(self, conversation, after, limit)
    }

    fn trim(
        &self,
        cutoff: Cutoff,
        after: Option<&ConversationKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Trimmed, StoreError>> {
        StoreLayer::trim(self, cutoff, after, limit)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        StoreLayer::close(self)
    }
}
