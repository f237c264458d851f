//! CBOR (RFC 8949): structs as maps with string keys.

use alloc::vec::Vec;
use core::convert::Infallible;

use cbor4ii::core::dec::{Read, Reference};
use cbor4ii::core::enc::Write;
use cbor4ii::core::error::DecodeError as CoreError;
use cbor4ii::serde::{DecodeError, Deserializer, Serializer};
use serde::{Serialize, de::DeserializeSeed};

use crate::budget::Limits;
use crate::codec::SerdeCodec;
use crate::format::{FormatId, Problem};
use crate::table::Style;

/// CBOR, by cbor4ii.
///
/// ```
/// use im_serial::{Cbor, Format, FormatId};
/// assert_eq!((Cbor.id(), Cbor.name()), (FormatId::CBOR, "cbor"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cbor;

impl SerdeCodec for Cbor {
    const ID: FormatId = FormatId::CBOR;
    const NAME: &'static str = "cbor";
    const STYLE: Style = Style::Names;

    #[inline]
    fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ()> {
        value.serialize(&mut Serializer::new(Append(out))).map_err(|_| ())
    }

    #[inline]
    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8], limits: &Limits) -> Result<S::Value, Problem> {
        let mut reader = Deserializer::new(Limited::new(bytes, limits));
        let value = seed.deserialize(&mut reader).map_err(|error| problem(&error))?;
        if reader.into_inner().rest.is_empty() { Ok(value) } else { Err(Problem::TrailingBytes) }
    }
}

/// The end of a vector that stays the caller's.
struct Append<'a>(&'a mut Vec<u8>);

impl Write for Append<'_> {
    type Error = Infallible;

    fn push(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A body under the limits, for what only this format's crate sees: values that are skipped.
struct Limited<'de> {
    rest: &'de [u8],
    depth: usize,
    steps: usize,
}

impl<'de> Limited<'de> {
    /// The crate takes a step into each list, map, option and skipped value; an optional list is two.
    fn new(bytes: &'de [u8], limits: &Limits) -> Self {
        Self { rest: bytes, depth: limits.max_depth.saturating_mul(2), steps: limits.max_elements.saturating_mul(2) }
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body ends early")]
struct End;

impl<'de> Read<'de> for Limited<'de> {
    type Error = End;

    /// All that is wanted or an error, so that the crate never allocates for bytes that did not arrive.
    fn fill<'short>(&'short mut self, want: usize) -> Result<Reference<'de, 'short>, End> {
        self.rest.get(..want).map(Reference::Long).ok_or(End)
    }

    fn advance(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }

    fn step_in(&mut self) -> bool {
        match (self.depth.checked_sub(1), self.steps.checked_sub(1)) {
            (Some(depth), Some(steps)) => {
                (self.depth, self.steps) = (depth, steps);
                true
            }
            _ => false,
        }
    }

    fn step_out(&mut self) {
        self.depth += 1;
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are bad values")]
fn problem(error: &DecodeError<End>) -> Problem {
    match error {
        DecodeError::Core(CoreError::Read(End) | CoreError::Eof { .. }) => Problem::Truncated,
        DecodeError::Core(CoreError::DepthOverflow { .. }) => Problem::TooDeep,
        DecodeError::Core(CoreError::RequireUtf8 { .. }) => Problem::BadString,
        _ => Problem::Malformed,
    }
}
