//! What Hessian 1 and 2 have in common.

mod one;
mod two;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use im_serial::Problem;
use im_serial::class::{Budget, Class, Reader, Type};
pub use one::Hessian;
pub use two::Hessian2;

use crate::classes::MAX_NAME;
use crate::table::{Shape, Table};
use crate::text;

/// Java's longest chunk of a string or byte string.
const CHUNK: usize = 0x8000;

const SHAPE: Shape = Shape { order, text: name };

/// Java writes what is primitive or in `java.lang` first, then the rest; both the class's own before the superclass's.
fn order(class: &'static Class) -> Vec<usize> {
    let compound = |ty: &Type| matches!(ty, Type::Any | Type::Bytes | Type::Record(_) | Type::List(_));
    let (rest, first): (Vec<_>, Vec<_>) = class.all().partition(|(_, field)| compound(&field.ty));
    first.into_iter().chain(rest).map(|(number, _)| number).collect()
}

fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text::write(name, &mut out);
    out
}

/// One chunk of a string or byte string after its tag; whether it is the last.
type Chunk<'a> = fn(&mut Reader<'a>, u8) -> Result<(&'a [u8], bool), Problem>;

/// All chunks of a string or byte string whose first tag was read. Copied, and counted, only if there are several.
fn gather<'a>(
    reader: &mut Reader<'a>,
    tag: u8,
    chunk: Chunk<'a>,
    budget: &mut Budget,
) -> Result<Cow<'a, [u8]>, Problem> {
    let (first, last) = chunk(reader, tag)?;
    if last {
        return Ok(Cow::Borrowed(first));
    }
    let mut ahead = reader.clone();
    let mut len = first.len();
    loop {
        let tag = ahead.u8()?;
        let (more, last) = chunk(&mut ahead, tag)?;
        len += more.len();
        if last {
            break;
        }
    }
    budget.alloc(len)?;
    let mut all = Vec::with_capacity(len);
    all.extend_from_slice(first);
    loop {
        let tag = reader.u8()?;
        let (more, last) = chunk(reader, tag)?;
        all.extend_from_slice(more);
        if last {
            return Ok(Cow::Owned(all));
        }
    }
}

/// Passes over all chunks of a string or byte string whose first tag was read.
fn pass<'a>(reader: &mut Reader<'a>, mut tag: u8, chunk: Chunk<'a>) -> Result<(), Problem> {
    while !chunk(reader, tag)?.1 {
        tag = reader.u8()?;
    }
    Ok(())
}

fn to_string(bytes: &[u8], budget: &mut Budget) -> Result<String, Problem> {
    text::decode(bytes, budget)
}

fn to_bytes(bytes: Cow<'_, [u8]>, budget: &mut Budget) -> Result<Vec<u8>, Problem> {
    match bytes {
        Cow::Borrowed(bytes) => budget.bytes(bytes),
        Cow::Owned(bytes) => Ok(bytes),
    }
}

/// A name of `units` UTF-16 units. Nothing that long is read when no class has such a name.
fn take_name<'a>(reader: &mut Reader<'a>, units: usize) -> Result<&'a [u8], Problem> {
    if units > MAX_NAME {
        return Err(Problem::UnknownClass);
    }
    text::take(reader, units)
}

/// Checks the name of the class in a place that expects the class of a plan. A map without a name is taken for it.
fn check_name(name: &[u8], plan: usize, table: &Table, known: &Table) -> Result<(), Problem> {
    if name.is_empty() || table.plan(plan)?.is(name) {
        Ok(())
    } else if table.has(name) || known.has(name) {
        Err(Problem::WrongClass)
    } else {
        Err(Problem::UnknownClass)
    }
}

/// Checks the type of a list: Java's name of a list or array of strings or objects.
fn check_list(name: &[u8]) -> Result<(), Problem> {
    const LISTS: [&[u8]; 10] = [
        b"",
        b"java.util.ArrayList",
        b"java.util.LinkedList",
        b"java.util.List",
        b"java.util.Collection",
        b"java.util.Vector",
        b"java.util.Arrays$ArrayList",
        b"java.util.concurrent.CopyOnWriteArrayList",
        b"[string",
        b"[object",
    ];
    if LISTS.contains(&name) { Ok(()) } else { Err(Problem::UnknownClass) }
}
