//! Protocol Buffers. The schema of version 2 is `docs/spec/im.proto` in the repository. By the class table the bytes are those
//! of protostuff for version 1 and those of prost for version 2.

use alloc::vec::Vec;

use crate::budget::{Budget, Limits};
use crate::class::{Class, Presence, Reader, Record, Type, Value, ValueRef};
use crate::codec::{Codec, Fault};
use crate::format::{FormatId, Problem};
use crate::varint::put;
use crate::wire::Wire;

/// Protocol Buffers, by prost and by the class table.
///
/// ```
/// use im_serial::{Format, FormatId, Protobuf};
/// assert_eq!((Protobuf.id(), Protobuf.name()), (FormatId::PROTOBUF, "protobuf"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

impl Codec for Protobuf {
    const ID: FormatId = FormatId::PROTOBUF;
    const NAME: &'static str = "protobuf";

    #[inline]
    fn write<T: Wire>(body: &T, out: &mut Vec<u8>) -> Result<(), ()> {
        // A vector has room for everything, so that the length need not be counted first.
        body.encode_raw(out);
        Ok(())
    }

    #[inline]
    fn read<T: Wire>(bytes: &[u8], _: &Limits) -> Result<T, Problem> {
        T::decode(bytes).map_err(|_| Problem::Malformed)
    }

    fn write_record(record: &dyn Record, out: &mut Vec<u8>) -> Result<(), ()> {
        write_message(record, out)
    }

    fn read_record(record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
        let mut budget = Budget::new(limits);
        read_message(record, bytes, 0, &mut budget)
    }
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const GROUP: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED32: u8 = 5;

/// In what protostuff writes for a field of type `Object`, the field that holds a `String`.
const ANY_STRING: u32 = 9;

fn wire_type(ty: Type) -> u8 {
    match ty {
        Type::Bool | Type::Byte | Type::Int | Type::UInt | Type::Long | Type::ULong | Type::Id => VARINT,
        Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_) => LENGTH,
    }
}

fn write_message(record: &dyn Record, out: &mut Vec<u8>) -> Result<(), ()> {
    let class = record.class();
    for (number, field) in class.by_tag() {
        match (record.get(number), field.ty) {
            (ValueRef::Null, _) => {}
            (ValueRef::List(list), Type::List(element)) => {
                for index in 0..list.len() {
                    // There is no null in a list.
                    if !matches!(list.get(index), ValueRef::Null) {
                        write_field(field.tag, *element, list.get(index), out)?;
                    }
                }
            }
            (value, _) if class.presence == Presence::Default && is_default(value) => {}
            (value, ty) => write_field(field.tag, ty, value, out)?,
        }
    }
    Ok(())
}

fn is_default(value: ValueRef<'_>) -> bool {
    matches!(
        value,
        ValueRef::Bool(false)
            | ValueRef::Byte(0)
            | ValueRef::Int(0)
            | ValueRef::Long(0)
            | ValueRef::Str("")
            | ValueRef::Bytes([])
    )
}

#[expect(clippy::cast_sign_loss, reason = "the format's own: negative numbers are sign-extended")]
fn write_field(tag: u32, ty: Type, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), ()> {
    put(u64::from(tag) << 3 | u64::from(wire_type(ty)), out);
    match value {
        ValueRef::Bool(value) => put(value.into(), out),
        // Protostuff: the 32 bits of the sign-extended byte.
        ValueRef::Byte(value) => put((i32::from(value) as u32).into(), out),
        ValueRef::Int(value) if ty == Type::UInt => put((value as u32).into(), out),
        ValueRef::Int(value) => put(i64::from(value) as u64, out),
        ValueRef::Long(value) => put(value as u64, out),
        ValueRef::Str(text) if ty == Type::Any => {
            nested(out, |out| write_field(ANY_STRING, Type::Str, ValueRef::Str(text), out))?;
        }
        ValueRef::Str(text) => bytes(text.as_bytes(), out),
        ValueRef::Bytes(value) => bytes(value, out),
        ValueRef::Record(record) => nested(out, |out| write_message(record, out))?,
        // A list in a list; null was looked at before.
        ValueRef::List(_) | ValueRef::Null => return Err(()),
    }
    Ok(())
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes what has its length before it.
fn nested(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), ()>) -> Result<(), ()> {
    let start = out.len();
    write(out)?;
    let end = out.len();
    put((end - start) as u64, out);
    let len = out.len() - end;
    if let Some(message) = out.get_mut(start..) {
        message.rotate_right(len);
    }
    Ok(())
}

/// A message that is `base` bytes into the body.
fn read_message(record: &mut dyn Record, bytes: &[u8], base: usize, budget: &mut Budget) -> Result<(), Fault> {
    let class = record.class();
    let mut reader = Reader::new(bytes);
    let mut lists: Vec<(usize, Vec<Value>)> = Vec::new();
    let mut messages = Vec::new();
    let at = |reader: &Reader<'_>| Some(base + reader.offset());
    budget.enter().map_err(|problem| (problem, Some(base)))?;
    while !reader.rest().is_empty() {
        let (tag, wire) = key(&mut reader).map_err(|problem| (problem, at(&reader)))?;
        let here = at(&reader);
        let fault = |problem| (problem, here);
        budget.elements(1).map_err(fault)?;
        let Some((number, ty)) = find(class, tag) else {
            skip(&mut reader, tag, wire, budget).map_err(fault)?;
            continue;
        };
        let element = if let Type::List(element) = ty { *element } else { ty };
        if let Type::List(_) = ty {
            let at = match lists.iter().position(|(known, _)| *known == number) {
                Some(at) => at,
                None => {
                    lists.push((number, Vec::new()));
                    lists.len() - 1
                }
            };
            let Some((_, values)) = lists.get_mut(at) else { continue };
            // Numbers may come packed.
            if wire == LENGTH && wire_type(element) == VARINT {
                let mut packed = Reader::new(take(&mut reader).map_err(fault)?);
                while !packed.rest().is_empty() {
                    budget.element(&element).map_err(fault)?;
                    values.push(scalar(element, packed.varint().map_err(fault)?));
                }
                continue;
            }
            budget.element(&element).map_err(fault)?;
            values.push(read_value(&mut reader, element, wire, base, budget)?);
            continue;
        }
        // The last of several values counts. Several messages would have to be merged: refused rather than read in another way.
        if matches!(ty, Type::Record(_)) {
            if messages.contains(&number) {
                return Err(fault(Problem::Unsupported));
            }
            messages.push(number);
        }
        let value = read_value(&mut reader, ty, wire, base, budget)?;
        record.set(number, value).map_err(|_| fault(Problem::Malformed))?;
    }
    for (number, values) in lists {
        record.set(number, Value::List(values)).map_err(|_| (Problem::Malformed, at(&reader)))?;
    }
    budget.leave();
    Ok(())
}

fn find(class: &'static Class, tag: u32) -> Option<(usize, Type)> {
    class.all().find(|(_, field)| field.tag == tag).map(|(number, field)| (number, field.ty))
}

fn key(reader: &mut Reader<'_>) -> Result<(u32, u8), Problem> {
    let key = u32::try_from(reader.varint()?).map_err(|_| Problem::Malformed)?;
    let (tag, wire) = (key >> 3, (key & 7) as u8);
    if tag == 0 { Err(Problem::Malformed) } else { Ok((tag, wire)) }
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Problem> {
    let len = reader.varint()?;
    let len = reader.check(len)?;
    reader.take(len)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "numbers were read before, a list in a list cannot be")]
fn read_value(reader: &mut Reader<'_>, ty: Type, wire: u8, base: usize, budget: &mut Budget) -> Result<Value, Fault> {
    let here = Some(base + reader.offset());
    let fault = |problem| (problem, here);
    if wire != wire_type(ty) {
        return Err(fault(Problem::Malformed));
    }
    if wire == VARINT {
        return Ok(scalar(ty, reader.varint().map_err(fault)?));
    }
    let bytes = take(reader).map_err(fault)?;
    let base = base + reader.offset() - bytes.len();
    match ty {
        Type::Str => budget.utf8(bytes).map(Value::Str).map_err(fault),
        Type::Bytes => budget.bytes(bytes).map(Value::Bytes).map_err(fault),
        Type::Any => any(bytes, budget).map_err(fault),
        Type::Record(class) => {
            budget.alloc(class.size).map_err(fault)?;
            let mut record = (class.new)();
            read_message(&mut *record, bytes, base, budget)?;
            Ok(Value::Record(record))
        }
        _ => Err(fault(Problem::Unsupported)),
    }
}

/// What protostuff writes for an `Object`.
fn any(bytes: &[u8], budget: &mut Budget) -> Result<Value, Problem> {
    let mut reader = Reader::new(bytes);
    let value = match key(&mut reader)? {
        (ANY_STRING, LENGTH) => Value::Str(budget.utf8(take(&mut reader)?)?),
        _ => return Err(Problem::Unsupported),
    };
    reader.end()?;
    Ok(value)
}

/// A number, cut to its type's width as protobuf does.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "what the format asks for")]
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are 64 bits")]
fn scalar(ty: Type, value: u64) -> Value {
    match ty {
        Type::Bool => Value::Bool(value != 0),
        Type::Byte => Value::Byte(value as i8),
        Type::Int | Type::UInt => Value::Int(value as i32),
        _ => Value::Long(value as i64),
    }
}

fn skip(reader: &mut Reader<'_>, tag: u32, wire: u8, budget: &mut Budget) -> Result<(), Problem> {
    match wire {
        VARINT => reader.varint().map(drop),
        FIXED64 => reader.take(8).map(drop),
        LENGTH => take(reader).map(drop),
        FIXED32 => reader.take(4).map(drop),
        GROUP => {
            budget.enter()?;
            loop {
                let (inner, wire) = key(reader)?;
                if wire == GROUP_END {
                    budget.leave();
                    return if inner == tag { Ok(()) } else { Err(Problem::Malformed) };
                }
                budget.elements(1)?;
                skip(reader, inner, wire, budget)?;
            }
        }
        _ => Err(Problem::Malformed),
    }
}
