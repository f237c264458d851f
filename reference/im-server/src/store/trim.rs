//! What becomes too old to be kept, and the way through all logs that takes it away.

use super::{ConversationKey, Store, StoreError};

/// What goes: what the server accepted before these times, in milliseconds since 1970.
///
/// ```
/// use im_server::store::Cutoff;
/// let cutoff = Cutoff { entries_ms: 1_700_000_000_000, packet_ids_ms: 1_690_000_000_000, events_ms: 0 };
/// assert!(cutoff.packet_ids_ms <= cutoff.entries_ms, "a retry is known longer than its entry is kept");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cutoff {
    /// Entries before this go, from the front of each log up to the first one that is not.
    pub entries_ms: u64,
    /// Packet ids of entries before this go, of those whose entry went. What was stored under one is not known any more then:
    /// the same again is a new entry.
    pub packet_ids_ms: u64,
    /// An entry of which an event waits stays, if it waits since this or later. 0: as long as it waits.
    pub events_ms: u64,
}

/// What one step of [`Store::trim`] did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// Entries that went.
    pub entries: u64,
    /// Packet ids that went.
    pub packet_ids: u64,
    /// The last conversation that has nothing more to give: where the next step goes on.
    pub after: Option<ConversationKey>,
    /// All logs and packet ids were looked at.
    pub complete: bool,
}

/// Entries, and packet ids, that one step takes away at most: so long an append may wait for one.
const STEP: usize = 256;

/// Takes away all that is before the cutoff, in steps between which others write. `each` is told of every step.
///
/// ```
/// # use im_server::store::{Cutoff, FjallConfig, FjallStore, trim_all};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let store = FjallStore::open(dir.path(), &FjallConfig::default())?;
/// let cutoff = Cutoff { entries_ms: 1_700_000_000_000, packet_ids_ms: 1_690_000_000_000, events_ms: 0 };
/// trim_all(&store, cutoff, |step| println!("{} entries", step.entries)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Of the first step that failed; those before it are done.
pub async fn trim_all(store: &dyn Store, cutoff: Cutoff, mut each: impl FnMut(&Trimmed)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let step = store.trim(cutoff, after.as_ref(), STEP).await?;
        each(&step);
        if step.complete {
            return Ok(());
        }
        after = step.after;
    }
}
