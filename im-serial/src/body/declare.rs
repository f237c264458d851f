//! How bodies are declared.

use core::fmt;

/// Declares the bodies. A `boxed` one is larger than the others, which would have to be moved at its size. The tag is that of
/// protobuf and thrift; `[..]` holds the protobuf type, see `crate::proto`; `as "module"` the serde helper; `redacted` keeps a
/// field out of `Debug`, as byte strings always are.
macro_rules! bodies {
    ($(
        $(#[$doc:meta])*
        $name:ident = $code:literal $($boxed:ident)? {
            $( $(#[$fdoc:meta])* $tag:literal [$pb:ident] $field:ident: $ty:ty $(as $with:tt)? $(=> $redacted:tt)?; )*
        }
    )*) => {
        $( wire_struct! {
            $(#[$doc])*
            $name { $( $(#[$fdoc])* $tag [$pb] $field: $ty $(as $with)? $(=> $redacted)?; )* }
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
            $( $(#[$doc])* $name(variant!($name $($boxed)?)), )*
        }

        impl Body {
            /// The kind, and so the message type, of this body.
            pub const fn kind(&self) -> Kind {
                match self { $( Self::$name(_) => Kind::$name, )* }
            }

            /// The body as a record, for formats that are driven by the class table.
            pub fn as_record(&self) -> &dyn Record {
                match self { $( Self::$name(body) => Borrow::<$name>::borrow(body), )* }
            }

            /// A body of `kind` made by filling an empty one.
            pub fn from_record<E>(
                kind: Kind,
                fill: impl FnOnce(&mut dyn Record) -> Result<(), E>,
            ) -> Result<Self, E> {
                Ok(match kind { $( Kind::$name => {
                    let mut body = $name::default();
                    fill(&mut body)?;
                    Self::$name(body.into())
                } )* })
            }

            /// Calls `with` on the inner body.
            #[cfg(any(feature = "serde", feature = "protobuf"))]
            #[inline]
            pub(crate) fn visit<V: Visit>(&self, with: V) -> V::Out {
                match self { $( Self::$name(body) => with.visit(Borrow::<$name>::borrow(body)), )* }
            }

            /// Makes a body of `kind` by calling `with` for its type.
            #[cfg(any(feature = "serde", feature = "protobuf"))]
            #[inline]
            pub(crate) fn make<M: Make>(kind: Kind, with: M) -> Result<Self, M::Error> {
                match kind { $( Kind::$name => with.make::<$name>().map(|body| Self::$name(body.into())), )* }
            }
        }

        $( impl From<$name> for Body { fn from(body: $name) -> Self { Self::$name(body.into()) } } )*
    };
}

macro_rules! wire_struct {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$fdoc:meta])* $tag:literal [$pb:ident] $field:ident: $ty:ty $(as $with:tt)? $(=> $redacted:tt)?; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        pub struct $name {
            $(
                $(#[$fdoc])*
                $( #[cfg_attr(feature = "serde", serde(with = $with))] )?
                pub $field: $ty,
            )*
        }

        crate::record! { @impl Default $name, concat!("im.", stringify!($name)), 1, [], [],
            $( $tag, $field: $ty, field_type!($ty $(, $with)?), [], [], []; )*
        }

        #[cfg(feature = "protobuf")]
        crate::proto::implement! { $name { $( $tag [$pb] $field; )* } }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), debug_field!(self.$field $(, $redacted)? $(, $with)?)) )*
                    .finish()
            }
        }
    };
}

macro_rules! variant {
    ($name:ident) => {
        $name
    };
    ($name:ident boxed) => {
        ::alloc::boxed::Box<$name>
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
pub(super) struct Redacted(pub(super) usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}
