//! Protocol Buffers. The schema is `docs/spec/im.proto` in the repository.

use alloc::vec::Vec;

use crate::format::codec::Codec;
use crate::format::{FormatId, Problem};
use crate::wire::Wire;

/// Protocol Buffers, by prost. Nesting is limited to 100 by that crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

impl Codec for Protobuf {
    const ID: FormatId = FormatId::PROTOBUF;
    const NAME: &'static str = "protobuf";

    fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()> {
        body.encode(out).map_err(|_| ())
    }

    fn read<T: Wire>(bytes: &[u8]) -> Result<T, Problem> {
        T::decode(bytes).map_err(|_| Problem::Malformed)
    }
}
