//! MessagePack: structs as maps with string keys, so that fields may come and go and other languages read it.

use alloc::vec::Vec;
use std::io::ErrorKind;

use rmp_serde::decode::Error;
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::codec::SerdeCodec;
use crate::format::{FormatId, Problem};
use crate::table::Style;

/// MessagePack, by rmp-serde.
///
/// ```
/// use im_serial::{Format, FormatId, MsgPack};
/// assert_eq!((MsgPack.id(), MsgPack.name()), (FormatId::MSGPACK, "msgpack"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgPack;

impl SerdeCodec for MsgPack {
    const ID: FormatId = FormatId::MSGPACK;
    const NAME: &'static str = "msgpack";
    const STYLE: Style = Style::Properties;

    #[inline]
    fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ()> {
        rmp_serde::encode::write_named(out, value).map_err(|_| ())
    }

    #[inline]
    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8], limits: &Limits) -> Result<S::Value, Problem> {
        let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
        reader.set_max_depth(limits.max_depth);
        let value = seed.deserialize(&mut reader).map_err(|error| problem(&error))?;
        // The reader does not tell what is left, but a next value has a marker.
        match bool::deserialize(&mut reader) {
            Err(Error::InvalidMarkerRead(_)) => Ok(value),
            Ok(_) | Err(_) => Err(Problem::TrailingBytes),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are bad values")]
fn problem(error: &Error) -> Problem {
    match error {
        Error::InvalidMarkerRead(io) | Error::InvalidDataRead(io) if io.kind() == ErrorKind::UnexpectedEof => {
            Problem::Truncated
        }
        Error::DepthLimitExceeded => Problem::TooDeep,
        Error::Utf8Error(_) => Problem::BadString,
        _ => Problem::Malformed,
    }
}
