//! Reading. Positional and without types: only the class table says what comes next.
#![expect(clippy::wildcard_enum_match_arm, reason = "types and values may become more; what is not meant is refused")]

use alloc::string::String;
use alloc::vec::Vec;
use core::mem::size_of;

use im_serial::class::{Budget, Class, Reader, Record, Type, Value};
use im_serial::{Limits, Problem};

use super::{Doubt, Kryo, KryoVersion};
use crate::{classes, text};

pub(super) fn body(
    kryo: &Kryo,
    record: &mut dyn Record,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), (Problem, usize)> {
    let mut reading = Reading::new(kryo, record.class(), bytes, Budget::new(limits));
    reading.body(record).map_err(|problem| (problem, reading.reader.offset()))?;
    if reading.doubt == Doubt::Some && reading.as_version_4().is_ok() {
        return Err((Problem::Malformed, reading.reader.offset()));
    }
    Ok(())
}

/// Whether a body of this class, written for Kryo 5, may read as one of Kryo 4 too.
pub(super) fn may_be_version_4(kryo: &Kryo, class: &'static Class, body: &[u8]) -> bool {
    match Reading::new(kryo, class, body, Budget::new(&Limits::new(body.len()))).as_version_4() {
        Ok(()) => true,
        // A reader with other limits would have gone on.
        Err(problem) => matches!(
            problem,
            Problem::TooDeep | Problem::TooManyElements | Problem::StringTooLong | Problem::AllocationBudget
        ),
    }
}

struct Reading<'a> {
    kryo: &'a Kryo,
    version: KryoVersion,
    /// The class of the body, which has the name id 0.
    top: &'static Class,
    /// The classes with the next name ids.
    named: Vec<Named>,
    slots: Slots,
    bytes: &'a [u8],
    reader: Reader<'a>,
    budget: Budget,
    doubt: Doubt,
}

#[derive(Clone, Copy, PartialEq)]
enum Named {
    Class(&'static Class),
    List,
}

/// What stands before an object.
enum Marker {
    Null,
    New,
    Again(u32),
}

impl<'a> Reading<'a> {
    fn new(kryo: &'a Kryo, top: &'static Class, bytes: &'a [u8], budget: Budget) -> Self {
        Self {
            kryo,
            version: kryo.version,
            top,
            named: Vec::new(),
            slots: Slots::default(),
            bytes,
            reader: Reader::new(bytes),
            budget,
            doubt: Doubt::None,
        }
    }

    fn body(&mut self, record: &mut dyn Record) -> Result<(), Problem> {
        // What nearly every body begins with.
        let name = &self.kryo.plan(self.top).name;
        let usual = self.reader.rest().strip_prefix(&[1, 0]).and_then(|rest| rest.strip_prefix(&**name));
        if usual.is_some() {
            self.reader.take(2 + name.len())?;
        } else if self.varint()? != 1 || self.varint()? != 0 {
            return Err(Problem::Malformed);
        } else {
            self.class_name(Named::Class(self.top))?;
        }
        self.new_object()?;
        self.fields(record)?;
        self.reader.end()
    }

    /// Whether the body reads as one of Kryo 4 too. Kryo 5 takes some lists of Kryo 4 for others, silently, and the
    /// fields behind them for something else; the reverse does not happen, but by design of an attacker whose own
    /// message it is.
    fn as_version_4(&mut self) -> Result<(), Problem> {
        self.budget.alloc(self.top.size)?;
        let mut record = (self.top.new)();
        let mut other = Reading::new(self.kryo, self.top, self.bytes, self.budget.clone());
        other.version = KryoVersion::V4;
        other.body(&mut *record)
    }

    fn fields(&mut self, record: &mut dyn Record) -> Result<(), Problem> {
        let plan = self.kryo.plan(record.class());
        self.budget.enter()?;
        self.budget.elements(plan.steps.len())?;
        for (number, ty) in &plan.steps {
            let value = match ty {
                Type::Bool => Value::Bool(self.flag()?),
                Type::Byte => Value::Byte(self.reader.u8()? as i8),
                Type::Int | Type::UInt => Value::Int(self.int()?),
                Type::Long | Type::ULong | Type::Id => Value::Long(self.long()?),
                Type::Str => self.string()?,
                Type::Bytes => self.byte_array()?,
                Type::Any => match self.varint()? {
                    0 => Value::Null,
                    3 => self.present_string()?,
                    _ => return Err(Problem::Unsupported),
                },
                Type::Record(class) => {
                    if self.class(Named::Class(class))? {
                        self.new_object()?;
                        self.record(class)?
                    } else {
                        Value::Null
                    }
                }
                Type::List(element) => {
                    if self.class(Named::List)? {
                        self.new_object()?;
                        match self.version {
                            KryoVersion::V5 => self.list_5(element)?,
                            KryoVersion::V4 => self.list_4(element)?,
                        }
                    } else {
                        Value::Null
                    }
                }
                _ => return Err(Problem::Unsupported),
            };
            record.set(*number, value).map_err(|_| Problem::Malformed)?;
        }
        self.budget.leave();
        Ok(())
    }

    fn record(&mut self, class: &'static Class) -> Result<Value, Problem> {
        self.budget.alloc(class.size)?;
        let mut record = (class.new)();
        self.fields(&mut *record)?;
        Ok(Value::Record(record))
    }

    /// The list and what [`FieldValue`](im_serial::class::FieldValue) makes of it; before it is allocated.
    fn list_of(&mut self, len: usize, element: &Type) -> Result<Vec<Value>, Problem> {
        self.budget.elements(len)?;
        let typed = match element {
            Type::Record(class) => class.size + size_of::<usize>(),
            _ => size_of::<String>(),
        };
        self.budget.alloc(len.saturating_mul(size_of::<Value>() + typed))?;
        Ok(Vec::with_capacity(len))
    }

    /// See [`Writing::list_5`](super::write).
    fn list_5(&mut self, element: &Type) -> Result<Value, Problem> {
        let (flag, len) = flagged(&mut self.reader)?;
        let len = len.checked_sub(1).ok_or(Problem::Malformed)?;
        if !flag {
            self.doubt = Doubt::Some;
        }
        if len == 0 {
            return Ok(Value::List(Vec::new()));
        }
        let mut null = flag;
        let class = match element {
            Type::Str => None,
            Type::Record(class) => {
                // Without the flag the elements would be of several classes.
                if !flag {
                    return Err(Problem::Malformed);
                }
                if !self.class(Named::Class(class))? {
                    let mut values = self.list_of(len as usize, element)?;
                    values.resize_with(len as usize, || Value::Null);
                    return Ok(Value::List(values));
                }
                null = self.flag()?;
                Some(*class)
            }
            _ => return Err(Problem::Unsupported),
        };
        let len = self.reader.check(len.into())?;
        let mut values = self.list_of(len, element)?;
        self.budget.enter()?;
        for _ in 0..len {
            let value = match class {
                None => self.string()?,
                Some(class) => match self.marker()? {
                    Marker::Null => Value::Null,
                    Marker::New => {
                        self.slots.push(Slot::Other, &mut self.budget)?;
                        self.record(class)?
                    }
                    Marker::Again(_) => return Err(Problem::BackReference),
                },
            };
            if !null && matches!(value, Value::Null) {
                return Err(Problem::Malformed);
            }
            values.push(value);
        }
        self.budget.leave();
        Ok(Value::List(values))
    }

    /// See [`Writing::list_4`](super::write).
    fn list_4(&mut self, element: &Type) -> Result<Value, Problem> {
        let len = self.varint()?;
        let len = self.reader.check(len.into())?;
        let mut values = self.list_of(len, element)?;
        self.budget.enter()?;
        for _ in 0..len {
            values.push(match element {
                Type::Str => match self.varint()? {
                    0 => Value::Null,
                    3 => self.present_string()?,
                    _ => return Err(Problem::Malformed),
                },
                Type::Record(class) => {
                    if self.class(Named::Class(class))? {
                        self.new_object()?;
                        self.record(class)?
                    } else {
                        Value::Null
                    }
                }
                _ => return Err(Problem::Unsupported),
            });
        }
        self.budget.leave();
        Ok(Value::List(values))
    }

    /// A class, which must be `expected`; false for null.
    fn class(&mut self, expected: Named) -> Result<bool, Problem> {
        match self.varint()? {
            0 => return Ok(false),
            1 => {}
            // A class that Kryo registers itself.
            _ => return Err(Problem::Malformed),
        }
        let named = match self.varint()? {
            0 => Named::Class(self.top),
            id => match self.named.get(id as usize - 1) {
                Some(named) => *named,
                None if id as usize == self.named.len() + 1 => {
                    self.class_name(expected)?;
                    self.budget.alloc(4 * size_of::<Named>())?;
                    self.named.push(expected);
                    expected
                }
                None => return Err(Problem::Malformed),
            },
        };
        if named == expected { Ok(true) } else { Err(Problem::WrongClass) }
    }

    fn class_name(&mut self, expected: Named) -> Result<(), Problem> {
        let rest = self.reader.clone();
        let name = string(&mut self.reader, &mut self.budget)?;
        let found = match expected {
            Named::Class(class) => classes::check(&self.kryo.options, self.top, class, &name),
            Named::List if name == classes::ARRAY_LIST => Ok(()),
            Named::List => match classes::check(&self.kryo.options, self.top, self.top, &name) {
                Ok(()) => Err(Problem::WrongClass),
                problem => problem,
            },
        };
        if found.is_err() {
            self.reader = rest;
        }
        found
    }

    fn marker(&mut self) -> Result<Marker, Problem> {
        Ok(match self.varint()? {
            0 => Marker::Null,
            1 => Marker::New,
            again => Marker::Again(again - 2),
        })
    }

    /// The marker of an object that is neither null nor shared, because its class said so.
    fn new_object(&mut self) -> Result<(), Problem> {
        match self.marker()? {
            Marker::New => self.slots.push(Slot::Other, &mut self.budget),
            Marker::Null => Err(Problem::Malformed),
            Marker::Again(_) => Err(Problem::BackReference),
        }
    }

    fn string(&mut self) -> Result<Value, Problem> {
        match self.marker()? {
            Marker::Null => Ok(Value::Null),
            Marker::New => {
                self.slots.push(Slot::Str(self.reader.offset()), &mut self.budget)?;
                string(&mut self.reader, &mut self.budget).map(Value::Str)
            }
            Marker::Again(slot) => match self.slots.get(slot) {
                Some(Slot::Str(at)) => string(&mut self.at(at)?, &mut self.budget).map(Value::Str),
                Some(Slot::Other) => Err(Problem::BackReference),
                _ => Err(Problem::Malformed),
            },
        }
    }

    fn present_string(&mut self) -> Result<Value, Problem> {
        match self.string()? {
            Value::Null => Err(Problem::Malformed),
            value => Ok(value),
        }
    }

    fn byte_array(&mut self) -> Result<Value, Problem> {
        match self.marker()? {
            Marker::Null => Ok(Value::Null),
            Marker::New => {
                self.slots.push(Slot::Bytes(self.reader.offset()), &mut self.budget)?;
                bytes(&mut self.reader, &mut self.budget).map(Value::Bytes)
            }
            Marker::Again(slot) => match self.slots.get(slot) {
                Some(Slot::Bytes(at)) => bytes(&mut self.at(at)?, &mut self.budget).map(Value::Bytes),
                Some(Slot::Other) => Err(Problem::BackReference),
                _ => Err(Problem::Malformed),
            },
        }
    }

    /// A reader at an earlier offset.
    fn at(&self, offset: usize) -> Result<Reader<'a>, Problem> {
        self.bytes.get(offset..).map(Reader::new).ok_or(Problem::Malformed)
    }

    fn flag(&mut self) -> Result<bool, Problem> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Problem::Malformed),
        }
    }

    fn varint(&mut self) -> Result<u32, Problem> {
        varint(&mut self.reader)
    }

    fn int(&mut self) -> Result<i32, Problem> {
        let value = self.varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// See [`long`](super::write).
    fn long(&mut self) -> Result<i64, Problem> {
        let mut value = 0u64;
        for shift in (0..56).step_by(7) {
            let byte = self.reader.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag(value));
            }
        }
        Ok(unzigzag(value | u64::from(self.reader.u8()?) << 56))
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn varint(reader: &mut Reader<'_>) -> Result<u32, Problem> {
    let first = reader.u8()?;
    if first < 0x80 {
        return Ok(first.into());
    }
    let mut value = u32::from(first & 0x7f);
    for shift in [7, 14, 21] {
        let byte = reader.u8()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    match reader.u8()? {
        byte @ 0..=0x0f => Ok(value | u32::from(byte) << 28),
        _ => Err(Problem::Malformed),
    }
}

/// See [`flagged`](super::write).
fn flagged(reader: &mut Reader<'_>) -> Result<(bool, u32), Problem> {
    let first = reader.u8()?;
    let low = u32::from(first & 0x3f);
    let value = match first & 0x40 {
        0 => low,
        // Java's ints.
        _ => match varint(reader)? {
            high @ 0..=0x1ff_ffff => low | high << 6,
            _ => return Err(Problem::Malformed),
        },
    };
    Ok((first & 0x80 != 0, value))
}

/// Both forms, whatever the version: its readers take both.
fn string(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<String, Problem> {
    if reader.peek()? < 0x80 {
        let rest = reader.rest();
        let end = rest.iter().position(|byte| *byte >= 0x80).ok_or(Problem::Truncated)?;
        budget.units(end + 1)?;
        let mut bytes = budget.bytes(reader.take(end + 1)?)?;
        if let Some(last) = bytes.last_mut() {
            *last &= 0x7f;
        }
        return String::from_utf8(bytes).map_err(|_| Problem::BadString);
    }
    let (_, units) = flagged(reader)?;
    let units = units.checked_sub(1).ok_or(Problem::Malformed)?;
    let units = reader.check(units.into())?;
    budget.units(units)?;
    text::decode(text::take(reader, units)?, budget)
}

fn bytes(reader: &mut Reader<'_>, budget: &mut Budget) -> Result<Vec<u8>, Problem> {
    let len = varint(reader)?.checked_sub(1).ok_or(Problem::Malformed)?;
    let len = reader.check(len.into())?;
    budget.bytes(reader.take(len)?)
}

/// An object that a marker may refer to: what it is and where its value stands.
#[derive(Clone, Copy)]
enum Slot {
    Str(usize),
    Bytes(usize),
    Other,
}

/// The objects so far. An offset takes 30 bits, what it is the other two.
#[derive(Default)]
struct Slots {
    len: usize,
    first: [u32; 16],
    more: Vec<u32>,
}

impl Slots {
    fn push(&mut self, slot: Slot, budget: &mut Budget) -> Result<(), Problem> {
        let slot = match slot {
            Slot::Str(at) => at as u32 | 1 << 30,
            Slot::Bytes(at) => at as u32 | 2 << 30,
            Slot::Other => 0,
        };
        match self.first.get_mut(self.len) {
            Some(free) => *free = slot,
            None => {
                // What a growing vector asks for in all, per element.
                budget.alloc(4 * size_of::<u32>())?;
                self.more.push(slot);
            }
        }
        self.len += 1;
        Ok(())
    }

    fn get(&self, number: u32) -> Option<Slot> {
        let number = number as usize;
        if number >= self.len {
            return None;
        }
        let slot = self.first.get(number).or_else(|| self.more.get(number - self.first.len()))?;
        let at = (slot & ((1 << 30) - 1)) as usize;
        Some(match slot >> 30 {
            1 => Slot::Str(at),
            2 => Slot::Bytes(at),
            _ => Slot::Other,
        })
    }
}
