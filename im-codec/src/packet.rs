//! A whole packet: borrowed, borrowed to change, or shared. All three are valid by construction and stay so.

use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::code::{DeviceType, EncryptionId, MessageType, Protocol, SerializationId};
use crate::decode::looks_like_ouyunc;
use crate::encode::EncodeError;
use crate::header::{HEADER_LEN, Header};
use crate::limits::Limits;
use crate::message::{MessageError, parse_message};

/// A view of one whole packet in the caller's bytes. Emitting it is copying [`as_bytes`](Self::as_bytes).
///
/// `Debug` shows the header and the body's length, never the body.
///
/// ```
/// use im_codec::{encode_packet, parse, Header, Limits, MessageType, PacketRef};
/// let mut wire = Vec::new();
/// encode_packet(&mut wire, &Header::new(MessageType::PING), b"hi", &Limits::default())?;
/// let packet: PacketRef<'_> = parse(&wire, &Limits::default())?.expect("a whole packet");
/// assert_eq!((packet.header().message_type, packet.body()), (MessageType::PING, &b"hi"[..]));
/// assert_eq!(packet.as_bytes(), wire);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PacketRef<'a> {
    bytes: &'a [u8],
    head: &'a [u8; HEADER_LEN],
    body: &'a [u8],
}

impl<'a> PacketRef<'a> {
    /// `bytes` must be one checked packet and nothing else.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<HEADER_LEN>()?;
        Some(Self { bytes, head, body })
    }

    /// The same from parts that were cut already.
    #[inline]
    pub(crate) fn from_parts(bytes: &'a [u8], head: &'a [u8; HEADER_LEN], body: &'a [u8]) -> Self {
        Self { bytes, head, body }
    }

    /// The header's fields.
    #[inline]
    pub fn header(&self) -> Header {
        Header::from_bytes(self.head).0
    }

    /// The body.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The whole packet as it stood on the wire.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A copy in memory of its own, for a packet that is kept longer than the buffer it was read into.
    pub fn to_packet(&self) -> Packet {
        Packet { head: *self.head, bytes: Bytes::copy_from_slice(self.bytes) }
    }
}

impl fmt::Debug for PacketRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "PacketRef", &self.header(), self.body.len())
    }
}

/// A view of one whole packet in the caller's bytes that may be rewritten in place. Magic, version and length cannot be
/// touched, so it stays a packet whatever is set. [`crate::parse_mut`] and [`Packet::edit`] give one.
#[derive(PartialEq, Eq)]
pub struct PacketMut<'a> {
    head: &'a mut [u8; HEADER_LEN],
    body: &'a mut [u8],
}

impl<'a> PacketMut<'a> {
    /// `bytes` must be one checked packet and nothing else.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk_mut::<HEADER_LEN>()?;
        Some(Self { head, body })
    }

    /// The header's fields.
    pub fn header(&self) -> Header {
        Header::from_bytes(self.head).0
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.body
    }

    /// The body, to rewrite in place. Its length stays.
    pub fn body_mut(&mut self) -> &mut [u8] {
        self.body
    }

    /// Sets the transport of the sender. Refuses a code that every reader would take for a packet of OUYUNC 2 to 5.
    pub fn set_protocol(&mut self, protocol: Protocol) -> Result<(), EncodeError> {
        let [high, low] = protocol.0.to_be_bytes();
        if looks_like_ouyunc(high, low) {
            return Err(EncodeError::Protocol { found: protocol });
        }
        (self.head[1], self.head[2]) = (high, low);
        Ok(())
    }

    /// Sets the packet id.
    pub fn set_packet_id(&mut self, id: u64) {
        self.write(4, id.to_be_bytes());
    }

    /// Sets the kind of the sending device.
    pub fn set_device(&mut self, device: DeviceType) {
        self.head[12] = device.0;
    }

    /// Sets the IPv4 address of the sender, first octet in the most significant byte; 0 = not given.
    pub fn set_ip(&mut self, ip: u32) {
        self.write(13, ip.to_be_bytes());
    }

    /// Sets the encryption of the body. The body is not touched.
    pub fn set_encryption(&mut self, encryption: EncryptionId) {
        self.head[17] = encryption.0;
    }

    /// Sets the serialization of the body. The body is not touched.
    pub fn set_serialization(&mut self, serialization: SerializationId) {
        self.head[18] = serialization.0;
    }

    /// Sets what the packet is for.
    pub fn set_message_type(&mut self, message_type: MessageType) {
        self.head[19] = message_type.0;
    }

    fn write<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        if let Some(slot) = self.head.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>) {
            *slot = value;
        }
    }
}

impl fmt::Debug for PacketMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "PacketMut", &self.header(), self.body.len())
    }
}

/// A whole packet that shares its memory with the buffer it came from. Clones share it too. [`crate::Decoder`] makes them.
///
/// ```
/// use bytes::BytesMut;
/// use im_codec::{Decoder, Header, Limits, MessageType, Packet, encode_packet};
/// let mut buffer = BytesMut::new();
/// encode_packet(&mut buffer, &Header::new(MessageType::SEND), b"hi", &Limits::default())?;
/// let packet: Packet = Decoder::default().decode(&mut buffer)?.expect("a whole packet");
/// assert_eq!(packet.body(), &b"hi"[..]);
/// let relayed = packet.edit(|packet| packet.set_packet_id(7));
/// assert_eq!(relayed.header().packet_id, 7);
/// assert_eq!(relayed.into_bytes().len(), 26);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    head: [u8; HEADER_LEN],
    bytes: Bytes,
}

impl Packet {
    /// `bytes` must be one checked packet and nothing else.
    #[inline]
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        let head = *bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self { head, bytes })
    }

    /// The packet in a message that must hold exactly one, as [`parse_message`] does, without copying it.
    pub fn from_message(message: Bytes, limits: &Limits) -> Result<Self, MessageError> {
        let head = *parse_message(&message, limits)?.head;
        Ok(Self { head, bytes: message })
    }

    /// The header's fields.
    #[inline]
    pub fn header(&self) -> Header {
        Header::from_bytes(&self.head).0
    }

    /// The body, shared.
    #[inline]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// The packet, borrowed.
    #[inline]
    pub fn view(&self) -> PacketRef<'_> {
        PacketRef { bytes: &self.bytes, head: &self.head, body: self.bytes.get(HEADER_LEN..).unwrap_or_default() }
    }

    /// The packet with another header or body. Its memory is changed in place where nobody else holds it, and copied
    /// first where somebody does.
    #[must_use]
    pub fn edit(self, change: impl FnOnce(&mut PacketMut<'_>)) -> Self {
        let Self { head, bytes } = self;
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        if let Some(mut packet) = PacketMut::new(&mut bytes) {
            change(&mut packet);
        }
        let head = bytes.first_chunk().copied().unwrap_or(head);
        Self { head, bytes: bytes.freeze() }
    }

    /// The whole packet as it stood on the wire, shared.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Packet", &self.header(), self.bytes.len() - HEADER_LEN)
    }
}

/// Content never gets into a log by way of `Debug`.
fn debug(f: &mut fmt::Formatter<'_>, name: &str, header: &Header, body_len: usize) -> fmt::Result {
    f.debug_struct(name).field("header", header).field("body_len", &body_len).finish()
}
