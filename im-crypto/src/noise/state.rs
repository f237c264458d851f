//! HandshakeState (Noise rev 34, section 5.3).

use alloc::vec::Vec;

use super::{
    DH_LEN, Keypair, NoiseError, TAG_LEN,
    pattern::{Pattern, Token},
    symmetric::{Cipher, SymmetricState},
};
use crate::provider::{AeadSuite, CryptoProvider, Secret};

/// Who began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// All that a handshake starts from.
pub(crate) struct Config<'k, 'p> {
    pub(crate) provider: &'static CryptoProvider,
    pub(crate) cipher: &'static dyn AeadSuite,
    pub(crate) pattern: Pattern,
    pub(crate) role: Role,
    pub(crate) prologue: &'p [u8],
    /// Own static key.
    pub(crate) s: Option<&'k Keypair>,
    /// Own ephemeral key, never used before.
    pub(crate) e: Keypair,
    /// The peer's static key, where it is known beforehand.
    pub(crate) rs: Option<[u8; DH_LEN]>,
    /// Pre-shared keys in the order of their tokens.
    pub(crate) psks: &'k [Secret],
}

/// A handshake under way.
pub(crate) struct HandshakeState<'k> {
    provider: &'static CryptoProvider,
    pattern: Pattern,
    uses_psk: bool,
    role: Role,
    s: Option<&'k Keypair>,
    e: Keypair,
    psks: &'k [Secret],
    progress: Progress,
}

/// What a message changes. Each message works on a copy that replaces the original only when all of it succeeded, so that a
/// message that does not verify leaves no trace.
#[derive(Clone)]
struct Progress {
    symmetric: SymmetricState,
    rs: Option<[u8; DH_LEN]>,
    re: Option<[u8; DH_LEN]>,
    messages: usize,
    psks: usize,
}

impl<'k> HandshakeState<'k> {
    /// `Initialize`.
    pub(crate) fn new(config: Config<'k, '_>) -> Result<Self, NoiseError> {
        let Config { provider, cipher, pattern, role, prologue, s, e, rs, psks } = config;
        let mut symmetric = SymmetricState::new(provider, Cipher::new(cipher), pattern.name);
        symmetric.mix_hash(prologue);
        let own = s.map(|pair| pair.public);
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
        let progress = Progress { symmetric, rs, re: None, messages: 0, psks: 0 };
        Ok(Self { provider, pattern, uses_psk: pattern.uses_psk(), role, s, e, psks, progress })
    }

    /// The tokens of the next message, if it is this side's turn to write it (or to read it).
    fn next(&self, write: bool) -> Result<&'static [Token], NoiseError> {
        let initiators = self.progress.messages.is_multiple_of(2);
        if (initiators == (self.role == Role::Initiator)) != write {
            return Err(NoiseError::Local);
        }
        self.pattern.messages.get(self.progress.messages).copied().ok_or(NoiseError::Local)
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
                    out.extend_from_slice(&self.e.public);
                    self.mix_ephemeral(&mut next, &self.e.public)?;
                }
                Token::S => {
                    let s = self.s.ok_or(NoiseError::Local)?;
                    next.symmetric.encrypt_and_hash(&s.public, out)?;
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
                Token::S => {
                    let length = if next.symmetric.has_key() { DH_LEN + TAG_LEN } else { DH_LEN };
                    let (sealed, after) = rest.split_at_mut_checked(length).ok_or(NoiseError::Truncated)?;
                    let rs = next.symmetric.decrypt_and_hash(sealed)?;
                    next.rs = rs.first_chunk().copied();
                    rest = after;
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
            Token::E | Token::S => return Err(NoiseError::Local),
        };
        let own = if own_static { self.s.ok_or(NoiseError::Local)? } else { &self.e };
        let peer = if peer_static { next.rs } else { next.re }.ok_or(NoiseError::Local)?;
        let shared = self.provider.dh.agree(&own.secret, &peer)?;
        Ok(next.symmetric.mix_key(shared.as_slice())?)
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
