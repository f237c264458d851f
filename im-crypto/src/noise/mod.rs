//! A small table-driven Noise engine (Noise Protocol Framework, revision 34): X25519, SHA-256, ChaChaPoly or AESGCM,
//! with the hybrid forward secrecy extension (noise_hfs_spec) on ML-KEM-768.
//!
//! Private on purpose: the handshakes of this crate are the only users, and no caller can pick patterns or read keys.

mod pattern;
mod state;
mod symmetric;
#[cfg(all(test, feature = "rustcrypto"))]
pub(crate) mod vectors;

use alloc::boxed::Box;

pub(crate) use pattern::{Pattern, Token, by_id};
pub(crate) use state::{Config, HandshakeState, Role};

use crate::{
    error::HandshakeError,
    provider::{CryptoError, CryptoProvider, Secret},
};

/// Length of a public key on the wire, bytes (DHLEN).
pub(crate) const DH_LEN: usize = 32;
/// Length of a tag on the wire, bytes.
pub(crate) const TAG_LEN: usize = 16;

/// An X25519 key pair. The secret is boxed, so that moving the pair leaves no copy behind.
pub(crate) struct Keypair {
    pub(crate) secret: Box<Secret>,
    pub(crate) public: [u8; 32],
}

impl Keypair {
    pub(crate) fn new(secret: Box<Secret>, provider: &CryptoProvider) -> Result<Self, NoiseError> {
        let public = provider.dh.public_key(&secret)?;
        Ok(Self { secret, public })
    }
}

/// Why a message was not written or read; the state is as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoiseError {
    /// The message is shorter than its pattern demands.
    Truncated,
    /// A tag did not verify.
    BadTag,
    /// A Diffie-Hellman result was all zero, or an encapsulation key is not one.
    WeakPublicKey,
    /// A key that the pattern needs was not given, it is not this side's turn, or the provider failed.
    Local,
}

impl From<CryptoError> for NoiseError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::BadTag => Self::BadTag,
            CryptoError::WeakPublicKey => Self::WeakPublicKey,
            CryptoError::Failed => Self::Local,
        }
    }
}

impl From<NoiseError> for HandshakeError {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::Truncated => Self::Truncated,
            NoiseError::BadTag => Self::Authentication,
            NoiseError::WeakPublicKey => Self::WeakPublicKey,
            NoiseError::Local => Self::Provider,
        }
    }
}
