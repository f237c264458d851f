//! The cryptographic primitives as a plain value, so that an application can bring its own implementation.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::SuiteId;

/// 32 secret bytes that are wiped when dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// The primitives that handshake and record layer run on. There is no process-wide default: whoever starts a handshake passes one.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{RUSTCRYPTO, SuiteId};
/// assert!(RUSTCRYPTO.supports(SuiteId::AES_128_GCM));
/// let order = RUSTCRYPTO.preferred_suites(); // AES first where the processor has it, ChaCha20 first elsewhere
/// assert!(order.len() >= 3);
/// # }
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct CryptoProvider {
    /// Record suites, ids unique. The handshake itself needs [`SuiteId::CHACHA20_POLY1305`] among them.
    pub aeads: &'static [&'static dyn AeadSuite],
    /// X25519.
    pub dh: &'static dyn X25519,
    /// SHA-256 and HKDF on it.
    pub hash: &'static dyn HkdfSha256,
    /// ML-KEM-768, without which there are no post-quantum handshakes.
    pub kem: Option<&'static dyn MlKem768>,
}

impl CryptoProvider {
    /// Puts a provider together.
    #[must_use]
    pub const fn new(
        aeads: &'static [&'static dyn AeadSuite],
        dh: &'static dyn X25519,
        hash: &'static dyn HkdfSha256,
    ) -> Self {
        Self { aeads, dh, hash, kem: None }
    }

    /// The same with ML-KEM-768.
    #[must_use]
    pub const fn with_kem(self, kem: &'static dyn MlKem768) -> Self {
        Self { kem: Some(kem), ..self }
    }

    /// The implementation of a suite, if there is one.
    #[must_use]
    pub fn aead(&self, id: SuiteId) -> Option<&'static dyn AeadSuite> {
        self.aeads.iter().copied().find(|suite| suite.id() == id)
    }

    /// Whether a suite is implemented.
    #[must_use]
    pub fn supports(&self, id: SuiteId) -> bool {
        self.aead(id).is_some()
    }

    /// All suites in the order in which this machine should offer them: those that run fast here first, else the provider's order.
    #[must_use]
    pub fn preferred_suites(&self) -> Vec<SuiteId> {
        let fast = self.aeads.iter().filter(|suite| suite.is_accelerated());
        let slow = self.aeads.iter().filter(|suite| !suite.is_accelerated());
        fast.chain(slow).map(|suite| suite.id()).collect()
    }
}

impl fmt::Debug for CryptoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.aeads.iter().map(|suite| suite.id())).finish()
    }
}

/// A primitive did not work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum CryptoError {
    /// The tag does not belong to these bytes under this key, nonce and associated data.
    #[error("the tag does not verify")]
    BadTag,
    /// The peer's public key is refused: the shared secret is all zero because the key has small order (RFC 7748 section 6.1),
    /// or it is not an ML-KEM encapsulation key (FIPS 203 section 7.2).
    #[error("the public key is weak or not one")]
    WeakPublicKey,
    /// Anything else: a wrong length, or the implementation refused.
    #[error("the cryptographic operation failed")]
    Failed,
}

/// One record AEAD: makes keys.
pub trait AeadSuite: Send + Sync {
    /// The id on the wire.
    fn id(&self) -> SuiteId;

    /// Key length in bytes, at most 32.
    fn key_len(&self) -> usize;

    /// Whether this is at full speed on this machine; `false` for AES without AES instructions. Decides the order of an offer only.
    fn is_accelerated(&self) -> bool;

    /// Expands a key.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if the key has not [`key_len`](Self::key_len) bytes.
    fn key(&self, key: &TrafficKey) -> Result<Box<dyn AeadKey>, CryptoError>;
}

/// An expanded key of one AEAD with 12-byte nonces and 16-byte tags. Implementations wipe it when dropped.
///
/// Nonces are chosen by this crate only; a [`TrafficKey`], without which there is no `AeadKey`, cannot be made outside of it.
pub trait AeadKey: Send + Sync {
    /// Encrypts `buf` in place and writes the tag to `tag`, its place in the packet.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if the input is longer than the algorithm allows.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &mut [u8; 16]) -> Result<(), CryptoError>;

    /// Encrypts `plain` into `out`, which is as long, and writes the tag to `tag`. Implementations that can do so without a copy
    /// override this.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if the lengths differ or the input is longer than the algorithm allows.
    fn seal_into(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
        tag: &mut [u8; 16],
    ) -> Result<(), CryptoError> {
        if plain.len() != out.len() {
            return Err(CryptoError::Failed);
        }
        out.copy_from_slice(plain);
        self.seal(nonce, aad, out, tag)
    }

    /// Verifies the tag in constant time, then decrypts `buf` in place.
    ///
    /// # Errors
    /// [`CryptoError::BadTag`]; `buf` must then hold no plaintext.
    fn open(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError>;
}

/// X25519 (RFC 7748).
pub trait X25519: Send + Sync {
    /// The public key of a secret; clamping is done here.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if the implementation refuses.
    fn public_key(&self, secret: &[u8; 32]) -> Result<[u8; 32], CryptoError>;

    /// The shared secret.
    ///
    /// # Errors
    /// [`CryptoError::WeakPublicKey`] if the result is all zero; the check runs in constant time.
    fn agree(&self, secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, CryptoError>;
}

/// Length of an ML-KEM-768 encapsulation key, bytes.
pub const KEM_PUBLIC_LEN: usize = 1184;
/// Length of an ML-KEM-768 ciphertext, bytes.
pub const KEM_CIPHERTEXT_LEN: usize = 1088;
/// The seed `d || z` of an ML-KEM key pair (FIPS 203 section 7.1), wiped when dropped.
pub type KemSeed = Zeroizing<[u8; 64]>;

/// ML-KEM-768 (FIPS 203).
pub trait MlKem768: Send + Sync {
    /// The key pair of a seed. An implementation that insists on its own generator may ignore the seed; handshakes with it work, but
    /// cannot be repeated from their entropy.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if the implementation refuses.
    fn generate(&self, seed: &KemSeed) -> Result<Box<dyn MlKem768Key>, CryptoError>;

    /// Makes a shared secret and writes its ciphertext. `randomness` is the `m` of FIPS 203; an implementation that insists on
    /// its own generator may ignore it.
    ///
    /// # Errors
    /// [`CryptoError::WeakPublicKey`] if the modulus check of section 7.2 fails.
    fn encapsulate(
        &self,
        public: &[u8; KEM_PUBLIC_LEN],
        randomness: &[u8; 32],
        ciphertext: &mut [u8; KEM_CIPHERTEXT_LEN],
    ) -> Result<Secret, CryptoError>;
}

/// A decapsulation key of one handshake. Implementations wipe it when dropped.
pub trait MlKem768Key: Send + Sync {
    /// The encapsulation key.
    fn public_key(&self) -> &[u8; KEM_PUBLIC_LEN];

    /// The shared secret; for a changed ciphertext an unpredictable other one (implicit rejection, FIPS 203 section 7.3).
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if the implementation refuses.
    fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT_LEN]) -> Result<Secret, CryptoError>;
}

/// SHA-256 (FIPS 180-4) and HKDF-SHA-256 (RFC 5869).
pub trait HkdfSha256: Send + Sync {
    /// SHA-256 of the concatenated parts.
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32];

    /// HKDF-Extract, which is HMAC-SHA-256 with `salt` as its key.
    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Secret;

    /// HKDF-Expand; the info is the concatenation of the parts.
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if `out` is longer than 255 x 32 bytes.
    fn expand(&self, prk: &Secret, info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError>;
}

/// Raw key bytes on their way from the key schedule into an [`AeadSuite`]; wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TrafficKey {
    bytes: [u8; 32],
    len: usize,
}

impl TrafficKey {
    /// Lets `fill` write `len` bytes; `None` if `len` is over 32.
    pub(crate) fn derive(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), CryptoError>,
    ) -> Result<Self, CryptoError> {
        let mut key = Self { bytes: [0; 32], len };
        fill(key.bytes.get_mut(..len).ok_or(CryptoError::Failed)?)?;
        Ok(key)
    }

    /// Wraps raw key bytes, at most 32. Only for test vectors: whoever makes a key here also chooses its nonces, and a nonce that
    /// is used twice under one key gives both away.
    ///
    /// ```
    /// use im_crypto::{RUSTCRYPTO, SuiteId, TrafficKey};
    /// let key = TrafficKey::from_bytes(&[0; 16]).unwrap();
    /// assert!(RUSTCRYPTO.aead(SuiteId::AES_128_GCM).unwrap().key(&key).is_ok());
    /// ```
    ///
    /// # Errors
    /// [`CryptoError::Failed`] if there are more than 32 bytes.
    #[cfg(feature = "hazmat")]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        Self::derive(bytes.len(), |out| {
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The key bytes, as many as [`AeadSuite::key_len`] says.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for TrafficKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficKey(..)")
    }
}
