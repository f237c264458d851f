#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use aws_lc_rs::{
    aead::{self, AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement, digest, hkdf, hmac,
};
use im_crypto::{AeadKey, AeadSuite, CryptoError, CryptoProvider, HkdfSha256, Secret, SuiteId, TrafficKey, X25519};

/// The provider on aws-lc-rs, with suites 16, 17 and 18. What one side computes with it the other side can compute with any other
/// provider.
pub static AWS_LC: CryptoProvider = CryptoProvider::new(&[&AES_128, &AES_256, &CHACHA], &Curve25519, &Sha256Hkdf);

/// One AEAD of the library. All of them run at full speed: it picks its code by the processor it finds.
struct Suite {
    id: SuiteId,
    algorithm: &'static Algorithm,
}

static AES_128: Suite = Suite { id: SuiteId::AES_128_GCM, algorithm: &AES_128_GCM };
static AES_256: Suite = Suite { id: SuiteId::AES_256_GCM, algorithm: &AES_256_GCM };
static CHACHA: Suite = Suite { id: SuiteId::CHACHA20_POLY1305, algorithm: &CHACHA20_POLY1305 };

impl AeadSuite for Suite {
    fn id(&self) -> SuiteId {
        self.id
    }

    fn key_len(&self) -> usize {
        self.algorithm.key_len()
    }

    fn is_accelerated(&self) -> bool {
        // The library does not tell. Its portable AES is slow, so processors that commonly lack the instructions prefer ChaCha20.
        self.id == SuiteId::CHACHA20_POLY1305 || cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
    }

    fn key(&self, key: &TrafficKey) -> Result<Box<dyn AeadKey>, CryptoError> {
        let key = UnboundKey::new(self.algorithm, key.as_bytes()).map_err(|_| CryptoError::Failed)?;
        Ok(Box::new(Key(LessSafeKey::new(key))))
    }
}

/// "Less safe" because its nonces come from outside: here from the record layer's counters. Wiped by the library when dropped.
struct Key(LessSafeKey);

impl Key {
    fn tag(tag: &[u8]) -> Result<[u8; 16], CryptoError> {
        tag.try_into().map_err(|_| CryptoError::Failed)
    }
}

impl AeadKey for Key {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8]) -> Result<[u8; 16], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), buf).map_err(|_| CryptoError::Failed)?;
        Self::tag(tag.as_ref())
    }

    fn seal_into(&self, nonce: &[u8; 12], aad: &[u8], plain: &[u8], out: &mut [u8]) -> Result<[u8; 16], CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut tag = [0; 16];
        self.0
            .seal_out_of_place_scatter(nonce, Aad::from(aad), plain, out, &[], &mut tag)
            .map_err(|_| CryptoError::Failed)?;
        Ok(tag)
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        if self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, buf).is_ok() {
            return Ok(());
        }
        // The library leaves open what stands there after a failure; no plaintext must.
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
        // X25519() of the library fails if, and only if, the result is all zero; 32 bytes are always a key.
        agreement::agree(&Self::key(secret)?, public, CryptoError::WeakPublicKey, |shared| {
            let mut secret = Secret::default();
            let shared: &[u8; 32] = shared.try_into().map_err(|_| CryptoError::Failed)?;
            secret.copy_from_slice(shared);
            Ok(secret)
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
        context.finish().as_ref().try_into().unwrap_or_default()
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Secret {
        // HKDF-Extract is HMAC; the library's own `extract` does not let the result out.
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), ikm);
        let mut secret = Secret::default();
        for (to, from) in secret.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
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
