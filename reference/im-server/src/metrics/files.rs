//! What is counted of files.

use im_proto::RefusalCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transfer {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

#[derive(Default)]
pub(super) struct FileMetrics {
    transfers: Family<Transfer, Counter>,
    limits: Family<Limit, Counter>,
    refused: Family<Refused, Counter>,
    used: Gauge,
}

impl FileMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        for reason in ["file", "user", "total", "uploads"] {
            let _ = self.limits.get_or_create(&Limit { reason });
        }
        registry.register(
            "file_transfers",
            "Transfers of files by what (upload, download) and outcome (done, refused); a download is done when it begins",
            self.transfers.clone(),
        );
        registry.register(
            "file_limits",
            "Uploads over a limit: file, user, total, uploads of one user at once",
            self.limits.clone(),
        );
        registry.register(
            "file_requests_refused",
            "Requests of sessions about files that were refused",
            self.refused.clone(),
        );
        registry.register_with_unit(
            "files_used",
            "What all files take, each with 4 KiB on top",
            Unit::Bytes,
            self.used.clone(),
        );
    }
}

impl Metrics {
    pub(crate) fn file_transfer(&self, what: &'static str, outcome: &'static str) {
        self.files.transfers.get_or_create(&Transfer { what, outcome }).inc();
    }

    pub(crate) fn file_limit(&self, reason: &'static str) {
        self.files.limits.get_or_create(&Limit { reason }).inc();
    }

    pub(crate) fn file_refused(&self, code: RefusalCode) {
        self.files.refused.get_or_create(&Refused { reason: code.name().unwrap_or("other") }).inc();
    }

    pub(crate) fn files_used(&self, bytes: u64) {
        self.files.used.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
