//! The 24 bytes in front of every body.

use crate::code::{DeviceType, EncryptionId, MessageType, Protocol, SerializationId, Version};

/// First byte of every packet.
pub const MAGIC: u8 = 0x66;
/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 24;

/// The header without its length field, which the encoder derives from the body.
///
/// ```
/// use im_codec::{Header, MessageType, Protocol};
/// let header = Header { protocol: Protocol::WS, packet_id: 7, ..Header::new(MessageType::PING) };
/// let bytes = header.to_bytes(3);
/// assert_eq!(&bytes[..4], &[0x66, 0, 1, 2]);
/// assert_eq!(Header::from_bytes(&bytes), (header, 3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Header {
    /// Transport of the sender.
    pub protocol: Protocol,
    /// Layout version.
    pub version: Version,
    /// Chosen by the sender, stable over retries; 0 where the packet needs none.
    pub packet_id: u64,
    /// Kind of the sending device.
    pub device: DeviceType,
    /// IPv4 address of the sender, first octet in the most significant byte; 0 = not given.
    pub ip: u32,
    /// Encryption of the body.
    pub encryption: EncryptionId,
    /// Serialization of the body.
    pub serialization: SerializationId,
    /// What the packet is for; the outer type when the packet is sealed.
    pub message_type: MessageType,
}

impl Header {
    /// A version 2 header over TCP with everything else zero.
    pub const fn new(message_type: MessageType) -> Self {
        Self {
            protocol: Protocol::TCP,
            version: Version::V2,
            packet_id: 0,
            device: DeviceType::UNSPECIFIED,
            ip: 0,
            encryption: EncryptionId::NONE,
            serialization: SerializationId::FIXED,
            message_type,
        }
    }

    /// A version 1 header over WebSocket, the one transport on which an OUYU-IM server answers, with everything else
    /// zero.
    pub const fn v1(message_type: MessageType) -> Self {
        Self { protocol: Protocol::WS, version: Version::V1, ..Self::new(message_type) }
    }

    /// What the header's version calls its message type; `None` for a code that it does not know.
    pub const fn message_name(&self) -> Option<&'static str> {
        self.message_type.name(self.version)
    }

    /// The wire form, with `body_len` in bytes. Big-endian.
    #[inline]
    pub const fn to_bytes(&self, body_len: u32) -> [u8; HEADER_LEN] {
        let p = self.protocol.0.to_be_bytes();
        let id = self.packet_id.to_be_bytes();
        let ip = self.ip.to_be_bytes();
        let len = body_len.to_be_bytes();
        [
            MAGIC,
            p[0],
            p[1],
            self.version.0,
            id[0],
            id[1],
            id[2],
            id[3],
            id[4],
            id[5],
            id[6],
            id[7],
            self.device.0,
            ip[0],
            ip[1],
            ip[2],
            ip[3],
            self.encryption.0,
            self.serialization.0,
            self.message_type.0,
            len[0],
            len[1],
            len[2],
            len[3],
        ]
    }

    /// The fields of 24 bytes and the body length they state, unchecked: [`crate::parse`] checks.
    #[inline]
    pub const fn from_bytes(b: &[u8; HEADER_LEN]) -> (Self, u32) {
        let header = Self {
            protocol: Protocol(u16::from_be_bytes([b[1], b[2]])),
            version: Version(b[3]),
            packet_id: u64::from_be_bytes([b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11]]),
            device: DeviceType(b[12]),
            ip: u32::from_be_bytes([b[13], b[14], b[15], b[16]]),
            encryption: EncryptionId(b[17]),
            serialization: SerializationId(b[18]),
            message_type: MessageType(b[19]),
        };
        (header, u32::from_be_bytes([b[20], b[21], b[22], b[23]]))
    }
}
