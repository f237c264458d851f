//! MessagePack: structs as maps with string keys, so that fields may come and go and other languages read it.

use alloc::vec::Vec;
use std::io::ErrorKind;

use rmp_serde::decode::Error;

use crate::format::codec::Codec;
use crate::format::{FormatId, Problem};
use crate::wire::Wire;

/// MessagePack, by rmp-serde.
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgPack;

/// The bodies nest two deep; the rest is room for unknown fields.
const MAX_DEPTH: usize = 16;

impl Codec for MsgPack {
    const ID: FormatId = FormatId::MSGPACK;
    const NAME: &'static str = "msgpack";

    fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()> {
        rmp_serde::encode::write_named(out, body).map_err(|_| ())
    }

    fn read<T: Wire>(bytes: &[u8]) -> Result<T, Problem> {
        let mut reader = rmp_serde::Deserializer::new(bytes);
        reader.set_max_depth(MAX_DEPTH);
        let value = T::deserialize(&mut reader).map_err(|error| problem(&error))?;
        if reader.get_ref().is_empty() { Ok(value) } else { Err(Problem::TrailingBytes) }
    }
}

fn problem(error: &Error) -> Problem {
    if let Error::InvalidMarkerRead(io) | Error::InvalidDataRead(io) = error
        && io.kind() == ErrorKind::UnexpectedEof
    {
        return Problem::Truncated;
    }
    Problem::Malformed
}
