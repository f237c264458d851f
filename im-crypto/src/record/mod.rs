//! The record layer: seals and opens packet bodies in place, with the whole header authenticated.
//!
//! On a stream packets carry no counter: each side counts, so a packet that was replayed, reordered, dropped or inserted does not
//! open. On datagrams the counter stands in the header.

mod datagram;
mod half;
mod limits;
mod opener;
mod padding;
mod sealer;
#[cfg(all(test, feature = "rustcrypto"))]
mod tests;
mod update;
mod window;

use core::fmt;

pub use datagram::{DatagramOpener, DatagramSealer};
pub use limits::KeyLimits;
pub use opener::Opener;
pub use padding::{Padding, finish_plaintext, sealed_len};
pub use sealer::Sealer;
pub use update::{CLOSE_TYPE, KEY_UPDATE_TYPE, KeyUpdate, KeyUpdates};

/// Length of the tag at the end of a sealed body, bytes.
pub const TAG_LEN: usize = 16;
/// What sealing adds to a payload without padding, bytes: inner type, 0x80, tag.
pub const RECORD_OVERHEAD: usize = 2 + TAG_LEN;
/// Offset of the suite id in the packet header.
pub const SUITE_OFFSET: usize = 17;

/// What a sealed packet held, its padding removed.
#[derive(PartialEq, Eq)]
pub struct Opened<'a> {
    /// The true message type; the one in the header is a constant.
    pub inner_type: u8,
    /// The payload, in the buffer that was given.
    pub payload: &'a mut [u8],
}

impl<'a> Opened<'a> {
    /// Splits a plaintext.
    fn parse(text: &'a mut [u8]) -> Option<Self> {
        let length = padding::content_len(text)?;
        let (inner_type, payload) = text.get_mut(..length)?.split_first_mut()?;
        Some(Self { inner_type: *inner_type, payload })
    }
}

impl Opened<'_> {
    /// Whether this is a key update, which the record layer has carried out already: tell [`KeyUpdates::received`].
    #[must_use]
    pub fn key_update(&self) -> Option<KeyUpdate> {
        if self.inner_type == KEY_UPDATE_TYPE { KeyUpdate::parse(self.payload) } else { None }
    }
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Message content does not belong in a log.
        write!(f, "Opened {{ inner_type: {}, payload: {} bytes }}", self.inner_type, self.payload.len())
    }
}
