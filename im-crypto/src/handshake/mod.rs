//! The handshakes: HELLO, HELLO_REPLY, in XX a third message, and both sides hold record keys.
//!
//! Each step consumes the state before it, so a step that was not verified does not compile.

mod client;
mod server;
#[cfg(all(test, feature = "rustcrypto"))]
mod tests;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use zeroize::Zeroizing;

pub use client::{ClientFinish, ClientStart, ClientWait, Replied};
pub use server::{Accepted, Resumption, RetryPolicy, ServerContext, ServerStart, ServerWait};

use crate::{
    HandshakeId, SuiteId,
    error::HandshakeError,
    key::{Entropy, StaticPublicKey},
    negotiation::{Choice, HEADER_LEN},
    noise::{self, Config, DH_LEN, HandshakeState, Keypair, Pattern, Role, TAG_LEN},
    provider::{CryptoProvider, KEM_PUBLIC_LEN, KemSeed, Secret},
    record::{Opener, Sealer},
    schedule::{Direction, TrafficSecret},
    ticket::{ResumptionSecret, TicketClaims},
};

/// Zero bytes in the payload of Noise message 1, which keep a HELLO longer than its reply, so that a server cannot be used to
/// amplify traffic.
const HELLO_PAD: usize = 64;

/// A finished handshake.
pub struct Established {
    /// Seals what this side sends.
    pub sealer: Sealer,
    /// Opens what the peer sends.
    pub opener: Opener,
    /// The handshake that was made.
    pub handshake: HandshakeId,
    /// What was negotiated; the same on both sides.
    pub choice: Choice,
    /// The largest packet body that the other side accepts, bytes on the wire. Nothing bounds it from above: apply your own limit.
    pub peer_max_body: u32,
    /// Hash of the whole handshake, the same on both sides and unique to this connection. Not secret: made to be signed, as a
    /// channel binding.
    pub handshake_hash: [u8; 32],
    /// The peer's static key that this handshake authenticated. On a client the server's (in NK and IK one of the pins); on a server
    /// the client's in XX and IK, whose owner it has to look up; `None` otherwise.
    pub peer_key: Option<StaticPublicKey>,
    /// On a server after a resumption: what the ticket says. `None` otherwise.
    pub ticket: Option<TicketClaims>,
    /// For tickets that resume this session.
    pub resumption: ResumptionSecret,
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("handshake", &self.handshake)
            .field("choice", &self.choice)
            .field("peer_max_body", &self.peer_max_body)
            .field("peer_key", &self.peer_key)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

/// What the last message of either side still needs to become an [`Established`].
struct Outcome {
    handshake: HandshakeId,
    choice: Choice,
    peer_max_body: u32,
    ticket: Option<TicketClaims>,
}

impl Outcome {
    fn establish(
        self,
        provider: &'static CryptoProvider,
        state: HandshakeState,
        role: Role,
    ) -> Result<Established, HandshakeError> {
        let Self { handshake, choice, peer_max_body, ticket } = self;
        let peer_key = state.peer_static().map(StaticPublicKey::from_bytes);
        let (ck, h) = state.finish()?;
        let suite = provider.aead(choice.suite).ok_or(HandshakeError::ProviderLacks(choice.suite))?;
        let secret = |direction| -> Result<Box<TrafficSecret>, HandshakeError> {
            TrafficSecret::derive(provider, &ck, &h, choice.suite, direction).map_err(|_| HandshakeError::Provider)
        };
        let (send, receive) = match role {
            Role::Initiator => (Direction::ClientToServer, Direction::ServerToClient),
            Role::Responder => (Direction::ServerToClient, Direction::ClientToServer),
        };
        let resumption = resumption_secret(provider, &ck, &h).map_err(|_| HandshakeError::Provider)?;
        Ok(Established {
            sealer: Sealer::new(provider, suite, secret(send)?),
            opener: Opener::new(provider, suite, secret(receive)?),
            handshake,
            choice,
            peer_max_body,
            handshake_hash: h,
            peer_key,
            ticket,
            resumption: ResumptionSecret::new(resumption, handshake, choice.suite),
        })
    }
}

/// `Expand(Extract(ck, ""), "im/1 res" || h, 32)`.
fn resumption_secret(
    provider: &CryptoProvider,
    ck: &Secret,
    h: &[u8; 32],
) -> Result<Box<Secret>, crate::provider::CryptoError> {
    let prk = provider.hash.extract(ck.as_slice(), &[]);
    let mut secret = Box::<Secret>::default();
    provider.hash.expand(&prk, &[b"im/1 res", h], secret.as_mut_slice())?;
    Ok(secret)
}

/// Length of Noise message 1 with the padding as payload.
fn message_len(pattern: &Pattern) -> usize {
    let tokens = pattern.messages.first().copied().unwrap_or_default();
    let mut keyed = false;
    let mut length = HELLO_PAD;
    for token in tokens {
        let tag = if keyed { TAG_LEN } else { 0 };
        length += match token {
            noise::Token::E => DH_LEN,
            noise::Token::S => DH_LEN + tag,
            noise::Token::E1 => KEM_PUBLIC_LEN + tag,
            noise::Token::Ee
            | noise::Token::Es
            | noise::Token::Se
            | noise::Token::Ss
            | noise::Token::Psk
            | noise::Token::Ekem1 => {
                keyed = true;
                0
            }
        };
    }
    if keyed { length + TAG_LEN } else { length }
}

fn header_of(header: &[u8]) -> Result<&[u8; HEADER_LEN], HandshakeError> {
    // A fixed length keeps bytes from moving between header and body.
    header.try_into().map_err(|_| HandshakeError::HeaderLength(header.len()))
}

/// `"im/1 prologue" || header || prefix [|| retry hash] [|| TLS exporter]`: all that is not encrypted and not a key. It enters the
/// transcript first. The prefix says which of the last two there are.
fn prologue(
    header: &[u8; HEADER_LEN],
    prefix: &[u8],
    retry_hash: Option<&[u8; 32]>,
    exporter: Option<&[u8; 32]>,
) -> Vec<u8> {
    let retry_hash = retry_hash.map_or(&[][..], |hash| hash);
    let exporter = exporter.map_or(&[][..], |exporter| exporter);
    [b"im/1 prologue".as_slice(), header, prefix, retry_hash, exporter].concat()
}

/// What one side brings into a Noise handshake of this protocol.
struct Keys {
    entropy: Entropy,
    s: Option<Arc<Keypair>>,
    rs: Option<[u8; 32]>,
    psk: Option<Secret>,
}

/// The Noise state of a handshake id, with ChaCha20-Poly1305.
fn noise_state(
    provider: &'static CryptoProvider,
    handshake: HandshakeId,
    role: Role,
    prologue: &[u8],
    keys: Keys,
) -> Result<HandshakeState, HandshakeError> {
    let cipher = SuiteId::CHACHA20_POLY1305;
    let cipher = provider.aead(cipher).ok_or(HandshakeError::ProviderLacks(cipher))?;
    let pattern = noise::by_id(handshake).ok_or(HandshakeError::UnsupportedHandshake(handshake))?;
    let Keys { entropy, s, rs, psk } = keys;
    let mut e = entropy.into_secret();
    let mut kem_seed = None;
    if pattern.is_hybrid() {
        // Two independent secrets out of one draw.
        let root = e;
        let mut seed = Box::<KemSeed>::new(Zeroizing::new([0; 64]));
        e = Box::default();
        let expand = |label: &[u8], out: &mut [u8]| provider.hash.expand(&root, &[label], out);
        expand(b"im/1 e", e.as_mut_slice())
            .and_then(|()| expand(b"im/1 kem", seed.as_mut_slice()))
            .map_err(|_| HandshakeError::Provider)?;
        kem_seed = Some(seed);
    }
    let psks = psk.into_iter().collect();
    Ok(HandshakeState::new(Config { provider, cipher, pattern, role, prologue, s, e, kem_seed, rs, psks })?)
}
