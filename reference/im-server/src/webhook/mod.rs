//! Webhooks: what is stored is told to a service of the application over HTTP, signed as standardwebhooks.com says.
//!
//! ```text
//! log + outbox row, one atomic batch -> lanes: one event of a conversation at a time, 8 at a time in all
//!                                       -> POST, signed -> 2xx: settled
//!                                                       -> anything else: again, later and later, then given up
//! ```

mod client;
mod deliver;
mod lanes;
mod payload;
mod sign;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use hyper::Uri;

pub(crate) use self::client::Client;
pub(crate) use self::deliver::deliver;
use self::sign::Secret;

/// Where events are sent, and how.
///
/// A request is a POST of JSON with `type`, `timestamp` and `data`, and the headers `webhook-id`, `webhook-timestamp` and
/// `webhook-signature` of standardwebhooks.com. Any status of 200 to 299 settles it. Everything else, redirects too, is tried
/// again after a growing and random delay, or the one that `Retry-After` asks for; what fails for longer than
/// [`max_age`](Self::max_age) becomes a dead letter. `410 Gone` ends sending until the server starts again. An event may come
/// more than once, with the same `webhook-id`; those of one conversation come in order.
///
/// ```no_run
/// use std::sync::Arc;
/// use im_server::{Server, Webhooks, store::{FjallConfig, FjallStore, OutboxConfig}};
/// # fn server(store: Arc<FjallStore>) -> Server { unimplemented!() }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = FjallConfig { outbox: Some(OutboxConfig::default()), ..FjallConfig::default() };
/// let store = Arc::new(FjallStore::open("./im-data".as_ref(), &config)?);
/// let server = server(store.clone());
/// let webhooks = Webhooks::new("https://app.example/im", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?.content(false);
/// server.send_webhooks(store, &webhooks).await;
/// # Ok(())
/// # }
/// ```
pub struct Webhooks {
    pub(crate) client: Client,
    secrets: Vec<Secret>,
    content: bool,
    timeout: Duration,
    max_age: Duration,
    backoff: (Duration, Duration),
}

/// Why events cannot be sent as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The address.
    #[error(
        "the webhook address {0:?} is not one: give http:// or https://, a host, and a path, without user and password"
    )]
    Url(String),
    /// The secret. It is not shown.
    #[error(
        "the webhook secret is not one: give whsec_ and then 24 to 64 bytes in base64, for example from: echo whsec_$(openssl rand -base64 32)"
    )]
    Secret,
    /// The authorities to trust.
    #[error("no authority can be taken from the file for webhooks ({0}): give certificates in PEM")]
    Authorities(String),
    /// The build's cryptography does not fit together.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Webhooks {
    /// Sends to this address, signed with this secret: `whsec_` and then base64. Certificates are checked against the public
    /// authorities that Mozilla trusts, as of this build.
    ///
    /// # Errors
    ///
    /// [`WebhookError`] naming what is wrong.
    pub fn new(url: &str, secret: &str) -> Result<Self, WebhookError> {
        let bad = || WebhookError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        Ok(Self {
            client: Client::new(&uri)?.ok_or_else(bad)?,
            secrets: vec![Secret::parse(secret)?],
            content: true,
            timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(72 * 3600),
            backoff: (Duration::from_secs(1), Duration::from_secs(300)),
        })
    }

    /// Signs with this secret too, so that the receiver can go over from one to the other.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Secret`].
    pub fn also_secret(mut self, secret: &str) -> Result<Self, WebhookError> {
        self.secrets.push(Secret::parse(secret)?);
        Ok(self)
    }

    /// Trusts only the authorities in this PEM text.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Authorities`], [`WebhookError::Tls`].
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self, WebhookError> {
        self.client = self.client.trusting(pem)?;
        Ok(self)
    }

    /// Whether the address asks for TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.client.is_secure()
    }

    /// Whether the content of messages is sent. Default yes; without, an event says who, where, when and what kind.
    #[must_use]
    pub fn content(mut self, content: bool) -> Self {
        self.content = content;
        self
    }

    /// How long a request may take, with the connection and the answer. Default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long an event is tried before it is given up. Default 72 hours.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The delay after a first failure, doubled with each further one up to the second. Half of each is random. Default 1 s
    /// and 5 minutes.
    #[must_use]
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = (first, most);
        self
    }
}

/// Shows where, and no secret.
impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("client", &self.client).field("content", &self.content).finish_non_exhaustive()
    }
}
