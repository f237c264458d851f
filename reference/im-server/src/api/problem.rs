//! What is wrong with a request, as RFC 9457 writes it.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::directory::DirectoryError;
use crate::groups::GroupError;
use crate::session::Refusal;
use crate::store::StoreError;

/// A problem: `code` is stable and for programs, `detail` is for people.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// The status, in words.
    title: Cow<'static, str>,
    /// The HTTP status.
    status: u16,
    /// What it is, for programs: it does not change.
    code: &'static str,
    /// What to do about it.
    detail: String,
    #[serde(skip)]
    retry_after: Option<u16>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("problem").into();
        Self { title, status: status.as_u16(), code, detail: detail.into(), retry_after: None }
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(super) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(super) fn conflict() -> Self {
        let detail = "this id was used for another request before: give each request an id of its own";
        Self::new(StatusCode::CONFLICT, "id_used", detail)
    }

    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail) }
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "key_refused", detail)
    }

    pub(super) fn too_many_keys() -> Self {
        let detail = "too many keys or logins from your address were refused: come back in a minute";
        Self { retry_after: Some(60), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_refused", detail) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Trimmed { .. }) {
            return Self::new(StatusCode::GONE, "too_old", "the message is older than what this server keeps");
        }
        tracing::error!(%error, "the store did not answer the API");
        Self::busy("the server's store does not answer: send the same again later")
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        tracing::error!(%error, "the directory did not answer the API");
        Self::busy("the server's directory does not answer: send the same again later")
    }
}

impl From<GroupError> for Problem {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Name(_) => Self::invalid(error.to_string()),
            GroupError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if refusal.retry { Self::busy(refusal.reason()) } else { Self::invalid(refusal.reason()) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, serde_json::to_vec(&self).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
