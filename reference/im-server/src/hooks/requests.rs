//! Requests of clients, which the application answers.

use std::time::Duration;

use futures_util::future::BoxFuture;
use im_proto::{RefusalCode, Request};

use super::{HookError, Hooks};

/// What a device asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The user that is logged in.
    pub user: &'a str,
    /// The device that asks.
    pub device: &'a str,
    /// What it asks, and how long it waits.
    pub request: &'a Request,
}

/// What it is told.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer.
    Answer {
        /// See [`im_proto::content_type`].
        content_type: u32,
        /// Up to [`max_content`](im_proto::ServerConfig::max_content) bytes.
        content: Vec<u8>,
    },
    /// There is none.
    Refuse {
        /// Of the protocol, as [`RefusalCode::UNKNOWN_METHOD`], or from 1000 on the application's own.
        code: RefusalCode,
        /// For people; cut after 256 bytes.
        reason: String,
        /// From when on another answer is possible; `None`: never.
        retry_after: Option<Duration>,
    },
}

impl Reply {
    /// An answer whose content has the application's own meaning (content type 0).
    pub const fn new(content: Vec<u8>) -> Self {
        Self::Answer { content_type: 0, content }
    }

    /// Nobody here does what the request asks for.
    pub fn unknown_method() -> Self {
        let reason = "this server does not know the method".into();
        Self::Refuse { code: RefusalCode::UNKNOWN_METHOD, reason, retry_after: None }
    }
}

/// Shows no content and no reason.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer { content, .. } => write!(f, "Answer({} bytes)", content.len()),
            Self::Refuse { code, .. } => write!(f, "Refuse({code})"),
        }
    }
}

/// Answers what clients ask with [`Connection::request`](im_proto::Connection::request), by methods of the application's own.
///
/// Of each session as many are under way as [`requests_max`](im_proto::ServerConfig::requests_max) says, each for as long as its
/// client waits, and in no order; at the end of the session they are dropped. One that fails or panics is refused, and may be
/// asked again. Without such a hook every method is unknown.
///
/// ```
/// use futures_util::future::BoxFuture;
/// use im_server::{AnswerRequests, Asked, HookError, Reply};
///
/// struct Whoami;
///
/// impl AnswerRequests for Whoami {
///     fn answer<'a>(&'a self, asked: &'a Asked<'a>) -> BoxFuture<'a, Result<Reply, HookError>> {
///         Box::pin(async move {
///             Ok(match asked.request.method.as_str() {
///                 "whoami" => Reply::new(asked.user.into()),
///                 _ => Reply::unknown_method(),
///             })
///         })
///     }
/// }
/// # fn example(builder: im_server::ServerBuilder) -> im_server::ServerBuilder {
/// builder.answer_requests(std::sync::Arc::new(Whoami))
/// # }
/// ```
pub trait AnswerRequests: Send + Sync + 'static {
    /// What it is told.
    fn answer<'a>(&'a self, asked: &'a Asked<'a>) -> BoxFuture<'a, Result<Reply, HookError>>;
}

impl Hooks {
    /// What the application answers.
    pub(crate) async fn ask(&self, asked: &Asked<'_>) -> Reply {
        const NAME: &str = "answer_requests";
        let Some(hook) = &self.requests else { return Reply::unknown_method() };
        let failed = || Reply::Refuse {
            code: RefusalCode::STORE,
            reason: "the service could not do it now: ask again".into(),
            retry_after: Some(Duration::from_secs(1)),
        };
        let Some(reply) = self.limited(NAME, asked.request.timeout, hook.answer(asked)).await else { return failed() };
        match &reply {
            Reply::Answer { content, .. } if content.len() > self.max_content => {
                tracing::error!(method = asked.request.method, len = content.len(), "an answer is over max_content");
                self.metrics.hook(NAME, "failed");
                return failed();
            }
            Reply::Answer { .. } => self.metrics.hook(NAME, "passed"),
            Reply::Refuse { .. } => self.metrics.hook(NAME, "refused"),
        }
        reply
    }
}
