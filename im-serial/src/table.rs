//! Serde by the class table: a record serializes and deserializes in any format of serde, under the limits.

use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, SerializeStruct, Serializer};

use crate::budget::{Budget, Limits};
use crate::class::{Class, Presence, Record, Type, Value, ValueRef};
use crate::format::Problem;

/// How a format lays out a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Jackson's properties in its order, and not what it does not write.
    Properties,
    /// Every field under the name of its property.
    Names,
    /// Every field in the order of the numbers, without names. What may be null says whether it is.
    Places,
}

/// A field that may be null.
fn nullable(ty: Type, presence: Presence) -> bool {
    presence == Presence::Null && matches!(ty, Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_))
}

/// A record to serialize.
pub(crate) struct Out<'a>(pub &'a dyn Record, pub Style);

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(record, style) = *self;
        let class = record.class();
        if style == Style::Properties {
            let mut to = to.serialize_struct(class.name, class.properties().count())?;
            for (name, number, ty) in class.properties() {
                to.serialize_field(name, &OutValue { value: record.get(number), ty, presence: class.presence, style })?;
            }
            return to.end();
        }
        let mut to = to.serialize_struct(class.name, class.len())?;
        for (number, field) in class.all() {
            let value = OutValue { value: record.get(number), ty: field.ty, presence: class.presence, style };
            to.serialize_field(field.json, &value)?;
        }
        to.end()
    }
}

struct OutValue<'a> {
    value: ValueRef<'a>,
    ty: Type,
    presence: Presence,
    style: Style,
}

impl Serialize for OutValue<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are there")]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.value {
            ValueRef::Null => to.serialize_none(),
            _ if self.style == Style::Places && nullable(self.ty, self.presence) => to.serialize_some(&Plain(self)),
            _ => Plain(self).serialize(to),
        }
    }
}

/// A value that is there.
struct Plain<'a>(&'a OutValue<'a>);

impl Serialize for Plain<'_> {
    #[expect(clippy::cast_sign_loss, reason = "unsigned fields are given with the bits of their signed type")]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let OutValue { value, ty, presence, style } = *self.0;
        match value {
            ValueRef::Null => to.serialize_none(),
            ValueRef::Bool(value) => to.serialize_bool(value),
            ValueRef::Byte(value) => to.serialize_i8(value),
            ValueRef::Int(value) if ty == Type::UInt => to.serialize_u32(value as u32),
            ValueRef::Int(value) => to.serialize_i32(value),
            ValueRef::Long(value) if ty == Type::Id && to.is_human_readable() => to.collect_str(&(value as u64)),
            ValueRef::Long(value) if matches!(ty, Type::ULong | Type::Id) => to.serialize_u64(value as u64),
            ValueRef::Long(value) => to.serialize_i64(value),
            ValueRef::Str(text) => to.serialize_str(text),
            ValueRef::Bytes(bytes) => crate::text::bytes::serialize(bytes, to),
            ValueRef::Record(record) => Out(record, style).serialize(to),
            ValueRef::List(list) => {
                let ty = if let Type::List(element) = ty { *element } else { ty };
                let mut to = to.serialize_seq(Some(list.len()))?;
                for index in 0..list.len() {
                    to.serialize_element(&OutValue { value: list.get(index), ty, presence, style })?;
                }
                to.end()
            }
        }
    }
}

/// What the seeds of one decode share.
pub(crate) struct State {
    style: Style,
    budget: Budget,
    /// What is wrong, where it is not the format's crate that found it.
    pub problem: Option<Problem>,
}

impl State {
    pub(crate) fn new(style: Style, limits: &Limits) -> Self {
        Self { style, budget: Budget::new(limits), problem: None }
    }

    /// The result of a check as the format's error. What is wrong is kept here: an error of serde carries only text.
    fn check<T, E: serde::de::Error>(&mut self, result: Result<T, Problem>) -> Result<T, E> {
        result.map_err(|problem| {
            self.problem.get_or_insert(problem);
            E::custom("see the problem")
        })
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        let entered = self.budget.enter();
        self.check(entered)
    }
}

/// A record to fill.
pub(crate) struct Fill<'a> {
    pub record: &'a mut dyn Record,
    pub state: &'a mut State,
}

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.state.enter()?;
        match self.state.style {
            Style::Properties | Style::Names => from.deserialize_map(self),
            Style::Places => from.deserialize_tuple(self.record.class().len(), self),
        }
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.record.class().name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { record, state } = self;
        let class = record.class();
        // Fields beyond the 128th may be repeated; the last one counts.
        let mut seen = 0u128;
        let mut next = 0;
        while let Some(found) = map.next_key_seed(Key { class, next })? {
            let counted = state.budget.elements(1);
            state.check(counted)?;
            let Some(number) = found else {
                map.next_value_seed(Skip(state))?;
                continue;
            };
            let bit = u32::try_from(number).ok().and_then(|number| 1u128.checked_shl(number)).unwrap_or(0);
            if seen & bit != 0 {
                return state.check(Err(Problem::Malformed));
            }
            seen |= bit;
            next = number + 1;
            let Some(field) = class.field(number) else { continue };
            let value = map.next_value_seed(InValue { ty: field.ty, presence: class.presence, text: false, state })?;
            let set = record.set(number, value).map_err(|_| Problem::Malformed);
            state.check(set)?;
        }
        state.budget.leave();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { record, state } = self;
        let class = record.class();
        for (number, field) in class.all() {
            let counted = state.budget.elements(1);
            state.check(counted)?;
            let seed = InValue { ty: field.ty, presence: class.presence, text: false, state };
            let Some(value) = seq.next_element_seed(seed)? else {
                return state.check(Err(Problem::Truncated));
            };
            let set = record.set(number, value).map_err(|_| Problem::Malformed);
            state.check(set)?;
        }
        state.budget.leave();
        Ok(())
    }
}

/// The number of the field with a property's name.
struct Key {
    class: &'static Class,
    /// Where it is when the sender's order is that of the class.
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a property")
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if self.class.field(self.next).is_some_and(|field| field.json == name) {
            return Ok(Some(self.next));
        }
        Ok(self.class.all().find(|(_, field)| field.json == name).map(|(number, _)| number))
    }
}

/// Reads over a value, within the budget.
struct Skip<'a>(&'a mut State);

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        // The reader of such a format counts, and knows values that serde has no word for (tags, half floats).
        if self.0.style == Style::Names {
            return from.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<(), E> {
        Ok(())
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.enter()?;
        from.deserialize_any(Skip(self.0))?;
        self.0.budget.leave();
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while seq.next_element_seed(Skip(self.0))?.is_some() {
            let counted = self.0.budget.elements(1);
            self.0.check(counted)?;
        }
        self.0.budget.leave();
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while map.next_key_seed(Skip(self.0))?.is_some() {
            map.next_value_seed(Skip(self.0))?;
            let counted = self.0.budget.elements(2);
            self.0.check(counted)?;
        }
        self.0.budget.leave();
        Ok(())
    }
}

/// A value of a type.
struct InValue<'a> {
    ty: Type,
    presence: Presence,
    /// The format is text, in which bytes and ids are strings.
    text: bool,
    state: &'a mut State,
}

impl<'de> DeserializeSeed<'de> for InValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        // Jackson also reads null for a number.
        let null = match self.state.style {
            Style::Properties | Style::Names => self.presence == Presence::Null,
            Style::Places => nullable(self.ty, self.presence),
        };
        if null { from.deserialize_option(self) } else { self.plain(from) }
    }
}

impl InValue<'_> {
    fn plain<'de, D: Deserializer<'de>>(mut self, from: D) -> Result<Value, D::Error> {
        self.text = from.is_human_readable();
        match self.ty {
            Type::Bool => from.deserialize_bool(self),
            Type::Byte => from.deserialize_i8(self),
            Type::Int => from.deserialize_i32(self),
            Type::UInt => from.deserialize_u32(self),
            Type::Long => from.deserialize_i64(self),
            // A decimal string or a number.
            Type::Id if self.text => from.deserialize_any(self),
            Type::ULong | Type::Id => from.deserialize_u64(self),
            Type::Bytes if !self.text => from.deserialize_bytes(self),
            Type::Str | Type::Any | Type::Bytes => from.deserialize_str(self),
            Type::Record(class) => {
                let counted = self.state.budget.alloc(class.size);
                self.state.check(counted)?;
                let mut record = (class.new)();
                Fill { record: &mut *record, state: self.state }.deserialize(from)?;
                Ok(Value::Record(record))
            }
            Type::List(_) => from.deserialize_seq(self),
        }
    }

    fn wrong<T, E: serde::de::Error>(self) -> Result<T, E> {
        self.state.check(Err(Problem::Malformed))
    }

    fn number<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        match number(self.ty, value) {
            Some(value) => Ok(value),
            None => self.wrong(),
        }
    }
}

impl<'de> Visitor<'de> for InValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {:?}", self.ty)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        if self.presence == Presence::Null { Ok(Value::Null) } else { self.wrong() }
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.plain(from)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        if self.ty == Type::Bool { Ok(Value::Bool(value)) } else { self.wrong() }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.number(value.into())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are not text")]
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        let budget = &mut self.state.budget;
        let value = match self.ty {
            Type::Str | Type::Any => budget.text(text).map(Value::Str),
            Type::Bytes if self.text => budget
                .alloc(text.len())
                .and_then(|()| STANDARD.decode(text).map(Value::Bytes).map_err(|_| Problem::Malformed)),
            // from_str alone would take a leading plus.
            Type::Id if self.text && !text.starts_with('+') => match text.parse::<u64>() {
                Ok(id) => return self.number(id.into()),
                Err(_) => Err(Problem::Malformed),
            },
            _ => Err(Problem::Malformed),
        };
        self.state.check(value)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are not bytes")]
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        let value = match self.ty {
            Type::Bytes => self.state.budget.bytes(bytes).map(Value::Bytes),
            // rmp-serde hands over what is declared as text and is none; bytes that would be text are of another type.
            Type::Str | Type::Any if core::str::from_utf8(bytes).is_err() => Err(Problem::BadString),
            _ => Err(Problem::Malformed),
        };
        self.state.check(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Type::List(element) = self.ty else { return self.wrong() };
        let Self { presence, state, .. } = self;
        state.enter()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(InValue { ty: *element, presence, text: false, state })? {
            let counted = state.budget.element(element);
            state.check(counted)?;
            values.push(value);
        }
        state.budget.leave();
        Ok(Value::List(values))
    }
}

/// A number of a type, if it fits. Unsigned types have the bits of their signed type.
#[expect(clippy::cast_possible_wrap, reason = "the same bits are meant")]
fn number(ty: Type, value: i128) -> Option<Value> {
    Some(match ty {
        Type::Byte => Value::Byte(value.try_into().ok()?),
        Type::Int => Value::Int(value.try_into().ok()?),
        Type::UInt => Value::Int(u32::try_from(value).ok()? as i32),
        Type::Long => Value::Long(value.try_into().ok()?),
        Type::ULong | Type::Id => Value::Long(u64::try_from(value).ok()? as i64),
        Type::Bool | Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_) => return None,
    })
}
