//! The HTTP routes: the upgrade to a WebSocket, those of sessions over HTTP, and those for operators.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Extensions, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use im_proto::Limits;
use sha1_smol::Sha1;

use crate::limits::Slot;
use crate::server::Shared;
use crate::session::drive;
use crate::transport::WebSocket;
use crate::{api, blob, operations, polling};

/// The WebSocket sub-protocol of these packets.
const PROTOCOL: &str = "im.v2";

/// Whose HTTP connection it is, where the listener is this crate's own.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) slot: Arc<Slot>,
}

pub(crate) fn router(shared: Arc<Shared>, websocket_path: &str) -> Router {
    // Any method, so that a wrong one is answered with what to do.
    let counting = middleware::from_fn_with_state(shared.clone(), count);
    let api = if shared.service_keys.is_empty() { Router::new() } else { api::router() };
    let files = if shared.services.files.is_some() { blob::router() } else { Router::new() };
    Router::new()
        .merge(api)
        .route(websocket_path, any(upgrade))
        .merge(polling::router(websocket_path))
        .merge(operations::public_routes())
        .merge(files)
        .layer(counting)
        .with_state(shared)
}

/// Refusals are limits at work, or somebody who tries.
async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status().as_u16() >= 400 {
        shared.services.metrics.http_refused(response.status().as_u16());
    }
    response
}

/// Where a request comes from, as far as is known.
pub(crate) fn client_address(extensions: &Extensions) -> Option<SocketAddr> {
    let peer = extensions.get::<Peer>().map(|peer| peer.address);
    // The application's own listener knows the address if the application passes it on.
    peer.or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0))
}

fn refusal(status: StatusCode, reason: &'static str) -> Response {
    (status, reason).into_response()
}

async fn upgrade(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let accept = match check(request.method(), request.headers(), &shared.allowed_origins) {
        Ok(accept) => accept,
        Err(response) => return *response,
    };
    if shared.is_stopping() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "the server stops or restarts: come back later\n");
    }
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "a WebSocket needs HTTP/1.1\n");
    };
    let extensions = request.extensions();
    let (address, slot) = match extensions.get::<Peer>() {
        Some(peer) => (Some(peer.address), peer.slot.clone()),
        None => {
            let address = client_address(extensions);
            match shared.slots.take(address.map(|address| address.ip())) {
                Ok(slot) => (address, Arc::new(slot)),
                Err(full) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{full}\n")).into_response(),
            }
        }
    };
    let offered = tokens(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == PROTOCOL);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => {
                let limits = Limits::new(shared.services.config.max_body);
                let transport = WebSocket::new(TokioIo::new(stream), limits);
                drive(transport, shared.services.clone(), slot, address).await;
            }
            Err(error) => tracing::debug!(peer = ?address, %error, "the upgrade to a WebSocket was not completed"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if offered {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    response
}

/// The members of a comma-separated header, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Checks a request against RFC 6455 section 4.2.1 and gives the value of `Sec-WebSocket-Accept`.
fn check(method: &Method, headers: &HeaderMap, allowed_origins: &[String]) -> Result<HeaderValue, Box<Response>> {
    let fail = |status, reason| Err(Box::new(refusal(status, reason)));
    if method != Method::GET {
        return fail(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET\n");
    }
    let upgrades = tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
        && tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    if !upgrades {
        let mut response = refusal(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket: connect with ws:// or wss://\n");
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Err(Box::new(response));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = refusal(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken here\n");
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key)) else {
        return fail(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64\n");
    };
    if !origin_allowed(headers, allowed_origins) {
        return fail(StatusCode::FORBIDDEN, "pages of this origin may not connect: the operator can allow it\n");
    }
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    match HeaderValue::from_str(&STANDARD.encode(hash.digest().bytes())) {
        Ok(accept) => Ok(accept),
        Err(_) => fail(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written\n"),
    }
}

fn is_key(key: &HeaderValue) -> bool {
    STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16)
}

/// Browsers name the page's origin, and would let any page connect. Programs name none.
pub(crate) fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.split_once("://"), host) {
        (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(more: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let base = [
            (header::HOST, "chat.example:6001"),
            (header::CONNECTION, "keep-alive, Upgrade"),
            (header::UPGRADE, "WebSocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in base.iter().chain(more) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn status(more: &[(HeaderName, &'static str)], allowed: &[String]) -> StatusCode {
        match check(&Method::GET, &headers(more), allowed) {
            Ok(_) => StatusCode::SWITCHING_PROTOCOLS,
            Err(response) => response.status(),
        }
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        let accept = check(&Method::GET, &headers(&[]), &[]).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_upgrade_is_refused_by_what_is_wrong() {
        assert_eq!(check(&Method::POST, &headers(&[]), &[]).unwrap_err().status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(status(&[(header::CONNECTION, "keep-alive")], &[]), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(status(&[(header::UPGRADE, "h2c")], &[]), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(status(&[(header::SEC_WEBSOCKET_VERSION, "8")], &[]), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(status(&[(header::SEC_WEBSOCKET_KEY, "c2hvcnQ=")], &[]), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn pages_of_another_origin_need_to_be_allowed() {
        let allowed = ["https://app.example".to_owned()];
        for (origin, expected) in [
            ("http://chat.example:6001", StatusCode::SWITCHING_PROTOCOLS),
            ("https://app.example", StatusCode::SWITCHING_PROTOCOLS),
            ("http://chat.example", StatusCode::FORBIDDEN),
            ("https://evil.example", StatusCode::FORBIDDEN),
            ("null", StatusCode::FORBIDDEN),
        ] {
            assert_eq!(status(&[(header::ORIGIN, origin)], &allowed), expected, "{origin}");
        }
        assert_eq!(status(&[(header::ORIGIN, "null")], &["*".to_owned()]), StatusCode::SWITCHING_PROTOCOLS);
    }
}
