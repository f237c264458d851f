//! Protocol Buffers. The schema is `docs/spec/im.proto` in the repository.

use alloc::vec::Vec;

use crate::body::{Body, Kind, Make, Visit, Wire};
use crate::format::{DecodeError, EncodeError, Format, FormatId, Limits, Problem, check_len};

/// Protocol Buffers, by prost. Nesting is limited to 100 by that crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

const NAME: &str = "protobuf";

impl Format for Protobuf {
    fn id(&self) -> FormatId {
        FormatId::PROTOBUF
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        struct Write<'a>(&'a mut Vec<u8>);
        impl Visit for Write<'_> {
            type Out = Result<(), prost::EncodeError>;
            fn visit<T: Wire>(self, body: &T) -> Self::Out {
                prost::Message::encode(body, self.0)
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
            type Error = prost::DecodeError;
            fn make<T: Wire>(self) -> Result<T, prost::DecodeError> {
                prost::Message::decode(self.0)
            }
        }
        check_len(NAME, kind, bytes, limits)?;
        Body::make(kind, Read(bytes)).map_err(|_| DecodeError { format: NAME, kind, problem: Problem::Malformed })
    }
}
