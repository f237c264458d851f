//! The NK handshake: one HELLO, one reply, and both sides hold record keys.
//!
//! Each step consumes the state before it, so a step that was not verified does not compile.

mod client;
mod server;
#[cfg(all(test, feature = "rustcrypto"))]
mod tests;

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

pub use client::{ClientStart, ClientWait};
pub use server::{ServerStart, requested_key_id};

use crate::{
    HandshakeId, SuiteId,
    error::HandshakeError,
    negotiation::{Choice, HEADER_LEN},
    noise::{self, Config, HandshakeState, Keypair, Role},
    provider::CryptoProvider,
    record::{Opener, Sealer},
    schedule::{Direction, TrafficSecret},
};

/// Zero bytes in the encrypted payload of Noise message 1, which keep a HELLO longer than its reply, so that a server cannot be
/// used to amplify traffic.
const HELLO_PAD: usize = 64;

/// A finished handshake.
pub struct Established {
    /// Seals what this side sends.
    pub sealer: Sealer,
    /// Opens what the peer sends.
    pub opener: Opener,
    /// What was negotiated; the same on both sides.
    pub choice: Choice,
    /// The largest packet body that the other side accepts, bytes on the wire. Nothing bounds it from above: apply your own limit.
    pub peer_max_body: u32,
    /// Hash of the whole handshake, the same on both sides and unique to this connection. Not secret: made to be signed, as a
    /// channel binding.
    pub handshake_hash: [u8; 32],
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("choice", &self.choice)
            .field("peer_max_body", &self.peer_max_body)
            .finish_non_exhaustive()
    }
}

impl Established {
    fn new(
        provider: &'static CryptoProvider,
        state: HandshakeState<'_>,
        role: Role,
        choice: Choice,
        peer_max_body: u32,
    ) -> Result<Self, HandshakeError> {
        let (ck, h) = state.finish()?;
        let suite = provider.aead(choice.suite).ok_or(HandshakeError::ProviderLacks(choice.suite))?;
        let secret = |direction| -> Result<Box<TrafficSecret>, HandshakeError> {
            TrafficSecret::derive(provider, &ck, &h, choice.suite, direction).map_err(|_| HandshakeError::Provider)
        };
        let (send, receive) = match role {
            Role::Initiator => (Direction::ClientToServer, Direction::ServerToClient),
            Role::Responder => (Direction::ServerToClient, Direction::ClientToServer),
        };
        Ok(Self {
            sealer: Sealer::new(provider, suite, secret(send)?),
            opener: Opener::new(provider, suite, secret(receive)?),
            choice,
            peer_max_body,
            handshake_hash: h,
        })
    }
}

/// `"im/1 prologue" || header || prefix`: all that is not encrypted and not a key. It enters the transcript first.
fn prologue(header: &[u8], prefix: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    // A fixed length keeps bytes from moving between header and body.
    if header.len() != HEADER_LEN {
        return Err(HandshakeError::HeaderLength(header.len()));
    }
    Ok([b"im/1 prologue".as_slice(), header, prefix].concat())
}

/// A Noise state for NK with ChaCha20-Poly1305. `s` is the server's key on the server, `rs` on the client.
fn noise_nk<'k>(
    provider: &'static CryptoProvider,
    role: Role,
    prologue: &[u8],
    e: Keypair,
    s: Option<&'k Keypair>,
    rs: Option<[u8; 32]>,
) -> Result<HandshakeState<'k>, HandshakeError> {
    let cipher = SuiteId::CHACHA20_POLY1305;
    let cipher = provider.aead(cipher).ok_or(HandshakeError::ProviderLacks(cipher))?;
    let pattern = noise::by_id(HandshakeId::NK).ok_or(HandshakeError::Provider)?;
    Ok(HandshakeState::new(Config { provider, cipher, pattern, role, prologue, s, e, rs, psks: &[] })?)
}
