//! The order of a conversation, for what is told after entries are stored: answers of the store wake their waiters in any
//! order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::store::ConversationKey;

/// The last link of each conversation that has one. As many as appends under way.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    last: Mutex<BTreeMap<ConversationKey, (u64, oneshot::Receiver<()>)>>,
    made: AtomicU64,
}

/// A place in the order, until it is dropped.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    chains: &'a Chains,
    key: ConversationKey,
    id: u64,
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Chains {
    fn last(&self) -> MutexGuard<'_, BTreeMap<ConversationKey, (u64, oneshot::Receiver<()>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an append and takes its place in one step: stores take appends in the order of their first polls.
    pub(crate) fn begin<'a, T>(&'a self, key: ConversationKey, append: &mut BoxFuture<'_, T>) -> (Link<'a>, Poll<T>) {
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let (done, next) = oneshot::channel();
        let mut last = self.last();
        let before = last.insert(key.clone(), (id, next)).map(|(_, before)| before);
        let mut append = tokio::task::unconstrained(append);
        let early = append.poll_unpin(&mut Context::from_waker(Waker::noop()));
        (Link { chains: self, key, id, before, _done: done }, early)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.last().len()
    }
}

impl Link<'_> {
    /// Waits until all that came before is told, or given up.
    pub(crate) async fn turn(&mut self) {
        if let Some(before) = &mut self.before {
            // The sender is dropped, and never used.
            let _ = before.await;
        }
        self.before = None;
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        let mut last = self.chains.last();
        if last.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            last.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_the_first_polls_and_nothing_is_left() {
        let chains = Chains::default();
        let key = ConversationKey::new("g:team").unwrap();
        let begin = || chains.begin(key.clone(), &mut std::future::pending::<()>().boxed()).0;
        let (mut first, mut second, mut third) = (begin(), begin(), begin());
        assert!(second.turn().now_or_never().is_none() && third.turn().now_or_never().is_none());
        first.turn().await;
        drop(first);
        second.turn().await;
        assert!(third.turn().now_or_never().is_none());
        drop(second);
        third.turn().await;
        drop(third);
        assert_eq!(chains.len(), 0);
    }
}
