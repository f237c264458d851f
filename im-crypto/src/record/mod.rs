//! The record layer for streams: seals and opens packet bodies in place, in order, with the whole header authenticated.
//!
//! Packets carry no counter: each side counts, so a packet that was replayed, reordered, dropped or inserted does not open.

mod half;
mod padding;
#[cfg(all(test, feature = "rustcrypto"))]
mod tests;

use alloc::boxed::Box;
use core::fmt;

pub use padding::{Padding, finish_plaintext, sealed_len};

use crate::{
    SuiteId,
    error::{OpenError, SealError},
    provider::{AeadSuite, CryptoProvider},
    schedule::TrafficSecret,
};
use half::Half;

/// Length of the tag at the end of a sealed body, bytes.
pub const TAG_LEN: usize = 16;
/// What sealing adds to a payload without padding, bytes: inner type, 0x80, tag.
pub const RECORD_OVERHEAD: usize = 2 + TAG_LEN;
/// Offset of the suite id in the packet header.
pub const SUITE_OFFSET: usize = 17;

/// Seals what one side sends. Not `Clone`: a counter must not run twice.
///
/// ```compile_fail,E0599
/// fn twice(sealer: im_crypto::Sealer) {
///     let copy = sealer.clone();
/// }
/// ```
pub struct Sealer(Half);

impl Sealer {
    pub(crate) fn new(
        provider: &'static CryptoProvider,
        suite: &'static dyn AeadSuite,
        secret: Box<TrafficSecret>,
    ) -> Self {
        Self(Half::new(provider, suite, secret))
    }

    /// The suite that byte 17 of each header must name.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.0.suite()
    }

    /// Seals a packet in place.
    ///
    /// `header` is the whole packet header as it will be sent, its length field already that of the sealed body. `body` is
    /// `inner type, payload, 0x80, zeros, 16 bytes of room for the tag`, as [`finish_plaintext`] leaves it. A packet that was
    /// sealed has to be sent, and in this order: the peer counts.
    ///
    /// # Errors
    /// See [`SealError`]; except for [`SealError::Failed`], `body` and the counter are untouched.
    pub fn seal(&mut self, header: &[u8], body: &mut [u8]) -> Result<(), SealError> {
        let (plain, tag) = body.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Unfinished)?;
        if padding::content_len(plain).is_none() {
            return Err(SealError::Unfinished);
        }
        if header.get(SUITE_OFFSET) != Some(&self.suite().0) {
            return Err(SealError::WrongSuite);
        }
        *tag = self.0.seal(header, plain)?;
        Ok(())
    }

    /// Whether the soft limit is reached, 2^20 packets or 2^26 blocks of 16 bytes under one key: time to plan for a new key.
    #[must_use]
    pub fn needs_update(&self) -> bool {
        self.0.needs_update()
    }

    /// Frees the expanded key (some 500 bytes with AES) of a connection that idles. The next packet expands it again.
    pub fn release_key(&mut self) {
        self.0.release_key();
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Sealer", f)
    }
}

/// Opens what the peer sends. Any failure is final: the key is wiped, and all further packets are refused.
pub struct Opener(Half);

impl Opener {
    pub(crate) fn new(
        provider: &'static CryptoProvider,
        suite: &'static dyn AeadSuite,
        secret: Box<TrafficSecret>,
    ) -> Self {
        Self(Half::new(provider, suite, secret))
    }

    /// The suite that byte 17 of each header must name.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.0.suite()
    }

    /// Opens a packet in place: `header` is the whole header as received, `body` the whole body.
    ///
    /// # Errors
    /// [`OpenError`] if the packet is not the next one that the peer sealed, byte for byte. This opener then answers the same to
    /// every later packet, without looking at it.
    pub fn open<'a>(&mut self, header: &[u8], body: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let opened = self.try_open(header, body);
        if opened.is_none() {
            self.0.poison();
        }
        opened.ok_or(OpenError)
    }

    fn try_open<'a>(&mut self, header: &[u8], body: &'a mut [u8]) -> Option<Opened<'a>> {
        // A packet never chooses its own algorithm.
        if header.get(SUITE_OFFSET) != Some(&self.suite().0) || body.len() < RECORD_OVERHEAD {
            return None;
        }
        let (text, tag) = body.split_last_chunk_mut::<TAG_LEN>()?;
        self.0.open(header, text, tag)?;
        let length = padding::content_len(text)?;
        let (inner_type, payload) = text.get_mut(..length)?.split_first_mut()?;
        Some(Opened { inner_type: *inner_type, payload })
    }

    /// Whether the peer is past the soft limit of its key; see [`Sealer::needs_update`].
    #[must_use]
    pub fn needs_update(&self) -> bool {
        self.0.needs_update()
    }

    /// Frees the expanded key (some 500 bytes with AES) of a connection that idles. The next packet expands it again.
    pub fn release_key(&mut self) {
        self.0.release_key();
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Opener", f)
    }
}

/// What a sealed packet held, its padding removed.
#[derive(PartialEq, Eq)]
pub struct Opened<'a> {
    /// The true message type; the one in the header is a constant.
    pub inner_type: u8,
    /// The payload, in the buffer that was given.
    pub payload: &'a mut [u8],
}

impl fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Message content does not belong in a log.
        write!(f, "Opened {{ inner_type: {}, payload: {} bytes }}", self.inner_type, self.payload.len())
    }
}
