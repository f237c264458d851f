//! JSON: byte strings are standard padded base64, 64-bit ids are decimal strings (a JavaScript number holds 53 bits).

use alloc::vec::Vec;

use serde_json::error::Category;

use crate::body::{Body, Kind, Make, Visit, Wire};
use crate::format::{DecodeError, EncodeError, Format, FormatId, Limits, Problem, check_len};

/// JSON, by serde_json. Nesting is limited to 128 by that crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

const NAME: &str = "json";

impl Format for Json {
    fn id(&self) -> FormatId {
        FormatId::JSON
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        struct Write<'a>(&'a mut Vec<u8>);
        impl Visit for Write<'_> {
            type Out = Result<(), serde_json::Error>;
            fn visit<T: Wire>(self, body: &T) -> Self::Out {
                #[cfg(feature = "std")]
                return serde_json::to_writer(self.0, body);
                // Without std serde_json writes only into vectors of its own.
                #[cfg(not(feature = "std"))]
                return serde_json::to_vec(body).map(|bytes| self.0.extend_from_slice(&bytes));
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
                let mut reader = serde_json::Deserializer::from_slice(self.0);
                let value = T::deserialize(&mut reader).map_err(|error| match error.classify() {
                    Category::Eof => Problem::Truncated,
                    Category::Io | Category::Syntax | Category::Data => Problem::Malformed,
                })?;
                reader.end().map_err(|_| Problem::TrailingBytes)?;
                Ok(value)
            }
        }
        check_len(NAME, kind, bytes, limits)?;
        Body::make(kind, Read(bytes)).map_err(|problem| DecodeError { format: NAME, kind, problem })
    }
}
