#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod kem;

use aws_lc_rs::{
    aead::{self, AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement, digest, hkdf, hmac,
};
use im_crypto::{AeadKey, AeadSuite, CryptoError, CryptoProvider, HkdfSha256, Secret, SuiteId, TrafficKey, X25519};

/// The provider on aws-lc-rs with suites 16, 17 and 18. All its randomness is the caller's: with the same entropy it puts the same
/// bytes on the wire as any other provider.
///
/// With feature `pq` it has the ML-KEM-768 of im-crypto's RustCrypto provider, for the library's own cannot be given its randomness.
pub static AWS_LC: CryptoProvider = with_kem(BASE);

/// The same with the library's own ML-KEM-768, several times faster than RustCrypto's.
///
/// Its key pairs and encapsulations come from the library's generator, which the operating system seeds, and not from the
/// [`Entropy`](im_crypto::Entropy) of the handshake: a hybrid handshake cannot be repeated byte for byte. Everything else is
/// [`AWS_LC`].
pub static AWS_LC_KEM: CryptoProvider = BASE.with_kem(&kem::MlKem);

const BASE: CryptoProvider =
    CryptoProvider::new(&[&Suite::AES_128, &Suite::AES_256, &Suite::CHACHA], &Curve25519, &Sha256Hkdf);

#[cfg(feature = "pq")]
const fn with_kem(provider: CryptoProvider) -> CryptoProvider {
    match im_crypto::RUSTCRYPTO.kem {
        Some(kem) => provider.with_kem(kem),
        None => provider,
    }
}

#[cfg(not(feature = "pq"))]
const fn with_kem(provider: CryptoProvider) -> CryptoProvider {
    provider
}

/// One AEAD of the library.
struct Suite {
    id: SuiteId,
    algorithm: &'static Algorithm,
}

impl Suite {
    const AES_128: Self = Self { id: SuiteId::AES_128_GCM, algorithm: &AES_128_GCM };
    const AES_256: Self = Self { id: SuiteId::AES_256_GCM, algorithm: &AES_256_GCM };
    const CHACHA: Self = Self { id: SuiteId::CHACHA20_POLY1305, algorithm: &CHACHA20_POLY1305 };
}

impl AeadSuite for Suite {
    fn id(&self) -> SuiteId {
        self.id
    }

    fn key_len(&self) -> usize {
        self.algorithm.key_len()
    }

    fn is_accelerated(&self) -> bool {
        self.id == SuiteId::CHACHA20_POLY1305 || has_aes()
    }

    fn key(&self, key: &TrafficKey) -> Result<Box<dyn AeadKey>, CryptoError> {
        let key = UnboundKey::new(self.algorithm, key.as_bytes()).map_err(|_| CryptoError::Failed)?;
        Ok(Box::new(Key(LessSafeKey::new(key))))
    }
}

/// Whether this processor has instructions for AES and GHASH. The library picks its code by the same question and does not tell.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// "Less safe" because its nonces come from outside: here from the counters of the record layer. Freed by `OPENSSL_free`, which
/// wipes.
struct Key(LessSafeKey);

impl AeadKey for Key {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &mut [u8; 16]) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.seal_in_place_scatter(nonce, Aad::from(aad), buf, &[], tag).map_err(|_| CryptoError::Failed)
    }

    fn seal_into(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
        tag: &mut [u8; 16],
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.seal_out_of_place_scatter(nonce, Aad::from(aad), plain, out, &[], tag).map_err(|_| CryptoError::Failed)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        if self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, buf).is_ok() {
            return Ok(());
        }
        // The library promises nothing about the buffer after a failure; plaintext must not be there.
        buf.fill(0);
        Err(CryptoError::BadTag)
    }
}

struct Curve25519;

impl Curve25519 {
    fn key(secret: &[u8; 32]) -> Result<agreement::PrivateKey, CryptoError> {
        agreement::PrivateKey::from_private_key(&agreement::X25519, secret).map_err(|_| CryptoError::Failed)
    }
}

impl X25519 for Curve25519 {
    fn public_key(&self, secret: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        let public = Self::key(secret)?.compute_public_key().map_err(|_| CryptoError::Failed)?;
        public.as_ref().try_into().map_err(|_| CryptoError::Failed)
    }

    fn agree(&self, secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, CryptoError> {
        let public = agreement::UnparsedPublicKey::new(&agreement::X25519, public);
        // 32 bytes are always a public key, so what fails here is `X25519()`: in constant time, on an all-zero result.
        agreement::agree(&Self::key(secret)?, public, CryptoError::WeakPublicKey, |shared| {
            let shared: &[u8; 32] = shared.try_into().map_err(|_| CryptoError::Failed)?;
            Ok(Secret::new(*shared))
        })
    }
}

struct Sha256Hkdf;

/// Length of an output, as the library's `expand` wants to know it.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl HkdfSha256 for Sha256Hkdf {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Secret {
        // HKDF-Extract is HMAC (RFC 5869 section 2.2); the library's own `extract` does not let the result out.
        let mut secret = Secret::default();
        let made = hmac::sign_to_buffer(&hmac::Key::new(hmac::HMAC_SHA256, salt), ikm, secret.as_mut_slice());
        // Cannot fail with 32 bytes of room. If it ever does: stop, as `hmac::sign` would, rather than go on with a key of zeros.
        assert!(made.is_ok(), "HMAC-SHA-256 failed");
        secret
    }

    fn expand(&self, prk: &Secret, info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk.as_slice())
            .expand(info, Length(out.len()))
            .and_then(|okm| okm.fill(out))
            .map_err(|_| CryptoError::Failed)
    }
}

const _: () = assert!(aead::NONCE_LEN == 12);
