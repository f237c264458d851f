//! What a side speaks: its formats, and the bodies of its message types.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::body::Kind;
use crate::budget::Limits;
use crate::class::{Class, Declared, Record};
use crate::format::{DecodeError, EncodeError, Format, FormatId};

/// The formats that a side is ready to speak, in its order of preference, and the bodies that it knows: those of version 2,
/// and what an application adds. What is not in here is refused by name.
///
/// ```
/// # #[cfg(all(feature = "json", feature = "protobuf", feature = "msgpack"))] {
/// use im_serial::{FormatId, Registry};
/// let registry = Registry::default().select(&[FormatId::PROTOBUF, FormatId::MSGPACK, FormatId::JSON]);
/// assert_eq!(registry.ids(), [FormatId::PROTOBUF, FormatId::MSGPACK, FormatId::JSON]);
/// assert_eq!(registry.get(FormatId::JSON).unwrap().name(), "json");
/// let error = registry.format(FormatId::KRYO).err().unwrap();
/// assert_eq!(error.to_string(), "serialization 5 (kryo) is not enabled here");
/// # }
/// ```
#[derive(Clone)]
pub struct Registry {
    formats: Vec<Arc<dyn Format>>,
    bodies: Vec<(u8, &'static Class)>,
    #[cfg(feature = "v1")]
    version1: bool,
}

/// A format or body that cannot be registered. The caller's fault.
///
/// ```
/// use im_serial::{Registry, RegisterError};
/// im_serial::record! { pub struct Poll: "com.example.Poll", suid 1 { 1 => pub question: String; } }
/// assert_eq!(Registry::empty().with_body::<Poll>(32).err(), Some(RegisterError::MessageType(32)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The format's id is neither of this protocol nor an application's.
    #[error("serialization {0:?} is reserved: a format of an application has an id from 64 to 127")]
    Format(FormatId),
    /// The message type is not an application's.
    #[error("message type {0} is reserved: a body of an application has a message type from 128 to 191")]
    MessageType(u8),
    /// The message type has a body already.
    #[error("message type {0} has a body already")]
    Taken(u8),
}

/// What is not registered. The peer's fault, or the caller's.
///
/// ```
/// # use im_serial::{Registry, Unknown};
/// assert_eq!(Registry::empty().class(200), Err(Unknown::MessageType(200)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// No format with this id is enabled.
    Format(FormatId),
    /// No body is registered for this message type.
    MessageType(u8),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(id) => match id.known_name() {
                Some(name) => write!(f, "serialization {} ({name}) is not enabled here", id.0),
                None => write!(f, "serialization {} is not known here", id.0),
            },
            Self::MessageType(code) => write!(f, "message type {code} has no body that is known here"),
        }
    }
}

impl core::error::Error for Unknown {}

/// A body that could not be read, written or transcoded.
///
/// ```
/// # use im_serial::{Error, FormatId, Limits, Registry, Unknown};
/// let error = Registry::empty().decode(FormatId::JDK, 16, b"", &Limits::default()).unwrap_err();
/// assert_eq!(error, Error::Unknown(Unknown::Format(FormatId::JDK)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The format or the message type is not registered.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// See [`DecodeError`].
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// See [`EncodeError`].
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Registry {
    /// No format yet, and the bodies of version 2.
    pub const fn empty() -> Self {
        Self {
            formats: Vec::new(),
            bodies: Vec::new(),
            #[cfg(feature = "v1")]
            version1: false,
        }
    }

    /// Adds a format at the end; one with the same id is replaced in its place. The id must be one of this protocol's, for
    /// an implementation of that format, or an application's, 64 to 127.
    pub fn with(mut self, format: impl Format + 'static) -> Result<Self, RegisterError> {
        let id = format.id();
        if id.known_name().is_none() && !id.is_application() {
            return Err(RegisterError::Format(id));
        }
        self.put(Arc::new(format));
        Ok(self)
    }

    fn put(&mut self, format: Arc<dyn Format>) {
        match self.formats.iter_mut().find(|known| known.id() == format.id()) {
            Some(known) => *known = format,
            None => self.formats.push(format),
        }
    }

    /// Adds a body of an application, declared by [`record!`](crate::record), for a message type from 128 to 191.
    pub fn with_body<T: Declared>(mut self, message_type: u8) -> Result<Self, RegisterError> {
        match self.bodies.iter().find(|(known, _)| *known == message_type) {
            _ if !matches!(message_type, 128..=191) => Err(RegisterError::MessageType(message_type)),
            Some(_) => Err(RegisterError::Taken(message_type)),
            None => {
                self.bodies.push((message_type, T::CLASS));
                Ok(self)
            }
        }
    }

    /// Also knows the message types of version 1.
    #[cfg(feature = "v1")]
    #[must_use]
    pub const fn with_version1(mut self) -> Self {
        self.version1 = true;
        self
    }

    /// Only the formats of `ids`, in that order; ids that are not in here are left out. The bodies stay.
    #[must_use]
    pub fn select(&self, ids: &[FormatId]) -> Self {
        Self { formats: ids.iter().filter_map(|id| self.get(*id)).cloned().collect(), ..self.clone() }
    }

    /// The format with this id.
    pub fn get(&self, id: FormatId) -> Option<&Arc<dyn Format>> {
        self.formats.iter().find(|format| format.id() == id)
    }

    /// As [`get`](Self::get), with an error that names the id.
    pub fn format(&self, id: FormatId) -> Result<&Arc<dyn Format>, Unknown> {
        self.get(id).ok_or(Unknown::Format(id))
    }

    /// The ids, most preferred first.
    pub fn ids(&self) -> Vec<FormatId> {
        self.formats.iter().map(|format| format.id()).collect()
    }

    /// The class of a message type's body.
    pub fn class(&self, message_type: u8) -> Result<&'static Class, Unknown> {
        if let Some(kind) = Kind::from_code(message_type) {
            return Ok(kind.class());
        }
        #[cfg(feature = "v1")]
        if self.version1
            && let Some(class) = crate::v1::class(message_type)
        {
            return Ok(class);
        }
        let own = self.bodies.iter().find(|(known, _)| *known == message_type);
        own.map(|(_, class)| *class).ok_or(Unknown::MessageType(message_type))
    }

    /// Appends a body to `out`. It must be of the class of its message type; on an error `out` is as it was.
    pub fn encode(
        &self,
        format: FormatId,
        message_type: u8,
        body: &dyn Record,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let format = self.format(format)?;
        if self.class(message_type)? != body.class() {
            return Err(EncodeError { format: format.name(), class: body.class() }.into());
        }
        Ok(format.encode_record(body, out)?)
    }

    /// Reads exactly one body of the class of its message type.
    pub fn decode(
        &self,
        format: FormatId,
        message_type: u8,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Box<dyn Record>, Error> {
        let format = self.format(format)?;
        let mut body = (self.class(message_type)?.new)();
        format.decode_record(&mut *body, bytes, limits)?;
        Ok(body)
    }

    /// Appends to `out` in one format what came in another. It is always decoded, under the limits; the original bytes are
    /// passed on only where the format is the same. On an error `out` is as it was.
    ///
    /// ```
    /// # #[cfg(all(feature = "json", feature = "msgpack"))] {
    /// use im_serial::{FormatId, Limits, Registry};
    /// let (registry, limits) = (Registry::default(), Limits::default());
    /// let mut out = Vec::new();
    /// registry.transcode(FormatId::JSON, FormatId::MSGPACK, 18, br#"{"code":4000}"#, &limits, &mut out).unwrap();
    /// assert_eq!(out, b"\x83\xa4code\xcd\x0f\xa0\xa6reason\xa0\xaeretry_after_ms\0");
    /// # }
    /// ```
    pub fn transcode(
        &self,
        from: FormatId,
        to: FormatId,
        message_type: u8,
        bytes: &[u8],
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.format(to)?;
        let body = self.decode(from, message_type, bytes, limits)?;
        if from == to {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        self.encode(to, message_type, &*body, out)
    }
}

impl Default for Registry {
    /// Every format of this crate that is compiled in.
    fn default() -> Self {
        #[allow(unused_mut, reason = "there may be no format")]
        let mut registry = Self::empty();
        #[cfg(feature = "protobuf")]
        registry.put(Arc::new(crate::Protobuf));
        #[cfg(feature = "msgpack")]
        registry.put(Arc::new(crate::MsgPack));
        #[cfg(feature = "json")]
        registry.put(Arc::new(crate::Json));
        #[cfg(feature = "cbor")]
        registry.put(Arc::new(crate::Cbor));
        #[cfg(feature = "thrift")]
        registry.put(Arc::new(crate::Thrift));
        #[cfg(feature = "postcard")]
        registry.put(Arc::new(crate::Postcard));
        #[cfg(feature = "bincode")]
        registry.put(Arc::new(crate::Bincode));
        registry
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.formats.iter().map(|format| format.name())).finish()
    }
}
