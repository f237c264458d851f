//! A whole packet, borrowed or shared.

use bytes::Bytes;

use crate::header::{HEADER_LEN, Header};

/// A view of one whole packet in the caller's bytes. Emitting it is copying [`as_bytes`](Self::as_bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRef<'a> {
    bytes: &'a [u8],
    head: &'a [u8; HEADER_LEN],
    body: &'a [u8],
}

impl<'a> PacketRef<'a> {
    /// `bytes` must be exactly one packet: the stated length is the length of the rest.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<HEADER_LEN>()?;
        (Header::from_bytes(head).1 as usize == body.len()).then_some(Self { bytes, head, body })
    }

    /// The header's fields.
    pub fn header(&self) -> Header {
        Header::from_bytes(self.head).0
    }

    /// The body.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The whole packet as it stood on the wire.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// A whole packet that shares its memory with the buffer it came from. [`crate::Decoder`] makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    header: Header,
    bytes: Bytes,
}

impl Packet {
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        let header = PacketRef::new(&bytes)?.header();
        Some(Self { header, bytes })
    }

    /// The header's fields.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The body, shared.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// The whole packet as it stood on the wire, shared.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
