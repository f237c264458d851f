//! HTTP as a message transport, for places where WebSocket is blocked: requests carry batches of packets both ways, and
//! one waits for packets. docs/spec/http.md is the protocol, docs/decisions/0024-http-sessions.md why it is so.
//!
//! ```text
//! POST /im/sessions ────────────────────────▶ 201, ID
//! POST /im/sessions/ID?send=1 ── batch ─────▶ inbox ── read ──┐
//!                                             (Pipe)          session loop, as for every transport
//! POST /im/sessions/ID?receive=1&wait=25 ◀─── outbox ◀─ write ┘
//! ```

mod pipe;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use im_codec::{Batch, BatchLimits, Limits};

use self::pipe::{OUTBOX, Polling, Refusal};
pub(crate) use self::table::Table;
use crate::http::{client_address, origin_allowed};
use crate::server::Shared;
use crate::session::drive;

/// The longest wait for packets; a longer one is cut to it. Proxies on the way give up after half a minute or more.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// When to come back after a refusal for a while, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
const BATCH: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The routes below `path`, the one of the WebSocket.
pub(crate) fn router(path: &str) -> Router<Arc<Shared>> {
    let sessions = format!("{}/sessions", path.trim_end_matches('/'));
    let session = format!("{sessions}/{{id}}");
    Router::new().route(&sessions, post(open)).route(&session, post(exchange).delete(end))
}

/// How long a body may take to arrive, and a batch until the session takes it.
fn body_timeout(shared: &Shared) -> Duration {
    2 * shared.services.config.login_timeout
}

fn text(status: StatusCode, reason: &str) -> Response {
    let mut response = (status, format!("{reason}\n")).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

fn forbidden(shared: &Shared, headers: &HeaderMap) -> Option<Response> {
    (!origin_allowed(headers, &shared.allowed_origins))
        .then(|| text(StatusCode::FORBIDDEN, "pages of this origin may not connect: the operator can allow it"))
}

async fn open(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if let Some(response) = forbidden(&shared, request.headers()) {
        return response;
    }
    if shared.is_stopping() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the server stops or restarts: come back later");
    }
    // A place of its own: the session outlives the connections that its requests come over.
    let address: Option<SocketAddr> = client_address(request.extensions());
    let slot = match shared.slots.take(address.map(|address| address.ip())) {
        Ok(slot) => Arc::new(slot),
        Err(full) => return text(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()),
    };
    let Ok((id, pipe, entry)) = shared.polling.open() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the server has no random numbers: come back later");
    };
    let polling = Polling { pipe, idle: shared.http_idle, _entry: entry };
    tokio::spawn(drive(polling, shared.services.clone(), slot, address));
    (StatusCode::CREATED, [(header::CACHE_CONTROL, NO_STORE)], id).into_response()
}

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ask {
    send: Option<u64>,
    receive: Option<u64>,
    wait: Duration,
}

fn ask(query: Option<&str>) -> Option<Ask> {
    let mut ask = Ask::default();
    for pair in query?.split('&') {
        let (name, value) = pair.split_once('=')?;
        let number = value.parse::<u64>().ok()?;
        match name {
            "send" if ask.send.is_none() && number > 0 => ask.send = Some(number),
            "receive" if ask.receive.is_none() && number > 0 => ask.receive = Some(number),
            "wait" => ask.wait = Duration::from_secs(number).min(MAX_WAIT),
            _ => return None,
        }
    }
    (ask.send.is_some() || ask.receive.is_some()).then_some(ask)
}

async fn exchange(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    if let Some(response) = forbidden(&shared, request.headers()) {
        return response;
    }
    let Some(ask) = ask(request.uri().query()) else {
        let reason = "say ?send=N, ?receive=N&wait=SECONDS or both, with numbers from 1";
        return text(StatusCode::BAD_REQUEST, reason);
    };
    let Some(pipe) = shared.polling.get(&id) else {
        return text(StatusCode::NOT_FOUND, "there is no such session any more: open another");
    };
    let _request = pipe.request();
    let packets = match batch(&shared, request).await {
        Ok(packets) => packets,
        Err(response) => return *response,
    };
    if ask.send.is_none() && !packets.is_empty() {
        return text(StatusCode::BAD_REQUEST, "packets need a number: say ?send=N");
    }
    if let Some(number) = ask.send
        && let Err(refusal) = pipe.send(number, &packets, body_timeout(&shared)).await
    {
        return refused(refusal);
    }
    drop(packets);
    let answer = match ask.receive {
        Some(number) => pipe.receive(number, ask.wait).await,
        None => Ok(bytes::Bytes::new()),
    };
    match answer {
        Ok(packets) => {
            let headers: [(HeaderName, HeaderValue); 2] =
                [(header::CONTENT_TYPE, BATCH), (header::CACHE_CONTROL, NO_STORE)];
            (headers, Body::from(packets)).into_response()
        }
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Response {
    let status = match refusal {
        Refusal::OutOfOrder { .. } | Refusal::Replaced => StatusCode::CONFLICT,
        Refusal::Over => StatusCode::GONE,
        Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, &refusal.to_string())
}

/// The body, a batch that was looked at as a whole.
async fn batch(shared: &Shared, request: Request) -> Result<bytes::Bytes, Box<Response>> {
    let fail = |status, reason: &str| Err(Box::new(text(status, reason)));
    let limits = Limits::new(shared.services.config.max_body);
    let max = OUTBOX.max(limits.max_packet());
    let batch_limits = BatchLimits { max_bytes: u32::try_from(max).unwrap_or(u32::MAX), ..BatchLimits::default() };
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let too_long = format!("the batch is longer than {max} bytes: send several");
    if length.is_some_and(|length| length > max) {
        return fail(StatusCode::PAYLOAD_TOO_LARGE, &too_long);
    }
    let body = match tokio::time::timeout(body_timeout(shared), to_bytes(request.into_body(), max)).await {
        Ok(Ok(body)) => body,
        // Cut off, or over the limit without having said so.
        Ok(Err(_)) => return fail(StatusCode::PAYLOAD_TOO_LARGE, &too_long),
        Err(_) => return fail(StatusCode::REQUEST_TIMEOUT, "the body took too long: send the same again"),
    };
    for packet in Batch::new(&body, limits, batch_limits) {
        if let Err(error) = packet {
            use im_codec::{BatchErrorKind as Kind, DecodeError};
            let too_large = matches!(
                error.kind,
                Kind::TooManyBytes { .. }
                    | Kind::TooManyPackets { .. }
                    | Kind::Packet(DecodeError::BodyTooLarge { .. })
            );
            let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            return fail(status, &error.to_string());
        }
    }
    Ok(body)
}

async fn end(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(response) = forbidden(&shared, &headers) {
        return response;
    }
    if let Some(pipe) = shared.polling.get(&id) {
        pipe.end();
    }
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_asks_for_and_nothing_else() {
        let all = Ask { send: Some(3), receive: Some(5), wait: Duration::from_secs(7) };
        assert_eq!(ask(Some("send=3&receive=5&wait=7")), Some(all));
        assert_eq!(ask(Some("receive=1&wait=9999999")).map(|ask| ask.wait), Some(MAX_WAIT));
        for wrong in ["", "wait=1", "send", "send=", "send=0", "send=-1", "send=1&send=2", "send=1&x=2", "receive=1.5"]
        {
            assert_eq!(ask(Some(wrong)), None, "{wrong}");
        }
        assert_eq!(ask(None), None);
    }
}
