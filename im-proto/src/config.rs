//! Settings, with finite defaults and their worst case.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_codec::{DEFAULT_MAX_BODY, HARD_MAX_BODY};
use im_crypto::{CryptoProvider, KeyLimits, ServerKey, ServerPublicKey, SuiteId};
use im_serial::Registry;

use crate::backoff::Backoff;
use crate::budget::BudgetConfig;

/// Longest name of a user or device, in bytes.
pub const MAX_NAME_LEN: usize = 128;

/// Whether a user, device or conversation may have this name: 1 to 128 bytes, no control characters.
pub fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_LEN && !name.chars().any(char::is_control)
}

/// Room in a body for everything but the content: names, numbers and the format's own bytes.
const BODY_OVERHEAD: usize = 2048;

/// The largest content whose body fits into `max_body` in every format: base64 makes three bytes of content four.
pub(crate) const fn content_fits(content: usize, max_body: u32) -> bool {
    match content.div_ceil(3).checked_mul(4) {
        Some(encoded) => encoded.saturating_add(BODY_OVERHEAD) <= max_body as usize,
        None => false,
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Content of the allowed size would not fit into a packet.
    #[error(
        "max_content {max_content} needs a max_body of at least 4/3 of it plus 2048 bytes, but max_body is {max_body}"
    )]
    ContentOverBody {
        /// The content limit, in bytes.
        max_content: usize,
        /// The body limit, in bytes.
        max_body: u32,
    },
    /// A body limit over the hard maximum.
    #[error("max_body {max_body} is over the hard maximum of 1 MiB")]
    BodyOverHardMax {
        /// The body limit, in bytes.
        max_body: u32,
    },
    /// A limit that must not be zero.
    #[error("{name} must not be zero")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// The idle time is not longer than the heartbeat.
    #[error("idle ({idle:?}) must be longer than heartbeat ({heartbeat:?}), or honest peers are cut")]
    IdleNotLonger {
        /// Heartbeat.
        heartbeat: Duration,
        /// Idle time.
        idle: Duration,
    },
    /// A name that no server takes.
    #[error("the {field} is not a valid name: 1 to 128 bytes without control characters")]
    Name {
        /// Which name.
        field: &'static str,
    },
}

/// Who a client is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's id.
    pub user: String,
    /// The device's id, stable over restarts.
    pub device: String,
    /// Proof for the server; empty where it asks for none.
    pub token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("device", &self.device).finish_non_exhaustive()
    }
}

/// A client's settings.
///
/// Worst case of memory: `outbox_bytes` + `signal_bytes` + 2 x `receive_max` x (a delivery in the application's hands) +
/// `max_conversations` x about 1200 bytes, plus one packet each way in the caller's buffers.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the primitives come from.
    pub provider: &'static CryptoProvider,
    /// The server's pinned key.
    pub server_key: ServerPublicKey,
    /// Suites to offer, most preferred first.
    pub suites: Vec<SuiteId>,
    /// Serializations to offer, most preferred first.
    pub formats: Registry,
    /// Who logs in.
    pub credentials: Credentials,
    /// Largest packet body accepted, in bytes.
    pub max_body: u32,
    /// Largest content sent, in bytes.
    pub max_content: usize,
    /// How many deliveries of one connection may wait for the application's ack; 0 asks for no deliveries. While twice as
    /// many wait, no input is taken.
    pub receive_max: u32,
    /// Bound of the outbox, in bytes, counted with the overhead of each message.
    pub outbox_bytes: usize,
    /// Bytes of signals that may wait for transmission, with the overhead of each; beyond that the oldest is dropped.
    pub signal_bytes: usize,
    /// After so many transmissions without an answer a message's outcome is unknown.
    pub max_tries: u32,
    /// Delay between transmissions of a message on one connection.
    pub retry: Backoff,
    /// Delay between connections.
    pub reconnect: Backoff,
    /// Bound for handshake and login.
    pub login_timeout: Duration,
    /// Conversations whose position is kept.
    pub max_conversations: u32,
    /// How much one key may protect before it is updated, and at most. The default is right; lower it for more frequent keys.
    pub key_limits: KeyLimits,
}

impl ClientConfig {
    /// Settings for a server with this key, with every suite and format that is compiled in.
    pub fn new(provider: &'static CryptoProvider, server_key: ServerPublicKey, credentials: Credentials) -> Self {
        Self {
            provider,
            server_key,
            suites: provider.preferred_suites(),
            formats: Registry::default(),
            credentials,
            max_body: DEFAULT_MAX_BODY,
            max_content: 32 * 1024,
            receive_max: 64,
            outbox_bytes: 1024 * 1024,
            signal_bytes: 128 * 1024,
            max_tries: 16,
            retry: Backoff { first: Duration::from_secs(5), max: Duration::from_secs(60) },
            reconnect: Backoff::default(),
            login_timeout: Duration::from_secs(10),
            max_conversations: 16 * 1024,
            key_limits: KeyLimits::default(),
        }
    }

    /// Whether the settings can work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_sizes(self.max_content, self.max_body)?;
        for (field, name) in [("user", &self.credentials.user), ("device", &self.credentials.device)] {
            if !valid_name(name) {
                return Err(ConfigError::Name { field });
            }
        }
        nonzero("max_tries", u64::from(self.max_tries))?;
        nonzero("max_conversations", u64::from(self.max_conversations))?;
        nonzero("login_timeout", u64::try_from(self.login_timeout.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A server's settings, shared by its connections.
///
/// Worst case of memory per connection: `send_max` x (a submitted message in the application's hands) + one batch of
/// `fetch_bytes` + `max_conversations` x about 700 bytes + `receipts_max` x about 1200 bytes +
/// `signal_bytes` + `watch_max` x about 200 bytes, plus one packet each way in the
/// caller's buffers.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where the primitives come from.
    pub provider: &'static CryptoProvider,
    /// The static key that clients pin.
    pub key: ServerKey,
    /// Suites to accept, most preferred first.
    pub suites: Vec<SuiteId>,
    /// Serializations to accept, most preferred first.
    pub formats: Registry,
    /// Largest packet body accepted, in bytes.
    pub max_body: u32,
    /// Largest content accepted, in bytes.
    pub max_content: usize,
    /// How many submitted messages may wait for an answer.
    pub send_max: u32,
    /// Upper bound for a client's `receive_max`.
    pub receive_max: u32,
    /// How much of the log one fetch asks for, in bytes of content.
    pub fetch_bytes: usize,
    /// Conversations whose position is kept per connection.
    pub max_conversations: u32,
    /// Bytes of signals that may wait for transmission, with the overhead of each; beyond that the oldest is dropped.
    pub signal_bytes: usize,
    /// Users whose presence one connection may watch.
    pub watch_max: u32,
    /// What a client may cost, counted from its login on; `None`: whatever it likes. What is over a budget is refused with the
    /// wait. An application that counts by user over all devices does so itself, with [`crate::budget`].
    pub budgets: Option<BudgetConfig>,
    /// Receipts that may wait for transmission; beyond that the oldest is dropped.
    pub receipts_max: u32,
    /// Bound for handshake and login.
    pub login_timeout: Duration,
    /// A client that heard or sent nothing for so long pings. Whole seconds on the wire.
    pub heartbeat: Duration,
    /// A side that heard nothing for so long closes. Whole seconds on the wire.
    pub idle: Duration,
    /// How much one key may protect before it is updated, and at most. The default is right; lower it for more frequent keys.
    pub key_limits: KeyLimits,
}

impl ServerConfig {
    /// Settings for a server with this key, with every suite and format that is compiled in.
    pub fn new(provider: &'static CryptoProvider, key: ServerKey) -> Self {
        Self {
            provider,
            key,
            suites: provider.preferred_suites(),
            formats: Registry::default(),
            max_body: DEFAULT_MAX_BODY,
            max_content: 32 * 1024,
            send_max: 64,
            receive_max: 256,
            fetch_bytes: 128 * 1024,
            max_conversations: 1024,
            signal_bytes: 256 * 1024,
            watch_max: 1024,
            budgets: None,
            receipts_max: 1024,
            login_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(25),
            idle: Duration::from_secs(60),
            key_limits: KeyLimits::default(),
        }
    }

    /// Whether the settings can work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_sizes(self.max_content, self.max_body)?;
        for (name, value) in [
            ("send_max", u64::from(self.send_max)),
            ("max_conversations", u64::from(self.max_conversations)),
            ("signal_bytes", self.signal_bytes as u64),
            ("receipts_max", u64::from(self.receipts_max)),
            ("heartbeat", self.heartbeat.as_secs()),
            ("login_timeout", u64::try_from(self.login_timeout.as_micros()).unwrap_or(u64::MAX)),
        ] {
            nonzero(name, value)?;
        }
        if self.idle.as_secs() <= self.heartbeat.as_secs() {
            return Err(ConfigError::IdleNotLonger { heartbeat: self.heartbeat, idle: self.idle });
        }
        Ok(())
    }
}

fn check_sizes(max_content: usize, max_body: u32) -> Result<(), ConfigError> {
    if max_body > HARD_MAX_BODY {
        return Err(ConfigError::BodyOverHardMax { max_body });
    }
    if !content_fits(max_content, max_body) {
        return Err(ConfigError::ContentOverBody { max_content, max_body });
    }
    Ok(())
}

fn nonzero(name: &'static str, value: u64) -> Result<(), ConfigError> {
    if value == 0 { Err(ConfigError::Zero { name }) } else { Ok(()) }
}
