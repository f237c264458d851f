//! Between packets and bodies: the handshake, then the sealed channel.

pub(crate) mod bundle;
mod channel;
mod client;
mod server;

use alloc::boxed::Box;

use im_codec::{Header, MessageType};
use im_crypto::{
    Established, HandshakeId, KeyLimits, KeyUpdate, Padding, ResumptionSecret, StaticPublicKey, SuiteId, TicketClaims,
};
use im_serial::{FormatId, Registry};

pub(crate) use self::channel::{Channel, Draft, Incoming, MIN_SEALED, NotWritten, Settings};
pub(crate) use self::client::{AwaitReply, Heard, Verify};
pub use self::server::{Arrival, TicketUse};
pub(crate) use self::server::{AwaitEnd, AwaitHello, AwaitTicket, Taken};
use crate::connection::State;
use crate::error::Error;
use crate::time::Instant;

/// What the two sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The handshake that was made. It says who proved what: in a resumption both sides know the ticket's key, in NK the server
    /// holds the pinned key, in XX and IK the client showed a key too.
    pub handshake: HandshakeId,
    /// Seals the packets.
    pub suite: SuiteId,
    /// Serializes the bodies.
    pub format: FormatId,
    /// Name of the serialization.
    pub format_name: &'static str,
    /// The hash of the handshake's transcript: equal on both sides, and on no other connection.
    pub handshake_hash: [u8; 32],
}

/// Where a connection stands on its way to a sealed channel. Each state but the last is boxed: it lives for a round trip or two.
#[expect(clippy::large_enum_variant, reason = "a channel is what a connection has nearly all of its time")]
pub(crate) enum Link {
    /// No transport, or nothing more to say on it.
    Down,
    /// A client that said hello.
    AwaitReply(Box<AwaitReply>),
    /// A client in XX that looks at the server's key.
    Verify(Box<Verify>),
    /// A server before the hello, or between a retry and the second one.
    AwaitHello(Box<AwaitHello>),
    /// A server that asks whether a ticket was used before.
    AwaitTicket(Box<AwaitTicket>),
    /// A server in XX that waits for the client's key.
    AwaitEnd(Box<AwaitEnd>),
    Open(Channel),
}

/// A handshake that is complete.
pub struct Opened {
    pub(crate) negotiated: Negotiated,
    /// The key that the peer proved to hold; `None` for a client in NK and in a resumption.
    pub(crate) peer_key: Option<StaticPublicKey>,
    /// On a server after a resumption.
    pub(crate) ticket: Option<TicketClaims>,
    pub(crate) resumption: ResumptionSecret,
}

/// The parts of a configuration that a channel needs.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) formats: &'a Registry,
    pub(crate) max_body: u32,
    pub(crate) key_limits: KeyLimits,
    pub(crate) padding: Padding,
}

impl Link {
    fn open(&mut self, terms: Terms<'_>, established: Established, now: Instant) -> Result<Opened, Error> {
        let Established {
            sealer,
            opener,
            handshake,
            choice,
            peer_max_body,
            handshake_hash,
            peer_key,
            ticket,
            resumption,
        } = established;
        let Terms { formats, max_body, key_limits, padding } = terms;
        // The handshake chose among what both sides listed, so a missing format is our own list's fault.
        let Some(format) = formats.get(FormatId(choice.format)).cloned() else {
            return Err(im_crypto::HandshakeError::NoCommonFormat.into());
        };
        let negotiated = Negotiated {
            handshake,
            suite: choice.suite,
            format: format.id(),
            format_name: format.name(),
            handshake_hash,
        };
        let settings = Settings { format, peer_max_body, max_body, key_limits, padding };
        *self = Self::Open(Channel::new(sealer, opener, settings, now));
        Ok(Opened { negotiated, peer_key, ticket, resumption })
    }

    /// The key update that has to go before anything else.
    pub(crate) fn key_update_due(&self, now: Instant) -> Option<KeyUpdate> {
        if let Self::Open(channel) = self { channel.update_due(now) } else { None }
    }

    /// Whether the next packet can be taken, or somebody has to be asked first.
    pub(crate) fn listens(&self) -> bool {
        !matches!(self, Self::Verify(_) | Self::AwaitTicket(_))
    }
}

fn unexpected(header: Header) -> Error {
    Error::Unexpected { got: header.message_type, state: State::Handshaking }
}

/// A packet in the clear: everything that sealing would need is zero.
fn expect_clear(header: Header, message_type: MessageType) -> Result<(), Error> {
    if header.message_type != message_type {
        return Err(unexpected(header));
    }
    expect_fields(&[
        (12, u32::from(header.device.0), 0),
        (13, header.ip, 0),
        (17, u32::from(header.encryption.0), 0),
        (18, u32::from(header.serialization.0), 0),
    ])
}

/// The packet belongs to the handshake that began with `packet_id`.
fn expect_id(header: Header, packet_id: u64) -> Result<(), Error> {
    if header.packet_id == packet_id {
        return Ok(());
    }
    Err(Error::HeaderField { offset: 4, found: header.packet_id as u32, expected: packet_id as u32 })
}

fn expect_fields(fields: &[(u8, u32, u32)]) -> Result<(), Error> {
    match fields.iter().find(|(_, found, expected)| found != expected) {
        Some(&(offset, found, expected)) => Err(Error::HeaderField { offset, found, expected }),
        None => Ok(()),
    }
}
