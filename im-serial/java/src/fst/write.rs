//! Writing, in the layout of Jackson's pretty printer and with its escapes.
#![expect(clippy::wildcard_enum_match_arm, reason = "types and values may become more; what is not meant is refused")]

use alloc::vec::Vec;

use im_serial::class::{List, Record, Type, ValueRef};

use super::Fst;

/// A list holds what no list here may.
pub(super) struct Unsupported;

pub(super) fn body(fst: &Fst, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), Unsupported> {
    out.reserve(512);
    Writing { fst, out }.object(record, 0)
}

struct Writing<'a> {
    fst: &'a Fst,
    out: &'a mut Vec<u8>,
}

impl Writing<'_> {
    /// `indent` is that of the line on which the object begins.
    fn object(&mut self, record: &dyn Record, indent: usize) -> Result<(), Unsupported> {
        let plan = self.fst.plan(record.class());
        self.out.push(b'{');
        self.line(indent + 2);
        self.out.extend_from_slice(&plan.typ);
        self.line(indent + 2);
        self.out.extend_from_slice(b"\"obj\" : {");
        // The first field has no comma.
        let mut comma = 1;
        for step in &plan.steps {
            if indent == 0 {
                self.out.extend_from_slice(step.key.get(comma..).unwrap_or_default());
            } else {
                self.out.extend_from_slice(b",\n".get(comma..).unwrap_or_default());
                self.spaces(indent);
                self.out.extend_from_slice(step.key.get(2..).unwrap_or_default());
            }
            comma = 0;
            self.value(record.get(step.number), &step.ty, indent + 4)?;
        }
        if plan.steps.is_empty() {
            self.out.push(b' ');
        } else {
            self.line(indent + 2);
        }
        self.out.push(b'}');
        self.line(indent);
        self.out.push(b'}');
        Ok(())
    }

    fn value(&mut self, value: ValueRef<'_>, ty: &Type, indent: usize) -> Result<(), Unsupported> {
        match value {
            ValueRef::Null => self.out.extend_from_slice(b"null"),
            ValueRef::Bool(value) => self.out.push(b'0' + u8::from(value)),
            ValueRef::Byte(value) => self.number(value),
            ValueRef::Int(value) => self.number(value),
            ValueRef::Long(value) => self.number(value),
            ValueRef::Str(value) => string(value, self.out),
            ValueRef::Bytes(value) => {
                self.out.extend_from_slice(b"[ \"byte\"");
                for byte in value {
                    self.out.extend_from_slice(b", ");
                    self.number(*byte as i8);
                }
                self.out.extend_from_slice(b" ]");
            }
            ValueRef::Record(value) => self.object(value, indent)?,
            ValueRef::List(value) => match ty {
                Type::List(element @ (Type::Str | Type::Record(_))) => self.list(value, element, indent)?,
                _ => return Err(Unsupported),
            },
            _ => return Err(Unsupported),
        }
        Ok(())
    }

    fn list(&mut self, list: &dyn List, element: &Type, indent: usize) -> Result<(), Unsupported> {
        self.out.push(b'{');
        self.line(indent + 2);
        self.out.extend_from_slice(b"\"typ\" : \"list\",");
        self.line(indent + 2);
        self.out.extend_from_slice(b"\"obj\" : [ ");
        self.number(list.len());
        for index in 0..list.len() {
            self.out.extend_from_slice(b", ");
            self.value(list.get(index), element, indent + 2)?;
        }
        self.out.extend_from_slice(b" ]");
        self.line(indent);
        self.out.push(b'}');
        Ok(())
    }

    fn number(&mut self, value: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn line(&mut self, indent: usize) {
        self.out.push(b'\n');
        self.spaces(indent);
    }

    fn spaces(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, b' ');
    }
}

/// Jackson escapes what JSON demands, with capital letters, and what lies beyond U+FFFF, as a surrogate pair.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let escaped = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte >= 0xf0);
    // Without an early end, so that the compiler can look at many bytes at once.
    if !text.bytes().fold(false, |any, byte| any | escaped(byte)) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let mut rest = text;
    while let Some((before, from)) = rest.bytes().position(escaped).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before.as_bytes());
        let mut characters = from.chars();
        let character = characters.next().unwrap_or_default();
        rest = characters.as_str();
        let short = match character {
            '"' => b'"',
            '\\' => b'\\',
            '\u{8}' => b'b',
            '\t' => b't',
            '\n' => b'n',
            '\u{c}' => b'f',
            '\r' => b'r',
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let hex = |shift: u32| match (*unit >> shift & 0xf) as u8 {
                        digit @ 0..=9 => b'0' + digit,
                        digit => b'A' - 10 + digit,
                    };
                    out.extend_from_slice(&[b'\\', b'u', hex(12), hex(8), hex(4), hex(0)]);
                }
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}
