//! The embedded store with appends of the test's own.

use std::path::Path;

use futures_util::future::BoxFuture;
use im_server::store::{Append, FjallConfig, FjallStore, NewEntry, Store, StoreLayer};

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

impl<A: Appends> StoreLayer for Wrapped<A> {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn append(&self, entry: NewEntry) -> BoxFuture<'_, Append> {
        self.appends.append(&self.inner, entry)
    }
}
