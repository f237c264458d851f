#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod api;
pub mod auth;
mod blob;
mod broadcast;
mod calls;
mod clock;
mod conversation;
mod directory;
mod groups;
mod hex;
mod hooks;
mod http;
mod hub;
mod key_file;
mod keys;
mod limits;
mod listener;
mod metrics;
mod operations;
mod polling;
mod proxy;
mod retention;
mod server;
mod session;
pub mod store;
mod tickets;
mod tls;
mod transport;
mod webhook;

pub use blob::{Files, FilesConfig, FilesError};
pub use broadcast::BroadcastError;
pub use directory::{Answer, Directory, DirectoryError, StoredGroups};
pub use groups::{GroupError, Groups};
pub use hooks::{AfterCommit, AnswerRequests, Asked, BeforeSend, Committed, Draft, HookError, Origin, Reply, Verdict};
pub use im_proto::RefusalCode;
pub use im_proto::policy::{DeviceKind, DevicePolicy};
pub use im_proto::rights::{MemberRole, RightsPolicy};
pub use ipnet::IpNet;
pub use key_file::{KeyFileError, existing_server_key, server_key};
pub use keys::{Right, ServiceKeys, ServiceKeysError};
pub use listener::{ListenerConfig, Security};
pub use retention::Retention;
pub use server::{ServeError, Server, ServerBuilder, ShutdownError};
pub use tls::{Tls, TlsError, Validity};
pub use webhook::{WebhookError, Webhooks};
