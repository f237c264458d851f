//! Hessian 1: every object a map of names and values.

use alloc::vec::Vec;

use im_serial::class::{Budget, Class, List, Reader, Record, Type, Value, ValueRef};
use im_serial::{DecodeError, EncodeError, Format, FormatId, Limits, Problem};

use super::{CHUNK, SHAPE, check_list, check_name, gather, pass, take_name, to_bytes, to_string};
use crate::table::{self, Table, narrow};
use crate::{Options, text};

const NAME: &str = "hessian";

/// Hessian 1, as `HessianOutput` and `HessianInput` of Caucho's library: serialization id 3.
///
/// ```
/// use im_serial::{Format, Limits, class::Declared, v1::HeartBeatMessage};
/// use im_serial_java::Hessian;
/// let ping = HeartBeatMessage { content: Some("PING".into()), ..HeartBeatMessage::default() };
/// let mut out = Vec::new();
/// Hessian::default().encode_record(&ping, &mut out).unwrap();
/// assert!(out.starts_with(b"Mt\0\x2bcom.ouyu.im.packet.message.HeartBeatMessage"));
/// let mut again = HeartBeatMessage::default();
/// Hessian::default().decode_record(&mut again, &out, &Limits::default()).unwrap();
/// assert_eq!(again, ping);
/// ```
#[derive(Clone, Debug)]
pub struct Hessian {
    options: Options,
    table: Table,
}

impl Hessian {
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

impl Default for Hessian {
    /// OUYU-IM's own names.
    fn default() -> Self {
        Self::new(Options::default())
    }
}

/// Works out what Java writes before each value.
fn complete(table: &mut Table) {
    for plan in &mut table.plans {
        plan.head.clear();
        plan.head.push(b'M');
        let name = plan.names.first().map(Vec::as_slice).unwrap_or_default();
        tagged_name(b't', name, &mut plan.head);
        plan.hint = plan.head.len() + 256;
        for entry in &mut plan.entries {
            entry.key.clear();
            tagged_name(b'S', &entry.name, &mut entry.key);
            plan.hint += entry.key.len() + 9;
        }
    }
}

/// Names are counted in units as strings are; more than 65,535 do not exist in a class file.
fn tagged_name(tag: u8, name: &[u8], out: &mut Vec<u8>) {
    let units = text::encoded_units(name);
    out.push(tag);
    out.extend_from_slice(&u16::try_from(units).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(name);
}

impl Format for Hessian {
    fn id(&self) -> FormatId {
        FormatId(3)
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        self.with_table(record.class(), |table, root| write_record(record, root, table, out)).map_err(|_| {
            out.truncate(start);
            EncodeError { format: NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        self.with_table(class, |table, root| {
            let mut decoder =
                Decoder { reader: Reader::new(bytes), budget: Budget::new(limits), table, known: &self.table };
            decoder.body(record, root, limits).map_err(|problem| {
                DecodeError::new(NAME, class, problem, Some(decoder.reader.offset()))
            })
        })
    }
}

/// The value cannot be written.
struct Unwritable;

fn write_record(record: &dyn Record, plan: usize, table: &Table, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let plan = table.plan(plan).map_err(|_| Unwritable)?;
    out.reserve(plan.hint);
    out.extend_from_slice(&plan.head);
    for entry in &plan.entries {
        out.extend_from_slice(&entry.key);
        write_value(record.get(entry.number), entry.nested, table, out)?;
    }
    out.push(b'z');
    Ok(())
}

fn write_value(value: ValueRef<'_>, nested: usize, table: &Table, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    match value {
        ValueRef::Null => out.push(b'N'),
        ValueRef::Bool(value) => out.push(if value { b'T' } else { b'F' }),
        ValueRef::Byte(value) => write_int(value.into(), out),
        ValueRef::Int(value) => write_int(value, out),
        ValueRef::Long(value) => {
            out.push(b'L');
            out.extend_from_slice(&value.to_be_bytes());
        }
        ValueRef::Str(text) => write_string(text, out),
        ValueRef::Bytes(bytes) => {
            let mut rest = bytes;
            while let Some((chunk, more)) = rest.split_at_checked(CHUNK).filter(|(_, more)| !more.is_empty()) {
                write_chunk(b'b', CHUNK, out);
                out.extend_from_slice(chunk);
                rest = more;
            }
            write_chunk(b'B', rest.len(), out);
            out.extend_from_slice(rest);
        }
        ValueRef::Record(record) => write_record(record, nested, table, out)?,
        ValueRef::List(list) => write_list(list, nested, table, out)?,
        _ => return Err(Unwritable),
    }
    Ok(())
}

fn write_int(value: i32, out: &mut Vec<u8>) {
    out.push(b'I');
    out.extend_from_slice(&value.to_be_bytes());
}

/// Tag and length, which is at most [`CHUNK`].
fn write_chunk(tag: u8, len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[tag, (len >> 8) as u8, len as u8]);
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    let (mut rest, mut units) = (text, text::units(text));
    while units > CHUNK {
        let (chunk, more) = text::split(rest, CHUNK);
        let len = text::units(chunk);
        write_chunk(b's', len, out);
        text::write(chunk, out);
        (rest, units) = (more, units - len);
    }
    write_chunk(b'S', units, out);
    text::write(rest, out);
}

fn write_list(list: &dyn List, nested: usize, table: &Table, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let len = i32::try_from(list.len()).map_err(|_| Unwritable)?;
    out.extend_from_slice(b"Vl");
    out.extend_from_slice(&len.to_be_bytes());
    for index in 0..list.len() {
        write_value(list.get(index), nested, table, out)?;
    }
    out.push(b'z');
    Ok(())
}

struct Decoder<'a, 't> {
    reader: Reader<'a>,
    budget: Budget,
    /// The classes that the body may name.
    table: &'t Table,
    /// Those that at least exist.
    known: &'t Table,
}

fn string_chunk<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<(&'a [u8], bool), Problem> {
    let last = match tag {
        b's' | b'x' => false,
        b'S' | b'X' => true,
        _ => return Err(Problem::Malformed),
    };
    let units = u16::from_be_bytes(reader.array()?);
    Ok((text::take(reader, units.into())?, last))
}

fn bytes_chunk<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<(&'a [u8], bool), Problem> {
    let last = match tag {
        b'b' => false,
        b'B' => true,
        _ => return Err(Problem::Malformed),
    };
    let len = u16::from_be_bytes(reader.array()?);
    Ok((reader.take(len.into())?, last))
}

impl<'t> Decoder<'_, 't> {
    fn body(&mut self, record: &mut dyn Record, root: usize, limits: &Limits) -> Result<(), Problem> {
        if self.reader.rest().len() > limits.max_body {
            return Err(Problem::TooLarge);
        }
        self.budget.elements(1)?;
        match self.reader.u8()? {
            b'M' => self.record(record, root)?,
            b'R' => return Err(Problem::BackReference),
            _ => return Err(Problem::Malformed),
        }
        self.reader.end()
    }

    /// The type that may begin a map or list.
    fn name(&mut self) -> Result<&[u8], Problem> {
        if self.reader.peek()? != b't' {
            return Ok(&[]);
        }
        self.reader.u8()?;
        let units = u16::from_be_bytes(self.reader.array()?);
        take_name(&mut self.reader, units.into())
    }

    /// Whether the list or map ends here.
    fn ends(&mut self) -> Result<bool, Problem> {
        let end = self.reader.peek()? == b'z';
        if end {
            self.reader.u8()?;
        }
        Ok(end)
    }

    /// A map after its tag, into the record.
    fn record(&mut self, record: &mut dyn Record, at: usize) -> Result<(), Problem> {
        self.budget.enter()?;
        let table: &'t Table = self.table;
        let plan = table.plan(at)?;
        match self.reader.rest().strip_prefix(plan.head.get(1..).unwrap_or_default()) {
            Some(_) => {
                self.reader.take(plan.head.len().saturating_sub(1))?;
            }
            None => {
                let known = self.known;
                check_name(self.name()?, at, table, known)?;
            }
        }
        // Java's order is the usual one.
        let mut expected = plan.entries.iter();
        while !self.ends()? {
            let entry = match expected.next() {
                Some(entry) if self.reader.rest().starts_with(&entry.key) => {
                    self.reader.take(entry.key.len())?;
                    Some(entry)
                }
                _ => match self.reader.u8()? {
                    tag @ (b's' | b'S' | b'x' | b'X') => {
                        let name = gather(&mut self.reader, tag, string_chunk, &mut self.budget)?;
                        let at = plan.entries.iter().position(|entry| *entry.name == *name);
                        expected = plan.entries.get(at.map_or(plan.entries.len(), |at| at + 1)..).unwrap_or_default().iter();
                        at.and_then(|at| plan.entries.get(at))
                    }
                    tag => {
                        self.skip(tag)?;
                        None
                    }
                },
            };
            match entry {
                Some(entry) => {
                    let value = self.value(&entry.field.ty, entry.nested)?;
                    record.set(entry.number, value).map_err(|_| Problem::Malformed)?;
                }
                None => self.skip_next()?,
            }
        }
        self.budget.leave();
        Ok(())
    }

    fn value(&mut self, ty: &Type, nested: usize) -> Result<Value, Problem> {
        self.budget.elements(1)?;
        let tag = self.reader.u8()?;
        match tag {
            b'N' => return Ok(Value::Null),
            b'R' => return Err(Problem::BackReference),
            _ => {}
        }
        Ok(match ty {
            Type::Bool => match tag {
                b'T' => Value::Bool(true),
                b'F' => Value::Bool(false),
                _ => return Err(Problem::Malformed),
            },
            Type::Byte => Value::Byte(narrow(self.integer(tag)?)?),
            Type::Int | Type::UInt => Value::Int(narrow(self.integer(tag)?)?),
            Type::Long | Type::ULong | Type::Id => Value::Long(self.integer(tag)?),
            Type::Str | Type::Any => {
                let bytes = gather(&mut self.reader, tag, string_chunk, &mut self.budget)?;
                Value::Str(to_string(&bytes, &mut self.budget)?)
            }
            Type::Bytes => {
                let bytes = gather(&mut self.reader, tag, bytes_chunk, &mut self.budget)?;
                Value::Bytes(to_bytes(bytes, &mut self.budget)?)
            }
            Type::Record(class) if tag == b'M' => {
                self.budget.alloc(self.table.plan(nested)?.size)?;
                let mut record = (class.new)();
                self.record(&mut *record, nested)?;
                Value::Record(record)
            }
            Type::List(item) if tag == b'V' => Value::List(self.list(item, nested)?),
            Type::Record(_) | Type::List(_) | _ => return Err(Problem::Malformed),
        })
    }

    fn integer(&mut self, tag: u8) -> Result<i64, Problem> {
        match tag {
            b'I' => Ok(i32::from_be_bytes(self.reader.array()?).into()),
            b'L' => Ok(i64::from_be_bytes(self.reader.array()?)),
            _ => Err(Problem::Malformed),
        }
    }

    /// The length that a list may declare.
    fn declared(&mut self) -> Result<Option<usize>, Problem> {
        if self.reader.peek()? != b'l' {
            return Ok(None);
        }
        self.reader.u8()?;
        let len = u32::try_from(i32::from_be_bytes(self.reader.array()?)).map_err(|_| Problem::Malformed)?;
        self.reader.check(len.into()).map(Some)
    }

    /// A list after its tag.
    fn list(&mut self, item: &Type, nested: usize) -> Result<Vec<Value>, Problem> {
        self.budget.enter()?;
        check_list(self.name()?)?;
        let slot = table::slot(item, self.table.plans.get(nested).map_or(0, |plan| plan.size));
        let declared = self.declared()?;
        let mut list = match declared {
            Some(len) => table::list(len, slot, &mut self.budget)?,
            None => Vec::new(),
        };
        while !self.ends()? {
            if declared.is_none() {
                self.budget.alloc(slot)?;
            } else if declared == Some(list.len()) {
                return Err(Problem::Malformed);
            }
            let value = self.value(item, nested)?;
            table::push(&mut list, value, &mut self.budget)?;
        }
        if declared.is_some_and(|len| len != list.len()) {
            return Err(Problem::Malformed);
        }
        self.budget.leave();
        Ok(list)
    }

    fn skip_next(&mut self) -> Result<(), Problem> {
        let tag = self.reader.u8()?;
        self.skip(tag)
    }

    /// Passes over a value of any kind after its tag.
    fn skip(&mut self, tag: u8) -> Result<(), Problem> {
        self.budget.elements(1)?;
        match tag {
            b'N' | b'T' | b'F' => {}
            b'I' => drop(self.reader.take(4)?),
            b'L' | b'D' | b'd' => drop(self.reader.take(8)?),
            b's' | b'S' | b'x' | b'X' => pass(&mut self.reader, tag, string_chunk)?,
            b'b' | b'B' => pass(&mut self.reader, tag, bytes_chunk)?,
            b'R' => return Err(Problem::BackReference),
            b'V' => {
                self.budget.enter()?;
                self.name()?;
                self.declared()?;
                while !self.ends()? {
                    self.skip_next()?;
                }
                self.budget.leave();
            }
            b'M' => {
                self.budget.enter()?;
                self.name()?;
                while !self.ends()? {
                    self.skip_next()?;
                    self.skip_next()?;
                }
                self.budget.leave();
            }
            b'r' => return Err(Problem::Unsupported),
            _ => return Err(Problem::Malformed),
        }
        Ok(())
    }
}
