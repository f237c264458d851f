//! The client's side of the handshake.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use super::{Established, HELLO_PAD, Keys, Outcome, header_of, message_len, noise_state, prologue};
use crate::{
    HandshakeId,
    binding::TlsExporter,
    error::HandshakeError,
    key::{Entropy, StaticPublicKey},
    negotiation::{Choice, HelloPrefix, MAX_HANDSHAKE_BODY, NO_BINDING, Retry, TLS_EXPORTER},
    noise::{self, HandshakeState, Role},
    policy::Client,
    retry::{hello_hash, retry_hash},
    ticket::ClientTicket,
};

/// A client that is about to say HELLO. The crate's front page shows a whole handshake.
pub struct ClientStart {
    client: Client,
    prefix: HelloPrefix,
    pin: Option<StaticPublicKey>,
    ticket: Option<ClientTicket>,
    exporter: Option<TlsExporter>,
    /// In the second HELLO after a RETRY.
    retry_hash: Option<[u8; 32]>,
    entropy: Entropy,
}

impl ClientStart {
    pub(crate) fn new(
        client: Client,
        handshake: HandshakeId,
        ticket: Option<ClientTicket>,
        entropy: Entropy,
    ) -> Result<Self, HandshakeError> {
        let pattern = noise::by_id(handshake).ok_or(HandshakeError::UnsupportedHandshake(handshake))?;
        let pin = if pattern.responder_known { client.pins.first().copied() } else { None };
        let prefix = HelloPrefix {
            handshake,
            binding: NO_BINDING,
            key_id: pin.map(|pin| pin.key_id(client.provider)).unwrap_or_default(),
            offer: client.policy.offer.clone(),
            cookie: None,
            ticket: ticket.as_ref().map(|ticket| ticket.bytes().to_vec()).unwrap_or_default(),
        };
        Ok(Self { client, prefix, pin, ticket, exporter: None, retry_hash: None, entropy })
    }

    /// Binds the handshake to the TLS connection that it runs in: if the server sees another one, both fail.
    #[must_use]
    pub fn bind(mut self, exporter: TlsExporter) -> Self {
        self.prefix.binding = TLS_EXPORTER;
        self.exporter = Some(exporter);
        self
    }

    /// The handshake that the HELLO asks for.
    #[must_use]
    pub fn handshake(&self) -> HandshakeId {
        self.prefix.handshake
    }

    /// Length of the HELLO body that [`write`](Self::write) appends, bytes; goes into the header before.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.prefix.encoded_len() + noise::by_id(self.prefix.handshake).map_or(0, |pattern| message_len(&pattern))
    }

    /// Appends the HELLO body to `out`; nothing is appended on error.
    ///
    /// `header` are the 24 header bytes of the HELLO packet exactly as sent. They are authenticated, so that whoever changes one
    /// on the way breaks the handshake.
    ///
    /// # Errors
    /// [`HandshakeError::HeaderLength`], [`HandshakeError::Provider`], and [`HandshakeError::WeakPublicKey`] if the pinned server
    /// key is one.
    pub fn write(self, header: &[u8], out: &mut Vec<u8>) -> Result<ClientWait, HandshakeError> {
        let length = self.body_len();
        let Self { client, prefix, pin, ticket, exporter, retry_hash, entropy } = self;
        let header = header_of(header)?;
        let mut hello = Vec::with_capacity(length);
        hello.extend_from_slice(&prefix.encode());
        let exporter_bytes = exporter.as_ref().map(TlsExporter::as_bytes);
        let prologue = prologue(header, &hello, retry_hash.as_ref(), exporter_bytes);
        let pattern = noise::by_id(prefix.handshake).ok_or(HandshakeError::Provider)?;
        let own = client.key.as_ref().filter(|_| pattern.initiator_has_static());
        let keys = Keys {
            entropy,
            s: own.map(|key| key.pair()),
            rs: pin.map(|pin| *pin.as_bytes()),
            psk: ticket.as_ref().map(|ticket| ticket.psk().clone()),
        };
        let mut state = noise_state(client.provider, prefix.handshake, Role::Initiator, &prologue, keys)?;
        state.write_message(&[0; HELLO_PAD], &mut hello)?;
        out.extend_from_slice(&hello);
        let hello_hash = hello_hash(client.provider, header, &hello);
        let retried = retry_hash.is_some();
        let handshake = prefix.handshake;
        Ok(ClientWait { client, state: Box::new(state), handshake, ticket, exporter, hello_hash, retried })
    }
}

impl fmt::Debug for ClientStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStart")
            .field("handshake", &self.prefix.handshake)
            .field("pin", &self.pin)
            .field("offer", &self.prefix.offer)
            .finish_non_exhaustive()
    }
}

/// A client that said HELLO and waits for the answer: HELLO_REPLY or RETRY, as the packet's type says.
pub struct ClientWait {
    client: Client,
    state: Box<HandshakeState>,
    handshake: HandshakeId,
    ticket: Option<ClientTicket>,
    exporter: Option<TlsExporter>,
    hello_hash: [u8; 32],
    /// Whether this was the second HELLO.
    retried: bool,
}

/// What follows a server's HELLO_REPLY.
#[derive(Debug)]
pub enum Replied {
    /// The handshake is complete.
    Established(Box<Established>),
    /// XX only: one more message, after a look at the server's key.
    Finish(ClientFinish),
}

impl ClientWait {
    /// Reads `reply`, the body of the server's HELLO_REPLY packet; it is decrypted in place and worthless afterwards.
    ///
    /// The reply's header is not authenticated by it: check that each of its fields has the one value that is expected there.
    ///
    /// # Errors
    /// [`HandshakeError::Authentication`] if the server does not own the key that it should, or anything of HELLO or reply was changed
    /// on the way; [`HandshakeError::NotPinned`] in XX with pins; [`HandshakeError::Truncated`], [`HandshakeError::TooLong`],
    /// [`HandshakeError::WeakPublicKey`], [`HandshakeError::BadChoice`], [`HandshakeError::NotOffered`].
    pub fn finish(self, reply: &mut [u8]) -> Result<Replied, HandshakeError> {
        let Self { client, mut state, handshake, .. } = self;
        if reply.len() > MAX_HANDSHAKE_BODY {
            return Err(HandshakeError::TooLong(reply.len()));
        }
        let choice = Choice::decode(state.read_message(reply)?)?;
        client.permits(&choice)?;
        let outcome = Outcome { handshake, choice, peer_max_body: choice.max_body, ticket: None };
        let pattern = noise::by_id(handshake).ok_or(HandshakeError::Provider)?;
        if pattern.messages.len() == 2 {
            let established = outcome.establish(client.provider, *state, Role::Initiator)?;
            return Ok(Replied::Established(Box::new(established)));
        }
        let server_key = StaticPublicKey::from_bytes(state.peer_static().ok_or(HandshakeError::Provider)?);
        if !client.pins.is_empty() && !client.pins.contains(&server_key) {
            return Err(HandshakeError::NotPinned);
        }
        Ok(Replied::Finish(ClientFinish { client, state, outcome, server_key }))
    }

    /// Reads the body of a RETRY packet and prepares the second HELLO. `entropy` is new, as for any HELLO. Nothing of a RETRY is
    /// authenticated until the second handshake is complete; if it was forged, that one fails.
    ///
    /// # Errors
    /// [`HandshakeError::SecondRetry`], [`HandshakeError::RetryHandshake`], [`HandshakeError::NotPinned`],
    /// [`HandshakeError::BadRetry`], [`HandshakeError::Truncated`].
    pub fn retry(self, body: &[u8], entropy: Entropy) -> Result<ClientStart, HandshakeError> {
        let Self { client, handshake: first, ticket, exporter, hello_hash, retried, .. } = self;
        if retried {
            return Err(HandshakeError::SecondRetry);
        }
        let retry = Retry::decode(body)?;
        let handshake = retry.handshake;
        let refused = HandshakeError::RetryHandshake(handshake);
        if !client.policy.handshakes.contains(&handshake) || (handshake.is_resumption() && handshake != first) {
            return Err(refused);
        }
        let pattern = noise::by_id(handshake).ok_or(refused)?;
        let pin = if pattern.responder_known {
            Some(client.pin_by_id(&retry.key_id).ok_or(HandshakeError::NotPinned)?)
        } else if retry.key_id == [0; 8] {
            None
        } else {
            return Err(HandshakeError::BadRetry);
        };
        let retry_hash = retry_hash(client.provider, &hello_hash, &retry);
        let ticket = ticket.filter(|_| handshake.is_resumption());
        let mut start = ClientStart::new(client, handshake, ticket, entropy)?;
        start.pin = pin;
        start.prefix.key_id = retry.key_id;
        start.prefix.cookie = Some(retry.cookie);
        start.retry_hash = Some(retry_hash);
        Ok(match exporter {
            Some(exporter) => start.bind(exporter),
            None => start,
        })
    }
}

impl fmt::Debug for ClientWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientWait")
            .field("handshake", &self.handshake)
            .field("offer", &self.client.policy.offer)
            .finish_non_exhaustive()
    }
}

/// A client in XX that knows now whom it talks to.
///
/// Without pins nothing says that this is the right server: compare [`server_key`](Self::server_key) with what was seen before, or
/// show it to somebody who can. Dropping this value tells the server nothing about the client.
pub struct ClientFinish {
    client: Client,
    state: Box<HandshakeState>,
    outcome: Outcome,
    server_key: StaticPublicKey,
}

impl ClientFinish {
    /// The key that the server proved to own.
    #[must_use]
    pub fn server_key(&self) -> StaticPublicKey {
        self.server_key
    }

    /// Trusts the server: appends the body of the third message, which shows this client's key, to `out`.
    ///
    /// # Errors
    /// [`HandshakeError::Provider`], [`HandshakeError::WeakPublicKey`]; nothing is appended then.
    pub fn write(self, out: &mut Vec<u8>) -> Result<Established, HandshakeError> {
        let Self { client, mut state, outcome, .. } = self;
        let mut message = Vec::new();
        state.write_message(&[], &mut message)?;
        let established = outcome.establish(client.provider, *state, Role::Initiator)?;
        out.extend_from_slice(&message);
        Ok(established)
    }
}

impl fmt::Debug for ClientFinish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFinish").field("server_key", &self.server_key).finish_non_exhaustive()
    }
}
