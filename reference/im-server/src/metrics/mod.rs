//! What is counted, for Prometheus. Every limit that refuses or cuts somebody has a counter here.

mod files;
mod retention;
mod service;
mod store;
mod webhooks;

use std::fmt;
use std::sync::atomic::AtomicI64;

use im_proto::{Closed, ClosedBy};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::store::MeteredStore;

/// The label `transport`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    transport: &'static str,
}

/// The label `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The label `outcome`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The label `status`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum By {
    /// This server.
    Local,
    Peer,
    /// Nobody said so: the connection ended.
    Transport,
}

/// The labels of the end of a session. The code is 0 for codes that the protocol does not have: a peer may write any.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct End {
    code: u16,
    by: By,
    /// `yes` after the login.
    login: &'static str,
}

/// Why a connection did not get as far as its first packet or request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// Nothing came within the login timeout, or a TLS handshake or PROXY header was not completed in it.
    Timeout,
    /// The TLS handshake failed.
    Tls,
    /// The PROXY header is missing or not one.
    Proxy,
    /// The first byte is of nothing that is spoken here.
    Unknown,
    /// TLS where it is off, or none where it is required.
    Security,
}

/// The server's numbers.
pub(crate) struct Metrics {
    registry: Registry,
    connections: Counter,
    connections_refused: Family<Reason, Counter>,
    held: Gauge<i64, AtomicI64>,
    unmet: Family<Reason, Counter>,
    sessions: Family<Transport, Gauge>,
    ends: Family<End, Counter>,
    cut: Family<Reason, Counter>,
    logins: Family<Outcome, Counter>,
    appends: Family<Outcome, Counter>,
    commit: Histogram,
    http_refused: Family<Status, Counter>,
    certificate: Gauge<i64, AtomicI64>,
    reloads: Family<Outcome, Counter>,
    service: service::Numbers,
    webhooks: webhooks::WebhookMetrics,
    files: files::FileMetrics,
    retention: retention::RetentionMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("im"),
            connections: Counter::default(),
            connections_refused: Family::default(),
            held: Gauge::default(),
            unmet: Family::default(),
            sessions: Family::default(),
            ends: Family::default(),
            cut: Family::default(),
            logins: Family::default(),
            appends: Family::default(),
            // 0.5 ms to 16 s.
            commit: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            http_refused: Family::default(),
            certificate: Gauge::default(),
            reloads: Family::default(),
            service: service::Numbers::default(),
            webhooks: webhooks::WebhookMetrics::default(),
            files: files::FileMetrics::default(),
            retention: retention::RetentionMetrics::default(),
        };
        metrics.begin_with_zero();
        metrics.registered()
    }

    /// So that a first event is a step from 0 to 1, which a rate shows.
    fn begin_with_zero(&self) {
        for reason in ["total", "memory", "address", "logins"] {
            let _ = self.connections_refused.get_or_create(&Reason { reason });
        }
        for reason in ["timeout", "tls", "proxy", "unknown", "security"] {
            let _ = self.unmet.get_or_create(&Reason { reason });
        }
        for transport in ["tcp", "tcps", "ws", "http"] {
            let _ = self.sessions.get_or_create(&Transport { transport });
        }
        for reason in ["slow_reader", "lost"] {
            let _ = self.cut.get_or_create(&Reason { reason });
        }
        for outcome in ["accepted", "refused", "unavailable"] {
            let _ = self.logins.get_or_create(&Outcome { outcome });
        }
        self.webhooks.begin_with_zero();
        for outcome in ["stored", "again", "conflict", "not_stored", "unknown"] {
            let _ = self.appends.get_or_create(&Outcome { outcome });
        }
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("connections", "Connections that got a place", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections without a place: the limit in all (total), of memory, of the address, or of refused logins of the address",
            self.connections_refused.clone(),
        );
        registry.register(
            "connection_bytes",
            "What waits in all sessions, in bytes, beyond 4 KiB for each connection",
            self.held.clone(),
        );
        registry.register(
            "connections_unmet",
            "Connections that ended before their first packet or request: timeout, tls, proxy, unknown, security",
            self.unmet.clone(),
        );
        registry.register("sessions", "Sessions now, logged in or not", self.sessions.clone());
        registry.register(
            "sessions_closed",
            "Ends of sessions by close code, who closed, and whether a login was accepted before; 4008 is a login that took \
             too long or a silent peer, 4002 to 4005 malformed or oversized input, 4010 a limit",
            self.ends.clone(),
        );
        registry.register(
            "sessions_cut",
            "Sessions whose transport was given up: slow_reader took nothing for too long, lost is a broken connection",
            self.cut.clone(),
        );
        registry.register("logins", "Logins by outcome: accepted, refused, unavailable", self.logins.clone());
        registry.register(
            "messages",
            "Messages by outcome: stored, again (a repetition), conflict, not_stored, unknown",
            self.appends.clone(),
        );
        registry.register_with_unit(
            "store_commit",
            "Time from handing a message to the store until it is durable",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register("http_refused", "HTTP answers with a status of 400 and above", self.http_refused.clone());
        registry.register_with_unit(
            "tls_certificate_not_after",
            "When the certificate in use ends, since 1970; 0 without TLS",
            Unit::Seconds,
            self.certificate.clone(),
        );
        registry.register("tls_reloads", "Changed certificate files: taken or refused", self.reloads.clone());
        self.service.register(registry);
        self.webhooks.register(registry);
        self.retention.register(registry);
        self.files.register(registry);
        self
    }

    /// The text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn refused(&self, limit: &'static str) {
        self.connections_refused.get_or_create(&Reason { reason: limit }).inc();
    }

    /// So many bytes more wait in sessions, or less.
    pub(crate) fn held(&self, more: i64) {
        self.held.inc_by(more);
    }

    pub(crate) fn unmet(&self, reason: Unmet) {
        let reason = match reason {
            Unmet::Timeout => "timeout",
            Unmet::Tls => "tls",
            Unmet::Proxy => "proxy",
            Unmet::Unknown => "unknown",
            Unmet::Security => "security",
        };
        self.unmet.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a session until the guard is dropped.
    pub(crate) fn session(&self, transport: &'static str) -> SessionGuard {
        let gauge = self.sessions.get_or_create_owned(&Transport { transport });
        gauge.inc();
        SessionGuard(gauge)
    }

    pub(crate) fn closed(&self, closed: &Closed, logged_in: bool) {
        let code = if closed.code.name().is_some() { closed.code.0 } else { 0 };
        let by = match closed.by {
            ClosedBy::Local => By::Local,
            ClosedBy::Peer => By::Peer,
            ClosedBy::Transport | _ => By::Transport,
        };
        self.ends.get_or_create(&End { code, by, login: if logged_in { "yes" } else { "no" } }).inc();
    }

    pub(crate) fn cut(&self, slow_reader: bool) {
        let reason = if slow_reader { "slow_reader" } else { "lost" };
        self.cut.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn login(&self, outcome: &'static str) {
        self.logins.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn http_refused(&self, status: u16) {
        self.http_refused.get_or_create(&Status { status }).inc();
    }

    pub(crate) fn certificate(&self, not_after: i64) {
        self.certificate.set(not_after);
    }

    pub(crate) fn reloaded(&self, taken: bool) {
        self.reloads.get_or_create(&Outcome { outcome: if taken { "taken" } else { "refused" } }).inc();
    }
}

/// A session that is counted.
pub(crate) struct SessionGuard(Gauge);

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
