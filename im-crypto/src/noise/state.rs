//! HandshakeState (Noise rev 34, section 5.3) with the hfs extension.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::{
    DH_LEN, Keypair, NoiseError, TAG_LEN,
    pattern::{Pattern, Token},
    symmetric::{Cipher, SymmetricState},
};
use crate::provider::{
    AeadSuite, CryptoProvider, KEM_CIPHERTEXT_LEN, KEM_PUBLIC_LEN, KemSeed, MlKem768, MlKem768Key, Secret,
};

/// Who began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// All that a handshake starts from.
pub(crate) struct Config<'p> {
    pub(crate) provider: &'static CryptoProvider,
    pub(crate) cipher: &'static dyn AeadSuite,
    pub(crate) pattern: Pattern,
    pub(crate) role: Role,
    pub(crate) prologue: &'p [u8],
    /// Own static key.
    pub(crate) s: Option<Arc<Keypair>>,
    /// Own ephemeral secret, never used before.
    pub(crate) e: Box<Secret>,
    /// Randomness for the key encapsulation, never used before; hybrid patterns only.
    pub(crate) kem_seed: Option<Box<KemSeed>>,
    /// The peer's static key, where it is known beforehand.
    pub(crate) rs: Option<[u8; DH_LEN]>,
    /// Pre-shared keys in the order of their tokens.
    pub(crate) psks: Vec<Secret>,
}

/// A handshake under way.
pub(crate) struct HandshakeState {
    provider: &'static CryptoProvider,
    pattern: Pattern,
    uses_psk: bool,
    role: Role,
    s: Option<Arc<Keypair>>,
    e: Box<Secret>,
    kem_seed: Option<Box<KemSeed>>,
    psks: Vec<Secret>,
    progress: Progress,
}

/// What a message changes. Each message works on a copy that replaces the original only when all of it succeeded, so that a
/// message that does not verify leaves no trace.
#[derive(Clone)]
struct Progress {
    symmetric: SymmetricState,
    rs: Option<[u8; DH_LEN]>,
    re: Option<[u8; DH_LEN]>,
    /// Own decapsulation key, made when its public half is sent.
    e1: Option<Arc<dyn MlKem768Key>>,
    re1: Option<Arc<[u8; KEM_PUBLIC_LEN]>>,
    messages: usize,
    psks: usize,
}

impl HandshakeState {
    /// `Initialize`.
    pub(crate) fn new(config: Config<'_>) -> Result<Self, NoiseError> {
        let Config { provider, cipher, pattern, role, prologue, s, e, kem_seed, rs, psks } = config;
        let mut symmetric = SymmetricState::new(provider, Cipher::new(cipher), &pattern);
        symmetric.mix_hash(prologue);
        let own = s.as_ref().map(|pair| pair.public);
        let (initiator, responder) = match role {
            Role::Initiator => (own, rs),
            Role::Responder => (rs, own),
        };
        if pattern.initiator_known {
            symmetric.mix_hash(&initiator.ok_or(NoiseError::Local)?);
        }
        if pattern.responder_known {
            symmetric.mix_hash(&responder.ok_or(NoiseError::Local)?);
        }
        let progress = Progress { symmetric, rs, re: None, e1: None, re1: None, messages: 0, psks: 0 };
        Ok(Self { provider, pattern, uses_psk: pattern.uses_psk(), role, s, e, kem_seed, psks, progress })
    }

    /// The tokens of the next message, if it is this side's turn to write it (or to read it).
    fn next(&self, write: bool) -> Result<&'static [Token], NoiseError> {
        let initiators = self.progress.messages.is_multiple_of(2);
        if (initiators == (self.role == Role::Initiator)) != write {
            return Err(NoiseError::Local);
        }
        self.pattern.messages.get(self.progress.messages).copied().ok_or(NoiseError::Local)
    }

    fn kem(&self) -> Result<(&'static dyn MlKem768, &KemSeed), NoiseError> {
        Ok((self.provider.kem.ok_or(NoiseError::Local)?, self.kem_seed.as_deref().ok_or(NoiseError::Local)?))
    }

    /// `WriteMessage`: appends the message; nothing is appended on error.
    pub(crate) fn write_message(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let start = out.len();
        self.progress = self.try_write(payload, out).inspect_err(|_| out.truncate(start))?;
        Ok(())
    }

    fn try_write(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<Progress, NoiseError> {
        let tokens = self.next(true)?;
        let mut next = self.progress.clone();
        for token in tokens {
            match token {
                Token::E => {
                    // Only now, so that a message that is refused before costs the reader no multiplication for its answer.
                    let public = self.provider.dh.public_key(&self.e)?;
                    out.extend_from_slice(&public);
                    self.mix_ephemeral(&mut next, &public)?;
                }
                Token::S => {
                    let s = self.s.as_ref().ok_or(NoiseError::Local)?;
                    next.symmetric.encrypt_and_hash(&s.public, out)?;
                }
                Token::E1 => {
                    let (kem, seed) = self.kem()?;
                    let key: Arc<dyn MlKem768Key> = kem.generate(seed)?.into();
                    next.symmetric.encrypt_and_hash(key.public_key(), out)?;
                    next.e1 = Some(key);
                }
                Token::Ekem1 => {
                    let (kem, seed) = self.kem()?;
                    let re1 = next.re1.take().ok_or(NoiseError::Local)?;
                    let mut ciphertext = [0; KEM_CIPHERTEXT_LEN];
                    let randomness = seed.first_chunk().ok_or(NoiseError::Local)?;
                    let shared = kem.encapsulate(&re1, randomness, &mut ciphertext)?;
                    next.symmetric.encrypt_and_hash(&ciphertext, out)?;
                    next.symmetric.mix_key(shared.as_slice())?;
                }
                Token::Ee | Token::Es | Token::Se | Token::Ss | Token::Psk => self.mix(*token, &mut next)?,
            }
        }
        next.symmetric.encrypt_and_hash(payload, out)?;
        next.messages += 1;
        Ok(next)
    }

    /// `ReadMessage`: decrypts in place and returns the payload.
    pub(crate) fn read_message<'m>(&mut self, message: &'m mut [u8]) -> Result<&'m mut [u8], NoiseError> {
        let tokens = self.next(false)?;
        let mut next = self.progress.clone();
        let mut rest = message;
        for token in tokens {
            match token {
                Token::E => {
                    let (re, after) = rest.split_first_chunk_mut::<DH_LEN>().ok_or(NoiseError::Truncated)?;
                    next.re = Some(*re);
                    self.mix_ephemeral(&mut next, re)?;
                    rest = after;
                }
                Token::S => next.rs = Some(*take_sealed(&mut next.symmetric, &mut rest)?),
                Token::E1 => next.re1 = Some(Arc::new(*take_sealed(&mut next.symmetric, &mut rest)?)),
                Token::Ekem1 => {
                    let e1 = next.e1.take().ok_or(NoiseError::Local)?;
                    let shared = e1.decapsulate(take_sealed(&mut next.symmetric, &mut rest)?)?;
                    next.symmetric.mix_key(shared.as_slice())?;
                }
                Token::Ee | Token::Es | Token::Se | Token::Ss | Token::Psk => self.mix(*token, &mut next)?,
            }
        }
        let payload = next.symmetric.decrypt_and_hash(rest)?;
        next.messages += 1;
        self.progress = next;
        Ok(payload)
    }

    fn mix_ephemeral(&self, next: &mut Progress, public: &[u8; DH_LEN]) -> Result<(), NoiseError> {
        next.symmetric.mix_hash(public);
        if self.uses_psk {
            next.symmetric.mix_key(public)?;
        }
        Ok(())
    }

    /// The tokens that are the same for writer and reader.
    fn mix(&self, token: Token, next: &mut Progress) -> Result<(), NoiseError> {
        let initiator = self.role == Role::Initiator;
        let (own_static, peer_static) = match token {
            Token::Psk => {
                let psk = self.psks.get(next.psks).ok_or(NoiseError::Local)?;
                next.psks += 1;
                return Ok(next.symmetric.mix_key_and_hash(psk.as_slice())?);
            }
            Token::Ee => (false, false),
            Token::Es => (!initiator, initiator),
            Token::Se => (initiator, !initiator),
            Token::Ss => (true, true),
            Token::E | Token::S | Token::E1 | Token::Ekem1 => return Err(NoiseError::Local),
        };
        let own = if own_static { &self.s.as_ref().ok_or(NoiseError::Local)?.secret } else { &self.e };
        let peer = if peer_static { next.rs } else { next.re }.ok_or(NoiseError::Local)?;
        let shared = self.provider.dh.agree(own, &peer)?;
        Ok(next.symmetric.mix_key(shared.as_slice())?)
    }

    /// The peer's static key, known beforehand or received.
    pub(crate) fn peer_static(&self) -> Option<[u8; DH_LEN]> {
        self.progress.rs
    }

    fn is_finished(&self) -> bool {
        self.progress.messages == self.pattern.messages.len()
    }

    /// Chaining key and transcript hash after the last message; the start of the key schedule.
    pub(crate) fn finish(self) -> Result<(Secret, [u8; 32]), NoiseError> {
        if !self.is_finished() {
            return Err(NoiseError::Local);
        }
        Ok((self.progress.symmetric.ck().clone(), *self.progress.symmetric.h()))
    }

    #[cfg(all(test, feature = "rustcrypto"))]
    pub(super) fn symmetric(&self) -> &SymmetricState {
        &self.progress.symmetric
    }

    #[cfg(all(test, feature = "rustcrypto"))]
    pub(super) fn finished(&self) -> bool {
        self.is_finished()
    }
}

/// Takes a public key or a ciphertext from the front of a message and decrypts it if there is a key already.
fn take_sealed<'m, const N: usize>(
    symmetric: &mut SymmetricState,
    rest: &mut &'m mut [u8],
) -> Result<&'m [u8; N], NoiseError> {
    let length = if symmetric.has_key() { N + TAG_LEN } else { N };
    let (sealed, after) = core::mem::take(rest).split_at_mut_checked(length).ok_or(NoiseError::Truncated)?;
    *rest = after;
    symmetric.decrypt_and_hash(sealed)?.first_chunk().ok_or(NoiseError::Truncated)
}
