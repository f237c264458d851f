//! The sealed channel: bodies go in, packets come out, and back.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use im_codec::{EncryptionId, HEADER_LEN, Header, Limits, MessageType, SerializationId, begin_packet, finish_packet};
use im_crypto::{
    KeyLimits, KeyUpdate, KeyUpdates, Opener, Padding, SealError, Sealer, TAG_LEN, finish_plaintext, sealed_len,
};
use im_serial::{Body, Format, Kind};

use super::expect_fields;
use crate::connection::State;
use crate::error::Error;
use crate::time::Instant;

/// A key in use is updated after so long even if its limits are far: what is stolen later opens less.
const KEY_LIFETIME: Duration = Duration::from_secs(3600);

/// A sealed channel in both directions.
pub(crate) struct Channel {
    sealer: Sealer,
    opener: Opener,
    format: Arc<dyn Format>,
    /// What the peer accepts.
    outgoing: Limits,
    body_limits: im_serial::Limits,
    padding: Padding,
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

/// What a side brings into its channel besides the keys.
pub(crate) struct Settings {
    pub(crate) format: Arc<dyn Format>,
    /// What the peer accepts, bytes on the wire.
    pub(crate) peer_max_body: u32,
    /// What this side accepts, bytes on the wire.
    pub(crate) max_body: u32,
    pub(crate) key_limits: KeyLimits,
    pub(crate) padding: Padding,
}

impl Channel {
    pub(crate) fn new(mut sealer: Sealer, mut opener: Opener, settings: Settings, now: Instant) -> Self {
        let Settings { format, peer_max_body, max_body, key_limits, padding } = settings;
        sealer.set_limits(key_limits);
        opener.set_limits(key_limits);
        Self {
            sealer,
            opener,
            format,
            outgoing: Limits::new(peer_max_body),
            body_limits: im_serial::Limits::new(max_body as usize),
            padding,
            updates: KeyUpdates::default(),
            key_since: now,
        }
    }

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
        // Padding never makes a packet too large that fits without it.
        let payload = out.len().saturating_sub(start + HEADER_LEN + 1);
        let fits = sealed_len(payload, self.padding) <= self.outgoing.max_body() as usize;
        finish_plaintext(out, start + HEADER_LEN, if fits { self.padding } else { Padding::None });
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
