//! For how long entries are kept: what is older is taken from the front of each log, in small steps, while the server works.

use std::time::Duration;

use crate::clock;
use crate::session::Services;
use crate::store::{Cutoff, StoreError, trim_all};

/// How often it is looked for what is too old.
const EVERY: Duration = Duration::from_secs(3600);

/// For how long entries are kept.
///
/// ```
/// use im_server::Retention;
/// assert_eq!(Retention::days(0), None, "for ever");
/// let cutoff = Retention::days(30).map(|month| month.cutoff(1_700_000_000_000));
/// assert!(cutoff.is_some_and(|cutoff| cutoff.entries_ms == 1_700_000_000_000 - 30 * 86_400_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    keep: Duration,
}

impl Retention {
    /// For so long a packet id is known after its entry went. A client of `im_proto` gives a message up after 16 tries with at
    /// most an hour and a quarter between two, which is less than a day; the rest is for a device that was switched off
    /// between two tries.
    pub const PACKET_IDS_OUTLIVE: Duration = Duration::from_secs(30 * 86_400);
    /// For so long at most an entry is kept beyond its time because an event of it waits: the longest that
    /// `webhook_max_age_hours` can be, so an event is settled or a dead letter before, unless nobody sends any.
    pub const EVENTS_HOLD: Duration = Duration::from_secs(30 * 86_400);

    /// So many days, or for ever with 0.
    #[must_use]
    pub fn days(days: u32) -> Option<Self> {
        (days > 0).then(|| Self { keep: Duration::from_secs(86_400).saturating_mul(days) })
    }

    /// What is too old at this time, in milliseconds since 1970.
    #[must_use]
    pub fn cutoff(&self, now_ms: u64) -> Cutoff {
        let before = |time: Duration| now_ms.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Cutoff {
            entries_ms: before(self.keep),
            packet_ids_ms: before(self.keep.saturating_add(Self::PACKET_IDS_OUTLIVE)),
            events_ms: before(Self::EVENTS_HOLD),
        }
    }
}

/// Takes away what is too old at this time: how many entries went.
pub(crate) async fn trim(services: &Services, retention: Retention, now_ms: u64) -> Result<u64, StoreError> {
    let cutoff = retention.cutoff(now_ms);
    let (mut entries, mut packet_ids) = (0_u64, 0_u64);
    let done = trim_all(&*services.store, cutoff, |step| {
        services.metrics.trimmed(step);
        entries = entries.saturating_add(step.entries);
        packet_ids = packet_ids.saturating_add(step.packet_ids);
    });
    done.await?;
    services.metrics.trimmed_to(cutoff.entries_ms);
    if entries > 0 || packet_ids > 0 {
        let before = clock::format_utc(cutoff.entries_ms / 1000);
        tracing::info!(entries, packet_ids, before, "what is too old was taken away");
    }
    Ok(entries)
}

/// Does it now, and again and again until the server stops.
pub(crate) async fn run(services: &Services, retention: Retention) {
    let mut stopping = services.stopping.subscribe();
    let work = async {
        loop {
            if let Err(error) = trim(services, retention, clock::unix_ms()).await {
                tracing::error!(%error, "what is too old could not be taken away; it is tried again in an hour");
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}
