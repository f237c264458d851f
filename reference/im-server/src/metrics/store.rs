//! A store that is measured, and known to fail or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Metrics, Outcome};
use crate::store::{Append, NewEntry, Store, StoreError, StoreLayer};

/// The application's store, with a clock and counters around its writes.
pub(crate) struct MeteredStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    /// The last append failed.
    pub(crate) failed: Arc<AtomicBool>,
}

impl StoreLayer for MeteredStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

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
}
