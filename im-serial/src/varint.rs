//! LEB128 integers, as protobuf and thrift write them. [`Reader::varint`](crate::class::Reader::varint) reads them.

use alloc::vec::Vec;

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
