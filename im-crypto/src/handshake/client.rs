//! The client's side of the handshake.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::{Established, HELLO_PAD, noise_nk, prologue};
use crate::{
    HandshakeId,
    error::HandshakeError,
    key::{Entropy, ServerPublicKey},
    negotiation::{Choice, HelloPrefix, MAX_HANDSHAKE_BODY, Offer},
    noise::{DH_LEN, HandshakeState, Keypair, Role, TAG_LEN},
    provider::CryptoProvider,
};

/// A client that is about to say HELLO. The crate's front page shows a whole handshake.
pub struct ClientStart {
    provider: &'static CryptoProvider,
    server: ServerPublicKey,
    prefix: HelloPrefix,
    e: Keypair,
}

impl ClientStart {
    /// Prepares a handshake with the server that owns `server`. `entropy` becomes the ephemeral key: never use it again.
    ///
    /// # Errors
    /// [`HandshakeError::OwnOffer`], [`HandshakeError::ProviderLacks`], [`HandshakeError::Provider`].
    pub fn new(
        provider: &'static CryptoProvider,
        server: ServerPublicKey,
        offer: Offer,
        entropy: Entropy,
    ) -> Result<Self, HandshakeError> {
        offer.validate(provider)?;
        let prefix = HelloPrefix { handshake: HandshakeId::NK, key_id: server.key_id(provider), offer };
        let e = Keypair::new(entropy.into_secret(), provider)?;
        Ok(Self { provider, server, prefix, e })
    }

    /// Length of the HELLO body that [`write`](Self::write) appends, bytes; goes into the header before.
    #[must_use]
    pub fn body_len(&self) -> usize {
        HelloPrefix::encoded_len(&self.prefix.offer) + DH_LEN + HELLO_PAD + TAG_LEN
    }

    /// Appends the HELLO body to `out`; nothing is appended on error.
    ///
    /// `header` are the 24 header bytes of the HELLO packet exactly as sent. They are authenticated, so that whoever changes one
    /// on the way breaks the handshake.
    ///
    /// # Errors
    /// [`HandshakeError::HeaderLength`], [`HandshakeError::ProviderLacks`], [`HandshakeError::Provider`], and
    /// [`HandshakeError::WeakPublicKey`] if the pinned server key is one.
    pub fn write(self, header: &[u8], out: &mut Vec<u8>) -> Result<ClientWait, HandshakeError> {
        let Self { provider, server, prefix, e } = self;
        let plain = prefix.encode();
        let prologue = prologue(header, &plain)?;
        let mut state = noise_nk(provider, Role::Initiator, &prologue, e, None, Some(*server.as_bytes()))?;
        let mut message = Vec::with_capacity(DH_LEN + HELLO_PAD + TAG_LEN);
        state.write_message(&[0; HELLO_PAD], &mut message)?;
        out.extend_from_slice(&plain);
        out.extend_from_slice(&message);
        Ok(ClientWait { provider, state: Box::new(state), offer: prefix.offer })
    }
}

impl fmt::Debug for ClientStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStart")
            .field("server", &self.server)
            .field("offer", &self.prefix.offer)
            .finish_non_exhaustive()
    }
}

/// A client that said HELLO and waits for the reply.
pub struct ClientWait {
    provider: &'static CryptoProvider,
    state: Box<HandshakeState<'static>>,
    offer: Offer,
}

impl ClientWait {
    /// Reads `reply`, the body of the server's HELLO_REPLY packet; it is decrypted in place and worthless afterwards.
    ///
    /// The reply's header is not authenticated by it: check that each of its fields has the one value that is expected there.
    ///
    /// # Errors
    /// [`HandshakeError::Authentication`] if the server does not own the pinned key or anything of HELLO or reply was changed on
    /// the way; [`HandshakeError::Truncated`], [`HandshakeError::TooLong`], [`HandshakeError::WeakPublicKey`],
    /// [`HandshakeError::BadChoice`], [`HandshakeError::NotOffered`].
    pub fn finish(self, reply: &mut [u8]) -> Result<Established, HandshakeError> {
        let Self { provider, mut state, offer } = self;
        if reply.len() > MAX_HANDSHAKE_BODY {
            return Err(HandshakeError::TooLong(reply.len()));
        }
        let choice = Choice::decode(state.read_message(reply)?)?;
        offer.permits(&choice)?;
        Established::new(provider, *state, Role::Initiator, choice, choice.max_body)
    }
}

impl fmt::Debug for ClientWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientWait").field("offer", &self.offer).finish_non_exhaustive()
    }
}
