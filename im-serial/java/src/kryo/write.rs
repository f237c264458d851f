//! Writing. Strings that are equal are written each time: Java reads that, and writes a reference only where two fields
//! hold the same object.
#![expect(clippy::wildcard_enum_match_arm, reason = "types and values may become more; what is not meant is refused")]

use alloc::vec::Vec;

use im_serial::class::{Class, List, Record, Type, ValueRef};

use super::{Doubt, Kryo, KryoVersion, Lists};
use crate::{classes, text};

/// Something is longer than Kryo can write, or a list holds what no list here may.
#[derive(PartialEq)]
pub(super) struct TooLong;

pub(super) fn body(kryo: &Kryo, record: &dyn Record, lists: Lists, out: &mut Vec<u8>) -> Result<Doubt, TooLong> {
    let plan = kryo.plan(record.class());
    out.reserve(128);
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&plan.name);
    out.push(1);
    let mut writing = Writing { kryo, top: record.class(), named: Vec::new(), lists, doubt: Doubt::None, out };
    writing.fields(record)?;
    Ok(writing.doubt)
}

/// A class name: always in the form for ASCII, but in Kryo 4 only up to its limit.
pub(super) fn class_name(version: KryoVersion, name: &str, out: &mut Vec<u8>) {
    let any_length = version == KryoVersion::V5;
    // A name is never long enough to fail.
    let _ = string(if any_length { usize::MAX } else { 63 }, name, out);
}

struct Writing<'a> {
    kryo: &'a Kryo,
    /// The class of the body, which has the name id 0.
    top: &'static Class,
    /// The classes with the next name ids.
    named: Vec<Named>,
    lists: Lists,
    doubt: Doubt,
    out: &'a mut Vec<u8>,
}

#[derive(PartialEq)]
enum Named {
    Class(&'static Class),
    List,
}

impl Writing<'_> {
    fn fields(&mut self, record: &dyn Record) -> Result<(), TooLong> {
        for (number, ty) in &self.kryo.plan(record.class()).steps {
            self.value(record.get(*number), ty)?;
        }
        Ok(())
    }

    fn value(&mut self, value: ValueRef<'_>, ty: &Type) -> Result<(), TooLong> {
        match value {
            ValueRef::Null => self.out.push(0),
            ValueRef::Bool(value) => self.out.push(value.into()),
            ValueRef::Byte(value) => self.out.extend_from_slice(&value.to_be_bytes()),
            ValueRef::Int(value) => int(value, self.out),
            ValueRef::Long(value) => long(value, self.out),
            ValueRef::Str(value) => {
                if *ty == Type::Any {
                    self.out.push(3);
                }
                self.string(value)?;
            }
            ValueRef::Bytes(value) => self.bytes(value)?,
            ValueRef::Record(value) => {
                self.class(Named::Class(value.class()));
                self.out.push(1);
                self.fields(value)?;
            }
            ValueRef::List(value) => {
                let Type::List(element) = ty else { return Err(TooLong) };
                self.class(Named::List);
                self.out.push(1);
                match self.kryo.version {
                    KryoVersion::V5 => self.list_5(value, element)?,
                    KryoVersion::V4 => self.list_4(value, element)?,
                }
            }
            _ => return Err(TooLong),
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), TooLong> {
        self.out.push(1);
        string(if self.kryo.version == KryoVersion::V5 { 32 } else { 63 }, text, self.out)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.out.push(1);
        varint(length(bytes.len())? + 1, self.out);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// A class by name: the name itself the first time, its number after that.
    fn class(&mut self, named: Named) {
        self.out.push(1);
        if named == Named::Class(self.top) {
            self.out.push(0);
            return;
        }
        let at = self.named.iter().position(|known| *known == named);
        // There are far fewer classes than 2^31.
        varint(at.unwrap_or(self.named.len()) as u32 + 1, self.out);
        if at.is_some() {
            return;
        }
        match &named {
            Named::Class(class) => self.out.extend_from_slice(&self.kryo.plan(class).name),
            Named::List => class_name(self.kryo.version, classes::ARRAY_LIST, self.out),
        }
        self.named.push(named);
    }

    /// Kryo 5: strings without a class; objects with one class for all, which they always have here.
    fn list_5(&mut self, list: &dyn List, element: &Type) -> Result<(), TooLong> {
        let len = length(list.len())?;
        // The flag says that elements may be null, or are of one class: true of an empty list either way.
        let certain = self.lists == Lists::Certain;
        if len == 0 {
            self.list_5_len(certain, 1);
            return Ok(());
        }
        let elements = || (0..list.len()).map(|index| list.get(index));
        let null = elements().any(|element| matches!(element, ValueRef::Null));
        match element {
            Type::Str => self.list_5_len(null || certain, len + 1),
            Type::Record(class) => {
                self.list_5_len(true, len + 1);
                if elements().all(|element| matches!(element, ValueRef::Null)) {
                    self.out.push(0);
                    return Ok(());
                }
                self.class(Named::Class(class));
                self.out.push(null.into());
            }
            _ => return Err(TooLong),
        }
        for element in elements() {
            match element {
                ValueRef::Null => self.out.push(0),
                ValueRef::Str(text) => self.string(text)?,
                ValueRef::Record(record) => {
                    self.out.push(1);
                    self.fields(record)?;
                }
                _ => return Err(TooLong),
            }
        }
        Ok(())
    }

    fn list_5_len(&mut self, flag: bool, len: u32) {
        if !flag {
            self.doubt = Doubt::Some;
        }
        flagged(flag, len, self.out);
    }

    /// Kryo 4: each element with its class.
    fn list_4(&mut self, list: &dyn List, element: &Type) -> Result<(), TooLong> {
        if !matches!(element, Type::Str | Type::Record(_)) {
            return Err(TooLong);
        }
        varint(length(list.len())?, self.out);
        for index in 0..list.len() {
            self.value(list.get(index), &Type::Any)?;
        }
        Ok(())
    }
}

/// Java's lengths are ints; one more is written.
fn length(len: usize) -> Result<u32, TooLong> {
    u32::try_from(len).ok().filter(|len| *len < i32::MAX as u32).ok_or(TooLong)
}

/// A string: from two ASCII characters to `ascii` of them with the top bit of the last one set, otherwise with its
/// length in UTF-16 units.
fn string(ascii: usize, text: &str, out: &mut Vec<u8>) -> Result<(), TooLong> {
    if (2..=ascii).contains(&text.len()) && text.is_ascii() {
        out.extend_from_slice(text.as_bytes());
        if let Some(last) = out.last_mut() {
            *last |= 0x80;
        }
        return Ok(());
    }
    flagged(true, length(text::units(text))? + 1, out);
    text::write(text, out);
    Ok(())
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint whose first byte holds six bits and a flag in its top bit.
fn flagged(flag: bool, value: u32, out: &mut Vec<u8>) {
    let flag = u8::from(flag) << 7;
    if value < 0x40 {
        out.push(flag | value as u8);
    } else {
        out.push(flag | 0x40 | value as u8 & 0x3f);
        varint(value >> 6, out);
    }
}

fn int(value: i32, out: &mut Vec<u8>) {
    varint((value << 1 ^ value >> 31) as u32, out);
}

/// At most nine bytes; the ninth holds eight bits.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    for _ in 0..8 {
        if rest < 0x80 {
            break;
        }
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
