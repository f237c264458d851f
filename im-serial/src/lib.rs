#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "bincode")]
mod bincode;
pub mod body;
mod budget;
#[cfg(feature = "cbor")]
mod cbor;
pub mod class;
#[cfg(any(feature = "serde", feature = "protobuf"))]
mod codec;
mod format;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(feature = "postcard")]
mod postcard;
#[cfg(feature = "protobuf")]
mod proto;
#[cfg(feature = "protobuf")]
mod protobuf;
mod reader;
mod registry;
#[cfg(feature = "serde")]
mod table;
#[cfg(feature = "serde")]
mod text;
#[cfg(feature = "thrift")]
mod thrift;
#[cfg(feature = "v1")]
pub mod v1;
#[cfg(any(feature = "protobuf", feature = "thrift"))]
mod varint;
#[cfg(any(feature = "serde", feature = "protobuf"))]
mod wire;

#[cfg(feature = "bincode")]
pub use bincode::Bincode;
pub use body::{Body, Kind};
pub use budget::Limits;
#[cfg(feature = "cbor")]
pub use cbor::Cbor;
pub use format::{DecodeError, EncodeError, Format, FormatId, Problem};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "msgpack")]
pub use msgpack::MsgPack;
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
#[cfg(feature = "protobuf")]
pub use protobuf::Protobuf;
pub use registry::{Error, RegisterError, Registry, Unknown};
#[cfg(feature = "thrift")]
pub use thrift::Thrift;
