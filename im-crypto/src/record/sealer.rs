//! The sending half of a stream.

use alloc::boxed::Box;
use core::fmt;

use super::{
    CLOSE_TYPE, DatagramSealer, KEY_UPDATE_TYPE, KeyLimits, KeyUpdate, SUITE_OFFSET, TAG_LEN, half::Half,
    limits::Allowance, padding,
};
use crate::{
    SuiteId,
    error::SealError,
    provider::{AeadSuite, CryptoProvider},
    schedule::TrafficSecret,
};

/// Seals what one side sends. Not `Clone`: a counter must not run twice.
///
/// Two inner types mean something to the sealer itself. After a packet of type [`KEY_UPDATE_TYPE`] the next one is sealed with a
/// new key, from which the old one cannot be computed; see [`KeyUpdates`](super::KeyUpdates) for when. After a packet of type
/// [`CLOSE_TYPE`] nothing more is sealed, so the peer can tell an end from a cut.
///
/// ```compile_fail,E0599
/// fn twice(sealer: im_crypto::Sealer) {
///     let copy = sealer.clone();
/// }
/// ```
pub struct Sealer {
    pub(super) half: Half,
    pub(super) allowance: Allowance,
    closed: bool,
}

/// What a packet is to the sealer.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Payload,
    Close,
    Update,
}

impl Sealer {
    pub(crate) fn new(
        provider: &'static CryptoProvider,
        suite: &'static dyn AeadSuite,
        secret: Box<TrafficSecret>,
    ) -> Self {
        Self { half: Half::new(provider, suite, secret), allowance: Allowance::new(), closed: false }
    }

    /// The suite that byte 17 of each header must name.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.half.suite()
    }

    /// Lowers the limits of each key. Do the same on the peer's [`Opener`](super::Opener) or not, as you like: each side keeps to
    /// its own.
    pub fn set_limits(&mut self, limits: KeyLimits) {
        self.half.limits = limits;
    }

    /// Seals a packet in place.
    ///
    /// `header` is the whole packet header as it will be sent, its length field already that of the sealed body. `body` is
    /// `inner type, payload, 0x80, zeros, 16 bytes of room for the tag`, as [`finish_plaintext`](super::finish_plaintext) leaves
    /// it: a slice of a `Vec`, of a `BytesMut`, of an array. A packet that was sealed has to be sent, and in this order: the peer
    /// counts.
    ///
    /// # Errors
    /// See [`SealError`]; except for [`SealError::Failed`], `body` and the counter are untouched.
    pub fn seal(&mut self, header: &[u8], body: &mut [u8]) -> Result<(), SealError> {
        let (plain, tag) = body.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Unfinished)?;
        let content = self.check(header, plain)?;
        let next = self.next(content)?;
        self.half.seal(header.len(), plain.len(), |key, nonce| key.seal(nonce, header, plain, tag))?;
        self.finish(content, next);
        Ok(())
    }

    /// Seals one shared plaintext into a connection's own buffer, so that a message for many receivers is encoded once and copied
    /// by its encryption only.
    ///
    /// `body` is a finished body as for [`seal`](Self::seal); it stays as it is. `out` takes the sealed body and is as long.
    ///
    /// ```
    /// # use im_crypto::{SealError, Sealer};
    /// fn fan_out(header: &[u8; 24], body: &[u8], receivers: &mut [(Sealer, Vec<u8>)]) -> Result<(), SealError> {
    ///     for (sealer, buffer) in receivers {
    ///         buffer.extend_from_slice(header);
    ///         let start = buffer.len();
    ///         buffer.resize(start + body.len(), 0);
    ///         sealer.seal_into(header, body, &mut buffer[start..])?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`seal`](Self::seal), and [`SealError::Unfinished`] if `out` has another length than `body`.
    pub fn seal_into(&mut self, header: &[u8], body: &[u8], out: &mut [u8]) -> Result<(), SealError> {
        let (plain, _) = body.split_last_chunk::<TAG_LEN>().ok_or(SealError::Unfinished)?;
        let (text, tag) = out.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Unfinished)?;
        if text.len() != plain.len() {
            return Err(SealError::Unfinished);
        }
        let content = self.check(header, plain)?;
        let next = self.next(content)?;
        self.half.seal(header.len(), plain.len(), |key, nonce| key.seal_into(nonce, header, plain, text, tag))?;
        self.finish(content, next);
        Ok(())
    }

    #[inline]
    fn check(&self, header: &[u8], plain: &[u8]) -> Result<Content, SealError> {
        let content =
            padding::content_len(plain).and_then(|length| plain.get(..length)).ok_or(SealError::Unfinished)?;
        if header.get(SUITE_OFFSET) != Some(&self.suite().0) {
            return Err(SealError::WrongSuite);
        }
        if self.closed {
            return Err(SealError::Closed);
        }
        match content {
            [KEY_UPDATE_TYPE, payload @ ..] => {
                KeyUpdate::parse(payload).ok_or(SealError::Unfinished)?;
                Ok(Content::Update)
            }
            [CLOSE_TYPE, ..] => Ok(Content::Close),
            _ => Ok(Content::Payload),
        }
    }

    /// Before a key update the next epoch, so that a failure comes before the packet counts as sealed.
    #[inline]
    fn next(&self, content: Content) -> Result<Option<Box<Half>>, SealError> {
        if content != Content::Update {
            return Ok(None);
        }
        if !self.allowance.any() {
            return Err(SealError::UpdateTooSoon);
        }
        if self.half.poisoned() {
            return Err(SealError::Failed);
        }
        Ok(Some(Box::new(self.half.next().ok_or(SealError::KeyExhausted)?)))
    }

    #[inline]
    fn finish(&mut self, content: Content, next: Option<Box<Half>>) {
        match content {
            Content::Payload => self.allowance.earn(),
            Content::Close => {
                self.closed = true;
                self.half.poison();
            }
            Content::Update => {
                let _ = self.allowance.spend();
                if let Some(next) = next {
                    self.half = *next;
                }
            }
        }
    }

    /// Whether the soft limit is reached, 2^20 packets or 2^26 blocks of 16 bytes under one key: time for a key update.
    #[must_use]
    pub fn needs_update(&self) -> bool {
        self.half.past_soft_limit(1)
    }

    /// Whether a key update would be taken now: no more than 8 in a row, and one more for each 64 packets.
    #[must_use]
    pub fn may_update(&self) -> bool {
        self.allowance.any() && !self.half.poisoned()
    }

    /// Whether the hard limit is so near (16 packets) that the rest should go to a close. Key updates keep it away.
    #[must_use]
    pub fn nearly_used_up(&self) -> bool {
        self.half.nearly_used_up()
    }

    /// How many times the key was updated.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.half.epoch()
    }

    /// Packets sealed under the present key.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.half.packets()
    }

    /// Frees the expanded key (some 500 bytes with AES) of a connection that idles; 44 secret bytes remain. The next packet
    /// expands it again.
    pub fn release_key(&mut self) {
        self.half.release_key();
    }

    /// The same direction for a transport that loses and reorders packets. Both sides have to agree on it beforehand.
    ///
    /// # Errors
    /// Gives the sealer back if it has sealed packets already.
    pub fn into_datagrams(self) -> Result<DatagramSealer, Self> {
        match DatagramSealer::new(&self.half) {
            Some(sealer) => Ok(sealer),
            None => Err(self),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.half.debug("Sealer", f)
    }
}
