//! The codec for `tokio_util::codec::Framed`. Only the traits: no runtime, no I/O.

use bytes::{Bytes, BytesMut};

use crate::decode::{DecodeError, Decoder, Framing, frame_len};
use crate::encode::{EncodeError, encode_packet};
use crate::fault::Fault;
use crate::header::Header;
use crate::limits::Limits;
use crate::packet::Packet;

/// Packets on a byte stream, for `FramedRead`, `FramedWrite` and `Framed`. It reads [`Packet`]s, and writes headers with
/// bodies, or packets that were read elsewhere.
///
/// Memory follows what arrived: nothing is reserved for what a header only claims. `Framed` keeps 8 KiB for each direction.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use im_codec::{Header, Limits, MessageType, PacketCodec};
/// use tokio_util::codec::{Decoder, Encoder};
///
/// let mut codec = PacketCodec::new(Limits::default());
/// let mut buffer = BytesMut::new();
/// codec.encode((Header::new(MessageType::PING), Bytes::from_static(b"hi")), &mut buffer)?;
/// let packet = codec.decode(&mut buffer)?.expect("a whole packet");
/// assert_eq!(packet.body(), &b"hi"[..]);
/// # Ok::<(), im_codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketCodec {
    limits: Limits,
}

impl PacketCodec {
    /// A codec with the given limits for both directions.
    pub const fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

/// Why a stream of packets ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer's bytes are not a packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The packet to send is not one.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The stream ended inside a packet.
    #[error("the stream ended inside a packet, {missing} bytes short")]
    Truncated {
        /// How many bytes the header or the packet lacks.
        missing: usize,
    },
}

impl CodecError {
    /// Whose fault it is; `None` when the transport failed.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Io(_) => None,
            Self::Decode(error) => Some(error.fault()),
            Self::Encode(error) => Some(error.fault()),
            Self::Truncated { .. } => Some(Fault::PeerViolated),
        }
    }

    /// Offset of the offending byte in its packet, where there is one.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Io(_) | Self::Truncated { .. } => None,
            Self::Decode(error) => Some(error.offset()),
            Self::Encode(error) => Some(error.offset()),
        }
    }
}

impl tokio_util::codec::Decoder for PacketCodec {
    type Item = Packet;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
        Ok(Decoder::new(self.limits).decode(buffer)?)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
        if buffer.is_empty() {
            return Ok(None);
        }
        match frame_len(buffer, &self.limits)? {
            Framing::Need(missing) => Err(CodecError::Truncated { missing: missing.get() }),
            Framing::Complete(_) => self.decode(buffer),
        }
    }
}

impl tokio_util::codec::Encoder<(Header, Bytes)> for PacketCodec {
    type Error = CodecError;

    fn encode(&mut self, (header, body): (Header, Bytes), out: &mut BytesMut) -> Result<(), CodecError> {
        Ok(encode_packet(out, &header, &body, &self.limits)?)
    }
}

impl tokio_util::codec::Encoder<Packet> for PacketCodec {
    type Error = CodecError;

    fn encode(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), CodecError> {
        let packet = packet.view();
        Ok(encode_packet(out, &packet.header(), packet.body(), &self.limits)?)
    }
}
