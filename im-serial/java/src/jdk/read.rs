//! The reader.

use alloc::string::String;
use alloc::vec::Vec;

use im_serial::class::{Budget, Reader, Record, Type, Value};
use im_serial::{Limits, Problem};

use super::{ARRAY_LIST, FIRST_HANDLE, HEADER, Tables, code, flag, is_object, tag};
use crate::classes::MAX_NAME;
use crate::table::{self, push};
use crate::text;

/// How many superclasses a class may have.
const MAX_CHAIN: usize = 16;

/// What a stream has defined so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Defined {
    slots: Vec<Slot>,
    descs: Vec<Desc>,
    fields: Vec<DescField>,
}

/// What a handle stands for. Positions, not values: nothing is kept for a reference that never comes.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// A class description: its place in `descs`.
    Class(u32),
    /// A string: where its tag is.
    Str(u32),
    /// A byte array: where its length is.
    Bytes(u32),
    /// Something that may not be referred to.
    Other,
}

/// A class description.
#[derive(Clone, Copy, Debug)]
struct Desc {
    kind: Kind,
    flags: u8,
    /// Where its fields begin in `fields`, and how many they are.
    fields: (u32, u16),
    /// The superclass's place in `descs`.
    parent: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A class in the table: its place in `layers`.
    Layer(u32),
    ArrayList,
    /// An array with elements of this type code.
    Array(u8),
    /// Another class, and what is wrong with an object of it where an object is needed.
    Other(Problem),
}

#[derive(Clone, Copy, Debug)]
struct DescField {
    code: u8,
    /// The place in the class's own fields; of `ArrayList` 0 for the size.
    field: Option<u16>,
}

/// Something that begins with what is the same in all bodies of a class.
struct Stacked<'t, T> {
    base: &'t [T],
    more: Vec<T>,
}

impl<'t, T: Copy> Stacked<'t, T> {
    const fn new(base: &'t [T]) -> Self {
        Self { base, more: Vec::new() }
    }

    fn len(&self) -> usize {
        self.base.len() + self.more.len()
    }

    fn get(&self, at: usize) -> Result<T, Problem> {
        match at.checked_sub(self.base.len()) {
            None => self.base.get(at),
            Some(at) => self.more.get(at),
        }
        .copied()
        .ok_or(Problem::Malformed)
    }
}

/// A body of the class of plan `root`. On an error also where it is.
pub(super) fn body(
    record: &mut dyn Record,
    root: usize,
    tables: &Tables,
    known: &Tables,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), (Problem, usize)> {
    let mut decoder = Decoder::new(bytes, root, tables, known, limits);
    decoder.body(record, limits).map_err(|problem| (problem, decoder.reader.offset()))
}

/// What the bytes before the first value of an object of plan `root` define.
pub(super) fn defined(root: usize, tables: &Tables, head: &[u8]) -> Defined {
    let limits = Limits::new(1 << 20);
    let mut decoder = Decoder::new(head, root, tables, tables, &limits);
    let read = decoder.reader.take(HEADER.len() + 1).and_then(|_| decoder.classes());
    debug_assert_eq!(read, Ok(Some(0)));
    decoder.slots.more.push(Slot::Other);
    Defined { slots: decoder.slots.more, descs: decoder.descs.more, fields: decoder.fields.more }
}

struct Decoder<'a, 't> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    budget: Budget,
    root: usize,
    /// The classes that the body may name.
    tables: &'t Tables,
    /// Those that at least exist.
    known: &'t Tables,
    slots: Stacked<'t, Slot>,
    descs: Stacked<'t, Desc>,
    fields: Stacked<'t, DescField>,
}

impl<'a, 't> Decoder<'a, 't> {
    fn new(bytes: &'a [u8], root: usize, tables: &'t Tables, known: &'t Tables, limits: &Limits) -> Self {
        Self {
            bytes,
            reader: Reader::new(bytes),
            budget: Budget::new(limits),
            root,
            tables,
            known,
            slots: Stacked::new(&[]),
            descs: Stacked::new(&[]),
            fields: Stacked::new(&[]),
        }
    }

    fn body(&mut self, record: &mut dyn Record, limits: &Limits) -> Result<(), Problem> {
        // Positions are kept in 32 bits.
        if self.bytes.len() > limits.max_body.min(u32::MAX as usize) {
            return Err(Problem::TooLarge);
        }
        self.budget.elements(1)?;
        self.budget.enter()?;
        let tables: &'t Tables = self.tables;
        if let Some(head) = tables.heads.get(self.root)
            && !head.bytes.is_empty()
            && self.bytes.starts_with(&head.bytes)
        {
            self.budget.elements(head.defined.descs.len() + head.defined.fields.len())?;
            self.reader.take(head.bytes.len())?;
            self.slots.base = &head.defined.slots;
            self.descs.base = &head.defined.descs;
            self.fields.base = &head.defined.fields;
            for entry in &tables.table.plan(self.root)?.entries {
                let value = self.field(code(&entry.field.ty), &entry.field.ty, entry.nested)?;
                record.set(entry.number, value).map_err(|_| Problem::Malformed)?;
            }
        } else {
            if self.reader.array()? != HEADER {
                return Err(Problem::Malformed);
            }
            match self.reader.u8()? {
                tag::OBJECT => self.record(record, self.root)?,
                tag::REFERENCE => return Err(Problem::BackReference),
                _ => return Err(Problem::Malformed),
            }
        }
        self.reader.end()
    }

    fn u16(&mut self) -> Result<u16, Problem> {
        self.reader.array().map(u16::from_be_bytes)
    }

    /// A length, which is never negative, of things that take at least a byte each.
    fn length(&mut self) -> Result<usize, Problem> {
        let len = u32::try_from(i32::from_be_bytes(self.reader.array()?)).map_err(|_| Problem::Malformed)?;
        self.reader.check(len.into())
    }

    fn position(&self) -> u32 {
        // The body was checked to be shorter.
        self.reader.offset() as u32
    }

    fn assign(&mut self, slot: Slot) -> Result<(), Problem> {
        push(&mut self.slots.more, slot, &mut self.budget)
    }

    /// What a reference refers to.
    fn reference(&mut self) -> Result<Slot, Problem> {
        let number = u32::from_be_bytes(self.reader.array()?).checked_sub(FIRST_HANDLE).ok_or(Problem::Malformed)?;
        self.slots.get(number as usize)
    }

    fn name(&mut self) -> Result<&'a [u8], Problem> {
        let len = self.u16()?;
        self.reader.take(len.into())
    }

    /// A class description with those of its superclasses; `None` for null.
    fn classes(&mut self) -> Result<Option<u32>, Problem> {
        let mut first = None;
        let mut below: Option<usize> = None;
        loop {
            let (at, new) = match self.reader.u8()? {
                tag::NULL => (None, false),
                tag::REFERENCE => match self.reference()? {
                    Slot::Class(at) => (Some(at), false),
                    Slot::Str(_) | Slot::Bytes(_) | Slot::Other => return Err(Problem::Malformed),
                },
                tag::CLASS_DESC => (Some(self.class()?), true),
                tag::PROXY_CLASS_DESC => return Err(Problem::Unsupported),
                _ => return Err(Problem::Malformed),
            };
            match below {
                None => first = at,
                Some(below) => {
                    // A description is new only once, so that it is not in the base.
                    let below = below.checked_sub(self.descs.base.len());
                    if let Some(desc) = below.and_then(|below| self.descs.more.get_mut(below)) {
                        desc.parent = at;
                    }
                }
            }
            if !new {
                return Ok(first);
            }
            below = at.map(|at| at as usize);
        }
    }

    /// A new class description after its tag, without its superclass.
    fn class(&mut self) -> Result<u32, Problem> {
        let len = self.u16()?;
        if usize::from(len) > MAX_NAME {
            return Err(Problem::UnknownClass);
        }
        let name = self.reader.take(len.into())?;
        self.reader.take(8)?;
        let at = u32::try_from(self.descs.len()).map_err(|_| Problem::TooManyElements)?;
        self.assign(Slot::Class(at))?;
        let kind = self.kind(name);
        let flags = self.reader.u8()?;
        let count = self.u16()?;
        self.reader.check(count.into())?;
        self.budget.elements(usize::from(count) + 1)?;
        let start = u32::try_from(self.fields.len()).map_err(|_| Problem::TooManyElements)?;
        let desc = Desc { kind, flags, fields: (start, count), parent: None };
        push(&mut self.descs.more, desc, &mut self.budget)?;
        for _ in 0..count {
            let code = self.reader.u8()?;
            let name = self.name()?;
            match code {
                b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' | b'Z' => {}
                b'L' | b'[' => self.type_name()?,
                _ => return Err(Problem::Malformed),
            }
            let field = self.field_of(kind, name, code)?;
            push(&mut self.fields.more, DescField { code, field }, &mut self.budget)?;
        }
        self.annotation()?;
        Ok(at)
    }

    fn kind(&self, name: &[u8]) -> Kind {
        if let [b'[', element, ..] = name {
            return Kind::Array(*element);
        }
        if name == ARRAY_LIST {
            return Kind::ArrayList;
        }
        let tables: &'t Tables = self.tables;
        let reach = tables.table.plans.get(self.root).map(|plan| plan.reach.as_slice()).unwrap_or_default();
        let mut layers = reach.iter().filter_map(|plan| tables.chains.get(*plan)).flatten().map(|(layer, _)| *layer);
        let is = |layer: usize| tables.layers.get(layer).is_some_and(|layer| layer.names.iter().any(|own| own == name));
        match layers.find(|layer| is(*layer)).and_then(|layer| u32::try_from(layer).ok()) {
            Some(layer) => Kind::Layer(layer),
            None if self.known.table.has(name) => Kind::Other(Problem::WrongClass),
            None => Kind::Other(Problem::UnknownClass),
        }
    }

    /// Which field of the class has the name; its type must be Java's.
    fn field_of(&self, kind: Kind, name: &[u8], code: u8) -> Result<Option<u16>, Problem> {
        let layer = match kind {
            Kind::Layer(layer) => layer,
            Kind::ArrayList => return Ok((name == b"size" && code == b'I').then_some(0)),
            Kind::Array(_) | Kind::Other(_) => return Ok(None),
        };
        let layer = self.tables.layers.get(layer as usize).ok_or(Problem::Malformed)?;
        let found = layer.class.fields.iter().zip(0..).find(|(field, _)| match field.name.is_ascii() {
            true => field.name.as_bytes() == name,
            false => super::name(field.name) == name,
        });
        match found {
            Some((field, _)) if super::code(&field.ty) != code => Err(Problem::Malformed),
            Some((_, at)) => Ok(Some(at)),
            None => Ok(None),
        }
    }

    /// The type of a field. What it says does not matter: the value is checked.
    fn type_name(&mut self) -> Result<(), Problem> {
        match self.reader.u8()? {
            tag::REFERENCE => match self.reference()? {
                Slot::Str(_) => Ok(()),
                Slot::Class(_) | Slot::Bytes(_) | Slot::Other => Err(Problem::Malformed),
            },
            tag @ (tag::STRING | tag::LONG_STRING) => self.string_bytes(tag).map(drop),
            _ => Err(Problem::Malformed),
        }
    }

    /// A new string after its tag, not decoded.
    fn string_bytes(&mut self, tag: u8) -> Result<&'a [u8], Problem> {
        let at = self.position() - 1;
        self.assign(Slot::Str(at))?;
        take_string(&mut self.reader, tag)
    }

    fn string(&mut self, bytes: &[u8]) -> Result<String, Problem> {
        text::decode(bytes, &mut self.budget)
    }

    /// Passes over what a class's own methods wrote, up to its end.
    fn annotation(&mut self) -> Result<(), Problem> {
        loop {
            match self.reader.u8()? {
                tag::END_BLOCK_DATA => return Ok(()),
                tag::BLOCK_DATA => {
                    let len = self.reader.u8()?;
                    self.reader.take(len.into())?;
                }
                tag::BLOCK_DATA_LONG => {
                    let len = self.length()?;
                    self.reader.take(len)?;
                }
                tag => self.skip_value(tag)?,
            }
        }
    }

    /// A class and its superclasses, the uppermost first.
    fn chain(&self, at: u32) -> Result<impl Iterator<Item = Desc> + use<>, Problem> {
        let mut chain = [None; MAX_CHAIN];
        let mut next = Some(at);
        for place in chain.iter_mut().rev() {
            let Some(at) = next else { break };
            let desc = self.descs.get(at as usize)?;
            *place = Some(desc);
            next = desc.parent;
        }
        if next.is_some() { Err(Problem::TooDeep) } else { Ok(chain.into_iter().flatten()) }
    }

    fn desc_fields(&self, desc: Desc) -> core::ops::Range<usize> {
        let (start, count) = desc.fields;
        start as usize..start as usize + usize::from(count)
    }

    /// An object after its tag, into the record.
    fn record(&mut self, record: &mut dyn Record, plan: usize) -> Result<(), Problem> {
        let tables: &'t Tables = self.tables;
        let layers = tables.chains.get(plan).map(Vec::as_slice).unwrap_or_default();
        let entries = &tables.table.plan(plan)?.entries;
        let class = self.classes()?.ok_or(Problem::Malformed)?;
        self.assign(Slot::Other)?;
        let find = |desc: Desc| match desc.kind {
            Kind::Layer(at) => layers.iter().position(|(layer, _)| *layer == at as usize).ok_or(Problem::WrongClass),
            Kind::ArrayList | Kind::Array(_) => Err(Problem::WrongClass),
            Kind::Other(problem) => Err(problem),
        };
        if find(self.descs.get(class as usize)?)? != 0 {
            return Err(Problem::WrongClass);
        }
        for desc in self.chain(class)? {
            let (_, number) = layers.get(find(desc)?).copied().ok_or(Problem::Malformed)?;
            if desc.flags & (flag::SERIALIZABLE | flag::EXTERNALIZABLE) != flag::SERIALIZABLE {
                return Err(Problem::Malformed);
            }
            for at in self.desc_fields(desc) {
                let DescField { code, field } = self.fields.get(at)?;
                let number = field.map(|field| number + usize::from(field));
                let entry = number.and_then(|number| entries.iter().find(|entry| entry.number == number));
                match entry {
                    Some(entry) => {
                        let value = self.field(code, &entry.field.ty, entry.nested)?;
                        record.set(entry.number, value).map_err(|_| Problem::Malformed)?;
                    }
                    None => self.skip_field(code)?,
                }
            }
            if desc.flags & flag::WRITE_METHOD != 0 {
                self.annotation()?;
            }
        }
        Ok(())
    }

    /// The value of a field with this type code.
    fn field(&mut self, code: u8, ty: &Type, nested: usize) -> Result<Value, Problem> {
        match code {
            b'B' => {
                self.budget.elements(1)?;
                Ok(Value::Byte(i8::from_be_bytes(self.reader.array()?)))
            }
            b'I' => {
                self.budget.elements(1)?;
                Ok(Value::Int(i32::from_be_bytes(self.reader.array()?)))
            }
            b'J' => {
                self.budget.elements(1)?;
                Ok(Value::Long(i64::from_be_bytes(self.reader.array()?)))
            }
            b'Z' => {
                self.budget.elements(1)?;
                Ok(Value::Bool(self.reader.u8()? != 0))
            }
            _ => self.value(ty, nested),
        }
    }

    fn value(&mut self, ty: &Type, nested: usize) -> Result<Value, Problem> {
        self.budget.elements(1)?;
        let tag = self.reader.u8()?;
        match tag {
            tag::NULL => return Ok(Value::Null),
            tag::REFERENCE => return self.shared(ty),
            tag::RESET | tag::EXCEPTION | tag::ENUM | tag::CLASS => return Err(Problem::Unsupported),
            _ => {}
        }
        match ty {
            Type::Str | Type::Any if matches!(tag, tag::STRING | tag::LONG_STRING) => {
                let bytes = self.string_bytes(tag)?;
                self.string(bytes).map(Value::Str)
            }
            Type::Bytes if tag == tag::ARRAY => {
                let bytes = self.array()?.ok_or(Problem::Malformed)?;
                self.budget.bytes(bytes).map(Value::Bytes)
            }
            Type::Record(class) if tag == tag::OBJECT => {
                self.budget.enter()?;
                self.budget.alloc(self.tables.table.plan(nested)?.size)?;
                let mut record = (class.new)();
                self.record(&mut *record, nested)?;
                self.budget.leave();
                Ok(Value::Record(record))
            }
            Type::List(item) if tag == tag::OBJECT => {
                self.budget.enter()?;
                let list = self.list(item, nested)?;
                self.budget.leave();
                Ok(Value::List(list))
            }
            Type::Bool
            | Type::Byte
            | Type::Int
            | Type::UInt
            | Type::Long
            | Type::ULong
            | Type::Id
            | Type::Str
            | Type::Any
            | Type::Bytes
            | Type::Record(_)
            | Type::List(_)
            | _ => Err(Problem::Malformed),
        }
    }

    /// The value of a reference after its tag: again decoded, and counted, where it was first.
    fn shared(&mut self, ty: &Type) -> Result<Value, Problem> {
        let (at, is_string) = match self.reference()? {
            Slot::Str(at) => (at, true),
            Slot::Bytes(at) => (at, false),
            Slot::Class(_) | Slot::Other => return Err(Problem::BackReference),
        };
        let mut earlier = Reader::new(self.bytes);
        earlier.take(at as usize)?;
        if is_string && matches!(ty, Type::Str | Type::Any) {
            let tag = earlier.u8()?;
            self.string(take_string(&mut earlier, tag)?).map(Value::Str)
        } else if !is_string && matches!(ty, Type::Bytes) {
            let len = u32::from_be_bytes(earlier.array()?);
            self.budget.bytes(earlier.take(len as usize)?).map(Value::Bytes)
        } else {
            Err(Problem::Malformed)
        }
    }

    /// An array after its tag: its bytes if it is one of bytes, otherwise it is passed over.
    fn array(&mut self) -> Result<Option<&'a [u8]>, Problem> {
        let class = self.classes()?.ok_or(Problem::Malformed)?;
        let Kind::Array(element) = self.descs.get(class as usize)?.kind else { return Err(Problem::Malformed) };
        let at = self.position();
        self.assign(if element == b'B' { Slot::Bytes(at) } else { Slot::Other })?;
        let len = self.length()?;
        if element == b'B' {
            return self.reader.take(len).map(Some);
        }
        match width(element)? {
            Some(width) => drop(self.reader.take(len.saturating_mul(width))?),
            None => {
                for _ in 0..len {
                    let tag = self.reader.u8()?;
                    self.skip_value(tag)?;
                }
            }
        }
        Ok(None)
    }

    /// An `ArrayList` after its tag.
    fn list(&mut self, item: &Type, nested: usize) -> Result<Vec<Value>, Problem> {
        let class = self.classes()?.ok_or(Problem::Malformed)?;
        self.assign(Slot::Other)?;
        let desc = self.descs.get(class as usize)?;
        match desc.kind {
            Kind::ArrayList => {}
            Kind::Layer(_) | Kind::Array(_) => return Err(Problem::WrongClass),
            Kind::Other(problem) => return Err(problem),
        }
        if desc.parent.is_some() || desc.flags != flag::SERIALIZABLE | flag::WRITE_METHOD {
            return Err(Problem::Malformed);
        }
        let mut len = None;
        for at in self.desc_fields(desc) {
            let DescField { code, field } = self.fields.get(at)?;
            match field {
                Some(_) => len = Some(self.length()?),
                None => self.skip_field(code)?,
            }
        }
        let len = len.ok_or(Problem::Malformed)?;
        // Its capacity.
        let [data, width, ..] = self.reader.array::<6>()?;
        if [data, width] != [tag::BLOCK_DATA, 4] {
            return Err(Problem::Malformed);
        }
        let slot = table::slot(item, self.tables.table.plans.get(nested).map_or(0, |plan| plan.size));
        let mut list = table::list(len, slot, &mut self.budget)?;
        for _ in 0..len {
            list.push(self.value(item, nested)?);
        }
        self.annotation()?;
        Ok(list)
    }

    /// Passes over the value of a field with this type code.
    fn skip_field(&mut self, code: u8) -> Result<(), Problem> {
        match width(code)? {
            Some(width) => {
                self.budget.elements(1)?;
                self.reader.take(width).map(drop)
            }
            None => {
                let tag = self.reader.u8()?;
                self.skip_value(tag)
            }
        }
    }

    /// Passes over a value of any kind after its tag.
    fn skip_value(&mut self, tag: u8) -> Result<(), Problem> {
        self.budget.elements(1)?;
        self.budget.enter()?;
        match tag {
            tag::NULL => {}
            tag::REFERENCE => {
                if let Slot::Other = self.reference()? {
                    return Err(Problem::BackReference);
                }
            }
            tag::STRING | tag::LONG_STRING => drop(self.string_bytes(tag)?),
            tag::ARRAY => drop(self.array()?),
            tag::CLASS_DESC => {
                // A description as a value has its superclass's after it, as everywhere.
                self.class()?;
                self.classes()?;
            }
            tag::CLASS => {
                self.classes()?.ok_or(Problem::Malformed)?;
                self.assign(Slot::Other)?;
            }
            tag::ENUM => {
                self.classes()?.ok_or(Problem::Malformed)?;
                self.assign(Slot::Other)?;
                self.type_name()?;
            }
            tag::OBJECT => self.skip_object()?,
            tag::RESET | tag::EXCEPTION | tag::PROXY_CLASS_DESC => return Err(Problem::Unsupported),
            _ => return Err(Problem::Malformed),
        }
        self.budget.leave();
        Ok(())
    }

    fn skip_object(&mut self) -> Result<(), Problem> {
        let class = self.classes()?.ok_or(Problem::Malformed)?;
        self.assign(Slot::Other)?;
        for desc in self.chain(class)? {
            if desc.flags & flag::EXTERNALIZABLE != 0 {
                if desc.flags & flag::BLOCK_DATA == 0 {
                    return Err(Problem::Unsupported);
                }
                self.annotation()?;
            } else if desc.flags & flag::SERIALIZABLE != 0 {
                for at in self.desc_fields(desc) {
                    let code = self.fields.get(at)?.code;
                    self.skip_field(code)?;
                }
                if desc.flags & flag::WRITE_METHOD != 0 {
                    self.annotation()?;
                }
            }
        }
        Ok(())
    }
}

/// A string after its tag.
fn take_string<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], Problem> {
    let len = match tag {
        tag::STRING => u16::from_be_bytes(reader.array()?).into(),
        tag::LONG_STRING => u64::from_be_bytes(reader.array()?),
        _ => return Err(Problem::Malformed),
    };
    let len = reader.check(len)?;
    reader.take(len)
}

/// How many bytes a primitive has; `None` for what is an object.
fn width(code: u8) -> Result<Option<usize>, Problem> {
    Ok(Some(match code {
        b'B' | b'Z' => 1,
        b'C' | b'S' => 2,
        b'F' | b'I' => 4,
        b'D' | b'J' => 8,
        code if is_object(code) => return Ok(None),
        _ => return Err(Problem::Malformed),
    }))
}
