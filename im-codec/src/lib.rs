#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod code;
mod decode;
mod encode;
mod header;
mod packet;
mod snowflake;

pub use code::{DeviceType, EncryptionId, MessageType, Protocol, SerializationId, Version};
pub use decode::{DecodeError, Decoder, Fault, Framing, frame_len, parse};
pub use encode::{EncodeError, begin_packet, encode_packet, finish_packet};
pub use header::{HEADER_LEN, Header, MAGIC};
pub use packet::{Packet, PacketRef};
pub use snowflake::{Snowflake, SnowflakeError};

/// Largest body accepted unless [`Limits`] says otherwise, in bytes: 64 KiB.
pub const DEFAULT_MAX_BODY: u32 = 64 * 1024;
/// No limit may be set above this, in bytes: 1 MiB. Larger content travels as files or chunks.
pub const HARD_MAX_BODY: u32 = 1024 * 1024;

/// What a decoder or encoder accepts.
///
/// ```
/// use im_codec::{Limits, DEFAULT_MAX_BODY, HARD_MAX_BODY};
/// assert_eq!(Limits::default().max_body(), DEFAULT_MAX_BODY);
/// assert_eq!(Limits::new(u32::MAX).max_body(), HARD_MAX_BODY);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    max_body: u32,
}

impl Limits {
    /// Limits with a largest body of `max_body` bytes, capped at [`HARD_MAX_BODY`].
    pub const fn new(max_body: u32) -> Self {
        Self { max_body: if max_body > HARD_MAX_BODY { HARD_MAX_BODY } else { max_body } }
    }

    /// The largest body, in bytes.
    pub const fn max_body(&self) -> u32 {
        self.max_body
    }

    /// The largest whole packet, header and body, in bytes.
    pub const fn max_packet(&self) -> usize {
        HEADER_LEN + self.max_body as usize
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BODY)
    }
}
