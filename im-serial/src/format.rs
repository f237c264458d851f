//! One interface for every serialization.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::body::{Body, Kind};
use crate::budget::Limits;
use crate::class::{Class, Record};

/// A serialization id: byte 18 of the packet header. 1 to 63 belong to this protocol, 64 to 127 to applications.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatId(pub u8);

impl FormatId {
    /// JSON.
    pub const JSON: Self = Self(2);
    /// Protocol Buffers.
    pub const PROTOBUF: Self = Self(6);
    /// MessagePack, structs as maps.
    pub const MSGPACK: Self = Self(16);
}

impl fmt::Debug for FormatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatId({})", self.0)
    }
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Longer than the limit.
    TooLarge,
    /// Not the format's syntax, or a value of the wrong type.
    Malformed,
    /// The body ends early.
    Truncated,
    /// Bytes follow the body.
    TrailingBytes,
    /// Values nest deeper than the limit.
    TooDeep,
    /// More values than the limit.
    TooManyElements,
    /// A string longer than the limit.
    StringTooLong,
    /// Reading it would allocate more than the limit.
    AllocationBudget,
    /// A string that is not text: bad UTF-8, or half of a surrogate pair.
    BadString,
    /// It names a class that is not in the class table.
    UnknownClass,
    /// It is of another class than its message type has.
    WrongClass,
    /// It refers back to a value that may not be shared (anything but strings, byte strings and class descriptions).
    BackReference,
    /// A construct of the format that no body of this protocol has.
    Unsupported,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is longer than the limit",
            Self::Malformed => "it is not well-formed",
            Self::Truncated => "it ends early",
            Self::TrailingBytes => "bytes follow its end",
            Self::TooDeep => "it nests deeper than the limit",
            Self::TooManyElements => "it has more values than the limit",
            Self::StringTooLong => "a string in it is longer than the limit",
            Self::AllocationBudget => "reading it would allocate more than the limit",
            Self::BadString => "a string in it is not valid text",
            Self::UnknownClass => "it names a class that is not in the class table",
            Self::WrongClass => "it is of another class than its message type has",
            Self::BackReference => "it refers back to a value that may not be shared",
            Self::Unsupported => "it uses a construct that no body of this protocol has",
        })
    }
}

/// A body that could not be read. The peer's fault, except for what hits a [`Limits`], which may be a local limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Name of the format.
    pub format: &'static str,
    /// What the body should have been.
    pub class: &'static Class,
    /// What is wrong.
    pub problem: Problem,
    /// Offset + 1, 0 for unknown.
    at: u32,
}

impl DecodeError {
    /// An error of a format; `offset` is where in the body, if the format knows.
    pub fn new(format: &'static str, class: &'static Class, problem: Problem, offset: Option<usize>) -> Self {
        let at = offset.and_then(|at| u32::try_from(at).ok()?.checked_add(1)).unwrap_or(0);
        Self { format, class, problem, at }
    }

    /// Where in the body, in bytes, if the format knows.
    pub const fn offset(&self) -> Option<usize> {
        match self.at {
            0 => None,
            at => Some(at as usize - 1),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, class, problem, .. } = self;
        write!(f, "the {format} body of a {} packet cannot be read: {problem}", class.name)?;
        match self.offset() {
            Some(at) => write!(f, " (at byte {at})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for DecodeError {}

/// A body that could not be written. A caller's or a format's fault; the output is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {} body cannot be written as {format}", class.name)]
pub struct EncodeError {
    /// Name of the format.
    pub format: &'static str,
    /// The body's class.
    pub class: &'static Class,
}

/// A serialization. Object-safe, so that a session holds whichever was negotiated.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use im_serial::{body::{Conversation, Send}, Body, Format, Json, Kind, Limits};
/// let body = Body::from(Send { to: Conversation::private("bob"), content_type: 1, content: b"hi".to_vec() });
/// let mut out = Vec::new();
/// Json.encode(&body, &mut out).unwrap();
/// assert_eq!(out, br#"{"to":{"kind":1,"id":"bob"},"content_type":1,"content":"aGk="}"#);
/// assert_eq!(Json.decode(Kind::Send, &out, &Limits::default()).unwrap(), body);
/// # }
/// ```
pub trait Format: Send + Sync {
    /// The id on the wire.
    fn id(&self) -> FormatId;

    /// The name for people.
    fn name(&self) -> &'static str;

    /// Appends the body to `out`; on an error `out` is as it was.
    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Reads exactly one body of the record's class into it. Bytes after it are an error. On an error the record holds
    /// anything.
    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError>;

    /// As [`encode_record`](Self::encode_record), for a body of version 2. A format may have a faster way, with the
    /// same bytes.
    fn encode(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_record(body.as_record(), out)
    }

    /// As [`decode_record`](Self::decode_record), for a body of version 2.
    fn decode(&self, kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Body, DecodeError> {
        Body::from_record(kind, |record| self.decode_record(record, bytes, limits))
    }
}

/// The formats that a side is ready to speak, in its order of preference.
///
/// ```
/// # #[cfg(all(feature = "json", feature = "protobuf", feature = "msgpack"))] {
/// use im_serial::{FormatId, Registry};
/// let formats = Registry::default();
/// assert_eq!(formats.ids(), [FormatId::PROTOBUF, FormatId::MSGPACK, FormatId::JSON]);
/// assert_eq!(formats.get(FormatId::JSON).unwrap().name(), "json");
/// # }
/// ```
#[derive(Clone)]
pub struct Registry {
    formats: Vec<Arc<dyn Format>>,
}

impl Registry {
    /// No format yet.
    pub const fn empty() -> Self {
        Self { formats: Vec::new() }
    }

    /// Adds a format at the end; one with the same id is replaced in its place.
    #[must_use]
    pub fn with(mut self, format: impl Format + 'static) -> Self {
        let format: Arc<dyn Format> = Arc::new(format);
        match self.formats.iter_mut().find(|known| known.id() == format.id()) {
            Some(known) => *known = format,
            None => self.formats.push(format),
        }
        self
    }

    /// Only the formats of `ids`, in that order; unknown ids are left out.
    #[must_use]
    pub fn select(&self, ids: &[FormatId]) -> Self {
        Self { formats: ids.iter().filter_map(|id| self.get(*id)).cloned().collect() }
    }

    /// The format with this id.
    pub fn get(&self, id: FormatId) -> Option<&Arc<dyn Format>> {
        self.formats.iter().find(|format| format.id() == id)
    }

    /// The ids, most preferred first.
    pub fn ids(&self) -> Vec<FormatId> {
        self.formats.iter().map(|format| format.id()).collect()
    }
}

impl Default for Registry {
    /// Every format that is compiled in: protobuf, MessagePack, JSON.
    fn default() -> Self {
        let registry = Self::empty();
        #[cfg(feature = "protobuf")]
        let registry = registry.with(crate::Protobuf);
        #[cfg(feature = "msgpack")]
        let registry = registry.with(crate::MsgPack);
        #[cfg(feature = "json")]
        let registry = registry.with(crate::Json);
        registry
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.formats.iter().map(|format| format.name())).finish()
    }
}

#[cfg(any(feature = "serde", feature = "protobuf"))]
pub(crate) mod codec {
    //! What the formats of this crate are made of, one for all bodies.
    use super::*;
    use crate::wire::{Make, Visit, Wire};

    /// A serialization of every body type. Not nameable outside of this crate.
    pub trait Codec: Send + Sync {
        const ID: FormatId;
        const NAME: &'static str;
        fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()>;
        /// Exactly one value; bytes after it are a problem.
        fn read<T: Wire>(bytes: &[u8]) -> Result<T, Problem>;
    }

    struct Writing<'a, C>(&'a mut Vec<u8>, core::marker::PhantomData<C>);
    impl<C: Codec> Visit for Writing<'_, C> {
        type Out = Result<(), ()>;
        fn visit<T: Wire>(self, body: &T) -> Self::Out {
            C::write(body, self.0)
        }
    }

    struct Reading<'a, C>(&'a [u8], core::marker::PhantomData<C>);
    impl<C: Codec> Make for Reading<'_, C> {
        type Error = Problem;
        fn make<T: Wire>(self) -> Result<T, Problem> {
            C::read(self.0)
        }
    }

    impl<C: Codec> Format for C {
        fn id(&self) -> FormatId {
            C::ID
        }

        fn name(&self) -> &'static str {
            C::NAME
        }

        fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
            let _ = out;
            Err(EncodeError { format: C::NAME, class: record.class() })
        }

        fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
            let _ = (bytes, limits);
            Err(DecodeError::new(C::NAME, record.class(), Problem::Unsupported, None))
        }

        fn encode(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
            let start = out.len();
            body.visit(Writing::<C>(out, core::marker::PhantomData)).map_err(|()| {
                out.truncate(start);
                EncodeError { format: C::NAME, class: body.kind().class() }
            })
        }

        fn decode(&self, kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Body, DecodeError> {
            let error = |problem| DecodeError::new(C::NAME, kind.class(), problem, None);
            if bytes.len() > limits.max_body {
                return Err(error(Problem::TooLarge));
            }
            Body::make(kind, Reading::<C>(bytes, core::marker::PhantomData)).map_err(error)
        }
    }
}
