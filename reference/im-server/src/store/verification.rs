//! What a check of a store found, and what a copy of it has.

use super::{CorruptRecord, StoreError};

/// When a store checks itself as it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CheckAtOpen {
    /// If it was not closed the last time, or a check of it found damage.
    #[default]
    AfterUncleanEnd,
    /// Each time.
    Always,
    /// Not at all: for a store with damage that has to be served meanwhile. A read of what is damaged is then an error of
    /// its own, and all else works.
    Never,
}

/// What [`FjallStore::verify`](super::FjallStore::verify) found.
///
/// ```no_run
/// use im_server::store::{FjallStore, StoreError};
///
/// async fn look(store: &FjallStore) -> Result<(), StoreError> {
///     let found = store.verify().await?;
///     println!("{} rows, {} damaged", found.rows, found.damaged);
///     for record in &found.first {
///         println!("{record}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Verification {
    /// How many conversations there are.
    pub conversations: u64,
    /// How many rows were looked at, in all tables.
    pub rows: u64,
    /// How many of them are damaged, missing or do not agree with others.
    pub damaged: u64,
    /// The first of those, at most [`MAX_LISTED`](Self::MAX_LISTED).
    pub first: Vec<CorruptRecord>,
}

impl Verification {
    /// The most damaged records that are kept by name; the others are only counted.
    pub const MAX_LISTED: usize = 100;

    /// Counts what an error says of a record; any other error ends the check.
    pub(super) fn note<T>(&mut self, outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Corrupt(record)) => {
                self.damaged = self.damaged.saturating_add(1);
                if self.first.len() < Self::MAX_LISTED {
                    self.first.push(*record);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A copy that was made, see [`FjallStore::backup_to`](super::FjallStore::backup_to).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// How many rows it has, in all tables.
    pub rows: u64,
}
