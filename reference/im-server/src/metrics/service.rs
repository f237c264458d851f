//! The numbers of what an application does: its hooks, and its requests to the API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Metrics, Outcome, Reason};

/// The labels of a call of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hook {
    hook: &'static str,
    outcome: &'static str,
}

/// The labels of a request to the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    status: u16,
}

/// Counters.
#[derive(Default)]
pub(super) struct Numbers {
    hooks: Family<Hook, Counter>,
    requests: Family<Request, Counter>,
    limits: Family<Reason, Counter>,
    targets: Family<Outcome, Counter>,
}

impl Numbers {
    pub(super) fn register(&self, registry: &mut Registry) {
        for reason in ["body", "targets", "keys", "requests"] {
            let _ = self.limits.get_or_create(&Reason { reason });
        }
        for outcome in ["stored", "again", "refused", "unknown"] {
            let _ = self.targets.get_or_create(&Outcome { outcome });
        }
        registry.register(
            "hooks",
            "Calls of the application's hooks by outcome: passed, replaced, refused, failed, timeout",
            self.hooks.clone(),
        );
        registry.register("api_requests", "Requests to the API by route and status", self.requests.clone());
        registry.register(
            "api_limits",
            "Requests to the API over a limit: body, targets of one request, keys (wrong ones of an address), requests at once",
            self.limits.clone(),
        );
        registry.register(
            "api_targets",
            "Targets of pushes by outcome: stored, again, refused, unknown",
            self.targets.clone(),
        );
    }
}

impl Metrics {
    pub(crate) fn hook(&self, hook: &'static str, outcome: &'static str) {
        self.service.hooks.get_or_create(&Hook { hook, outcome }).inc();
    }

    pub(crate) fn api_request(&self, route: &'static str, status: u16) {
        self.service.requests.get_or_create(&Request { route, status }).inc();
    }

    pub(crate) fn api_limit(&self, reason: &'static str) {
        self.service.limits.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn api_target(&self, outcome: &'static str) {
        self.service.targets.get_or_create(&Outcome { outcome }).inc();
    }
}
