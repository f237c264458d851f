//! The one-byte identifiers that peers exchange: record suites and handshakes.

use core::fmt;

use crate::noise;

/// Identifier of a record AEAD, byte 17 of the packet header.
///
/// Any value can be held, so that an unknown id can be named in an error. Ids 19 and 20 are reserved for AES-256-GCM-SIV and
/// AEGIS-128L, `0x80..=0xBF` for private use and tests, 255 is never assigned.
///
/// ```
/// use im_crypto::SuiteId;
/// assert_eq!(SuiteId::AES_128_GCM.to_string(), "AES-128-GCM (16)");
/// assert_eq!(SuiteId(8).legacy_name(), Some("RC4"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SuiteId(pub u8);

impl SuiteId {
    /// No encryption. Never offered and never chosen in a handshake.
    pub const NONE: Self = Self(0);
    /// AES-128-GCM (NIST SP 800-38D), 16-byte key. Mandatory to implement.
    pub const AES_128_GCM: Self = Self(16);
    /// AES-256-GCM (NIST SP 800-38D), 32-byte key.
    pub const AES_256_GCM: Self = Self(17);
    /// ChaCha20-Poly1305 (RFC 8439), 32-byte key. Mandatory to implement.
    pub const CHACHA20_POLY1305: Self = Self(18);

    /// SM4-GCM (AEAD_SM4_GCM of RFC 8998), 16-byte key. For deployments that must use the Chinese standard algorithms.
    pub const SM4_GCM: Self = Self(21);

    /// The standard name of an assigned suite, `None` for every other id (legacy ids have [`legacy_name`](Self::legacy_name)).
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("none"),
            16 => Some("AES-128-GCM"),
            17 => Some("AES-256-GCM"),
            18 => Some("ChaCha20-Poly1305"),
            21 => Some("SM4-GCM"),
            _ => None,
        }
    }

    /// The cipher that ids 1 to 9 stood for in the legacy protocol. They are recognised and always refused.
    #[must_use]
    pub const fn legacy_name(self) -> Option<&'static str> {
        match self.0 {
            1 => Some("DES"),
            2 => Some("3DES"),
            3 => Some("AES"),
            4 => Some("SM1"),
            5 => Some("SM4"),
            6 => Some("PBE"),
            7 => Some("RC2"),
            8 => Some("RC4"),
            9 => Some("RC5"),
            _ => None,
        }
    }
}

impl fmt::Display for SuiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.legacy_name()) {
            (Some(name), _) => write!(f, "{name} ({})", self.0),
            (None, Some(name)) => write!(f, "legacy {name} ({})", self.0),
            (None, None) => write!(f, "unknown suite {}", self.0),
        }
    }
}

/// Identifier of a handshake: the Noise pattern with its functions, the first byte of a HELLO body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HandshakeId(pub u8);

impl HandshakeId {
    /// `Noise_NK_25519_ChaChaPoly_SHA256`: the client knows the server's static key.
    pub const NK: Self = Self(1);
    /// `Noise_NKhfs_25519+MLKEM768_ChaChaPoly_SHA256`: NK with a key encapsulation that a quantum computer does not break.
    pub const NK_HFS: Self = Self(2);
    /// `Noise_NNpsk0_25519_ChaChaPoly_SHA256`: resumption with a ticket.
    pub const NN_PSK0: Self = Self(3);
    /// `Noise_NNhfs+psk0_25519+MLKEM768_ChaChaPoly_SHA256`: resumption with a key encapsulation.
    pub const NN_PSK0_HFS: Self = Self(4);
    /// `Noise_XX_25519_ChaChaPoly_SHA256`: both sides learn each other's static key; for first use without a pinned key.
    pub const XX: Self = Self(5);
    /// `Noise_IK_25519_ChaChaPoly_SHA256`: the client knows the server's static key and shows its own; between servers.
    pub const IK: Self = Self(6);
    /// `Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256`.
    pub const XX_HFS: Self = Self(7);
    /// `Noise_IKhfs_25519+MLKEM768_ChaChaPoly_SHA256`.
    pub const IK_HFS: Self = Self(8);

    /// Whether recorded traffic stays closed to a quantum computer: the hybrids with ML-KEM-768 (FIPS 203).
    ///
    /// ```
    /// use im_crypto::HandshakeId;
    /// assert!(HandshakeId::NK_HFS.is_post_quantum() && !HandshakeId::NK.is_post_quantum());
    /// ```
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        noise::by_id(self).is_some_and(|pattern| pattern.is_hybrid())
    }

    /// Whether this resumes a session with a ticket; every other handshake is a full one.
    #[must_use]
    pub fn is_resumption(self) -> bool {
        noise::by_id(self).is_some_and(|pattern| pattern.uses_psk())
    }

    /// Whether the client has to know the server's static key before: NK and IK.
    ///
    /// ```
    /// use im_crypto::HandshakeId;
    /// assert!(HandshakeId::NK.needs_pin() && !HandshakeId::XX.needs_pin());
    /// ```
    #[must_use]
    pub fn needs_pin(self) -> bool {
        noise::by_id(self).is_some_and(|pattern| pattern.responder_known)
    }

    /// Whether the client shows a static key of its own: XX and IK.
    #[must_use]
    pub fn shows_client_key(self) -> bool {
        noise::by_id(self).is_some_and(|pattern| pattern.initiator_has_static())
    }

    /// The name of the Noise pattern with its modifiers; `None` for an id that is not assigned.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        noise::by_id(self).map(|pattern| pattern.name)
    }
}

impl fmt::Display for HandshakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "unknown handshake {}", self.0),
        }
    }
}
