//! A cursor over a body.

use crate::format::Problem;

/// Reads from the front of a body. Every read checks what is left first.
///
/// ```
/// use im_serial::{Problem, class::Reader};
/// let mut reader = Reader::new(&[0, 3, b'a', b'b']);
/// let len = u16::from_be_bytes(reader.array()?);
/// assert_eq!(reader.take(len.into()), Err(Problem::Truncated));
/// assert_eq!((reader.offset(), reader.take(2)?), (2, &b"ab"[..]));
/// reader.end()?;
/// # Ok::<(), Problem>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes were read.
    pub const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Problem::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Problem> {
        self.array().map(|[byte]| byte)
    }

    /// The next byte, left in place.
    pub fn peek(&self) -> Result<u8, Problem> {
        self.rest.first().copied().ok_or(Problem::Truncated)
    }

    /// A LEB128 integer of up to 64 bits in at most ten bytes, as protobuf and thrift write it.
    pub fn varint(&mut self) -> Result<u64, Problem> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if shift == 63 && byte > 1 { Err(Problem::Malformed) } else { Ok(value) };
            }
        }
        Err(Problem::Malformed)
    }

    /// A declared length or count: an error when more is declared than bytes are left, so that it can never make
    /// anybody allocate for what did not arrive.
    pub fn check(&self, declared: u64) -> Result<usize, Problem> {
        usize::try_from(declared).ok().filter(|n| *n <= self.rest.len()).ok_or(Problem::Truncated)
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), Problem> {
        if self.rest.is_empty() { Ok(()) } else { Err(Problem::TrailingBytes) }
    }
}
