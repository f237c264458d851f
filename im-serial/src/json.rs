//! JSON: byte strings are standard padded base64, 64-bit ids are decimal strings (a JavaScript number holds 53 bits).

use alloc::vec::Vec;

use serde_json::error::Category;

use crate::format::codec::Codec;
use crate::format::{FormatId, Problem};
use crate::wire::Wire;

/// JSON, by serde_json. Nesting is limited to 128 by that crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Codec for Json {
    const ID: FormatId = FormatId::JSON;
    const NAME: &'static str = "json";

    fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()> {
        #[cfg(feature = "std")]
        let written = serde_json::to_writer(out, body);
        // Without std serde_json writes only into vectors of its own.
        #[cfg(not(feature = "std"))]
        let written = serde_json::to_vec(body).map(|bytes| out.extend_from_slice(&bytes));
        written.map_err(|_| ())
    }

    fn read<T: Wire>(bytes: &[u8]) -> Result<T, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = T::deserialize(&mut reader).map_err(|error| match error.classify() {
            Category::Eof => Problem::Truncated,
            Category::Io | Category::Syntax | Category::Data => Problem::Malformed,
        })?;
        reader.end().map_err(|_| Problem::TrailingBytes)?;
        Ok(value)
    }
}
