//! MessagePack: structs as maps with string keys, so that fields may come and go and other languages read it.

use alloc::vec::Vec;
use std::io::ErrorKind;

use rmp_serde::decode::Error;

use crate::body::{Body, Kind, Make, Visit, Wire};
use crate::format::{DecodeError, EncodeError, Format, FormatId, Limits, Problem, check_len};

/// MessagePack, by rmp-serde.
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgPack;

const NAME: &str = "msgpack";
/// The bodies nest two deep; the rest is room for unknown fields.
const MAX_DEPTH: usize = 16;

impl Format for MsgPack {
    fn id(&self) -> FormatId {
        FormatId::MSGPACK
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        struct Write<'a>(&'a mut Vec<u8>);
        impl Visit for Write<'_> {
            type Out = Result<(), rmp_serde::encode::Error>;
            fn visit<T: Wire>(self, body: &T) -> Self::Out {
                rmp_serde::encode::write_named(self.0, body)
            }
        }
        let start = out.len();
        body.visit(Write(out)).map_err(|_| {
            out.truncate(start);
            EncodeError { format: NAME, kind: body.kind() }
        })
    }

    fn decode(&self, kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Body, DecodeError> {
        struct Read<'a>(&'a [u8]);
        impl Make for Read<'_> {
            type Error = Problem;
            fn make<T: Wire>(self) -> Result<T, Problem> {
                let mut reader = rmp_serde::Deserializer::new(self.0);
                reader.set_max_depth(MAX_DEPTH);
                let value = T::deserialize(&mut reader).map_err(|error| problem(&error))?;
                if !reader.get_ref().is_empty() {
                    return Err(Problem::TrailingBytes);
                }
                Ok(value)
            }
        }
        check_len(NAME, kind, bytes, limits)?;
        Body::make(kind, Read(bytes)).map_err(|problem| DecodeError { format: NAME, kind, problem })
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
