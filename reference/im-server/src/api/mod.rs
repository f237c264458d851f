//! The API for services of the operator: push, delivery, who is online, bans, groups. JSON over HTTP below `/api/v1`, with a
//! service's key; docs/spec/api.md describes it, and `/api/v1/openapi.json` every field.

mod delivery;
mod groups;
mod openapi;
mod problem;
mod push;
mod types;
mod users;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use im_proto::valid_name;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::problem::Problem;
use crate::http::client_address;
use crate::keys::Right;
use crate::server::Shared;
use crate::session::Services;

/// Where it is.
const BASE: &str = "/api/v1";
/// Requests under way at once. Beyond that services are told to come back.
pub(crate) const AT_ONCE: usize = 64;
/// The most users in one request.
const MAX_USERS: usize = 1000;
/// Room in a body for everything but content: names of users above all.
const BODY: usize = 256 * 1024;
/// Items of a page, if the request does not say, and the most of them.
const PAGE: usize = 100;
const MAX_PAGE: usize = 500;

type PathParts = Result<Path<BTreeMap<String, String>>, PathRejection>;
type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, Problem>>;

/// What is served, and to whom; without a right, to everybody.
struct Route {
    method: Method,
    path: &'static str,
    right: Option<Right>,
    handler: Handler,
}

macro_rules! route {
    ($method:ident, $path:literal, $right:expr, $handler:path) => {
        Route { method: Method::$method, path: $path, right: $right, handler: |call| $handler(call).boxed() }
    };
}

static ROUTES: [Route; 17] = {
    use Right::{Groups, Push, Users};
    [
        route!(GET, "/openapi.json", None, openapi::document),
        route!(POST, "/messages", Some(Push), push::push),
        route!(GET, "/messages/private/{from}/{to}/{seq}", Some(Push), delivery::private),
        route!(GET, "/messages/group/{group}/{seq}", Some(Push), delivery::group),
        route!(GET, "/messages/channel/{channel}/{seq}", Some(Push), delivery::channel),
        route!(POST, "/users/online", Some(Users), users::online),
        route!(GET, "/users/{user}", Some(Users), users::user),
        route!(POST, "/users/{user}/kick", Some(Users), users::kick),
        route!(PUT, "/users/{user}/ban", Some(Users), users::ban),
        route!(DELETE, "/users/{user}/ban", Some(Users), users::unban),
        route!(GET, "/bans", Some(Users), users::bans),
        route!(PUT, "/groups/{group}", Some(Groups), groups::create),
        route!(GET, "/groups/{group}/members", Some(Groups), groups::members),
        route!(POST, "/groups/{group}/members", Some(Groups), groups::add),
        route!(GET, "/groups/{group}/members/{user}", Some(Groups), groups::member),
        route!(PUT, "/groups/{group}/members/{user}", Some(Groups), groups::set),
        route!(DELETE, "/groups/{group}/members/{user}", Some(Groups), groups::remove),
    ]
};

/// The routes, with a problem for everything else below them.
pub(crate) fn router() -> Router<Arc<Shared>> {
    let mut router = Router::new();
    for route in &ROUTES {
        let Ok(method) = MethodFilter::try_from(route.method.clone()) else { continue };
        let handler = move |State(shared): State<Arc<Shared>>, path: PathParts, request: Request| async move {
            answer(route, shared, path, request).await
        };
        router = router.route(route.path, on(method, handler));
    }
    let not_allowed = || async {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "another method").into_response()
    };
    let not_found =
        || async { Problem::not_found("no_such_route", "there is no such path in the API").into_response() };
    Router::new().nest(BASE, router.method_not_allowed_fallback(not_allowed).fallback(not_found))
}

/// A request that may be done.
struct Call {
    shared: Arc<Shared>,
    /// The name of the service's key; empty where none is needed.
    key: String,
    path: BTreeMap<String, String>,
    uri: Uri,
    body: Bytes,
}

/// What a request came to: JSON, or nothing to say.
struct Reply(Option<Vec<u8>>);

impl Reply {
    const DONE: Self = Self(None);

    fn json(value: &impl Serialize) -> Result<Self, Problem> {
        let json = serde_json::to_vec(value);
        json.map(|json| Self(Some(json))).map_err(|_| Problem::internal("the answer could not be written"))
    }
}

impl Call {
    fn services(&self) -> &Arc<Services> {
        &self.shared.services
    }

    /// A name that stands in the path.
    fn name(&self, part: &'static str) -> Result<&str, Problem> {
        let name = self.path.get(part).map(String::as_str).unwrap_or_default();
        check_name(part, name).map(|()| name)
    }

    fn seq(&self) -> Result<u64, Problem> {
        let seq = self.path.get("seq").and_then(|seq| seq.parse().ok()).filter(|seq| *seq > 0);
        seq.ok_or_else(|| Problem::invalid("the seq in the path must be a number from 1"))
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // Its text may repeat a value of the request, which goes back to where it came from and nowhere else.
            let detail = format!("the body is not what this route takes: {error}");
            if error.is_data() {
                Problem::invalid(detail)
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
            }
        })
    }

    fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let query = Query::<T>::try_from_uri(&self.uri);
        query.map(|Query(query)| query).map_err(|error| Problem::invalid(format!("the query: {}", error.body_text())))
    }

    /// Refuses a list that is too long, and names that are none.
    fn users<'a>(&self, users: &'a [String]) -> Result<&'a [String], Problem> {
        if users.len() > MAX_USERS {
            self.services().metrics.api_limit("targets");
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_many_users",
                format!("a request may name {MAX_USERS} users: send several"),
            ));
        }
        users.iter().try_for_each(|user| check_name("user", user))?;
        Ok(users)
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Problem> {
    let problem =
        || Problem::invalid(format!("the name of a {what} must have 1 to 128 bytes without control characters"));
    valid_name(name).then_some(()).ok_or_else(problem)
}

async fn answer(route: &'static Route, shared: Arc<Shared>, path: PathParts, request: Request) -> Response {
    let metrics = shared.services.metrics.clone();
    let response = match perform(route, shared, path, request).await {
        Ok(Reply(None)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Reply(Some(json))) => {
            const JSON: HeaderValue = HeaderValue::from_static("application/json");
            const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
            ([(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE)], json).into_response()
        }
        Err(problem) => problem.into_response(),
    };
    metrics.api_request(route.path, response.status().as_u16());
    response
}

async fn perform(route: &Route, shared: Arc<Shared>, path: PathParts, request: Request) -> Result<Reply, Problem> {
    if shared.is_stopping() {
        return Err(Problem::busy("the server stops or restarts: come back later"));
    }
    let address = client_address(request.extensions()).map(|address| address.ip());
    let malformed = |_| Problem::new(StatusCode::BAD_REQUEST, "malformed", "a name in the path is not UTF-8");
    let Path(path) = path.map_err(malformed)?;
    let key = match route.right {
        Some(right) => authorize(&shared, address, request.headers(), right)?,
        None => String::new(),
    };
    let Ok(_place) = shared.api_places.try_acquire() else {
        shared.services.metrics.api_limit("requests");
        return Err(Problem::busy("so many requests are under way that this one has to wait: send it again"));
    };
    let uri = request.uri().clone();
    let takes_body = route.method == Method::POST || route.method == Method::PUT;
    let body = if takes_body { body(&shared, request).await? } else { Bytes::new() };
    // On a task of its own: what was begun is finished, also when the service hangs up.
    let call = Call { shared: shared.clone(), key, path, uri, body };
    let done = tokio::spawn((route.handler)(call)).await;
    done.unwrap_or_else(|_| Err(Problem::internal("the server made a mistake: its log says more")))
}

/// Whose key it is. Wrong ones are counted for their address, which has to wait after too many.
fn authorize(shared: &Shared, address: Option<IpAddr>, headers: &HeaderMap, right: Right) -> Result<String, Problem> {
    if address.is_some_and(|address| shared.slots.is_shut(address)) {
        shared.services.metrics.api_limit("keys");
        return Err(Problem::too_many_keys());
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized("say who you are: Authorization: Bearer KEY"));
    };
    let (scheme, key) = value.as_bytes().split_at_checked(7).unwrap_or((&[], &[]));
    let known = scheme.eq_ignore_ascii_case(b"bearer ").then(|| shared.service_keys.find(key.trim_ascii())).flatten();
    let Some(known) = known else {
        if let Some(address) = address {
            shared.slots.key_refused(address);
        }
        tracing::info!(?address, "a request to the API had a wrong key");
        return Err(Problem::unauthorized("this key is not known here: ask the operator for one"));
    };
    if known.may(right) {
        Ok(known.name.clone())
    } else {
        let detail = format!("this key does not have the right {:?}: the operator can give it", right.name());
        Err(Problem::new(StatusCode::FORBIDDEN, "right_missing", detail))
    }
}

/// The body, within its limit in size and time.
async fn body(shared: &Shared, request: Request) -> Result<Bytes, Problem> {
    let max = BODY + 2 * shared.services.config.max_content;
    let json = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let json = json.and_then(|value| value.split(';').next()).is_some_and(|value| value.trim() == "application/json");
    if !json {
        let detail = "send JSON, with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
    }
    let too_large = || {
        shared.services.metrics.api_limit("body");
        let detail = format!("the body is longer than {max} bytes: send less at once");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    };
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let patience = 2 * shared.services.config.login_timeout;
    match tokio::time::timeout(patience, to_bytes(request.into_body(), max)).await {
        Ok(Ok(body)) => Ok(body),
        // Cut off, or over the limit without having said so.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let detail = "the body took too long: send the same again";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
        }
    }
}
