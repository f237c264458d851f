//! What a decode may cost.

use alloc::string::String;
use alloc::vec::Vec;

use crate::class::{Type, Value};
use crate::format::Problem;

/// What a decoder accepts. Reading by the class table obeys all of it. Where a body of version 2 is read by code that its
/// format's crate derives, `max_body` applies, and `max_depth` in MessagePack and CBOR: such a body has no lists, so that what
/// it allocates is bounded by its length, and the other crates skip values within a depth of their own or without the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest body, in bytes.
    pub max_body: usize,
    /// How deep values may nest, skipped ones included.
    pub max_depth: usize,
    /// How many values a body may have in all, skipped ones included.
    pub max_elements: usize,
    /// Longest string, in UTF-16 units as Java counts.
    pub max_string_units: usize,
    /// How many bytes a decode may allocate in all; values that are repeated by reference count each time.
    pub max_total_alloc: usize,
}

impl Limits {
    /// The defaults for bodies of up to `max_body` bytes: depth 16, 4,096 values, strings as long as the body, and
    /// allocations of four times the body plus 4 KiB.
    ///
    /// ```
    /// # use im_serial::Limits;
    /// assert_eq!(Limits::new(1024).max_total_alloc, 8192);
    /// ```
    pub const fn new(max_body: usize) -> Self {
        Self {
            max_body,
            max_depth: 16,
            max_elements: 4096,
            max_string_units: max_body,
            max_total_alloc: max_body.saturating_mul(4).saturating_add(4096),
        }
    }
}

impl Default for Limits {
    /// 64 KiB, the default of the packet.
    fn default() -> Self {
        Self::new(64 * 1024)
    }
}

/// What is left of the [`Limits`] during one decode.
///
/// ```
/// use im_serial::{Limits, Problem, class::Budget};
/// let mut budget = Budget::new(&Limits::new(16));
/// assert_eq!(budget.bytes(b"within")?, b"within");
/// assert_eq!(budget.alloc(1 << 40), Err(Problem::AllocationBudget));
/// # Ok::<(), Problem>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    depth: usize,
    elements: usize,
    string_units: usize,
    alloc: usize,
}

impl Budget {
    /// A full budget.
    pub const fn new(limits: &Limits) -> Self {
        Self {
            depth: limits.max_depth,
            elements: limits.max_elements,
            string_units: limits.max_string_units,
            alloc: limits.max_total_alloc,
        }
    }

    /// Goes one level down; [`leave`](Self::leave) comes back.
    pub fn enter(&mut self) -> Result<(), Problem> {
        self.depth = self.depth.checked_sub(1).ok_or(Problem::TooDeep)?;
        Ok(())
    }

    /// Comes back from [`enter`](Self::enter).
    pub fn leave(&mut self) {
        self.depth += 1;
    }

    /// Counts `n` values.
    pub fn elements(&mut self, n: usize) -> Result<(), Problem> {
        self.elements = self.elements.checked_sub(n).ok_or(Problem::TooManyElements)?;
        Ok(())
    }

    /// Checks the length of a string in UTF-16 units.
    pub fn units(&self, n: usize) -> Result<(), Problem> {
        if n > self.string_units { Err(Problem::StringTooLong) } else { Ok(()) }
    }

    /// Counts `n` bytes that are about to be allocated.
    pub fn alloc(&mut self, n: usize) -> Result<(), Problem> {
        self.alloc = self.alloc.checked_sub(n).ok_or(Problem::AllocationBudget)?;
        Ok(())
    }

    /// A copy of `bytes`, counted.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Problem> {
        self.alloc(bytes.len())?;
        Ok(bytes.to_vec())
    }

    /// A copy of a UTF-8 string, checked and counted.
    pub fn utf8(&mut self, bytes: &[u8]) -> Result<String, Problem> {
        self.text(core::str::from_utf8(bytes).map_err(|_| Problem::BadString)?)
    }

    /// A copy of a string, checked and counted.
    pub fn text(&mut self, text: &str) -> Result<String, Problem> {
        if text.len() > self.string_units {
            self.units(text.chars().map(char::len_utf16).sum())?;
        }
        self.alloc(text.len())?;
        Ok(String::from(text))
    }

    /// Counts one element of a list, with its place in the list while it is read, when the list may have twice the room
    /// that it needs and be on the move, and in the field. What the element points at is extra.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are at most as large as a string")]
    pub fn element(&mut self, ty: &Type) -> Result<(), Problem> {
        let size = match ty {
            Type::Record(class) => class.size,
            _ => size_of::<String>(),
        };
        self.elements(1)?;
        self.alloc(3 * (size_of::<Value>() + size))
    }
}
