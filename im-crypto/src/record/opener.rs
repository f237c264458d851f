//! The receiving half of a stream.

use alloc::boxed::Box;
use core::fmt;

use super::{
    CLOSE_TYPE, DatagramOpener, KEY_UPDATE_TYPE, KeyLimits, Opened, RECORD_OVERHEAD, SUITE_OFFSET, TAG_LEN, half::Half,
    limits::Allowance,
};
use crate::{
    SuiteId,
    error::{OpenError, Truncated},
    provider::{AeadSuite, CryptoProvider},
    schedule::TrafficSecret,
};

/// Opens what the peer sends. Any failure is final: the key is wiped, and all further packets are refused.
///
/// Key updates of the peer are carried out here; [`Opened::key_update`] tells of them. After the peer's close nothing more opens.
pub struct Opener {
    pub(super) half: Half,
    allowance: Allowance,
    closed: bool,
}

impl Opener {
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

    /// Lowers the limits of each key; see [`Sealer::set_limits`](super::Sealer::set_limits).
    pub fn set_limits(&mut self, limits: KeyLimits) {
        self.half.limits = limits;
    }

    /// Opens a packet in place: `header` is the whole header as received, `body` the whole body.
    ///
    /// # Errors
    /// [`OpenError`] if the packet is not the next one that the peer sealed, byte for byte, or if the peer updates its key more
    /// often than is allowed. This opener then answers the same to every later packet, without looking at it.
    pub fn open<'a>(&mut self, header: &[u8], body: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let opened = self.try_open(header, body);
        if opened.is_none() {
            self.half.poison();
        }
        opened.ok_or(OpenError)
    }

    fn try_open<'a>(&mut self, header: &[u8], body: &'a mut [u8]) -> Option<Opened<'a>> {
        // A packet never chooses its own algorithm.
        if header.get(SUITE_OFFSET) != Some(&self.suite().0) || body.len() < RECORD_OVERHEAD {
            return None;
        }
        let (text, tag) = body.split_last_chunk_mut::<TAG_LEN>()?;
        self.half.open(self.half.packets(), header, text, tag).ok()?;
        let opened = Opened::parse(text)?;
        match opened.inner_type {
            KEY_UPDATE_TYPE => {
                opened.key_update()?;
                if !self.allowance.spend() {
                    return None;
                }
                self.half = self.half.next()?;
            }
            CLOSE_TYPE => {
                self.closed = true;
                self.half.poison();
            }
            _ => self.allowance.earn(),
        }
        Some(opened)
    }

    /// To be asked when the transport ended: whether the peer had said that it would.
    ///
    /// # Errors
    /// [`Truncated`] if packets may be missing.
    pub fn end(&self) -> Result<(), Truncated> {
        if self.closed { Ok(()) } else { Err(Truncated) }
    }

    /// Whether the peer is past twice the soft limit of its key: it should have updated it long ago, so ask it to.
    #[must_use]
    pub fn needs_update(&self) -> bool {
        self.half.past_soft_limit(2)
    }

    /// Whether the hard limit is so near (16 packets) that only a close helps.
    #[must_use]
    pub fn nearly_used_up(&self) -> bool {
        self.half.nearly_used_up()
    }

    /// How many times the peer updated its key.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.half.epoch()
    }

    /// Frees the expanded key (some 500 bytes with AES) of a connection that idles; 44 secret bytes remain. The next packet
    /// expands it again.
    pub fn release_key(&mut self) {
        self.half.release_key();
    }

    /// The same direction for a transport that loses and reorders packets. Both sides have to agree on it beforehand.
    ///
    /// # Errors
    /// Gives the opener back if it has opened packets already.
    pub fn into_datagrams(self) -> Result<DatagramOpener, Self> {
        match DatagramOpener::new(&self.half) {
            Some(opener) => Ok(opener),
            None => Err(self),
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.half.debug("Opener", f)
    }
}
