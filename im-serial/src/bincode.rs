//! bincode, the standard layout of its version 2: fields in the order of their numbers, without names or tags. Both sides
//! must have the same version of a body.
//!
//! The crate is unmaintained (RUSTSEC-2025-0141). This is the only file that knows it; a test holds its bytes to those of
//! `wincode`, so that it can be replaced here.

use alloc::vec::Vec;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use serde::{Serialize, de::DeserializeSeed};

use crate::budget::Limits;
use crate::codec::SerdeCodec;
use crate::format::{FormatId, Problem};
use crate::table::Style;

/// bincode, by version 2 of the crate of that name.
///
/// ```
/// use im_serial::{Bincode, Format, FormatId};
/// assert_eq!((Bincode.id(), Bincode.name()), (FormatId::BINCODE, "bincode"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

/// How many bytes a body may declare in all, numbers counted at their full size. Far above every body of this protocol; it
/// is the crate's own guard, in addition to the check against the bytes that are there.
const LIMIT: usize = 16 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> = bincode::config::standard().with_limit::<LIMIT>();

impl SerdeCodec for Bincode {
    const ID: FormatId = FormatId::BINCODE;
    const NAME: &'static str = "bincode";
    const STYLE: Style = Style::Places;

    #[inline]
    fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ()> {
        bincode::serde::encode_into_writer(value, Append(out), CONFIG).map_err(|_| ())
    }

    #[inline]
    fn read<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8], _: &Limits) -> Result<S::Value, Problem> {
        match bincode::serde::seed_decode_from_slice(seed, bytes, CONFIG) {
            Ok((value, len)) if len == bytes.len() => Ok(value),
            Ok(_) => Err(Problem::TrailingBytes),
            Err(error) => Err(problem(&error)),
        }
    }
}

/// The end of a vector that stays the caller's.
struct Append<'a>(&'a mut Vec<u8>);

impl Writer for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cold]
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are bad values")]
fn problem(error: &DecodeError) -> Problem {
    match error {
        // More is declared than any body has.
        DecodeError::UnexpectedEnd { .. } | DecodeError::LimitExceeded => Problem::Truncated,
        DecodeError::Utf8 { .. } => Problem::BadString,
        _ => Problem::Malformed,
    }
}
