//! The class table: what a table-driven format must know of a body, and how it reaches the fields.
//!
//! A body is declared once ([`record!`](crate::record) or the list in [`body`](crate::body)); the declaration gives the
//! struct and its [`Class`]. Thrift, all Java formats, and the other formats for all but the bodies of version 2 are written
//! against this table, so that a new body costs no new code in any of them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::body::Name;
pub use crate::budget::Budget;
pub use crate::reader::Reader;

/// What a body type is called and made of. Fields are numbered from 0: a class's own fields as declared, then its
/// parent's.
#[derive(Clone, Copy)]
pub struct Class {
    /// The name in the specification.
    pub name: &'static str,
    /// The fully qualified Java name.
    pub java: &'static str,
    /// Java's `serialVersionUID`.
    pub suid: i64,
    /// The superclass.
    pub parent: Option<&'static Class>,
    /// The class's own fields, as declared.
    pub fields: &'static [Field],
    /// Extra JSON properties that repeat a field (a Java getter without a field of its own): name and field number.
    pub json_copies: &'static [(&'static str, usize)],
    /// What a field holds that a body does not have.
    pub presence: Presence,
    /// How many bytes a record takes in memory, without what its fields point at.
    pub size: usize,
    /// Makes one with every field at its default.
    pub new: fn() -> Box<dyn Record>,
}

/// What it means that a body does not have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// As in Java: everything but numbers and booleans may be null, and null is not the same as empty. Numbers and
    /// booleans are always written.
    Null,
    /// The field has its default, and there is no null. Formats with field numbers leave out what is at its default.
    Default,
}

impl Class {
    /// How many fields there are, the parent's included.
    pub fn len(&self) -> usize {
        self.fields.len() + self.parent.map_or(0, Class::len)
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The field of that number.
    pub fn field(&self, number: usize) -> Option<&'static Field> {
        match self.fields.get(number) {
            Some(field) => Some(field),
            None => self.parent?.field(number - self.fields.len()),
        }
    }

    /// Every field with its number, the parent's included.
    pub fn all(&self) -> impl Iterator<Item = (usize, &'static Field)> + '_ {
        (0..self.len()).filter_map(|number| Some((number, self.field(number)?)))
    }

    /// As [`all`](Self::all), in the order of the tags.
    pub fn by_tag(&self) -> impl Iterator<Item = (usize, &'static Field)> + '_ {
        let natural = self.all().is_sorted_by_key(|(_, field)| field.tag);
        let mut sorted = Vec::new();
        if !natural {
            sorted.extend(self.all());
            sorted.sort_by_key(|(_, field)| field.tag);
        }
        natural.then(|| self.all()).into_iter().flatten().chain(sorted)
    }

    /// The properties that Jackson writes, in its order, with the number and type of their fields: the superclass' first,
    /// then the class's own with their copies; last the booleans that are named after a getter `isX`.
    pub fn properties(&self) -> impl Iterator<Item = (&'static str, usize, Type)> + '_ {
        let after = |field: &Field| field.ty == Type::Bool && field.json != field.name;
        let levels = 0..self.levels();
        let main = levels.clone().rev().flat_map(move |level| {
            let own = self.level(level).filter(move |(_, field)| !after(field));
            let copies = self.ancestor(level).map_or(&[][..], |(class, _)| class.json_copies);
            let first = self.ancestor(level).map_or(0, |(_, first)| first);
            let copies = copies.iter().filter_map(move |(name, number)| {
                let field = self.field(first + number)?;
                Some((*name, first + number, field.ty))
            });
            own.filter(|(_, field)| field.json_written)
                .map(|(number, field)| (field.json, number, field.ty))
                .chain(copies)
        });
        let last = levels.flat_map(move |level| {
            let own = self.level(level).filter(move |(_, field)| after(field));
            own.filter(|(_, field)| field.json_written).map(|(number, field)| (field.json, number, field.ty))
        });
        main.chain(last)
    }

    /// How many classes there are up to the root.
    fn levels(&self) -> usize {
        1 + self.parent.map_or(0, Class::levels)
    }

    /// The class so many levels up, and the number of its first field.
    fn ancestor(&self, level: usize) -> Option<(&Class, usize)> {
        let (mut class, mut first) = (self, 0);
        for _ in 0..level {
            first += class.fields.len();
            class = class.parent?;
        }
        Some((class, first))
    }

    /// The fields of the class so many levels up.
    fn level(&self, level: usize) -> impl Iterator<Item = (usize, &'static Field)> + '_ {
        self.ancestor(level).into_iter().flat_map(|(class, first)| {
            class.fields.iter().enumerate().map(move |(number, field)| (first + number, field))
        })
    }
}

/// Two classes are the same when their Java names are.
impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.java == other.java
    }
}

impl Eq for Class {}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({})", self.java)
    }
}

/// One field of a class.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name of the Java field.
    pub name: &'static str,
    /// The name of the JSON property: for a Java `boolean isX` it is `x`.
    pub json: &'static str,
    /// Whether JSON writes the property. Java does not when there is no getter, and yet accepts it.
    pub json_written: bool,
    /// The number in protobuf and thrift.
    pub tag: u32,
    /// The type.
    pub ty: Type,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// Java `boolean`.
    Bool,
    /// Java `byte`.
    Byte,
    /// Java `int`.
    Int,
    /// A `u32`; in Java formats the `int` with the same bits.
    UInt,
    /// Java `long`.
    Long,
    /// A `u64`; in Java formats the `long` with the same bits.
    ULong,
    /// A `u64` that text formats write as a decimal string; otherwise as [`ULong`](Self::ULong).
    Id,
    /// Java `String`.
    Str,
    /// Java `byte[]`.
    Bytes,
    /// An object of a class.
    Record(&'static Class),
    /// Java `List` of strings or objects.
    List(&'static Type),
    /// A field that Java declares as `Object` and that holds a `String` or null; its values are as of
    /// [`Str`](Self::Str). Formats that name types on the wire name both.
    Any,
}

/// A value of a field, borrowed. Unsigned fields are given with the same bits as their signed type.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// Java `null`.
    Null,
    /// See [`Type::Bool`].
    Bool(bool),
    /// See [`Type::Byte`].
    Byte(i8),
    /// See [`Type::Int`] and [`Type::UInt`].
    Int(i32),
    /// See [`Type::Long`], [`Type::ULong`] and [`Type::Id`].
    Long(i64),
    /// See [`Type::Str`] and [`Type::Any`].
    Str(&'a str),
    /// See [`Type::Bytes`].
    Bytes(&'a [u8]),
    /// See [`Type::Record`].
    Record(&'a dyn Record),
    /// See [`Type::List`].
    List(&'a dyn List),
}

/// A value for a field, owned.
#[derive(Debug)]
#[non_exhaustive]
pub enum Value {
    /// Java `null`; where the field cannot be null, its default.
    Null,
    /// See [`Type::Bool`].
    Bool(bool),
    /// See [`Type::Byte`].
    Byte(i8),
    /// See [`Type::Int`] and [`Type::UInt`].
    Int(i32),
    /// See [`Type::Long`], [`Type::ULong`] and [`Type::Id`].
    Long(i64),
    /// See [`Type::Str`] and [`Type::Any`].
    Str(String),
    /// See [`Type::Bytes`].
    Bytes(Vec<u8>),
    /// See [`Type::Record`].
    Record(Box<dyn Record>),
    /// See [`Type::List`].
    List(Vec<Value>),
}

/// What a field holds that Java declares as `Object`: text or null.
///
/// ```
/// use im_serial::{class::Any, v1::ResponseMessage};
/// let response = ResponseMessage { code: 500, data: Any(Some("bad".into())), timestamp: 0 };
/// assert_eq!(format!("{response:?}"), "ResponseMessage { code: 500, data: <3 bytes>, timestamp: 0 }");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Any(pub Option<String>);

/// The value does not fit the field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// A body whose fields are reached by number. Declared with [`record!`](crate::record), not by hand.
pub trait Record: core::any::Any + fmt::Debug + Send + Sync {
    /// The class.
    fn class(&self) -> &'static Class;

    /// The field of that number; null when there is none.
    fn get(&self, field: usize) -> ValueRef<'_>;

    /// Sets the field of that number.
    fn set(&mut self, field: usize, value: Value) -> Result<(), WrongType>;
}

/// A record type that is known when compiling.
pub trait Declared: Record + Default {
    /// The class.
    const CLASS: &'static Class;
}

/// A list of strings or records, borrowed.
pub trait List {
    /// How many elements.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element; null when there is none or it is null.
    fn get(&self, index: usize) -> ValueRef<'_>;
}

/// What a field of a record may be: `bool`, `i8`, `i32`, `u32`, `i64`, `u64`, `String`, [`Name`], `Vec<u8>`, a record, a list of
/// strings or records, and `Option`s of those that Java can set to null.
pub trait FieldValue: Sized {
    /// The type in the table.
    const TYPE: Type;

    /// The value.
    fn value(&self) -> ValueRef<'_>;

    /// The field from a value. `Null` gives the default.
    fn from_value(value: Value) -> Result<Self, WrongType>;
}

macro_rules! scalar {
    ($($ty:ty, $type:ident, $value:ident;)*) => {
        $(
            impl FieldValue for $ty {
                const TYPE: Type = Type::$type;
                fn value(&self) -> ValueRef<'_> {
                    #[allow(clippy::cast_possible_wrap, trivial_numeric_casts, reason = "the same bits are meant")]
                    ValueRef::$value(*self as _)
                }
                fn from_value(value: Value) -> Result<Self, WrongType> {
                    match value {
                        Value::Null => Ok(Self::default()),
                        #[allow(clippy::cast_sign_loss, trivial_numeric_casts, reason = "the same bits are meant")]
                        Value::$value(value) => Ok(value as _),
                        _ => Err(WrongType),
                    }
                }
            }
        )*
    };
}

scalar! {
    bool, Bool, Bool;
    i8, Byte, Byte;
    i32, Int, Int;
    u32, UInt, Int;
    i64, Long, Long;
    u64, ULong, Long;
}

macro_rules! nullable {
    ($(($ty:ty, $type:expr, $variant:ident);)*) => {
        $(
            impl FieldValue for $ty {
                const TYPE: Type = $type;
                fn value(&self) -> ValueRef<'_> {
                    ValueRef::$variant(self)
                }
                fn from_value(value: Value) -> Result<Self, WrongType> {
                    Ok(Option::<$ty>::from_value(value)?.unwrap_or_default())
                }
            }

            impl FieldValue for Option<$ty> {
                const TYPE: Type = $type;
                fn value(&self) -> ValueRef<'_> {
                    self.as_ref().map_or(ValueRef::Null, |value| ValueRef::$variant(value))
                }
                fn from_value(value: Value) -> Result<Self, WrongType> {
                    match value {
                        Value::Null => Ok(None),
                        Value::$variant(value) => Ok(Some(value)),
                        _ => Err(WrongType),
                    }
                }
            }
        )*
    };
}

nullable! {
    (String, Type::Str, Str);
    (Vec<u8>, Type::Bytes, Bytes);
}

/// In Java formats a `String` that is never null.
impl FieldValue for Name {
    const TYPE: Type = Type::Str;
    fn value(&self) -> ValueRef<'_> {
        ValueRef::Str(self)
    }
    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(Option::<String>::from_value(value)?.unwrap_or_default().into())
    }
}

impl FieldValue for Any {
    const TYPE: Type = Type::Any;
    fn value(&self) -> ValueRef<'_> {
        self.0.value()
    }
    fn from_value(value: Value) -> Result<Self, WrongType> {
        Option::from_value(value).map(Self)
    }
}

impl<T: Declared> FieldValue for T {
    const TYPE: Type = Type::Record(T::CLASS);
    fn value(&self) -> ValueRef<'_> {
        ValueRef::Record(self)
    }
    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(Option::<T>::from_value(value)?.unwrap_or_default())
    }
}

impl<T: Declared> FieldValue for Option<T> {
    const TYPE: Type = Type::Record(T::CLASS);
    fn value(&self) -> ValueRef<'_> {
        self.as_ref().map_or(ValueRef::Null, |record| ValueRef::Record(record))
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are of another type")]
    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Null => Ok(None),
            Value::Record(record) => {
                let record: Box<dyn core::any::Any> = record;
                record.downcast().map(|record| Some(*record)).map_err(|_| WrongType)
            }
            _ => Err(WrongType),
        }
    }
}

impl<T: FieldValue> FieldValue for Vec<T> {
    const TYPE: Type = Type::List(&T::TYPE);
    fn value(&self) -> ValueRef<'_> {
        ValueRef::List(self)
    }
    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(Option::<Vec<T>>::from_value(value)?.unwrap_or_default())
    }
}

impl<T: FieldValue> FieldValue for Option<Vec<T>> {
    const TYPE: Type = Type::List(&T::TYPE);
    fn value(&self) -> ValueRef<'_> {
        self.as_ref().map_or(ValueRef::Null, |list| ValueRef::List(list))
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are of another type")]
    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Null => Ok(None),
            Value::List(values) => {
                // One allocation of a known size: formats count it before.
                let mut list = Vec::with_capacity(values.len());
                for value in values {
                    list.push(T::from_value(value)?);
                }
                Ok(Some(list))
            }
            _ => Err(WrongType),
        }
    }
}

impl<T: FieldValue> List for Vec<T> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn get(&self, index: usize) -> ValueRef<'_> {
        <[T]>::get(self, index).map_or(ValueRef::Null, FieldValue::value)
    }
}

/// Shows scalars, and of content only how much there is, so that it never reaches a log line.
impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Byte(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Long(value) => value.fmt(f),
            Self::Str(text) => write!(f, "<{} bytes>", text.len()),
            Self::Bytes(bytes) => write!(f, "<{} bytes>", bytes.len()),
            Self::Record(record) => record.fmt(f),
            Self::List(list) => f.debug_list().entries((0..list.len()).map(|index| list.get(index))).finish(),
        }
    }
}

/// Equal when every field is.
impl PartialEq for dyn Record {
    fn eq(&self, other: &Self) -> bool {
        self.class() == other.class() && (0..self.class().len()).all(|field| self.get(field) == other.get(field))
    }
}

impl PartialEq for ValueRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Byte(a), Self::Byte(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Long(a), Self::Long(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Record(a), Self::Record(b)) => **a == **b,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && (0..a.len()).all(|index| a.get(index) == b.get(index))
            }
            _ => false,
        }
    }
}

/// Declares a body: the struct, its class and how its fields are reached.
///
/// `1 => pub name: Type = "javaName" / "jsonName";` declares the field with tag 1. Without names the field's own serves
/// for both. `/ in "jsonName"` reads the JSON property and does not write it. `extends base: Base` gives the struct a
/// last field `base` with the superclass, `copies { "name" = 2 }` writes field number 2 again under another JSON name.
///
/// ```
/// use im_serial::class::{Declared, Record, ValueRef};
/// im_serial::record! {
///     /// A question with answers to choose from.
///     pub struct Poll: "com.example.Poll", suid 1 {
///         1 => pub question: String;
///         2 => pub answers: Vec<String>;
///         3 => pub is_open: bool = "isOpen" / "open";
///     }
/// }
/// let poll = Poll { question: "Tea?".into(), is_open: true, ..Poll::default() };
/// assert_eq!(Poll::CLASS.field(2).unwrap().json, "open");
/// assert!(matches!(poll.get(0), ValueRef::Str("Tea?")));
/// assert_eq!(format!("{poll:?}"), "Poll { question: <4 bytes>, answers: [], is_open: true }");
/// ```
#[macro_export]
macro_rules! record {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident: $java:literal, suid $suid:literal
        $(, extends $base:ident: $parent:ty)? $(, copies { $($copy:literal = $number:literal),* })?
        {
            $(
                $(#[$fdoc:meta])*
                $tag:literal => $fvis:vis $field:ident: $ty:ty $(= $jname:literal / $($json:literal)? $(in $json_in:literal)?)?;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq)]
        $vis struct $name {
            $( $(#[$fdoc])* $fvis $field: $ty, )*
            $( /// The fields of the superclass.
            pub $base: $parent, )?
        }

        $crate::record! { @impl Null $name, $java, $suid, [$($base: $parent)?], [$($( ($copy, $number) ),*)?],
            $( $tag, $field: $ty, <$ty as $crate::class::FieldValue>::TYPE,
               [$($jname)?], [$($($json)? $($json_in)?)?], [$($($json_in)?)?]; )*
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(stringify!($field), &$crate::class::FieldValue::value(&self.$field)) )*
                    $( .field(stringify!($base), &self.$base) )?
                    .finish()
            }
        }
    };
    (@impl $presence:ident $name:ident, $java:expr, $suid:literal, [$($base:ident: $parent:ty)?], [$($copies:expr),*],
        $( $tag:literal, $field:ident: $ty:ty, $type:expr, [$($jname:literal)?], [$($json:literal)?], [$($json_in:literal)?]; )*
    ) => {
        impl $crate::class::Declared for $name {
            const CLASS: &'static $crate::class::Class = &$crate::class::Class {
                name: stringify!($name),
                java: $java,
                suid: $suid,
                parent: $crate::record!(@parent $($parent)?),
                fields: &[ $( $crate::class::Field {
                    name: $crate::record!(@name $field $($jname)?),
                    json: $crate::record!(@name $field $($json)?),
                    json_written: $crate::record!(@written $($json_in)?),
                    tag: $tag,
                    ty: $type,
                }, )* ],
                json_copies: &[ $($copies),* ],
                presence: $crate::class::Presence::$presence,
                size: ::core::mem::size_of::<$name>(),
                new: || $crate::class::boxed::<$name>(),
            };
        }

        #[allow(unused_mut, unused_variables, unused_assignments, reason = "a body may have no field")]
        impl $crate::class::Record for $name {
            fn class(&self) -> &'static $crate::class::Class {
                <Self as $crate::class::Declared>::CLASS
            }

            fn get(&self, field: usize) -> $crate::class::ValueRef<'_> {
                let mut at = 0;
                $(
                    if field == at {
                        return $crate::class::FieldValue::value(&self.$field);
                    }
                    at += 1;
                )*
                $( return $crate::class::Record::get(&self.$base, field - at); )?
                #[allow(unreachable_code, reason = "there may be a superclass above")]
                {
                    let _ = at;
                    $crate::class::ValueRef::Null
                }
            }

            fn set(
                &mut self,
                field: usize,
                value: $crate::class::Value,
            ) -> Result<(), $crate::class::WrongType> {
                let mut at = 0;
                $(
                    if field == at {
                        self.$field = $crate::class::FieldValue::from_value(value)?;
                        return Ok(());
                    }
                    at += 1;
                )*
                $( return $crate::class::Record::set(&mut self.$base, field - at, value); )?
                #[allow(unreachable_code, reason = "there may be a superclass above")]
                {
                    let _ = (at, value);
                    Err($crate::class::WrongType)
                }
            }
        }
    };
    (@parent) => { None };
    (@parent $parent:ty) => { Some(<$parent as $crate::class::Declared>::CLASS) };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@written) => { true };
    (@written $name:literal) => { false };
}

/// A new record with every field at its default. For [`record!`](crate::record).
#[doc(hidden)]
pub fn boxed<T: Declared>() -> Box<dyn Record> {
    Box::new(T::default())
}
