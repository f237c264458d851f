//! One direction of a session: secret, counter and usage limits.

use alloc::boxed::Box;
use core::fmt;

use super::TAG_LEN;
use crate::{
    SuiteId,
    error::SealError,
    provider::{AeadKey, AeadSuite, CryptoError, CryptoProvider},
    schedule::TrafficSecret,
};

/// How much one key may protect; the same for every suite. At the hard limit the advantage of an attacker against AES-GCM is about
/// 2^-61 (draft-irtf-cfrg-aead-limits); TLS 1.3 stops at 2^24.5 full records (RFC 8446 section 5.5).
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) soft_packets: u64,
    pub(super) soft_blocks: u64,
    pub(super) hard_packets: u64,
    pub(super) hard_blocks: u64,
}

impl Limits {
    const DEFAULT: Self =
        Self { soft_packets: 1 << 20, soft_blocks: 1 << 26, hard_packets: 1 << 23, hard_blocks: 1 << 34 };
}

/// Blocks of 16 bytes that one packet costs, associated data included.
fn blocks(header: &[u8], plain: &[u8]) -> u64 {
    (header.len().div_ceil(16) as u64).saturating_add(plain.len().div_ceil(16) as u64)
}

pub(super) struct Half {
    provider: &'static CryptoProvider,
    suite: &'static dyn AeadSuite,
    /// Gone once poisoned. Kept beside the key: the next epoch's secret derives from it.
    secret: Option<Box<TrafficSecret>>,
    /// Expanded on first use.
    key: Option<Box<dyn AeadKey>>,
    /// Packets so far, which is also the next nonce's counter.
    packets: u64,
    blocks: u64,
    pub(super) limits: Limits,
}

impl Half {
    pub(super) fn new(
        provider: &'static CryptoProvider,
        suite: &'static dyn AeadSuite,
        secret: Box<TrafficSecret>,
    ) -> Self {
        Self { provider, suite, secret: Some(secret), key: None, packets: 0, blocks: 0, limits: Limits::DEFAULT }
    }

    pub(super) fn suite(&self) -> SuiteId {
        self.suite.id()
    }

    pub(super) fn needs_update(&self) -> bool {
        self.packets >= self.limits.soft_packets || self.blocks >= self.limits.soft_blocks
    }

    pub(super) fn release_key(&mut self) {
        self.key = None;
    }

    pub(super) fn poison(&mut self) {
        self.secret = None;
        self.key = None;
    }

    /// The counters after one more packet, if the key may protect it.
    fn count(&self, header: &[u8], plain: &[u8]) -> Option<(u64, u64)> {
        let packets = self.packets.checked_add(1)?;
        let blocks = self.blocks.checked_add(blocks(header, plain))?;
        (packets <= self.limits.hard_packets && blocks <= self.limits.hard_blocks).then_some((packets, blocks))
    }

    /// The expanded key and the next nonce.
    fn prepare(&mut self) -> Result<(&dyn AeadKey, [u8; 12]), CryptoError> {
        let secret = self.secret.as_ref().ok_or(CryptoError::Failed)?;
        let nonce = secret.nonce(self.packets);
        let key = match self.key.take() {
            Some(key) => key,
            None => self.suite.key(&secret.key(self.provider, self.suite)?)?,
        };
        Ok((&**self.key.insert(key), nonce))
    }

    pub(super) fn seal(&mut self, header: &[u8], plain: &mut [u8]) -> Result<[u8; TAG_LEN], SealError> {
        if self.secret.is_none() {
            return Err(SealError::Failed);
        }
        let (packets, blocks) = self.count(header, plain).ok_or(SealError::KeyExhausted)?;
        let sealed = self.prepare().and_then(|(key, nonce)| key.seal(&nonce, header, plain));
        let Ok(tag) = sealed else {
            // It is unknown what was written under this nonce.
            self.poison();
            return Err(SealError::Failed);
        };
        (self.packets, self.blocks) = (packets, blocks);
        Ok(tag)
    }

    /// The counters move only after the tag verified.
    pub(super) fn open(&mut self, header: &[u8], text: &mut [u8], tag: &[u8; TAG_LEN]) -> Option<()> {
        let (packets, blocks) = self.count(header, text)?;
        let (key, nonce) = self.prepare().ok()?;
        key.open(&nonce, header, text, tag).ok()?;
        (self.packets, self.blocks) = (packets, blocks);
        Some(())
    }

    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("suite", &self.suite())
            .field("packets", &self.packets)
            .field("poisoned", &self.secret.is_none())
            .finish_non_exhaustive()
    }
}
