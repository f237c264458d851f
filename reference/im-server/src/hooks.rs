//! What an application does about messages, before they are stored and after, and about requests.

mod chain;
mod requests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use im_proto::{Conversation, RefusalCode};

pub(crate) use self::chain::Chains;
pub use self::requests::{AnswerRequests, Asked, Reply};
use crate::metrics::Metrics;
use crate::session::Refusal;
use crate::store::{EntryKind, StoredEntry};

/// Messages of one session that a [`BeforeSend`] may look at at the same time. They are stored in their order all the same.
pub(crate) const REVIEWS: usize = 8;

/// Who hands a message in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// This device of the user that the message is from.
    Device(&'a str),
    /// The service: the name of its key, or `server` for [`Server::broadcast`](crate::Server::broadcast).
    Service(&'a str),
}

/// No device of a user has such a name: names have no control characters.
const SERVICE: char = '\u{1}';

/// The device that entries of the service are from; `id` is a request of its.
pub(crate) fn service_device(key: &str, id: &str) -> Arc<str> {
    format!("{SERVICE}{key}{SERVICE}{id}").into()
}

impl<'a> Origin<'a> {
    pub(crate) fn of(device: &'a str) -> Self {
        match device.strip_prefix(SERVICE) {
            Some(service) => Self::Service(service.split(SERVICE).next().unwrap_or_default()),
            None => Self::Device(device),
        }
    }
}

/// A message or command on its way to the log, or a message on its way to a room.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Draft<'a> {
    /// The user, or the name that the service gave.
    pub from: &'a str,
    /// Who hands it in.
    pub origin: Origin<'a>,
    /// Where it goes, as the sender names it.
    pub conversation: &'a Conversation,
    /// What it is.
    pub kind: EntryKind,
    /// The type of the content.
    pub content_type: u32,
    /// The content; of a sealed message its parts, as [`im_proto::SealedParts`] in its bytes.
    pub content: &'a [u8],
}

/// Shows the length only: content does not belong in a log line.
impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("origin", &self.origin)
            .field("kind", &self.kind)
            .field("content_type", &self.content_type)
            .field("content_len", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// What becomes of a [`Draft`].
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It goes on with this content. Only of messages that are not sealed, and of edits.
    Replace {
        /// Up to 65535.
        content_type: u32,
        /// Up to [`max_content`](im_proto::ServerConfig::max_content) bytes.
        content: Vec<u8>,
    },
    /// It is not stored, and the sender is told.
    Refuse {
        /// Of the protocol, or from 1000 on the application's own.
        code: RefusalCode,
        /// For people; cut after 256 bytes.
        reason: String,
        /// The same may be taken later: the sender tries again by itself.
        retry: bool,
    },
}

/// Shows no content and no reason.
impl std::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Replace { content, .. } => write!(f, "Replace({} bytes)", content.len()),
            Self::Refuse { code, retry, .. } => write!(f, "Refuse({code}, retry: {retry})"),
        }
    }
}

/// A hook could not do its work. The text is for the log, so it must hold no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HookError(pub String);

/// Looks at everything before it is stored or said in a room: messages, sealed messages, recalls, edits and reactions, of
/// users and of the service. Who may do it is decided before. What was stored already is not asked about again.
///
/// A hook that fails, panics or takes longer than [`ServerBuilder::hook_timeout`](crate::ServerBuilder::hook_timeout) is a
/// refusal that the sender's client tries again by itself. Of each session up to eight are asked about at once.
///
/// ```
/// use futures_util::future::BoxFuture;
/// use im_server::{BeforeSend, Draft, HookError, RefusalCode, Verdict};
///
/// struct NoShouting;
///
/// impl BeforeSend for NoShouting {
///     fn before_send<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<Verdict, HookError>> {
///         Box::pin(async move {
///             let shouts = draft.content.ends_with(b"!!!");
///             let refuse = || Verdict::Refuse { code: RefusalCode(1001), reason: "say it calmly".into(), retry: false };
///             Ok(if shouts { refuse() } else { Verdict::Pass })
///         })
///     }
/// }
/// # fn example(builder: im_server::ServerBuilder) -> im_server::ServerBuilder {
/// builder.before_send(std::sync::Arc::new(NoShouting))
/// # }
/// ```
pub trait BeforeSend: Send + Sync + 'static {
    /// What becomes of it.
    fn before_send<'a>(&'a self, draft: &'a Draft<'a>) -> BoxFuture<'a, Result<Verdict, HookError>>;
}

/// An entry that is durable.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Committed<'a> {
    /// Where it is, as its sender names it.
    pub conversation: &'a Conversation,
    /// Who handed it in.
    pub origin: Origin<'a>,
    /// The entry with its seq, message id and time.
    pub entry: &'a StoredEntry,
    /// It was stored before and told before, unless the server was stopped in between. Then it comes out of order.
    pub again: bool,
}

/// Is told of each entry of a log once it is durable, in the order of the conversation. Messages to rooms are in no log.
///
/// The sender has its answer only after the hook, and everybody else gets the message without waiting for it. So the hook was
/// called for whatever was acked, also over a crash: a sender without an answer asks again, and the hook is then called with
/// [`again`](Committed::again). What waits is bounded by what sessions may have on their way. A hook that fails or takes longer
/// than [`ServerBuilder::hook_timeout`](crate::ServerBuilder::hook_timeout) is counted and logged; the entry stays stored and is
/// acked. What must not be missed belongs into a [`Store`](crate::store::Store) of your own or a
/// [webhook](crate::Webhooks).
///
/// ```
/// use futures_util::future::BoxFuture;
/// use im_server::{AfterCommit, Committed, HookError};
///
/// struct Index; // the application's own
///
/// impl AfterCommit for Index {
///     fn after_commit<'a>(&'a self, committed: &'a Committed<'a>) -> BoxFuture<'a, Result<(), HookError>> {
///         Box::pin(async move {
///             println!("{} in {:?}", committed.entry.seq, committed.conversation);
///             Ok(())
///         })
///     }
/// }
/// # fn example(builder: im_server::ServerBuilder) -> im_server::ServerBuilder {
/// builder.after_commit(std::sync::Arc::new(Index))
/// # }
/// ```
pub trait AfterCommit: Send + Sync + 'static {
    /// Takes note of it.
    fn after_commit<'a>(&'a self, committed: &'a Committed<'a>) -> BoxFuture<'a, Result<(), HookError>>;
}

/// The application's hooks, and how long each may take.
pub(crate) struct Hooks {
    pub(crate) before: Option<Arc<dyn BeforeSend>>,
    pub(crate) after: Option<Arc<dyn AfterCommit>>,
    pub(crate) requests: Option<Arc<dyn AnswerRequests>>,
    pub(crate) timeout: Duration,
    pub(crate) max_content: usize,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) chains: Chains,
}

impl Hooks {
    /// What the draft becomes: its new content type and content, if the hook has some.
    pub(crate) async fn review(&self, draft: &Draft<'_>) -> Result<Option<(u16, Vec<u8>)>, Refusal> {
        const NAME: &str = "before_send";
        let Some(hook) = &self.before else { return Ok(None) };
        let verdict = self.limited(NAME, self.timeout, hook.before_send(draft)).await;
        let failed = || Refusal::later("the service could not look at it now: it is tried again");
        let count = |outcome| self.metrics.hook(NAME, outcome);
        match verdict.ok_or_else(failed)? {
            Verdict::Pass => {
                count("passed");
                Ok(None)
            }
            Verdict::Replace { content_type, content } => {
                let may = matches!(draft.kind, EntryKind::Message | EntryKind::Edit { .. });
                match u16::try_from(content_type) {
                    Ok(content_type) if may && content.len() <= self.max_content => {
                        count("replaced");
                        Ok(Some((content_type, content)))
                    }
                    _ => {
                        tracing::error!(?draft, "before_send gave content that cannot stand there, or too much of it");
                        count("failed");
                        Err(failed())
                    }
                }
            }
            Verdict::Refuse { code, reason, retry } => {
                count("refused");
                Err(Refusal::by_hook(code, reason, retry))
            }
        }
    }

    /// Tells the hook of an entry; what goes wrong is logged.
    pub(crate) async fn tell(&self, committed: &Committed<'_>) {
        const NAME: &str = "after_commit";
        let Some(hook) = &self.after else { return };
        match self.limited(NAME, self.timeout, hook.after_commit(committed)).await {
            Some(()) => self.metrics.hook(NAME, "passed"),
            None => tracing::error!(seq = committed.entry.seq, "an entry is stored, and after_commit did not take it"),
        }
    }

    async fn limited<T>(
        &self,
        name: &'static str,
        timeout: Duration,
        hook: BoxFuture<'_, Result<T, HookError>>,
    ) -> Option<T> {
        let (outcome, why) = match tokio::time::timeout(timeout, AssertUnwindSafe(hook).catch_unwind()).await {
            Ok(Ok(Ok(done))) => return Some(done),
            Ok(Ok(Err(HookError(why)))) => ("failed", why),
            Ok(Err(_)) => ("failed", "it panicked".into()),
            Err(_) => ("timeout", format!("it took longer than {timeout:?}")),
        };
        tracing::error!(hook = name, why, "a hook of the application did not do its work");
        self.metrics.hook(name, outcome);
        None
    }
}
