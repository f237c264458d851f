//! Names of users, groups, rooms and channels.

use alloc::string::String;
use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;

use smol_str::SmolStr;

/// The name of a user, group, room or channel: a string of any length that is never changed. Up to [`INLINE`](Self::INLINE)
/// bytes it allocates nothing; a longer one is shared by its clones.
///
/// ```
/// use im_serial::body::Name;
/// let name = Name::from("alice");
/// assert_eq!((&*name, name.allocated()), ("alice", 0));
/// assert_eq!(name, "alice");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

impl Name {
    /// How long a name may be that allocates nothing, in bytes.
    pub const INLINE: usize = 23;

    /// The name as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many bytes it allocates, those that it shares with its clones counted in full.
    pub fn allocated(&self) -> usize {
        // An `Arc<str>` has two counters before the text.
        if self.0.is_heap_allocated() { self.0.len() + 2 * size_of::<usize>() } else { 0 }
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(SmolStr::new(name))
    }
}

impl From<&String> for Name {
    fn from(name: &String) -> Self {
        Self(SmolStr::new(name))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&Self> for Name {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Name {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Name> for str {
    fn eq(&self, other: &Name) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Name> for &str {
    fn eq(&self, other: &Name) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<Name> for String {
    fn eq(&self, other: &Name) -> bool {
        self == other.as_str()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        crate::text::string::serialize(self, to)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        crate::text::string::deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_allocates() {
        let (short, long) = ("x".repeat(Name::INLINE), "x".repeat(Name::INLINE + 1));
        assert_eq!(Name::from(&short).allocated(), 0);
        let counted = allocation_counter::measure(|| assert_eq!(Name::from(&short), short));
        assert_eq!(counted.bytes_total, 0);
        let mut name = Name::default();
        let counted = allocation_counter::measure(|| name = Name::from(&long));
        assert_eq!(counted.bytes_total, name.allocated() as u64);
        let counted = allocation_counter::measure(|| assert_eq!(name.clone(), name));
        assert_eq!(counted.bytes_total, 0, "shared");
    }
}
