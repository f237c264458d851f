//! The plaintext of a packet: `inner type, payload, 0x80, zeros`.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use super::{RECORD_OVERHEAD, TAG_LEN};

/// How much a packet's length tells. Padding is part of the plaintext and removed after authentication.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Padding {
    /// No zeros: the length of the payload can be seen.
    None,
    /// Zeros up to the next multiple of this many bytes (counted over inner type, payload, 0x80 and zeros, without the tag).
    Block(NonZeroU16),
}

impl Padding {
    /// Length of the padded plaintext for `content` bytes of inner type and payload.
    fn plaintext_len(self, content: usize) -> usize {
        let least = content.saturating_add(1);
        match self {
            Self::None => least,
            Self::Block(block) => least.checked_next_multiple_of(usize::from(block.get())).unwrap_or(usize::MAX),
        }
    }
}

/// Length of the sealed body for a payload, bytes; goes into the header before sealing. Saturates at `usize::MAX`.
///
/// ```
/// use im_crypto::{Padding, sealed_len};
/// use std::num::NonZeroU16;
/// assert_eq!(sealed_len(5, Padding::None), 5 + 18);
/// assert_eq!(sealed_len(5, Padding::Block(NonZeroU16::new(64).unwrap())), 64 + 16);
/// ```
#[must_use]
pub fn sealed_len(payload_len: usize, padding: Padding) -> usize {
    padding.plaintext_len(payload_len.saturating_add(1)).saturating_add(TAG_LEN)
}

/// Ends a plaintext: appends 0x80, the padding, and 16 zero bytes of room for the tag.
///
/// `out[body_start..]` holds the inner type and the payload. The body has then the length that [`sealed_len`] gives, and can be
/// handed to [`Sealer::seal`](crate::Sealer::seal).
pub fn finish_plaintext(out: &mut Vec<u8>, body_start: usize, padding: Padding) {
    let content = out.len().saturating_sub(body_start);
    let zeros = padding.plaintext_len(content).saturating_sub(content).saturating_sub(1);
    out.reserve(zeros.saturating_add(RECORD_OVERHEAD));
    out.push(0x80);
    out.resize(out.len().saturating_add(zeros).saturating_add(TAG_LEN), 0);
}

/// Length of inner type and payload in a plaintext, or `None` if it does not end in 0x80 and zeros or lacks the inner type.
pub(super) fn content_len(plain: &[u8]) -> Option<usize> {
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    (end > 0 && plain.get(end) == Some(&0x80)).then_some(end)
}
