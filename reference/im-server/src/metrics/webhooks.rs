//! What is counted of webhooks and of their outbox.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Metrics, Outcome};
use crate::store::OutboxStatus;

#[derive(Default)]
pub(super) struct WebhookMetrics {
    tries: Family<Outcome, Counter>,
    waiting: Gauge,
    dead: Gauge,
    dropped: Family<Outcome, Counter>,
    gone: Gauge,
}

impl WebhookMetrics {
    pub(super) fn begin_with_zero(&self) {
        for outcome in ["delivered", "failed", "given_up", "no_entry", "damaged"] {
            let _ = self.tries.get_or_create(&Outcome { outcome });
        }
        for outcome in ["waiting", "dead"] {
            let _ = self.dropped.get_or_create(&Outcome { outcome });
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "webhooks",
            "Events for the receiver of webhooks: delivered, failed (a try), given_up (a dead letter now), no_entry, damaged (set aside)",
            self.tries.clone(),
        );
        registry.register("webhook_outbox", "Events that wait for the receiver of webhooks", self.waiting.clone());
        registry.register("webhook_dead_letters", "Events that were given up and are kept", self.dead.clone());
        registry.register(
            "webhook_dropped",
            "Events that were dropped because there were too many: of those waiting, or of those given up (dead)",
            self.dropped.clone(),
        );
        registry.register(
            "webhook_gone",
            "1 when the receiver answered 410 Gone, so nothing is sent",
            self.gone.clone(),
        );
    }
}

impl Metrics {
    pub(crate) fn webhook(&self, outcome: &'static str) {
        self.webhooks.tries.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn webhooks_gone(&self) {
        self.webhooks.gone.set(1);
    }

    /// The outbox counts since the store was opened, and so does this.
    pub(crate) fn outbox(&self, status: &OutboxStatus) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.webhooks.waiting.set(gauge(status.waiting));
        self.webhooks.dead.set(gauge(status.dead));
        for (outcome, total) in [("waiting", status.dropped), ("dead", status.dead_dropped)] {
            let counter = self.webhooks.dropped.get_or_create_owned(&Outcome { outcome });
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}
