//! SymmetricState with its CipherState (Noise rev 34, sections 5.1 and 5.2).

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{NoiseError, TAG_LEN, pattern::Pattern};
use crate::{
    SuiteId,
    provider::{AeadKey, AeadSuite, CryptoError, CryptoProvider, Secret, TrafficKey},
};

/// The handshake's cipher: the same AEAD implementations as the record layer, with Noise's nonce encoding.
#[derive(Clone, Copy)]
pub(super) struct Cipher {
    suite: &'static dyn AeadSuite,
}

impl Cipher {
    pub(super) fn new(suite: &'static dyn AeadSuite) -> Self {
        Self { suite }
    }

    /// The name inside the protocol name (section 12).
    fn name(self) -> &'static str {
        if self.is_chacha() { "ChaChaPoly" } else { "AESGCM" }
    }

    fn is_chacha(self) -> bool {
        self.suite.id() == SuiteId::CHACHA20_POLY1305
    }

    fn nonce(self, n: u64) -> [u8; 12] {
        let counter = if self.is_chacha() { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut nonce = [0; 12];
        for (byte, value) in nonce.iter_mut().skip(4).zip(counter) {
            *byte = value;
        }
        nonce
    }

    fn key(self, key: &Secret) -> Result<alloc::boxed::Box<dyn AeadKey>, CryptoError> {
        let key = TrafficKey::derive(self.suite.key_len(), |out| {
            if out.len() != key.len() {
                return Err(CryptoError::Failed);
            }
            out.copy_from_slice(key.as_slice());
            Ok(())
        })?;
        self.suite.key(&key)
    }

    pub(super) fn seal(self, key: &Secret, n: u64, ad: &[u8], buf: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        let mut tag = [0; TAG_LEN];
        self.key(key)?.seal(&self.nonce(n), ad, buf, &mut tag)?;
        Ok(tag)
    }

    pub(super) fn open(
        self,
        key: &Secret,
        n: u64,
        ad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.key(key)?.open(&self.nonce(n), ad, buf, tag)
    }
}

/// Chaining key, transcript hash and the current cipher key.
#[derive(Clone)]
pub(super) struct SymmetricState {
    provider: &'static CryptoProvider,
    cipher: Cipher,
    ck: Secret,
    h: [u8; 32],
    k: Option<Secret>,
    n: u64,
}

impl SymmetricState {
    /// `InitializeSymmetric`.
    pub(super) fn new(provider: &'static CryptoProvider, cipher: Cipher, pattern: &Pattern) -> Self {
        let mut name = Vec::with_capacity(64);
        let dh = if pattern.is_hybrid() { "_25519+MLKEM768_" } else { "_25519_" };
        for part in ["Noise_", pattern.name, dh, cipher.name(), "_SHA256"] {
            name.extend_from_slice(part.as_bytes());
        }
        let mut h = [0; 32];
        match h.get_mut(..name.len()) {
            Some(start) => start.copy_from_slice(&name),
            None => h = provider.hash.hash(&[&name]),
        }
        Self { provider, cipher, ck: Zeroizing::new(h), h, k: None, n: 0 }
    }

    pub(super) fn has_key(&self) -> bool {
        self.k.is_some()
    }

    pub(super) fn h(&self) -> &[u8; 32] {
        &self.h
    }

    pub(super) fn ck(&self) -> &Secret {
        &self.ck
    }

    /// Noise's HKDF with N outputs: RFC 5869 with the chaining key as salt and no info.
    fn hkdf<const N: usize>(&self, ikm: &[u8]) -> Result<[Secret; N], CryptoError> {
        let prk = self.provider.hash.extract(self.ck.as_slice(), ikm);
        let mut okm = Zeroizing::new([0_u8; 96]);
        let okm = okm.get_mut(..32 * N).ok_or(CryptoError::Failed)?;
        self.provider.hash.expand(&prk, &[], okm)?;
        let mut outputs = core::array::from_fn(|_| Secret::default());
        for (output, bytes) in outputs.iter_mut().zip(okm.chunks_exact(32)) {
            output.copy_from_slice(bytes);
        }
        Ok(outputs)
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.h = self.provider.hash.hash(&[&self.h, data]);
    }

    pub(super) fn mix_key(&mut self, ikm: &[u8]) -> Result<(), CryptoError> {
        let [ck, k] = self.hkdf(ikm)?;
        self.ck = ck;
        self.set_key(k);
        Ok(())
    }

    pub(super) fn mix_key_and_hash(&mut self, ikm: &[u8]) -> Result<(), CryptoError> {
        let [ck, temp_h, k] = self.hkdf(ikm)?;
        self.ck = ck;
        self.mix_hash(temp_h.as_slice());
        self.set_key(k);
        Ok(())
    }

    fn set_key(&mut self, k: Secret) {
        self.k = Some(k);
        self.n = 0;
    }

    /// `EncryptAndHash`: appends the ciphertext, or the plaintext while there is no key.
    pub(super) fn encrypt_and_hash(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(k) = &self.k {
            let n = self.n;
            let body = out.get_mut(start..).ok_or(NoiseError::Local)?;
            let tag = self.cipher.seal(k, n, &self.h, body)?;
            out.extend_from_slice(&tag);
            self.n = n.checked_add(1).ok_or(NoiseError::Local)?;
        }
        self.mix_hash(out.get(start..).ok_or(NoiseError::Local)?);
        Ok(())
    }

    /// `DecryptAndHash`: decrypts in place and returns the plaintext.
    pub(super) fn decrypt_and_hash<'m>(&mut self, data: &'m mut [u8]) -> Result<&'m mut [u8], NoiseError> {
        let Some(k) = &self.k else {
            self.mix_hash(data);
            return Ok(data);
        };
        // The transcript takes the ciphertext, which decryption overwrites.
        let next_h = self.provider.hash.hash(&[&self.h, data]);
        let (body, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(NoiseError::Truncated)?;
        self.cipher.open(k, self.n, &self.h, body, tag)?;
        self.n = self.n.checked_add(1).ok_or(NoiseError::Local)?;
        self.h = next_h;
        Ok(body)
    }

    /// The two keys of `Split()`; only the published vectors use them, the record layer has its own key schedule.
    #[cfg(all(test, feature = "rustcrypto"))]
    pub(super) fn split(&self) -> (Cipher, [Secret; 2]) {
        (self.cipher, self.hkdf(&[]).unwrap())
    }
}
