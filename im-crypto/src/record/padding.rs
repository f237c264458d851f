//! The plaintext of a packet: `inner type, payload, 0x80, zeros`.

use core::num::NonZeroU16;

use super::TAG_LEN;

/// How much a packet's length tells. Padding is part of the plaintext and removed after authentication.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Padding {
    /// No zeros: the length of the payload can be seen.
    None,
    /// Zeros up to the next multiple of this many bytes (counted over inner type, payload, 0x80 and zeros, without the tag).
    Block(NonZeroU16),
    /// Padmé (Nikitin and others, "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019, section
    /// 4): lengths of few significant bits. At most 12 % more bytes, and a length tells O(log log n) bits.
    Padme,
}

impl Padding {
    /// Length of the padded plaintext for `content` bytes of inner type and payload.
    fn plaintext_len(self, content: usize) -> usize {
        let least = content.saturating_add(1);
        match self {
            Self::None => least,
            Self::Block(block) => least.checked_next_multiple_of(usize::from(block.get())).unwrap_or(usize::MAX),
            Self::Padme => padme(least),
        }
    }
}

/// Rounds up so that only the top log2(log2(n)) + 1 bits are left.
fn padme(length: usize) -> usize {
    let exponent = length.checked_ilog2().unwrap_or(0);
    let kept = exponent.checked_ilog2().unwrap_or(0).saturating_add(1);
    let unit = 1_usize << exponent.saturating_sub(kept);
    length.checked_next_multiple_of(unit).unwrap_or(usize::MAX)
}

/// Length of the sealed body for a payload, bytes; goes into the header before sealing. Saturates at `usize::MAX`.
///
/// ```
/// use im_crypto::{Padding, sealed_len};
/// use std::num::NonZeroU16;
/// assert_eq!(sealed_len(5, Padding::None), 5 + 18);
/// assert_eq!(sealed_len(5, Padding::Block(NonZeroU16::new(64).unwrap())), 64 + 16);
/// assert_eq!(sealed_len(1000, Padding::Padme), 1024 + 16);
/// ```
#[must_use]
pub fn sealed_len(payload_len: usize, padding: Padding) -> usize {
    padding.plaintext_len(payload_len.saturating_add(1)).saturating_add(TAG_LEN)
}

/// Ends a plaintext: appends 0x80, the padding, and 16 zero bytes of room for the tag.
///
/// `out[body_start..]` holds the inner type and the payload; `out` is a `Vec<u8>`, a `BytesMut`, or anything else that grows. The
/// body has then the length that [`sealed_len`] gives, and can be handed to [`Sealer::seal`](crate::Sealer::seal).
pub fn finish_plaintext<B>(out: &mut B, body_start: usize, padding: Padding)
where
    B: AsRef<[u8]> + for<'a> Extend<&'a u8>,
{
    /// 0x80 and no padding but the room for a tag: one piece in the usual case.
    const END: [u8; 1 + TAG_LEN] = {
        let mut end = [0; 1 + TAG_LEN];
        end[0] = 0x80;
        end
    };
    let content = out.as_ref().len().saturating_sub(body_start);
    let zeros = padding.plaintext_len(content).saturating_sub(content).saturating_sub(1);
    out.extend(&END);
    if zeros > 0 {
        out.extend(core::iter::repeat_n(&0, zeros));
    }
}

/// Length of inner type and payload in a plaintext, or `None` if it does not end in 0x80 and zeros or lacks the inner type.
#[inline]
pub(super) fn content_len(plain: &[u8]) -> Option<usize> {
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    (end > 0 && plain.get(end) == Some(&0x80)).then_some(end)
}
