//! postcard: fields in the order of their numbers, without names or tags. Both sides must have the same version of a body.

use alloc::vec::Vec;

use postcard::Error;
use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeSeed};

use crate::budget::Limits;
use crate::codec::SerdeCodec;
use crate::format::{FormatId, Problem};
use crate::table::Style;

/// postcard, by the crate of that name.
///
/// ```
/// use im_serial::{Format, FormatId, Postcard};
/// assert_eq!((Postcard.id(), Postcard.name()), (FormatId::POSTCARD, "postcard"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl SerdeCodec for Postcard {
    const ID: FormatId = FormatId::POSTCARD;
    const NAME: &'static str = "postcard";
    const STYLE: Style = Style::Places;

    #[inline]
    fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ()> {
        postcard::serialize_with_flavor(value, Append(out)).map_err(|_| ())
    }

    #[inline]
    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8], _: &Limits) -> Result<S::Value, Problem> {
        let mut reader = postcard::Deserializer::from_bytes(bytes);
        let value = seed.deserialize(&mut reader).map_err(|error| problem(&error))?;
        let rest = reader.finalize().map_err(|error| problem(&error))?;
        if rest.is_empty() { Ok(value) } else { Err(Problem::TrailingBytes) }
    }
}

/// The end of a vector that stays the caller's.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are bad values")]
fn problem(error: &Error) -> Problem {
    match error {
        Error::DeserializeUnexpectedEnd => Problem::Truncated,
        Error::DeserializeBadUtf8 => Problem::BadString,
        _ => Problem::Malformed,
    }
}
