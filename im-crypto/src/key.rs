//! Entropy and long-term keys.

use alloc::{boxed::Box, sync::Arc};
use core::{fmt, str::FromStr};

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::{
    error::{HandshakeError, KeyParseError},
    noise::Keypair,
    provider::{CryptoProvider, Secret},
};

/// 32 secret random bytes for one handshake, key or ticket, drawn by the caller because this crate has no random number generator. Used once:
/// neither `Clone` nor readable, and wiped when dropped.
pub struct Entropy(Box<Secret>);

impl Entropy {
    /// Draws from a generator.
    ///
    /// # Errors
    /// [`HandshakeError::Entropy`] if the generator fails.
    pub fn from_rng<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, HandshakeError> {
        // Boxed before it is filled, so that moving it leaves no copy behind.
        let mut bytes = Box::<Secret>::default();
        rng.try_fill_bytes(bytes.as_mut_slice()).map_err(|_| HandshakeError::Entropy)?;
        Ok(Self(bytes))
    }

    /// Takes an independent part off, for a caller that was given one draw and may have to say HELLO twice. What is left is another
    /// secret than before: neither part tells anything about the other.
    ///
    /// # Errors
    /// [`HandshakeError::Provider`] if the provider refuses.
    pub fn split_off(&mut self, provider: &CryptoProvider) -> Result<Self, HandshakeError> {
        let [mut part, mut rest] = [(); 2].map(|()| Box::<Secret>::default());
        for (label, out) in [(b"im/1 entropy part", &mut part), (b"im/1 entropy rest", &mut rest)] {
            let expanded = provider.hash.expand(&self.0, &[label.as_slice()], out.as_mut_slice());
            expanded.map_err(|_| HandshakeError::Provider)?;
        }
        self.0 = rest;
        Ok(Self(part))
    }

    pub(crate) fn into_secret(self) -> Box<Secret> {
        self.0
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// A static X25519 key pair: a server's, or that of a client that shows one (XX and IK). Peers pin its
/// [public half](StaticPublicKey); whoever has the secret can pose as its owner. One key may serve all handshakes here, because
/// all of them use SHA-256 (Noise section 14), and nothing outside of them.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{Entropy, RUSTCRYPTO, ServerKey, ServerPublicKey};
/// let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut getrandom::SysRng).unwrap()).unwrap();
/// let printed = key.public().to_string(); // goes into the clients' configuration
/// assert_eq!(printed.parse::<ServerPublicKey>().unwrap(), key.public());
/// let stored = key.to_bytes(); // goes into a file that only the server can read
/// assert_eq!(ServerKey::from_bytes(*stored, &RUSTCRYPTO).unwrap().public(), key.public());
/// # }
/// ```
pub struct StaticKey {
    pair: Arc<Keypair>,
    key_id: [u8; 8],
}

impl StaticKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`HandshakeError::Provider`] if the provider refuses.
    pub fn generate(provider: &CryptoProvider, entropy: Entropy) -> Result<Self, HandshakeError> {
        Self::from_secret(entropy.into_secret(), provider)
    }

    /// Loads a stored key: the 32 bytes that [`to_bytes`](Self::to_bytes) gave. Any 32 bytes are a valid X25519 secret.
    ///
    /// # Errors
    /// [`HandshakeError::Provider`] if the provider refuses.
    pub fn from_bytes(secret: [u8; 32], provider: &CryptoProvider) -> Result<Self, HandshakeError> {
        Self::from_secret(Box::new(Zeroizing::new(secret)), provider)
    }

    fn from_secret(secret: Box<Secret>, provider: &CryptoProvider) -> Result<Self, HandshakeError> {
        let pair = Arc::new(Keypair::new(secret, provider)?);
        let key_id = StaticPublicKey(pair.public).key_id(provider);
        Ok(Self { pair, key_id })
    }

    /// The secret, to store it.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Secret::clone(&self.pair.secret)
    }

    /// The public half, for the peers.
    #[must_use]
    pub fn public(&self) -> StaticPublicKey {
        StaticPublicKey(self.pair.public)
    }

    /// The id by which a HELLO names this key; see [`StaticPublicKey::key_id`].
    #[must_use]
    pub fn key_id(&self) -> [u8; 8] {
        self.key_id
    }

    pub(crate) fn pair(&self) -> Arc<Keypair> {
        Arc::clone(&self.pair)
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticKey {{ public: {}, secret: .. }}", self.public())
    }
}

/// A server's [`StaticKey`].
pub type ServerKey = StaticKey;

/// The public half of a [`ServerKey`]: what a client pins.
pub type ServerPublicKey = StaticPublicKey;

/// The public half of a [`StaticKey`]. As text it is 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticPublicKey([u8; 32]);

impl StaticPublicKey {
    /// Wraps the 32 bytes of a public key (RFC 7748 encoding).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 bytes of SHA-256("im/1 key id" || key): tells a server with several keys which one is meant.
    #[must_use]
    pub fn key_id(&self, provider: &CryptoProvider) -> [u8; 8] {
        let hash = provider.hash.hash(&[b"im/1 key id", &self.0]);
        hash.first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for StaticPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for StaticPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticPublicKey({self})")
    }
}

impl FromStr for StaticPublicKey {
    type Err = KeyParseError;

    fn from_str(text: &str) -> Result<Self, KeyParseError> {
        if text.len() != 64 {
            return Err(KeyParseError::Length(text.len()));
        }
        let mut key = [0; 32];
        for (position, digit) in text.bytes().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(KeyParseError::Digit(position)),
            };
            if let Some(byte) = key.get_mut(position / 2) {
                *byte = *byte << 4 | value;
            }
        }
        Ok(Self(key))
    }
}
