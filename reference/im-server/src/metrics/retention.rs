//! What is counted of entries that were too old.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::store::Trimmed;

#[derive(Default)]
pub(super) struct RetentionMetrics {
    entries: Counter,
    packet_ids: Counter,
    cutoff: Gauge,
}

impl RetentionMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("trimmed_entries", "Entries that were too old and were taken away", self.entries.clone());
        registry.register(
            "trimmed_packet_ids",
            "Packet ids of such entries that were taken away later",
            self.packet_ids.clone(),
        );
        registry.register_with_unit(
            "retention_cutoff",
            "Before this time, since 1970, nothing is kept that no event holds; 0 before the first time, and without retention",
            Unit::Seconds,
            self.cutoff.clone(),
        );
    }
}

impl Metrics {
    pub(crate) fn trimmed(&self, step: &Trimmed) {
        self.retention.entries.inc_by(step.entries);
        self.retention.packet_ids.inc_by(step.packet_ids);
    }

    /// All logs were looked at with this cutoff, in milliseconds since 1970.
    pub(crate) fn trimmed_to(&self, cutoff_ms: u64) {
        self.retention.cutoff.set(i64::try_from(cutoff_ms / 1000).unwrap_or(i64::MAX));
    }
}
