//! The integration tests, as one program: linking each file by itself took most of the time of a build.
#![allow(unreachable_pub, reason = "what the modules share")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects, of enums that are open")]

mod abuse;
mod api;
mod backup;
mod broadcast;
mod chat;
mod client;
mod command;
mod common;
mod config;
mod devices;
mod files;
mod first_bytes;
mod groups;
mod guide;
mod hooks;
mod hostile;
mod http;
mod kill9;
mod logs;
mod matrix;
mod offline;
mod operations;
mod outbox;
mod push;
mod recall_edit_react;
mod receipts;
mod refusals;
mod requests;
mod retention;
mod rooms;
mod signals;
mod store;
mod store_crash;
mod store_faults;
mod tls;
mod tokens;
mod webhooks;
