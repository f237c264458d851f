//! The stateless cookie of a RETRY.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use subtle::ConstantTimeEq;

use crate::{
    HandshakeId,
    error::HandshakeError,
    key::Entropy,
    negotiation::{HEADER_LEN, Retry},
    provider::{CryptoProvider, Secret},
};

/// How many seconds a cookie may lie in the future: clocks of servers behind one address differ.
const SKEW: u64 = 5;
/// Time, hash of the first HELLO, MAC.
const COOKIE_LEN: usize = 8 + 32 + 32;

/// The keys under which a server makes and checks the cookies of its RETRYs: one that makes, and the one before it that still
/// checks. A server keeps nothing else about a client that it sent away with a cookie. Servers behind one address share them.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{CookieKeys, Entropy};
/// let rng = &mut getrandom::SysRng;
/// let mut keys = CookieKeys::new(Entropy::from_rng(rng).unwrap(), 30);
/// keys.rotate(Entropy::from_rng(rng).unwrap()); // every hour or so, not more often than the window
/// # }
/// ```
pub struct CookieKeys {
    current: Box<Secret>,
    previous: Option<Box<Secret>>,
    window: u64,
}

impl CookieKeys {
    /// Starts with one key. A cookie is good for `window` seconds.
    #[must_use]
    pub fn new(key: Entropy, window: u64) -> Self {
        Self { current: key.into_secret(), previous: None, window }
    }

    /// Makes cookies with a new key from here on, and accepts those of the one before.
    pub fn rotate(&mut self, key: Entropy) {
        self.previous = Some(core::mem::replace(&mut self.current, key.into_secret()));
    }

    /// A RETRY that asks for `handshake` with the server key `key_id`.
    pub(crate) fn retry(
        &self,
        provider: &CryptoProvider,
        address: &[u8],
        now: u64,
        hello_hash: &[u8; 32],
        handshake: HandshakeId,
        key_id: [u8; 8],
    ) -> Retry {
        let mac = mac(provider, &self.current, address, now, hello_hash, handshake, key_id);
        let cookie = [now.to_be_bytes().as_slice(), hello_hash, mac.as_slice()].concat();
        Retry { handshake, key_id, cookie }
    }

    /// Checks that the RETRY, put together again from the second HELLO, was made here for this address within the window, and
    /// returns the hash of the first HELLO.
    pub(crate) fn check(
        &self,
        provider: &CryptoProvider,
        address: &[u8],
        now: u64,
        retry: &Retry,
    ) -> Result<[u8; 32], HandshakeError> {
        let cookie: &[u8; COOKIE_LEN] = retry.cookie.as_slice().try_into().map_err(|_| HandshakeError::BadCookie)?;
        let (time, rest) = cookie.split_first_chunk::<8>().ok_or(HandshakeError::BadCookie)?;
        let (hello_hash, claimed) = rest.split_first_chunk::<32>().ok_or(HandshakeError::BadCookie)?;
        let time = u64::from_be_bytes(*time);
        let keys = core::iter::once(&self.current).chain(self.previous.as_ref());
        let genuine = keys.fold(subtle::Choice::from(0), |genuine, key| {
            let mac = mac(provider, key, address, time, hello_hash, retry.handshake, retry.key_id);
            genuine | mac.as_slice().ct_eq(claimed)
        });
        let fresh = time <= now.saturating_add(SKEW) && now <= time.saturating_add(self.window);
        if bool::from(genuine) && fresh { Ok(*hello_hash) } else { Err(HandshakeError::BadCookie) }
    }
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieKeys").field("window", &self.window).finish_non_exhaustive()
    }
}

/// HMAC-SHA-256. Everything behind the address has a fixed length, so nothing can move between the fields.
fn mac(
    provider: &CryptoProvider,
    key: &Secret,
    address: &[u8],
    time: u64,
    hello_hash: &[u8; 32],
    handshake: HandshakeId,
    key_id: [u8; 8],
) -> Secret {
    let parts: [&[u8]; 6] = [b"im/1 cookie", address, &time.to_be_bytes(), hello_hash, &[handshake.0], &key_id];
    // HKDF-Extract is HMAC with the salt as its key (RFC 5869 section 2.2).
    provider.hash.extract(key.as_slice(), &parts.concat())
}

/// Names a HELLO: hash of its header and body.
pub(crate) fn hello_hash(provider: &CryptoProvider, header: &[u8; HEADER_LEN], hello: &[u8]) -> [u8; 32] {
    provider.hash.hash(&[b"im/1 hello", header, hello])
}

/// What the second HELLO's prologue holds about the first one and the RETRY.
pub(crate) fn retry_hash(provider: &CryptoProvider, hello_hash: &[u8; 32], retry: &Retry) -> [u8; 32] {
    let body: Vec<u8> = retry.encode();
    provider.hash.hash(&[b"im/1 retry", hello_hash, &body])
}
