//! LEB128 integers, as protobuf and thrift write them. [`Reader::varint`](crate::class::Reader::varint) reads them.

use alloc::vec::Vec;

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn put(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    // As many bytes as are known beforehand: the vector makes room once.
    let last = (63 - value.leading_zeros()) / 7;
    out.extend((0..last).map(|at| (value >> (7 * at)) as u8 | 0x80));
    out.push((value >> (7 * last)) as u8);
}
