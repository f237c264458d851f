//! From the finished handshake to the record keys.
//!
//! Noise's own `Split()` depends on the chaining key only. These secrets depend on the direction, the suite and the whole
//! transcript as well, so two parties that disagree on any of them have no key in common.

use alloc::boxed::Box;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    SuiteId,
    provider::{AeadSuite, CryptoError, CryptoProvider, Secret, TrafficKey},
};

/// Who seals with a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    ClientToServer = 0,
    ServerToClient = 1,
}

/// The traffic secret of one direction and the IV made from it; boxed by its owner and wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct TrafficSecret {
    ts: Secret,
    iv: [u8; 12],
}

impl TrafficSecret {
    /// `ts = Expand(Extract(ck, ""), "im/1 traffic" || dir || suite || h, 32)`, `iv = Expand(ts, "im/1 iv", 12)`.
    pub(crate) fn derive(
        provider: &CryptoProvider,
        ck: &Secret,
        h: &[u8; 32],
        suite: SuiteId,
        direction: Direction,
    ) -> Result<Box<Self>, CryptoError> {
        let prk = provider.hash.extract(ck.as_slice(), &[]);
        let mut secret = Box::new(Self { ts: Zeroizing::new([0; 32]), iv: [0; 12] });
        let info: [&[u8]; 3] = [b"im/1 traffic", &[direction as u8, suite.0], h];
        provider.hash.expand(&prk, &info, secret.ts.as_mut_slice())?;
        let Self { ts, iv } = &mut *secret;
        provider.hash.expand(ts, &[b"im/1 iv"], iv)?;
        Ok(secret)
    }

    /// The secret of the next epoch: `ts' = Expand(ts, "im/1 upd", 32)`. It does not lead back.
    pub(crate) fn next(&self, provider: &CryptoProvider) -> Result<Box<Self>, CryptoError> {
        self.child(provider, b"im/1 upd")
    }

    /// The secret for datagrams: `ts' = Expand(ts, "im/1 datagram", 32)`. Nonces are used in another order there.
    pub(crate) fn for_datagrams(&self, provider: &CryptoProvider) -> Result<Box<Self>, CryptoError> {
        self.child(provider, b"im/1 datagram")
    }

    fn child(&self, provider: &CryptoProvider, label: &[u8]) -> Result<Box<Self>, CryptoError> {
        let mut secret = Box::new(Self { ts: Zeroizing::new([0; 32]), iv: [0; 12] });
        provider.hash.expand(&self.ts, &[label], secret.ts.as_mut_slice())?;
        let Self { ts, iv } = &mut *secret;
        provider.hash.expand(ts, &[b"im/1 iv"], iv)?;
        Ok(secret)
    }

    /// `key = Expand(ts, "im/1 key", key length)`.
    pub(crate) fn key(&self, provider: &CryptoProvider, suite: &dyn AeadSuite) -> Result<TrafficKey, CryptoError> {
        TrafficKey::derive(suite.key_len(), |out| provider.hash.expand(&self.ts, &[b"im/1 key"], out))
    }

    /// `iv XOR (0^4 || counter)`, as in TLS 1.3 (RFC 8446 section 5.3).
    pub(crate) fn nonce(&self, counter: u64) -> [u8; 12] {
        let [a, b, c, d, low @ ..] = self.iv;
        let [e, f, g, h, i, j, k, l] = (u64::from_be_bytes(low) ^ counter).to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    #[cfg(all(test, feature = "rustcrypto"))]
    pub(crate) fn reveal(&self) -> ([u8; 32], [u8; 12]) {
        (*self.ts, self.iv)
    }
}
