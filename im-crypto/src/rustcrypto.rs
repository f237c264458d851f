//! The provider made of the RustCrypto and dalek crates: pure Rust, constant time, no_std.

use alloc::boxed::Box;

use aes_gcm::{
    Aes128Gcm, Aes256Gcm,
    aead::{AeadInOut, KeyInit, inout::InOutBuf},
};
use chacha20poly1305::ChaCha20Poly1305;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    SuiteId,
    provider::{AeadKey, AeadSuite, CryptoError, CryptoProvider, HkdfSha256, Secret, TrafficKey, X25519},
};

/// Pure-Rust provider with suites 16, 17 and 18, with feature `sm` 21, and with feature `pq` ML-KEM-768.
pub static RUSTCRYPTO: CryptoProvider = with_kem(CryptoProvider::new(SUITES, &Dalek, &Sha256Hkdf));

#[cfg(feature = "pq")]
const fn with_kem(provider: CryptoProvider) -> CryptoProvider {
    provider.with_kem(&crate::mlkem::MlKem)
}

#[cfg(not(feature = "pq"))]
const fn with_kem(provider: CryptoProvider) -> CryptoProvider {
    provider
}

const SUITES: &[&dyn AeadSuite] = &[
    &Aes128Suite,
    &Aes256Suite,
    &ChaChaSuite,
    #[cfg(feature = "sm")]
    &Sm4Suite,
];

/// Implements suite and key for one cipher of the `aead` crate generation.
macro_rules! aead_suite {
    ($suite:ident, $cipher:ty, $id:expr, $key_len:expr, $accelerated:expr) => {
        struct $suite;

        impl AeadSuite for $suite {
            fn id(&self) -> SuiteId {
                $id
            }

            fn key_len(&self) -> usize {
                $key_len
            }

            fn is_accelerated(&self) -> bool {
                $accelerated
            }

            fn key(&self, key: &TrafficKey) -> Result<Box<dyn AeadKey>, CryptoError> {
                let cipher = <$cipher>::new_from_slice(key.as_bytes()).map_err(|_| CryptoError::Failed)?;
                Ok(Box::new(cipher))
            }
        }

        impl AeadKey for $cipher {
            fn seal(
                &self,
                nonce: &[u8; 12],
                aad: &[u8],
                buf: &mut [u8],
                tag: &mut [u8; 16],
            ) -> Result<(), CryptoError> {
                let made = self.encrypt_inout_detached(nonce.into(), aad, buf.into());
                *tag = made.map_err(|_| CryptoError::Failed)?.into();
                Ok(())
            }

            fn seal_into(
                &self,
                nonce: &[u8; 12],
                aad: &[u8],
                plain: &[u8],
                out: &mut [u8],
                tag: &mut [u8; 16],
            ) -> Result<(), CryptoError> {
                let buf = InOutBuf::new(plain, out).map_err(|_| CryptoError::Failed)?;
                let made = self.encrypt_inout_detached(nonce.into(), aad, buf);
                *tag = made.map_err(|_| CryptoError::Failed)?.into();
                Ok(())
            }

            fn open(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError> {
                self.decrypt_inout_detached(nonce.into(), aad, buf.into(), tag.into()).map_err(|_| CryptoError::BadTag)
            }
        }
    };
}

aead_suite!(Aes128Suite, Aes128Gcm, SuiteId::AES_128_GCM, 16, aes_gcm::aes::hardware_accelerated());
aead_suite!(Aes256Suite, Aes256Gcm, SuiteId::AES_256_GCM, 32, aes_gcm::aes::hardware_accelerated());
aead_suite!(ChaChaSuite, ChaCha20Poly1305, SuiteId::CHACHA20_POLY1305, 32, true);

/// AEAD_SM4_GCM of RFC 8998: the generic GCM of `aes-gcm` over the block cipher SM4. Its `sm4` has no use of the processor's AES
/// instructions, so it is never what a machine prefers.
#[cfg(feature = "sm")]
type Sm4Gcm = aes_gcm::AesGcm<sm4::Sm4, aes_gcm::aead::consts::U12>;
#[cfg(feature = "sm")]
aead_suite!(Sm4Suite, Sm4Gcm, SuiteId::SM4_GCM, 16, false);

struct Dalek;

impl X25519 for Dalek {
    fn public_key(&self, secret: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        Ok(PublicKey::from(&StaticSecret::from(*secret)).to_bytes())
    }

    fn agree(&self, secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, CryptoError> {
        let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*public));
        if !shared.was_contributory() {
            return Err(CryptoError::WeakPublicKey);
        }
        Ok(Zeroizing::new(shared.to_bytes()))
    }
}

struct Sha256Hkdf;

impl HkdfSha256 for Sha256Hkdf {
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Secret {
        let (mut prk, _) = hkdf::Hkdf::<Sha256>::extract(Some(salt), ikm);
        let mut secret = Secret::default();
        secret.copy_from_slice(&prk);
        prk.as_mut_slice().zeroize();
        secret
    }

    fn expand(&self, prk: &Secret, info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        hkdf::Hkdf::<Sha256>::from_prk(prk.as_slice())
            .map_err(|_| CryptoError::Failed)?
            .expand_multi_info(info, out)
            .map_err(|_| CryptoError::Failed)
    }
}

#[cfg(all(test, feature = "sm"))]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 8998 appendix A.1. Wycheproof's vectors for SM4-GCM run in `testing/im-wycheproof`.
    #[test]
    fn sm4_gcm_of_rfc_8998() {
        let key = TrafficKey::derive(16, |out| {
            out.copy_from_slice(&hex("0123456789abcdeffedcba9876543210"));
            Ok(())
        });
        let key = Sm4Suite.key(&key.unwrap()).unwrap();
        let nonce = hex("00001234567800000000abcd").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = hex(concat!(
            "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd",
            "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa"
        ));
        let mut text = plain.clone();
        let mut tag = [0; 16];
        key.seal(&nonce, &aad, &mut text, &mut tag).unwrap();
        assert_eq!(
            text,
            hex(concat!(
                "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735",
                "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
            ))
        );
        assert_eq!(tag.as_slice(), hex("83de3541e4c2b58177e065a9bf7b62ec"));
        let mut out = plain.clone();
        let mut again = [0; 16];
        key.seal_into(&nonce, &aad, &plain, &mut out, &mut again).unwrap();
        assert_eq!(again, tag);
        assert_eq!(out, text);
        key.open(&nonce, &aad, &mut text, &tag).unwrap();
        assert_eq!(text, plain);
    }
}
