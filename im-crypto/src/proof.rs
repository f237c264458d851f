//! Proof of possession: a device signs the session that it logs in through.

use alloc::boxed::Box;
use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{key::Entropy, provider::Secret};

/// Length of the signed text: label, handshake hash, token hash.
const TEXT_LEN: usize = 9 + 32 + 32;

/// `"im/1 auth" || handshake hash || SHA-256(token)`: good for this session and this token only.
fn text(handshake_hash: &[u8; 32], token: &[u8]) -> [u8; TEXT_LEN] {
    let mut text = [0; TEXT_LEN];
    let token_hash: [u8; 32] = Sha256::digest(token).into();
    let bytes = b"im/1 auth".iter().chain(handshake_hash).chain(&token_hash);
    for (to, from) in text.iter_mut().zip(bytes) {
        *to = *from;
    }
    text
}

/// A device's Ed25519 key (RFC 8032). The application tells the server its [public half](DevicePublicKey) when the device is
/// registered. A login token that is stolen, or relayed by somebody who has the server's secret key, is then worth nothing without
/// the device.
///
/// ```
/// # #[cfg(feature = "pop")] {
/// use im_crypto::{DeviceKey, Entropy};
/// let device = DeviceKey::generate(Entropy::from_rng(&mut getrandom::SysRng).unwrap());
/// let handshake_hash = [1; 32]; // from `Established`
/// let proof = device.prove(&handshake_hash, b"token"); // sent with the login
/// assert!(device.public().verify(&handshake_hash, b"token", &proof).is_ok());
/// assert!(device.public().verify(&[2; 32], b"token", &proof).is_err()); // another session
/// # }
/// ```
pub struct DeviceKey(Box<SigningKey>);

impl DeviceKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate(entropy: Entropy) -> Self {
        Self(Box::new(SigningKey::from_bytes(&entropy.into_secret())))
    }

    /// Loads a stored key: the 32 bytes that [`to_bytes`](Self::to_bytes) gave.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(Box::new(SigningKey::from_bytes(secret)))
    }

    /// The secret, to store it.
    #[must_use]
    pub fn to_bytes(&self) -> Secret {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half, for the server.
    #[must_use]
    pub fn public(&self) -> DevicePublicKey {
        DevicePublicKey(self.0.verifying_key())
    }

    /// Signs the session with this handshake hash and the token that is used in it.
    #[must_use]
    pub fn prove(&self, handshake_hash: &[u8; 32], token: &[u8]) -> Proof {
        Proof(self.0.sign(&text(handshake_hash, token)).to_bytes())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey {{ public: {:?}, secret: .. }}", self.public())
    }
}

/// The public half of a [`DeviceKey`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DevicePublicKey(VerifyingKey);

impl DevicePublicKey {
    /// Reads the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`ProofError`] if they are no point of the curve, or one of small order, for which anybody can sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ProofError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| ProofError)?;
        if key.is_weak() { Err(ProofError) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Checks a proof. Strict: no small-order points and no second form of a signature.
    ///
    /// # Errors
    /// [`ProofError`] if the owner of this key did not sign this session and this token.
    pub fn verify(&self, handshake_hash: &[u8; 32], token: &[u8], proof: &Proof) -> Result<(), ProofError> {
        self.verify_text(&text(handshake_hash, token), proof)
    }

    /// Checks a signature over any text, as [`verify`](Self::verify) does over its own. Only for test vectors: a signature is
    /// worth something here because nothing but a session is ever signed.
    ///
    /// # Errors
    /// [`ProofError`] if the owner of this key did not sign `text`.
    #[cfg(feature = "hazmat")]
    pub fn verify_any(&self, text: &[u8], proof: &Proof) -> Result<(), ProofError> {
        self.verify_text(text, proof)
    }

    fn verify_text(&self, text: &[u8], proof: &Proof) -> Result<(), ProofError> {
        self.0.verify_strict(text, &Signature::from_bytes(&proof.0)).map_err(|_| ProofError)
    }
}

impl fmt::Debug for DevicePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevicePublicKey(")?;
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

/// A signature of 64 bytes over a session and a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof(pub [u8; 64]);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// A device key or a proof is not valid; one error for every cause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("the device did not sign this session and this token")]
pub struct ProofError;

impl ProofError {
    /// Whose fault this is: always the peer's.
    #[must_use]
    pub const fn fault(&self) -> crate::Fault {
        crate::Fault::PeerViolated
    }
}
