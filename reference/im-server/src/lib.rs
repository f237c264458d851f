#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

pub mod auth;
mod clock;
mod conversation;
mod http;
mod hub;
mod limits;
mod listener;
mod metrics;
mod operations;
mod polling;
mod proxy;
mod server;
mod session;
pub mod store;
mod tickets;
mod tls;
mod transport;

pub use ipnet::IpNet;
pub use listener::{ListenerConfig, Security};
pub use server::{ServeError, Server, ServerBuilder, ShutdownError};
pub use tls::{Tls, TlsError, Validity};
