//! The routes for operators: health, readiness, and metrics, which are not for everybody.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::client_address;
use crate::server::Shared;

const TEXT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// On the port that everybody reaches.
pub(crate) fn public_routes() -> Router<Arc<Shared>> {
    health_routes().route("/metrics", get(local_metrics))
}

/// On a listener of its own.
pub(crate) fn private_routes() -> Router<Arc<Shared>> {
    health_routes().route("/metrics", get(metrics))
}

fn health_routes() -> Router<Arc<Shared>> {
    Router::new().route("/healthz", get(health)).route("/readyz", get(ready))
}

/// Whether the process does its work; a failure means that it should be started again.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

/// Whether new clients should be sent here.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let reason = if shared.is_stopping() || shared.draining.load(Ordering::Relaxed) {
        "draining\n"
    } else if shared.store_failed.load(Ordering::Relaxed) {
        "the last write to the message store failed; the log says why\n"
    } else {
        return "ready\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], shared.services.metrics.text()).into_response()
}

/// For programs on this machine that came without a proxy between, if there is no listener for metrics.
async fn local_metrics(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let local = client_address(request.extensions()).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if local && !forwarded(request.headers()) && !shared.metrics_apart.load(Ordering::Relaxed) {
        return metrics(State(shared)).await;
    }
    StatusCode::NOT_FOUND.into_response()
}

/// A proxy on this machine says so, if it does its part.
fn forwarded(headers: &HeaderMap) -> bool {
    let names = ["forwarded", "x-forwarded-for", "x-real-ip"].map(HeaderName::from_static);
    names.iter().chain([&header::VIA]).any(|name| headers.contains_key(name))
}
