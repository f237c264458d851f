//! One packet per message: the framing of WebSocket, where the transport marks the ends.

use crate::decode::{DecodeError, Framing, frame_len};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::packet::PacketRef;

/// Why a message is not exactly one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message does not start with a packet.
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// The message ends inside the packet.
    #[error("the message ends after {len} bytes, {missing} short of the packet: send whole packets, one in a message")]
    Truncated {
        /// Length of the message, in bytes.
        len: usize,
        /// How many bytes the header or the packet lacks.
        missing: usize,
    },
    /// Bytes follow the packet.
    #[error("{extra} bytes follow the packet that ends at {end}: send whole packets, one in a message")]
    Trailing {
        /// Where the packet ends, in bytes from the start of the message.
        end: usize,
        /// How many bytes follow.
        extra: usize,
    },
}

impl MessageError {
    /// Offset of the offending byte in the message; the message's length when it is too short.
    pub const fn offset(&self) -> usize {
        match self {
            Self::Packet(error) => error.offset(),
            Self::Truncated { len, .. } => *len,
            Self::Trailing { end, .. } => *end,
        }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Packet(error) => error.fault(),
            Self::Truncated { .. } | Self::Trailing { .. } => Fault::PeerViolated,
        }
    }
}

/// The packet in a WebSocket binary message, which must be exactly one. OUYU-IM ignores bytes behind the packet; they are
/// refused here in both versions, because a peer that sends them has lost count.
///
/// ```
/// use im_codec::{Header, Limits, MessageError, MessageType, encode_packet, parse_message};
/// let mut message = Vec::new();
/// encode_packet(&mut message, &Header::new(MessageType::PING), b"hi", &Limits::default())?;
/// assert_eq!(parse_message(&message, &Limits::default())?.body(), b"hi");
///
/// message.push(0);
/// let error = parse_message(&message, &Limits::default()).unwrap_err();
/// assert_eq!(error, MessageError::Trailing { end: 26, extra: 1 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse_message<'a>(message: &'a [u8], limits: &Limits) -> Result<PacketRef<'a>, MessageError> {
    let len = message.len();
    match frame_len(message, limits)? {
        Framing::Need(missing) => Err(MessageError::Truncated { len, missing: missing.get() }),
        Framing::Complete(end) if end == len => {
            PacketRef::new(message).ok_or(MessageError::Truncated { len, missing: 1 })
        }
        Framing::Complete(end) => Err(MessageError::Trailing { end, extra: len - end }),
    }
}
