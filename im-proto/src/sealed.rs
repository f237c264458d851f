//! Content that only devices can read: one part for each device, encrypted by the sender's application. This library moves the
//! parts and never looks into them; it does no end-to-end encryption itself, and knows no keys of it.

use alloc::vec::Vec;
use core::fmt;

use im_serial::Body;
use im_serial::body::{Conversation, SendSealed};

use crate::config::valid_name;
use crate::entry::Entry;
use crate::outbox::{Outgoing, PacketId};

/// Why a list of parts is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// There is no part.
    #[error("a sealed message has no part")]
    Empty,
    /// A user or device without a valid name.
    #[error("a part names a user or device that is not valid: 1 to 128 bytes without control characters")]
    Name,
    /// Two parts for one device, or parts that are not in ascending order of user and device.
    #[error("the parts are not in ascending order of user and device, each once")]
    Order,
    /// Bytes that are no list of parts.
    #[error("the parts are cut short")]
    Truncated,
}

/// One part of a sealed message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealedPart<'a> {
    /// Whose device.
    pub user: &'a str,
    /// Which device.
    pub device: &'a str,
    /// What that device decrypts.
    pub content: &'a [u8],
}

/// Never shows content.
impl fmt::Debug for SealedPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedPart({}, {}, <{} bytes>)", self.user, self.device, self.content.len())
    }
}

/// The parts of a sealed message, for each device at most one: always well formed, and one form for one list, so that equal
/// lists are equal bytes.
///
/// ```
/// use im_proto::{Entry, SealedParts};
/// let parts = SealedParts::new(&[("bob", "desk", "for the desk"), ("alice", "tablet", "for my own")])?;
/// assert_eq!(parts.part("bob", "desk"), Some(&b"for the desk"[..]));
/// assert_eq!(parts.entry(1, "bob", "phone"), Entry::NotForDevice { content_type: 1 });
/// // A store keeps the bytes as they are.
/// assert_eq!(SealedParts::from_bytes(parts.as_bytes().to_vec())?, parts);
/// # Ok::<(), im_proto::PartsError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SealedParts(Vec<u8>);

impl SealedParts {
    /// Parts from user, device and ciphertext, in any order.
    ///
    /// # Errors
    /// See [`PartsError`].
    pub fn new<T: AsRef<[u8]>>(parts: &[(&str, &str, T)]) -> Result<Self, PartsError> {
        let mut sorted: Vec<_> =
            parts.iter().map(|(user, device, content)| (*user, *device, content.as_ref())).collect();
        sorted.sort_unstable_by_key(|(user, device, _)| (*user, *device));
        let mut bytes = Vec::new();
        for (user, device, content) in sorted {
            for name in [user, device] {
                bytes.push(u8::try_from(name.len()).map_err(|_| PartsError::Name)?);
                bytes.extend_from_slice(name.as_bytes());
            }
            let len = u32::try_from(content.len()).map_err(|_| PartsError::Truncated)?;
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(content);
        }
        Self::from_bytes(bytes)
    }

    /// Parts as they stand on the wire, and in a store.
    ///
    /// # Errors
    /// See [`PartsError`]. Nothing is allocated.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, PartsError> {
        let mut rest = &bytes[..];
        let mut last = None;
        while !rest.is_empty() {
            let (part, behind) = split(rest)?;
            let device = (part.user, part.device);
            if last.is_some_and(|last| last >= device) {
                return Err(PartsError::Order);
            }
            (last, rest) = (Some(device), behind);
        }
        if last.is_none() {
            return Err(PartsError::Empty);
        }
        Ok(Self(bytes))
    }

    /// The bytes of the wire. What identifies a message over retries covers all of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parts, in ascending order of user and device.
    pub fn iter(&self) -> impl Iterator<Item = SealedPart<'_>> {
        let mut rest = &self.0[..];
        core::iter::from_fn(move || {
            let (part, behind) = split(rest).ok()?;
            rest = behind;
            Some(part)
        })
    }

    /// The part for a device, if there is one.
    pub fn part(&self, user: &str, device: &str) -> Option<&[u8]> {
        self.iter().find(|part| (part.user, part.device) == (user, device)).map(|part| part.content)
    }

    /// What stands in the log for a device: its part and no other, or that there is none.
    pub fn entry(&self, content_type: u32, user: &str, device: &str) -> Entry {
        match self.part(user, device) {
            Some(part) => Entry::Sealed { content_type, part: part.to_vec() },
            None => Entry::NotForDevice { content_type },
        }
    }
}

/// Never shows content.
impl fmt::Debug for SealedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The first part and what is behind it.
fn split(bytes: &[u8]) -> Result<(SealedPart<'_>, &[u8]), PartsError> {
    let (user, bytes) = name(bytes)?;
    let (device, bytes) = name(bytes)?;
    let (len, bytes) = bytes.split_first_chunk().ok_or(PartsError::Truncated)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| PartsError::Truncated)?;
    let (content, bytes) = bytes.split_at_checked(len).ok_or(PartsError::Truncated)?;
    Ok((SealedPart { user, device, content }, bytes))
}

fn name(bytes: &[u8]) -> Result<(&str, &[u8]), PartsError> {
    let (len, bytes) = bytes.split_first().ok_or(PartsError::Truncated)?;
    let (name, bytes) = bytes.split_at_checked(usize::from(*len)).ok_or(PartsError::Truncated)?;
    let name = core::str::from_utf8(name).ok().filter(|name| valid_name(name)).ok_or(PartsError::Name)?;
    Ok((name, bytes))
}

/// A message whose parts the sender's application encrypted, one for each device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedMessage {
    /// Where to: a private conversation or a group.
    pub to: Conversation,
    /// What the content is once it is decrypted; see [`crate::content_type`].
    pub content_type: u32,
    /// The parts.
    pub parts: SealedParts,
}

impl Outgoing for SealedMessage {
    fn allocated(&self) -> usize {
        self.parts.0.capacity() + self.to.id.allocated()
    }

    fn into_body(self) -> Body {
        let Self { to, content_type, parts } = self;
        SendSealed { to, content_type, parts: parts.0 }.into()
    }
}

/// A sealed message that a client wants stored as one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSubmission {
    /// The sender's id of the message, as of any other; what it identifies covers all parts.
    pub packet_id: PacketId,
    /// Where to: a valid name of a private conversation or a group.
    pub to: Conversation,
    /// What the content is once it is decrypted.
    pub content_type: u32,
    /// The parts, within the limits. Which devices a user has is not checked: a part for nobody is never delivered.
    pub parts: SealedParts,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn raw(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (user, device, content) in parts {
            for name in [user, device] {
                bytes.push(name.len() as u8);
                bytes.extend_from_slice(name.as_bytes());
            }
            bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
            bytes.extend_from_slice(content);
        }
        bytes
    }

    #[test]
    fn one_list_has_one_form_and_each_device_its_part() {
        let parts = SealedParts::new(&[("bob", "desk", "1"), ("alice", "b", "22"), ("bob", "a", "")]).unwrap();
        assert_eq!(parts.as_bytes(), raw(&[("alice", "b", b"22"), ("bob", "a", b""), ("bob", "desk", b"1")]));
        assert_eq!(parts.iter().count(), 3);
        assert_eq!(parts.entry(7, "bob", "desk"), Entry::Sealed { content_type: 7, part: b"1".to_vec() });
        assert_eq!(parts.entry(7, "bob", "a"), Entry::Sealed { content_type: 7, part: vec![] });
        assert_eq!(parts.entry(7, "desk", "bob"), Entry::NotForDevice { content_type: 7 });
        assert!(!format!("{parts:?}").contains("22"));
    }

    #[test]
    fn what_is_no_list_of_parts_says_why_and_every_prefix_is_none() {
        let long = "x".repeat(129);
        for (parts, want) in [
            (raw(&[]), PartsError::Empty),
            (raw(&[("", "a", b"")]), PartsError::Name),
            (raw(&[("a", "b\n", b"")]), PartsError::Name),
            (raw(&[(&long, "a", b"")]), PartsError::Name),
            (raw(&[("a", "b", b""), ("a", "b", b"")]), PartsError::Order),
            (raw(&[("b", "a", b""), ("a", "b", b"")]), PartsError::Order),
            (vec![1, b'a', 1, b'b', 0xff, 0xff, 0xff, 0xff], PartsError::Truncated),
            (vec![1, 0xff, 1, b'b', 0, 0, 0, 0], PartsError::Name),
        ] {
            assert_eq!(SealedParts::from_bytes(parts), Err(want));
        }
        assert_eq!(SealedParts::new(&[("a", "b", ""), ("a", "b", "")]), Err(PartsError::Order));
        let one = raw(&[("alice", "phone", b"content")]);
        for end in 1..one.len() {
            assert_eq!(SealedParts::from_bytes(one[..end].to_vec()), Err(PartsError::Truncated), "{end}");
        }
        assert!(SealedParts::from_bytes(one).is_ok());
    }
}
