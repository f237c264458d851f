//! Reading. serde_json finds the tokens; what they may be, and how much of it, is decided here, token by token.
#![expect(clippy::wildcard_enum_match_arm, reason = "types and values may become more; what is not meant is refused")]

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::mem::size_of;

use im_serial::class::{Budget, Class, Record, Type, Value};
use im_serial::{Limits, Problem};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{Fst, Plan};
use crate::{classes, text};

pub(super) fn body(
    fst: &Fst,
    record: &mut dyn Record,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), (Problem, Option<usize>)> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut context =
        Context { fst, top: record.class(), len: bytes.len(), budget: Budget::new(limits), problem: None };
    // The buffer in which serde_json puts strings with escapes together grows up to four times; its errors are boxed.
    // What is found without a search will do for all but the longest bodies.
    let escaped = if bytes.len() <= limits.max_total_alloc / 8 { bytes.len() } else { longest_escaped(bytes) };
    context.budget.alloc(escaped.saturating_mul(4) + 256).map_err(|problem| (problem, None))?;
    let read = Object { context: &mut context, record }.deserialize(&mut json);
    if let Err(error) = read {
        return Err((context.problem.unwrap_or_else(|| problem(&error)), offset(bytes, &error)));
    }
    json.end().map_err(|error| (Problem::TrailingBytes, offset(bytes, &error)))
}

/// Length of the longest string that has an escape in it.
fn longest_escaped(bytes: &[u8]) -> usize {
    // Without an early end, so that the compiler can look at many bytes at once: most bodies have no escape.
    if !bytes.iter().fold(false, |any, byte| any | (*byte == b'\\')) {
        return 0;
    }
    let (mut longest, mut start, mut escape, mut escapes) = (0, None, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match (byte, start) {
            _ if escape => escape = false,
            (b'"', None) => (start, escapes) = (Some(at), false),
            (b'"', Some(_)) => start = None,
            (b'\\', Some(_)) => (escape, escapes) = (true, true),
            _ => {}
        }
        if let Some(start) = start
            && escapes
        {
            longest = longest.max(at - start);
        }
    }
    longest
}

/// What serde_json itself refused.
fn problem(error: &serde_json::Error) -> Problem {
    // The category does not tell these; the tests notice if the words change.
    let text = error.to_string();
    let says = |words: &str| text.starts_with(words);
    match error.classify() {
        Category::Eof => Problem::Truncated,
        _ if says("lone leading surrogate") || says("unexpected end of hex") || says("invalid unicode") => {
            Problem::BadString
        }
        _ if says("recursion limit") => Problem::TooDeep,
        Category::Io | Category::Syntax | Category::Data => Problem::Malformed,
    }
}

/// serde_json counts lines and columns, both from 1.
fn offset(bytes: &[u8], error: &serde_json::Error) -> Option<usize> {
    let before = bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().checked_sub(1)?);
    Some((before.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)).min(bytes.len()))
}

struct Context<'f> {
    fst: &'f Fst,
    /// The class of the body.
    top: &'static Class,
    /// Length of the body.
    len: usize,
    budget: Budget,
    /// What went wrong, when it was not serde_json that found it.
    problem: Option<Problem>,
}

impl Context<'_> {
    fn fail<E: Error>(&mut self, problem: Problem) -> E {
        self.problem = Some(problem);
        E::custom("")
    }

    /// The result of a check, as serde wants it.
    fn check<T, E: Error>(&mut self, checked: Result<T, Problem>) -> Result<T, E> {
        checked.map_err(|problem| self.fail(problem))
    }

    fn element<E: Error>(&mut self) -> Result<(), E> {
        let counted = self.budget.elements(1);
        self.check(counted)
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        let entered = self.budget.enter();
        self.check(entered)
    }

    fn string<E: Error>(&mut self, text: &str) -> Result<String, E> {
        let string = self.budget.utf8(text.as_bytes());
        self.check(string)
    }
}

/// `{"typ": the record's class, "obj": {its fields}}`.
struct Object<'a, 'f> {
    context: &'a mut Context<'f>,
    record: &'a mut dyn Record,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with typ and obj")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { context, record } = self;
        key(&mut map, context, "typ")?;
        map.next_value_seed(Typ { context, expected: Expected::Class(record.class()) })?;
        key(&mut map, context, "obj")?;
        context.enter()?;
        map.next_value_seed(Fields { context, record })?;
        context.budget.leave();
        end(&mut map, context)
    }
}

/// The next key, which must be this one.
fn key<'de, A: MapAccess<'de>>(map: &mut A, context: &mut Context<'_>, name: &'static str) -> Result<(), A::Error> {
    match map.next_key_seed(Word(|key: &str| key == name))? {
        Some(true) => Ok(()),
        _ => Err(context.fail(Problem::Malformed)),
    }
}

/// No further key.
fn end<'de, A: MapAccess<'de>>(map: &mut A, context: &mut Context<'_>) -> Result<(), A::Error> {
    match map.next_key_seed(Word(|_: &str| ()))? {
        None => Ok(()),
        Some(()) => Err(context.fail(Problem::Malformed)),
    }
}

/// A string that is looked at and not kept.
struct Word<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Word<F> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Word<F> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

/// The value of `typ`.
struct Typ<'a, 'f> {
    context: &'a mut Context<'f>,
    expected: Expected,
}

enum Expected {
    Class(&'static Class),
    List,
}

impl<'de> DeserializeSeed<'de> for Typ<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Typ<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a class name")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        let Self { context, expected } = self;
        let (options, top) = (&context.fst.options, context.top);
        let checked = match expected {
            Expected::List if name == "list" => Ok(()),
            Expected::List => match classes::check(options, top, top, name) {
                Ok(()) => Err(Problem::WrongClass),
                problem => problem,
            },
            Expected::Class(_) if name == "list" => Err(Problem::WrongClass),
            Expected::Class(class) => classes::check(options, top, class, name),
        };
        context.check(checked)
    }
}

/// The fields of a record, in any order.
struct Fields<'a, 'f> {
    context: &'a mut Context<'f>,
    record: &'a mut dyn Record,
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { context, record } = self;
        let fst = context.fst;
        let plan = fst.plan(record.class());
        let mut next = 0;
        while let Some(at) = map.next_key_seed(Word(|name: &str| find(plan, next, name)))? {
            context.element()?;
            let Some(step) = at.and_then(|at| plan.steps.get(at)) else {
                map.next_value_seed(Skip(context))?;
                continue;
            };
            next = at.map_or(0, |at| at + 1);
            let value = map.next_value_seed(Item { context, ty: step.ty })?;
            if record.set(step.number, value).is_err() {
                return Err(context.fail(Problem::Malformed));
            }
        }
        Ok(())
    }
}

/// The step of a field; first tries the one that comes next when Java writes.
fn find(plan: &Plan, next: usize, name: &str) -> Option<usize> {
    match plan.steps.get(next) {
        Some(step) if step.name == name => Some(next),
        _ => plan.steps.iter().position(|step| step.name == name),
    }
}

/// A value of a type.
struct Item<'a, 'f> {
    context: &'a mut Context<'f>,
    ty: Type,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the field's type")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        match self.ty {
            Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_) => Ok(Value::Null),
            _ => Err(self.context.fail(Problem::Malformed)),
        }
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.ty {
            Type::Bool => Ok(Value::Bool(value)),
            _ => Err(self.context.fail(Problem::Malformed)),
        }
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        let narrowed = match self.ty {
            Type::Bool => u8::try_from(value).ok().filter(|bit| *bit < 2).map(|bit| Value::Bool(bit == 1)),
            Type::Byte => value.try_into().ok().map(Value::Byte),
            Type::Int | Type::UInt => value.try_into().ok().map(Value::Int),
            Type::Long | Type::ULong | Type::Id => Some(Value::Long(value)),
            _ => None,
        };
        narrowed.ok_or_else(|| self.context.fail(Problem::Malformed))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match value.try_into() {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(self.context.fail(Problem::Malformed)),
        }
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        match self.ty {
            Type::Str | Type::Any => self.context.string(text).map(Value::Str),
            _ => Err(self.context.fail(Problem::Malformed)),
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Self { context, ty } = self;
        if ty != Type::Bytes {
            return Err(context.fail(Problem::Malformed));
        }
        if seq.next_element_seed(Word(|word: &str| word == "byte"))? != Some(true) {
            return Err(context.fail(Problem::Malformed));
        }
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element::<i8>()? {
            // What a growing vector asks for in all, per byte.
            let counted = context.budget.alloc(4);
            context.check(counted)?;
            bytes.push(byte as u8);
        }
        Ok(Value::Bytes(bytes))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Self { context, ty } = self;
        match ty {
            Type::Record(class) => {
                let counted = context.budget.alloc(class.size);
                context.check(counted)?;
                let mut record = (class.new)();
                Object { context, record: &mut *record }.visit_map(map)?;
                Ok(Value::Record(record))
            }
            Type::List(element) => {
                key(&mut map, context, "typ")?;
                map.next_value_seed(Typ { context, expected: Expected::List })?;
                key(&mut map, context, "obj")?;
                context.enter()?;
                let list = map.next_value_seed(Elements { context, element })?;
                context.budget.leave();
                end(&mut map, context)?;
                Ok(list)
            }
            _ => Err(context.fail(Problem::Malformed)),
        }
    }
}

/// `[count, elements]`.
struct Elements<'a, 'f> {
    context: &'a mut Context<'f>,
    element: &'static Type,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count and elements")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Self { context, element } = self;
        let per_element = match element {
            Type::Str => size_of::<String>(),
            Type::Record(class) => class.size + size_of::<usize>(),
            _ => return Err(context.fail(Problem::Unsupported)),
        };
        let Some(count) = seq.next_element::<u32>()? else { return Err(context.fail(Problem::Malformed)) };
        // An element takes at least a comma and a digit or a quote.
        let count = usize::try_from(count).ok().filter(|count| *count <= context.len / 2).ok_or(Problem::Truncated);
        let counted = count.and_then(|count| {
            context.budget.elements(count)?;
            context.budget.alloc(count.saturating_mul(size_of::<Value>() + per_element))?;
            Ok(count)
        });
        let count = context.check(counted)?;
        let mut values = Vec::with_capacity(count);
        while let Some(value) = seq.next_element_seed(Item { context, ty: *element })? {
            if values.len() == count {
                return Err(context.fail(Problem::Malformed));
            }
            values.push(value);
        }
        if values.len() == count { Ok(Value::List(values)) } else { Err(context.fail(Problem::Malformed)) }
    }
}

/// The value of an unknown field: nothing of it is kept, all of it is counted.
struct Skip<'a, 'f>(&'a mut Context<'f>);

impl<'de> DeserializeSeed<'de> for Skip<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.element()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let counted = self.0.budget.units(text::units(text));
        self.0.check(counted)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while seq.next_element_seed(Skip(self.0))?.is_some() {}
        self.0.budget.leave();
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while map.next_key_seed(Word(|_: &str| ()))?.is_some() {
            map.next_value_seed(Skip(self.0))?;
        }
        self.0.budget.leave();
        Ok(())
    }
}
