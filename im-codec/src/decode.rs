//! From bytes to packets: one packet, "need n more bytes", or a typed error. Nothing is allocated before a limit is
//! checked.

use core::num::NonZeroUsize;

use bytes::{Buf, BytesMut};

use crate::code::Version;
use crate::header::{HEADER_LEN, Header, MAGIC};
use crate::packet::{Packet, PacketRef};
use crate::{HARD_MAX_BODY, Limits};

/// Who has to change something when an error occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the protocol.
    PeerViolated,
    /// The peer speaks something that this side does not.
    PeerIncompatible,
    /// A limit of this side was reached.
    LocalLimit,
}

/// Why bytes are not a packet. Terminal for a stream: there is no way to find the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first byte is not [`MAGIC`].
    #[error("byte 0 is {found:#04x}, but a packet starts with 0x66: the peer does not speak this protocol")]
    Magic {
        /// The byte that stood there.
        found: u8,
    },
    /// A layout of later OUYUNC releases, which put other fields behind the magic.
    #[error(
        "this is the packet layout of OUYUNC {release}, which is not supported: use version 2 of the 24-byte packet"
    )]
    OuyuncLayout {
        /// The releases that use it.
        release: &'static str,
    },
    /// A version that this side does not accept.
    #[error("byte 3 says version {found}, but this side accepts version 2 only")]
    Version {
        /// The version that the packet states.
        found: u8,
    },
    /// The stated body length is over the limit.
    #[error("bytes 20 to 23 state a body of {len} bytes, but the limit is {max}")]
    BodyTooLarge {
        /// Stated length, in bytes.
        len: u32,
        /// The limit, in bytes.
        max: u32,
    },
}

impl DecodeError {
    /// Offset of the offending byte in the packet.
    pub const fn offset(&self) -> usize {
        match self {
            Self::Magic { .. } => 0,
            Self::OuyuncLayout { .. } => 1,
            Self::Version { .. } => 3,
            Self::BodyTooLarge { .. } => 20,
        }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Magic { .. } => Fault::PeerViolated,
            Self::OuyuncLayout { .. } | Self::Version { .. } => Fault::PeerIncompatible,
            // Beyond the hard limit no configuration would have accepted it.
            Self::BodyTooLarge { len, .. } if *len > HARD_MAX_BODY => Fault::PeerViolated,
            Self::BodyTooLarge { .. } => Fault::LocalLimit,
        }
    }
}

/// How much of a packet a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The buffer starts with a whole packet of so many bytes, header included.
    Complete(usize),
    /// At least so many more bytes are needed.
    Need(NonZeroUsize),
}

/// Looks at the start of `input` without touching the body. Refuses a bad packet at the first byte that shows it.
///
/// ```
/// use im_codec::{frame_len, Framing, Limits, DecodeError};
/// assert!(matches!(frame_len(&[0x66, 0, 5], &Limits::default()), Ok(Framing::Need(n)) if n.get() == 21));
/// assert_eq!(frame_len(b"GET /", &Limits::default()), Err(DecodeError::Magic { found: b'G' }));
/// ```
pub fn frame_len(input: &[u8], limits: &Limits) -> Result<Framing, DecodeError> {
    let Some(header) = input.first_chunk::<HEADER_LEN>() else {
        check_start(input)?;
        return Ok(need(HEADER_LEN - input.len()));
    };
    check_start(header)?;
    let (_, len) = Header::from_bytes(header);
    if len > limits.max_body() {
        return Err(DecodeError::BodyTooLarge { len, max: limits.max_body() });
    }
    let total = HEADER_LEN + len as usize;
    if input.len() < total { Ok(need(total - input.len())) } else { Ok(Framing::Complete(total)) }
}

/// Callers pass at least one missing byte; zero would only be asked for by a bug, and then one is a safe answer.
fn need(n: usize) -> Framing {
    Framing::Need(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN))
}

/// Magic, layout and version, as far as the bytes reach.
fn check_start(input: &[u8]) -> Result<(), DecodeError> {
    match input.first() {
        Some(&MAGIC) | None => {}
        Some(b'O') if b"OUYUNC".starts_with(input.get(..6).unwrap_or(input)) && input.len() > 1 => {
            return Err(DecodeError::OuyuncLayout { release: "6" });
        }
        Some(&found) => return Err(DecodeError::Magic { found }),
    }
    // Our protocol codes are below 256, so byte 1 is 0; OUYUNC 2 to 5 put their one-byte protocol code there.
    if let (Some(1..=7), Some(1 | 4)) = (input.get(1), input.get(2)) {
        return Err(DecodeError::OuyuncLayout { release: "2 to 5" });
    }
    match input.get(3) {
        Some(&found) if found != Version::V2.0 => Err(DecodeError::Version { found }),
        _ => Ok(()),
    }
}

/// One packet at the start of `input`, borrowed; `Ok(Err(n))` asks for n more bytes.
///
/// ```
/// use im_codec::{encode_packet, parse, Header, Limits, MessageType};
/// let mut wire = Vec::new();
/// encode_packet(&mut wire, &Header::new(MessageType::PING), b"hi", &Limits::default())?;
/// let packet = parse(&wire, &Limits::default())?.expect("a whole packet");
/// assert_eq!(packet.body(), b"hi");
/// assert_eq!(packet.as_bytes(), &wire[..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse<'a>(input: &'a [u8], limits: &Limits) -> Result<Result<PacketRef<'a>, NonZeroUsize>, DecodeError> {
    Ok(match frame_len(input, limits)? {
        Framing::Need(n) => Err(n),
        Framing::Complete(total) => match input.get(..total).and_then(PacketRef::new) {
            Some(packet) => Ok(packet),
            None => Err(NonZeroUsize::MIN),
        },
    })
}

/// Takes whole packets from the front of a buffer that the caller owns and fills.
///
/// ```
/// use bytes::BytesMut;
/// use im_codec::{encode_packet, Decoder, Header, Limits, MessageType};
/// let mut wire = Vec::new();
/// encode_packet(&mut wire, &Header::new(MessageType::PING), b"one", &Limits::default())?;
/// encode_packet(&mut wire, &Header::new(MessageType::PONG), b"two", &Limits::default())?;
/// let decoder = Decoder::new(Limits::default());
/// let mut buffer = BytesMut::new();
/// let mut bodies = Vec::new();
/// for chunk in wire.chunks(5) {
///     buffer.extend_from_slice(chunk);
///     while let Some(packet) = decoder.decode(&mut buffer)? {
///         bodies.push(packet.body().to_vec());
///     }
/// }
/// assert_eq!(bodies, [b"one", b"two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    limits: Limits,
}

impl Decoder {
    /// A decoder with the given limits. It holds no bytes of its own.
    pub const fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// The next packet, which shares the buffer's memory, or `None` when more bytes are needed.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        match frame_len(buffer.chunk(), &self.limits)? {
            Framing::Need(_) => Ok(None),
            Framing::Complete(total) => Ok(Packet::new(buffer.split_to(total).freeze())),
        }
    }

    /// How many more bytes complete the first packet; 0 when it is complete.
    pub fn needs(&self, buffer: &[u8]) -> Result<usize, DecodeError> {
        Ok(match frame_len(buffer, &self.limits)? {
            Framing::Need(n) => n.get(),
            Framing::Complete(_) => 0,
        })
    }
}
