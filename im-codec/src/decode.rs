//! From bytes to packets: one packet, "need n more bytes", or a typed error. Nothing is allocated before a limit is
//! checked.

use core::num::NonZeroUsize;

use bytes::{Buf, BytesMut};

use crate::code::Version;
use crate::fault::Fault;
use crate::header::{HEADER_LEN, MAGIC};
use crate::limits::{HARD_MAX_BODY, Limits};
use crate::packet::{Packet, PacketMut, PacketRef};

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
    /// A version that nobody here knows.
    #[error("byte 3 says version {found}, which is unknown: use version 2")]
    Version {
        /// The version that the packet states.
        found: u8,
    },
    /// A known version that is switched off on this side.
    #[error(
        "byte 3 says version {}, which is switched off here: use {}, or switch it on with Limits::with_versions\
         (Versions::V1AndV2)", .found.0, if *.found == Version::V1 { "version 2" } else { "version 1" }
    )]
    VersionOff {
        /// The version that the packet states.
        found: Version,
    },
    /// The stated body length is over the limit.
    #[error("bytes 20 to 23 state a body of {len} bytes, but the limit is {max}: send it as a file or in chunks")]
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
            // Byte 0 may still be ours: O of "OUYUNC" is shown by the byte behind it.
            Self::OuyuncLayout { .. } => 1,
            Self::Version { .. } | Self::VersionOff { .. } => 3,
            Self::BodyTooLarge { .. } => 20,
        }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Magic { .. } => Fault::PeerViolated,
            Self::OuyuncLayout { .. } | Self::Version { .. } | Self::VersionOff { .. } => Fault::PeerIncompatible,
            // Beyond the hard limit no configuration would have accepted it.
            Self::BodyTooLarge { len, .. } if *len > HARD_MAX_BODY => Fault::PeerViolated,
            Self::BodyTooLarge { .. } => Fault::LocalLimit,
        }
    }
}

/// How much of a packet a buffer holds: the answer of [`frame_len`].
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
#[inline]
pub fn frame_len(input: &[u8], limits: &Limits) -> Result<Framing, DecodeError> {
    let Some((head, rest)) = input.split_first_chunk::<HEADER_LEN>() else { return short(input, limits) };
    let len = body_len(head, limits)?;
    Ok(if rest.len() < len { need(len - rest.len()) } else { Framing::Complete(HEADER_LEN + len) })
}

/// The checked body length that a header states.
#[inline]
fn body_len(head: &[u8; HEADER_LEN], limits: &Limits) -> Result<usize, DecodeError> {
    // What a good peer sends passes on these three comparisons; everything else is looked at out of line.
    if head[0] != MAGIC || head[1] != 0 || !limits.versions().accepts(Version(head[3])) {
        check_start(head, limits)?;
    }
    let len = u32::from_be_bytes([head[20], head[21], head[22], head[23]]);
    if len > limits.max_body() {
        return Err(DecodeError::BodyTooLarge { len, max: limits.max_body() });
    }
    Ok(len as usize)
}

/// Less than a header.
#[cold]
fn short(input: &[u8], limits: &Limits) -> Result<Framing, DecodeError> {
    check_start(input, limits)?;
    Ok(need(HEADER_LEN - input.len().min(HEADER_LEN)))
}

/// Callers pass at least one missing byte; zero would only be asked for by a bug, and then one is a safe answer.
#[inline]
fn need(n: usize) -> Framing {
    Framing::Need(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN))
}

/// Magic, layout and version, as far as the bytes reach.
#[cold]
fn check_start(input: &[u8], limits: &Limits) -> Result<(), DecodeError> {
    match (input.first(), input.get(1)) {
        // One byte O may be either, and the answer must not depend on how the bytes were cut.
        (Some(&MAGIC) | None, _) | (Some(b'O'), None) => {}
        (Some(b'O'), Some(b'U')) => return Err(DecodeError::OuyuncLayout { release: "6" }),
        (Some(&found), _) => return Err(DecodeError::Magic { found }),
    }
    if let (Some(&high), Some(&low)) = (input.get(1), input.get(2))
        && looks_like_ouyunc(high, low)
    {
        return Err(DecodeError::OuyuncLayout { release: "2 to 5" });
    }
    match input.get(3) {
        Some(&found) => check_version(Version(found), limits),
        None => Ok(()),
    }
}

/// Our protocol codes are below 256, so byte 1 is 0. OUYUNC 2 to 5 put their one-byte protocol code there (1 to 7) and
/// their version behind it (1, or 4 for MQTT).
pub(crate) const fn looks_like_ouyunc(high: u8, low: u8) -> bool {
    matches!((high, low), (1..=7, 1 | 4))
}

fn check_version(found: Version, limits: &Limits) -> Result<(), DecodeError> {
    if limits.versions().accepts(found) {
        Ok(())
    } else if found.name().is_some() {
        Err(DecodeError::VersionOff { found })
    } else {
        Err(DecodeError::Version { found: found.0 })
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
#[inline]
pub fn parse<'a>(input: &'a [u8], limits: &Limits) -> Result<Result<PacketRef<'a>, NonZeroUsize>, DecodeError> {
    let total = match frame_len(input, limits)? {
        Framing::Need(n) => return Ok(Err(n)),
        Framing::Complete(total) => total,
    };
    // `frame_len` looked: the bytes are there.
    Ok(input.get(..total).and_then(PacketRef::new).ok_or(NonZeroUsize::MIN))
}

/// Like [`parse`], to rewrite the packet in place: a relay gives it another id, a record layer opens its body.
///
/// ```
/// use im_codec::{encode_packet, parse, parse_mut, Header, Limits, MessageType};
/// let limits = Limits::default();
/// let mut wire = Vec::new();
/// encode_packet(&mut wire, &Header::new(MessageType::SEND), b"hi", &limits)?;
/// let mut packet = parse_mut(&mut wire, &limits)?.expect("a whole packet");
/// packet.set_packet_id(7);
/// packet.body_mut().make_ascii_uppercase();
/// let packet = parse(&wire, &limits)?.expect("a whole packet");
/// assert_eq!((packet.header().packet_id, packet.body()), (7, &b"HI"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse_mut<'a>(input: &'a mut [u8], limits: &Limits) -> Result<Result<PacketMut<'a>, NonZeroUsize>, DecodeError> {
    let total = match frame_len(input, limits)? {
        Framing::Need(n) => return Ok(Err(n)),
        Framing::Complete(total) => total,
    };
    Ok(input.get_mut(..total).and_then(PacketMut::new).ok_or(NonZeroUsize::MIN))
}

/// Takes whole packets from the front of a buffer that the caller owns and fills. It holds no bytes of its own, so it may
/// be shared, copied and dropped at any time. A call looks at 24 bytes, whatever the buffer holds, and copies no body.
///
/// ```
/// use bytes::BytesMut;
/// use im_codec::{encode_packet, Decoder, Header, Limits, MessageType};
/// let mut wire = Vec::new();
/// encode_packet(&mut wire, &Header::new(MessageType::PING), b"one", &Limits::default())?;
/// encode_packet(&mut wire, &Header::new(MessageType::PONG), b"two", &Limits::default())?;
/// let decoder = Decoder::new(Limits::default());
///
/// // Packets that share the memory of a `BytesMut`, as chunks arrive.
/// let mut buffer = BytesMut::new();
/// let mut bodies = Vec::new();
/// for chunk in wire.chunks(5) {
///     buffer.extend_from_slice(chunk);
///     while let Some(packet) = decoder.decode(&mut buffer)? {
///         bodies.push(packet.body().to_vec());
///     }
/// }
/// assert_eq!(bodies, [b"one", b"two"]);
///
/// // Packets that borrow from a slice; what is left is the start of the next one.
/// let mut input = &wire[..40];
/// let first = decoder.decode_slice(&mut input)?.expect("a whole packet");
/// assert_eq!(first.body(), b"one");
/// assert_eq!(decoder.decode_slice(&mut input)?, None);
/// assert_eq!((input.len(), decoder.needs(input)?), (13, 11));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    limits: Limits,
}

impl Decoder {
    /// A decoder with the given limits.
    pub const fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// The next packet, or `None` when more bytes are needed. `input` moves behind it; on `None` and on an error it stays.
    #[inline]
    pub fn decode_slice<'a>(&self, input: &mut &'a [u8]) -> Result<Option<PacketRef<'a>>, DecodeError> {
        let Some((head, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
            return short(input, &self.limits).map(|_| None);
        };
        let len = body_len(head, &self.limits)?;
        let (Some((body, next)), Some(bytes)) = (rest.split_at_checked(len), input.get(..HEADER_LEN + len)) else {
            return Ok(None);
        };
        *input = next;
        Ok(Some(PacketRef::from_parts(bytes, head, body)))
    }

    /// The next packet, which shares the buffer's memory, or `None` when more bytes are needed. The buffer moves behind
    /// it; on `None` and on an error it stays.
    ///
    /// The memory lives as long as the last packet cut from it: copy what you keep for long
    /// ([`PacketRef::to_packet`]). A buffer whose packets are gone when it is filled again uses its memory again.
    #[inline]
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        match frame_len(buffer.chunk(), &self.limits)? {
            Framing::Need(_) => Ok(None),
            Framing::Complete(total) => Ok(Packet::new(buffer.split_to(total).freeze())),
        }
    }

    /// How many more bytes complete the first packet's header, or the packet when the header is there; 0 when it is
    /// complete. Never more than [`Limits::max_packet`]: this is what to read next, not what to allocate, because the
    /// peer only claimed it.
    pub fn needs(&self, buffer: &[u8]) -> Result<usize, DecodeError> {
        Ok(match frame_len(buffer, &self.limits)? {
            Framing::Need(n) => n.get(),
            Framing::Complete(_) => 0,
        })
    }
}
