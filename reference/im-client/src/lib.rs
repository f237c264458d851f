#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod client;
mod clock;
mod driver;
mod events;
mod http;
mod options;
pub mod service;
mod tls;
mod transport;
mod url;

pub use client::{Client, NotTaken, Pending, SendFailure, Sent};
pub use events::{Event, Events, RoomMessage};
pub use options::Options;
pub use tls::{Tls, TlsError};
pub use url::{ServerUrl, UrlError};

pub use im_proto::{
    AckToken, Backoff, Change, ClientConfig, CloseCode, Closed, ClosedBy, Command, ConfigError, Conversation,
    Credentials, Delivery, Entry, FormatId, Message, Name, Negotiated, PacketId, PeerSignal, PresenceState, ReadError,
    RefusalCode, ReloadReason, RoomError, RoomExit, SealedMessage, SealedParts, ServerPublicKey, Signal, SignalError,
    SuiteId, call, content_type,
};
