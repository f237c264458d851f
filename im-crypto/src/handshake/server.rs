//! The server's side of the handshake.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use super::{Established, HELLO_PAD, noise_nk, prologue};
use crate::{
    error::HandshakeError,
    key::{Entropy, ServerKey},
    negotiation::{HelloPrefix, ServerPolicy},
    noise::{Keypair, Role},
    provider::CryptoProvider,
};

/// The id of the server key that a HELLO was made for, so that a server with several keys (the current one, the next one) can pick
/// the right one. Nothing is authenticated yet.
///
/// # Errors
/// The same as [`ServerStart::accept`] gives for what stands in front of the Noise message.
pub fn requested_key_id(hello: &[u8]) -> Result<[u8; 8], HandshakeError> {
    HelloPrefix::decode(hello).map(|(prefix, _)| prefix.key_id)
}

/// A server that waits for a HELLO. The crate's front page shows a whole handshake.
pub struct ServerStart {
    provider: &'static CryptoProvider,
    policy: Arc<ServerPolicy>,
    entropy: Entropy,
}

impl ServerStart {
    /// Prepares for one client. `entropy` becomes the ephemeral key: never use it again. Connections can share one policy in an
    /// [`Arc`].
    ///
    /// # Errors
    /// [`HandshakeError::OwnPolicy`], [`HandshakeError::ProviderLacks`].
    pub fn new(
        provider: &'static CryptoProvider,
        policy: impl Into<Arc<ServerPolicy>>,
        entropy: Entropy,
    ) -> Result<Self, HandshakeError> {
        let policy = policy.into();
        policy.validate(provider)?;
        Ok(Self { provider, policy, entropy })
    }

    /// Reads the HELLO body and appends the reply body to `out`; nothing is appended on error.
    ///
    /// `header` are the 24 header bytes in front of the HELLO, exactly as received. `hello` is decrypted in place and worthless
    /// afterwards. The reply is always shorter than the HELLO. A client can replay an old HELLO: it proves itself only with its
    /// first record, so do nothing for it before that one opened.
    ///
    /// # Errors
    /// [`HandshakeError::Authentication`] if anything was changed on the way or the client does not know the server's key; before
    /// any key agreement: [`HandshakeError::UnsupportedHandshake`], [`HandshakeError::UnsupportedBinding`],
    /// [`HandshakeError::UnknownServerKey`], [`HandshakeError::PeerOffer`], [`HandshakeError::NoCommonSuite`],
    /// [`HandshakeError::NoCommonFormat`], [`HandshakeError::TooLong`], [`HandshakeError::Truncated`],
    /// [`HandshakeError::HeaderLength`]; [`HandshakeError::WeakPublicKey`].
    pub fn accept(
        self,
        key: &ServerKey,
        header: &[u8],
        hello: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Established, HandshakeError> {
        let Self { provider, policy, entropy } = self;
        let (prefix, prefix_len) = HelloPrefix::decode(hello)?;
        if prefix.key_id != key.key_id() {
            return Err(HandshakeError::UnknownServerKey(prefix.key_id));
        }
        let choice = policy.choose(&prefix.offer)?;
        let (plain, message) = hello.split_at_mut_checked(prefix_len).ok_or(HandshakeError::Truncated)?;
        let prologue = prologue(header, plain)?;
        // Only now, so that a HELLO that cannot succeed costs no curve operation.
        let e = Keypair::new(entropy.into_secret(), provider)?;
        let mut state = noise_nk(provider, Role::Responder, &prologue, e, Some(key.pair()), None)?;
        // The content is reserved; its length keeps the HELLO longer than the reply.
        if state.read_message(message)?.len() < HELLO_PAD {
            return Err(HandshakeError::Truncated);
        }
        let mut reply = Vec::new();
        state.write_message(&choice.encode(), &mut reply)?;
        let established = Established::new(provider, state, Role::Responder, choice, prefix.offer.max_body)?;
        out.extend_from_slice(&reply);
        Ok(established)
    }
}

impl fmt::Debug for ServerStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerStart").field("policy", &self.policy).finish_non_exhaustive()
    }
}
