//! The writer.

use alloc::vec::Vec;

use im_serial::class::{List, Record, Type, ValueRef};

use super::{ARRAY_LIST, ARRAY_LIST_SUID, BYTE_ARRAY, BYTE_ARRAY_SUID, FIRST_HANDLE, HEADER, Tables, Unwritable};
use super::{flag, tag};
use crate::text;

/// Which number each thing has that a later one may refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Handles {
    /// How many were given out.
    given: u32,
    /// Those of the types, then of the classes; of unwritten ones `None`.
    names: Vec<Option<u32>>,
    array_list: Option<u32>,
    byte_array: Option<u32>,
}

/// The bytes before the first value of an outermost object, and what they number.
pub(super) fn head(plan: usize, tables: &Tables) -> Result<(Vec<u8>, Handles), Unwritable> {
    let mut out = Vec::new();
    out.extend_from_slice(&HEADER);
    out.push(tag::OBJECT);
    let handles = Handles { names: alloc::vec![None; tables.types.len() + tables.layers.len()], ..Handles::default() };
    let mut encoder = Encoder { out: &mut out, tables, names: &[], handles };
    encoder.classes(plan)?;
    encoder.handles.given += 1;
    let handles = encoder.handles;
    Ok((out, handles))
}

pub(super) fn body(record: &dyn Record, root: usize, tables: &Tables, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let head = tables.heads.get(root).ok_or(Unwritable)?;
    out.reserve(head.bytes.len() + 256);
    out.extend_from_slice(&head.bytes);
    let handles = Handles { names: Vec::new(), ..head.handles };
    Encoder { out, tables, names: &head.handles.names, handles }.values(record, root)
}

struct Encoder<'o, 't> {
    out: &'o mut Vec<u8>,
    tables: &'t Tables,
    /// The names in the head; copied to `handles` when there are more.
    names: &'t [Option<u32>],
    handles: Handles,
}

impl Encoder<'_, '_> {
    fn assign(&mut self) -> u32 {
        let handle = FIRST_HANDLE + self.handles.given;
        self.handles.given += 1;
        handle
    }

    fn refer(&mut self, handle: u32) {
        self.out.push(tag::REFERENCE);
        self.out.extend_from_slice(&handle.to_be_bytes());
    }

    /// The handle of a type or class.
    fn named(&mut self, at: usize) -> Result<&mut Option<u32>, Unwritable> {
        if self.handles.names.is_empty() {
            self.handles.names.extend_from_slice(self.names);
        }
        self.handles.names.get_mut(at).ok_or(Unwritable)
    }

    fn name(&mut self, name: &[u8]) -> Result<(), Unwritable> {
        self.out.extend_from_slice(&u16::try_from(name.len()).map_err(|_| Unwritable)?.to_be_bytes());
        self.out.extend_from_slice(name);
        Ok(())
    }

    /// The descriptions of a class and its superclasses, or a reference to where they were.
    fn classes(&mut self, plan: usize) -> Result<(), Unwritable> {
        let tables = self.tables;
        for (at, _) in tables.chains.get(plan).ok_or(Unwritable)? {
            let key = tables.types.len() + at;
            if let Some(handle) = *self.named(key)? {
                self.refer(handle);
                return Ok(());
            }
            let layer = tables.layers.get(*at).ok_or(Unwritable)?;
            self.out.push(tag::CLASS_DESC);
            self.name(layer.names.first().ok_or(Unwritable)?)?;
            self.out.extend_from_slice(&layer.suid.to_be_bytes());
            *self.named(key)? = Some(self.assign());
            self.out.push(flag::SERIALIZABLE);
            self.out.extend_from_slice(&u16::try_from(layer.fields.len()).map_err(|_| Unwritable)?.to_be_bytes());
            for (code, name, ty) in &layer.fields {
                self.out.push(*code);
                self.name(name)?;
                let Some(ty) = *ty else { continue };
                if let Some(handle) = *self.named(ty)? {
                    self.refer(handle);
                    continue;
                }
                *self.named(ty)? = Some(self.assign());
                self.out.push(tag::STRING);
                self.name(tables.types.as_slice().get(ty).ok_or(Unwritable)?)?;
            }
            self.out.push(tag::END_BLOCK_DATA);
        }
        self.out.push(tag::NULL);
        Ok(())
    }

    fn values(&mut self, record: &dyn Record, plan: usize) -> Result<(), Unwritable> {
        let plan = self.tables.table.plan(plan).map_err(|_| Unwritable)?;
        for entry in &plan.entries {
            self.value(record.get(entry.number), &entry.field.ty, entry.nested)?;
        }
        Ok(())
    }

    fn value(&mut self, value: ValueRef<'_>, ty: &Type, nested: usize) -> Result<(), Unwritable> {
        match (ty, value) {
            (Type::Bool, ValueRef::Bool(value)) => self.out.push(value.into()),
            (Type::Byte, ValueRef::Byte(value)) => self.out.extend_from_slice(&value.to_be_bytes()),
            (Type::Int | Type::UInt, ValueRef::Int(value)) => self.out.extend_from_slice(&value.to_be_bytes()),
            (Type::Long | Type::ULong | Type::Id, ValueRef::Long(value)) => {
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            (Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_), ValueRef::Null) => {
                self.out.push(tag::NULL);
            }
            (Type::Str | Type::Any, ValueRef::Str(text)) => {
                self.assign();
                let len = text::jdk_len(text);
                match u16::try_from(len) {
                    Ok(len) => {
                        self.out.push(tag::STRING);
                        self.out.extend_from_slice(&len.to_be_bytes());
                    }
                    Err(_) => {
                        self.out.push(tag::LONG_STRING);
                        self.out.extend_from_slice(&(len as u64).to_be_bytes());
                    }
                }
                if len == text.len() {
                    self.out.extend_from_slice(text.as_bytes());
                } else {
                    text::write_jdk(text, self.out);
                }
            }
            (Type::Bytes, ValueRef::Bytes(bytes)) => {
                self.out.push(tag::ARRAY);
                match self.handles.byte_array {
                    Some(handle) => self.refer(handle),
                    None => {
                        self.handles.byte_array = Some(self.platform(BYTE_ARRAY, BYTE_ARRAY_SUID, &[])?);
                    }
                }
                self.assign();
                let len = i32::try_from(bytes.len()).map_err(|_| Unwritable)?;
                self.out.extend_from_slice(&len.to_be_bytes());
                self.out.extend_from_slice(bytes);
            }
            (Type::Record(_), ValueRef::Record(record)) => {
                self.out.push(tag::OBJECT);
                self.classes(nested)?;
                self.assign();
                self.values(record, nested)?;
            }
            (Type::List(item), ValueRef::List(list)) => self.list(list, item, nested)?,
            _ => return Err(Unwritable),
        }
        Ok(())
    }

    fn list(&mut self, list: &dyn List, item: &Type, nested: usize) -> Result<(), Unwritable> {
        self.out.push(tag::OBJECT);
        match self.handles.array_list {
            Some(handle) => self.refer(handle),
            None => {
                self.handles.array_list = Some(self.platform(ARRAY_LIST, ARRAY_LIST_SUID, b"I\0\x04size")?);
            }
        }
        self.assign();
        let len = i32::try_from(list.len()).map_err(|_| Unwritable)?.to_be_bytes();
        self.out.extend_from_slice(&len);
        // The capacity, which is Java's own affair.
        self.out.extend_from_slice(&[tag::BLOCK_DATA, 4]);
        self.out.extend_from_slice(&len);
        for index in 0..list.len() {
            self.value(list.get(index), item, nested)?;
        }
        self.out.push(tag::END_BLOCK_DATA);
        Ok(())
    }

    /// The description of a class of Java's own with at most one field.
    fn platform(&mut self, name: &[u8], suid: i64, field: &[u8]) -> Result<u32, Unwritable> {
        self.out.push(tag::CLASS_DESC);
        self.name(name)?;
        self.out.extend_from_slice(&suid.to_be_bytes());
        let handle = self.assign();
        let (flags, fields) = if field.is_empty() { (0, 0) } else { (flag::WRITE_METHOD, 1) };
        self.out.extend_from_slice(&[flag::SERIALIZABLE | flags, 0, fields]);
        self.out.extend_from_slice(field);
        self.out.extend_from_slice(&[tag::END_BLOCK_DATA, tag::NULL]);
        Ok(handle)
    }
}
