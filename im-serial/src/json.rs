//! JSON: byte strings are standard padded base64, 64-bit ids are decimal strings (a JavaScript number holds 53 bits).

use alloc::string::ToString;
use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeSeed};
use serde_json::error::Category;

use crate::budget::Limits;
use crate::codec::SerdeCodec;
use crate::format::{FormatId, Problem};
use crate::table::Style;

/// JSON, by serde_json. Nesting is limited to 128 by that crate, besides the limits.
///
/// ```
/// use im_serial::{Format, FormatId, Json};
/// assert_eq!((Json.id(), Json.name()), (FormatId::JSON, "json"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl SerdeCodec for Json {
    const ID: FormatId = FormatId::JSON;
    const NAME: &'static str = "json";
    const STYLE: Style = Style::Properties;

    #[inline]
    fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ()> {
        #[cfg(feature = "std")]
        let written = serde_json::to_writer(out, value);
        // Without std serde_json writes only into vectors of its own.
        #[cfg(not(feature = "std"))]
        let written = serde_json::to_vec(value).map(|bytes| out.extend_from_slice(&bytes));
        written.map_err(|_| ())
    }

    #[inline]
    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8], _: &Limits) -> Result<S::Value, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = seed.deserialize(&mut reader).map_err(|error| problem(&error))?;
        reader.end().map_err(|_| Problem::TrailingBytes)?;
        Ok(value)
    }
}

fn problem(error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Eof => Problem::Truncated,
        // serde_json tells what it found in words only.
        Category::Syntax if BAD_STRING.iter().any(|text| error.to_string().starts_with(text)) => Problem::BadString,
        Category::Io | Category::Syntax | Category::Data => Problem::Malformed,
    }
}

/// Half of a surrogate pair at the end of a string, before an ordinary escape and before anything else; bad UTF-8.
const BAD_STRING: [&str; 3] = ["lone leading surrogate", "unexpected end of hex escape", "invalid unicode code point"];
