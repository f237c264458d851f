//! One direction of a session: secret, counters and usage limits.

use alloc::boxed::Box;
use core::fmt;

use super::{TAG_LEN, limits::KeyLimits};
use crate::{
    SuiteId,
    error::SealError,
    provider::{AeadKey, AeadSuite, CryptoError, CryptoProvider},
    schedule::TrafficSecret,
};

/// Blocks of 16 bytes that one packet costs, associated data included.
fn blocks(header: usize, plain: usize) -> u64 {
    (header.div_ceil(16) as u64).saturating_add(plain.div_ceil(16) as u64)
}

pub(super) struct Half {
    provider: &'static CryptoProvider,
    suite: &'static dyn AeadSuite,
    /// Of `suite`; asked for with each packet.
    id: SuiteId,
    /// Gone once poisoned. Kept beside the key: the next epoch's secret derives from it.
    secret: Option<Box<TrafficSecret>>,
    /// Expanded on first use.
    key: Option<Box<dyn AeadKey>>,
    /// Packets under this key; on a stream also the next nonce's counter.
    packets: u64,
    blocks: u64,
    pub(super) limits: KeyLimits,
    /// How often the key was updated.
    epoch: u32,
}

impl Half {
    pub(super) fn new(
        provider: &'static CryptoProvider,
        suite: &'static dyn AeadSuite,
        secret: Box<TrafficSecret>,
    ) -> Self {
        Self {
            provider,
            suite,
            id: suite.id(),
            secret: Some(secret),
            key: None,
            packets: 0,
            blocks: 0,
            limits: KeyLimits::default(),
            epoch: 0,
        }
    }

    pub(super) fn suite(&self) -> SuiteId {
        self.id
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn past_soft_limit(&self, factor: u64) -> bool {
        self.limits.soft(self.packets, self.blocks, factor)
    }

    pub(super) fn nearly_used_up(&self) -> bool {
        self.limits.nearly_reached(self.packets, self.blocks)
    }

    pub(super) fn release_key(&mut self) {
        self.key = None;
    }

    pub(super) fn poison(&mut self) {
        self.secret = None;
        self.key = None;
    }

    pub(super) fn poisoned(&self) -> bool {
        self.secret.is_none()
    }

    /// The same direction one epoch on, its counters at zero. Nothing changes here, so a failure costs nothing.
    pub(super) fn next(&self) -> Option<Self> {
        let secret = self.secret.as_ref()?.next(self.provider).ok()?;
        Some(Self {
            epoch: self.epoch.checked_add(1)?,
            limits: self.limits,
            ..Self::new(self.provider, self.suite, secret)
        })
    }

    /// The same direction with the secret of another kind of transport.
    pub(super) fn for_datagrams(&self) -> Option<Self> {
        let secret = self.secret.as_ref()?.for_datagrams(self.provider).ok()?;
        Some(Self { limits: self.limits, ..Self::new(self.provider, self.suite, secret) })
    }

    /// The counters after one more packet, if the key may protect it.
    #[inline]
    fn count(&self, header: usize, plain: usize) -> Option<(u64, u64)> {
        let packets = self.packets.checked_add(1)?;
        let blocks = self.blocks.checked_add(blocks(header, plain))?;
        self.limits.allow(packets, blocks).then_some((packets, blocks))
    }

    /// Makes sure that the key is expanded.
    #[cold]
    fn expand(&mut self) -> Result<(), CryptoError> {
        let secret = self.secret.as_ref().ok_or(CryptoError::Failed)?;
        self.key = Some(self.suite.key(&secret.key(self.provider, self.suite)?)?);
        Ok(())
    }

    /// Runs `with` with the key and the nonce of a counter.
    #[inline]
    fn run<T>(
        &mut self,
        counter: u64,
        with: impl FnOnce(&dyn AeadKey, &[u8; 12]) -> Result<T, CryptoError>,
    ) -> Result<T, CryptoError> {
        if self.key.is_none() {
            self.expand()?;
        }
        match (&self.secret, &self.key) {
            (Some(secret), Some(key)) => with(&**key, &secret.nonce(counter)),
            _ => Err(CryptoError::Failed),
        }
    }

    /// Runs `seal` with the key and the next nonce.
    #[inline]
    pub(super) fn seal(
        &mut self,
        header: usize,
        plain: usize,
        seal: impl FnOnce(&dyn AeadKey, &[u8; 12]) -> Result<(), CryptoError>,
    ) -> Result<(), SealError> {
        if self.poisoned() {
            return Err(SealError::Failed);
        }
        let (packets, blocks) = self.count(header, plain).ok_or(SealError::KeyExhausted)?;
        if self.run(self.packets, seal).is_err() {
            // It is unknown what was written under this nonce.
            self.poison();
            return Err(SealError::Failed);
        }
        (self.packets, self.blocks) = (packets, blocks);
        Ok(())
    }

    /// Opens the packet that was sealed under a counter. The usage moves only after the tag verified.
    #[inline]
    pub(super) fn open(
        &mut self,
        counter: u64,
        header: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        let (packets, blocks) = self.count(header.len(), text.len()).ok_or(CryptoError::Failed)?;
        self.run(counter, |key, nonce| key.open(nonce, header, text, tag))?;
        (self.packets, self.blocks) = (packets, blocks);
        Ok(())
    }

    #[cfg(all(test, feature = "rustcrypto"))]
    pub(super) fn reveal(&self) -> ([u8; 32], [u8; 12]) {
        self.secret.as_ref().map(|secret| secret.reveal()).unwrap_or_default()
    }

    #[cfg(all(test, feature = "rustcrypto"))]
    pub(super) fn set_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("suite", &self.suite())
            .field("epoch", &self.epoch)
            .field("packets", &self.packets)
            .field("poisoned", &self.poisoned())
            .finish_non_exhaustive()
    }
}
