//! Hessian 2: a definition of each class, then its objects by position.

use alloc::vec::Vec;

use im_serial::class::{Budget, Class, List, Reader, Record, Type, Value, ValueRef};
use im_serial::{DecodeError, EncodeError, Format, FormatId, Limits, Problem};

use super::{CHUNK, SHAPE, check_list, check_name, gather, pass, take_name, to_bytes, to_string};
use crate::table::{self, Table, narrow, push};
use crate::{Options, text};

const NAME: &str = "hessian2";

/// Hessian 2, as `Hessian2Output` and `Hessian2Input` of Caucho's library, without a version header: serialization id 4.
///
/// ```
/// use im_serial::{Format, Limits, class::Declared, v1::HeartBeatMessage};
/// use im_serial_java::Hessian2;
/// let ping = HeartBeatMessage { content: Some("PING".into()), ..HeartBeatMessage::default() };
/// let mut out = Vec::new();
/// Hessian2::default().encode_record(&ping, &mut out).unwrap();
/// assert!(out.starts_with(b"C0\x2bcom.ouyu.im.packet.message.HeartBeatMessage\x97\x04from\x02to"));
/// let mut again = HeartBeatMessage::default();
/// Hessian2::default().decode_record(&mut again, &out, &Limits::default()).unwrap();
/// assert_eq!(again, ping);
/// ```
#[derive(Clone, Debug)]
pub struct Hessian2 {
    options: Options,
    table: Table,
}

impl Hessian2 {
    /// With the options of a deployment. `serialVersionUID`s do not occur in Hessian.
    pub fn new(options: Options) -> Self {
        let mut table = Table::known(&options, SHAPE);
        complete(&mut table);
        Self { options, table }
    }

    /// Prepares for an application's class, which is otherwise done anew for every body.
    #[must_use]
    pub fn with_class(mut self, class: &'static Class) -> Self {
        self.table.add(class, &self.options, SHAPE);
        complete(&mut self.table);
        self
    }

    fn with_table<T>(&self, class: &'static Class, with: impl FnOnce(&Table, usize) -> T) -> T {
        if let Some(root) = self.table.find(class) {
            return with(&self.table, root);
        }
        let mut table = Table::default();
        let root = table.add(class, &self.options, SHAPE);
        complete(&mut table);
        with(&table, root)
    }
}

impl Default for Hessian2 {
    /// OUYU-IM's own names.
    fn default() -> Self {
        Self::new(Options::default())
    }
}

/// Works out the definition of each class.
fn complete(table: &mut Table) {
    for plan in &mut table.plans {
        plan.head.clear();
        plan.head.push(b'C');
        let name = plan.names.first().map(Vec::as_slice).unwrap_or_default();
        write_short(text::encoded_units(name), name, &mut plan.head);
        write_int(i32::try_from(plan.entries.len()).unwrap_or(i32::MAX), &mut plan.head);
        for entry in &plan.entries {
            write_short(text::encoded_units(&entry.name), &entry.name, &mut plan.head);
        }
        plan.hint = plan.head.len() + plan.entries.len() * 9 + 256;
    }
}

impl Format for Hessian2 {
    fn id(&self) -> FormatId {
        FormatId(4)
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        self.with_table(record.class(), |table, root| {
            Encoder { out, table, root: None, others: Vec::new() }.record(record, root)
        })
        .map_err(|_| {
            out.truncate(start);
            EncodeError { format: NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        self.with_table(class, |table, root| {
            let mut decoder = Decoder {
                reader: Reader::new(bytes),
                budget: Budget::new(limits),
                table,
                known: &self.table,
                root,
                definitions: Vec::new(),
                fields: Vec::new(),
                types: Vec::new(),
            };
            decoder.body(record, limits).map_err(|problem| {
                DecodeError::new(NAME, class, problem, Some(decoder.reader.offset()))
            })
        })
    }
}

/// The value cannot be written.
struct Unwritable;

struct Encoder<'o, 't> {
    out: &'o mut Vec<u8>,
    table: &'t Table,
    /// The plan of definition 0.
    root: Option<usize>,
    /// Those of the next definitions.
    others: Vec<usize>,
}

impl Encoder<'_, '_> {
    fn record(&mut self, record: &dyn Record, at: usize) -> Result<(), Unwritable> {
        let plan = self.table.plan(at).map_err(|_| Unwritable)?;
        let definition = match self.root {
            None => {
                self.out.reserve(plan.hint);
                self.out.extend_from_slice(&plan.head);
                self.root = Some(at);
                0
            }
            Some(root) if root == at => 0,
            Some(_) => 1 + match self.others.iter().position(|other| *other == at) {
                Some(other) => other,
                None => {
                    self.out.extend_from_slice(&plan.head);
                    self.others.push(at);
                    self.others.len() - 1
                }
            },
        };
        match u8::try_from(definition) {
            Ok(direct @ 0..16) => self.out.push(0x60 + direct),
            _ => {
                self.out.push(b'O');
                write_int(i32::try_from(definition).map_err(|_| Unwritable)?, self.out);
            }
        }
        for entry in &plan.entries {
            self.value(record.get(entry.number), entry.nested)?;
        }
        Ok(())
    }

    fn value(&mut self, value: ValueRef<'_>, nested: usize) -> Result<(), Unwritable> {
        match value {
            ValueRef::Null => self.out.push(b'N'),
            ValueRef::Bool(value) => self.out.push(if value { b'T' } else { b'F' }),
            ValueRef::Byte(value) => write_int(value.into(), self.out),
            ValueRef::Int(value) => write_int(value, self.out),
            ValueRef::Long(value) => write_long(value, self.out),
            ValueRef::Str(text) => write_string(text, self.out),
            ValueRef::Bytes(bytes) => write_bytes(bytes, self.out),
            ValueRef::Record(record) => self.record(record, nested)?,
            ValueRef::List(list) => self.list(list, nested)?,
            _ => return Err(Unwritable),
        }
        Ok(())
    }

    fn list(&mut self, list: &dyn List, nested: usize) -> Result<(), Unwritable> {
        match u8::try_from(list.len()) {
            Ok(direct @ 0..8) => self.out.push(0x78 + direct),
            _ => {
                self.out.push(0x58);
                write_int(i32::try_from(list.len()).map_err(|_| Unwritable)?, self.out);
            }
        }
        for index in 0..list.len() {
            self.value(list.get(index), nested)?;
        }
        Ok(())
    }
}

fn write_int(value: i32, out: &mut Vec<u8>) {
    let [_, _, high, low] = value.to_be_bytes();
    match value {
        -16..48 => out.push((value + 0x90) as u8),
        -0x800..0x800 => out.extend_from_slice(&[((value >> 8) + 0xc8) as u8, low]),
        -0x40000..0x40000 => out.extend_from_slice(&[((value >> 16) + 0xd4) as u8, high, low]),
        _ => {
            out.push(b'I');
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn write_long(value: i64, out: &mut Vec<u8>) {
    let Ok(short) = i32::try_from(value) else {
        out.push(b'L');
        out.extend_from_slice(&value.to_be_bytes());
        return;
    };
    let [_, _, high, low] = short.to_be_bytes();
    match short {
        -8..16 => out.push((short + 0xe0) as u8),
        -0x800..0x800 => out.extend_from_slice(&[((short >> 8) + 0xf8) as u8, low]),
        -0x40000..0x40000 => out.extend_from_slice(&[((short >> 16) + 0x3c) as u8, high, low]),
        _ => {
            out.push(0x59);
            out.extend_from_slice(&short.to_be_bytes());
        }
    }
}

/// The last chunk of a string, already as bytes; `units` is at most 65,535.
fn write_short(units: usize, bytes: &[u8], out: &mut Vec<u8>) {
    write_string_length(units, out);
    out.extend_from_slice(bytes);
}

fn write_string_length(units: usize, out: &mut Vec<u8>) {
    match units {
        0..32 => out.push(units as u8),
        32..1024 => out.extend_from_slice(&[0x30 + (units >> 8) as u8, units as u8]),
        _ => out.extend_from_slice(&[b'S', (units >> 8) as u8, units as u8]),
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    let (mut rest, mut units) = (text, text::units(text));
    while units > CHUNK {
        let (chunk, more) = text::split(rest, CHUNK);
        let len = text::units(chunk);
        out.extend_from_slice(&[b'R', (len >> 8) as u8, len as u8]);
        text::write(chunk, out);
        (rest, units) = (more, units - len);
    }
    write_string_length(units, out);
    text::write(rest, out);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    // Java's chunks end where its buffer does; its readers take any.
    while let Some((chunk, more)) = rest.split_at_checked(CHUNK).filter(|(_, more)| !more.is_empty()) {
        out.extend_from_slice(&[b'A', (CHUNK >> 8) as u8, CHUNK as u8]);
        out.extend_from_slice(chunk);
        rest = more;
    }
    let len = rest.len();
    match len {
        0..16 => out.push(0x20 + len as u8),
        16..1024 => out.extend_from_slice(&[0x34 + (len >> 8) as u8, len as u8]),
        _ => out.extend_from_slice(&[b'B', (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(rest);
}

struct Decoder<'a, 't> {
    reader: Reader<'a>,
    budget: Budget,
    /// The classes that the body may name.
    table: &'t Table,
    /// Those that at least exist.
    known: &'t Table,
    root: usize,
    definitions: Vec<Definition>,
    /// The fields of all definitions that are not in the usual order: places in the plan's entries.
    fields: Vec<Option<u16>>,
    /// The types of lists and maps, which later ones name by number.
    types: Vec<&'a [u8]>,
}

#[derive(Clone, Copy)]
struct Definition {
    /// The plan of the class, or what is wrong with an object of it where an object is needed.
    plan: Result<usize, Problem>,
    len: usize,
    /// Where its fields begin in `fields`; none if they are the plan's entries.
    fields: Option<usize>,
}

fn string_chunk<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<(&'a [u8], bool), Problem> {
    let (units, last) = string_length(reader, tag)?;
    Ok((text::take(reader, units)?, last))
}

fn string_length(reader: &mut Reader<'_>, tag: u8) -> Result<(usize, bool), Problem> {
    Ok(match tag {
        0..=0x1f => (tag.into(), true),
        0x30..=0x33 => (usize::from(tag - 0x30) << 8 | usize::from(reader.u8()?), true),
        b'R' | b'S' => (u16::from_be_bytes(reader.array()?).into(), tag == b'S'),
        _ => return Err(Problem::Malformed),
    })
}

fn bytes_chunk<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<(&'a [u8], bool), Problem> {
    let (len, last) = match tag {
        0x20..=0x2f => (usize::from(tag - 0x20), true),
        0x34..=0x37 => (usize::from(tag - 0x34) << 8 | usize::from(reader.u8()?), true),
        b'A' | b'B' => (u16::from_be_bytes(reader.array()?).into(), tag == b'B'),
        _ => return Err(Problem::Malformed),
    };
    Ok((reader.take(len)?, last))
}

const fn is_string(tag: u8) -> bool {
    matches!(tag, 0..=0x1f | 0x30..=0x33 | b'R' | b'S')
}

impl<'a, 't> Decoder<'a, 't> {
    fn body(&mut self, record: &mut dyn Record, limits: &Limits) -> Result<(), Problem> {
        if self.reader.rest().len() > limits.max_body {
            return Err(Problem::TooLarge);
        }
        self.budget.elements(1)?;
        match self.tag()? {
            0x51 => return Err(Problem::BackReference),
            tag => self.record(tag, record, self.root)?,
        }
        self.reader.end()
    }

    /// The next tag of a value; definitions before it are read.
    fn tag(&mut self) -> Result<u8, Problem> {
        loop {
            match self.reader.u8()? {
                b'C' => self.definition()?,
                tag => return Ok(tag),
            }
        }
    }

    fn definition(&mut self) -> Result<(), Problem> {
        let table: &'t Table = self.table;
        let root = table.plan(self.root)?;
        let reach = || root.reach.iter().filter_map(|at| Some((*at, table.plans.get(*at)?)));
        // What Java writes for the class is compared as a whole.
        let usual = reach().find(|(_, plan)| {
            plan.head.get(1..).is_some_and(|definition| self.reader.rest().starts_with(definition))
        });
        let definition = match usual {
            Some((at, plan)) => {
                self.budget.elements(plan.entries.len() + 1)?;
                self.reader.take(plan.head.len().saturating_sub(1))?;
                Definition { plan: Ok(at), len: plan.entries.len(), fields: None }
            }
            None => {
                let tag = self.reader.u8()?;
                let (units, last) = string_length(&mut self.reader, tag)?;
                if !last {
                    return Err(Problem::Unsupported);
                }
                let name = take_name(&mut self.reader, units)?;
                let found = reach().find(|(_, plan)| plan.is(name));
                let len = self.length()?;
                self.budget.elements(len.saturating_add(1))?;
                let start = self.fields.len();
                for _ in 0..len {
                    let tag = self.reader.u8()?;
                    let name = gather(&mut self.reader, tag, string_chunk, &mut self.budget)?;
                    let entry = found.and_then(|(_, plan)| plan.entries.iter().position(|entry| *entry.name == *name));
                    push(&mut self.fields, entry.and_then(|at| u16::try_from(at).ok()), &mut self.budget)?;
                }
                let plan = match found {
                    Some((at, _)) => Ok(at),
                    None if self.known.has(name) => Err(Problem::WrongClass),
                    None => Err(Problem::UnknownClass),
                };
                Definition { plan, len, fields: Some(start) }
            }
        };
        push(&mut self.definitions, definition, &mut self.budget)
    }

    /// A length or number, which is never negative.
    fn number(&mut self) -> Result<u32, Problem> {
        let tag = self.reader.u8()?;
        let value = self.int(tag)?;
        u32::try_from(value).map_err(|_| Problem::Malformed)
    }

    /// A count of things that take at least a byte each.
    fn length(&mut self) -> Result<usize, Problem> {
        let len = self.number()?;
        self.reader.check(len.into())
    }

    fn int(&mut self, tag: u8) -> Result<i32, Problem> {
        Ok(match tag {
            0x80..=0xbf => i32::from(tag) - 0x90,
            0xc0..=0xcf => (i32::from(tag) - 0xc8) << 8 | i32::from(self.reader.u8()?),
            0xd0..=0xd7 => (i32::from(tag) - 0xd4) << 16 | i32::from(u16::from_be_bytes(self.reader.array()?)),
            b'I' => i32::from_be_bytes(self.reader.array()?),
            _ => return Err(Problem::Malformed),
        })
    }

    fn long(&mut self, tag: u8) -> Result<i64, Problem> {
        Ok(match tag {
            0xd8..=0xef => i64::from(tag) - 0xe0,
            0xf0..=0xff => (i64::from(tag) - 0xf8) << 8 | i64::from(self.reader.u8()?),
            0x38..=0x3f => (i64::from(tag) - 0x3c) << 16 | i64::from(u16::from_be_bytes(self.reader.array()?)),
            0x59 => i32::from_be_bytes(self.reader.array()?).into(),
            b'L' => i64::from_be_bytes(self.reader.array()?),
            _ => self.int(tag)?.into(),
        })
    }

    fn defined(&mut self, tag: u8) -> Result<Definition, Problem> {
        let number = match tag {
            0x60..=0x6f => usize::from(tag - 0x60),
            _ => usize::try_from(self.number()?).map_err(|_| Problem::Malformed)?,
        };
        self.definitions.get(number).copied().ok_or(Problem::Malformed)
    }

    /// The type that begins a list or map: a name, or the number of an earlier one.
    fn name(&mut self) -> Result<&'a [u8], Problem> {
        let tag = self.reader.u8()?;
        if !is_string(tag) {
            let number = self.int(tag)?;
            let number = usize::try_from(number).map_err(|_| Problem::Malformed)?;
            return self.types.get(number).copied().ok_or(Problem::Malformed);
        }
        let (units, last) = string_length(&mut self.reader, tag)?;
        if !last {
            return Err(Problem::Unsupported);
        }
        let name = take_name(&mut self.reader, units)?;
        push(&mut self.types, name, &mut self.budget)?;
        Ok(name)
    }

    /// Whether the list or map ends here.
    fn ends(&mut self) -> Result<bool, Problem> {
        let end = self.reader.peek()? == b'Z';
        if end {
            self.reader.u8()?;
        }
        Ok(end)
    }

    /// An object or map after its tag, into the record.
    fn record(&mut self, tag: u8, record: &mut dyn Record, at: usize) -> Result<(), Problem> {
        self.budget.enter()?;
        match tag {
            0x60..=0x6f | b'O' => self.object(tag, record, at)?,
            b'H' => self.map(record, at)?,
            b'M' => {
                check_name(self.name()?, at, self.table, self.known)?;
                self.map(record, at)?;
            }
            _ => return Err(Problem::Malformed),
        }
        self.budget.leave();
        Ok(())
    }

    fn object(&mut self, tag: u8, record: &mut dyn Record, at: usize) -> Result<(), Problem> {
        let Definition { plan: defined, len, fields } = self.defined(tag)?;
        if defined? != at {
            return Err(Problem::WrongClass);
        }
        let table: &'t Table = self.table;
        let entries = &table.plan(at)?.entries;
        for index in 0..len {
            let entry = match fields {
                None => Some(index),
                Some(start) => self.fields.get(start + index).copied().flatten().map(usize::from),
            };
            match entry.and_then(|at| entries.get(at)) {
                Some(entry) => {
                    let value = self.value(&entry.field.ty, entry.nested)?;
                    record.set(entry.number, value).map_err(|_| Problem::Malformed)?;
                }
                None => self.skip()?,
            }
        }
        Ok(())
    }

    fn map(&mut self, record: &mut dyn Record, at: usize) -> Result<(), Problem> {
        let table: &'t Table = self.table;
        let entries = &table.plan(at)?.entries;
        while !self.ends()? {
            let entry = if is_string(self.reader.peek()?) {
                let tag = self.reader.u8()?;
                let name = gather(&mut self.reader, tag, string_chunk, &mut self.budget)?;
                entries.iter().find(|entry| *entry.name == *name)
            } else {
                self.skip()?;
                None
            };
            match entry {
                Some(entry) => {
                    let value = self.value(&entry.field.ty, entry.nested)?;
                    record.set(entry.number, value).map_err(|_| Problem::Malformed)?;
                }
                None => self.skip()?,
            }
        }
        Ok(())
    }

    fn value(&mut self, ty: &Type, nested: usize) -> Result<Value, Problem> {
        self.budget.elements(1)?;
        let tag = self.tag()?;
        match tag {
            b'N' => return Ok(Value::Null),
            0x51 => return Err(Problem::BackReference),
            _ => {}
        }
        Ok(match ty {
            Type::Bool => match tag {
                b'T' => Value::Bool(true),
                b'F' => Value::Bool(false),
                _ => return Err(Problem::Malformed),
            },
            Type::Byte => Value::Byte(narrow(self.long(tag)?)?),
            Type::Int | Type::UInt => Value::Int(narrow(self.long(tag)?)?),
            Type::Long | Type::ULong | Type::Id => Value::Long(self.long(tag)?),
            Type::Str | Type::Any => {
                let bytes = gather(&mut self.reader, tag, string_chunk, &mut self.budget)?;
                Value::Str(to_string(&bytes, &mut self.budget)?)
            }
            Type::Bytes => {
                let bytes = gather(&mut self.reader, tag, bytes_chunk, &mut self.budget)?;
                Value::Bytes(to_bytes(bytes, &mut self.budget)?)
            }
            Type::Record(class) => {
                self.budget.alloc(self.table.plan(nested)?.size)?;
                let mut record = (class.new)();
                self.record(tag, &mut *record, nested)?;
                Value::Record(record)
            }
            Type::List(item) => Value::List(self.list(tag, item, nested)?),
            _ => return Err(Problem::Malformed),
        })
    }

    /// What begins a list: whether it has a type, and its length unless it is open-ended.
    fn list_head(&mut self, tag: u8) -> Result<(&'a [u8], Option<usize>), Problem> {
        let name = match tag {
            0x55 | b'V' | 0x70..=0x77 => self.name()?,
            0x57 | 0x58 | 0x78..=0x7f => &[],
            _ => return Err(Problem::Malformed),
        };
        let len = match tag {
            0x55 | 0x57 => None,
            b'V' | 0x58 => Some(self.length()?),
            _ => Some(self.reader.check(u64::from(tag & 7))?),
        };
        Ok((name, len))
    }

    fn list(&mut self, tag: u8, item: &Type, nested: usize) -> Result<Vec<Value>, Problem> {
        self.budget.enter()?;
        let (name, len) = self.list_head(tag)?;
        check_list(name)?;
        let slot = table::slot(item, self.table.plans.get(nested).map_or(0, |plan| plan.size));
        let list = match len {
            Some(len) => {
                let mut list = table::list(len, slot, &mut self.budget)?;
                for _ in 0..len {
                    list.push(self.value(item, nested)?);
                }
                list
            }
            None => {
                let mut list = Vec::new();
                while !self.ends()? {
                    self.budget.alloc(slot)?;
                    let value = self.value(item, nested)?;
                    push(&mut list, value, &mut self.budget)?;
                }
                list
            }
        };
        self.budget.leave();
        Ok(list)
    }

    /// Passes over a value of any kind.
    fn skip(&mut self) -> Result<(), Problem> {
        self.budget.elements(1)?;
        let tag = self.tag()?;
        match tag {
            b'N' | b'T' | b'F' | 0x5b | 0x5c => {}
            0x5d => drop(self.reader.take(1)?),
            0x5e => drop(self.reader.take(2)?),
            0x5f | 0x4b => drop(self.reader.take(4)?),
            b'D' | 0x4a => drop(self.reader.take(8)?),
            0..=0x1f | 0x30..=0x33 | b'R' | b'S' => pass(&mut self.reader, tag, string_chunk)?,
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => pass(&mut self.reader, tag, bytes_chunk)?,
            0x38..=0x3f | b'I' | b'L' | 0x59 | 0x80..=0xff => drop(self.long(tag)?),
            0x51 => return Err(Problem::BackReference),
            0x55 | b'V' | 0x57 | 0x58 | 0x70..=0x7f => {
                self.budget.enter()?;
                match self.list_head(tag)?.1 {
                    Some(len) => {
                        for _ in 0..len {
                            self.skip()?;
                        }
                    }
                    None => {
                        while !self.ends()? {
                            self.skip()?;
                        }
                    }
                }
                self.budget.leave();
            }
            b'H' | b'M' => {
                self.budget.enter()?;
                if tag == b'M' {
                    self.name()?;
                }
                while !self.ends()? {
                    self.skip()?;
                    self.skip()?;
                }
                self.budget.leave();
            }
            0x60..=0x6f | b'O' => {
                self.budget.enter()?;
                for _ in 0..self.defined(tag)?.len {
                    self.skip()?;
                }
                self.budget.leave();
            }
            _ => return Err(Problem::Malformed),
        }
        Ok(())
    }
}
