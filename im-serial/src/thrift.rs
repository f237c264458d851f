//! Thrift's compact protocol. The schema is `docs/spec/im.thrift` in the repository: the field numbers of protobuf, and its
//! rules for what is left out.
//!
//! Over [`Reader`] and not by the `thrift` crate, which needs std and copies each string out of a transport before anybody
//! can count it; a test holds the bytes to that crate's.

use alloc::vec::Vec;

use crate::budget::{Budget, Limits};
use crate::class::{Presence, Reader, Record, Type, Value, ValueRef};
use crate::format::{DecodeError, EncodeError, Format, FormatId, Problem};
use crate::varint::put;

/// Thrift's compact protocol, by the class table.
///
/// ```
/// use im_serial::{Format, FormatId, Thrift};
/// assert_eq!((Thrift.id(), Thrift.name()), (FormatId::THRIFT, "thrift"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Thrift;

const NAME: &str = "thrift";

impl Format for Thrift {
    fn id(&self) -> FormatId {
        FormatId::THRIFT
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        write_struct(record, out).map_err(|()| {
            out.truncate(start);
            EncodeError { format: NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        if bytes.len() > limits.max_body {
            return Err(DecodeError::new(NAME, class, Problem::TooLarge, None));
        }
        let mut reader = Reader::new(bytes);
        read_struct(record, &mut reader, &mut Budget::new(limits))
            .and_then(|()| reader.end())
            .map_err(|problem| DecodeError::new(NAME, class, problem, Some(reader.offset())))
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// The type as a field or an element has it; a boolean field has its value there.
fn code(ty: Type) -> u8 {
    match ty {
        Type::Bool => TRUE,
        Type::Byte => BYTE,
        Type::Int | Type::UInt => I32,
        Type::Long | Type::ULong | Type::Id => I64,
        Type::Str | Type::Any | Type::Bytes => BINARY,
        Type::Record(_) => STRUCT,
        Type::List(_) => LIST,
    }
}

#[expect(clippy::cast_sign_loss, reason = "zigzag moves the sign")]
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[expect(clippy::cast_possible_wrap, reason = "zigzag moves the sign")]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are never left out")]
fn write_struct(record: &dyn Record, out: &mut Vec<u8>) -> Result<(), ()> {
    let class = record.class();
    let mut last = 0;
    for (number, field) in class.by_tag() {
        let value = record.get(number);
        let left_out = match value {
            ValueRef::Null => true,
            ValueRef::Bool(false) | ValueRef::Byte(0) | ValueRef::Int(0) | ValueRef::Long(0) => {
                class.presence == Presence::Default
            }
            ValueRef::Str(text) => class.presence == Presence::Default && text.is_empty(),
            ValueRef::Bytes(bytes) => class.presence == Presence::Default && bytes.is_empty(),
            ValueRef::List(list) => class.presence == Presence::Default && list.is_empty(),
            _ => false,
        };
        if left_out {
            continue;
        }
        let code = if matches!(value, ValueRef::Bool(false)) { FALSE } else { code(field.ty) };
        let tag = i16::try_from(field.tag).map_err(|_| ())?;
        match u8::try_from(tag - last) {
            Ok(delta @ 1..=15) => out.push(delta << 4 | code),
            _ => {
                out.push(code);
                put(zigzag(tag.into()), out);
            }
        }
        last = tag;
        if !matches!(value, ValueRef::Bool(_)) {
            write_value(field.ty, value, out)?;
        }
    }
    out.push(0);
    Ok(())
}

fn write_value(ty: Type, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), ()> {
    match value {
        ValueRef::Null => return Err(()),
        // Only in a list.
        ValueRef::Bool(value) => out.push(if value { TRUE } else { FALSE }),
        ValueRef::Byte(value) => out.extend(value.to_le_bytes()),
        ValueRef::Int(value) => put(zigzag(value.into()), out),
        ValueRef::Long(value) => put(zigzag(value), out),
        ValueRef::Str(text) => write_bytes(text.as_bytes(), out),
        ValueRef::Bytes(bytes) => write_bytes(bytes, out),
        ValueRef::Record(record) => write_struct(record, out)?,
        ValueRef::List(list) => {
            let Type::List(element) = ty else { return Err(()) };
            // There is no null in a list.
            let there =
                || (0..list.len()).map(|index| list.get(index)).filter(|value| !matches!(value, ValueRef::Null));
            match u8::try_from(there().count()) {
                Ok(count @ 0..15) => out.push(count << 4 | code(*element)),
                _ => {
                    out.push(0xf0 | code(*element));
                    put(there().count() as u64, out);
                }
            }
            for value in there() {
                write_value(*element, value, out)?;
            }
        }
    }
    Ok(())
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn read_struct(record: &mut dyn Record, reader: &mut Reader<'_>, budget: &mut Budget) -> Result<(), Problem> {
    let class = record.class();
    let mut last = 0;
    budget.enter()?;
    while let Some((id, found)) = field_header(reader, &mut last)? {
        budget.elements(1)?;
        let known = class.all().find(|(_, field)| i64::from(field.tag) == i64::from(id));
        let Some((number, field)) = known else {
            if !matches!(found, TRUE | FALSE) {
                skip(found, reader, budget)?;
            }
            continue;
        };
        let value = match (field.ty, found) {
            (Type::Bool, TRUE | FALSE) => Value::Bool(found == TRUE),
            (ty, _) if ty != Type::Bool && found == code(ty) => read_value(ty, reader, budget)?,
            _ => return Err(Problem::Malformed),
        };
        record.set(number, value).map_err(|_| Problem::Malformed)?;
    }
    budget.leave();
    Ok(())
}

/// The field's id and type, or none at the end of the struct.
fn field_header(reader: &mut Reader<'_>, last: &mut i16) -> Result<Option<(i16, u8)>, Problem> {
    let byte = reader.u8()?;
    let (delta, code) = (byte >> 4, byte & 0x0f);
    if byte == 0 {
        return Ok(None);
    }
    *last = match delta {
        0 => i16::try_from(unzigzag(reader.varint()?)).map_err(|_| Problem::Malformed)?,
        delta => last.checked_add(delta.into()).ok_or(Problem::Malformed)?,
    };
    Ok(Some((*last, code)))
}

fn list_header(reader: &mut Reader<'_>) -> Result<(usize, u8), Problem> {
    let byte = reader.u8()?;
    let count = match byte >> 4 {
        15 => reader.varint()?,
        count => count.into(),
    };
    // An element is a byte or more.
    Ok((reader.check(count)?, byte & 0x0f))
}

fn take<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Problem> {
    let len = reader.varint()?;
    let len = reader.check(len)?;
    reader.take(len)
}

fn read_value(ty: Type, reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Value, Problem> {
    Ok(match ty {
        // Only in a list. Old writers have 0 for false.
        Type::Bool => Value::Bool(match reader.u8()? {
            TRUE => true,
            FALSE | 0 => false,
            _ => return Err(Problem::Malformed),
        }),
        Type::Byte => Value::Byte(i8::from_le_bytes(reader.array()?)),
        Type::Int | Type::UInt => {
            Value::Int(i32::try_from(unzigzag(reader.varint()?)).map_err(|_| Problem::Malformed)?)
        }
        Type::Long | Type::ULong | Type::Id => Value::Long(unzigzag(reader.varint()?)),
        Type::Str | Type::Any => Value::Str(budget.utf8(take(reader)?)?),
        Type::Bytes => Value::Bytes(budget.bytes(take(reader)?)?),
        Type::Record(class) => {
            budget.alloc(class.size)?;
            let mut record = (class.new)();
            read_struct(&mut *record, reader, budget)?;
            Value::Record(record)
        }
        Type::List(element) => {
            let (count, found) = list_header(reader)?;
            let expected = found == code(*element) || (*element == Type::Bool && found == FALSE);
            if !expected && count > 0 {
                return Err(Problem::Malformed);
            }
            budget.enter()?;
            let mut values = Vec::new();
            for _ in 0..count {
                budget.element(element)?;
                values.push(read_value(*element, reader, budget)?);
            }
            budget.leave();
            Value::List(values)
        }
    })
}

fn skip(code: u8, reader: &mut Reader<'_>, budget: &mut Budget) -> Result<(), Problem> {
    match code {
        // In a list or map; a field has its value in the type.
        TRUE | FALSE | BYTE => reader.take(1).map(drop),
        I16 | I32 | I64 => reader.varint().map(drop),
        DOUBLE => reader.take(8).map(drop),
        BINARY => take(reader).map(drop),
        UUID => reader.take(16).map(drop),
        LIST | SET => {
            let (count, element) = list_header(reader)?;
            budget.elements(count)?;
            budget.enter()?;
            for _ in 0..count {
                skip(element, reader, budget)?;
            }
            budget.leave();
            Ok(())
        }
        MAP => {
            let count = reader.varint()?;
            let count = reader.check(count)?;
            if count == 0 {
                return Ok(());
            }
            let types = reader.u8()?;
            budget.elements(count.saturating_mul(2))?;
            budget.enter()?;
            for _ in 0..count {
                skip(types >> 4, reader, budget)?;
                skip(types & 0x0f, reader, budget)?;
            }
            budget.leave();
            Ok(())
        }
        STRUCT => {
            budget.enter()?;
            let mut last = 0;
            while let Some((_, code)) = field_header(reader, &mut last)? {
                budget.elements(1)?;
                if !matches!(code, TRUE | FALSE) {
                    skip(code, reader, budget)?;
                }
            }
            budget.leave();
            Ok(())
        }
        _ => Err(Problem::Malformed),
    }
}
