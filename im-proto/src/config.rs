//! Settings, with finite defaults and their worst case.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use im_codec::{DEFAULT_MAX_BODY, HARD_MAX_BODY};
use im_crypto::{
    CryptoProvider, HandshakeId, KeyLimits, MAX_PINS, Padding, ServerKey, ServerPublicKey, StaticKey, SuiteId,
};
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
    /// Keys of servers: a client pins at most two, a server holds one or two.
    #[error("{count} server keys: a client pins at most 2, a server holds 1 or 2")]
    ServerKeys {
        /// How many were given.
        count: usize,
    },
    /// No full handshake is left of those that are listed.
    #[error(
        "no handshake is possible: NK needs a pinned server key, IK that and a key of its own, XX is for a first use, and \
         require_pq leaves the post-quantum ones only"
    )]
    NoHandshake,
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

/// The handshakes with a pinned server key, best first, as far as the provider can: post-quantum, classical, resumptions.
fn usual_handshakes(provider: &CryptoProvider) -> Vec<HandshakeId> {
    const ALL: [HandshakeId; 4] =
        [HandshakeId::NK_HFS, HandshakeId::NK, HandshakeId::NN_PSK0_HFS, HandshakeId::NN_PSK0];
    ALL.into_iter().filter(|id| provider.kem.is_some() || !id.is_post_quantum()).collect()
}

/// A client's settings.
///
/// Every queue has a limit here; [`memory_max`](Self::memory_max) is what they come to.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the primitives come from.
    pub provider: &'static CryptoProvider,
    /// The pinned keys of the server, at most two: the current one first, the next one behind it. The second is used when the
    /// server asks for it. Empty: [`first_use`](Self::first_use).
    pub server_keys: Vec<ServerPublicKey>,
    /// A static key that this client shows in XX and IK. Without it XX shows a new one each time, and IK is left out.
    pub key: Option<Arc<StaticKey>>,
    /// Handshakes that this client makes, best first. Those that the keys above do not allow are left out; with a pinned key
    /// XX comes behind all others.
    pub handshakes: Vec<HandshakeId>,
    /// Leaves out every handshake without ML-KEM-768: no server can talk this client into one. Default false.
    pub require_pq: bool,
    /// Suites to offer, most preferred first.
    pub suites: Vec<SuiteId>,
    /// Serializations to offer, most preferred first.
    pub formats: Registry,
    /// How much the length of a sealed packet tells about its content. Default Padmé: at most 12 % more bytes.
    pub padding: Padding,
    /// Tickets that are kept, the newest ones; 0 never resumes. Default 4.
    pub max_tickets: usize,
    /// Who logs in.
    pub credentials: Credentials,
    /// Largest packet body accepted, in bytes.
    pub max_body: u32,
    /// Largest content sent, in bytes.
    pub max_content: usize,
    /// How many deliveries of one connection may wait for the application's ack; 0 asks for no deliveries. While twice as
    /// many wait, no input is taken; a bundle that was taken before may bring as many again.
    pub receive_max: u32,
    /// How many bytes of their contents may wait for it on one connection; one delivery may always. 0 sets no such bound, beside
    /// `receive_max` contents of the server's greatest length. While twice as many wait, no input is taken. Default 1 MiB.
    pub receive_bytes: u32,
    /// Bound of the outbox, in bytes, counted with the overhead of each message.
    pub outbox_bytes: usize,
    /// Bytes of signals that may wait for transmission, with the overhead of each; beyond that the oldest is dropped.
    pub signal_bytes: usize,
    /// Rooms that a connection may be in.
    pub rooms_max: u32,
    /// Streams that may be open at a time: of others, and as many own ones.
    pub streams_max: u32,
    /// Bytes of own streams that may wait for transmission.
    pub stream_bytes: usize,
    /// Requests that may have no answer at a time: own ones, and as many of the other side.
    pub requests_max: u32,
    /// Bytes of own requests that may wait for transmission, with the overhead of each.
    pub request_bytes: usize,
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
        let mut config = Self::first_use(provider, credentials);
        config.server_keys.push(server_key);
        config.handshakes = usual_handshakes(provider);
        config
    }

    /// Settings for a server whose key nobody knows yet: the handshake is XX, and the server's key is an event that
    /// [`Connection::trust_server`](crate::Connection::trust_server) answers before anything of this client is sent. From then
    /// on it is pinned.
    pub fn first_use(provider: &'static CryptoProvider, credentials: Credentials) -> Self {
        let first = [HandshakeId::XX_HFS, HandshakeId::XX].into_iter();
        let first = first.filter(|id| provider.kem.is_some() || !id.is_post_quantum());
        Self {
            provider,
            server_keys: Vec::new(),
            key: None,
            handshakes: usual_handshakes(provider).into_iter().chain(first).collect(),
            require_pq: false,
            suites: provider.preferred_suites(),
            formats: Registry::default(),
            padding: Padding::Padme,
            max_tickets: 4,
            credentials,
            max_body: DEFAULT_MAX_BODY,
            max_content: 32 * 1024,
            receive_max: 64,
            receive_bytes: 1024 * 1024,
            outbox_bytes: 1024 * 1024,
            signal_bytes: 128 * 1024,
            rooms_max: 32,
            streams_max: 16,
            stream_bytes: 64 * 1024,
            requests_max: 16,
            request_bytes: 128 * 1024,
            max_tries: 16,
            retry: Backoff { first: Duration::from_secs(5), max: Duration::from_secs(60) },
            reconnect: Backoff::default(),
            login_timeout: Duration::from_secs(10),
            max_conversations: 16 * 1024,
            key_limits: KeyLimits::default(),
        }
    }

    /// Pins one more key: the server's next one, before it begins to use it.
    #[must_use]
    pub fn next_key(mut self, key: ServerPublicKey) -> Self {
        self.server_keys.push(key);
        self
    }

    /// What is left of [`handshakes`](Self::handshakes) with these keys, in the order of use.
    pub(crate) fn possible_handshakes(&self) -> Vec<HandshakeId> {
        let pinned = !self.server_keys.is_empty();
        let possible = |id: &HandshakeId| {
            // For XX a key is made each time.
            let own_key = self.key.is_some() || !(id.needs_pin() && id.shows_client_key());
            (pinned || !id.needs_pin()) && own_key && (!self.require_pq || id.is_post_quantum())
        };
        let mut list: Vec<_> = self.handshakes.iter().copied().filter(possible).collect();
        list.sort_by_key(|id| pinned && !id.needs_pin() && !id.is_resumption());
        list
    }

    /// Whether the settings can work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_sizes(self.max_content, self.max_body)?;
        if self.server_keys.len() > MAX_PINS {
            return Err(ConfigError::ServerKeys { count: self.server_keys.len() });
        }
        check_handshakes(&self.possible_handshakes())?;
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
/// Every queue has a limit here; [`memory_max`](Self::memory_max) is what they come to for one connection.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where the primitives come from.
    pub provider: &'static CryptoProvider,
    /// The static keys that clients pin, one or two: the current one first, the one before or the next one behind it. A client
    /// that pins neither in its hello is asked for the first.
    pub keys: Vec<ServerKey>,
    /// Handshakes that this server makes, best first; the client chooses among them. Without XX (the default) clients must know
    /// the key beforehand.
    pub handshakes: Vec<HandshakeId>,
    /// Leaves out every handshake without ML-KEM-768. Default false.
    pub require_pq: bool,
    /// Refuses clients that do not bind the handshake to the TLS connection underneath, see [`Arrival`](crate::Arrival). Web pages
    /// cannot. Default false.
    pub require_binding: bool,
    /// Suites to accept, most preferred first.
    pub suites: Vec<SuiteId>,
    /// Serializations to accept, most preferred first.
    pub formats: Registry,
    /// How much the length of a sealed packet tells about its content. Default Padmé: at most 12 % more bytes.
    pub padding: Padding,
    /// Largest packet body accepted, in bytes.
    pub max_body: u32,
    /// Largest content accepted, in bytes.
    pub max_content: usize,
    /// How many submitted messages may wait for an answer before no more input is taken; a bundle that was taken before may bring 63
    /// more.
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
    /// Rooms that a connection may be in; 0: none.
    pub rooms_max: u32,
    /// Bytes of room messages that may wait for transmission, with the overhead of each; beyond that the oldest is dropped.
    pub room_bytes: usize,
    /// Streams that may be open at a time on one connection, the client's own, and as many that it is told of.
    pub streams_max: u32,
    /// Bytes of streams that may wait for transmission; beyond that a stream is broken off for this reader.
    pub stream_bytes: usize,
    /// The longest stream of a client, in bytes.
    pub stream_len_max: u64,
    /// Requests that may have no answer at a time: own ones, and as many of the other side.
    pub requests_max: u32,
    /// Bytes of own requests that may wait for transmission, with the overhead of each.
    pub request_bytes: usize,
    /// Most parts of a sealed message.
    pub sealed_parts_max: u32,
    /// Most bytes of one part of a sealed message; all of them together, with their names, are content within `max_content`.
    pub sealed_part_bytes: usize,
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
            keys: Vec::from([key]),
            handshakes: usual_handshakes(provider),
            require_pq: false,
            require_binding: false,
            suites: provider.preferred_suites(),
            formats: Registry::default(),
            padding: Padding::Padme,
            max_body: DEFAULT_MAX_BODY,
            max_content: 32 * 1024,
            send_max: 64,
            receive_max: 256,
            fetch_bytes: 128 * 1024,
            max_conversations: 1024,
            signal_bytes: 256 * 1024,
            watch_max: 1024,
            rooms_max: 32,
            room_bytes: 256 * 1024,
            streams_max: 16,
            stream_bytes: 256 * 1024,
            stream_len_max: 1024 * 1024,
            requests_max: 16,
            request_bytes: 128 * 1024,
            sealed_parts_max: 256,
            sealed_part_bytes: 8 * 1024,
            budgets: None,
            receipts_max: 1024,
            login_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(25),
            idle: Duration::from_secs(60),
            key_limits: KeyLimits::default(),
        }
    }

    /// Holds one more key: during a rotation, the next one or the one before.
    #[must_use]
    pub fn second_key(mut self, key: ServerKey) -> Self {
        self.keys.push(key);
        self
    }

    pub(crate) fn possible_handshakes(&self) -> Vec<HandshakeId> {
        self.handshakes.iter().copied().filter(|id| !self.require_pq || id.is_post_quantum()).collect()
    }

    /// Whether the settings can work together.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_sizes(self.max_content, self.max_body)?;
        if !(1..=MAX_PINS).contains(&self.keys.len()) {
            return Err(ConfigError::ServerKeys { count: self.keys.len() });
        }
        check_handshakes(&self.possible_handshakes())?;
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

fn check_handshakes(possible: &[HandshakeId]) -> Result<(), ConfigError> {
    if possible.iter().any(|id| !id.is_resumption()) { Ok(()) } else { Err(ConfigError::NoHandshake) }
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
