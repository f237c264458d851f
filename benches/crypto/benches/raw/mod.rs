//! The primitives as their crates give them: no counter, no limits, no checks of a header.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use im_crypto::SuiteId;

const KEY: [u8; 32] = [7; 32];
const TAG: usize = 16;

pub(crate) enum Raw {
    Aes128(Aes128Gcm),
    Aes256(Aes256Gcm),
    ChaCha(ChaCha20Poly1305),
    Ring(ring::aead::LessSafeKey),
    AwsLc(aws_lc_rs::aead::LessSafeKey),
}

/// Every implementation of a suite.
pub(crate) fn all(suite: SuiteId) -> [(&'static str, Raw); 3] {
    use aws_lc_rs::aead as aws;
    use ring::aead as ring;
    let (rust, ring, aws) = match suite {
        SuiteId::AES_128_GCM => (
            Raw::Aes128(Aes128Gcm::new_from_slice(&KEY[..16]).expect("16 bytes")),
            &ring::AES_128_GCM,
            &aws::AES_128_GCM,
        ),
        SuiteId::AES_256_GCM => {
            (Raw::Aes256(Aes256Gcm::new_from_slice(&KEY).expect("32 bytes")), &ring::AES_256_GCM, &aws::AES_256_GCM)
        }
        _ => (
            Raw::ChaCha(ChaCha20Poly1305::new_from_slice(&KEY).expect("32 bytes")),
            &ring::CHACHA20_POLY1305,
            &aws::CHACHA20_POLY1305,
        ),
    };
    let ring = ring::UnboundKey::new(ring, &KEY[..ring.key_len()]).expect("a key");
    let aws = aws::UnboundKey::new(aws, &KEY[..aws.key_len()]).expect("a key");
    [
        ("rustcrypto", rust),
        ("ring", Raw::Ring(ring::LessSafeKey::new(ring))),
        ("aws-lc", Raw::AwsLc(aws::LessSafeKey::new(aws))),
    ]
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

impl Raw {
    /// Seals all of `packet` but its last 16 bytes, which take the tag.
    pub(crate) fn seal(&self, counter: u64, aad: &[u8], packet: &mut [u8]) {
        let (text, tag) = packet.split_last_chunk_mut::<TAG>().expect("room");
        let nonce = nonce(counter);
        match self {
            Self::Aes128(key) => {
                *tag = key.encrypt_inout_detached(&nonce.into(), aad, text.into()).expect("sealed").into();
            }
            Self::Aes256(key) => {
                *tag = key.encrypt_inout_detached(&nonce.into(), aad, text.into()).expect("sealed").into();
            }
            Self::ChaCha(key) => {
                *tag = key.encrypt_inout_detached(&nonce.into(), aad, text.into()).expect("sealed").into();
            }
            Self::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                let sealed = key.seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), text).expect("sealed");
                tag.copy_from_slice(sealed.as_ref());
            }
            Self::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                let aad = aws_lc_rs::aead::Aad::from(aad);
                let sealed = key.seal_in_place_separate_tag(nonce, aad, text).expect("sealed");
                tag.copy_from_slice(sealed.as_ref());
            }
        }
    }

    /// Opens what [`seal`](Self::seal) made.
    pub(crate) fn open(&self, counter: u64, aad: &[u8], packet: &mut [u8]) {
        let nonce = nonce(counter);
        let (text, tag) = packet.split_last_chunk_mut::<TAG>().expect("a tag");
        match self {
            Self::Aes128(key) => {
                key.decrypt_inout_detached(&nonce.into(), aad, text.into(), (&*tag).into()).expect("opened");
            }
            Self::Aes256(key) => {
                key.decrypt_inout_detached(&nonce.into(), aad, text.into(), (&*tag).into()).expect("opened");
            }
            Self::ChaCha(key) => {
                key.decrypt_inout_detached(&nonce.into(), aad, text.into(), (&*tag).into()).expect("opened");
            }
            Self::Ring(key) => {
                let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring::aead::Aad::from(aad), packet).expect("opened");
            }
            Self::AwsLc(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws_lc_rs::aead::Aad::from(aad), packet).expect("opened");
            }
        }
    }
}
