//! The bodies of version 2, each declared once: one declaration gives the struct, its serde names and its protobuf tags.
//!
//! A field that is missing on the wire has its default (empty, zero, false), in every format; an unknown field is
//! skipped. Both let a newer peer talk to an older one.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::class::{Class, Declared, Record};
#[cfg(any(feature = "serde", feature = "protobuf"))]
use crate::wire::{Make, Visit};

/// Declares the bodies. The tag is that of protobuf and thrift; `[..]` holds the protobuf type; `as "module"` the serde helper; `redacted` keeps a
/// field out of `Debug`, as byte strings always are.
macro_rules! bodies {
    ($(
        $(#[$doc:meta])*
        $name:ident = $code:literal {
            $( $(#[$fdoc:meta])* $tag:literal [$($pb:tt)*] $field:ident: $ty:ty $(as $with:tt)? $(=> $redacted:tt)?; )*
        }
    )*) => {
        $( wire_struct! {
            $(#[$doc])*
            $name { $( $(#[$fdoc])* $tag [$($pb)*] $field: $ty $(as $with)? $(=> $redacted)?; )* }
        } )*

        /// Which body a message type carries. The numbers are the message types of the packet header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Kind {
            $( $(#[$doc])* $name = $code, )*
        }

        impl Kind {
            /// Every kind, in order of its code.
            pub const ALL: &[Kind] = &[$( Kind::$name, )*];

            /// The kind of a message type, or `None` for a type that has no body of this protocol.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $( $code => Some(Self::$name), )* _ => None }
            }

            /// The message type.
            pub const fn code(self) -> u8 { self as u8 }

            /// The name, as the specification writes it.
            pub const fn name(self) -> &'static str {
                self.class().name
            }

            /// The class of its body.
            pub const fn class(self) -> &'static Class {
                match self { $( Self::$name => <$name as Declared>::CLASS, )* }
            }
        }

        /// Any body, tagged with its kind.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Body {
            $( $(#[$doc])* $name($name), )*
        }

        impl Body {
            /// The kind, and so the message type, of this body.
            pub const fn kind(&self) -> Kind {
                match self { $( Self::$name(_) => Kind::$name, )* }
            }

            /// The body as a record, for formats that are driven by the class table.
            pub fn as_record(&self) -> &dyn Record {
                match self { $( Self::$name(body) => body, )* }
            }

            /// A body of `kind` made by filling an empty one.
            pub fn from_record<E>(
                kind: Kind,
                fill: impl FnOnce(&mut dyn Record) -> Result<(), E>,
            ) -> Result<Self, E> {
                Ok(match kind { $( Kind::$name => {
                    let mut body = $name::default();
                    fill(&mut body)?;
                    Self::$name(body)
                } )* })
            }

            /// Calls `with` on the inner body.
            #[cfg(any(feature = "serde", feature = "protobuf"))]
            #[inline]
            pub(crate) fn visit<V: Visit>(&self, with: V) -> V::Out {
                match self { $( Self::$name(body) => with.visit(body), )* }
            }

            /// Makes a body of `kind` by calling `with` for its type.
            #[cfg(any(feature = "serde", feature = "protobuf"))]
            #[inline]
            pub(crate) fn make<M: Make>(kind: Kind, with: M) -> Result<Self, M::Error> {
                match kind { $( Kind::$name => with.make().map(Self::$name), )* }
            }
        }

        $( impl From<$name> for Body { fn from(body: $name) -> Self { Self::$name(body) } } )*
    };
}

macro_rules! wire_struct {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$fdoc:meta])* $tag:literal [$($pb:tt)*] $field:ident: $ty:ty $(as $with:tt)? $(=> $redacted:tt)?; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        #[cfg_attr(feature = "protobuf", derive(prost::Message), prost(skip_debug))]
        #[cfg_attr(not(feature = "protobuf"), derive(Default))]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        pub struct $name {
            $(
                $(#[$fdoc])*
                #[cfg_attr(feature = "protobuf", prost($($pb)*, tag = $tag))]
                $( #[cfg_attr(feature = "serde", serde(with = $with))] )?
                pub $field: $ty,
            )*
        }

        crate::record! { @impl Default $name, concat!("im.", stringify!($name)), 1, [], [],
            $( $tag, $field: $ty, field_type!($ty $(, $with)?), [], [], []; )*
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), debug_field!(self.$field $(, $redacted)? $(, $with)?)) )*
                    .finish()
            }
        }
    };
}

macro_rules! field_type {
    ($ty:ty, "crate::text::id") => {
        crate::class::Type::Id
    };
    ($ty:ty $(, $with:tt)?) => {
        <$ty as crate::class::FieldValue>::TYPE
    };
}

macro_rules! debug_field {
    ($value:expr) => {
        &$value
    };
    ($value:expr, redacted) => {
        &Redacted($value.len())
    };
    ($value:expr, "crate::text::bytes") => {
        &Redacted($value.len())
    };
    ($value:expr, redacted, "crate::text::string") => {
        &Redacted($value.len())
    };
    ($value:expr, "crate::text::id") => {
        &$value
    };
    ($value:expr, "crate::text::string") => {
        &$value
    };
}

/// Stands in `Debug` for content and tokens, so that they never reach a log line.
struct Redacted(usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

/// What kind of conversation a [`Conversation`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversationKind {
    /// With one other user.
    Private = 1,
}

wire_struct! {
    /// A conversation as one of its members names it: for a private one, the other user.
    #[derive(Eq, PartialOrd, Ord, Hash)]
    Conversation {
        /// See [`ConversationKind`].
        1 [uint32] kind: u32;
        /// The other user's id, for a private conversation.
        2 [string] id: String as "crate::text::string";
    }
}

impl Conversation {
    /// The private conversation with `user`.
    ///
    /// ```
    /// # use im_serial::body::Conversation;
    /// assert_eq!(Conversation::private("bob").to_string(), "private:bob");
    /// ```
    pub fn private(user: impl Into<String>) -> Self {
        Self { kind: ConversationKind::Private as u32, id: user.into() }
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            1 => write!(f, "private:{}", self.id),
            other => write!(f, "kind {other}:{}", self.id),
        }
    }
}

wire_struct! {
    /// What a device has of a conversation.
    Position {
        /// The conversation, as this device names it.
        1 [message, required] conversation: Conversation;
        /// The epoch of the log that the seqs below belong to.
        2 [uint64] epoch: u64;
        /// It has everything up to and including this seq.
        3 [uint64] seq: u64;
        /// Its application has everything up to and including this seq safe; at most `seq`.
        4 [uint64] acked: u64;
    }
}

wire_struct! {
    /// A conversation that does not continue where the device stands.
    Reload {
        /// The conversation, as this device names it.
        1 [message, required] conversation: Conversation;
        /// Why: 1 another epoch, 2 the position is not known, 3 the position is too old.
        2 [uint32] reason: u32;
        /// The epoch of the log now.
        3 [uint64] epoch: u64;
    }
}

bodies! {
    /// Who the client is. The first packet of a client inside the sealed channel.
    Login = 16 {
        /// The user's id.
        1 [string] user: String as "crate::text::string";
        /// The device's id, chosen by the client and stable over restarts.
        2 [string] device: String as "crate::text::string";
        /// Proof that the client is the user; what it must be is the server's policy. May be empty.
        3 [string] token: String as "crate::text::string" => redacted;
        /// How many deliveries may be unacked at once; 0 asks for none at all.
        4 [uint32] receive_max: u32;
        /// The session that the device wants to continue; 0 for none.
        5 [uint64] session: u64 as "crate::text::id";
        /// What the device has, the most recently active conversation first; at most 64.
        6 [message, repeated] positions: Vec<Position>;
    }
    /// The login was accepted.
    LoginOk = 17 {
        /// The user's id as the server knows it.
        1 [string] user: String as "crate::text::string";
        /// The server's clock, in Unix milliseconds.
        2 [uint64] server_time_ms: u64;
        /// A side that sent nothing for so many seconds sends a ping.
        3 [uint32] heartbeat_secs: u32;
        /// A side that heard nothing for so many seconds closes.
        4 [uint32] idle_secs: u32;
        /// How many messages may be sent and not yet answered.
        5 [uint32] send_max: u32;
        /// The session, to be named in later logins.
        6 [uint64] session: u64 as "crate::text::id";
        /// What becomes of the session and the positions that the login named: 0 another session, 1 recovered, 2 reload.
        7 [uint32] resume: u32;
        /// With 2: the conversations that do not continue; all others do.
        8 [message, repeated] reload: Vec<Reload>;
    }
    /// The last packet of a side.
    Close = 18 {
        /// A close code, see the specification.
        1 [uint32] code: u32;
        /// For people: what happened and what to do.
        2 [string] reason: String as "crate::text::string";
    }
    /// Asks for a sign of life.
    Ping = 19 {}
    /// Answers a ping.
    Pong = 20 {}
    /// A ticket, with which a later connection of this device resumes: used once.
    Ticket = 22 {
        /// The server's own bytes, at most 512.
        1 [bytes = "vec"] ticket: Vec<u8> as "crate::text::bytes";
        /// For how long it is good, in seconds.
        2 [uint32] lifetime_secs: u32;
    }
    /// The epoch of a conversation's log: all that follows of the conversation belongs to it.
    Epoch = 23 {
        /// The conversation, as the receiver names it.
        1 [message, required] conversation: Conversation;
        /// The epoch.
        2 [uint64] epoch: u64;
    }
    /// A message to be stored and delivered. The packet id of its header identifies it over retries.
    Send = 32 {
        /// Where to.
        1 [message, required] to: Conversation;
        /// What the content is: 1 text in UTF-8; 128 and above belong to applications.
        2 [uint32] content_type: u32;
        /// The content.
        3 [bytes = "vec"] content: Vec<u8> as "crate::text::bytes";
    }
    /// The message whose packet id the header repeats is durable.
    Stored = 33 {
        /// The conversation, as the sender names it.
        1 [message, required] conversation: Conversation;
        /// The server's id of the message.
        2 [uint64] message_id: u64 as "crate::text::id";
        /// Its place in the conversation: dense, from 1.
        3 [uint64] seq: u64;
        /// When it was stored, in Unix milliseconds.
        4 [uint64] time_ms: u64;
        /// It was stored by an earlier try.
        5 [bool] duplicate: bool;
        /// This packet also takes the message's place in the device's own stream: the receiver counts `seq` as had.
        6 [bool] in_stream: bool;
    }
    /// The message whose packet id the header repeats was not stored.
    Refused = 34 {
        /// A refusal code, see the specification.
        1 [uint32] code: u32;
        /// For people: what happened and what to do.
        2 [string] reason: String as "crate::text::string";
        /// The same packet may be sent again later.
        3 [bool] retry: bool;
    }
    /// A stored message for this device.
    Deliver = 35 {
        /// The conversation, as the receiver names it.
        1 [message, required] conversation: Conversation;
        /// Who sent it.
        2 [string] from: String as "crate::text::string";
        /// The server's id of the message.
        3 [uint64] message_id: u64 as "crate::text::id";
        /// Its place in the conversation: dense, from 1.
        4 [uint64] seq: u64;
        /// When it was stored, in Unix milliseconds.
        5 [uint64] time_ms: u64;
        /// What the content is, as in `Send`.
        6 [uint32] content_type: u32;
        /// The content.
        7 [bytes = "vec"] content: Vec<u8> as "crate::text::bytes";
    }
    /// This device has every message of the conversation up to and including `up_to`.
    Delivered = 36 {
        /// The conversation, as this device names it.
        1 [message, required] conversation: Conversation;
        /// The highest seq of the run without a gap.
        2 [uint64] up_to: u64;
        /// The epoch that the seq belongs to; 0 where the server named none.
        3 [uint64] epoch: u64;
    }
}
