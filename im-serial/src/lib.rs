#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod body;
mod budget;
pub mod class;
mod format;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(feature = "protobuf")]
mod protobuf;
mod reader;
#[cfg(feature = "serde")]
mod text;
#[cfg(feature = "v1")]
pub mod v1;
#[cfg(any(feature = "serde", feature = "protobuf"))]
mod wire;

pub use body::{Body, Kind};
pub use budget::Limits;
pub use format::{DecodeError, EncodeError, Format, FormatId, Problem, Registry};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "msgpack")]
pub use msgpack::MsgPack;
#[cfg(feature = "protobuf")]
pub use protobuf::Protobuf;
