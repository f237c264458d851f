//! From header and body to bytes, appended to a buffer that the caller owns. The length field is always derived, so an
//! invalid packet cannot be built.

use alloc::vec::Vec;

use crate::Limits;
use crate::header::{HEADER_LEN, Header};

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
    /// [`finish_packet`] was given a start that no [`begin_packet`] returned.
    #[error("no packet was begun at offset {start}")]
    NotBegun {
        /// The offset given.
        start: usize,
    },
}

/// Appends one packet.
pub fn encode_packet(out: &mut Vec<u8>, header: &Header, body: &[u8], limits: &Limits) -> Result<(), EncodeError> {
    let len = checked_len(body.len(), limits)?;
    out.reserve(HEADER_LEN + body.len());
    out.extend_from_slice(&header.to_bytes(len));
    out.extend_from_slice(body);
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
pub fn begin_packet(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    start
}

/// Writes the header of the packet begun at `start`; what follows it is the body. On an error the packet is removed.
pub fn finish_packet(out: &mut Vec<u8>, start: usize, header: &Header, limits: &Limits) -> Result<(), EncodeError> {
    let Some((slot, body)) = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER_LEN>) else {
        return Err(EncodeError::NotBegun { start });
    };
    match checked_len(body.len(), limits) {
        Ok(len) => {
            *slot = header.to_bytes(len);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn checked_len(len: usize, limits: &Limits) -> Result<u32, EncodeError> {
    u32::try_from(len)
        .ok()
        .filter(|len| *len <= limits.max_body())
        .ok_or(EncodeError::BodyTooLarge { len, max: limits.max_body() })
}
