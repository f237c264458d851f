//! The content of files over HTTP: `PUT`, `GET` and `HEAD` of `/files/ID`, with the token that the session gave as bearer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;

use super::token::Allowed;
use super::{Files, Meta, disk, valid_id};
use crate::http::origin_allowed;
use crate::server::Shared;
use crate::{clock, hex};

/// What is read of a file at a time.
const CHUNK: usize = 64 * 1024;
/// The slowest upload, in bytes a second.
const SLOWEST: u64 = 8 * 1024;

type Refused = (StatusCode, &'static str);

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/files/{id}", any(file))
}

async fn file(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    let metrics = shared.services.metrics.clone();
    let method = request.method().clone();
    let what = if method == Method::PUT { "upload" } else { "download" };
    match serve(&shared, &id, request).await {
        Ok(response) => {
            metrics.file_transfer(what, "done");
            response
        }
        Err((status, reason)) => {
            metrics.file_transfer(what, "refused");
            let mut response = (status, format!("{reason}\n")).into_response();
            if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

async fn serve(shared: &Arc<Shared>, id: &str, request: Request) -> Result<Response, Refused> {
    let not_there = (StatusCode::NOT_FOUND, "there is no such file");
    let files = shared.services.files.as_ref().filter(|_| valid_id(id)).ok_or(not_there)?;
    if !origin_allowed(request.headers(), &shared.allowed_origins) {
        return Err((StatusCode::FORBIDDEN, "pages of this origin may not ask: the operator can allow it"));
    }
    if shared.is_stopping() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the server stops or restarts: come back later"));
    }
    let token = bearer(request.headers());
    let allowed = token.and_then(|token| files.shared.tokens.check(token, id, clock::unix_ms()));
    let allowed =
        allowed.ok_or((StatusCode::UNAUTHORIZED, "the session gives tokens for files: ask it for another"))?;
    match (request.method(), allowed) {
        (&Method::PUT, Allowed::Upload(meta)) => upload(shared, files, id, meta, request).await,
        (&Method::GET | &Method::HEAD, Allowed::Download) => download(files, id, request.method()).await,
        (_, Allowed::Upload(_)) => Err((StatusCode::METHOD_NOT_ALLOWED, "this token is for PUT")),
        (_, Allowed::Download) => Err((StatusCode::METHOD_NOT_ALLOWED, "this token is for GET and HEAD")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn failed(error: &std::io::Error) -> Refused {
    tracing::error!(%error, "a file could not be read or written");
    (StatusCode::SERVICE_UNAVAILABLE, "the server's disk does not do it: come back later")
}

async fn upload(shared: &Shared, files: &Files, id: &str, meta: Meta, request: Request) -> Result<Response, Refused> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length != meta.size) {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "the length is not the size that the session was told"));
    }
    let here = disk::meta(files.dir(), id).await.map_err(|error| failed(&error))?;
    if here.is_some() {
        // An earlier try came to its end, and its answer was lost. What this one brings is not looked at.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "so many transfers are under way that this one has to wait");
    let _place = files.shared.places.try_acquire().map_err(|_| busy)?;
    let mut reservation = files.reserve(&meta).map_err(|full| {
        shared.services.metrics.file_limit(full.name());
        (StatusCode::TOO_MANY_REQUESTS, full.text())
    })?;
    let mut upload = match disk::Upload::begin(files.dir(), id).await {
        Ok(upload) => upload,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err((StatusCode::CONFLICT, "another upload of this file is under way"));
        }
        Err(error) => return Err(failed(&error)),
    };
    let patience = shared.services.stall + Duration::from_secs(meta.size / SLOWEST);
    let taken = tokio::time::timeout(patience, take(&mut upload, &meta, request.into_body(), shared.services.stall));
    let refused = match taken.await {
        Ok(Ok(())) => match upload.keep(&meta).await {
            Ok(()) => {
                reservation.kept = true;
                shared.services.metrics.files_used(files.used_bytes());
                return Ok(StatusCode::CREATED.into_response());
            }
            Err(error) => return Err(failed(&error)),
        },
        Ok(Err(refused)) => refused,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the upload took too long: send the same again"),
    };
    Err(refused)
}

/// Takes exactly what was announced, a chunk at a time.
async fn take(upload: &mut disk::Upload, meta: &Meta, body: Body, stall: Duration) -> Result<(), Refused> {
    let (mut body, mut left, mut digest) = (body.into_data_stream(), meta.size, Sha256::new());
    let other_size = (StatusCode::UNPROCESSABLE_ENTITY, "the content does not have the size that the session was told");
    loop {
        let slow = (StatusCode::REQUEST_TIMEOUT, "nothing came for too long: send the same again");
        let Some(chunk) = tokio::time::timeout(stall, body.next()).await.map_err(|_| slow)? else { break };
        let chunk = chunk.map_err(|_| (StatusCode::BAD_REQUEST, "the upload was cut off: send the same again"))?;
        left = left.checked_sub(chunk.len() as u64).ok_or(other_size)?;
        digest.update(&chunk);
        upload.write(&chunk).await.map_err(|error| failed(&error))?;
    }
    if left > 0 {
        return Err(other_size);
    }
    if hex::encode(&digest.finalize()) != meta.sha256 {
        let other = "the content does not have the SHA-256 that the session was told: it was changed on the way, or the file was";
        return Err((StatusCode::UNPROCESSABLE_ENTITY, other));
    }
    Ok(())
}

async fn download(files: &Files, id: &str, method: &Method) -> Result<Response, Refused> {
    let not_there = (StatusCode::NOT_FOUND, "there is no such file any more");
    let meta = disk::meta(files.dir(), id).await.map_err(|error| failed(&error))?.ok_or(not_there)?;
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        let busy = (StatusCode::SERVICE_UNAVAILABLE, "so many transfers are under way that this one has to wait");
        let place = Arc::clone(&files.shared.places).try_acquire_owned().map_err(|_| busy)?;
        Body::from_stream(chunks(disk::content(files.dir(), id).await.map_err(|error| failed(&error))?, place))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 5] = [
        // Whatever it says that it is: nothing that a browser would run in the name of this server.
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::ACCEPT_RANGES, "none"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.insert(header::CONTENT_LENGTH, meta.size.into());
    let media_type = HeaderValue::from_str(&meta.media_type);
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", meta.sha256)) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A chunk at a time, as the reader takes them.
fn chunks(file: File, place: OwnedSemaphorePermit) -> impl Stream<Item = std::io::Result<Vec<u8>>> + Send {
    futures_util::stream::try_unfold((file, place), async |(mut file, place)| {
        let mut chunk = vec![0; CHUNK];
        let len = file.read(&mut chunk).await?;
        chunk.truncate(len);
        Ok((len > 0).then_some((chunk, (file, place))))
    })
}
