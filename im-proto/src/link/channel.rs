//! The sealed channel: bodies go in, packets come out, and back.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use im_codec::{EncryptionId, HEADER_LEN, Header, Limits, MessageType, SerializationId, begin_packet, finish_packet};
use im_crypto::{
    KeyLimits, KeyUpdate, KeyUpdates, Opener, Padding, SealError, Sealer, TAG_LEN, finish_plaintext, sealed_len,
};
use im_serial::{Body, Format, Kind};

use super::{bundle, expect_fields};
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
    /// What this side accepts, bytes.
    max_body: u32,
    padding: Padding,
    updates: KeyUpdates,
    /// When the sealer's key came into use.
    key_since: Instant,
}

/// What a sealed packet was for.
pub(crate) enum Incoming<'a> {
    Body(u64, Body),
    /// Several bodies, see [`Channel::decode`].
    Bundle(&'a [u8]),
    /// The record layer's own business.
    KeyUpdate,
}

/// A packet that is begun: the end of the caller's buffer.
#[derive(Debug)]
pub(crate) struct Draft {
    start: usize,
    /// Of the first body.
    packet_id: u64,
    items: usize,
}

/// Why a body is not in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotWritten {
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
            max_body,
            padding,
            updates: KeyUpdates::default(),
            key_since: now,
        }
    }

    /// Begins a packet at the end of `out` with a body. `out` is as it was unless it is begun.
    pub(crate) fn begin(
        &self,
        packet_id: u64,
        body: &Body,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Draft, NotWritten> {
        let start = begin_packet(out);
        out.push(body.kind().code());
        let written = self.format.encode(body, out);
        let fits = written.map_err(|_| NotWritten::TooLarge).and_then(|()| self.fits(start, out.len(), max));
        if let Err(why) = fits {
            out.truncate(start);
            return Err(why);
        }
        Ok(Draft { start, packet_id, items: 1 })
    }

    /// Adds a body to the packet that ends `out`. Whether there was room; if not, `out` is as it was.
    pub(crate) fn add(&self, draft: &mut Draft, packet_id: u64, body: &Body, out: &mut Vec<u8>, max: usize) -> bool {
        let (before, plain) = (out.len(), draft.start + HEADER_LEN);
        if draft.items >= bundle::MAX_ITEMS || before - plain >= bundle::MAX_LEN {
            return false;
        }
        let added = self.try_add(draft, packet_id, body, out, max);
        if added.is_none() {
            out.truncate(before);
        } else {
            draft.items += 1;
        }
        added.is_some()
    }

    fn try_add(&self, draft: &Draft, packet_id: u64, body: &Body, out: &mut Vec<u8>, max: usize) -> Option<()> {
        let plain = draft.start + HEADER_LEN;
        // The first body becomes an item only when it is clear that there is a second one.
        let first_head = if draft.items == 1 { bundle::HEAD_LEN } else { 0 };
        bundle::open(out);
        let at = out.len();
        self.format.encode(body, out).ok()?;
        if out.len() + first_head - plain > bundle::MAX_LEN {
            return None;
        }
        self.fits(draft.start, out.len() + first_head, max).ok()?;
        bundle::close(out, at, body.kind().code(), packet_id)?;
        if draft.items == 1 {
            bundle::begin(out, plain, draft.packet_id, at - bundle::HEAD_LEN)?;
        }
        Some(())
    }

    /// Whether a packet from `start` to `end` without its end of plaintext can be sealed with at most `max` bytes, and the peer takes
    /// it. Padding gives way where the packet would be too large for the peer, but not for `max`.
    fn fits(&self, start: usize, end: usize, max: usize) -> Result<(), NotWritten> {
        let payload = end.saturating_sub(start + HEADER_LEN + 1);
        if sealed_len(payload, Padding::None) > self.outgoing.max_body() as usize {
            return Err(NotWritten::TooLarge);
        }
        if HEADER_LEN + sealed_len(payload, self.padding_for(payload)) > max {
            return Err(NotWritten::NoRoom);
        }
        Ok(())
    }

    /// Padding never makes a packet too large that fits without it.
    fn padding_for(&self, payload: usize) -> Padding {
        let fits = sealed_len(payload, self.padding) <= self.outgoing.max_body() as usize;
        if fits { self.padding } else { Padding::None }
    }

    /// Seals the packet that ends `out`; its length in bytes. It must be sent then.
    pub(crate) fn finish(&mut self, draft: &Draft, out: &mut Vec<u8>) -> Result<usize, SealError> {
        // What a bundle's bodies are answered with stands beside each of them.
        self.seal(if draft.items == 1 { draft.packet_id } else { 0 }, draft.start, out)
    }

    /// Appends a key update of at most `max` bytes; its length in bytes, or none if there is no room.
    pub(crate) fn write_update(
        &mut self,
        update: KeyUpdate,
        now: Instant,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Option<usize>, SealError> {
        let start = begin_packet(out);
        out.extend_from_slice(&update.content());
        if self.fits(start, out.len(), max).is_err() {
            out.truncate(start);
            return Ok(None);
        }
        let len = self.seal(0, start, out)?;
        self.updates.sent(update);
        self.key_since = now;
        Ok(Some(len))
    }

    /// Finishes and seals the packet that begins at `start`.
    fn seal(&mut self, packet_id: u64, start: usize, out: &mut Vec<u8>) -> Result<usize, SealError> {
        let header = Header {
            packet_id,
            encryption: EncryptionId(self.sealer.suite().0),
            serialization: SerializationId(self.format.id().0),
            ..Header::new(MessageType::SEALED)
        };
        let payload = out.len().saturating_sub(start + HEADER_LEN + 1);
        finish_plaintext(out, start + HEADER_LEN, self.padding_for(payload));
        let sealed = match finish_packet(out, start, &header, &self.outgoing) {
            Ok(()) => match out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER_LEN>) {
                Some((head, sealed)) => self.sealer.seal(head, sealed),
                None => Err(SealError::Unfinished),
            },
            Err(_) => Err(SealError::Unfinished),
        };
        match sealed {
            Ok(()) => Ok(out.len() - start),
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Opens one whole packet in place.
    pub(crate) fn read<'a>(&mut self, packet: &'a mut [u8], state: State) -> Result<Incoming<'a>, Error> {
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
        if opened.inner_type == MessageType::BUNDLE.0 {
            return Ok(Incoming::Bundle(opened.payload));
        }
        let body = self.decode(opened.inner_type, opened.payload, state)?;
        Ok(Incoming::Body(header.packet_id, body))
    }

    /// Reads a body.
    pub(crate) fn decode(&self, kind: u8, body: &[u8], state: State) -> Result<Body, Error> {
        let Some(kind) = Kind::from_code(kind) else {
            return Err(Error::Unexpected { got: MessageType(kind), state });
        };
        Ok(self.format.decode(kind, body, &im_serial::Limits::new(self.max_body as usize))?)
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
