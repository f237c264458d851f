//! From header and body to bytes, appended to a buffer that the caller owns. The length field is always derived and the
//! header is checked, so an invalid packet cannot be built.

use alloc::vec::Vec;

use bytes::BytesMut;

use crate::code::{Protocol, Version};
use crate::decode::looks_like_ouyunc;
use crate::fault::Fault;
use crate::header::{HEADER_LEN, Header};
use crate::limits::Limits;

/// Why a packet was not written. The buffer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The body is over the limit.
    #[error("a body of {len} bytes is over the limit of {max}: send it as a file or in chunks")]
    BodyTooLarge {
        /// Length of the body, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: u32,
    },
    /// The header's version is unknown or switched off in the limits.
    #[error("version {} is unknown or switched off here: use one that Limits::versions accepts", .found.0)]
    Version {
        /// The version in the header.
        found: Version,
    },
    /// The header's protocol code would make every reader take the packet for one of OUYUNC 2 to 5.
    #[error("protocol {} reads as a packet of OUYUNC 2 to 5: application codes are 128 to 191", .found.0)]
    Protocol {
        /// The code in the header.
        found: Protocol,
    },
    /// [`finish_packet`] was given a start that no [`begin_packet`] returned.
    #[error("no packet was begun at offset {start}")]
    NotBegun {
        /// The offset given.
        start: usize,
    },
}

impl EncodeError {
    /// Offset of the offending field in the packet.
    pub const fn offset(&self) -> usize {
        match self {
            Self::BodyTooLarge { .. } => 20,
            Self::Version { .. } => 3,
            Self::Protocol { .. } => 1,
            Self::NotBegun { .. } => 0,
        }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::BodyTooLarge { .. } => Fault::LocalLimit,
            Self::Version { .. } | Self::Protocol { .. } | Self::NotBegun { .. } => Fault::CallerMisused,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for alloc::vec::Vec<u8> {}
    impl Sealed for bytes::BytesMut {}
}

/// A buffer that packets are appended to: `Vec<u8>` or `BytesMut`.
///
/// ```
/// use bytes::BytesMut;
/// use im_codec::{Header, Limits, MessageType, encode_packet};
/// let (mut a, mut b) = (Vec::new(), BytesMut::new());
/// encode_packet(&mut a, &Header::new(MessageType::PING), b"", &Limits::default())?;
/// encode_packet(&mut b, &Header::new(MessageType::PING), b"", &Limits::default())?;
/// assert_eq!(a, b);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Output: sealed::Sealed + AsMut<[u8]> + AsRef<[u8]> {
    #[doc(hidden)]
    fn grow(&mut self, additional: usize);
    #[doc(hidden)]
    fn append(&mut self, bytes: &[u8]);
    #[doc(hidden)]
    fn cut(&mut self, len: usize);
}

macro_rules! output {
    ($($buffer:ty),*) => { $(
        impl Output for $buffer {
            #[inline]
            fn grow(&mut self, additional: usize) {
                self.reserve(additional);
            }
            #[inline]
            fn append(&mut self, bytes: &[u8]) {
                self.extend_from_slice(bytes);
            }
            #[inline]
            fn cut(&mut self, len: usize) {
                self.truncate(len);
            }
        }
    )* };
}
output!(Vec<u8>, BytesMut);

/// Appends one packet.
#[inline]
pub fn encode_packet(out: &mut impl Output, header: &Header, body: &[u8], limits: &Limits) -> Result<(), EncodeError> {
    let len = check(header, body.len(), limits)?;
    out.grow(HEADER_LEN + body.len());
    out.append(&header.to_bytes(len));
    out.append(body);
    Ok(())
}

/// Appends many packets and reserves once. On an error what was written before it is removed: all or none.
///
/// ```
/// use im_codec::{Decoder, Header, Limits, MessageType, encode_packets};
/// let header = Header::new(MessageType::SEND);
/// let mut out = Vec::new();
/// encode_packets(&mut out, [(&header, &b"one"[..]), (&header, b"two")], &Limits::default())?;
/// let mut rest = out.as_slice();
/// while let Some(packet) = Decoder::default().decode_slice(&mut rest)? {
///     assert_eq!(packet.body().len(), 3);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_packets<'a, I>(out: &mut impl Output, packets: I, limits: &Limits) -> Result<(), EncodeError>
where
    I: IntoIterator<Item = (&'a Header, &'a [u8]), IntoIter: Clone>,
{
    let packets = packets.into_iter();
    let start = out.as_ref().len();
    let max = limits.max_body() as usize;
    out.grow(packets.clone().fold(0, |total, (_, body)| total.saturating_add(HEADER_LEN + body.len().min(max))));
    for (header, body) in packets {
        match check(header, body.len(), limits) {
            Ok(len) => {
                out.append(&header.to_bytes(len));
                out.append(body);
            }
            Err(error) => {
                out.cut(start);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Makes room for a header, so that the body can be written in place behind it. Returns the offset to give to
/// [`finish_packet`].
///
/// ```
/// use im_codec::{begin_packet, finish_packet, parse, Header, Limits, MessageType};
/// let mut out = b"earlier".to_vec();
/// let start = begin_packet(&mut out);
/// out.extend_from_slice(b"a body written in place");
/// finish_packet(&mut out, start, &Header::new(MessageType::SEND), &Limits::default())?;
/// let packet = parse(&out[start..], &Limits::default())?.expect("whole");
/// assert_eq!(packet.body(), b"a body written in place");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn begin_packet(out: &mut impl Output) -> usize {
    let start = out.as_ref().len();
    out.append(&[0; HEADER_LEN]);
    start
}

/// Writes the header of the packet begun at `start`; what follows it is the body. On an error the packet is removed.
pub fn finish_packet(out: &mut impl Output, start: usize, header: &Header, limits: &Limits) -> Result<(), EncodeError> {
    let Some((slot, body)) = out.as_mut().get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER_LEN>) else {
        return Err(EncodeError::NotBegun { start });
    };
    match check(header, body.len(), limits) {
        Ok(len) => {
            *slot = header.to_bytes(len);
            Ok(())
        }
        Err(error) => {
            out.cut(start);
            Err(error)
        }
    }
}

/// What a reader with the same limits would refuse is not written.
#[inline]
fn check(header: &Header, len: usize, limits: &Limits) -> Result<u32, EncodeError> {
    if !limits.versions().accepts(header.version) {
        return Err(EncodeError::Version { found: header.version });
    }
    let [high, low] = header.protocol.0.to_be_bytes();
    if looks_like_ouyunc(high, low) {
        return Err(EncodeError::Protocol { found: header.protocol });
    }
    match u32::try_from(len) {
        Ok(len) if len <= limits.max_body() => Ok(len),
        _ => Err(EncodeError::BodyTooLarge { len, max: limits.max_body() }),
    }
}
