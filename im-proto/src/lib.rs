#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod backoff;
pub mod budget;
pub mod call;
mod close;
mod config;
mod connection;
mod endpoint;
mod entry;
mod error;
mod event;
mod feed;
mod inbox;
mod keepalive;
mod link;
mod memory;
#[cfg(test)]
mod model;
mod outbox;
pub mod policy;
pub mod receipts;
mod requests;
mod resume;
pub mod rights;
mod rooms;
mod sealed;
mod signals;
mod streams;
mod tickets;
mod time;
mod timer;

pub use backoff::Backoff;
pub use close::{CloseCode, Closed, ClosedBy, RefusalCode, encode_plain_close};
pub use config::{ClientConfig, ConfigError, Credentials, MAX_NAME_LEN, ServerConfig, valid_name};
pub use connection::{
    Client, ClientEvent, Connection, Delivery, LoginRequest, ResumedLogin, Role, Server, ServerEvent, State, Stats,
    Submission, Transmit,
};
pub use endpoint::{AdmissionError, ConnectionEvent, Endpoint, EndpointConfig, Handle, IDLE_BYTES};
pub use entry::{Change, Command, Entry, MAX_REACTION, valid_reaction};
pub use error::{
    AnswerError, ConnectError, Error, Fault, IssueError, PostError, ReadError, RequestError, RoomError, SendError,
    SignalError, StreamError,
};
pub use event::{Event, EventKind, MAX_EVENT_TEXT, MAX_EVENT_USERS};
pub use feed::FeedItem;
pub use inbox::AckToken;
pub use link::{Arrival, Negotiated, TicketUse};
pub use outbox::{Message, PacketId};
pub use requests::{Request, RequestFailure};
pub use resume::{LogFacts, MAX_POSITIONS, ReloadReason, ResumeRequest, SessionAnswer};
pub use rooms::{RoomExit, RoomPost};
pub use sealed::{PartsError, SealedMessage, SealedPart, SealedParts, SealedSubmission};
pub use signals::{PeerSignal, PresenceState, Signal};
pub use streams::{AbortReason, StreamId, StreamOutcome};
pub use tickets::{AddTicketError, SavedTicket};
pub use time::Instant;
pub use timer::Timer;

pub use im_codec::{Framing, Limits, MessageType, frame_len};
pub use im_crypto::{
    CookieKeys, CryptoProvider, Entropy, HandshakeId, KeyLimits, Padding, ServerKey, ServerPublicKey, StaticKey,
    StaticPublicKey, SuiteId, TicketError, TicketKeys, TicketStore, TlsExporter, UsedTickets,
};
pub use im_serial::body::{Conversation, ConversationKind, Name, Position};
pub use im_serial::{FormatId, Registry};

/// The provider of primitives from the RustCrypto project.
#[cfg(feature = "rustcrypto")]
pub use im_crypto::RUSTCRYPTO;

/// The guides, so that their code is compiled with the documentation tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guide/tokio.md")]
    mod tokio {}
    #[doc = include_str!("../../docs/guide/blocking.md")]
    mod blocking {}
    #[doc = include_str!("../../docs/guide/existing-server.md")]
    mod existing_server {}
    #[doc = include_str!("../../docs/guide/wasm.md")]
    mod wasm {}
}

/// Content types below 128 that the protocol gives a meaning.
pub mod content_type {
    /// Text in UTF-8.
    pub const TEXT: u32 = 1;
    /// A reference to a file: JSON as `docs/spec/files.md` has it.
    pub const FILE: u32 = 2;
}
