//! One interface for every serialization.

use alloc::vec::Vec;
use core::fmt;

use crate::body::{Body, Kind};
use crate::budget::Limits;
use crate::class::{Class, Record};

/// A serialization id: byte 18 of the packet header. 1 to 63 belong to this protocol, 64 to 127 to applications.
///
/// ```
/// use im_serial::FormatId;
/// assert_eq!(FormatId::KRYO.known_name(), Some("kryo"));
/// assert!(FormatId(64).is_application() && FormatId(64).known_name().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatId(pub u8);

macro_rules! format_ids {
    ($( $(#[$doc:meta])* $name:ident = $id:literal, $text:literal; )*) => {
        impl FormatId {
            $( $(#[$doc])* pub const $name: Self = Self($id); )*

            /// Every id of this protocol.
            pub const KNOWN: &[Self] = &[$( Self::$name ),*];

            /// What the specification calls this id, whether or not its format is compiled in or enabled.
            pub const fn known_name(self) -> Option<&'static str> {
                match self.0 {
                    $( $id => Some($text), )*
                    _ => None,
                }
            }
        }
    };
}

format_ids! {
    /// Java's `ObjectOutputStream`.
    JDK = 1, "jdk";
    /// JSON.
    JSON = 2, "json";
    /// Hessian 1.
    HESSIAN = 3, "hessian";
    /// Hessian 2.
    HESSIAN2 = 4, "hessian2";
    /// Kryo.
    KRYO = 5, "kryo";
    /// Protocol Buffers, which is also what protostuff writes.
    PROTOBUF = 6, "protobuf";
    /// Thrift's compact protocol.
    THRIFT = 7, "thrift";
    /// FST's JSON form.
    FST = 8, "fst";
    /// MessagePack, structs as maps.
    MSGPACK = 16, "msgpack";
    /// postcard.
    POSTCARD = 17, "postcard";
    /// CBOR, structs as maps.
    CBOR = 18, "cbor";
    /// The standard layout of bincode 2.
    BINCODE = 19, "bincode";
}

impl FormatId {
    /// Whether the id is one of those that applications may give to formats of their own: 64 to 127.
    pub const fn is_application(self) -> bool {
        matches!(self.0, 64..=127)
    }
}

impl fmt::Debug for FormatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatId({})", self.0)
    }
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
// A word, because one byte in a `Result` makes the compiler move the other variant in unaligned pieces: 10 ns of each decode.
#[repr(usize)]
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
