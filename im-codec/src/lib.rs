#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod batch;
mod code;
mod decode;
mod encode;
mod fault;
mod header;
mod limits;
mod message;
mod packet;
#[cfg(feature = "serde")]
mod serialize;
mod snowflake;
#[cfg(feature = "tokio")]
mod tokio;
pub mod v1;

pub use batch::{Batch, BatchError, BatchErrorKind, BatchLimits, BatchWriteError, BatchWriter};
pub use code::{DeviceType, EncryptionId, MessageType, Protocol, SerializationId, Version};
pub use decode::{DecodeError, Decoder, Framing, frame_len, parse, parse_mut};
pub use encode::{EncodeError, Output, begin_packet, encode_packet, encode_packets, finish_packet};
pub use fault::Fault;
pub use header::{HEADER_LEN, Header, MAGIC};
pub use limits::{DEFAULT_MAX_BODY, HARD_MAX_BODY, Limits, Versions};
pub use message::{MessageError, parse_message};
pub use packet::{Packet, PacketMut, PacketRef};
pub use snowflake::{Snowflake, SnowflakeError, SnowflakeParts};
#[cfg(feature = "tokio")]
pub use tokio::{CodecError, PacketCodec};
