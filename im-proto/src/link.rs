//! Between packets and bodies: the handshake, then the sealed channel.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use im_codec::{EncryptionId, HEADER_LEN, Header, Limits, MessageType, SerializationId, begin_packet, finish_packet};
use im_crypto::{
    Accepted, Client, ClientPolicy, ClientWait, Entropy, Established, HandshakeId, KeyLimits, KeyUpdate, KeyUpdates,
    Offer, Opener, Padding, Replied, SealError, Sealer, Server, ServerContext, ServerPolicy, ServerStart, SuiteId,
    TAG_LEN, finish_plaintext,
};
use im_serial::{Body, Format, FormatId, Kind, Registry};

use crate::config::{ClientConfig, ServerConfig};
use crate::connection::State;
use crate::error::Error;
use crate::time::Instant;

/// A key in use is updated after so long even if its limits are far: what is stolen later opens less.
const KEY_LIFETIME: Duration = Duration::from_secs(3600);

/// What the two sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Seals the packets.
    pub suite: SuiteId,
    /// Serializes the bodies.
    pub format: FormatId,
    /// Name of the serialization.
    pub format_name: &'static str,
    /// The hash of the handshake's transcript: equal on both sides, and on no other connection.
    pub handshake_hash: [u8; 32],
}

/// Where a connection stands on its way to a sealed channel.
pub(crate) enum Link {
    /// No transport, or nothing more to say on it.
    Down,
    AwaitReply(ClientWait, u64),
    AwaitHello(ServerStart),
    Open(Channel),
}

/// A sealed channel in both directions.
pub(crate) struct Channel {
    sealer: Sealer,
    opener: Opener,
    format: Arc<dyn Format>,
    /// What the peer accepts.
    outgoing: Limits,
    body_limits: im_serial::Limits,
    updates: KeyUpdates,
    /// When the sealer's key came into use.
    key_since: Instant,
}

/// What a sealed packet was for.
pub(crate) enum Incoming {
    Body(u64, Body),
    /// The record layer's own business.
    KeyUpdate,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was appended, with so many bytes.
    Done(usize),
    /// It does not fit into what the caller allowed.
    NoRoom,
    /// It is larger than the peer accepts.
    TooLarge,
}

impl Link {
    /// Begins a client's handshake: the hello is appended to `out`.
    pub(crate) fn hello(
        config: &ClientConfig,
        entropy: Entropy,
        packet_id: u64,
        out: &mut Vec<u8>,
    ) -> Result<Self, im_crypto::HandshakeError> {
        let offer = Offer {
            suites: config.suites.clone(),
            formats: config.formats.ids().into_iter().map(|id| id.0).collect(),
            max_body: config.max_body,
        };
        let policy =
            ClientPolicy { offer, handshakes: Vec::from([HandshakeId::NK]), require_pq: false, allow_plaintext: false };
        let start = Client::new(config.provider, policy, &[config.server_key])?.start(entropy)?;
        // The hello's length is below 1 KiB by the bounds on what it offers.
        let body_len = u32::try_from(start.body_len()).unwrap_or(u32::MAX);
        let header = Header { packet_id, ..Header::new(MessageType::HELLO) }.to_bytes(body_len);
        out.extend_from_slice(&header);
        Ok(Self::AwaitReply(start.write(&header, out)?, packet_id))
    }

    /// Waits for a client's hello.
    pub(crate) fn await_hello(config: &ServerConfig, entropy: Entropy) -> Result<Self, im_crypto::HandshakeError> {
        let policy = ServerPolicy {
            suites: config.suites.clone(),
            formats: config.formats.ids().into_iter().map(|id| id.0).collect(),
            max_body: config.max_body,
            handshakes: Vec::from([HandshakeId::NK]),
            require_pq: false,
            require_binding: false,
            allow_plaintext: false,
        };
        Ok(Self::AwaitHello(Server::new(config.provider, policy)?.start(entropy)))
    }

    /// Takes the server's reply; on success the link is open.
    pub(crate) fn finish(
        &mut self,
        config: &ClientConfig,
        header: Header,
        body: &mut [u8],
        now: Instant,
    ) -> Result<Negotiated, Error> {
        let Self::AwaitReply(wait, packet_id) = mem::replace(self, Self::Down) else {
            return Err(Error::Unexpected { got: header.message_type, state: State::Handshaking });
        };
        // The reply's header is no part of the transcript, so every field must be what it can only be.
        expect_clear(header, MessageType::HELLO_REPLY)?;
        if header.packet_id != packet_id {
            return Err(Error::HeaderField { offset: 4, found: header.packet_id as u32, expected: packet_id as u32 });
        }
        match wait.finish(body)? {
            Replied::Established(established) => {
                self.open(&config.formats, config.max_body, config.key_limits, now, *established)
            }
            // NK, the one handshake that is asked for here, has no third message.
            Replied::Finish(_) => Err(Error::Unexpected { got: header.message_type, state: State::Handshaking }),
        }
    }

    /// Takes a client's hello and appends the reply to `out`; on success the link is open.
    pub(crate) fn accept(
        &mut self,
        config: &ServerConfig,
        raw_header: &[u8; HEADER_LEN],
        body: &mut [u8],
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Negotiated, Error> {
        let header = Header::from_bytes(raw_header).0;
        let Self::AwaitHello(start) = mem::replace(self, Self::Down) else {
            return Err(Error::Unexpected { got: header.message_type, state: State::Handshaking });
        };
        expect_clear(header, MessageType::HELLO)?;
        let at = begin_packet(out);
        let mut context = ServerContext::new(core::slice::from_ref(&config.key));
        let result = start.accept(&mut context, raw_header, body, out);
        let established = match result {
            Ok(Accepted::Established(established)) => *established,
            // Neither is allowed by the policy above.
            Ok(Accepted::Wait(_) | Accepted::Retry) => {
                out.truncate(at);
                return Err(Error::Unexpected { got: header.message_type, state: State::Handshaking });
            }
            Err(error) => {
                out.truncate(at);
                return Err(error.into());
            }
        };
        let reply = Header { packet_id: header.packet_id, ..Header::new(MessageType::HELLO_REPLY) };
        // The reply is far below every limit.
        let _ = finish_packet(out, at, &reply, &Limits::default());
        self.open(&config.formats, config.max_body, config.key_limits, now, established)
    }

    fn open(
        &mut self,
        formats: &Registry,
        max_body: u32,
        key_limits: KeyLimits,
        now: Instant,
        established: Established,
    ) -> Result<Negotiated, Error> {
        let Established { mut sealer, mut opener, choice, peer_max_body, handshake_hash, .. } = established;
        // The handshake chose among what both sides listed, so a missing format is our own list's fault.
        let Some(format) = formats.get(FormatId(choice.format)).cloned() else {
            return Err(im_crypto::HandshakeError::NoCommonFormat.into());
        };
        let negotiated =
            Negotiated { suite: choice.suite, format: format.id(), format_name: format.name(), handshake_hash };
        sealer.set_limits(key_limits);
        opener.set_limits(key_limits);
        *self = Self::Open(Channel {
            sealer,
            opener,
            format,
            outgoing: Limits::new(peer_max_body),
            body_limits: im_serial::Limits::new(max_body as usize),
            updates: KeyUpdates::default(),
            key_since: now,
        });
        Ok(negotiated)
    }
}

impl Channel {
    /// Appends one sealed packet of at most `max` bytes. Nothing is sealed, and `out` is as it was, unless it is done.
    pub(crate) fn write(
        &mut self,
        packet_id: u64,
        body: &Body,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Written, SealError> {
        let start = begin_packet(out);
        out.push(body.kind().code());
        if self.format.encode(body, out).is_err() {
            out.truncate(start);
            return Ok(Written::TooLarge);
        }
        self.seal(packet_id, start, out, max)
    }

    /// Appends a key update of at most `max` bytes.
    pub(crate) fn write_update(
        &mut self,
        update: KeyUpdate,
        now: Instant,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Written, SealError> {
        let start = begin_packet(out);
        out.extend_from_slice(&update.content());
        let written = self.seal(0, start, out, max)?;
        if let Written::Done(_) = written {
            self.updates.sent(update);
            self.key_since = now;
        }
        Ok(written)
    }

    /// Finishes and seals the packet that begins at `start`.
    fn seal(&mut self, packet_id: u64, start: usize, out: &mut Vec<u8>, max: usize) -> Result<Written, SealError> {
        let header = Header {
            packet_id,
            encryption: EncryptionId(self.sealer.suite().0),
            serialization: SerializationId(self.format.id().0),
            ..Header::new(MessageType::SEALED)
        };
        finish_plaintext(out, start + HEADER_LEN, Padding::None);
        if finish_packet(out, start, &header, &self.outgoing).is_err() {
            return Ok(Written::TooLarge);
        }
        let len = out.len() - start;
        if len > max {
            out.truncate(start);
            return Ok(Written::NoRoom);
        }
        let Some((head, sealed)) = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER_LEN>) else {
            return Ok(Written::NoRoom);
        };
        if let Err(error) = self.sealer.seal(head, sealed) {
            out.truncate(start);
            return Err(error);
        }
        Ok(Written::Done(len))
    }

    /// Opens one whole packet in place.
    pub(crate) fn read(&mut self, packet: &mut [u8], state: State) -> Result<Incoming, Error> {
        let Some((head, sealed)) = packet.split_first_chunk_mut::<HEADER_LEN>() else {
            return Err(Error::Truncated);
        };
        let header = Header::from_bytes(head).0;
        if header.message_type != MessageType::SEALED {
            return Err(Error::Unexpected { got: header.message_type, state });
        }
        let fixed = [
            (12, u32::from(header.device.0), 0),
            (13, header.ip, 0),
            (17, u32::from(header.encryption.0), u32::from(self.opener.suite().0)),
            (18, u32::from(header.serialization.0), u32::from(self.format.id().0)),
        ];
        expect_fields(&fixed)?;
        let opened = self.opener.open(head, sealed).map_err(Error::Open)?;
        if let Some(update) = opened.key_update() {
            self.updates.received(update);
            return Ok(Incoming::KeyUpdate);
        }
        let Some(kind) = Kind::from_code(opened.inner_type) else {
            return Err(Error::Unexpected { got: MessageType(opened.inner_type), state });
        };
        let body = self.format.decode(kind, opened.payload, &self.body_limits)?;
        Ok(Incoming::Body(header.packet_id, body))
    }

    /// The largest body that the peer accepts, in bytes.
    pub(crate) fn peer_max_body(&self) -> u32 {
        self.outgoing.max_body()
    }

    /// The key update that has to go before anything else.
    pub(crate) fn update_due(&self, now: Instant) -> Option<KeyUpdate> {
        let old = now >= self.key_since + KEY_LIFETIME && self.sealer.packets() > 0 && self.sealer.may_update();
        self.updates.due(&self.sealer, &self.opener).or(old.then_some(KeyUpdate::Notice))
    }

    /// Whether a key is so close to its hard limit that only the close may follow. Updates keep it away from there, unless the
    /// peer does not do its part.
    pub(crate) fn keys_used_up(&self) -> bool {
        self.sealer.nearly_used_up() || self.opener.nearly_used_up()
    }

    /// Frees the expanded keys of a connection that has nothing to say.
    pub(crate) fn rest(&mut self) {
        self.sealer.release_key();
        self.opener.release_key();
    }
}

/// The smallest sealed packet: header, inner type, end of plaintext, tag.
pub(crate) const MIN_SEALED: usize = HEADER_LEN + 2 + TAG_LEN;

/// A packet in the clear: everything that sealing would need is zero.
fn expect_clear(header: Header, message_type: MessageType) -> Result<(), Error> {
    if header.message_type != message_type {
        return Err(Error::Unexpected { got: header.message_type, state: State::Handshaking });
    }
    expect_fields(&[
        (12, u32::from(header.device.0), 0),
        (13, header.ip, 0),
        (17, u32::from(header.encryption.0), 0),
        (18, u32::from(header.serialization.0), 0),
    ])
}

fn expect_fields(fields: &[(u8, u32, u32)]) -> Result<(), Error> {
    match fields.iter().find(|(_, found, expected)| found != expected) {
        Some(&(offset, found, expected)) => Err(Error::HeaderField { offset, found, expected }),
        None => Ok(()),
    }
}
